# What the README and CI call, and nothing else.

CARGO ?= cargo
# The tests of the control plane also run on PostgreSQL, each on a private server.
POSTGRES := $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb))

.PHONY: help run build test torture needs bench bench-smoke lint fmt clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: ## both planes in one process, with a demo source, receiver and event
	$(CARGO) build --locked --workspace --bin hookplane
	./target/debug/hookplane dev --demo

build: ## everything, debug profile
	$(CARGO) build --locked --workspace

test: needs ## every test there is, oracles and real processes included
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace

torture: ## kill, fill and cut for SECONDS (600), and count what was lost
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked -p hookplane-tests --test torture -- --seconds $(or $(SECONDS),600)

# SQLite is compiled in; PostgreSQL comes from packages.
needs:
ifeq ($(POSTGRES),)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
endif

# What the bench starts, and the sizes that the goals name.
BENCHED := -p hookplane-agent -p hookplane-control-plane -p hookplane-bench
BENCH ?= --stored 2000000 --recovery-mib 1024

bench: ## measure the release agent on a quiet machine, write docs/performance.md
	$(CARGO) build --locked --release --bins $(BENCHED)
	./target/release/hookplane-bench run $(BENCH) --report docs/performance.md

bench-smoke: ## show that the bench works; its figures mean nothing
	$(CARGO) build --locked --bins $(BENCHED)
	./target/debug/hookplane-bench run --quick

lint: ## formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## format in place
	$(CARGO) fmt --all

clean: ## drop build output
	$(CARGO) clean
