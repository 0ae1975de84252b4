"""Is a method better than STR? From end to end: check it, train it at STR's regimes on STR's seeds, compare, report.

The same seed means the same order of the data and the same initial weights. Whatever is finished already is not
trained again: runs in ``runs/``, and, for STR and other registered methods, those committed in ``results/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table as Grid
from rich.text import Text

from paper_repro import record, tables
from paper_repro.data.catalog import dataset, source
from paper_repro.errors import UserError
from paper_repro.evidence import regression
from paper_repro.evidence.regression import Comparison, Measured, Regime
from paper_repro.files import write
from paper_repro.record import as_written
from paper_repro.report.console import print_whole
from paper_repro.spec import Spec
from paper_repro.tables import AUDIT, CHECKPOINT
from paper_repro.terminal import Console
from paper_repro.workflows.job import Job
from paper_repro.workflows.train import list_failures, require_trainable, train_named

if TYPE_CHECKING:
    from paper_repro.methods.plugins import Plugin


@dataclass(frozen=True)
class Question:
    """What is to be compared: ``method`` is a path to a file, or the name of an entry point or registered method."""

    method: str
    job: Job = field(default_factory=lambda: Job("resnet50", seeds=3))
    margin: float = 0.5  # points of top-1 accuracy that do not matter
    weight_decay: float | None = None  # the tier's own, where None
    method_args: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None  # regress/<name of the method>, where None
    strict: bool = False  # whether a regime that is not decided has an exit code of its own

    def __post_init__(self) -> None:
        if not 0.0 <= self.margin < 100.0:
            raise UserError(f"margin is {self.margin:g} points of accuracy; it lies between 0 and 100")
        if self.weight_decay is not None and not self.weight_decay >= 0.0:
            raise UserError(f"weight_decay is {self.weight_decay:g}; it is not negative")

    def str_runs(self) -> list[tuple[float, Spec]]:
        """STR's runs at this tier with the regime that each stands for, sparsest last."""
        if self.job.tier in (AUDIT, CHECKPOINT):
            tier = self.job.tier
            raise UserError(f"tier {tier} trains nothing, so that no method can be compared at it; take TIER=smoke")
        table = tables.load(self.job.table)
        plan = table.tier(self.job.tier)
        runs = []
        for row, plain in table.specs(self.job.tier, range(self.job.seeds)):
            spec = plain.with_options(self.job.options)
            target = plan.rows[row.id].target_sparsity_pct
            if row.method == "str" and target is not None and "target_sparsity_pct" not in spec.method_args:
                runs.append((target, spec))
        if not runs:
            raise UserError(f"table {table.name} trains no STR at tier {plan.name}, so that nothing can be compared")
        return sorted(runs, key=lambda pair: (pair[0], pair[1].seed))

    def method_runs(self, plugin: Plugin, argument: str) -> list[tuple[float, Spec]]:
        """The method's runs: at STR's regimes, with the seeds and the protocol of STR's runs. A registered method has
        the defaults that the tier gives it, so that its runs are those of the tables.
        """
        plan = tables.load(self.job.table).tier(self.job.tier)
        decay = {} if self.weight_decay is None else {"weight_decay": self.weight_decay}
        asked = {"method_args": self.method_args, **decay}
        runs = []
        for target, ours in self.str_runs():
            regime = {"method_args": {argument: target}}
            spec = plan.spec(plugin.name, regime, asked, shared=not plugin.sha256)
            spec = replace(spec, dataset=ours.dataset, seed=ours.seed, method_sha256=plugin.sha256)
            runs.append((target, spec.with_options(self.job.options)))
        return runs


def parse_arguments(texts: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE texts as arguments of a method; a value is JSON (0.5, true, ["first"]), or else text."""
    arguments: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"method argument {text!r} is not of the form key=value")
        if key in ("sparsity_pct", "target_sparsity_pct"):
            raise UserError(f"{key} is not given: it is what regress asks the method for, regime by regime")
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments


def regress(question: Question, console: Console) -> int:
    """Everything, in order; the exit code."""
    from paper_repro.methods import plugins
    from paper_repro.report.regression_page import page

    job, str_specs = question.job, question.str_runs()
    plugin = plugins.find(question.method)
    out = question.out or Path("regress") / plugin.name
    table = tables.load(job.table)
    plan = table.tier(job.tier)
    targets = sorted({target for target, _ in str_specs})
    console.print(
        Text.assemble(
            (f"Is {plugin.name} better than STR?", "bold"),
            f" Table {job.table}, tier {job.tier} ({dataset(plan.base.dataset).title}), at "
            f"{', '.join(f'{target:g}' for target in targets)} % sparsity, "
            f"{job.seeds} seed{'s' if job.seeds > 1 else ''}",
        )
    )
    checks = _preflight(question, plugin, targets, console)
    method_specs = question.method_runs(plugin, checks.sparsity_argument)
    stored = _stored(job, [spec for _, spec in [*method_specs, *str_specs]])
    todo = {
        f"{name} {target:g} s{spec.seed}": spec
        for name, specs in (("STR", str_specs), (plugin.name, method_specs))
        for target, spec in specs
        if spec.name not in stored
    }
    _prepare(job, [spec for spec in todo.values() if not spec.method_sha256], list(todo.values()), console)
    failures = train_named(todo, job, console, plugin=plugin.source)
    stored |= _stored(job, list(todo.values()))

    failed_specs = {todo[name].name: reason for name, reason in failures.items()}
    method_runs = regression.measured(method_specs, stored)
    str_runs = [run for run in regression.measured(str_specs, stored) if run.spec in stored]
    regimes = regression.compare(targets, method_runs, str_runs, question.margin, failed_specs)
    _print_sources(plugin, method_runs, str_runs, console)
    console.print()
    print_whole(grid(regimes), console)
    notes = [f"{where}: {note}" for where, note in regression.notes(regimes)]
    for line in [*notes, *regression.claimed_sparsity(method_runs)]:
        console.print(line, soft_wrap=True)
    code = regression.exit_code(regimes, question.strict)
    html = page(
        plugin,
        table,
        plan,
        checks.outcomes,
        regimes,
        str_runs,
        margin=question.margin,
        seeds=job.seeds,
        weight_decay=method_specs[0][1].weight_decay,
        method_args=question.method_args,
        exit_code=code,
    )
    write(out / "regress.csv", regression.csv_text(regimes))
    write(out / "report.html", html)
    list_failures(failures, console)
    console.print(
        f"\n{regression.summary(plugin.name, regimes)}\nreport:  {out / 'report.html'}\nnumbers: {out / 'regress.csv'}"
    )
    return code


def _preflight(question: Question, plugin: Plugin, targets: Sequence[float], console: Console) -> Any:
    """Check the method before a minute is spent on training it; UserError when runs of it would mean nothing."""
    from paper_repro.conformance import preflight

    console.print(f"checks: {plugin} on a small network, in a process of its own")

    def say(outcome: Mapping[str, Any]) -> None:
        failed = ("FAILED", "red") if outcome["needed"] else ("warns", "yellow")
        mark = "passed" if outcome["passed"] else failed
        text = f"  {outcome['name']:<11}{outcome['note'] or outcome['sentence']}"
        console.print(Text.assemble("  ", mark, text), soft_wrap=True)

    # not the sparsest: of the small network, little would be left
    checks = preflight.findings(plugin, min(90.0, targets[-1]), question.method_args, say)
    if checks.broken:
        listed = "; ".join(f"it {outcome['note']}" for outcome in checks.broken)
        raise UserError(f"{plugin} fails {len(checks.broken)} of its checks, and was not trained: {listed}")
    return checks


def _prepare(job: Job, registered: Sequence[Spec], todo: Sequence[Spec], console: Console) -> None:
    """What could stop the runs, before any starts: a spec that would stay dense, and missing data."""
    from paper_repro.training.forecast import require_pruning

    for spec in registered:
        require_pruning(spec)
    require_trainable(job, registered)
    for name, loader in {(spec.dataset, spec.loader) for spec in todo}:
        source(name).ensure(job.data_root, console.print, loader)


def _stored(job: Job, specs: Sequence[Spec]) -> dict[str, dict[str, Any]]:
    """Spec name -> what is known of a finished run: of ``runs/`` first, then of the results that are committed."""
    from paper_repro.evidence import provenance, results

    known: dict[str, dict[str, Any]] = {}
    for spec in specs:
        run = record.finished(job.runs / spec.name, spec)
        if run is not None:
            known[spec.name] = {**as_written(run.provenance), **as_written(run.result), "origin": f"{job.runs}/"}
    folders = dict.fromkeys(folder.resolve() for folder in (job.results, provenance.repository() / "results"))
    for file in (file for folder in folders for file in sorted(folder.glob(f"*/{job.tier}.csv"))):
        wanted = {spec.name for spec in specs} - known.keys()
        if not wanted:
            break
        for values in results.read(file).to_dict("records"):
            line = {str(key): value for key, value in values.items()}
            if line["spec"] in wanted:
                known[line["spec"]] = {**line, "origin": f"{_from_here(file)} (commit {line['commit'][:7]})"}
    return known


def _from_here(file: Path) -> str:
    """A path as short as it can be said."""
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _print_sources(
    plugin: Plugin, method_runs: Sequence[Measured], str_runs: Sequence[Measured], console: Console
) -> None:
    for name, runs in ((plugin.name, method_runs), ("STR", str_runs)):
        for text in regression.sources(runs):
            console.print(f"{name}: {text}")
    versions = {run.torch for run in [*method_runs, *str_runs] if run.torch != "unknown"}
    if len(versions) > 1:
        console.print(f"note: these runs were made with different versions of torch: {', '.join(sorted(versions))}")


def grid(regimes: Sequence[Regime]) -> Grid:
    """The table that ends ``regress``: a line per regime and comparison."""
    table = Grid(header_style="bold", pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for title in ("regime", "sparsity %", "MACs M", "top-1 %", "at equal", "STR top-1 %", "difference [95 %]", "seeds"):
        table.add_column(title, justify="left" if title == "at equal" else "right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for regime in regimes:
        means = [regime.mean(quantity) for quantity in ("sparsity_pct", "macs_m", "top1_pct")]
        cells = [
            "–" if mean is None else f"{mean.mean:.{digits}f}" for mean, digits in zip(means, (2, 3, 2), strict=True)
        ]
        for axis, comparison in (("sparsity", regime.at_sparsity), ("MACs", regime.at_macs)):
            lead = [f"{regime.target_pct:g} %", *cells] if axis == "sparsity" else [""] * 4
            table.add_row(*lead, axis, *_cells(comparison))
    return table


def _cells(comparison: Comparison) -> list[str]:
    difference = comparison.difference
    if difference is None or comparison.str_top1_pct is None:
        return ["–", "–", "0", comparison.verdict]
    return [f"{comparison.str_top1_pct:.2f}", difference.signed(), str(difference.n), comparison.verdict]
