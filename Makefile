# `make run` and `make test` do all the set-up that they need on Debian and Ubuntu, and say what they install. For tests as
# root that includes a container engine and images of three PostgreSQL versions, which are kept (.ci/setup-tests, .ci/images).

BIN := target/release/pgbench-rs

.PHONY: run test bench bench-clones bench-load bench-paths bench-compare build setup check observe dashboards

run: setup build
	$(BIN) run failover

build:
	cargo build --release --locked

setup:
	@.ci/setup

check:
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

test: setup check
	@.ci/test

# InfluxDB and Grafana in containers, on loopback; prints where they are and how a run goes there.
observe:
	@compose/observe

# Writes grafana/dashboards anew, from the catalogue of what is sampled. A test holds that this was done.
dashboards:
	cargo run --quiet --locked -- dashboards grafana/dashboards

# The harness beside pgbench: same server, interleaved pairs, ratios with intervals.
bench: setup
	cargo bench --locked --bench beside_pgbench -- --pairs 10 --seconds 10

# Thin clones beside what the machine itself takes for a snapshot and a start. Needs root, btrfs-progs and xfsprogs.
bench-clones: setup
	cargo bench --locked --bench clone_floor

# The loader beside psql's \copy: same files, same end state, in turn.
bench-load: setup
	cargo bench --locked --bench load -- --rounds 5
	cargo bench --locked --bench fill_pgbench -- --fsync

# The harness's own hot paths (criterion).
bench-paths: setup
	cargo bench --locked --bench histogram --bench schedule --bench wire --bench ledger --bench reconciler --bench encoding --bench rows --bench proxy --bench server

# The same of another commit and of the working tree, in turn: `make bench-compare BASE=main`. Fails where something is
# slower by more than MARGIN per cent; leaves its table in target/bench-compare/table.md.
BASE ?= main
MARGIN ?= 10
ROUNDS ?= 10
bench-compare: setup
	cargo bench --locked --bench base_and_head -- --base $(BASE) --margin $(MARGIN) --rounds $(ROUNDS)
