"""Imports go one way: the module uses panel and mrml, these use the engine, the engine knows nothing of Slicer."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = "SpineContextSegLib"
PACKAGE = ROOT / "SpineContextSeg" / LIBRARY
APPLICATION = ("slicer", "vtk", "vtkmodules", "qt", "ctk", "PythonQt", "PySide6", "trame", "trame_slicer")
# What `pip install` brings to the command line or the tests, but Slicer's Python doesn't have.
NOT_IN_SLICER = ("slicerio", "tqdm", "matplotlib")


class WithoutTyping(ast.NodeTransformer):
    """Leaves out what is imported for the sake of types only."""

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imported(path: Path, typing: bool = True) -> set[str]:
    """Dotted names that a file imports, at the top or inside functions, `from a import b` as a.b; without `typing`,
    when it runs."""
    package = [LIBRARY, *path.relative_to(PACKAGE).parts[:-1]] if path.is_relative_to(PACKAGE) else []
    names, tree = set(), ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree if typing else WithoutTyping().visit(tree)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def among(names: set[str], packages: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages))


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


PANEL, MRML = files(PACKAGE / "panel"), files(PACKAGE / "mrml")
COMMAND_LINE = [PACKAGE / "cli.py", *files(PACKAGE / "commands")]
ENGINE = [path for path in files(PACKAGE) if path not in PANEL + MRML]


def cases(paths: list[Path]):
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(PACKAGE)))


@cases(ENGINE)
def test_the_engine_knows_nothing_of_slicer(path):
    assert among(imported(path), (*APPLICATION, f"{LIBRARY}.panel", f"{LIBRARY}.mrml")) == []


@cases(files(PACKAGE))
def test_the_library_calls_itself_by_no_name(path):
    """Relative imports only, which also tell how far away a neighbor is."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    named = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    assert not any(f"{module}.".startswith(f"{LIBRARY}.") for module in named)


@cases(MRML)
def test_mrml_knows_no_widgets(path):
    assert among(imported(path), ("qt", "ctk", "PySide6", f"{LIBRARY}.panel")) == []


@cases(PANEL)
def test_the_panel_leaves_vtk_to_mrml(path):
    assert among(imported(path), ("vtk", "vtkmodules")) == []


@cases(PANEL + MRML)
def test_slicers_process_loads_no_network(path):
    """Inference belongs into the worker: a crash of it must not take the scene along."""
    engine = [f"{LIBRARY}.{name}" for name in ("pipeline", "sliding_window", "network")]
    engine += [f"{LIBRARY}.runtime.{path.stem}" for path in (PACKAGE / "runtime").glob("*_runtime.py")]
    assert among(imported(path), ("torch", "openvino", *engine)) == []


@cases(PANEL + MRML)
def test_slicers_process_needs_only_what_slicer_has(path):
    assert among(imported(path), (*NOT_IN_SLICER, "safetensors")) == []


@cases([path for path in files(PACKAGE) if path not in COMMAND_LINE])
def test_the_library_knows_nothing_of_the_command_line(path):
    assert among(imported(path), (f"{LIBRARY}.cli", f"{LIBRARY}.commands")) == []


def test_other_programs_know_nothing_of_the_command_line():
    for path in [*files(ROOT / "Benchmarks"), *files(ROOT / "Training"), *files(ROOT / "Workbench")]:
        assert among(imported(path), (f"{LIBRARY}.cli", f"{LIBRARY}.commands")) == [], path


@cases([path for path in sorted(PACKAGE.glob("*.py")) if path.name != "cli.py"])
def test_the_engine_knows_nothing_of_the_cohort(path):
    """The cohort is built on it: on one scan, its files and the records beside its results."""
    assert among(imported(path), (f"{LIBRARY}.cohort",)) == []


def test_no_files_of_the_library_need_each_other():
    names = {path: ".".join([LIBRARY, *path.relative_to(PACKAGE).with_suffix("").parts]) for path in files(PACKAGE)}
    names = {path: name.removesuffix(".__init__") for path, name in names.items()}
    needs = {}
    for path, name in names.items():
        found = imported(path, typing=False)
        needs[name] = (found | {of.rpartition(".")[0] for of in found}) & set(names.values())
    assert len(list(TopologicalSorter(needs).static_order())) == len(names)  # raises CycleError


def test_the_process_class_knows_of_the_engine_only_the_worker():
    used = among(imported(PACKAGE / "panel" / "worker_process.py"), (LIBRARY,))
    assert used and all(name.startswith(f"{LIBRARY}.worker") for name in used)


def test_training_and_tests_are_not_used_by_what_is_shipped():
    for path in [*files(PACKAGE), ROOT / "SpineContextSeg" / "SpineContextSeg.py"]:
        assert among(imported(path), ("Training", "Testing", "Benchmarks", "Workbench")) == [], path


def test_training_knows_nothing_of_slicer():
    for path in files(ROOT / "Training"):
        assert among(imported(path), (*APPLICATION, f"{LIBRARY}.panel", f"{LIBRARY}.mrml")) == [], path


def test_what_the_workbench_keeps_is_kept_without_slicer():
    store = files(ROOT / "Workbench" / "store")
    above = (*APPLICATION, "torch", "Training", "Testing", f"{LIBRARY}.panel", f"{LIBRARY}.mrml")
    for path in store:
        assert among(imported(path), above) == [], path
    code = f"import sys, Workbench.store.dataset; print(*[name for name in {APPLICATION!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert store and loaded.stdout.split() == []


def test_the_workbench_compares_with_no_reference():
    comparison = tuple(f"{LIBRARY}.{name}" for name in ("evaluate", "scores", "identification", "metrics"))
    for path in files(ROOT / "Workbench"):
        assert among(imported(path), comparison) == [], path


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("", ("torch", "openvino", "SimpleITK", *NOT_IN_SLICER)),
        (".worker", ("torch", "openvino", *NOT_IN_SLICER)),
        (".runtime", ("torch", "openvino", *NOT_IN_SLICER)),
        (".pipeline", ("torch", *NOT_IN_SLICER)),
    ],
)
def test_importing_stays_light(module, absent):
    code = f"import sys, {LIBRARY}{module}; print(*[name for name in {absent!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
