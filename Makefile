# The targets for people. `make run` is the one to begin with.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
HOST    := $(shell rustc --version --verbose 2>/dev/null | sed -n 's/^host: //p')
SVINIT  := $(or $(CARGO_TARGET_DIR),target)/$(HOST)/release/svinit

# No path of this machine in the executable: the same sources and compiler make the same file everywhere.
CARGO_HOME ?= $(HOME)/.cargo
# Relocations in their short form save 150 KiB; a static executable understands them since glibc 2.36.
PACKED := $(shell getconf GNU_LIBC_VERSION 2>/dev/null | awk '{ split($$2, v, "."); if (v[1] > 2 || v[2] >= 36) \
  print ", \"-Clink-arg=-Wl,-z,pack-relative-relocs\"" }')
FLAGS := target."cfg(all(target_os = \"linux\", target_env = \"gnu\"))".rustflags = \
  ["--remap-path-prefix=$(CARGO_HOME)=/cargo", "--remap-path-prefix=$(CURDIR)=/svinit"$(PACKED)]
RELEASE = $(CARGO) build --release --locked --config '$(FLAGS)'

.PHONY: help build release where images image-from-source demo numbers reproducible run bench bench-manager test proof-manager patroni swarm check-model mutants coverage sweep fuzz soak proof lint deny install clean

help:
	@echo "make run                nginx, a Django app and PostgreSQL as units of one svinit, in the foreground"
	@echo "make images             the Docker images, and an engine where there is none; IMAGES=\"nginx postgres\" only these"
	@echo "make image-from-source  the image svinit alone, compiled by Docker out of ./Dockerfile; needs no cargo"
	@echo "make demo SYSTEM=NAME   a system of compose/, up and healthy: cluster, flask ...; DEMO=down takes it away"
	@echo "make numbers            sizes of images, start times, restart of a service beside restart of its container"
	@echo "make test               every test, after installing what they need"
	@echo "make patroni            every fault of a replicated database, and no acknowledged row lost"
	@echo "make swarm              three machines with an engine each: Ansible deploys to them, one dies and comes back"
	@echo "make check-model        every path of two units with three disturbances: ten million states"
	@echo "make mutants            small mistakes in the lifecycle that no test sees; at most a tenth may be left"
	@echo "make coverage           lines of the lifecycle that its tests run; fails below 95 %"
	@echo "make sweep              each system call of svinit fails once: half an hour"
	@echo "make fuzz               a million inputs for everything that reads bytes of others"
	@echo "make soak               15 minutes of restarts, crashes, requests and logs; nothing may grow"
	@echo "make proof               100,000 requests through each planned change, and none may fail"
	@echo "make proof-manager      svmanager: 2 GiB, 20,000 requests, twenty kills of each service, an hour of silence"
	@echo "make lint               formatting, clippy with warnings as errors, cargo-deny, shellcheck, hadolint"
	@echo "make build              target/.../release/svinit, one static file"
	@echo "make bench              svinit, a floor and other supervisors in turns, and the table of ratios"
	@echo "make bench-manager      svmanager beside nginx as a proxy, in turns, and how soon it heals"
	@echo "make reproducible       builds HEAD twice, in two places, and compares the files"
	@echo "make install PREFIX=D   svinit and its links into D/bin (default $(PREFIX))"
	@echo "make clean              removes target/, not the state of make run"

build:
	@scripts/setup build
	$(RELEASE)

# The same where everything is installed, and into DESTDIR if there is one: what ./Dockerfile calls.
release:
	$(RELEASE)
	$(if $(DESTDIR),install -D -m 0755 $(SVINIT) $(DESTDIR)$(PREFIX)/bin/svinit)

where:
	@echo $(SVINIT)

images:
	@scripts/images $(IMAGES)

image-from-source:
	@SVINIT_BINARY=docker scripts/images svinit

# DEMO=down takes the system away.
demo:
	@scripts/demo "$(SYSTEM)" $(DEMO)

# UPDATE=1 writes the table of README.md.
numbers:
	@tests/docker-here up
	NUMBERS=$(or $(NUMBERS),10) SVINIT_BINARY=$$($(RELEASE) >&2 && echo $(SVINIT)) $(CARGO) test --locked --test docker numbers -- --nocapture --test-threads=1

run:
	@scripts/setup run
	$(RELEASE)
	@scripts/stack run $(SVINIT)

bench:
	@scripts/setup bench
	$(RELEASE)
	@bench/run $(SVINIT)

# ROUNDS=5 SECONDS=5; UPDATE=1 writes the tables of README.md.
bench-manager:
	@scripts/setup bench-manager
	$(RELEASE)
	@bench/manager.py $(SVINIT) $(or $(ROUNDS),5) $(or $(SECONDS),5)

test:
	@scripts/setup test
	$(CARGO) test --locked --no-fail-fast

patroni:
	@scripts/setup test
	PATRONI=1 $(CARGO) test --locked --test docker patroni -- --nocapture

swarm:
	@scripts/setup test
	SWARM=1 $(CARGO) test --locked --test docker swarm -- --nocapture

check-model:
	MODEL_DISTURBANCES=3 $(CARGO) test --locked --lib lifecycle::model -- --nocapture

# MUTANTS="--sample 300" takes every so-manieth only, MUTANTS="--only 17" one.
mutants:
	$(CARGO) run --release --locked --manifest-path tools/mutants/Cargo.toml -- . $(MUTANTS)

coverage:
	@scripts/coverage

# SWEEP=every: not one error a call in turn, but each of them.
sweep:
	SWEEP=$(or $(SWEEP),all) $(CARGO) test --locked --test it sweep:: -- --nocapture

# FUZZ_SEED=2 for another million.
fuzz:
	FUZZ_RUNS=$(or $(FUZZ_RUNS),1000000) $(CARGO) test --locked --test fuzz -- --nocapture

# SOAK=60 for one minute.
soak:
	SOAK=$(or $(SOAK),900) $(CARGO) test --release --locked --test soak

# PROOF=5000 for a quick look, UPDATE=1 writes the tables of README.md.
proof:
	@scripts/setup test
	PROOF=$(or $(PROOF),100000) $(CARGO) test --release --locked --test proof

# What svmanager promises, as long as it promises it; in `make test` each of them is short. IDLE=60 for a minute of silence.
proof-manager:
	@scripts/setup test
	MANAGER_BYTES=2147483648 MANAGER_REQUESTS=20000 MANAGER_IDLE=$(or $(IDLE),3600) $(CARGO) test --locked --test manager -- --nocapture
	MANAGER_KILLS=$(or $(KILLS),20) $(CARGO) test --locked --test docker healing:: -- --nocapture

reproducible:
	@scripts/reproducible

lint: deny
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck -x scripts/setup scripts/stack scripts/reproducible scripts/coverage scripts/images scripts/secrets scripts/demo compose/*/preflight compose/*/restart images/*/bin/* tests/docker-here bench/peers bench/run .ci/run; \
	elif [ -n "$$CI" ]; then echo "lint: shellcheck is missing" >&2; exit 1; \
	else echo "skipped: shellcheck is not installed"; fi
	@hadolint=$$(command -v hadolint || echo target/tools/hadolint); \
	if [ -x "$$hadolint" ]; then "$$hadolint" Dockerfile images/*/Dockerfile; \
	elif [ -n "$$CI" ]; then echo "lint: hadolint is missing" >&2; exit 1; \
	else echo "skipped: hadolint is not installed (scripts/setup test fetches it)"; fi

# Licences, banned crates and sources; advisories need a database from the network: `cargo deny check advisories`.
deny:
	@deny=$$(command -v cargo-deny || echo target/tools/cargo-deny); \
	if [ -x "$$deny" ]; then "$$deny" --locked check --hide-inclusion-graph licenses bans sources; \
	elif [ -n "$$CI" ]; then echo "lint: cargo-deny is missing" >&2; exit 1; \
	else echo "skipped: cargo-deny is not installed (scripts/setup test fetches it)"; fi

install: build
	install -D -m 0755 $(SVINIT) $(DESTDIR)$(PREFIX)/bin/svinit
	$(DESTDIR)$(PREFIX)/bin/svinit --link $(DESTDIR)$(PREFIX)/bin

clean:
	$(CARGO) clean
