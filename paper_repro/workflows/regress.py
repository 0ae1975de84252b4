"""Is a method better than STR? From end to end: check it, train it at STR's regimes on STR's seeds, compare, report.

The same seed means the same order of the data and the same initial weights, and only runs of one machine are paired, so
that rounding is the same too. STR is trained here as the method is. What is finished in ``runs/`` is not trained again;
``reuse="committed"`` takes the runs in ``results/`` as well, whatever machine they are of, and says what that costs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table as Grid
from rich.text import Text

from paper_repro import tables
from paper_repro.data.catalog import dataset, source
from paper_repro.errors import UserError, require_known
from paper_repro.evidence import regression, regression_words
from paper_repro.evidence.contrast import At
from paper_repro.evidence.regression import Comparison, Measured
from paper_repro.experiments import ranges
from paper_repro.experiments.table import ending
from paper_repro.files import write
from paper_repro.report.console import new_grid, print_whole
from paper_repro.spec import Spec
from paper_repro.tables import AUDIT, CHECKPOINT
from paper_repro.terminal import Console
from paper_repro.verdict import MARGIN
from paper_repro.workflows import own_network, tune
from paper_repro.workflows.finished import Stored, committed, require_one_machine, trained
from paper_repro.workflows.job import ALL_ROWS, Job
from paper_repro.workflows.train import list_failures, require_trainable, train_named

if TYPE_CHECKING:
    from paper_repro.conformance.preflight import Findings
    from paper_repro.methods.plugins import Plugin

# what STR's runs on a user's network have otherwise than the tier says, and every method's
OF_THE_NETWORK = ("model", "model_args", "model_sha256", "epochs", "warmup_epochs", "channels_last")


Runs = list[tuple[float, Spec]]  # regime that a run stands for, in percent, and the run
STR = "STR"
HERE, COMMITTED = "here", "committed"  # which finished runs are used: those of this machine, or committed ones too
MORE_SEEDS = 10  # of STR, where they are finished: its spread is known from them, and nothing is trained for it


@dataclass(frozen=True)
class Question:
    """What is to be compared: ``method`` is a path to a file, or the name of an entry point or registered method."""

    method: str
    job: Job = field(default_factory=lambda: Job("resnet50", seeds=3))
    margin: float = MARGIN
    weight_decay: float | None = None  # the tier's own, where None
    method_args: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None  # regress/<name of the method>, where None
    strict: bool = False  # whether a regime that is not decided has an exit code of its own
    reuse: str = HERE
    tune: int = 0  # trials for the method and for STR, at every regime; 0: the recipes as they are

    def __post_init__(self) -> None:
        if not 0.0 <= self.margin < 100.0:
            raise UserError(f"margin is {self.margin:g} points of accuracy; it lies between 0 and 100")
        if self.tune < 0:
            raise UserError(f"tune is {self.tune}; it is a number of trials")
        if self.weight_decay is not None and not self.weight_decay >= 0.0:
            raise UserError(f"weight_decay is {self.weight_decay:g}; it is not negative")

    def folder(self, plugin: Plugin) -> Path:
        """Where the report goes."""
        return self.out or Path("regress") / (plugin.name + (f"-on-{self.own_network}" if self.own_network else ""))

    @property
    def own_network(self) -> str:
        """The name of the user's network, or ""."""
        return self.str_runs()[0][1].model if self.job.model else ""

    def str_runs(self, seeds: int | None = None) -> Runs:
        """STR's runs at this tier, of the job's rows and seeds or of so many seeds, with the regime that each stands
        for, sparsest last.
        """
        if self.job.tier in (AUDIT, CHECKPOINT):
            tier = self.job.tier
            raise UserError(f"tier {tier} trains nothing, so that no method can be compared at it; take TIER=smoke")
        table = tables.load(self.job.table)
        plan = table.tier(self.job.tier)
        runs = []
        trained_rows = table.specs(self.job.tier, range(seeds or self.job.seeds))
        for row, plain in self.job.with_own_network(trained_rows):
            spec = plain.with_options(self.job.options)
            target = plan.rows[row.id].target_sparsity_pct
            ends_there = "target_sparsity_pct" in spec.method_args and not self.job.model
            if row.is_str and target is not None and not ends_there:
                runs.append((row.id, target, spec))
        if not runs:
            why = "it trains no STR"
            if any(row.is_str for row, _ in trained_rows):
                why = (
                    "regress compares with plain STR at sparsities that are known before training, and its STR rows "
                    "are asked for theirs (target_sparsity_pct) or do not say where they end"
                )
            raise UserError(f"nothing can be compared in table {table.name} at tier {plan.name}: {why}")
        known = {row for row, _, _ in runs}
        wanted = known if self.job.rows in ((), (ALL_ROWS,)) else self.job.rows
        require_known(f"STR row of table {table.name} at tier {plan.name}", wanted, known)
        runs = [run for run in runs if run[0] in wanted]
        _require_one_row_each((row, target) for row, target, _ in runs)
        return sorted(((target, spec) for _, target, spec in runs), key=lambda pair: (pair[0], pair[1].seed))

    def method_runs(self, plugin: Plugin, argument: str, by_rows: Mapping[float, Spec] | None = None) -> Runs:
        """The method's runs: at STR's regimes, with the seeds and the protocol of STR's runs. ``argument`` asks it for
        a sparsity; where a method of the family has none (""), its rows say with what it ends where (``by_rows``, read
        here unless given). A registered method has the defaults that the tier gives it, so that its runs are those of
        the tables.
        """
        plan = tables.load(self.job.table).tier(self.job.tier)
        decay = {} if self.weight_decay is None else {"weight_decay": self.weight_decay}
        asked = {"method_args": self.method_args, **decay}
        of_rows, runs = {} if argument else by_rows or self.by_rows(plugin), []
        for target, ours in self.str_runs():
            if argument:
                regime = {"method_args": {argument: target}}
                spec = plan.spec(plugin.name, regime, asked, shared=not plugin.sha256)
            else:
                spec = ranges.applied(of_rows[target], {**self.method_args, **decay})
            spec = replace(spec, dataset=ours.dataset, seed=ours.seed, method_sha256=plugin.sha256)
            if self.job.model:
                spec = replace(spec, **{name: getattr(ours, name) for name in OF_THE_NETWORK})
            runs.append((target, spec.with_options(self.job.options)))
        return runs

    def by_rows(self, plugin: Plugin) -> Mapping[float, Spec]:
        """Regime -> the run of a method of the family that ends there, where it cannot be asked to."""
        cannot = f"{plugin.name} cannot be asked for a sparsity"
        if self.job.model:
            raise UserError(f"{cannot}, and nobody knows with what it ends where on a network of yours")
        known, wanted = ending(plugin.name, self.job.tier, self.str_runs()[0][1]), {at for at, _ in self.str_runs()}
        if wanted.isdisjoint(known):
            raise UserError(
                f"{cannot}, and no row of tier {self.job.tier} says with what it ends at {_listed(wanted)} %"
            )
        if lacking := wanted - known.keys():
            raise UserError(
                f"{cannot}, and its rows end at {_listed(known)} %, not at {_listed(lacking)} %: "
                "name STR's rows at the former with ROWS= (--rows)"
            )
        return known


def _require_one_row_each(rows: Iterable[tuple[str, float]]) -> None:
    """UserError where several rows, each with its target, are of one regime: STR has one recipe there, and which of
    them that is, only the user can say.
    """
    of_regime: dict[float, list[str]] = {}
    for row, target in dict.fromkeys(rows):
        of_regime.setdefault(target, []).append(row)
    for target, several in of_regime.items():
        if len(several) > 1:
            raise UserError(
                f"{len(several)} STR rows stand for {target:g} %: {', '.join(several)}. A method is compared with one "
                "of them at a time; name it with ROWS= (--rows)"
            )


def _listed(regimes: Iterable[float]) -> str:
    return ", ".join(f"{regime:g}" for regime in sorted(regimes))


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
    from paper_repro.methods.plugins import find, load, sparsity_argument

    job, plugin = question.job, find(question.method)
    # a single run of the method is held against all the seeds that STR has
    specs = {STR: question.str_runs(MORE_SEEDS if job.seeds == 1 else job.seeds)}
    targets = sorted({target for target, _ in specs[STR]})
    _print_question(question, plugin, specs[STR], console)
    if job.model:
        own_network.describe(job.model, [spec for _, spec in specs[STR]], console)
    by_rows = {} if plugin.sha256 or sparsity_argument(plugin, load(plugin)) else question.by_rows(plugin)
    checks = _preflight(question, plugin, targets, by_rows, console)
    specs = {plugin.name: question.method_runs(plugin, checks.sparsity_argument, by_rows), **specs}
    _print_plan(question, len(targets), console)
    train = partial(_train, question, plugin, console)
    searches = _searched(question, plugin, checks, specs, train, console) if question.tune else []
    lost = tune.left_out(searches)
    specs = {who: tune.settled(of, who, searches) for who, of in specs.items()}
    specs[plugin.name] = [(target, spec) for target, spec in specs[plugin.name] if target not in lost]
    to_have = {
        f"{who} {target:g} s{spec.seed}": spec
        for who in (STR, plugin.name)
        for target, spec in specs[who]
        if spec.seed < job.seeds
    }
    failures = train(to_have)
    reasons = {to_have[name].name: reason for name, reason in failures.items()}
    runs, cost = _measured(question, specs)
    reused = question.reuse == COMMITTED
    lines = regression.compare(targets, runs[plugin.name], runs[STR], question.margin, reasons, reused, lost)
    _print_outcome(lines, runs, cost, console)
    code = regression.exit_code(lines, question.strict)
    _write_report(
        question,
        plugin,
        [spec for of in specs.values() for _, spec in of],
        lines,
        runs,
        checks=checks.outcomes,
        weight_decay=specs[plugin.name][0][1].weight_decay,
        exit_code=code,
        cost_of_reuse=cost,
        trials=tune.lines(searches, job.tier),
        read_trials=_read_trials(searches, job),
        ranges={search.method: search.ranges for search in searches},
    )
    if searches:
        tune.write(searches, job, question.folder(plugin), specs)
    list_failures(failures, console)
    out = question.folder(plugin)
    console.print(f"\n{regression_words.summary(plugin.name, lines)}")
    console.print(f"report:  {out / 'report.html'}\nnumbers: {out / 'regress.csv'}")
    return code


def _print_question(question: Question, plugin: Plugin, runs: Runs, console: Console) -> None:
    job = question.job
    setting = regression_words.setting(spec for _, spec in runs)
    console.say(
        Text.assemble(
            (f"Is {plugin.name} better than STR?", "bold"),
            f" Table {job.table}, tier {job.tier} ({setting}), at {_listed({target for target, _ in runs})} % "
            f"sparsity, {job.seeds} seed{'s' if job.seeds > 1 else ''}",
        ),
    )
    if question.own_network:
        console.say(_title(question))


def _title(question: Question) -> str:
    """The table's title; on a user's network, what is otherwise there."""
    title = tables.load(question.job.table).title
    if not question.own_network:
        return title
    return f"{title}, with {question.own_network} in place of its network; STR stops at its target"


def _print_plan(question: Question, regimes: int, console: Console) -> None:
    """What the seeds can decide, as far as the spread of STR is known, from whatever machine."""
    runs = question.str_runs(MORE_SEEDS)
    known = regression.measured(runs, _known(question.job, runs, COMMITTED))
    text = regression_words.plan(known, regimes, question.job.seeds, question.margin)
    if text:
        console.say(text)
    if regimes == 1:
        console.say(
            "one row of STR alone: it ends near its sparsity, not at it, and nothing is extrapolated. If it ends "
            "sparser, nothing can be compared; name the next less sparse row too (ROWS=str-95.03,str-98.05)",
        )


def _print_outcome(
    lines: Sequence[Comparison], runs: Mapping[str, Sequence[Measured]], cost: str, console: Console
) -> None:
    for who, of in runs.items():
        for text in regression_words.sources(of):
            console.say(f"{who}: {text}")
    if cost:
        console.say(Text.assemble(("REUSE=committed: ", "bold yellow"), cost))
    console.print()
    print_whole(grid(lines), console)
    for where, note in regression_words.notes(lines):
        console.say(f"{where}: {note}")
    console.say(*regression_words.claimed_sparsity([run for of in runs.values() for run in of]))


def _write_report(
    question: Question,
    plugin: Plugin,
    specs: Sequence[Spec],
    lines: Sequence[Comparison],
    runs: Mapping[str, Sequence[Measured]],
    **facts: Any,
) -> None:
    from paper_repro.report.regression_page import page

    asked = {"margin": question.margin, "seeds": question.job.seeds, "method_args": question.method_args}
    of_network = {"title": _title(question), "own_network": question.own_network}
    table = tables.load(question.job.table)
    every = [(who, run) for who, of in runs.items() for run in of]
    html = page(plugin, table, question.job.tier, specs, lines, every, **asked, **of_network, **facts)
    write(question.folder(plugin) / "regress.csv", regression.csv_text(lines))
    write(question.folder(plugin) / "report.html", html)


def _preflight(
    question: Question,
    plugin: Plugin,
    targets: Sequence[float],
    by_rows: Mapping[float, Spec],
    console: Console,
) -> Findings:
    """Check the method before a minute is spent on training it; UserError when runs of it would mean nothing. A method
    that cannot be asked for a sparsity has the arguments of the first of ``by_rows``.
    """
    from paper_repro.conformance import preflight

    console.print(f"checks: {plugin} on a small network, in a process of its own")

    def say(outcome: Mapping[str, Any]) -> None:
        failed = ("FAILED", "red") if outcome["needed"] else ("warns", "yellow")
        mark = "passed" if outcome["passed"] else failed
        text = f"  {outcome['name']:<11}{outcome['note'] or outcome['sentence']}"
        console.say(Text.assemble("  ", mark, text))

    # not the sparsest: of the small network, little would be left
    arguments = question.method_args
    if by_rows:
        arguments = {**by_rows[min(by_rows)].method_args, **arguments}
    checks = preflight.findings(plugin, min(90.0, targets[-1]), arguments, say)
    if checks.broken:
        listed = "; ".join(f"it {outcome['note']}" for outcome in checks.broken)
        raise UserError(f"{plugin} fails {len(checks.broken)} of its checks, and was not trained: {listed}")
    return checks


def _searched(
    question: Question,
    plugin: Plugin,
    checks: Findings,
    specs: Mapping[str, Runs],
    train: Callable[[Mapping[str, Spec]], dict[str, str]],
    console: Console,
) -> list[tune.Search]:
    """The searches for the method and for STR at every regime, ended and written down. UserError, after that, where
    no regime is left at which both have a trial that can be taken.
    """
    own = ranges.parsed(Path(plugin.source), "ranges,", checks.ranges) or ranges.of_method(plugin.name)
    searched = {STR: ranges.of_method("str"), plugin.name: own}
    searches = tune.searches(specs, searched, {plugin.name: checks.defaults})
    console.say(
        f"trials: {question.tune} for {plugin.name} and as many for STR, at each regime, scored on "
        f"{dataset(searches[0].recipe.dataset).title}",
    )
    there = tune.committed(question.job)
    tune.tune(searches, question.tune, partial(tune.train, train, question.job.runs, there))
    for text in _read_trials(searches, question.job):
        console.say(f"trials: {text}")
    kept = tune.write(searches, question.job, question.folder(plugin))
    console.print(f"trials: {', '.join(map(str, kept))}")
    for search in searches:
        mark = Text("left out: " if search.problem else "", "yellow")
        console.say(Text(f"  {search.method} {search.target_pct:g} %: ") + mark + search.outcome)
    lost = tune.left_out(searches)
    if lost.keys() == {search.target_pct for search in searches}:
        raise UserError(f"no regime is left to compare at: {'; '.join(lost.values())}. The trials: {kept[0]}")
    return searches


def _read_trials(searches: Sequence[tune.Search], job: Job) -> list[str]:
    """How many trials of which method were not trained here, and what trained them."""
    read = Counter((line.method, line.machine) for line in tune.not_trained_here(searches, job))
    return [
        f"{count} of {method} were read from the results and not trained again; they are of {machine}"
        for (method, machine), count in sorted(read.items())
    ]


# -- what is trained, and what is there ------------------------------------------------------------------------------


def _train(question: Question, plugin: Plugin, console: Console, named: Mapping[str, Spec]) -> dict[str, str]:
    """Train those of these runs that are to be trained here; name -> why one failed. What could stop them is looked for
    before any starts: a spec that would stay dense, missing data, and finished runs of another machine.
    """
    from paper_repro.training.forecast import require_pruning

    job, specs = question.job, list(named.values())
    there, elsewhere = trained(job, specs), committed(job, specs)
    reused = elsewhere.keys() if question.reuse == COMMITTED else set()
    todo = {name: spec for name, spec in named.items() if spec.name not in there and spec.name not in reused}
    if not todo:
        return {}
    if question.reuse == HERE:
        require_one_machine(job, there)
        count = sum(spec.name in elsewhere for spec in todo.values())
        if count:
            console.say(
                f"runs: {count} of those to train are among the committed results, of whatever machine; they are "
                "trained here all the same, because rounding is part of a training (REUSE=committed takes them)",
            )
    registered = [spec for spec in todo.values() if not spec.method_sha256]
    for spec in registered:
        require_pruning(spec)
    require_trainable(job, registered)
    for name, loader in {(spec.dataset, spec.loader) for spec in todo.values()}:
        source(name).ensure(job.data_root, console.print, loader)
    return train_named(todo, job, console, plugin=plugin.source)


def _measured(question: Question, specs: Mapping[str, Runs]) -> tuple[dict[str, list[Measured]], str]:
    """What the runs of both came to, STR's as far as they are there; and what the reuse of committed ones costs."""
    wanted = [run for of in specs.values() for run in of]
    known = _known(question.job, wanted, question.reuse)
    runs = {who: regression.measured(of, known) for who, of in specs.items()}
    runs[STR] = [run for run in runs[STR] if run.origin]
    if question.reuse != COMMITTED:
        return runs, ""
    every = [run for of in runs.values() for run in of]
    return runs, regression_words.cost_of_reuse(every, _twice(question.job, wanted))


def _known(job: Job, runs: Runs, reuse: str) -> Stored:
    """What is known of these runs: of those in ``runs/``, and of the committed ones where they are reused."""
    specs = [spec for _, spec in runs]
    return (committed(job, specs) if reuse == COMMITTED else {}) | trained(job, specs)


def _twice(job: Job, runs: Runs) -> list[float]:
    """Points of accuracy between the two, for each run that was trained here and is committed."""
    specs = [spec for _, spec in runs]
    pairs = (regression.measured(runs, finished(job, specs)) for finished in (trained, committed))
    return [
        abs(here.network.top1_pct - there.network.top1_pct)
        for here, there in zip(*pairs, strict=True)
        if here.usable and there.usable
    ]


def grid(lines: Sequence[Comparison]) -> Grid:
    """The table that ends ``regress``: a line per regime and comparison."""
    titles = ("regime", "sparsity %", "MACs M", "top-1 %", "at equal", "STR top-1 %", "difference [95 %]", "p", "seeds")
    table = new_grid((*titles, "verdict"), left=("at equal", "verdict"))
    shown = regression.frame(lines)
    for line, row in zip(lines, shown.itertuples(), strict=True):
        numbers = ((row.sparsity_pct, ".2f"), (row.macs_m, ".3f"), (row.top1_pct, ".2f"))
        lead = [f"{row.regime_pct} %", *(_cell(*number) for number in numbers)] if line.at is At.SPARSITY else [""] * 4
        difference = line.difference.signed() if line.difference else "–"
        cells = (_cell(row.str_top1_pct, ".2f"), difference, _cell(row.p, ".3f"), str(row.seeds))
        table.add_row(*lead, str(row.at_equal), *cells, line.verdict)
    return table


def _cell(value: Any, form: str) -> str:
    return "–" if pd.isna(value) else format(value, form)
