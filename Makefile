# `make demo` and `make test` set up what they need in .venv; a second run takes seconds.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
DEMO := demo
SPEED := Resources/Benchmarks
LIBRARIES := libEGL.so.1 libGL.so.1 libxkbcommon.so.0 libfontconfig.so.1 libdbus-1.so.3 libglib-2.0.so.0
BROWSER := chromium chromium-driver
PACKAGES := python3-venv cmake libegl1 libgl1 libxkbcommon0 libfontconfig1 libdbus-1-3 libglib2.0-0

# Slicer 5.10 and later bring this Python. PLATFORM chooses among the systems that Slicer runs on.
KIT := offline-kit
KIT_PYTHON := 3.12
PLATFORM := win_amd64 linux_x86_64 macosx_x86_64 macosx_arm64
TAGS_win_amd64 := win_amd64
TAGS_linux_x86_64 := manylinux_2_28_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64
# Slicer's own builds for macOS, up to 5.12, run as Intel programs on Apple silicon too.
TAGS_macosx_x86_64 := macosx_10_15_x86_64
# The panel installs no later one there (INTEL_MAC_BELOW in panel/runtimes.py says why).
BELOW_macosx_x86_64 := openvino<2025.2
TAGS_macosx_arm64 := macosx_11_0_arm64

.PHONY: help setup demo app test bench bench-short system pictures workbench-pictures offline-kit wheels-removed

help:
	@echo "make demo    segment the sample CT, compare with its truth, files in $(DEMO)/ (no torch needed)"
	@echo "make app     the annotation workbench in the browser; SCAN=a.nii.gz or a folder opens it, DATA=folder keeps the work"
	@echo "make test    all tests"
	@echo "make bench   speed and memory against the plain way, in $(SPEED)/; SCANS=\"a.nii.gz b.nii.gz\" adds your own"
	@echo "make bench-short   does the bench work? minutes, in .bench/short/"
	@echo "make offline-kit   the panel's packages for PCs without internet, in $(KIT)/ (PLATFORM=win_amd64 for one system)"
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

app: $(VENV)/.workbench
	$(BIN)/python -m Workbench $(if $(SCAN),"$(SCAN)") $(if $(DATA),--data "$(DATA)")

# Two at a time: each test of a network or of the workbench takes a core and up to 2 GB for itself.
test: $(VENV)/.complete
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# Scans named in TOTALSEGMENTATOR (without ending) have truth in that numbering instead of VerSe's.
bench: $(VENV)/.complete
	$(BIN)/python -m Benchmarks $(SCANS) --output $(SPEED) $(if $(TOTALSEGMENTATOR),--totalsegmentator $(TOTALSEGMENTATOR))

bench-short: $(VENV)/.complete
	$(BIN)/python -m Benchmarks --short --output .bench/short

pictures: $(VENV)/.complete
	$(BIN)/python -m Testing.take_pictures

workbench-pictures: $(VENV)/.complete
	$(BIN)/python -m Testing.take_workbench_pictures

# Qt, in which the tests show the panel of Slicer without a screen, links these libraries and doesn't bring them; cmake
# reads the extension's lists as Slicer's build does; Chromium shows the workbench to its tests.
system:
	@if command -v cmake >/dev/null && command -v chromium >/dev/null && command -v chromedriver >/dev/null \
			&& $(PYTHON) -c 'import ctypes, ensurepip, sys, venv; [ctypes.CDLL(name) for name in sys.argv[1:]]' \
			$(LIBRARIES) 2>/dev/null; then \
		echo "make system: nothing is missing"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update && apt-get install --yes --no-install-recommends $(PACKAGES) $(BROWSER); \
	else \
		echo "make system: skipped, needs root on Debian (apt-get install $(PACKAGES) $(BROWSER))"; \
	fi

# The panel installs OpenVINO from this folder. Slicer's own numpy stays as it is, so none is kept here; safetensors is
# for PyTorch, which comes from the internet.
offline-kit: $(PLATFORM:%=wheels-%)
	@rm -f $(KIT)/numpy-*.whl $(KIT)/safetensors-*.whl
	@cd $(KIT) && { sha256sum *.whl 2>/dev/null || shasum -a 256 *.whl; } >SHA256SUMS
	@ls -sh $(KIT)
	@echo "Copy the folder $(KIT) to the PC and choose it in the panel of SpineContextSeg."

wheels-%: wheels-removed | $(BIN)/pip
	$(BIN)/python -m pip download --quiet --only-binary :all: --implementation cp --python-version $(KIT_PYTHON) \
		$(addprefix --platform ,$(TAGS_$*)) --requirement SpineContextSeg/Resources/requirements.txt --dest $(KIT) \
		$(BELOW_$*:%="%")

wheels-removed:
	$(foreach system,$(PLATFORM),$(if $(TAGS_$(system)),,$(error there is no PLATFORM $(system), see the Makefile)))
	@rm -f $(KIT)/*.whl $(KIT)/SHA256SUMS

# pip is the last thing that venv makes: without python3-venv it stops before, and leaves a broken folder.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.10 to 3.13 is needed; choose one with make PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing; see make system"; exit 1; }

$(VENV)/.base: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.workbench: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --editable '.[workbench]'
	@touch $(VENV)/.base $@

# torch comes first, so that nothing else chooses a build of it.
$(VENV)/.complete: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@if $(BIN)/python -m pip list --format=freeze | grep -i '^nvidia-'; then \
		echo "This is a CUDA build of torch, several GB large; the tests want the CPU build. Remove $(VENV), let"; \
		echo "PIP_EXTRA_INDEX_URL name PyTorch's index of CPU builds (see PyTorch's installation page) and try again."; \
		exit 1; \
	fi
	@touch $(VENV)/.base $(VENV)/.workbench $@
