from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.evidence import results
from paper_repro.evidence.provenance import repository
from paper_repro.files import write
from paper_repro.report import notebook
from paper_repro.report.report import open_report
from tests.made_up import MakeRuns


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Results and notebooks in a folder whose name would break careless quoting."""
    base = tmp_path / "ü {x} folder"
    notebook.write_skeletons(base / "notebooks")
    (base / "results").mkdir()
    return base / "results", base / "notebooks"


def change(notebooks: Path, source: str, cell: str = "claims") -> None:
    file = notebooks / "resnet50.ipynb"
    node = nbformat.read(file, as_version=4)
    next(c for c in node.cells if c.id == cell).source = source
    nbformat.write(node, file)


def test_committed_skeletons_are_the_generated_ones() -> None:
    for name in tables.names():
        assert (repository() / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8") == notebook.skeleton_text(
            name
        )


def test_skeletons_differ_in_title_table_and_figures_alone() -> None:
    """Figures are those of the table; where methods are set beside each other, or ranks, or the balance of thresholds
    is drawn, there are two cells more.
    """
    skeletons = {name: {cell.id: cell for cell in notebook.skeleton(name).cells} for name in tables.names()}
    first = skeletons["resnet50"]
    for name, cells in skeletons.items():
        drawn = {figure.replace("_", "-") for figure in tables.load(name).figures}
        assert drawn <= cells.keys()
        same = [id for id in first if id in cells and cells[id] == first[id]]
        balance = {"balance-title", "balance"}
        usual = first.keys() - {figure.replace("_", "-") for figure in tables.load("resnet50").figures} - balance
        assert {"title", "parameters"} == usual - set(same) or name == "resnet50"
        published = {"published-title", "published"}
        ranks = {"ranks-title", "ranks"}
        of_methods = {"methods-title", "methods"}
        more = {"family": of_methods, "successors": of_methods, "rnn": ranks, "rnn_choices": ranks}.get(name, set())
        more = more | (published if name in ("frontier", "reevaluations") else set())
        more = more | (balance if "balance-l1" in drawn else set())
        assert cells.keys() == usual | drawn | more


def test_missing_and_damaged_notebooks(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        notebook.render("resnet50", "smoke", folders[0], tmp_path / "none")
    (folders[1] / "resnet50.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="is not a notebook"):
        notebook.render("resnet50", "smoke", *folders)


def test_unknown_tier(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="Did you mean 'smoke'"):
        notebook.render("resnet50", "smok", *folders)


def test_rendering_whole(folders: tuple[Path, Path], make_runs: MakeRuns) -> None:
    """With rows missing: readable, says INCOMPLETE, nothing volatile inside; executed again, it is the same."""
    results_dir = folders[0]
    results.collect("resnet50", "smoke", make_runs(rows=["dense", "gmp-90", "str-90.23"]), results_dir)
    target = notebook.render("resnet50", "smoke", *folders)
    before = target.read_bytes()
    assert len(before) < 1_500_000
    node = nbformat.read(target, as_version=4)
    nbformat.validate(node)
    outputs = [output for cell in node.cells for output in cell.get("outputs", [])]
    assert {key for output in outputs for key in output.get("data", {})} == {"text/plain", "text/markdown", "image/png"}
    text = "\n".join(output["data"].get("text/markdown", "") for output in outputs)
    assert "**INCOMPLETE**: 3 of 30 rows" in text
    assert "MISSING" in text
    assert sum("image/png" in output["data"] for output in outputs) == 6
    assert str(results_dir.parent) not in before.decode()
    for word in ("start_time", "duration", "papermill", "stderr"):
        assert word not in before.decode()

    stamp = target.stat().st_mtime_ns
    assert notebook.render("resnet50", "smoke", *folders) == target
    assert target.stat().st_mtime_ns == stamp
    target.unlink()
    notebook.render("resnet50", "smoke", *folders)
    assert target.read_bytes() == before
    (finding,) = notebook.executed_for(*folders)
    assert finding == ("resnet50", "smoke", target, [])

    results.collect("resnet50", "smoke", make_runs(rows=["gmp-80"]), results_dir)
    ((*_, problems),) = notebook.executed_for(*folders)
    assert problems == ["was made from other results or tables; render it again"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("raise ValueError('no such luck')", "no such luck"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import os; os._exit(3)", "[Kk]ernel"),
    ],
)
def test_failed_cells(folders: tuple[Path, Path], source: str, problem: str) -> None:
    """An error, a polite exit in the middle, and a kernel that dies: none passes for an executed notebook."""
    results_dir, notebooks = folders
    (results_dir / "resnet50").mkdir()
    old = results_dir / "resnet50" / "audit.ipynb"
    old.write_text("older", encoding="utf-8")
    change(notebooks, source, cell="open")
    with pytest.raises(UserError, match=problem) as error:
        notebook.render("resnet50", "audit", *folders)
    assert error.value.exit_code == 1
    assert old.read_text(encoding="utf-8") == "older"
    kept = nbformat.read(results_dir / "resnet50" / "audit.failed.ipynb", as_version=4)
    assert any(cell.source == source for cell in kept.cells)


def test_rendering_is_skipped_only_for_the_same_inputs(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What decides is the digest: new results, another notebook, other parameters, other code, a lost figure."""
    results_dir, notebooks = folders
    executed: list[str] = []
    skeleton = notebook.skeleton("resnet50")
    for count, cell in enumerate(skeleton.cells):
        if cell.cell_type == "code":
            cell.execution_count = count

    def execute(*_: object) -> tuple[nbformat.NotebookNode, None]:
        executed.append("once")
        from paper_repro.evidence import evidence
        from paper_repro.report import figures

        found = evidence.load("resnet50", "audit", results_dir)
        for name in figures.names(found):
            write(figures.path(found, name), b"a figure")
        return nbformat.from_dict(skeleton), None

    monkeypatch.setattr(notebook, "_execute", execute)

    def executes(after: Callable[[], object]) -> bool:
        after()
        executed.clear()
        notebook.render("resnet50", "audit", *folders)
        return bool(executed)

    assert executes(lambda: None)
    assert not executes(lambda: None)
    assert executes(lambda: shutil.rmtree(results_dir / "resnet50" / "figures"))
    assert executes(lambda: (results_dir / "resnet50" / "audit.ipynb").write_text("{", encoding="utf-8"))
    assert executes(lambda: results.write(results.empty("audit"), results_dir / "resnet50" / "audit.csv", "audit"))
    assert executes(lambda: change(notebooks, "report.claims()  # again"))
    assert executes(lambda: monkeypatch.setattr(notebook, "code_digest", lambda: "other"))
    assert not executes(lambda: None)


def test_a_changed_recipe_or_printed_number_asks_for_a_new_rendering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("paper", "experiments"):
        shutil.copytree(Path(tables.__file__).parent / folder, tmp_path / folder)
    monkeypatch.setattr(tables, "__file__", str(tmp_path / "tables.py"))

    def digest_after_change_of(name: str) -> str:
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("\n")
        return notebook.inputs_digest("rnn", "paper", tmp_path / "results", tmp_path / "rnn.ipynb")

    changed = ["paper/CHECKSUMS", "experiments/rnn.toml", "paper/rnn_rows.csv"]
    assert len({digest_after_change_of(name) for name in changed}) == 3
    others = ["experiments/rnn_choices.toml", "experiments/rnn_choices_rows.csv"]
    assert len({digest_after_change_of(name) for name in others}) == 1


@pytest.mark.parametrize("kind", ["a link", "from within", "a namesake beside it"])
def test_a_notebook_shows_the_results_that_it_was_given(
    folders: tuple[Path, Path], make_runs: MakeRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Wherever they are, and whatever else is called so."""
    mine, notebooks = tmp_path / "elsewhere" / "mine", folders[1]
    results.collect("st3", "smoke", make_runs("st3", rows=["st3-90"]), mine)
    write(notebooks / "st3.ipynb", notebook.skeleton_text("st3"))
    if kind == "a link":
        monkeypatch.chdir(tmp_path / "elsewhere")
        given = Path("results")
        given.symlink_to(mine)
    elif kind == "from within":
        monkeypatch.chdir(mine)
        given = Path()
    else:
        (mine.parent / "results").mkdir()  # without any numbers
        monkeypatch.chdir(mine.parent)
        given = mine
    copy = nbformat.read(notebook.render("st3", "smoke", given, notebooks), as_version=4)
    shown = str([cell.get("outputs") for cell in copy.cells])
    assert "1 of " in shown and str(tmp_path) not in str(copy)


def test_methods_beside_str(folders: tuple[Path, Path], make_runs: MakeRuns) -> None:
    """Most accurate first, each with its difference to STR at the same regime, and what sparsity it missed."""
    rows = ["str-90.23", "gmp-90", "rigl-90", "gmp-global-98"]
    results.collect("family", "smoke", make_runs("family", rows=rows, seeds=(0, 1, 2)), folders[0])
    report = open_report("family", "smoke", str(folders[0]))
    report.evidence.runs.loc[report.evidence.runs["row"] == "rigl-90", ["top1_pct", "sparsity_pct"]] = [99.0, 89.0]
    text = str(report.methods().data)
    lines = [line for line in text.splitlines() if "`" in line]
    assert [line.split("`")[1] for line in lines] == ["rigl-90", "str-90.23", "gmp-90", "gmp-global-98"]
    assert "89.00 (asked for 89.95)" in lines[0]
    assert lines[1].endswith("|  |")
    assert "[-" in lines[2].split("|")[-2]
    assert lines[3].endswith("|  |")  # no row of STR to set it beside
    assert "**95 %**" not in text
    with pytest.raises(UserError, match=f"no folder {folders[0] / 'none'}"):
        open_report("family", "smoke", str(folders[0] / "none"))
    (folders[0] / "none").mkdir()
    assert open_report("family", "smoke", str(folders[0] / "none")).methods().data == "No runs."


def test_report_finds_results_from_the_notebooks_folder(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened by hand, with the path that the notebook itself has; the same of an executed copy."""
    monkeypatch.chdir(folders[1])
    (path,) = (cell.source for cell in notebook.skeleton("resnet50").cells if cell.id == "parameters")
    assert path.endswith('results_dir = "../results"')
    report = open_report("resnet50", "smoke", "../results")
    assert report.evidence.results_dir.resolve() == folders[0].resolve()
    (folders[0] / "resnet50").mkdir()
    monkeypatch.chdir(folders[0] / "resnet50")
    assert (
        open_report("resnet50", "smoke", notebook.FROM_THE_COPY).evidence.results_dir.resolve() == folders[0].resolve()
    )
    assert "INCOMPLETE" in str(report.summary().data)
    assert "No runs" in str(report.provenance().data)
