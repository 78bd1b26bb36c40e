# What the README and CI call, and nothing else.

CARGO ?= cargo

.PHONY: help run build test lint fmt clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: ## build, start `hookplane dev` with the demo, stay up until Ctrl-C
	$(CARGO) build --locked --workspace --bin hookplane
	exec ./target/debug/hookplane dev --demo

build: ## all binaries, debug profile
	$(CARGO) build --locked --workspace --bins

# The integration tests start the real binaries, so these are built first.
# Nothing else has to be installed: both stores are compiled in.
test: build ## every test there is, oracles included
	$(CARGO) test --locked --workspace

lint: ## formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## format in place
	$(CARGO) fmt --all

clean: ## drop build output and the local dev store
	$(CARGO) clean
	rm -rf .hookplane
