"""The extension as Slicer packs it: are the lists whole, does what they hold work, do the papers agree?"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from SpineContextSegLib import __version__
from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.panel.runtimes import requirements
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume

ROOT = Path(__file__).resolve().parents[1]
MODULE_FOLDER = ROOT / "SpineContextSeg"
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
# What Slicer's Python has, and the runtime that the panel installs into it.
IN_SLICERS_PYTHON = ("numpy", "numpy.libs", "SimpleITK", "openvino")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of what the build system reads."""
    copy = tmp_path_factory.mktemp("Wirbelsäule 1") / "source"
    copy.mkdir()
    for name in ("CMakeLists.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(MODULE_FOLDER, copy / "SpineContextSeg", ignore=NOT_SHIPPED)
    return copy


def configure(source: Path, build: Path) -> subprocess.CompletedProcess:
    """Runs cmake with stand-ins for Slicer and for the compilers, which nothing here needs."""
    cmake = shutil.which("cmake")
    if not cmake:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("cmake is not installed: apt-get install cmake")
    command = [cmake, "-S", source, "-B", build, "-G", "Unix Makefiles", f"-DSlicer_DIR={ROOT / 'Testing' / 'cmake'}"]
    for language in ("C", "CXX"):
        command += [f"-DCMAKE_{language}_COMPILER={shutil.which('true')}", f"-DCMAKE_{language}_COMPILER_FORCED=ON"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def recorded(tree, tmp_path_factory) -> dict[str, list[str]]:
    """What the CMake files told Slicer's macros: name -> values, in order."""
    build = tmp_path_factory.mktemp("build")
    done = configure(tree, build)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    values = {}
    for line in (build / "recorded.txt").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name, []).append(value)
    return values


@pytest.fixture(scope="module")
def installed(tree, recorded, tmp_path_factory) -> Path:
    """Slicer's folder of scripted modules, holding the listed files and nothing else."""
    folder = tmp_path_factory.mktemp("Größe 脊椎") / "qt-scripted-modules"
    for name in recorded["script"] + recorded["resource"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / "SpineContextSeg" / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def slicers_python(installed, tmp_path_factory):
    """Starts a Python that sees the installed module and Slicer's packages: no other package, no source folder."""
    packages = tmp_path_factory.mktemp("site-packages")
    for name in IN_SLICERS_PYTHON:
        found = importlib.util.find_spec(name.removesuffix(".libs"))
        folder = Path(found.origin).parent
        if name.endswith(".libs"):
            folder = folder.with_name(name)
        if folder.exists():
            (packages / name).symlink_to(folder)

    def start(code: str, *arguments) -> subprocess.Popen:
        head = f"import sys; sys.path[:0] = [{str(installed)!r}, {str(packages)!r}]\n"
        command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", head + code, *map(str, arguments)]
        pipe = subprocess.PIPE
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", env=environment
        )

    return start


def finished(process: subprocess.Popen, seconds: float = 120) -> list[str]:
    """The lines of a process that must succeed. Its stdin stays open until it has ended."""
    try:
        process.wait(seconds)
    finally:
        process.kill()
        lines, errors = process.stdout.read().splitlines(), process.stderr.read()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
    assert process.returncode == 0, errors
    return lines


# --------------------------------------------------------------------------------------------------- CMake


def test_the_lists_hold_every_file_once(tree, recorded):
    module = tree / "SpineContextSeg"
    files = {path.relative_to(module).as_posix() for path in module.rglob("*") if path.is_file()} - {"CMakeLists.txt"}
    listed = recorded["script"] + recorded["resource"]
    assert sorted(listed) == sorted(set(listed))
    assert files - set(listed) == set(), "not listed in SpineContextSeg/CMakeLists.txt"
    assert set(listed) - files == set(), "listed in SpineContextSeg/CMakeLists.txt, but shipped from nowhere"
    assert {name for name in files if name.endswith(".py")} == set(recorded["script"])


def test_slicer_is_told_everything(tree, recorded):
    assert recorded["project"] == recorded["module"] == ["SpineContextSeg"]
    assert recorded["generic_tests"] == ["TRUE"] and recorded["unittest"] == ["SpineContextSeg.py"]
    assert recorded["included"] == ["generate_config", "cpack"]
    for name in ("LICENSE", "README"):
        assert Path(recorded[f"EXTENSION_{name}_FILE"][0]).parent == tree
        assert Path(recorded[f"EXTENSION_{name}_FILE"][0]).is_file()


def test_a_listed_file_that_is_missing_stops_cmake(tree, tmp_path):
    broken = tmp_path / "source"
    shutil.copytree(tree, broken)
    (broken / "SpineContextSeg" / "SpineContextSegLib" / "labels.py").unlink()
    done = configure(broken, tmp_path / "build")
    assert done.returncode != 0 and "SpineContextSegLib/labels.py does not exist" in done.stderr


# ------------------------------------------------------------------------------------------- what was packed


def test_what_was_packed_segments(installed, slicers_python, tmp_path):
    """With the shipped model, two lumbar vertebrae of the shipped phantom, as the panel's child process does it."""
    from SpineContextSegLib.worker import Request, read_result, write_request

    sample = installed / "SpineContextSegLib" / "sample"
    truth, (ct, _) = read_labels(sample / "phantom_labels.nii.gz"), read_volume(sample / "phantom_ct.nii.gz")
    about = tuple(slice(found.min() - 4, found.max() + 5) for found in np.nonzero(np.isin(truth.array, (21, 22))))
    part = Volume(ct.array[about], ct.grid.crop(about).affine)
    request = Request(
        model="spinecontext-ct", runtime="openvino", device="cpu", threads=1, structures="spine", force=False
    )
    write_request(tmp_path, part, request)

    process = slicers_python("from SpineContextSegLib.worker import main; sys.exit(main(sys.argv[1:]))", tmp_path)
    events = [json.loads(line) for line in finished(process)]

    assert events[-1] == {"event": "done"}
    found = read_result(tmp_path).labels.array > 0
    expected = np.isin(truth.array[about], list(BINARY_SPINE))
    assert 2 * np.sum(found & expected) / (found.sum() + expected.sum()) > 0.85


def test_what_was_packed_is_what_ran(installed, slicers_python):
    lines = finished(slicers_python("import SpineContextSegLib, numpy; print(SpineContextSegLib.__file__)"))
    assert Path(lines[0]).parent == installed / "SpineContextSegLib"
    with pytest.raises(AssertionError, match="No module named 'matplotlib'"):
        finished(slicers_python("import matplotlib"))


OPEN_PANEL = """
import json, sys
folder, packages, repository = sys.argv[1:]
sys.path[:0] = [folder, packages]
sys.path.append(repository)
from pathlib import Path
from Testing import slicer_env
slicer_env.install()
from Testing.slicer_env import application, boot
application.start(boot.boot())
import slicer
application.load_module(Path(folder, "SpineContextSeg.py"))
slicer.util.selectModule("SpineContextSeg")
slicer.app.processEvents()
ours = {name: module.__file__ for name, module in sys.modules.items() if name.startswith("SpineContextSeg")}
thumbnail = slicer.modules.sampleDataSources["SpineContextSeg"][0].thumbnailFileName
print(json.dumps([slicer.modules.SpineContextSegWidget.resourcePath("UI/SpineContextSeg.ui"), thumbnail, ours]))
"""


def test_the_packed_module_opens_its_panel(installed, slicer_core, qt_application):
    """In a new process with the installed folder instead of the source folder; two fixtures skip where it can't be."""
    packages = Path(np.__file__).parents[1]
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", OPEN_PANEL, installed, packages, ROOT]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    ui, thumbnail, ours = json.loads(done.stdout.splitlines()[-1])
    for path in (ui, thumbnail, *ours.values()):
        assert Path(path).is_relative_to(installed) and Path(path).is_file()
    assert {"SpineContextSeg", "SpineContextSegLib.panel.runs", "SpineContextSegLib.mrml.segmentations"} <= set(ours)


def test_the_shipped_sample_is_where_sample_data_looks(slicers_python, tmp_path):
    """Slicer fetches it like a download, with urllib, and compares the checksum."""
    code = """
import hashlib, sys, urllib.request
from SpineContextSegLib.panel.sample_data import PHANTOM_FILE, PHANTOM_SHA256
urllib.request.urlretrieve(PHANTOM_FILE.as_uri(), sys.argv[1])
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest() == PHANTOM_SHA256)
"""
    assert finished(slicers_python(code, tmp_path / "copy.nii.gz")) == ["True"]


def test_what_was_packed_knows_its_requirements(slicers_python):
    code = "import json; from SpineContextSegLib.panel import runtimes; print(json.dumps(runtimes.requirements()))"
    assert json.loads(finished(slicers_python(code))[0]) == requirements()


# ---------------------------------------------------------------------------------------------- the papers


def s4ext() -> dict[str, str]:
    lines = (ROOT / "SpineContextSeg.s4ext").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def catalogue_entry() -> dict:
    content = (ROOT / "SpineContextSeg.json").read_bytes()
    assert b"\r" not in content
    return json.loads(content)


def test_the_older_description_says_the_same(recorded):
    fields = ("homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends")
    older, entry = s4ext(), catalogue_entry()
    assert {name: older[name] for name in fields} == {name: recorded[f"EXTENSION_{name.upper()}"][0] for name in fields}
    assert (older["scmurl"], older["scmrevision"]) == (entry["scm_url"], entry["scm_revision"])
    assert (older["category"], older["build_subdirectory"]) == (entry["category"], entry["build_subdirectory"])
    assert older["depends"] == "NA" and entry["build_dependencies"] == []
    assert older["contributors"] == "SpineContextSeg contributors"


def test_the_catalogue_entry_fits_its_schema():
    entry = catalogue_entry()
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.1.json#")
    kinds = {"$schema": str, "category": str, "scm_url": str, "scm_revision": str, "build_dependencies": list}
    kinds |= {"build_subdirectory": str, "tier": int}
    assert {name: type(value) for name, value in entry.items()} == kinds
    assert 1 <= entry["tier"] <= 5 and entry["category"] == "Segmentation"


def texts() -> dict[Path, str]:
    """Every text file of the repository."""
    names = ".ci", "Benchmarks", "Resources", "SpineContextSeg", "Testing", "Training", "Workbench"
    folders = [ROOT / name for name in names]
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    endings = {".cmake", ".json", ".md", ".py", ".s4ext", ".toml", ".txt", ".ui", ""}
    chosen = [path for path in files if path.suffix in endings and not {"__pycache__"} & set(path.parts)]
    return {path: path.read_text(encoding="utf-8", errors="replace") for path in chosen}


def test_the_readme_lists_every_file_that_is_to_be_filled_in():
    """Before publication: the account, and who made it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = readme.partition("**To be filled in before it is published**")[2].partition("\n\n")[0]
    assert "3d-slicer-extension" in told
    endings = {".cff", ".json", ".py", ".s4ext", ".toml", ".txt"}
    files = [path for path in (*ROOT.iterdir(), ROOT / "SpineContextSeg/SpineContextSeg.py") if path.suffix in endings]
    for placeholder in ("/OWNER/", "SpineContextSeg contributors"):
        named = told.partition(placeholder.strip("/"))[2].partition(";")[0]
        found = {path.name for path in files if placeholder in path.read_text(encoding="utf-8")}
        assert found == set(re.findall(r"`(\w+\.\w+)`", named))


def test_the_address_of_the_repository_is_the_same_everywhere(recorded):
    homepage = recorded["EXTENSION_HOMEPAGE"][0]
    owner_and_name = homepage.removeprefix("https://github.com/")
    assert re.fullmatch(r"[\w.-]+/\w*SpineContextSeg", owner_and_name)
    pattern = r"(?:github\.com|raw\.githubusercontent\.com)[/:]([\w.-]+/\w*SpineContextSeg)\b"
    found = {path: set(re.findall(pattern, text)) for path, text in texts().items()}
    assert {ROOT / name for name in ("CMakeLists.txt", "SpineContextSeg.json", "SpineContextSeg.s4ext")} <= {
        path for path, names in found.items() if names
    }
    assert {path: names for path, names in found.items() if names - {owner_and_name}} == {}
    assert catalogue_entry()["scm_url"] == f"{homepage}.git"


def test_what_is_cited_is_this_version():
    told = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert {f"version: {__version__}", "title: SpineContextSeg", "license: Apache-2.0"} <= set(told)


def test_pictures_are_where_the_addresses_say(recorded):
    """The index of extensions reads the addresses from the text, so they must stand there without variables."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    icon, screenshots = recorded["EXTENSION_ICONURL"][0], recorded["EXTENSION_SCREENSHOTURLS"][0]
    assert f'set(EXTENSION_ICONURL "{icon}")' in text and f'set(EXTENSION_SCREENSHOTURLS "{screenshots}")' in text
    raw = recorded["EXTENSION_HOMEPAGE"][0].replace("github.com", "raw.githubusercontent.com") + "/main/"
    for address in [icon, *screenshots.split(" ")]:
        assert address.startswith(raw)
        with Image.open(ROOT / address.removeprefix(raw)) as picture:
            picture.verify()
            assert address.endswith({"PNG": ".png", "JPEG": ".jpg"}[picture.format])


def png_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return picture.size


def test_icons_have_the_size_that_slicer_wants():
    icons = MODULE_FOLDER / "Resources" / "Icons"
    assert png_size(icons / "SpineContextSeg.png") == (128, 128)
    assert png_size(icons / "SpineContextSegPhantom.png") == (280, 260)


def test_requirements_agree_with_the_package():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert set(requirements()) == {"openvino", "safetensors", "torch"}
    for name, version in requirements().items():
        assert f'"{name}>={version}"' in project


def test_an_older_slicer_is_told_so():
    """Slicer 5.8 has Python 3.9, in which parts of the package don't even compile."""
    pretend = "import sys; sys.version_info = (3, 9, 10, 'final', 0); import SpineContextSegLib.pipeline"
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True)
    assert "SpineContextSeg needs Slicer 5.10 or later" in done.stderr.splitlines()[-1]
