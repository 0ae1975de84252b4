"""Notebooks: one thin skeleton per table in ``notebooks/``, executed copies in ``results/``.

The skeletons are generated here (``python -m paper_repro.report.notebook``); they differ in the table's name
alone, and a test holds the files to it. Executed copies carry no times and no paths, so that rendering again changes
nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from traitlets.config import Config

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.evidence import evidence, results
from paper_repro.evidence.lines import KINDS, SpeedLine
from paper_repro.evidence.provenance import of_repository, repository
from paper_repro.files import write
from paper_repro.paper import library
from paper_repro.report import figures

KERNEL = "python3"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
    "language_info": {"name": "python"},
}
MADE_FROM = "paper_repro"  # the key of the metadata under which an executed notebook says what it was made from
START_TIMEOUT_S = 120
FROM_THE_COPY = ".."  # the results, as seen from an executed copy, which says so whatever path it was made with

# name of a section -> its title; those in ONLY_WHERE stand in the notebooks of some tables alone
SECTIONS = {
    "claims": "Claims",
    "comparison": "Reported beside reproduced",
    "figures": "Figures",
    "methods": "Method by method",
    "balance": "The balance of thresholds",
    "published": "How the numbers came about, and where they were read",
    "ranks": "Ranks, parameters, size",
    "verdicts": "Verdicts that are not a plain PASS, and why",
    "provenance": "Provenance",
}
ONLY_WHERE: Mapping[str, Callable[[tables.Table], bool]] = {
    "methods": lambda table: "methods_over_sparsity" in table.figures,
    "balance": lambda table: "balance_l1" in table.figures,
    "published": lambda table: any(row.how_read for row in table.rows),
    "ranks": lambda table: any(row.ranks for row in table.rows),
}


# -- skeletons -------------------------------------------------------------------------------------------------------


def skeleton(table: str) -> nbformat.NotebookNode:
    """The notebook of a table, not executed."""
    plan = tables.load(table)
    printed = any(row.reported.printed for row in plan.rows)
    beside = ", sets them beside the printed numbers, and says how far they agree" if printed else ""
    intro = (
        f"# {plan.heading}\n\nThis notebook reads the results of one tier{beside}. It trains nothing:\n"
        f"`make reproduce TABLE={table}` does that, and executes this notebook into `results/{table}/`."
    )
    opening = (
        "from paper_repro.report.report import open_report\n\n"
        "report = open_report(table, tier, results_dir)\nreport.summary()"
    )
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    tier = next(iter(plan.tiers), tables.AUDIT)
    parameters = f'table = "{table}"\ntier = "{tier}"\nresults_dir = "../results"'
    cells = [
        text(intro, id="title"),
        code(parameters, id="parameters", metadata={"tags": ["parameters"]}),
        code(opening, id="open"),
    ]
    for name, title in SECTIONS.items():
        if name in ONLY_WHERE and not ONLY_WHERE[name](plan):
            continue
        cells.append(text(f"## {title}", id=f"{name}-title"))
        if name == "figures":
            drawn = figures.of_table(plan)
            cells += [code(f'report.figure("{figure}")', id=figure.replace("_", "-")) for figure in drawn]
        else:
            part = {"verdicts": "reasons"}.get(name, name)
            cells.append(code(f"report.{part}()", id=name))
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    nbformat.validate(notebook)
    return notebook


def skeleton_text(table: str) -> str:
    """The skeleton as the file's text."""
    return nbformat.writes(skeleton(table)) + "\n"


def write_skeletons(notebooks_dir: Path) -> list[Path]:
    """Write the notebook of every table."""
    return [write(notebooks_dir / f"{name}.ipynb", skeleton_text(name)) for name in tables.names()]


# -- rendering -------------------------------------------------------------------------------------------------------


def render(table: str, tier: str, results_dir: Path, notebooks_dir: Path | None = None) -> Path:
    """Execute ``notebooks_dir/<table>.ipynb`` (the repository's, unless given) into
    ``results_dir/<table>/<tier>.ipynb``, and draw the figures.

    Nothing happens when results, tables, tolerances, notebook and the reporting code are those that the executed copy
    was made from. The copy only ever appears complete.

    Raises UserError for an unknown table or tier, and when a cell fails; what was executed until then is kept as
    ``<tier>.failed.ipynb``, and an older executed copy stays as it was.
    """
    loaded = evidence.load(table, tier, results_dir)  # what is damaged is better reported from here than from a kernel
    source = (notebooks_dir or of_repository("notebooks")) / f"{table}.ipynb"
    _require_notebook(source)
    results_dir.mkdir(parents=True, exist_ok=True)
    target = results_dir / table / f"{tier}.ipynb"
    made_from = {"inputs": inputs_digest(table, tier, results_dir, source), "code": code_digest()}
    drawn = all(figures.path(loaded, name).exists() for name in figures.names(loaded))
    if drawn and _state(target) == (made_from, []):
        return target
    failed = target.with_suffix(".failed.ipynb")
    with tempfile.TemporaryDirectory(prefix="paper_repro-") as scratch:
        values = _parameters(table, tier, str(results_dir.resolve()))
        notebook, problem = _execute(source, values, results_dir.resolve().parent, Path(scratch))
    text = nbformat.writes(_clean(notebook, made_from)) + "\n"
    if problem is not None:
        write(failed, text)
        raise UserError(f"notebook {source} failed at table {table}, tier {tier}: {problem}; see {failed}", exit_code=1)
    failed.unlink(missing_ok=True)
    return write(target, text)


def _parameters(table: str, tier: str, results_dir: str = FROM_THE_COPY) -> dict[str, str]:
    return {"table": table, "tier": tier, "results_dir": results_dir}


def inputs_digest(table: str, tier: str, results_dir: Path, source: Path) -> str:
    """SHA-256 of all data that an executed notebook shows; a file that is not there counts as absent."""
    package = Path(tables.__file__).parent
    files = [source, repository() / "ci" / "tolerances.toml"]
    if any(claim.check == "training-time" for claim in tables.load(table).claims):
        files.append(results_dir / SpeedLine.FILE)
    for name in tables.sources(table):
        shown = [kind for kind in KINDS if kind not in ("trials", "speed")]
        files += [results.path(results_dir, name, tier, kind) for kind in shown]
        others = tuple(other for other in tables.names() if other.startswith(f"{name}_"))
        named = (file for folder in ("paper", "experiments") for file in (package / folder).glob(f"{name}[._]*"))
        files += sorted(file for file in named if not file.name.startswith(others))
    facts = [str(library.tables().get(name)) for name in tables.sources(table)]
    return _digest(files, json.dumps([_parameters(table, tier), facts]))


def code_digest() -> str:
    """SHA-256 of the code that draws and judges."""
    package = Path(__file__).parents[1]
    files = [
        file for folder in ("experiments", "audit", "evidence", "report") for file in (package / folder).rglob("*.py")
    ]
    return _digest([*sorted(files), package / "verdict.py"])


def executed_for(results_dir: Path, notebooks_dir: Path) -> Iterator[tuple[str, str, Path, list[str]]]:
    """(table, tier, file, problems) of every executed notebook there is: error cells, cells not executed, other
    results.
    """
    for table in tables.names():
        for tier in tables.TIERS:
            target = results_dir / table / f"{tier}.ipynb"
            if not target.exists():
                continue
            digest = inputs_digest(table, tier, results_dir, notebooks_dir / f"{table}.ipynb")
            made_from, problems = _state(target)
            if made_from and made_from.get("inputs") != digest:
                problems.append("was made from other results or tables; render it again")
            yield table, tier, target, problems


def _digest(files: Iterable[Path], extra: str = "") -> str:
    total = hashlib.sha256(extra.encode())
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "absent"
        total.update(f"\n{file.name} {content}".encode())
    return total.hexdigest()


def _require_notebook(source: Path) -> None:
    if not source.exists():
        raise UserError(
            f"{source} does not exist: `python -m paper_repro.report.notebook` writes the notebooks of all tables"
        )
    try:
        nbformat.read(source, as_version=4)
    except Exception as error:
        raise UserError(f"{source} is not a notebook: {error}") from error


def _state(executed: Path) -> tuple[dict[str, str], list[str]]:
    """What an executed notebook was made from, and what is wrong with it."""
    try:
        notebook = nbformat.read(executed, as_version=4)
    except Exception as error:  # there is none, or it is no notebook
        return {}, [f"cannot be read: {error}"]
    return dict(notebook.metadata.get(MADE_FROM, {"inputs": "unknown"})), _problems(notebook)


def _problems(notebook: nbformat.NotebookNode) -> list[str]:
    """Error outputs and code cells without an execution count: a cell that leaves the kernel ends the run without
    an error.
    """
    problems = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip():
            errors = [output for output in cell.outputs if output.output_type == "error"]
            if errors:
                problems.append(f"cell {cell.get('id', '?')!r}: {errors[0].ename}: {errors[0].evalue}")
            elif cell.execution_count is None:
                problems.append(f"cell {cell.get('id', '?')!r} was not executed")
    return problems


def _execute(
    source: Path, values: Mapping[str, Any], cwd: Path, scratch: Path
) -> tuple[nbformat.NotebookNode, str | None]:
    """The executed notebook, as far as it came, and what went wrong (None if nothing)."""
    import papermill

    output = scratch / "executed.ipynb"
    problem: str | None = None
    with _kernel_environment(scratch), (scratch / "kernel.log").open("w", encoding="utf-8") as log:
        try:
            papermill.execute_notebook(
                _no_template(source),
                str(output),
                parameters=dict(values),
                kernel_name=KERNEL,
                cwd=str(cwd),
                progress_bar=False,
                stdout_file=log,
                stderr_file=log,
                start_timeout=START_TIMEOUT_S,
                config=Config({"KernelManager": {"transport_encryption": "auto"}}),
            )
        except Exception as error:  # a failing cell, a kernel that died: all end in one message
            lines = str(error).strip().splitlines()
            problem = lines[-1] if lines else type(error).__name__
    notebook = nbformat.read(output if output.exists() else source, as_version=4)
    return notebook, problem or next(iter(_problems(notebook)), None)


def _no_template(path: Path) -> str:
    """Papermill fills {name} in paths with parameters; a brace in a folder's name is only a brace."""
    return str(path).replace("{", "{{").replace("}", "}}")


@contextmanager
def _kernel_environment(scratch: Path) -> Iterator[None]:
    """Kernels run this Python and import this package; the user's IPython settings do not matter."""
    search = os.pathsep.join(part for part in (str(repository()), os.environ.get("PYTHONPATH", "")) if part)
    changes = {
        # torch imports tqdm, which asks for widgets; nothing here shows a progress bar
        "PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), "ignore:IProgress not found"))),
        "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "PYTHONPATH": search,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _clean(notebook: nbformat.NotebookNode, made_from: Mapping[str, str]) -> nbformat.NotebookNode:
    """The notebook without times, versions and paths; only what it was made from is kept."""
    cells = []
    for cell in notebook.cells:
        tags = [tag for tag in cell.metadata.get("tags", []) if tag != "papermill-error-cell-tag"]
        if cell.cell_type == "markdown" and "papermill-error-cell-tag" in cell.metadata.get("tags", []):
            continue  # papermill's banner links into the failed cell; the error itself stays
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if "injected-parameters" in tags:
            cell.id = "injected-parameters"
            cell.source = re.sub(r"^results_dir = .*$", f'results_dir = "{FROM_THE_COPY}"', cell.source, flags=re.M)
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata = nbformat.from_dict({**METADATA, MADE_FROM: dict(made_from)})
    return notebook


if __name__ == "__main__":
    write_skeletons(repository() / "notebooks")
