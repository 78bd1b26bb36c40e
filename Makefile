# What people and CI call, each with its purpose after `##`; `make help` lists them.

CARGO ?= cargo
# The tests of the control plane also run on PostgreSQL, each on a private server.
POSTGRES := $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb))

.PHONY: help run build test sdk-js sdk-py torture simulate fuzz fuzz-smoke needs bench bench-fleet backlog bench-smoke lint fmt clean

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

simulate: ## play SEEDS (10000) simulated runs, from seed FIRST (0) on
	$(CARGO) test --locked -p hookplane-tests --test sim -- --seeds $(or $(SEEDS),10000) --first $(or $(FIRST),0)

# libFuzzer with the coverage that the stable compiler can give; needs a C++ compiler, no nightly.
# Only what is fuzzed is compiled so, not build scripts, hence the explicit target.
FUZZ_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/targets/*.rs)))
FUZZ_BUILD = RUSTFLAGS="$(FUZZ_FLAGS)" CARGO_INCREMENTAL=0 $(CARGO) build --locked --release \
	--manifest-path fuzz/Cargo.toml --target $(FUZZ_HOST)
# What it learns stays out of the tree; memory has a bound, also when it is only asked for.
FUZZ_RUN = mkdir -p fuzz/target/corpus/$(1) fuzz/target/crashes && ulimit -v 4194304 && \
	./fuzz/target/$(FUZZ_HOST)/release/$(1) -max_total_time=$(2) -timeout=10 \
	-max_len=4096 -len_control=10 -artifact_prefix=fuzz/target/crashes/$(1)- -print_final_stats=1 \
	fuzz/target/corpus/$(1) fuzz/corpus/$(1)

sdk-js: ## build, pack and test the handler kit for JavaScript, behind a gateway and on Redis too; needs Node 20, the npm registry and redis-server
	$(CARGO) build --locked --workspace --bin hookplane
	cd sdk-client/js && npm ci --no-audit --no-fund && HOOKPLANE=$(CURDIR)/target/debug/hookplane npm test

# Built as it is published; what is tested is what was installed from that, not the tree.
PYTHON ?= python3
sdk-py: ## build, install and test the handler kit for Python, behind a gateway too; needs Python 3.9 and the package index
	$(CARGO) build --locked --workspace --bin hookplane
	rm -rf target/python
	$(PYTHON) -m venv target/python/wheel
	$(PYTHON) -m venv target/python/sdist
	target/python/wheel/bin/pip install -q build -r sdk-client/python/tests/requirements.txt
	target/python/wheel/bin/python -m build -o target/python/dist sdk-client/python
	target/python/wheel/bin/pip install -q target/python/dist/*.whl
	target/python/sdist/bin/pip install -q target/python/dist/*.tar.gz
	cd sdk-client/python && ../../target/python/wheel/bin/mypy
	cd sdk-client/python/tests && ../../../target/python/sdist/bin/python -m unittest test_vectors test_gate test_sql
	cd sdk-client/python/tests && HOOKPLANE=$(CURDIR)/target/debug/hookplane ../../../target/python/wheel/bin/python -m unittest

fuzz: ## look for SECONDS (600) for bytes that break TARGET; see fuzz/targets
	$(FUZZ_BUILD) --bin $(TARGET) $(if $(filter journal_%,$(TARGET)),--no-default-features)
	$(call FUZZ_RUN,$(TARGET),$(or $(SECONDS),600))

fuzz-smoke: ## build every fuzz target and run each for ten seconds
	$(FUZZ_BUILD)
	$(foreach target,$(FUZZ_TARGETS),$(call FUZZ_RUN,$(target),10) &&) true

# SQLite is compiled in; PostgreSQL comes from packages.
needs:
ifeq ($(POSTGRES),)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
endif

# What the bench starts, and the sizes that the goals name.
BENCHED := -p hookplane-agent -p hookplane-control-plane -p hookplane-bench -p hookplane-bench-fleet
BENCH ?= --stored 2000000 --recovery-mib 1024

bench: ## measure the release agent on a quiet machine, write docs/performance.md
	$(CARGO) build --locked --release --bins $(BENCHED)
	./target/release/hookplane-bench run $(BENCH) --report docs/performance.md --notes bench/notes.md

# Each of a thousand agents has three connections, with an end in either process.
bench-fleet: needs ## measure a control plane with FLEET (a thousand agents), write docs/performance-fleet.md
	$(CARGO) build --locked --release --bins $(BENCHED)
	ulimit -n 16384 && ./target/release/hookplane-bench-fleet $(FLEET) --report docs/performance-fleet.md

backlog: ## how a store with five million pending events starts; 5 GiB in target/backlog
	$(CARGO) run --locked --release -p hookplane-agent --example backlog target/backlog 5000000

bench-smoke: needs ## show that both benches work; its figures mean nothing
	$(CARGO) build --locked --bins $(BENCHED)
	./target/debug/hookplane-bench run --quick
	./target/debug/hookplane-bench-fleet --quick --program target/debug/hookplane-control-plane

lint: ## formatting, the lock file of fuzz/, and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) update --locked --workspace --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## format in place
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

clean: ## drop build output
	$(CARGO) clean
