# Seawall. `make run` trades on paper, `make test` checks everything; both set up what they need.
# Arguments go through ARGS: make run ARGS="--tape tape/night"   make test ARGS="-k ledger"

SHELL := /bin/sh
UV_VERSION := 0.13.8

BIN := .venv/bin
PAGE := seawall/api/page/index.html
COMPILE_LOCK = pip compile pyproject.toml --quiet --universal --python-version 3.11 \
     --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
     --custom-compile-command "make lock"

# Vite needs Node 20.19. An older one, or none, costs the dashboard's page and nothing else.
NODE := $(shell command -v npm >/dev/null 2>&1 && node -e \
    'const [a, b] = process.versions.node.split("."); if (a > 20 || (a == 20 && b >= 19)) console.log("yes")' \
    2>/dev/null)
KERNELS := $(shell grep -rl --include='*.py' numba seawall 2>/dev/null)
WEB := $(shell find web -type f -not -path '*/node_modules/*' 2>/dev/null)

.PHONY: run setup setup-test test check bench results soak lock

run: setup
	@$(BIN)/seawall run $(ARGS)

setup: .venv/runtime .venv/project page .venv/kernels

setup-test: .venv/runtime .venv/test setup .venv/research

test: setup-test
	@scripts/test $(ARGS)

check: setup-test
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
ifneq ($(and $(NODE),$(wildcard web/package.json)),)
	@npm --prefix web run --silent check
endif

bench: setup-test
	@$(BIN)/python -m benchmarks $(ARGS)

# Walks the shipped strategies forward over the recorded bars and writes docs/results.md.
results: setup-test
	@$(BIN)/python -m benchmarks.out_of_sample $(ARGS)

# Twenty thousand seeds of the simulation; stop it with Ctrl-C, and it goes on where it was.
# Another window: make soak ARGS="--from 3000000 --resume other.json"
soak: setup
	@$(BIN)/seawall simulate --seeds 20000 --from 1000000 --resume soak.json --jobs 2 $(ARGS)

# Keeps the pinned versions where it can; make lock ARGS=--upgrade takes the newest.
lock: $(BIN)/uv
	@scripts/uv $(COMPILE_LOCK) $(ARGS) --output-file requirements.lock
	@scripts/uv $(COMPILE_LOCK) $(ARGS) --extra test --constraint requirements.lock \
	    --output-file requirements-test.lock

# --- what `make setup` is made of: each part runs again when what it was made from has changed ---

# An environment whose Python has gone is none.
$(shell [ -x $(BIN)/python ] || rm -rf .venv)

$(BIN)/uv:
	@scripts/environment
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/runtime: requirements.lock | $(BIN)/uv
	@echo "Installing the libraries ..." >&2
	@scripts/uv pip install --python $(BIN)/python --quiet --compile-bytecode --require-hashes -r $<
	@touch $@

.venv/test: requirements-test.lock .venv/runtime
	@echo "Installing what the tests need ..." >&2
	@scripts/uv pip install --python $(BIN)/python --quiet --compile-bytecode --require-hashes -r $<
	@touch $@

.venv/project: pyproject.toml seawall/__init__.py .venv/runtime
	@scripts/uv pip install --python $(BIN)/python --quiet --no-deps --editable .
	@touch $@

# Numba does not see that a kernel which another file calls has changed: throw away all it kept.
.venv/kernels: $(KERNELS) .venv/project
	@echo "Compiling the kernels ..." >&2
	@find seawall -name '*.nb[ci]' -exec rm -f {} +
	@$(BIN)/seawall doctor --compile --trading-only
	@touch $@

# Those of the laboratory too, so that no two tests compile the same kernel at once.
.venv/research: .venv/kernels
	@$(BIN)/seawall doctor --compile
	@touch $@

.PHONY: page
ifeq ($(wildcard web/package.json),)
page:
else ifeq ($(NODE),)
page:
	@[ -e $(PAGE) ] || \
	    echo "No dashboard page: it is built with Node 20.19 or newer and npm; all else works." >&2
else
page: $(PAGE)
endif

web/node_modules/.package-lock.json: web/package-lock.json
	@echo "Installing what builds the dashboard ..." >&2
	@npm --prefix web ci --loglevel=error >/dev/null
	@touch $@

$(PAGE): web/node_modules/.package-lock.json $(WEB)
	@echo "Building the dashboard ..." >&2
	@npm --prefix web run --silent build >&2
	@touch $@
