"""The layers of the package: imports point one way, and no two files import each other, directly or round about."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import paper_repro

PACKAGE = Path(paper_repro.__file__).parent
# Lowest first. What stands on a line may import what stands on it or above, and nothing below.
LAYERS = (
    ("errors", "files", "machine", "reading", "terminal", "verdict"),
    ("paper",),
    ("spec", "record"),
    ("accounting", "models", "methods"),
    ("data",),
    ("interchange",),
    ("training",),
    ("experiments",),
    ("tables",),
    ("budgets",),
    ("audit",),
    ("runs",),
    ("conformance",),
    ("evidence",),
    ("report",),
    ("workflows",),
    ("checks",),
    ("cli",),
    ("__main__", "__init__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    """Module, without the package's name -> its file."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in files}


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports, within functions and for types alone included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "paper_repro":
            for alias in node.names:
                full = f"{node.module}.{alias.name}".removeprefix("paper_repro.")
                parent = (node.module or "").removeprefix("paper_repro").removeprefix(".")
                for name in (full, f"{full}.__init__", parent, f"{parent}.__init__" if parent else "__init__"):
                    if name in known:
                        yield name
                        break
        elif isinstance(node, ast.Import):
            assert not [alias for alias in node.names if alias.name.startswith("paper_repro.")], file


GRAPH = {name: set(imports(file, modules())) - {name} for name, file in modules().items()}


def test_every_package_has_a_layer() -> None:
    assert {name.partition(".")[0] for name in GRAPH} == LEVEL.keys()


@pytest.mark.parametrize("name", [name for name in GRAPH if name != "__init__"])
def test_imports_point_upwards_alone(name: str) -> None:
    level = LEVEL[name.partition(".")[0]]
    assert [other for other in GRAPH[name] if other != "__init__" and LEVEL[other.partition(".")[0]] > level] == []


def test_no_files_import_each_other() -> None:
    graph = {name: others - {"__init__"} for name, others in GRAPH.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_package_says_what_comes_in_and_goes_out() -> None:
    for file in PACKAGE.glob("*/__init__.py"):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        assert "Takes " in text and "gives " in text and ("Knows no" in text or "Decides no" in text), file
