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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from traitlets.config import Config

from paper_repro import tables
from paper_repro.errors import UserError, unknown
from paper_repro.evidence import evidence, results
from paper_repro.evidence.provenance import of_repository, repository
from paper_repro.files import write
from paper_repro.report import figures
from paper_repro.tables import AUDIT

KERNEL = "python3"
METADATA = "paper_repro"  # where an executed notebook says what it was made from
START_TIMEOUT_S = 120
FROM_THE_COPY = ".."  # the results, from the folder of an executed copy: what that says, whatever path it was made with


# only where methods are set beside each other
METHODS_CELLS = (
    ("methods-title", "markdown", "## Method by method"),
    ("methods", "code", "report.methods()"),
)
# only where networks are of low rank
RANKS_CELLS = (
    ("ranks-title", "markdown", "## Ranks, parameters, size"),
    ("ranks", "code", "report.ranks()"),
)
# only where the numbers are those of others
PUBLISHED_CELLS = (
    ("published-title", "markdown", "## How the numbers came about, and where they were read"),
    ("published", "code", "report.published()"),
)
# only where a figure shows the balance
BALANCE_CELLS = (
    ("balance-title", "markdown", "## The balance of thresholds"),
    ("balance", "code", "report.balance()"),
)


# -- skeletons -------------------------------------------------------------------------------------------------------


def skeleton(table: str) -> nbformat.NotebookNode:
    """The notebook of a table, not executed."""
    plan = tables.load(table)
    title = f"# {plan.heading}\n\n"
    tier = next(iter(plan.tiers), AUDIT)
    cells: list[tuple[str, str, str]] = [
        (
            "title",
            "markdown",
            title
            + "Reads the results of one tier, sets them beside the paper's numbers, and says how far they agree. "
            + "It trains nothing:\n"
            f"`make reproduce TABLE={table}` does that, and executes this notebook into `results/{table}/`.",
        ),
        ("parameters", "code", f'table = "{table}"\ntier = "{tier}"\nresults_dir = "../results"'),
        (
            "open",
            "code",
            "from paper_repro.report.report import open_report\n\n"
            "report = open_report(table, tier, results_dir)\nreport.summary()",
        ),
        ("claims-title", "markdown", "## Claims"),
        ("claims", "code", "report.claims()"),
        ("comparison-title", "markdown", "## Reported beside reproduced"),
        ("comparison", "code", "report.comparison()"),
        ("figures-title", "markdown", "## Figures"),
        *((name.replace("_", "-"), "code", f'report.figure("{name}")') for name in figures.of_table(plan)),
        *(cell for cell in METHODS_CELLS if "methods_over_sparsity" in figures.of_table(plan)),
        *(cell for cell in BALANCE_CELLS if "balance_l1" in figures.of_table(plan)),
        *(cell for cell in PUBLISHED_CELLS if any(row.how_read for row in plan.rows)),
        *(cell for cell in RANKS_CELLS if any(row.ranks for row in plan.rows)),
        ("verdicts-title", "markdown", "## Verdicts that are not a plain PASS, and why"),
        ("verdicts", "code", "report.reasons()"),
        ("provenance-title", "markdown", "## Provenance"),
        ("provenance", "code", "report.provenance()"),
    ]
    notebook = nbformat.v4.new_notebook(metadata=_metadata())
    for name, kind, source in cells:
        make = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        notebook.cells.append(make(source, id=name, metadata={"tags": ["parameters"]} if name == "parameters" else {}))
    nbformat.validate(notebook)
    return notebook


def skeleton_text(table: str) -> str:
    """The skeleton as the file's text."""
    return nbformat.writes(skeleton(table)) + "\n"


def write_skeletons(notebooks_dir: Path) -> list[Path]:
    """Write the notebook of every table."""
    return [write(notebooks_dir / f"{name}.ipynb", skeleton_text(name)) for name in tables.names()]


# -- rendering -------------------------------------------------------------------------------------------------------


def render(
    table: str,
    tier: str,
    results_dir: Path,
    notebooks_dir: Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Path:
    """Execute ``notebooks_dir/<table>.ipynb`` (the repository's, unless given) into
    ``results_dir/<table>/<tier>.ipynb``, and draw the figures.

    Nothing happens when results, tables, tolerances, notebook, parameters and the reporting code are those that the
    executed copy was made from; ``force`` executes all the same. The copy only ever appears complete.

    Raises UserError for an unknown table, tier or parameter, and when a cell fails; what was executed until then is
    kept as ``<tier>.failed.ipynb``, and an older executed copy stays as it was.
    """
    evidence.load(table, tier, results_dir)  # damaged results are better reported from here than from within a kernel
    source = (notebooks_dir or of_repository("notebooks")) / f"{table}.ipynb"
    results_dir.mkdir(parents=True, exist_ok=True)
    values = {"table": table, "tier": tier, "results_dir": FROM_THE_COPY, **(parameters or {})}
    _check_parameters(source, values)
    target = results_dir / table / f"{tier}.ipynb"
    made_from = {"inputs": inputs_digest(table, tier, results_dir, source, values), "code": code_digest()}
    if not force and _is_current(target, made_from) and _figures_exist(table, tier, results_dir):
        return target
    failed = target.with_suffix(".failed.ipynb")
    with tempfile.TemporaryDirectory(prefix="paper_repro-") as scratch:
        given = {**values, "results_dir": str(results_dir.resolve()), **(parameters or {})}
        notebook, problem = _execute(source, given, results_dir.resolve().parent, Path(scratch))
    cleaned = _clean(notebook, made_from)
    if problem is not None:
        write(failed, nbformat.writes(cleaned) + "\n")
        raise UserError(f"notebook {source} failed at table {table}, tier {tier}: {problem}; see {failed}", exit_code=1)
    write(target, nbformat.writes(cleaned) + "\n")
    failed.unlink(missing_ok=True)
    return target


def inputs_digest(table: str, tier: str, results_dir: Path, source: Path, values: Mapping[str, Any]) -> str:
    """SHA-256 of all data that an executed notebook shows."""
    folder = Path(tables.__file__).parent
    kinds = [kind for kind in results.OF_RUNS if kind != "epochs"]
    kinds = ["audit"] if tier == AUDIT else [*kinds, "audit"]
    files = [results.path(results_dir, table, tier, kind) for kind in kinds]
    # only where a run has more than one epoch; only of the table that has the paper's Figure 3
    some = [results.path(results_dir, table, tier, kind) for kind in ("epochs", "balance", "balance_tests")]
    files += [
        *(file for file in some if file.exists()),
        source,
        repository() / "ci" / "tolerances.toml",
    ]
    for name in tables.sources(table):
        files += [folder / f"{name}.toml", *sorted(folder.glob(f"{name}_*.csv"))]
        if name != table:
            files += [results.path(results_dir, name, tier, kind) for kind in kinds]
            files.append(results.path(results_dir, name, AUDIT, AUDIT))
    return _digest(files, json.dumps(dict(values), sort_keys=True, default=str))


def code_digest() -> str:
    """SHA-256 of the code that draws and judges."""
    package = Path(__file__).parents[1]
    files = [file for folder in ("tables", "audit", "evidence", "report") for file in (package / folder).glob("*.py")]
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
            values = {"table": table, "tier": tier, "results_dir": FROM_THE_COPY}
            try:
                notebook = nbformat.read(target, as_version=4)
            except Exception as error:
                yield table, tier, target, [f"cannot be read: {error}"]
                continue
            found = _problems(notebook)
            digest = inputs_digest(table, tier, results_dir, notebooks_dir / f"{table}.ipynb", values)
            if notebook.metadata.get(METADATA, {}).get("inputs") != digest:
                found.append("was made from other results or tables; render it again")
            yield table, tier, target, found


def _digest(files: Iterable[Path], extra: str = "") -> str:
    total = hashlib.sha256(extra.encode())
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "absent"
        total.update(f"\n{file.name} {content}".encode())
    return total.hexdigest()


def _check_parameters(source: Path, values: Mapping[str, Any]) -> None:
    """Papermill only warns about parameters that a notebook does not have; here they are errors."""
    import papermill

    if not source.exists():
        raise UserError(
            f"{source} does not exist: `python -m paper_repro.report.notebook` writes the notebooks of all tables"
        )
    try:
        known = papermill.inspect_notebook(_no_template(source))
    except Exception as error:
        raise UserError(f"{source} is not a notebook: {error}") from error
    for name in values:
        if name not in known:
            raise unknown(f"parameter of {source.name}", name, known)


def _is_current(target: Path, made_from: Mapping[str, str]) -> bool:
    if not target.exists():
        return False
    try:
        notebook = nbformat.read(target, as_version=4)
    except Exception:  # whatever is wrong with it, it is executed again
        return False
    return dict(notebook.metadata.get(METADATA, {})) == dict(made_from) and not _problems(notebook)


def _figures_exist(table: str, tier: str, results_dir: Path) -> bool:
    loaded = evidence.load(table, tier, results_dir)
    return all(figures.path(loaded, name).exists() for name in figures.names(loaded))


def _problems(notebook: nbformat.NotebookNode) -> list[str]:
    """Error outputs and code cells without an execution count: a cell that leaves the kernel ends the run without
    an error.
    """
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors:
            found.append(f"cell {cell.get('id', '?')!r}: {errors[0].ename}: {errors[0].evalue}")
        elif cell.execution_count is None:
            found.append(f"cell {cell.get('id', '?')!r} was not executed")
    return found


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
    found = _problems(notebook)
    if problem is None and found:
        problem = found[0]
    return notebook, problem


def _no_template(path: Path) -> str:
    """Papermill fills {name} in paths with parameters; a brace in a folder's name is only a brace."""
    return str(path).replace("{", "{{").replace("}", "}}")


@contextmanager
def _kernel_environment(scratch: Path) -> Iterator[None]:
    """Kernels of this very Python, importing this very package, and untouched by the user's IPython settings."""
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
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _metadata() -> dict[str, Any]:
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
        "language_info": {"name": "python"},
    }


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
    notebook.metadata = nbformat.from_dict({**_metadata(), METADATA: dict(made_from)})
    return notebook


if __name__ == "__main__":
    write_skeletons(repository() / "notebooks")
