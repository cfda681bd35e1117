# winnow. `make` alone lists the targets; each works from a clean clone, in any order and twice.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Prerequisites run from left to right, one at a time: each compile takes all cores anyway.
.NOTPARALLEL:

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
DEMO_CONFIG := configs/demo/winnow.yaml
DEMO_WORKSPACE := build/demo/workspace
CONFIGS = $(shell git ls-files configs/demo/winnow.yaml ':(glob)configs/examples/*.yaml')
SCRIPTS = $(shell git ls-files '*.sh' .ci/run)
FUZZTIME ?= 30s
DOCKER ?= docker
# After a setup without root Go needs to be told where .deps is.
GO := . ./env.sh && go
# Hundreds of lines on a new machine, of no use to anyone.
NO_DOWNLOADS := 2> >(grep -v '^go: downloading' >&2)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nStart with `make demo`. `./setup.sh -h` says what is installed and where.\n'

# ---- to use it

.PHONY: setup setup-demo setup-test setup-bench setup-lint
setup: ## install libraries and models into .deps (FAISS=fast builds FAISS with AVX2 and AVX-512)
	@./setup.sh
setup-demo:
	@./setup.sh demo
setup-test:
	@./setup.sh test demo
setup-bench:
	@./setup.sh test demo bench
setup-lint:
	@./setup.sh lint

.PHONY: build binary
build: setup binary ## compile ./build/winnow
binary:
	@echo 'build      ./build/winnow (the first time compiles DuckDB and the cloud clients: 2 minutes)'
	@$(GO) build -buildvcs=false -ldflags '$(LDFLAGS)' -o build/winnow ./jobs/winnow $(NO_DOWNLOADS)

.PHONY: demo run-demo
demo: setup-demo binary run-demo ## run everything once, on 785 captioned pictures
run-demo:
	@. ./env.sh && ./testdata/demo.sh

# ---- to change it

.PHONY: test go-test
test: setup-test go-test binary run-demo run-interop ## run all tests, with the race detector, and the interop checks
go-test:
	@echo 'test       go test -race ./...'
	@$(GO) test -race -timeout 40m ./... $(NO_DOWNLOADS)

.PHONY: interop run-interop
interop: setup-test binary run-demo run-interop ## compare models, vectors, scores, tables and indexes with Python's
run-interop:
	@echo 'interop    conversions that went wrong are caught'
	@.deps/venv/bin/python -B models/convert/test_convert.py .deps/src/weights/efficientnet-lite0-57934424.pth .deps/src/weights/weights.npz
	@echo 'interop    the workspace of the demo, read by other programs'
	@$(GO) build -o build/ ./testdata/tools/pixels ./testdata/tools/tokens ./testdata/tools/diagnose
	@testdata/interop/run.sh $(DEMO_WORKSPACE) $(DEMO_CONFIG)

.PHONY: test-cloud
test-cloud: ## run the stores' and tables' suites on emulators of Google's and Azure's storage (needs npm)
	@./setup.sh cloud
	@. ./env.sh && python3 testdata/cloud.py ./io/store ./io/table

.PHONY: lint run-lint
lint: setup-lint run-lint binary lint-configs ## check format, vet, staticcheck, go.mod, shell scripts and the example configs
run-lint:
	@echo 'lint       gofmt'
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [[ -n $$files ]]; then echo "not formatted, type: gofmt -w" $$files; exit 1; fi
	@echo 'lint       go mod tidy'
	@$(GO) mod tidy -diff $(NO_DOWNLOADS)
	@echo 'lint       go vet'
	@$(GO) vet ./... $(NO_DOWNLOADS)
	@echo 'lint       staticcheck'
	@. ./env.sh && staticcheck ./...
	@echo 'lint       shellcheck'
	@. ./env.sh && shellcheck $(SCRIPTS)

.PHONY: lint-configs
lint-configs:
	@echo 'lint       example configs'
	@export BUCKET=example AWS_REGION=eu-west-1; for c in $(CONFIGS); do build/winnow lint -c "$$c"; done

.PHONY: fuzz
fuzz: setup ## fuzz each parser for FUZZTIME (30s)
	@. ./env.sh && for pkg in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -r -n1 dirname | sort -u); do \
		for f in $$(git grep -h -o '^func Fuzz[A-Za-z0-9_]*' -- "$$pkg/*_test.go" | cut -d' ' -f2 | sort -u); do \
			echo "fuzz       $$pkg $$f"; \
			go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) "./$$pkg"; \
		done; \
	done

.PHONY: soak
soak: ## the long sweeps: kills, faults, mutations in full (`make test` runs a seeded tenth)
	@./setup.sh test
	@. ./env.sh && WINNOW_SOAK=1 go test -timeout 3h -count 1 ./...

.PHONY: bench
bench: setup ## run the Go benchmarks
	@$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-embed run-bench-embed
bench-embed: setup-bench binary run-bench-embed ## measure how fast winnow embeds, beside Python peers and the model alone (8 minutes)
run-bench-embed:
	@[[ -s .deps/data/tuxpaint/manifest.jsonl ]] || python3 testdata/demo_manifest.py .deps/data/tuxpaint
	@$(GO) build -o build/bench/tokenize ./testdata/bench/tokenize
	@.deps/venv-interop/bin/python -B testdata/bench/data.py .deps/data/photos .deps/data/tuxpaint .deps/models/use-multilingual-v3/sp.model build/bench/data
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/embed.py

.PHONY: bench-select run-bench-select
bench-select: setup-test run-bench-select ## measure how fast winnow chooses, beside numpy, and in how much memory (8 minutes)
run-bench-select:
	@$(GO) build -o build/bench/select ./testdata/bench/select
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/selection.py

.PHONY: bench-score run-bench-score
bench-score: setup-test binary run-bench-score ## measure how fast winnow scores, beside numpy and FAISS (5 minutes, 4 GB of disk)
run-bench-score:
	@$(GO) build -o build/bench/score ./testdata/bench/score
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/score.py

.PHONY: bench-index setup-fast run-bench-index
bench-index: setup-fast binary run-bench-index ## measure how fast winnow builds and searches indexes, beside faiss-cpu, and in how much memory (15 minutes, 8 GB of disk)
setup-fast:
	@FAISS=fast ./setup.sh test
run-bench-index:
	@$(GO) build -o build/bench/index ./testdata/bench/index
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/index.py

.PHONY: bench-functions setup-labeled run-bench-functions
bench-functions: setup-labeled binary run-bench-functions ## measure what functions find on labeled pictures and texts (5 minutes; the first time 3 more)
setup-labeled:
	@./setup.sh test demo labeled
run-bench-functions:
	@mkdir -p build/bench/data/functions
	@$(GO) build -o build/bench/functions ./testdata/bench/functions
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/functions_data.py build/winnow .deps build/bench/data/functions
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/functions.py

.PHONY: bench-project setup-project run-bench-project
bench-project: setup-project binary run-demo run-bench-project ## measure how fast and how well winnow lays rows out, beside umap-learn (8 minutes)
setup-project:
	@./setup.sh test demo labeled project
run-bench-project:
	@mkdir -p build/bench/data/functions
	@$(GO) build -o build/bench/project ./testdata/bench/project
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/functions_data.py build/winnow .deps build/bench/data/functions
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/project.py $(DEMO_WORKSPACE) build/bench/data/functions .deps/venv-umap/bin/python

.PHONY: bench-mislabels run-bench-mislabels
bench-mislabels: setup-labeled binary run-bench-mislabels ## measure how many planted mislabels diagnose finds (3 minutes; the first time 3 more)
run-bench-mislabels:
	@mkdir -p build/bench/data/functions
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/functions_data.py build/winnow .deps build/bench/data/functions
	@. ./env.sh && .deps/venv-interop/bin/python -B testdata/bench/mislabels.py

.PHONY: argo-lint
argo-lint: ## check the Argo templates in configs/argo with the argo command (built once, 3 minutes)
	@./setup.sh argo
	@. ./env.sh && argo lint --offline $(shell git ls-files ':(glob)configs/argo/*.yaml')

# ---- to ship it

.PHONY: docker
docker: ## build the images winnow (CPU) and winnow:cuda
	$(DOCKER) build --build-arg VERSION=$(VERSION) --target cpu -t winnow:latest .
	$(DOCKER) build --build-arg VERSION=$(VERSION) --target cuda -t winnow:cuda .

.PHONY: clean
clean: ## remove what was built and the demo's workspace; .deps stays
	rm -rf build
