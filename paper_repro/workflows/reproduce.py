"""One table from end to end: audit, plan, train what is missing, collect, render, and say how reported and reproduced
compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.table import Table as Grid
from rich.text import Text

from paper_repro import tables
from paper_repro.data.catalog import dataset, standing_in
from paper_repro.errors import UserError, unknown
from paper_repro.spec import Spec
from paper_repro.tables import AUDIT, CHECKPOINT
from paper_repro.terminal import Console

if TYPE_CHECKING:
    import pandas as pd

    from paper_repro.audit.audit import Finding
    from paper_repro.runs.cost import Cost


ALL_ROWS = "all"


@dataclass(frozen=True)
class Job:
    """What a command works on: a table at a tier, with these seeds, in these folders."""

    table: str
    tier: str = "smoke"
    seeds: int = 1
    method: str | None = None
    rows: tuple[str, ...] = ()  # none: the headline rows, or all of ``method``; ALL_ROWS alone: all
    jobs: int | None = None
    max_gpu_hours: float | None = None
    gpus: int = 1  # processes that train one run together
    options: str = ""  # of every run: see spec.OPTIONS
    data_root: Path = field(default_factory=Path)
    runs: Path = Path("runs")
    results: Path = Path("results")
    checkpoints: Path = Path("checkpoints")

    def stand_ins(self) -> dict[str, str]:
        """Data set -> the one that stands in for it on this machine."""
        named = tables.load(self.table).tier(self.tier).stand_ins
        if not named:
            return {}
        return standing_in(named, self.data_root)

    def specs(self) -> list[tuple[tables.Row, Spec]]:
        """The runs that this job asks for, in table order; UserError for a tier, method or row that does not exist."""
        table = tables.load(self.table)
        pairs = [
            (row, spec.with_options(self.options))
            for row, spec in table.specs(self.tier, range(self.seeds), self.stand_ins())
        ]
        known = {row.id for row, _ in pairs}
        for row in () if self.rows == (ALL_ROWS,) else self.rows:
            table.row(row)
            if row not in known:
                raise UserError(
                    f"row {row!r} is not trained at tier {self.tier}; these are: {', '.join(sorted(known))}"
                )
        wanted = self.wanted_rows()
        used = {row.method for row, _ in pairs}
        if self.method is not None and self.method not in used:
            raise unknown(f"method in table {self.table} at tier {self.tier}", self.method, used)
        return [
            (row, spec) for row, spec in pairs if (not wanted or row.id in wanted) and self.method in (None, row.method)
        ]

    def wanted_rows(self) -> tuple[str, ...]:
        """The rows that this job names, or the headline rows where it names none; empty for all of them."""
        if self.rows == (ALL_ROWS,):
            return ()
        if self.rows or self.method is not None:
            return self.rows
        return tables.load(self.table).tier(self.tier).headline


def audited(table: str, errata: Path) -> list[Finding]:
    """Everything the paper prints about a table that follows without training: its numbers, and when pruning began.

    UserError when the transcribed numbers are not those on record: a change too small to show in a sum shows there.
    """
    from paper_repro.audit.audit import audit
    from paper_repro.training.forecast import forecast_in_the_paper

    tables.verify()
    return [*audit(table, errata), *forecast_in_the_paper(tables.load(table))]


def write_audit(job: Job, console: Console, every: bool = False) -> bool:
    """Audit the table, write ``results/<table>/audit.csv`` and print a summary; True if nothing failed.

    ``every`` prints each number that does not simply match; otherwise only failures are printed.
    """
    from paper_repro.audit.audit import save
    from paper_repro.evidence import provenance
    from paper_repro.verdict import Verdict

    if not tables.load(job.table).audited:
        console.print("audit: nothing is printed here that other tables do not hold")
        return True
    own = job.results / "errata.csv"
    errata = own if own.exists() else provenance.of_repository("results", "errata.csv")
    findings = audited(job.table, errata)
    path = save(findings, job.results / job.table / "audit.csv")
    printed = [finding for finding in findings if finding.printed]
    counts = {verdict: sum(finding.verdict == verdict for finding in printed) for verdict in Verdict}
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(f"audit: {len(printed)} printed numbers recomputed without training: {found}  ({path})")
    if len(findings) > len(printed):
        console.print(f"  and {len(findings) - len(printed)} that follow from what is printed, in that file")
    for finding in printed:
        if finding.verdict == Verdict.FAIL or (every and finding.verdict != Verdict.PASS):
            console.print(
                f"  {finding.verdict:<12} {finding.paper_table}, {finding.row}, {finding.quantity}: "
                f"printed {finding.printed}, recomputed {finding.recomputed:.6g}; {finding.note}",
                soft_wrap=True,
            )
    if counts[Verdict.ERRATUM] and not every:
        console.print(f"  what each ERRATUM is: make audit TABLE={job.table}, or {errata}")
    write_balance(job, console)
    return not counts[Verdict.FAIL]


def write_balance(job: Job, console: Console) -> None:
    """Write the balance of thresholds on the paper's own data, for the table that has what it takes."""
    from paper_repro.evidence import results

    for kind, frame in audited_balance(job.table).items():
        path = results.write(frame, results.path(job.results, job.table, AUDIT, kind), kind)
        if kind == "balance_tests":
            numbers = frame[frame["test"] == "paper"].set_index("quantity")["value"]
            console.print(
                "balance of thresholds (a finding of this project, no claim of the paper): the L1 norms that "
                f"{numbers['layers']:.0f} thresholds imply go with the kept weights, correlation of logarithms "
                f"{numbers['correlation']:.3f}  ({path})",
                soft_wrap=True,
            )


def audited_balance(table: str) -> dict[str, pd.DataFrame]:
    """Kind of results file -> its lines; nothing for a table without the paper's Figure 3."""
    import pandas as pd

    from paper_repro.audit import balance_audit

    layers = balance_audit.layers(table)
    if not layers:
        return {}
    return {"balance": pd.DataFrame(layers), "balance_tests": pd.DataFrame(balance_audit.tests(layers))}


def unfinished(job: Job, console: Console) -> tuple[list[tuple[tables.Row, Spec]], dict[str, str]]:
    """The runs of the job that have no result yet and can be trained; and data set -> why its rows cannot be.

    Everything that could stop them is looked for here, before any starts: a spec that would stay dense, runs that take
    more hours than the job allows, and data that is neither there nor to be fetched, are UserErrors. Where only some
    rows lack their data, the others are trained.
    """
    from paper_repro.evidence import provenance
    from paper_repro.runs.cost import require_affordable
    from paper_repro.training.forecast import require_pruning
    from paper_repro.training.loop import stored_result

    for name, other in job.stand_ins().items():
        console.print(
            f"{dataset(name).title} is not in {job.data_root}; {dataset(other).title} is, and stands in for it. "
            f"Results say so. For the official data: make data NAME={name}",
            soft_wrap=True,
        )
    pairs = job.specs()
    stored = {spec.name: stored_result(job.runs / spec.name, spec) for _, spec in pairs}
    todo = [(row, spec) for row, spec in pairs if stored[spec.name] is None]
    if len(todo) < len(pairs):
        console.print(f"runs: {len(pairs) - len(todo)} of {len(pairs)} are finished already (in {job.runs}/)")
    now = provenance.code_version()
    made_by = [result["provenance"] for result in stored.values() if result is not None]
    other = sum((made.get("commit"), made.get("dirty")) != now or made.get("dirty") == "true" for made in made_by)
    if other:
        console.print(
            f"note: {other} of them were trained by another commit or by changed code, and are not trained again; "
            f"where that code matters, delete their folders in {job.runs}/"
        )
    for _, spec in todo:
        require_pruning(spec)
    require_trainable(job, [spec for _, spec in todo])
    if job.max_gpu_hours is not None:
        require_affordable(list(costs(job).values()), job.max_gpu_hours)
    lacking: dict[str, UserError] = {}
    for name, loader in dict.fromkeys((spec.dataset, spec.loader) for _, spec in todo):
        try:
            dataset(name).ensure(job.data_root, console.print, loader)
        except UserError as why:
            lacking[name] = why
    if lacking and all(spec.dataset in lacking for _, spec in todo):
        raise next(iter(lacking.values()))
    left_out: dict[str, str] = {}
    for name, error in lacking.items():
        rows = ", ".join(dict.fromkeys(row.id for row, spec in todo if spec.dataset == name))
        left_out[dataset(name).title] = f"its rows ({rows}) were left out. {error}"
        console.print(f"{dataset(name).title}: its rows are left out, the others trained. {error}", soft_wrap=True)
    return [(row, spec) for row, spec in todo if spec.dataset not in lacking], left_out


def costs(job: Job) -> dict[str, Cost]:
    """Spec name -> what the run takes, and how much of it is done; a run that several rows show is there once."""
    from paper_repro.runs.cost import cost
    from paper_repro.training import checkpoint
    from paper_repro.training.forecast import steps_per_epoch
    from paper_repro.training.loop import stored_result

    def done(spec: Spec) -> float:
        folder = job.runs / spec.name
        if stored_result(folder, spec) is not None:
            return 1.0
        return (checkpoint.newest_step(folder) or 0) / (steps_per_epoch(spec) * spec.epochs)

    return {spec.name: cost(spec, done(spec)) for spec in {spec.name: spec for _, spec in job.specs()}.values()}


def require_trainable(job: Job, todo: Sequence[Spec]) -> None:
    """UserError when an option means nothing for a run, its batches cannot be shared by the job's processes, or there
    is no room for what it writes.
    """
    from paper_repro.data.loaders import Share
    from paper_repro.files import require_room
    from paper_repro.training import checkpoint
    from paper_repro.training.distributed import require_gpus
    from paper_repro.training.network import parameter_count
    from paper_repro.training.options import require_applicable

    require_gpus(job.gpus)
    require_room(job.results)
    largest = max((parameter_count(spec) for spec in todo), default=0)
    require_room(job.runs, checkpoint.room_bytes(largest) * side_by_side(job, todo))
    for spec in todo:
        require_applicable(spec)
        Share(0, job.gpus).require_fair(dataset(spec.dataset).train_examples, spec.batch_size)


def side_by_side(job: Job, todo: Sequence[Spec]) -> int:
    """How many of these runs are trained at once."""
    from paper_repro.runs import launch

    return 1 if job.gpus > 1 else min(job.jobs or launch.side_by_side(todo), len(todo))


def train(job: Job, todo: Sequence[tuple[tables.Row, Spec]], console: Console) -> dict[str, str]:
    """Train side by side; returns row and seed -> reason for the runs that failed. A run that several rows show is
    known by the first of them.
    """
    once = {spec.name: (row, spec) for row, spec in reversed(todo)}
    return train_named({f"{row.id} s{spec.seed}": spec for row, spec in reversed(once.values())}, job, console)


def train_named(todo: Mapping[str, Spec], job: Job, console: Console, plugin: str | None = None) -> dict[str, str]:
    """Train side by side what people know by these names; returns name -> reason for the runs that failed.

    ``plugin``: what ``methods.plugins.find`` takes, where a spec is that of a plug-in.
    """
    from paper_repro.evidence import provenance
    from paper_repro.runs.launch import Launch, where
    from paper_repro.runs.progress import TrainingProgress

    if not todo:
        return {}
    names = {spec.name: name for name, spec in todo.items()}
    jobs = side_by_side(job, list(todo.values()))
    how = f"{jobs} side by side, one thread each"
    if job.gpus > 1:
        how = f"one after another, each by {job.gpus} processes of one thread"
    console.print(f"runs: {len(todo)} to train, {how}, on {where()}")
    with TrainingProgress(console, len(todo)) as progress:

        def on_event(spec: Spec, event: Mapping[str, Any]) -> None:
            progress(names[spec.name], event)

        made_by = provenance.provenance(threads=1)
        launch = Launch(job.runs, job.data_root, made_by, on_event, jobs, processes=job.gpus, plugin=plugin)
        failures = launch.train(list(todo.values()))
    if launch.signum is not None:
        raise UserError(
            "interrupted; what was trained is saved, and the same command goes on from there",
            exit_code=128 + launch.signum,
        )
    return {names[name]: reason for name, reason in failures.items()}


def collect(job: Job) -> None:
    """Bring the finished runs of this job into ``results/``, each into the files of the table that its row is from."""
    from paper_repro.evidence import results

    holders = tables.holders(tables.load(job.table), job.tier)
    finished: dict[str, list[Path]] = {job.table: []}
    for row, spec in job.specs():
        folder = job.runs / spec.name
        if (folder / "result.json").exists():
            finished.setdefault(holders[row.id][0], []).append(folder)
    for table, folders in finished.items():
        results.collect(table, job.tier, dict.fromkeys(folders), job.results)


def run(job: Job, console: Console) -> int:
    """Train what is missing and collect; the exit code: 0, or 1 when a run failed or rows had no data."""
    todo, left_out = unfinished(job, console)
    failures = left_out | train(job, todo, console)
    collect(job)
    return report(failures, console)


def reproduce(job: Job, console: Console) -> int:
    """Everything, in order; the exit code: 0, or 1 when a run or the audit failed, or rows had no data."""
    table = tables.load(job.table)
    console.print(Text.assemble((f"{table.paper_table}: {table.title}", "bold"), f", tier {job.tier}"))
    if job.tier == CHECKPOINT:
        from paper_repro.workflows import evaluation

        return evaluation.reproduce(job, console)
    todo, failures = ([], {}) if job.tier == AUDIT else unfinished(job, console)
    sound = write_audit(job, console)
    if job.tier != AUDIT:
        failures |= train(job, todo, console)
        collect(job)
    show(job, console)
    return report(failures, console) if sound else 1


def report(failures: Mapping[str, str], console: Console) -> int:
    """List the runs that failed, last and so not to be missed; the exit code."""
    for name, reason in failures.items():
        console.print(Text.assemble(("FAILED", "red"), f"  {name}: {reason}"), soft_wrap=True)
    return 1 if failures else 0


def show(job: Job, console: Console) -> None:
    """Render figures and notebook, then print the summary, and reported beside reproduced with a verdict for each row.

    Tier audit draws nothing: its numbers are part of every other tier's notebook. What was found of each claim, which
    the notebook has at length, is printed there instead.
    """
    from paper_repro.evidence import claims, evidence, provenance, verdicts
    from paper_repro.report import balance_report, notebook, summary

    found = evidence.load(job.table, job.tier, job.results)
    rendered = None
    if job.tier != AUDIT:
        console.print("notebook and figures: being rendered (nothing is done where the results have not changed)")
        rendered = notebook.render(job.table, job.tier, job.results)
    compared, checked = verdicts.comparisons(found), claims.check(found)
    console.print()
    for line in summary.summary(found, compared, checked, rendered):
        console.print(line, soft_wrap=True, highlight=False)
    console.print()
    print_whole(comparison_grid(compared, best_epochs(found)), console)
    console.print(legend(found), soft_wrap=True)
    if rendered is None and checked:
        console.print()
        for claim in checked:
            console.print(f"{claim.verdict:<12} {claim.id}: {claim.sentence}", soft_wrap=True)
    if rendered is not None:
        console.print(whose(job, found), soft_wrap=True)
    console.print(f"numbers: {job.results / job.table}", soft_wrap=True)
    home = provenance.repository()
    if job.results.resolve() == home / "results":
        if not verdicts.update_status_table(home / "README.md", job.results):
            console.print("README.md: its status table now counts these results")
        if not balance_report.update_page(home / "docs" / "balance.md", job.results):
            console.print("docs/balance.md: its numbers are now those of these results")


def print_whole(grid: Grid, console: Console) -> None:
    """Print a table as wide as it is, even on a narrower terminal: a wrapped line is better than a cut number."""
    needed = console.measure(grid, options=console.options.update(max_width=1000)).maximum
    Console(file=console.file, width=max(needed, console.width), force_terminal=console.is_terminal).print(grid)


COLUMNS = {"top1_pct": "top-1 %", "sparsity_pct": "sparsity %", "params_m": "params M", "macs_m": "MACs M"}


def best_epochs(found: Any) -> dict[str, float]:
    """Row -> the best accuracy of any epoch, mean over seeds, for tables whose source may have reported that."""
    if not any(row.ranks for row in found.table.rows):
        return {}
    best = {row.id: list(found.best_over_epochs(row.id).values()) for row in found.table.rows}
    return {row: sum(values) / len(values) for row, values in best.items() if values}


def comparison_grid(compared: Sequence[Any], best: Mapping[str, float] = MappingProxyType({})) -> Grid:
    """The long table: each printed number, and beside it the reproduced one. What no row has gets no column. ``best``:
    row -> the best epoch's accuracy.
    """
    from paper_repro.evidence.verdicts import TRAINED_SPARSITY

    shown = [name for name in COLUMNS if any(name in row.quantities for row in compared)]
    ranks = any(row.ranks for row in compared)
    targets = any(TRAINED_SPARSITY in row.quantities for row in compared)
    grid = Grid(header_style="bold", pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for title in ("row", "method", *(["ranks W/U"] if ranks else [])):
        grid.add_column(title, no_wrap=True)
    for name in shown:
        unit = COLUMNS[name].split()[-1]
        grid.add_column(f"{COLUMNS[name].removesuffix(unit)}\npaper", justify="right", no_wrap=True)
        grid.add_column(f"{unit}\nhere", justify="left", no_wrap=True)
    if best:
        grid.add_column("best epoch\nby test acc.", justify="right", no_wrap=True)
    if targets:
        grid.add_column("trained\nspars. %", justify="right", no_wrap=True)
    grid.add_column("\ntier", no_wrap=True)
    grid.add_column("\nverdict", no_wrap=True)
    for comparison in compared:
        cells = [comparison.row, comparison.label, *([comparison.ranks or "full"] if ranks else [])]
        for name in shown:
            cells += _printed_and_here(comparison.quantities.get(name))
        if best:
            cells.append(f"{best[comparison.row]:.2f}" if comparison.row in best else "–")
        if targets:
            trained = comparison.quantities.get(TRAINED_SPARSITY)
            cells.append("" if trained is None else trained.text + _mark(trained))
        grid.add_row(*cells, comparison.tier, str(comparison.verdict))
    return grid


def _printed_and_here(judged: Any) -> list[str]:
    if judged is None:
        return ["–", "–"]
    return [judged.reported, judged.text + (_mark(judged) if judged.judged else "")]


def _mark(judged: Any) -> str:
    if judged.reproduced is None and judged.verdict == "UNTESTED":
        return ""
    return MARKS[judged.verdict] or (" c" if judged.convention else "")


def whose(job: Job, found: Any) -> str:
    """Which of the runs behind the table were trained here, and which came with the repository."""
    if job.tier == CHECKPOINT:
        return "Nothing was trained: these are the networks that the authors released."
    runs = found.runs["spec"].unique()
    here = sum((job.runs / spec / "result.json").exists() for spec in runs)
    there = len(runs) - here
    text = f"Of the {len(runs)} runs behind this table {here} were trained in {job.runs}/"
    if there:
        text += f" and {there} came with {job.results}/; for yours alone, add ARGS='--results DIR'"
    return f"{text}. `git diff {job.results}` shows what is new."


# after a number; a number without a mark passes
MARKS = {"PASS": "", "FAIL": " F", "ERRATUM": " e", "INCONCLUSIVE": " ?", "MISSING": "", "UNTESTED": " u"}


def legend(found: Any) -> str:
    """What the columns and marks of the table mean."""
    from paper_repro.report.report import has_budgets

    lines = ["", "paper: as printed.  here: reproduced."]
    if has_budgets(found.table):
        measured = ", measured where a row has a run" if found.full_scale else ""
        lines.append(f"sparsity, params, MACs: recomputed from the published budgets at full size{measured}.")
    if found.trained_rows:
        seeds = found.seeds()
        of_what = f"mean of seeds {', '.join(map(str, seeds)) or 'none'}" if len(seeds) != 1 else f"seed {seeds[0]}"
        of_what = "the released networks" if found.tier == CHECKPOINT else of_what
        lines.append(f"top-1 here: {found.setting}, {of_what}.")
    if best_epochs(found):
        lines.append("best epoch by test acc.: chosen on the test set, and so too good; no verdict is about it.")
    if found.trained_rows and not found.full_scale and has_budgets(found.table):
        lines.append("trained spars.: what the runs reached, against the row's regime.")
    lines += [
        "No mark: matches.  c: by another convention of the paper.  e: the paper is wrong (errata.csv).",
        "F: does not match.  ?: not decided.  u: shown, not tested here.  –: none.",
        "A row's verdict is the worst of what was tested.",
    ]
    return "\n".join(lines)
