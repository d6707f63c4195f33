# Targets for people and for CI. They need Go, make and a C and C++ compiler.
# 'make' lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go

# make run
DATA ?= data
HTTP ?= 127.0.0.1:8080
TRAFFIC ?= 20
RUNFLAGS ?=

# make test, race, bench-all, fuzz
PKG ?= ./...
TESTFLAGS ?=
BENCH ?= .
BENCHTIME ?= 1s
FUZZTIME ?= 30s

# make check-sql
SQLFLAGS ?=

# make flink-test
FLINKFLAGS ?=

# make load-test
RATE ?= 100000
DURATION ?= 1m
LOADFLAGS ?=
JOBFLAGS ?= --counts=false

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z_-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nVariables, as in make run TRAFFIC=100:\n'
	@printf '  run          DATA=%s HTTP=%s TRAFFIC=%s (entries a second) RUNFLAGS=\n' '$(DATA)' '$(HTTP)' '$(TRAFFIC)'
	@printf '  test, race   PKG=%s TESTFLAGS=\n' '$(PKG)'
	@printf '  bench-all    PKG=%s BENCH=%s BENCHTIME=%s\n' '$(PKG)' '$(BENCH)' '$(BENCHTIME)'
	@printf '  check-sql    SQLFLAGS= (-update: write the columns of views anew)\n'
	@printf '  load-test    RATE=%s (entries a second) DURATION=%s LOADFLAGS=%s JOBFLAGS=%s\n' '$(RATE)' '$(DURATION)' '$(LOADFLAGS)' '$(JOBFLAGS)'
	@printf '  flink-test   FLINKFLAGS=%s (--help lists them) FLINK_JOB_SERVER= FLINK_HOME=\n' '$(FLINKFLAGS)'
	@printf '  fuzz         PKG=%s FUZZTIME=%s for each target\n' '$(PKG)' '$(FUZZTIME)'

.PHONY: run
run: bin/pixellocal bin/pixelctl ## Run everything on this machine, with generated traffic
	exec bin/pixellocal --data '$(DATA)' --http '$(HTTP)' --traffic '$(TRAFFIC)' $(RUNFLAGS)

.PHONY: build
build: bin/pixelbeam bin/pixellocal bin/pixelctl bin/pixelload ## Build the programs into bin/

# The go command knows what has changed, so it always decides. The job is pure Go,
# as it is shipped to workers; the others are built like the tests, so that what
# they have in common is compiled once.
.PHONY: bin/pixelbeam bin/pixellocal bin/pixelctl bin/pixelload
bin/pixelbeam: toolchain
	CGO_ENABLED=0 $(GO) build -o $@ ./cmd/pixelbeam
bin/pixellocal bin/pixelctl bin/pixelload: compiler
	CGO_ENABLED=1 $(GO) build -o $@ ./cmd/$(@F)

# What workers run: static, without symbols, the same bytes from every folder.
# The tag leaves out Cloud Storage over gRPC, which nothing here uses.
RELEASE := bin/release/pixelbeam-linux
RELEASEFLAGS := -trimpath -tags disable_grpc_modules -ldflags '-s -w -buildid='

.PHONY: release
release: toolchain ## Build the job for workers on amd64 and arm64, into bin/release/
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build $(RELEASEFLAGS) -o $(RELEASE)-amd64 ./cmd/pixelbeam
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build $(RELEASEFLAGS) -o $(RELEASE)-arm64 ./cmd/pixelbeam
	sha256sum $(RELEASE)-* | tee $(RELEASE).sha256

# Built again from a copy in another folder, the programs must have the same bytes.
.PHONY: check-release
check-release: release ## Check that the programs for workers are static, small and reproducible
	@for arch in amd64 arm64; do \
		size=$$(stat -c %s $(RELEASE)-$$arch); \
		echo "$(RELEASE)-$$arch: $$((size / 1000000)) MB"; \
		((size < 60000000)) || { echo 'It is over 60 MB: look for what was linked with go list -deps ./cmd/pixelbeam.' >&2; exit 1; }; \
		! LC_ALL=C grep -q -a 'ld-linux' <(head -c 4096 $(RELEASE)-$$arch) || { echo 'It is linked dynamically.' >&2; exit 1; }; \
	done
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
	git clone -q . "$$copy/pixelbeam"; \
	$(MAKE) -C "$$copy/pixelbeam" release >/dev/null; \
	(cd "$$copy/pixelbeam" && sha256sum $(RELEASE)-*) | diff - $(RELEASE).sha256 || { echo 'Another folder gives other bytes: commit first, or look for what differs.' >&2; exit 1; }; \
	echo 'The same bytes from another folder.'
	@case $$(uname -sm) in 'Linux x86_64') $(RELEASE)-amd64 --version; esac
	@if command -v qemu-aarch64-static >/dev/null; then qemu-aarch64-static $(RELEASE)-arm64 --version; \
	else echo 'The program for arm64 was not run: there is no qemu-aarch64-static (Debian, Ubuntu: apt-get install qemu-user-static).'; fi

##@ Develop

.PHONY: test
test: compiler ## Run all tests
	$(GO) test $(TESTFLAGS) $(PKG)

.PHONY: check
check: compiler check-format check-generated check-modules ## Check format, vet, staticcheck, generated files, modules, layering, rivals
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./internal/layering
	$(RIVALS) vet ./...
	$(RIVALS) test ./...
	$(GO) test -tags purego ./transforms/bytescan ./transforms/logentry ./transforms/pixelurl

.PHONY: check-format
check-format: toolchain
	@if [[ -n "$$(gofmt -l .)" ]]; then \
		gofmt -d .; \
		echo 'These files are not formatted: run gofmt -w on them.' >&2; exit 1; fi

# In a copy, so that it changes nothing and needs no version control.
.PHONY: check-generated
check-generated: toolchain
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
	cp -R go.mod go.sum schemas "$$copy"; \
	(cd "$$copy" && $(GO) generate ./schemas/...); \
	diff -ru schemas "$$copy/schemas" || { echo 'Generated files are out of date: run make generate.' >&2; exit 1; }

.PHONY: check-modules
check-modules: toolchain
	@$(GO) mod tidy -diff || { echo 'go.mod or go.sum is out of date: run go mod tidy.' >&2; exit 1; }
	@$(RIVALS) mod tidy -diff || { echo 'go.mod or go.sum of internal/rivals is out of date: run go mod tidy there.' >&2; exit 1; }

# Google's analyzer of GoogleSQL, compiled to Go: its first build takes minutes and
# 6.4 GB of memory, so it is in a module and a target of its own.
SQLCHECK := $(GO) -C internal/sqlcheck

.PHONY: check-sql
check-sql: toolchain ## Analyse every SQL statement as GoogleSQL against our schemas (first build: minutes)
	@$(SQLCHECK) mod tidy -diff || { echo 'go.mod or go.sum of internal/sqlcheck is out of date: run go mod tidy there.' >&2; exit 1; }
	$(SQLCHECK) vet ./...
	$(SQLCHECK) test ./... $(SQLFLAGS)

# Terraform itself, with the providers of the registry, and nothing of the cloud.
.PHONY: infra-check
infra-check: ## Check format, validity and tests of the Terraform configuration
	@command -v terraform >/dev/null || { \
		echo 'There is no terraform command. Install Terraform 1.11 or newer: https://developer.hashicorp.com/terraform/install' >&2; exit 1; }
	@terraform -chdir=infra fmt -check -recursive || { echo 'These files are not formatted: run terraform -chdir=infra fmt -recursive.' >&2; exit 1; }
	@terraform -chdir=infra init -backend=false -input=false >/dev/null || { \
		echo 'Terraform could not get the providers hashicorp/google and google-beta: they come from registry.terraform.io.' >&2; exit 1; }
	terraform -chdir=infra validate
	terraform -chdir=infra test

.PHONY: race
race: compiler ## Run all tests with the race detector, long comparisons shortened
	$(GO) test -race -short -timeout 30m $(TESTFLAGS) $(PKG)

# The libraries that the decoder is measured with are in a module of their own.
RIVALS := $(GO) -C internal/rivals

.PHONY: bench
bench: toolchain ## Compare the decoder with libraries, in one table
	@$(RIVALS) run .

.PHONY: bench-docs
bench-docs: toolchain ## The same, into the README
	@$(RIVALS) run . -readme ../../README.md

.PHONY: bench-all
bench-all: compiler ## Run all benchmarks
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime '$(BENCHTIME)' -benchmem $(TESTFLAGS) $(PKG)

.PHONY: load-test
load-test: bin/pixelbeam bin/pixelload ## Run the job at RATE for DURATION; print rate, CPU, memory, books
	bin/pixelload --rate '$(RATE)' --duration '$(DURATION)' $(LOADFLAGS) -- bin/pixelbeam --quiet $(JOBFLAGS)

# What it fetches, Flink and Beam's job server, is kept in the user's cache.
.PHONY: flink-test
flink-test: bin/pixelbeam compiler ## Run the job on Flink: kill its parts, go on from a savepoint, count
	CGO_ENABLED=1 $(GO) run ./cmd/internal/flinktest --job bin/pixelbeam $(FLINKFLAGS)

.PHONY: fuzz
fuzz: compiler ## Run each fuzz target for FUZZTIME
	@$(GO) test -list '^Fuzz' $(PKG) | \
	awk '/^Fuzz/ { targets[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, targets[i]; n = 0 }' | \
	while read -r package target; do \
		echo "== $$package $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime '$(FUZZTIME)' "$$package" </dev/null; \
	done

.PHONY: generate
generate: compiler ## Generate the Go types of row messages, docs/flags.md, pixelctl's built queries
	$(GO) generate ./schemas/...
	PIXELBEAM_WRITE_FLAGS=1 $(GO) test -count=1 -run '^TestFlagReference$$' ./cmd/pixelbeam ./cmd/pixellocal ./cmd/pixelctl
	PIXELCTL_WRITE_QUERIES=1 $(GO) test -count=1 -run '^TestBuiltQueries$$' ./cmd/pixelctl

.PHONY: clean
clean: ## Remove bin/ (data folders stay)
	rm -rf bin

.PHONY: toolchain
toolchain:
	@command -v $(GO) >/dev/null || { \
		echo 'There is no go command. Install Go 1.26 or newer: https://go.dev/doc/install' >&2; exit 1; }

.PHONY: compiler
compiler: toolchain
	@for c in $$($(GO) env CC) $$($(GO) env CXX); do command -v "$$c" >/dev/null || { \
		echo "There is no $$c. The local BigQuery is DuckDB, which needs a C and C++ compiler to be linked:" >&2; \
		echo "install them (Debian, Ubuntu: apt-get install gcc g++; macOS: xcode-select --install), or name others with CC= and CXX=." >&2; \
		exit 1; }; done
