# What the README and CI call, and nothing else.

CARGO ?= cargo

.PHONY: help build test lint fmt clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## everything, debug profile
	$(CARGO) build --locked --workspace

# Nothing has to be installed beside Rust and a C compiler: SQLite is compiled in.
test: ## every test there is, oracles included
	$(CARGO) test --locked --workspace

lint: ## formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## format in place
	$(CARGO) fmt --all

clean: ## drop build output
	$(CARGO) clean
