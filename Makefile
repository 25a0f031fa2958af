# make run   answers for two photos, in an environment that it makes        make test   the tests
# make lint  make format                                                    make bench  the timings

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint format bench clean

run: .venv/run.stamp
	$(BIN)/python sample_photos.py build/photos
	$(BIN)/python predict.py build/photos --draw build/drawn --time

test: .venv/dev.stamp
	$(BIN)/python -m pytest --cov $(PYTEST_ARGS)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/run.stamp
	$(BIN)/python benchmarks/latency.py

# The environment is brought up to date where a requirement changed; a stamp is written only when it is whole.
.venv/run.stamp: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed, not " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/dev.stamp: requirements-dev.txt .venv/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf build .pytest_cache .ruff_cache .coverage
