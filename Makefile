# What a person types. Everything else is behind these.

SWIFT ?= swift
JOBS ?= $(shell nproc)
# How many tests run at the same time. All of them at once, which is the default, take six times as long on two cores.
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH ?= $(shell echo $$((4 * $$(nproc))))

.DEFAULT_GOAL := help
.PHONY: help setup build debug demo test test-login test-thread test-address chaos soak bench lint format clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the Debian packages that are missing
	@Scripts/install-dependencies.sh

build: setup ## Build the agent, the backend and the client for use, in .build/release
	$(SWIFT) build -c release --static-swift-stdlib -j $(JOBS) --product runbook-agent
	$(SWIFT) build -c release --static-swift-stdlib -j $(JOBS) --product runbook-backend
	$(SWIFT) build -c release --static-swift-stdlib -j $(JOBS) --product runbook

demo: setup ## Start the backend and the agent on this host and run the example
	@Scripts/demo.sh

test: ## Run every test; as root those of the executors as an ordinary user too (FILTER=OutboxTests for some)
	@Scripts/install-dependencies.sh test
	$(SWIFT) build -j $(JOBS) --build-tests
ifdef FILTER
	$(SWIFT) test --skip-build --filter '$(FILTER)'
else
	Scripts/test-checks.sh
	$(SWIFT) test --skip-build --filter 'ChaosTests|LoadTests'
	$(SWIFT) test --skip-build --skip 'ChaosTests|LoadTests'
	Scripts/count-instructions.sh
	Scripts/test-as-user.sh
endif

debug: ## Run the agent under gdb (ARGS="plugin call ./disk.py disk_usage")
	$(SWIFT) build -j $(JOBS) --product runbook-agent
	gdb -ex 'handle SIGUSR1 SIGPIPE nostop noprint' --args .build/debug/runbook-agent $(ARGS)

test-login: ## Test the login in a real browser (ARGS="-k denied")
	@Scripts/test-login.sh $(ARGS)

test-thread: setup ## Run the tests of embedding, executor, journal and HTTP under the thread sanitizer
	TSAN_OPTIONS='suppressions=$(CURDIR)/Tests/thread-sanitizer.supp' \
		$(SWIFT) test -j $(JOBS) --sanitize=thread --scratch-path .build/thread \
		--filter 'PythonEmbeddingTests|PluginExecutionTests|RunJournalTests|BackendClientTests'

test-address: setup ## Run the same under the address sanitizer
	ASAN_OPTIONS=detect_leaks=0 $(SWIFT) test -j $(JOBS) --sanitize=address --scratch-path .build/address \
		--filter 'PythonEmbeddingTests|PluginExecutionTests|RunJournalTests|BackendClientTests'

chaos: setup ## Kill an agent 200 times and count what was lost or repeated (ARGS="--kills 1000 --seed N")
	@Scripts/chaos.sh $(or $(ARGS),--kills 200)

soak: setup ## Run 200,000 tasks in one agent and see what it holds at the end (ARGS="--runs N")
	@CONFIGURATION=release Scripts/chaos.sh soak $(ARGS)

bench: setup ## Measure against the floor and print the table
	@Scripts/bench.sh

lint: ## Check the format, the imports and the scripts
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Benchmarks
	Scripts/check-imports.sh
	Scripts/check-errors.sh
	Scripts/check-unused.sh
	Scripts/check-python.sh

format: ## Format the sources
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Benchmarks
	Scripts/check-python.sh format

clean: ## Remove what was built
	rm -rf .build Benchmarks/.build .demo
