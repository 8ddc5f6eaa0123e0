# Two commands set everything up: `make repro` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
UV := 0.13.9
unexport PYTHONDONTWRITEBYTECODE  # compiled modules make twenty short stages start in half the time
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export TF_CPP_MIN_LOG_LEVEL := 3

.PHONY: repro test check serve clean

repro: $(BIN)/.installed  ## rebuild what changed, promote what passed, show the scoreboard
	dvc repro
	python -m pipelines.promote
	dvc repro --quiet
	python -m pipelines.scoreboard

test: $(BIN)/.installed check  ## all checks and tests
	python -m pytest

check: $(BIN)/.installed  ## style and types
	ruff format --check pipelines tests
	ruff check pipelines tests
	mypy

serve: $(BIN)/.installed  ## the thin endpoint on 127.0.0.1:8000
	python -m pipelines.serving

# uv installs the locked wheels in seconds; where it cannot (a mirror that only pip is set up for), pip does.
$(BIN)/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than 3.11; name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "installing the locked dependencies into .venv (about 3 GB)"
	@{ $(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV) \
		&& VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock; } \
		|| $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

clean:  ## forget what the pipeline made (not the incumbent)
	rm -rf data/raw data/truth data/clean data/quarantine data/offers models/baselines models/candidates \
		models/scorecards models/plots models/champion.json models/policy.* models/registered.json
