# Try and test the project on Debian or Ubuntu, as root, from a fresh machine on.
#
# Building alone needs only Rust and a C linker: cargo build --release

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
export PATH := $(HOME)/.cargo/bin:$(PATH)
RUST := 1.95
export DEBIAN_FRONTEND := noninteractive

.PHONY: help run test check unit-test vm-test build-tools test-tools

help:
	@echo "make run    build, start the agent and print its events until Ctrl-C (as root)"
	@echo "make test   all checks and tests, in virtual machines and on this kernel (as root)"

run: build-tools
	cargo xtask run

test: check unit-test vm-test

check: build-tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

unit-test: build-tools
	cargo test --workspace --quiet

# Ends with the line "N passed, N failed".
vm-test: build-tools test-tools
	cargo xtask vm

# Rust by rustup, unless there is a cargo; where apt has no rustup, by its installer.
build-tools:
	@test "$$(id -u)" = 0 || { echo "BPF programs are loaded here: run this as root" >&2; exit 1; }
	if ! command -v cc || ! command -v strip; then
	    apt-get -q update
	    apt-get -q install -y --no-install-recommends gcc libc6-dev binutils
	fi >/dev/null
	if ! command -v cargo >/dev/null; then
	    apt-get -q update
	    if ! apt-get -q install -y --no-install-recommends rustup; then
	        apt-get -q install -y --no-install-recommends ca-certificates curl
	        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
	    fi
	    rustup toolchain install stable --profile minimal --component rustfmt,clippy
	    rustup default stable
	fi
	version=$$(cargo --version | cut -d ' ' -f 2)
	if [ "$$(printf '%s\n' $(RUST) "$$version" | sort -V | head -n 1)" != $(RUST) ]; then
	    echo "cargo $$version is too old, $(RUST) is needed: see https://rustup.rs" >&2
	    exit 1
	fi

# A qemu-utils of another version than apt's qemu conflicts with it and has to go.
test-tools:
	@if ! command -v qemu-system-x86_64 >/dev/null; then
	    apt-get -q update
	    apt-get -q install -y --no-install-recommends qemu-system-x86 ||
	        apt-get -q install -y --no-install-recommends qemu-system-x86 qemu-utils-
	fi
