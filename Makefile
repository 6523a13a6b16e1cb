# Everything a developer does, one target each; `make` lists them. For GNU make 3.81 (what macOS has) and newer.

PYTHON ?= python3
DEMO_NUMBERS ?= 10000000
# Three tests at a time on two cores: many wait for others.
WORKERS := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) * 3 // 2 or 1)' 2>/dev/null)
# More arguments for pytest, as in: make test ARGS="-k codec -x"
ARGS ?=
# How many calls and how many conversations of frames `make fuzz` has with the native door.
EDGE_CALLS ?= 1000000
EDGE_CONVERSATIONS ?= 200000
# How often `make faults` kills a node on SQLite; on PostgreSQL it does so three tenths as often, and stops the database.
KILLS ?= 2000
# For how long `make shared` kills nodes.
MINUTES ?= 10
# How often `make failovers` kills the primary.
ROUNDS ?= 200
# For how long `make soak` asks a node.
SECONDS ?= 3600
BUF_VERSION := 1.75.0

VENV := .venv
BIN := $(VENV)/bin
CYTHON_SOURCES := $(wildcard src/numcheck/*.pyx src/numcheck/*/*.pyx)
CYTHON_HEADERS := $(wildcard src/numcheck/*.pxd src/numcheck/*/*.px[di] src/numcheck/*.h src/numcheck/*/*.h)
CYTHON_MODULES := $(subst /,.,$(patsubst src/%.pyx,%,$(CYTHON_SOURCES)))

# The native door is built only where libnghttp2 is.
BUILT_MODULES = $(if $(wildcard src/numcheck/_edge.*.so),$(CYTHON_MODULES),$(filter-out numcheck._edge numcheck._load,$(CYTHON_MODULES)))

# Stamps: each is as old as the last time its step succeeded, so that a second run repeats nothing.
ENVIRONMENT := $(VENV)/.environment
INSTALLED := $(VENV)/.installed
TOOLS := build/tools/.installed
NPM := $(shell command -v npm 2>/dev/null)
BUF := build/tools/buf-$(BUF_VERSION)/node_modules/.bin/buf
TYPESCRIPT := build/typescript/.built
CLUSTER := build/cluster/.installed
GO := build/go/ask
JAVA := build/java/classpath

BUILT := $(VENV)/.built

BENCH_TESTS := tests/test_benchmarks.py

SANITIZED := build/sanitized
LEAKS := build/leaks
# What a process has lost is in reports: Python itself loses some, so that a script picks out what is ours.
UNDER_SANITIZERS = PYTHONPATH=$(SANITIZED) PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=1:log_path=$(CURDIR)/$(LEAKS)/report \
	LSAN_OPTIONS=exitcode=0 UBSAN_OPTIONS=halt_on_error=1 LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so)"
# What asks the native door over sockets; other programs, such as node and nginx, do not run with the preload.
EDGE_TESTS := tests/door tests/edge tests/conformance --ignore=tests/edge/test_strangers.py --ignore=tests/edge/test_without.py

COMPILE := uv pip compile --quiet --upgrade --generate-hashes --custom-compile-command "make lock"

.PHONY: help run test check lint format bench bench-check soak bench-peers scale fuzz faults shared protos reference lock clean wheels sbom tools typescript \
	go java cluster failovers

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: $(BUILT) ## Serve on 127.0.0.1:50051, with codes on the console; first fill ./var with DEMO_NUMBERS synthetic numbers
	@test -n "$$(ls -A "$${NUMCHECK_DATA_DIR:-var}" 2>/dev/null)" || $(BIN)/numcheck demo --numbers $(DEMO_NUMBERS)
	@echo "Try, from another terminal, once the node is ready:"
	@echo "  $(BIN)/numcheck check '+7 916 055-06-03' 89161234567 '+7 907 123-45-67'"
	@echo "  $(BIN)/numcheck status"
	@echo "  $(BIN)/numcheck plan show"
	@NUMCHECK_CODE_DELIVERY="$${NUMCHECK_CODE_DELIVERY:-console}" exec $(BIN)/numcheck serve

test: $(BUILT) ## Run every test but those of `make faults` and `make bench-check`; ARGS="..." goes to pytest
	$(BIN)/python -m pytest -n $(WORKERS) --ignore=tests/faults --ignore=$(BENCH_TESTS) $(ARGS)

check: lint $(if $(NPM),$(BUF)) ## Everything of lint; the extensions against their .pyi; buf lint, if npm is installed
	$(BIN)/python -m mypy.stubtest --ignore-disjoint-bases $(BUILT_MODULES)
	$(if $(NPM),$(BUF) lint,@echo "buf lint left out: npm is not installed")

lint: $(BUILT) ## Rules, format, types and the direction of imports: what pre-commit runs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(ENVIRONMENT) ## Format the code and repair what ruff can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(BUILT) ## Run the benchmarks; ARGS="..." goes to pytest
	$(BIN)/python -m pytest benchmarks $(ARGS)

bench-check: $(BUILT) ## Run each benchmark once on little data, and each peer, so that none rots
	$(BIN)/python -m pytest -n $(WORKERS) $(BENCH_TESTS) $(ARGS)

soak: $(BUILT) ## Keep a node busy for SECONDS, and see that it takes no more with time (Linux)
	$(BIN)/python -m benchmarks.soak --seconds $(SECONDS) $(ARGS)

bench-peers: $(BUILT) ## Measure beside Redis, PostgreSQL, gRPC C++ and others into docs/peers.md; ARGS="--small" to try
	@NUMCHECK_SKIP_EXTENSIONS=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--editable '.[peers]' || echo "left out: what of the extra \"peers\" cannot be installed here"
	$(BIN)/python -m benchmarks.peers $(ARGS)

scale: $(BUILT) ## Simulate 100 million users by measured costs: the tables and plots of docs/scale.md
	$(BIN)/python -m benchmarks.scale $(ARGS)

fuzz: $(BUILT) ## Fuzz for long, with the address, undefined-behaviour and leak sanitizers (gcc on Linux)
	rm -rf $(LEAKS) && mkdir -p $(LEAKS)
	NUMCHECK_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-base build/sanitizing --build-lib $(SANITIZED)
	$(UNDER_SANITIZERS) NUMCHECK_EDGE_CALLS=$(EDGE_CALLS) NUMCHECK_EDGE_CONVERSATIONS=$(EDGE_CONVERSATIONS) \
	$(BIN)/python -m pytest tests/fuzz tests/kernel tests/test_e164.py tests/test_lines.py tests/test_packing.py tests/test_wire.py \
	$(EDGE_TESTS) --hypothesis-profile=long --timeout=0 $(ARGS)
	$(BIN)/python scripts/judge_leaks.py $(LEAKS) $(SANITIZED)

# The tests of the campaign itself come first, unless ARGS ask for a certain campaign.
faults: $(BUILT) ## Kill nodes KILLS times amid their work, on both engines, and lose their power
	$(if $(ARGS),,$(BIN)/python -m pytest -n auto tests/faults)
	$(BIN)/python -m tests.faults --kills $(KILLS) $(ARGS)

shared: $(BUILT) ## Kill nodes of one PostgreSQL for MINUTES amid the background work that they share
	$(BIN)/python -m tests.faults.shared_work --minutes $(MINUTES) $(ARGS)

cluster: $(BUILT) $(CLUSTER) ## Run a node over three PostgreSQL under Patroni, fail over, and end; ARGS="--stay" to look around
	$(BIN)/python -m tests.cluster $(ARGS)

failovers: $(BUILT) $(CLUSTER) ## Kill the cluster's primary ROUNDS times amid registrations and pushes, cut its network
	$(BIN)/python -m tests.cluster.failovers --rounds $(ROUNDS) $(ARGS)

wheels: ## Make the wheels of a release in dist/; PYTHONS="..." names the CPythons
	scripts/build_wheels $(PYTHONS)

sbom: $(TOOLS) ## List what a release is made of in dist/numcheck.cdx.json (CycloneDX)
	@mkdir -p dist
	build/tools/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file dist/numcheck.cdx.json requirements/server.lock

tools: $(TOOLS) $(if $(NPM),$(BUF)) ## Install what looks at deploy/ and proto/ and makes the list of `make sbom`, in build/tools

typescript: $(TYPESCRIPT) ## Make the TypeScript client in build/typescript (needs npm)

go: $(GO) ## Make the Go client of clients/go in build/go and try it (Debian; docs/other-languages.md has the packages)
	$(BIN)/python -m pytest -q tests/client/test_other_languages.py -k go

java: $(JAVA) ## Make the Java client of clients/java in build/java and try it (Debian, as above)
	$(BIN)/python -m pytest -q tests/client/test_other_languages.py -k java

protos: $(ENVIRONMENT) ## Generate src/numcheck/v1 from proto/
	$(BIN)/python scripts/generate_protos.py

reference: $(BUILT) ## Generate docs/commands.md from the commands' own help, and docs/api.md from proto/
	$(BIN)/python scripts/generate_commands_page.py
	$(BIN)/python scripts/generate_api_page.py

lock: ## Refresh the locks in requirements/ to the newest versions that pyproject.toml allows (needs uv)
	@command -v uv >/dev/null 2>&1 || { echo "make lock needs uv on PATH"; exit 1; }
	$(COMPILE) --universal --fork-strategy fewest --python-version 3.11 --extra dev --output-file requirements/dev.lock pyproject.toml
	$(COMPILE) --universal --fork-strategy fewest --python-version 3.11 --group build --output-file requirements/build.lock
	$(COMPILE) --universal --fork-strategy fewest --python-version 3.11 --group tools --output-file requirements/tools.lock
	$(COMPILE) --universal --fork-strategy fewest --python-version 3.11 --group cluster --output-file requirements/cluster.lock
	$(COMPILE) --constraints requirements/dev.lock --python-version 3.13 --python-platform x86_64-manylinux_2_34 \
		--extra page --extra postgresql --extra smpp --extra traces --output-file requirements/server.lock pyproject.toml

clean: ## Remove what was built, and the environment; ./var stays
	rm -rf $(VENV) build dist src/numcheck.egg-info .benchmarks .coverage .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find src \( -name '*.so' -o -name '*.c' \) -exec rm -f {} +
	find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +

# --no-deps: the lock holds every dependency, and overrides one limit that pip would enforce (pyproject.toml, tool.uv).
$(ENVIRONMENT): requirements/dev.lock
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "numcheck needs python3, 3.11 or newer: apt install python3-venv python3-dev gcc make (macOS: xcode-select --install)"; exit 1; }
	@$(PYTHON) scripts/preflight.py
	@echo "Making $(VENV): a minute the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.lock
	@touch $@

# The messages are generated from proto/, and those of errors' details from googleapis-common-protos. Numbers of telephones
# have 15 digits at most, which a number of JavaScript holds exactly.
$(TYPESCRIPT): $(ENVIRONMENT) $(wildcard proto/numcheck/v1/*.proto clients/typescript/*.json clients/typescript/*/*.ts)
	@mkdir -p build/typescript/src/v1
	@cp -R clients/typescript/. build/typescript
	@cd build/typescript && npm ci --silent --no-audit --no-fund --ignore-scripts
	@$(BIN)/python -m grpc_tools.protoc -Iproto -I$(wildcard $(VENV)/lib/python3*/site-packages) \
		--plugin=build/typescript/node_modules/.bin/protoc-gen-ts_proto --ts_proto_out=build/typescript/src/v1 \
		--ts_proto_opt=outputServices=grpc-js,esModuleInterop=true,env=node,importSuffix=.js \
		--ts_proto_opt=forceLong=number,oneof=unions-value,removeEnumPrefix=true,useOptionals=messages \
		google/rpc/error_details.proto google/rpc/status.proto $(patsubst proto/%,%,$(wildcard proto/numcheck/v1/*.proto))
	@cd build/typescript && npm run --silent build
	@touch $@

# Debian's gRPC for Go depends on a runtime of protobuf that is older than its generator; the newer one cannot be
# installed beside it, and so is only unpacked.
CHECK_PROTOS := numcheck/v1/check.proto numcheck/v1/number.proto
GO_PACKAGE := numcheck.example/client/numcheckv1
GO_RUNTIME := golang-github-golang-protobuf-1-5-dev

$(GO): $(BUILT) $(wildcard clients/go/*.go) $(addprefix proto/,$(CHECK_PROTOS))
	@mkdir -p build/go/src
	@cd build/go && apt-get download -qq $(GO_RUNTIME) && dpkg -x $(GO_RUNTIME)_*.deb .
	@protoc -Iproto --go_out=build/go/src --go-grpc_out=build/go/src $(CHECK_PROTOS) \
		$(foreach proto,$(CHECK_PROTOS),--go_opt=M$(proto)=$(GO_PACKAGE) --go-grpc_opt=M$(proto)=$(GO_PACKAGE))
	@GO111MODULE=off GOPATH=$(CURDIR)/build/go:$(CURDIR)/build/go/usr/share/gocode:/usr/share/gocode \
		go build -o $@ ./clients/go

# Of the errors' details Debian has an old version.
JAVA_JARS = $(wildcard $(addprefix /usr/share/java/,grpc-*.jar netty-*.jar protobuf.jar guava.jar perfmark-api.jar \
	proto-google-common-protos.jar geronimo-annotation-1.3-spec.jar))
EMPTY :=
JAVA_CLASSPATH = build/java/classes:$(subst $(EMPTY) $(EMPTY),:,$(JAVA_JARS))

$(JAVA): $(BUILT) $(wildcard clients/java/*.java) $(addprefix proto/,$(CHECK_PROTOS))
	@mkdir -p build/java/src
	@protoc -Iproto -I$(wildcard $(VENV)/lib/python3*/site-packages) --java_out=build/java/src \
		--grpc-java_out=build/java/src --plugin=protoc-gen-grpc-java="$$(command -v grpc_java_plugin)" \
		$(CHECK_PROTOS) google/rpc/error_details.proto
	@javac -proc:none -cp $(JAVA_CLASSPATH) -d build/java/classes $$(find build/java/src -name '*.java') clients/java/*.java
	@printf '%s' $(JAVA_CLASSPATH) >$@

$(TOOLS): requirements/tools.lock
	@$(PYTHON) -m venv build/tools
	@build/tools/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/tools.lock
	@touch $@

# What Patroni works with comes from the distribution, where that can be had without asking.
$(CLUSTER): requirements/cluster.lock
	@for program in etcd:etcd-server haproxy:haproxy pgbouncer:pgbouncer; do \
		PATH="$$PATH:/usr/sbin" command -v $${program%:*} >/dev/null || missing="$$missing $${program#*:}"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	elif [ -n "$$missing" ]; then \
		echo "make cluster needs: apt install$$missing"; exit 1; fi
	@$(PYTHON) -m venv build/cluster
	@build/cluster/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/cluster.lock
	@touch $@

$(BUF):
	@npm install --silent --no-audit --no-fund --prefix build/tools/buf-$(BUF_VERSION) @bufbuild/buf@$(BUF_VERSION)


$(INSTALLED): $(ENVIRONMENT) pyproject.toml setup.py
	@NUMCHECK_SKIP_EXTENSIONS=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

$(BUILT): $(INSTALLED) $(CYTHON_SOURCES) $(CYTHON_HEADERS)
	@echo "Building $(CYTHON_MODULES)"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@
