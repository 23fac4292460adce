# `make run` trains; `make test` checks everything. Both install missing Debian packages when run
# by root and otherwise print the command that does.

.DEFAULT_GOAL := build
.PHONY: run run-moe build test lint format-check bench fuzz dependencies test-dependencies clean

CLUSTER ?= Cluster/shanghai-jinan.yaml
# Further arguments, as in: make run ARGS="--steps 60 --json"
ARGS ?=
# Debian's interpreter, which has Debian's modules; another one in PATH does not.
PYTHON := /usr/bin/python3
# On a terminal the build draws one line; in a log it would print thousands.
QUIET := $(shell [ -t 2 ] || echo --quiet)
SWIFT_BUILD := swift build -c release $(QUIET) --explicit-target-dependency-import-check error

run: dependencies build
	.build/release/longhaul up $(CLUSTER) $(ARGS)

# The same cluster with a mixture of experts.
run-moe:
	@$(MAKE) --no-print-directory run CLUSTER=Cluster/moe.yaml

build: dependencies
	$(SWIFT_BUILD)

# Release: the instruction-set wrappers are only right with -O (docs/footguns.md), and checks are
# preconditions, which release keeps. The tidy rules are among the tests. Whole clusters run by
# themselves, after everything else.
test: test-dependencies build
	$(SWIFT_BUILD) --build-tests
	.ci/swift-test --skip-build --skip SystemTests
	.ci/swift-test --skip-build --filter SystemTests
	$(if $(wildcard Protocols/python),$(PYTHON) -m pytest -q Protocols/python)

lint: format-check
	.ci/swift-test --filter TidyTests

format-check:
	swift format lint --strict --recursive --parallel Package.swift Sources Tests Fuzz

bench: dependencies build
	.build/release/longhaul bench $(ARGS)

# Every decoder of bytes from a peer, 10 s each, under AddressSanitizer; ARGS="--seconds 60 --only rice".
fuzz: dependencies
	Fuzz/run $(ARGS)

dependencies:
	@.ci/dependencies run

test-dependencies:
	@.ci/dependencies test

clean:
	swift package clean
