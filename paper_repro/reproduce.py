"""One table from end to end: audit, plan, train what is missing, collect, render, and say how reported and reproduced compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from paper_repro import tables
from paper_repro.errors import UserError, unknown
from paper_repro.spec import Spec

AUDIT = "audit"


@dataclass(frozen=True)
class Job:
    """What a command works on: a table at a tier, with these seeds, in these folders."""

    table: str
    tier: str = "smoke"
    seeds: int = 1
    method: str | None = None
    rows: tuple[str, ...] = ()
    jobs: int | None = None
    data_root: Path = field(default_factory=Path)
    runs: Path = Path("runs")
    results: Path = Path("results")

    def specs(self) -> list[tuple[tables.Row, Spec]]:
        """The runs that this job asks for, in table order; UserError for a tier, method or row that does not exist."""
        table = tables.load(self.table)
        pairs = table.specs(self.tier, range(self.seeds))
        known = {row.id for row, _ in pairs}
        for row in self.rows:
            table.row(row)
            if row not in known:
                raise UserError(f"row {row!r} is not trained at tier {self.tier}; these are: {', '.join(sorted(known))}")
        used = {row.method for row, _ in pairs}
        if self.method is not None and self.method not in used:
            raise unknown(f"method in table {self.table} at tier {self.tier}", self.method, used)
        return [
            (row, spec)
            for row, spec in pairs
            if (not self.rows or row.id in self.rows) and self.method in (None, row.method)
        ]


def write_audit(job: Job, console: Console) -> bool:
    """Audit the table, write ``results/<table>/audit.csv``, print a summary; True if nothing failed."""
    from paper_repro.tables.audit import audit, save
    from paper_repro.tables.verdict import Verdict

    findings = audit(job.table, job.results / "errata.csv")
    path = save(findings, job.results / job.table / "audit.csv")
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in Verdict}
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(f"audit: {len(findings)} printed numbers recomputed from the published budgets: {found}  ({path})", highlight=False)
    for finding in findings:
        if finding.verdict not in (Verdict.PASS,):
            console.print(
                f"  {finding.verdict:<12} {finding.paper_table}, {finding.row}, {finding.quantity}: printed {finding.printed}, "
                f"recomputed {finding.recomputed:.6g}  {finding.note}",
                highlight=False,
                soft_wrap=True,
            )
    return counts[Verdict.FAIL] == 0


def train_missing(job: Job, console: Console) -> dict[str, str]:
    """Train what is not finished yet, side by side; returns run name -> reason for the runs that failed."""
    from paper_repro.data import loaders
    from paper_repro.progress import TrainingProgress
    from paper_repro.reporting import provenance
    from paper_repro.training.forecast import require_pruning
    from paper_repro.training.launch import Launch, cores
    from paper_repro.training.loop import stored_result

    pairs = job.specs()
    names = {spec.name: f"{row.id} s{spec.seed}" for row, spec in pairs}
    todo = [spec for _, spec in pairs if stored_result(job.runs / spec.name, spec) is None]
    finished = len(pairs) - len(todo)
    if finished:
        console.print(f"runs: {finished} of {len(pairs)} are finished already (in {job.runs}/)", highlight=False)
    if not todo:
        return {}
    for spec in todo:
        require_pruning(spec)
    for name in {spec.dataset for spec in todo}:
        loaders.ensure(name, job.data_root, say=console.print)
    jobs = min(job.jobs or cores(), len(todo))
    console.print(f"runs: {len(todo)} to train, {jobs} side by side, one thread each", highlight=False)
    with TrainingProgress(console, len(todo)) as progress:

        def on_event(spec: Spec, event: Mapping[str, Any]) -> None:
            progress(names[spec.name], event)

        launch = Launch(job.runs, job.data_root, provenance.provenance(threads=1), on_event, jobs)
        failures = launch.train(todo)
    if launch.signum is not None:
        raise UserError("interrupted; what was trained is saved, and the same command goes on from there", exit_code=128 + launch.signum)
    return {names[name]: reason for name, reason in failures.items()}


def collect(job: Job) -> None:
    """Bring the finished runs of this job into ``results/``."""
    from paper_repro.reporting import results

    finished = [job.runs / spec.name for _, spec in job.specs() if (job.runs / spec.name / "result.json").exists()]
    results.collect(job.table, job.tier, finished, job.results)


def reproduce(job: Job, console: Console) -> int:
    """Everything, in order; the exit code: 0, or 1 when a run failed or the audit did."""
    table = tables.load(job.table)
    table.specs(job.tier, [0])  # an unknown tier is an error before anything is done
    console.print(f"[bold]{table.paper_table}: {table.title}[/bold], tier {job.tier}")
    sound = write_audit(job, console)
    failures: dict[str, str] = {}
    if job.tier != AUDIT:
        failures = train_missing(job, console)
        collect(job)
    show(job, console)
    for name, reason in failures.items():
        console.print(f"[red]FAILED[/red]  {name}: {reason}", highlight=False)
    return 0 if sound and not failures else 1


def show(job: Job, console: Console) -> None:
    """Render figures and notebook, then print reported beside reproduced with a verdict for each row, and the claims."""
    from paper_repro.reporting import claims, evidence, figures, notebook, verdicts

    found = evidence.load(job.table, job.tier, job.results)
    rendered = notebook.render(job.table, job.tier, job.results)
    compared = verdicts.comparisons(found)
    console.print(comparison_grid(compared, found))
    console.print(legend(found), highlight=False, soft_wrap=True)
    if job.tier != AUDIT:
        console.print("\n[bold]The paper's claims, checked on these results[/bold]")
        for claim in claims.check(found):
            console.print(f"  {claim.verdict:<12} {claim.sentence}", highlight=False, soft_wrap=True)
    console.print(f"\nnotebook: {rendered}\nfigures:  {figures.path(found, '').parent}", highlight=False, soft_wrap=True)


def comparison_grid(compared: Sequence[Any], found: Any) -> Grid:
    """The table that ends ``reproduce``."""
    from paper_repro.reporting import verdicts

    grid = Grid(header_style="bold", pad_edge=False, box=None, collapse_padding=True)
    for title, justify in (
        ("row", "left"), ("method", "left"), ("top-1 %", "right"), ("repr.", "right"), ("sparsity %", "right"), ("repr.", "right"),
        ("params M", "right"), ("repr.", "right"), ("MACs M", "right"), ("repr.", "right"), ("tier", "left"), ("verdict", "left"),
    ):  # fmt: skip
        grid.add_column(title, justify=justify, no_wrap=True)
    for comparison in compared:
        cells: list[str] = []
        for quantity in verdicts.QUANTITIES:
            judged = comparison.quantities.get(quantity)
            cells += ["–", "–"] if judged is None else [judged.reported, judged.text]
        grid.add_row(comparison.row, comparison.label, *cells, comparison.tier, str(comparison.verdict))
    return grid


def legend(found: Any) -> str:
    return ""
