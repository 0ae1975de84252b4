"""The search for hyperparameters before a comparison: as many trials for the method as for STR, at every regime.

A trial is a run like others, on the training set less a part that is held out, and is scored on that part: no test
number is seen. The first is the recipe as it is, and optuna is not told how it came out. Optuna proposes the others,
seeded by method and regime: the next ten are drawn at random, and from the eleventh on its tree-structured Parzen
estimator (TPE) goes by the scores of those that it proposed before. The trials of one number, one of each search, are
trained side by side, so that how many fit on the machine changes nothing. The same command goes on where it was
stopped: finished trials are read, and optuna proposes what it proposed before. Committed trials are read too, whatever
machine they are of: a trial chooses settings, and is no part of a pair.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from paper_repro import record
from paper_repro.data.catalog import dataset, validation_split
from paper_repro.errors import UserError
from paper_repro.evidence import results
from paper_repro.evidence.lines import SEED_OF_TRIALS, TrialLine
from paper_repro.experiments.ranges import Range, Ranges, applied, own_value
from paper_repro.files import locked
from paper_repro.methods import METHODS
from paper_repro.record import Record
from paper_repro.spec import Spec
from paper_repro.training.forecast import require_pruning, steps_per_epoch
from paper_repro.workflows.job import Job

FAR = 1.5  # a network whose density is so many times smaller or larger than the regime's is not one of that regime
Known = Mapping[str, Any]  # of a finished run: what a line of the trials says of it
Train = Callable[[Mapping[str, Spec]], Mapping[str, Known | str]]  # name -> spec; name -> its run, or why there is none


@dataclass(frozen=True)
class Trial:
    """One trial: its number, what was chosen for it, and the run that it is."""

    number: int
    values: Mapping[str, Any]
    spec: Spec
    run: Known | str  # or why there is none

    def score(self, target_pct: float) -> float:
        """Points of accuracy on the validation split, where the density is within ``FAR`` of the regime's: what is
        chosen is compared at its own sparsity in the end, so that no side gains by being a little denser. A denser
        network scores below 0: the denser, the lower. A sparser one scores below all that are near: what it is like at
        the regime, nobody has seen.
        """
        if isinstance(self.run, str) or self.run["top1_pct"] is None or self.run["sparsity_pct"] is None:
            return -200.0
        density, wanted = 100.0 - self.run["sparsity_pct"], 100.0 - target_pct
        if density > wanted * FAR:
            return wanted * FAR - density
        return float(self.run["top1_pct"]) * (1.0 if density >= wanted / FAR else 1e-3)

    @property
    def failing(self) -> str:
        """What it ended with, where its score is below 0."""
        if isinstance(self.run, str):
            return self.run
        return "diverged" if self.run["top1_pct"] is None or self.run["sparsity_pct"] is None else "too dense"


@dataclass
class Search:
    """The search for one method at one regime. ``recipe``: the run that it starts from, with any seed."""

    method: str
    target_pct: float
    recipe: Spec
    ranges: Ranges
    defaults: Mapping[str, Any] = field(default_factory=dict)  # argument -> the method's default
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recipe = on_validation_split(self.recipe)
        self.own = {
            name: own_value(self.recipe, name, self.defaults) for name, item in self.ranges.items() if item.times
        }
        self.study = _study(zlib.crc32(f"{self.method} {self.target_pct:g}".encode()))
        self.asked: Any = None

    def ask(self) -> tuple[dict[str, Any], Spec]:
        """What the next trial is to be; the first is the recipe as it is."""
        if not self.trials:
            return {}, self.recipe
        self.asked = self.study.ask({name: _distribution(item) for name, item in self.ranges.items()})
        drawn = self.asked.params
        values = {name: item.value(drawn[name], self.own.get(name)) for name, item in self.ranges.items()}
        return values, applied(self.recipe, values)

    def tell(self, values: Mapping[str, Any], spec: Spec, run: Known | str) -> None:
        """How the trial that was asked for came out."""
        self.trials.append(Trial(len(self.trials), values, spec, run))
        if self.asked is not None:
            self.study.tell(self.asked, self.trials[-1].score(self.target_pct))

    @property
    def outcome(self) -> str:
        """Which trial was chosen, in words; or why none was."""
        if self.problem:
            return self.problem
        settings = ", ".join(f"{name} {value}" for name, value in self.chosen.values.items()) or "as it is"
        return f"trial {self.chosen.number}, {settings}"

    @property
    def chosen(self) -> Trial:
        """The trial with the highest score, the first of equal ones; UserError where none can be taken."""
        if self.problem:
            raise UserError(self.problem)
        return max(self.trials, key=lambda trial: trial.score(self.target_pct))

    @property
    def problem(self) -> str:
        """Why no trial can be taken, with the number of trials of which that is so; empty where one can."""
        if any(trial.score(self.target_pct) >= 0.0 for trial in self.trials):
            return ""
        counted = Counter(trial.failing for trial in self.trials)
        why = ", ".join(f"{reason} ({count})" for reason, count in counted.items())
        return (
            f"none of the {len(self.trials)} trials of {self.method} at {self.target_pct:g} % ended as sparse as "
            f"that with an accuracy: {why}; try more (TUNE=), or other ranges"
        )


def on_validation_split(recipe: Spec) -> Spec:
    """The run of a trial. Its batches are as much smaller as its training set, so that it takes as many steps: how far
    STR prunes depends on their number. None has a single example, which batch norm cannot take.
    """
    split = validation_split(recipe.dataset)
    steps, examples = steps_per_epoch(recipe), dataset(split).train_examples
    sizes = [size for size in range(1, recipe.batch_size + 1) if examples % size != 1]
    nearest = min(reversed(sizes), key=lambda size: abs(math.ceil(examples / size) - steps))
    return replace(recipe, dataset=split, batch_size=nearest, seed=SEED_OF_TRIALS)


def searches(
    specs: Mapping[str, Sequence[tuple[float, Spec]]],
    ranges: Mapping[str, Ranges],
    defaults: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> list[Search]:
    """One for each method and regime: method -> (regime, run), of any seeds; method -> ranges; method -> the defaults
    of its arguments.
    """
    return [
        Search(who, at, spec, ranges[who], defaults.get(who, {}))
        for who, runs in specs.items()
        for at, spec in sorted(dict(reversed(runs)).items())
    ]


def tune(searches: Sequence[Search], count: int, train: Train) -> None:
    """``count`` trials for every search, those of one number side by side."""
    for number in range(count):
        asked = {f"{one.method} {one.target_pct:g} trial {number}": (one, *one.ask()) for one in searches}
        runs = train({name: spec for name, (_, _, spec) in asked.items()})
        for name, (search, values, spec) in asked.items():
            search.tell(values, spec, runs[name])


def train(
    launch: Callable[[Mapping[str, Spec]], Mapping[str, str]],
    runs: Path,
    committed: Mapping[str, TrialLine],
    trials: Mapping[str, Spec],
) -> dict[str, Known | str]:
    """Train trials by ``launch``, which returns name -> failure, into the folder ``runs``, but for those that are
    ``committed`` (spec name -> line). One that would stay dense has failed without a step of training.
    """
    ended: dict[str, Known | str] = {}
    for name, spec in trials.items():
        if spec.name in committed and record.finished(runs / spec.name, spec) is None:
            ended[name] = committed[spec.name].model_dump()
            continue
        try:
            if not spec.method_sha256:  # nothing is known of a plug-in before it is trained
                require_pruning(spec)
        except UserError as error:
            ended[name] = str(error)
    ended |= launch({name: spec for name, spec in trials.items() if name not in ended})
    return {
        name: ended[name] if name in ended else known(record.read(runs / spec.name)) for name, spec in trials.items()
    }


def known(run: Record) -> Known:
    """What a line of the trials says of a run."""
    return {
        **run.provenance.model_dump(),
        **run.result.model_dump(),
        "machine": run.provenance.arithmetic,
    }


def committed(job: Job) -> dict[str, TrialLine]:
    """Spec name -> the trial that the results have of it, of code without changes."""
    there = results.lines_if_there(results.path(job.results, job.table, job.tier, "trials"), TrialLine)
    return {line.spec: line for line in there if line.is_trial and line.dirty == "false"}


def settled(runs: Sequence[tuple[float, Spec]], who: str, searches: Sequence[Search]) -> list[tuple[float, Spec]]:
    """The runs of a method with what was chosen for their regimes, but for regimes of which no trial can be taken."""
    own = [search for search in searches if search.method == who]
    chosen = {search.target_pct: search.chosen.values for search in own if not search.problem}
    lost = {search.target_pct for search in own if search.problem}
    return [(target, applied(spec, chosen.get(target, {}))) for target, spec in runs if target not in lost]


def left_out(searches: Sequence[Search]) -> dict[float, str]:
    """Regime -> why nothing can be compared there: no trial of the method, or of STR, can be taken."""
    why: dict[float, list[str]] = {}
    for search in searches:
        if search.problem:
            why.setdefault(search.target_pct, []).append(search.problem)
    return {target: "; ".join(problems) for target, problems in why.items()}


def write(
    searches: Sequence[Search], job: Job, out: Path, then: Mapping[str, Sequence[tuple[float, Spec]]] | None = None
) -> list[Path]:
    """Keep the trials in ``out``, and those of the family in the results, unless they are of the user's own network;
    and of the runs that were ``then`` trained with what was chosen, those that are finished. Returns the files.
    """
    every = lines(searches, job.tier)
    for search in searches:
        for target, spec in (then or {}).get(search.method, ()):
            run = record.finished(job.runs / spec.name, spec)
            if target == search.target_pct and run is not None:
                every.append(_line(search, replace(search.chosen, spec=spec, run=known(run)), job.tier))
    files = [keep(every, out / "trials.csv")]
    if not job.model:
        files.append(_keep_in_results(every, job))
    return files


def _keep_in_results(every: Sequence[TrialLine], job: Job) -> Path:
    """Keep the lines of this machine, of methods of the family. Where the results have a search of more trials on this
    machine, they stay as they are.
    """
    file = results.path(job.results, job.table, job.tier, "trials")
    here = {line.machine for line in every if _is_of(job, line)}
    return keep([line for line in every if line.method in METHODS and line.machine in here], file, unless_larger=True)


def _trials(lines: Iterable[TrialLine]) -> Counter[tuple[str, float]]:
    """(method, regime) -> how many trials."""
    return Counter((line.method, line.regime_pct) for line in lines if line.is_trial)


def not_trained_here(searches: Sequence[Search], job: Job) -> list[TrialLine]:
    """The trials that were read from the results, whatever machine they are of."""
    return [line for line in lines(searches, job.tier) if not _is_of(job, line)]


def _is_of(job: Job, line: TrialLine) -> bool:
    """Whether its run was trained here, or failed here, and was not read from the results."""
    return not line.machine or (job.runs / line.spec / record.FILE).exists()


def lines(searches: Sequence[Search], tier: str) -> list[TrialLine]:
    """What the trials files say of these searches."""
    return [_line(search, trial, tier) for search in searches for trial in search.trials]


def keep(new: Sequence[TrialLine], file: Path, *, unless_larger: bool = False) -> Path:
    """Write these lines into a trials file, in the place of those of the same methods and regimes on this machine, and
    of those that failed, whose machine is not known. Runs with the settings that are still the chosen ones stay, of
    seeds that are not among the new lines. ``unless_larger``: where the file has a search of more trials on this
    machine, it stays instead.
    """
    machines = {"", *(line.machine for line in new)}
    with locked(file.parent / f".{file.stem}.lock"):
        there: list[TrialLine] = results.lines_if_there(file, TrialLine)
        if unless_larger:
            larger = _trials(line for line in there if line.machine in machines - {""}) - _trials(new)
            new = [line for line in new if (line.method, line.regime_pct) not in larger]
        stay = [line for line in there if line.machine not in machines or not _replaced(line, new)]
        ordered = sorted([*stay, *new], key=lambda line: tuple(getattr(line, name) for name in TrialLine.KEY))
        return results.write_lines(ordered, file, "trials")


def _replaced(line: TrialLine, new: Iterable[TrialLine]) -> bool:
    """Whether new lines take the place of this one. Whatever is new of a search does, but for a run that was trained
    with the settings that are still the chosen ones: only a run of the same seed takes its place.
    """
    of_search = [other for other in new if (other.method, other.regime_pct) == (line.method, line.regime_pct)]
    same_seed = any(other.seed == line.seed for other in of_search)
    chosen = {(other.trial, other.settings) for other in of_search if other.chosen == "yes"}
    return same_seed or (bool(of_search) and (line.trial, line.settings) not in chosen)


def _line(search: Search, trial: Trial, tier: str) -> TrialLine:
    run = {"status": trial.run, "machine": ""} if isinstance(trial.run, str) else trial.run
    return TrialLine.model_validate(
        {name: run[name] for name in TrialLine.model_fields if run.get(name) is not None}
        | {
            "method": search.recipe.method,
            "tier": tier,
            "regime_pct": search.target_pct,
            "trial": trial.number,
            "seed": trial.spec.seed,
            "settings": " ".join(f"{name}={value}" for name, value in trial.values.items()) or "as in the recipe",
            "chosen": "yes" if not search.problem and trial.number == search.chosen.number else "no",
            "spec": trial.spec.name,
            "dataset": trial.spec.dataset,
        }
    )


def _study(seed: int) -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError("a search needs optuna: python -m pip install optuna") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))


def _distribution(item: Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if item.choices:
        return CategoricalDistribution(item.choices)
    low, high = item.times or (item.low, item.high)
    assert low is not None and high is not None  # a Range without choices has both
    log = item.log or item.times is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
