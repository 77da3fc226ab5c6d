# The targets for people. `make run` is the one to begin with.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
HOST    := $(shell rustc --version --verbose 2>/dev/null | sed -n 's/^host: //p')
SVINIT  := $(or $(CARGO_TARGET_DIR),target)/$(HOST)/release/svinit

.PHONY: help build run test lint install clean

help:
	@echo "make run                nginx, a Django app and PostgreSQL as units of one svinit, in the foreground"
	@echo "make test               every test, after installing what they need"
	@echo "make lint               formatting, clippy with warnings as errors, shellcheck"
	@echo "make build              target/.../release/svinit, one static file"
	@echo "make install PREFIX=D   svinit and its links into D/bin (default $(PREFIX))"
	@echo "make clean              removes target/, not the state of make run"

build:
	@scripts/setup build
	$(CARGO) build --release --locked

run:
	@scripts/setup run
	$(CARGO) build --release --locked
	@scripts/stack run $(SVINIT)

test:
	@scripts/setup test
	$(CARGO) test --locked

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck -x scripts/setup scripts/stack .ci/run; \
	elif [ -n "$$CI" ]; then echo "lint: shellcheck is missing" >&2; exit 1; \
	else echo "skipped: shellcheck is not installed"; fi

install: build
	install -D -m 0755 $(SVINIT) $(DESTDIR)$(PREFIX)/bin/svinit
	$(DESTDIR)$(PREFIX)/bin/svinit --link $(DESTDIR)$(PREFIX)/bin

clean:
	$(CARGO) clean
