# `make` prints this list. CI calls the same targets as a person.
.DEFAULT_GOAL := help
.PHONY: help build demo up down fmt lint doc test test-trixie test-cluster test-interop test-emulators test-examples test-release test-tutorial audit instructions fuzz chaos bench flame growth check clean

export CARGO ?= cargo
# The RabbitMQ of demo, test, chaos and bench: this machine's, or that of a release of Debian: RABBITMQ=trixie
RABBITMQ ?= system
export RABBITMQ
SCRIPTS := rabbitmq/node rabbitmq/release demo/stage tests/built-ferryd tests/nats-server tests/interop/run tests/emulators/run tests/examples/run tests/release/run tests/tutorial/run tests/audit/run benches/tools benches/node/install fuzz/run .ci/run
FUZZ_SECONDS ?= 60

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build ferryd (target/debug/ferryd, or where cargo is configured to put it)
	$(CARGO) build --locked

demo: ## Play a story: payments, shipments and messages through RabbitMQ, ferryd and a provider over HTTPS
	rabbitmq/node install
	$(CARGO) build --locked
	demo/stage play

up: ## Start RabbitMQ, a provider and ferryd, and leave them running to play with
	rabbitmq/node install
	$(CARGO) build --locked
	demo/stage up

down: ## Stop what `make up` started
	demo/stage down

fmt: ## Format the code
	$(CARGO) fmt --all

lint: ## Formatting, lints, documentation and scripts; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked --workspace --exclude ferryd-model --lib --bins -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --all-features
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo "shellcheck is not installed: scripts not checked"; fi

doc: ## Build the API documentation (target/doc)
	$(CARGO) doc --locked --no-deps

# They wait for brokers and daemons more than they compute.
test: export RUST_TEST_THREADS ?= $(shell echo $$(( 2 * $$(nproc) )))
test: ## All tests, on a RabbitMQ node and NATS servers of their own (installed when missing; RABBITMQ=trixie TESTS="carry:: outage::")
	rabbitmq/node install
	tests/nats-server install
	$(CARGO) test --locked --features failpoints $(if $(TESTS),--test it -- $(TESTS))

test-trixie: ## The tests that lean most on the broker, on Debian trixie's RabbitMQ (root installs it: 35 s, 430 MB)
	$(MAKE) test RABBITMQ=trixie TESTS="broker_settings:: carry:: ledger:: outage:: poison:: race:: schedule:: webhooks::calls::"

test-cluster: ## Kill, freeze and cut off the nodes of a cluster of three under load (ten minutes; part of chaos)
	rabbitmq/node install
	$(CARGO) test --locked --features failpoints --test it -- --ignored --nocapture cluster::

test-interop: ## Hold webhook signatures against the providers' own libraries (needs Python and Node.js)
	$(CARGO) test --locked --features failpoints --test it --no-run
	tests/interop/run

test-emulators: ## Run the catalog against emulators of its providers and official OpenAPI documents (needs Python and Node.js)
	rabbitmq/node install
	$(CARGO) test --locked --features failpoints --test it --no-run
	tests/emulators/run

test-examples: ## Run the examples in Python and Node.js against a broker, ferryd and a provider (half a minute)
	rabbitmq/node install
	$(CARGO) build --locked
	tests/examples/run

test-release: ## Hold that the program has nothing that only tests need, by the demonstration with tests' variables set
	rabbitmq/node install
	$(CARGO) build --locked
	tests/release/run

test-tutorial: ## Play docs/TUTORIAL.md and compare what is printed (half a minute; UPDATE=1 writes what differs)
	rabbitmq/node install
	$(CARGO) build --locked
	tests/tutorial/run

audit: ## Hold the dependencies to deny.toml: bans, licences, sources, and known vulnerabilities where they can be fetched
	tests/audit/run

instructions: ## Hold the instructions that a command costs (UPDATE=1 accepts them, PROFILE=1 lists the costliest functions)
	rabbitmq/node install
	benches/tools valgrind
	$(CARGO) bench --locked --profile profiling --bench carry -- --instructions $(if $(UPDATE),--accept) $(if $(PROFILE),--profile)

fuzz: ## Fuzz what reads input from outside, each target for FUZZ_SECONDS=60 (installs a nightly Rust and cargo-fuzz)
	fuzz/run $(FUZZ_SECONDS)

chaos: ## Kill daemons and brokers, many times at random moments (minutes; FERRYD_CHAOS_KILLS=300)
	rabbitmq/node install
	tests/nats-server install
	$(CARGO) test --locked --features failpoints --test it -- --include-ignored chaos:: crash:: outage:: link:: shutdown:: cluster::

bench: ## Throughput, latency and memory beside a minimal and a Node.js consumer (a quarter of an hour; BENCH=--quick: a minute)
	rabbitmq/node install
	benches/node/install
	$(CARGO) bench --locked --bench carry -- $(BENCH)

flame: ## Draw a flame graph of ferryd that drains a queue (target/flame.svg; installs perf, builds inferno)
	rabbitmq/node install
	benches/tools perf inferno
	$(CARGO) bench --locked --profile profiling --bench carry -- --profile $(BENCH)

growth: GROWTH ?= daemons,providers,payloads,records
growth: ## How ferryd's cost grows with daemons, providers, payloads and commands on record (half an hour; GROWTH=daemons)
	rabbitmq/node install
	$(CARGO) bench --locked --bench carry -- --growth $(GROWTH) $(BENCH)

check: lint audit instructions test test-trixie test-interop test-emulators test-examples test-release test-tutorial ## Everything that CI checks

clean: ## Remove what was built, and the set-up of `make up` with its data
	demo/stage down
	rm -rf .run
	$(CARGO) clean
