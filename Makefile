# Every target sets up what it needs first. `make run`, `make demo` and `make test` work on a machine with Python 3.11+, make and git only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
TORCH := 2.13.0
WORKERS ?= 2
# Whole files, in the order of the folders: those that take longest begin.
TESTS := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: run demo test check fix pocket pictures card-check

run: $(VENV)/.runtime  ## the lab in the browser, at http://127.0.0.1:7860
	@$(BIN)/python app.py

demo: $(VENV)/.runtime  ## adapt the pocket model around its SAE and show what changed
	@$(BIN)/python -m lorasae demo

test: $(VENV)/.dev  ## the whole test suite, offline, on the CPU
	@$(TESTS)

check: $(VENV)/.dev  ## format, lint, types, import contracts, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(TESTS)

fix: $(VENV)/.dev  ## format, and mend what can be mended automatically
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

pocket: $(VENV)/.runtime  ## build the pocket world anew, from its text to its SAEs and the example run
	@$(BIN)/python -m lorasae.demo.build
	@$(BIN)/python -m lorasae.demo.build.example

pictures: $(VENV)/.dev  ## the screenshots of the README, taken by the browser tests
	@LORASAE_SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest tests/browser/test_pictures.py

card-check: $(VENV)/.dev  ## the lines of published cards, in a clean environment made for it: installs packages, takes minutes
	@$(BIN)/python -m tests.hub.card_check

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is used for the set-up. It is older than 3.11. Install Python 3.11 or newer, or name one: make PYTHON=python3.12"; exit 1; }
	@echo "Set-up 1 of 3: a Python environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "A virtual environment was to be made. Python's venv module is not complete here. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@if nvidia-smi -L >/dev/null 2>&1 || [ "$$(uname)" = Darwin ]; then \
		echo "Set-up 2 of 3: PyTorch $(TORCH) (several minutes on a slow line)"; \
		$(PIP) install "torch==$(TORCH)"; \
	else \
		echo "Set-up 2 of 3: PyTorch $(TORCH), CPU build, since there is no GPU (about 200 MB)"; \
		$(PIP) install "torch==$(TORCH)+cpu" 2>/dev/null || \
			{ $(PIP) install uv && $(BIN)/uv pip install -q --python $(BIN)/python --torch-backend cpu "torch==$(TORCH)"; }; \
	fi
	@touch $@

$(VENV)/.runtime: requirements.txt | $(VENV)/.torch
	@echo "Set-up 3 of 3: the other packages (a few minutes)"
	@$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.runtime
	@echo "Set-up for development: tests, linter, types"
	@$(PIP) install $$($(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['dev'])")
	@touch $@
	@$(BIN)/python -m tests.browser.chromium
	@touch $@
