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

.PHONY: repro test check serve benchmark benchmark-gate benchmark-features benchmark-serving fuzz-serving clean

repro: $(BIN)/.installed  ## rebuild what changed, promote what passed, show the scoreboard
	dvc repro
	python -m pipelines.promote
	dvc repro --quiet
	python -m pipelines.scoreboard

# The longest file first, so that no process waits for it at the end. Two processes with a thread each: threads of linear
# algebra wait for one another in a loop, and two cores are soon full of that.
longest := tests/test_chain.py
test: export OMP_NUM_THREADS := 1
test: export OPENBLAS_NUM_THREADS := 1
test: $(BIN)/.extras check  ## all checks and tests, those of the optional parts included
	python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder \
		$(longest) $(filter-out $(longest),$(sort $(wildcard tests/test_*.py)))

check: $(BIN)/.installed  ## style and types
	ruff format --check pipelines tests
	ruff check pipelines tests
	mypy

serve: $(BIN)/.installed  ## the thin endpoint on 127.0.0.1:8000, and what brings it each promoted policy
	python -m pipelines.serving --watch

given = $(foreach name,$(1),$(if $($(name)),$(name)=$($(name))))
options = $(if $(processes),--processes $(processes)) $(if $(fresh),--fresh)

benchmark: $(BIN)/.installed  ## the method on worlds of known demand: make benchmark worlds=biggs1,biggs4 seeds=3
	python -m pipelines.benchmark $(call given,worlds seeds candidates) $(options)

benchmark-gate: $(BIN)/.installed  ## the gate and the intervals, checked over hundreds of seeds
	python -m pipelines.benchmark.gate $(call given,checks seeds) $(options)

benchmark-features: $(BIN)/.installed  ## features of 1, 10 and 50 million events: make benchmark-features sizes=1,10
	python -m pipelines.benchmark_features $(call given,sizes methods) $(if $(fresh),--fresh)

benchmark-serving: $(BIN)/.installed  ## the endpoint beside other servers: make benchmark-serving parts=thin,mlflow
	python -m pipelines.benchmark_serving $(call given,parts policy seconds rounds overload swaps) \
		$(if $(install),--install) $(if $(fresh),--fresh)

fuzz-serving: $(BIN)/.extras  ## 10,000 requests that nobody should send: make fuzz-serving requests=500
	python -m pipelines.benchmark_serving.fuzz $(call given,requests policy)

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

# What only the optional parts need (a Spark engine, object stores), and the tests of them.
$(BIN)/.extras: $(BIN)/.installed requirements-extras.lock
	@echo "installing the optional parts into .venv (about 0.5 GB)"
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements-extras.lock \
		|| $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-extras.lock
	@touch $@

clean:  ## forget what the pipeline made (not the incumbent, not the ledger)
	rm -rf data/raw data/truth data/clean data/quarantine data/offers data/quality models/overlap models/baselines models/prepared \
		models/trained models/candidates models/scorecards models/plots models/choice.json models/champion.json models/policy.* \
		models/report.html models/registered.json
