# make run        executes the notebooks in order, draws the report and prints the evaluation; makes its environment first
# make test       the tests; they name the notebooks whose outputs were made by other code than there is now
# make solutions  executes the solutions to the exercises       make notebooks  runs all in place, as they are committed
#                 make notebooks NOTEBOOKS=4_Evaluate.ipynb SOLUTIONS=  runs that one alone
# make lint  make format                                        make bench      the timings
# make tables     writes the numbers of benchmarks/results/ into the documents
# make page       the page for the browser: build/web/, and in it glasses.html that needs no server; needs node and npm
#                 make page PUBLISHED=https://.../blob/main  links the notebooks where they are published
# make audit      asks for known holes in the pinned packages, of Python and of the page
# make newest     the tests with the newest versions of all packages, in an environment of their own

PYTHON ?= python3
BIN := .venv/bin
NOTEBOOKS := $(sort $(wildcard [0-9]_*.ipynb))
SOLUTIONS := $(sort $(wildcard solutions/*.ipynb))
FOR_STUDENTS := \*\*Run on Kaggle|> \*\*Predict before you run|\*\*Your turn|<details>
EXECUTE := $(BIN)/jupyter nbconvert --to notebook --execute --log-level ERROR --KernelManager.transport_encryption=auto

.PHONY: run solutions notebooks test lint format bench tables page audit newest clean

run: .venv/run.stamp
	@for notebook in $(NOTEBOOKS); do echo "executing $$notebook"; $(EXECUTE) --output-dir build $$notebook || exit 1; done
	@$(BIN)/jupyter nbconvert --to html --log-level ERROR $(NOTEBOOKS:%=build/%)
	@$(BIN)/jupyter nbconvert --to html --log-level ERROR --no-input --output report --RegexRemovePreprocessor.enabled=True \
		--RegexRemovePreprocessor.patterns='$(FOR_STUDENTS)' build/4_Evaluate.ipynb
	@$(BIN)/python evaluate.py --data sample=data/sample meglass=data/sample --corrections data/sample/label_noise.csv \
		--model glasses runs/course/glasses.safetensors
	@echo "the report: build/report.html; the notebooks: build/*.html"

solutions: .venv/run.stamp
	@for notebook in $(SOLUTIONS); do echo "executing $$notebook"; $(EXECUTE) --output-dir build/solutions $$notebook || exit 1; done

notebooks: .venv/run.stamp
	$(EXECUTE) --inplace $(NOTEBOOKS) $(SOLUTIONS)
	$(BIN)/python tests/notebooks.py stamp $(NOTEBOOKS) $(SOLUTIONS)

test: .venv/dev.stamp
	$(BIN)/python -m pytest --cov $(PYTEST_ARGS)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every number in README and model card is written between its markers from benchmarks/results/.
tables: .venv/run.stamp
	$(BIN)/python -m benchmarks.documents

bench: .venv/run.stamp
	$(BIN)/python -m benchmarks.latency

page: web/node_modules/.package-lock.json
	node web/build.mjs --notebooks "$(PUBLISHED)"
	@echo "the page: build/web/ for a server, build/web/glasses.html for none"

web/node_modules/.package-lock.json: web/package-lock.json
	npm ci --prefix web --ignore-scripts --no-audit --no-fund

# In an environment of its own: pip-audit brings thirty packages along. Lines without "==" are comments.
audit: build/audit/bin/pip-audit
	build/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip
	npm audit --prefix web --package-lock-only

build/audit/bin/pip-audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit

newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -r requirements-dev.txt
	.venv-newest/bin/python -m pytest $(PYTEST_ARGS)

# The environment is brought up to date where a requirement changed; a stamp is written only when it is whole.
.venv/run.stamp: requirements.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed, not " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt
	touch $@

.venv/dev.stamp: requirements-dev.txt constraints.txt .venv/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	touch $@

clean:
	rm -rf build runs .cache .pytest_cache .ruff_cache .coverage
