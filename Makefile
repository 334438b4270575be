# `make demo` and `make test` set up what they need in .venv; a second run takes seconds.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
DEMO := demo

.PHONY: help setup demo test system

help:
	@echo "make demo    segment the sample CT, compare with its truth, files in $(DEMO)/ (no torch needed)"
	@echo "make test    all tests"
	@echo "make setup   the environment .venv with everything that tests and training need"
	@echo "make system  what Debian itself must provide (needs root)"

setup: $(VENV)/.complete

demo: $(VENV)/.base
	@rm -f $(DEMO)/phantom_ct.nii.gz $(DEMO)/phantom_labels.nii.gz
	@$(BIN)/spinecontextseg phantom -o $(DEMO) >/dev/null
	$(BIN)/spinecontextseg segment $(DEMO)/phantom_ct.nii.gz -o $(DEMO)/spine.seg.nrrd --structures all \
		--preview $(DEMO)/preview.png --report $(DEMO)/report.json
	@echo
	$(BIN)/spinecontextseg evaluate $(DEMO)/spine.seg.nrrd $(DEMO)/phantom_labels.nii.gz

test: $(VENV)/.complete
	$(BIN)/python -m pytest

system:
	@if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "make system: nothing is missing"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update && apt-get install --yes --no-install-recommends python3-venv; \
	else \
		echo "make system: skipped, needs root on Debian (apt-get install python3-venv)"; \
	fi

# pip is the last thing that venv makes: without python3-venv it stops before, and leaves a broken folder.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.10 to 3.13 is needed; choose one with make PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing; see make system"; exit 1; }

$(VENV)/.base: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# torch comes first, so that nothing else chooses a build of it.
$(VENV)/.complete: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@if $(BIN)/python -m pip list --format=freeze | grep -i '^nvidia-'; then \
		echo "This is a CUDA build of torch, several GB large; the tests want the CPU build. Remove $(VENV), let"; \
		echo "PIP_EXTRA_INDEX_URL name PyTorch's index of CPU builds (see PyTorch's installation page) and try again."; \
		exit 1; \
	fi
	@touch $(VENV)/.base $@
