"""The search for hyperparameters, on trainings that are a formula here."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from paper_repro import methods, reading, record, tables
from paper_repro.conformance.worker import said_of_search
from paper_repro.data import catalog
from paper_repro.errors import UserError
from paper_repro.evidence import results
from paper_repro.evidence.lines import SEED_OF_TRIALS, TrialLine
from paper_repro.experiments import ranges
from paper_repro.experiments.table import ending
from paper_repro.methods import METHODS, plugins
from paper_repro.record import Record
from paper_repro.spec import Spec
from paper_repro.training.forecast import steps_per_epoch
from paper_repro.workflows import tune
from paper_repro.workflows.dial import DIALS
from paper_repro.workflows.job import Job
from tests.made_up_record import MADE_BY, finished
from tests.training.tiny import SPEC, install

pytest.importorskip("optuna")
DECLARED = {"weight_decay": {"times": [0.25, 4.0]}, "power": {"low": 1, "high": 5}, "kind": {"choices": ["a", "b"]}}
RANGES = ranges.parsed(Path("mine.py"), "ranges,", DECLARED)


def trained(specs: Mapping[str, Spec]) -> dict[str, tune.Known | str]:
    """Best at twice the weight decay of the recipe; 60 % sparse."""
    return {
        name: tune.known(made_up(spec, 90.0 - abs(spec.weight_decay - 2 * SPEC.weight_decay)))
        for name, spec in specs.items()
    }


def made_up(spec: Spec, top1_pct: float, sparsity_pct: float = 60.0) -> Record:
    result = finished(spec, top1_pct=top1_pct, sparsity_pct=sparsity_pct, sparse_macs_m=1.0)
    return Record(spec=spec, result=result, layers=[], history=[], provenance=MADE_BY)


def searches(*targets: float) -> list[tune.Search]:
    return [tune.Search("mine", target, SPEC, RANGES) for target in targets]


def tuned(count: int, *targets: float, train: Any = trained) -> list[tune.Search]:
    made = searches(*targets)
    tune.tune(made, count, train)
    return made


def test_the_recipe_comes_first_and_what_follows_lies_in_its_range() -> None:
    (search,) = tuned(12, 50.0)
    assert [trial.number for trial in search.trials] == list(range(12)) and search.trials[0].values == {}
    for trial in search.trials[1:]:
        assert trial.values.keys() == DECLARED.keys()
        assert 0.25 <= trial.spec.weight_decay / SPEC.weight_decay <= 4.0
        assert trial.values["power"] in range(1, 6) and trial.spec.method_args["kind"] in ("a", "b")
        assert trial.spec.method_args["s_init"] == SPEC.method_args["s_init"]  # what is not searched stays
    assert search.chosen.score(50.0) == max(trial.score(50.0) for trial in search.trials)


def test_trials_see_no_test_example_and_no_seed_that_is_compared() -> None:
    for trial in tuned(3, 50.0)[0].trials:
        assert trial.spec.dataset == "fashion_mnist_validation" and trial.spec.seed == SEED_OF_TRIALS >= 1000
    with pytest.raises(UserError, match="data set watch has no validation split"):
        catalog.validation_split("watch")


def test_the_same_command_has_the_same_trials_and_more_of_them_begin_with_these() -> None:
    few, again, more = (tuned(count, 50.0)[0] for count in (4, 4, 15))
    names = [trial.spec.name for trial in more.trials]
    assert [trial.spec.name for trial in few.trials] == [trial.spec.name for trial in again.trials] == names[:4]
    assert len(set(names)) == 15
    assert names[1:] != [trial.spec.name for trial in tuned(15, 60.0)[0].trials][1:]  # another regime, other draws


def test_ten_proposals_are_drawn_at_random_and_the_next_go_by_the_scores() -> None:
    """What trials came to, the recipe's own among them, changes no proposal before the eleventh."""

    def otherwise(specs: Mapping[str, Spec]) -> dict[str, tune.Known | str]:
        return {name: tune.known(made_up(spec, 90.0 - 500 * spec.weight_decay)) for name, spec in specs.items()}

    one, other = ([trial.values for trial in tuned(16, 50.0, train=how)[0].trials] for how in (trained, otherwise))
    assert one[:11] == other[:11] and one[11:] != other[11:]


def test_trials_of_one_number_are_trained_side_by_side() -> None:
    asked = []

    def train(specs: Mapping[str, Spec]) -> dict[str, tune.Known | str]:
        asked.append(list(specs))
        return trained(specs)

    tuned(2, 50.0, 60.0, train=train)
    assert asked == [[f"mine {target} trial {number}" for target in (50, 60)] for number in (0, 1)]


def test_a_network_that_is_denser_than_asked_for_is_not_chosen() -> None:
    """Half as much again is near: 60 % left where 40 are, and not 61."""

    def train(specs: Mapping[str, Spec]) -> dict[str, tune.Known | str]:
        return {name: tune.known(made_up(spec, *next(outcomes))) for name, spec in specs.items()}

    outcomes = iter([(80.0, 40.0), (99.0, 39.0), (70.0, 90.0)])
    (search,) = tuned(3, 60.0, train=train)
    assert search.chosen.number == 0
    outcomes = iter([(80.0, 39.0), (99.0, 38.0), (98.0, 0.0)])
    with pytest.raises(UserError, match="none of the 3 trials of mine at 60 % ended as sparse"):
        _ = tuned(3, 60.0, train=train)[0].chosen
    with pytest.raises(UserError, match="with an accuracy: it died"):
        _ = tuned(2, 60.0, train=lambda specs: dict.fromkeys(specs, "it died"))[0].chosen


def test_a_search_without_a_usable_trial_says_why_and_is_kept(tmp_path: Path) -> None:
    """Its regime is left out; what the other regimes chose is as it would be without it."""

    def train(specs: Mapping[str, Spec]) -> dict[str, tune.Known | str]:
        ended = trained(specs)
        ended |= {name: tune.known(made_up(spec, 80.0, 10.0)) for name, spec in specs.items() if "mine 60" in name}
        return ended | {name: "it died" for name in specs if name == "mine 60 trial 1"}

    good, bad = tuned(3, 50.0, 60.0, train=train)
    problem = (
        "none of the 3 trials of mine at 60 % ended as sparse as that with an accuracy: too dense (2), it died (1)"
    )
    assert good.problem == "" and bad.problem == f"{problem}; try more (TUNE=), or other ranges" == bad.outcome
    assert tune.left_out([good, bad]) == {60.0: bad.problem}
    runs = [(target, replace(SPEC, seed=seed)) for target in (50.0, 60.0) for seed in (0, 1)]
    assert tune.settled(runs, "mine", [good, bad]) == tune.settled(runs[:2], "mine", [good])
    tune.write([good, bad], Job("resnet50", results=tmp_path / "results", runs=tmp_path / "runs"), tmp_path)
    kept = results.read_lines(tmp_path / "trials.csv", TrialLine)
    assert [(line.regime_pct, line.trial) for line in kept if line.chosen == "yes"] == [(50.0, good.chosen.number)]
    assert sorted(line.trial for line in kept if line.regime_pct == 60.0) == [0, 1, 2]
    (diverged,) = searches(60.0)
    diverged.tell({}, SPEC, {"status": "diverged", "top1_pct": None, "sparsity_pct": None})
    assert "with an accuracy: diverged (1);" in diverged.problem


def test_a_network_that_is_far_sparser_is_taken_only_where_none_is_near() -> None:
    """Two thirds of the density are near: 27 % left where 40 are, and not 26."""

    def train(specs: Mapping[str, Spec]) -> dict[str, tune.Known | str]:
        return {name: tune.known(made_up(spec, *next(outcomes))) for name, spec in specs.items()}

    outcomes = iter([(70.0, 60.0), (80.0, 73.0), (90.0, 74.0)])
    assert tuned(3, 60.0, train=train)[0].chosen.number == 1
    outcomes = iter([(70.0, 80.0), (90.0, 74.0), (99.0, 39.0)])
    assert tuned(3, 60.0, train=train)[0].chosen.number == 1


@pytest.mark.parametrize(
    ("name", "table", "tier"),
    [("gmp-95", "resnet50", "smoke"), ("gmp-95", "resnet50", "small"), ("har2-full", "rnn", "paper")],
)
def test_a_trial_takes_as_many_steps_as_the_run_that_it_is_for(name: str, table: str, tier: str) -> None:
    (recipe,) = [spec for row, spec in tables.load(table).specs(tier, [0]) if row.id == name]
    trial = tune.on_validation_split(recipe)
    assert steps_per_epoch(trial) == pytest.approx(steps_per_epoch(recipe), rel=0.01)
    assert trial.batch_size < recipe.batch_size and trial.epochs == recipe.epochs


def test_a_trial_that_would_stay_dense_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    launched: list[str] = []

    def launch(specs: Mapping[str, Spec]) -> dict[str, str]:
        launched.extend(specs)
        return {"died": "it died"}

    record.write(made_up(SPEC, 90.0), tmp_path / SPEC.name)
    never = replace(SPEC, method_args={"s_init": -5000.0})
    runs = tune.train(launch, tmp_path, {}, {"done": SPEC, "dense": never, "died": replace(SPEC, seed=1)})
    assert launched == ["done", "died"] and runs["died"] == "it died"
    assert "dense" in str(runs["dense"]) and runs["done"] == tune.known(made_up(SPEC, 90.0))


def test_a_committed_trial_is_not_trained_again_and_stays_in_the_results_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whatever machine. What is trained here has lines of this machine beside it."""
    monkeypatch.setattr(tune, "require_pruning", lambda spec: None)
    job = Job("resnet50", runs=tmp_path / "runs", results=tmp_path / "results")
    elsewhere = [line.model_copy(update={"machine": "another"}) for line in tune.lines(tuned(3, 60.0), "smoke")]
    of_changed_code = elsewhere[1].model_copy(update={"dirty": "true"})
    file = results.path(job.results, job.table, job.tier, "trials")
    file.parent.mkdir(parents=True)
    results.write_lines([elsewhere[0], of_changed_code, elsewhere[2]], file, "trials")
    before = file.read_text(encoding="utf-8")
    launched: list[str] = []

    def launch(specs: Mapping[str, Spec]) -> dict[str, str]:
        launched.extend(specs)
        for spec in specs.values():
            record.write(made_up(spec, 70.0), job.runs / spec.name)
        return {}

    (search,) = searches(60.0)
    tune.tune([search], 4, partial(tune.train, launch, job.runs, tune.committed(job)))
    assert launched == ["mine 60 trial 1", "mine 60 trial 3"]
    assert [line.trial for line in tune.not_trained_here([search], job)] == [0, 2]
    tune.write([search], job, tmp_path / "out")
    kept = results.read_lines(file, TrialLine)
    assert [(line.machine, line.trial) for line in kept if line.machine != "another"] == [
        (MADE_BY.arithmetic, 1), (MADE_BY.arithmetic, 3),
    ]  # fmt: skip
    assert set(before.splitlines()) <= set(file.read_text(encoding="utf-8").splitlines())
    of_search = results.read_lines(tmp_path / "out" / "trials.csv", TrialLine)
    assert sorted(line.trial for line in of_search) == [0, 1, 2, 3] and len({line.machine for line in of_search}) == 2


def test_what_was_chosen_is_trained_with_every_seed() -> None:
    (search,) = tuned(8, 50.0)
    runs = [(50.0, replace(SPEC, seed=seed)) for seed in range(2)] + [(60.0, SPEC)]
    settled = tune.settled(runs, "mine", [search])
    assert [spec.weight_decay for _, spec in settled] == [search.chosen.spec.weight_decay] * 2 + [SPEC.weight_decay]
    assert [(spec.seed, spec.dataset) for _, spec in settled[:2]] == [(0, SPEC.dataset), (1, SPEC.dataset)]
    assert search.chosen.number > 0 and tune.settled(runs, "STR", [search]) == runs
    assert [(one.method, one.target_pct) for one in tune.searches({"mine": runs}, {"mine": RANGES})] == [
        ("mine", 50.0), ("mine", 60.0),
    ]  # fmt: skip


def test_trials_are_kept_with_where_they_are_from(tmp_path: Path) -> None:
    file = tmp_path / "smoke_trials.csv"
    lines = tune.lines(tuned(3, 50.0, 60.0), "smoke")
    tune.keep(lines, file)
    kept = results.read_lines(file, TrialLine)
    assert [(line.regime_pct, line.trial) for line in kept] == [(at, n) for at in (50.0, 60.0) for n in range(3)]
    assert {line.machine for line in kept} == {MADE_BY.arithmetic} and {line.commit for line in kept} == {
        MADE_BY.commit
    }
    assert [line.chosen for line in kept].count("yes") == 2
    tune.keep(tune.lines(tuned(2, 60.0), "smoke"), file)  # another search there takes the place of this one
    assert [(line.regime_pct, line.trial) for line in results.read_lines(file, TrialLine)] == [
        (50.0, 0), (50.0, 1), (50.0, 2), (60.0, 0), (60.0, 1),
    ]  # fmt: skip


def test_runs_with_what_is_still_chosen_stay_when_trials_are_written_again(tmp_path: Path) -> None:
    """Trials are written before the runs that follow them: a command that is stopped between the two loses none."""
    file = tmp_path / "smoke_trials.csv"
    trials = tune.lines(tuned(3, 60.0), "smoke")
    (best,) = [line for line in trials if line.chosen == "yes"]
    after = [best.model_copy(update={"seed": seed, "dataset": "fashion_mnist"}) for seed in (0, 1, 2)]
    tune.keep([*trials, *after], file)
    before = file.read_text(encoding="utf-8")
    tune.keep(trials, file)
    assert file.read_text(encoding="utf-8") == before
    again = after[0].model_copy(update={"top1_pct": 12.5})
    tune.keep([*trials, again], file)
    kept = {line.seed: line.top1_pct for line in results.read_lines(file, TrialLine) if line.seed != best.seed}
    assert kept == {0: 12.5, 1: round(best.top1_pct or 0.0, 2), 2: round(best.top1_pct or 0.0, 2)}
    other = [line.model_copy(update={"chosen": "no" if line.trial == best.trial else "yes"}) for line in trials]
    tune.keep(other, file)  # something else was chosen
    assert {line.seed for line in results.read_lines(file, TrialLine)} == {best.seed}


def test_a_trial_that_failed_before_does_not_stay_beside_its_run(tmp_path: Path) -> None:
    def second_fails(specs: Mapping[str, Spec]) -> dict[str, tune.Known | str]:
        return {name: "it died" if "trial 1" in name else run for name, run in trained(specs).items()}

    file = tmp_path / "smoke_trials.csv"
    tune.keep(tune.lines(tuned(2, 60.0, train=second_fails), "smoke"), file)
    assert [line.machine for line in results.read_lines(file, TrialLine)] == ["", MADE_BY.arithmetic]
    tune.keep(tune.lines(tuned(2, 60.0), "smoke"), file)
    assert [line.trial for line in results.read_lines(file, TrialLine)] == [0, 1]


def test_a_search_of_fewer_trials_leaves_the_results_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the machine that they are of. One of as many takes their place, whether trials were trained or read."""
    monkeypatch.setattr(tune, "require_pruning", lambda spec: None)
    job = Job("resnet50", runs=tmp_path / "runs", results=tmp_path / "results")
    file = results.path(job.results, job.table, job.tier, "trials")

    def launch(specs: Mapping[str, Spec]) -> dict[str, str]:
        for spec in specs.values():
            record.write(made_up(spec, 70.0), job.runs / spec.name)
        return {}

    def searched(count: int) -> None:
        (search,) = searches(60.0)
        tune.tune([search], count, partial(tune.train, launch, job.runs, tune.committed(job)))
        final = tune.settled([(60.0, SPEC)], "mine", [search])
        launch({"final": final[0][1]})
        tune.write([search], job, tmp_path / "out", {"mine": final})

    file.parent.mkdir(parents=True)
    searched(3)
    before = results.read_lines(file, TrialLine)
    assert [(line.trial, line.seed) for line in before] == [(0, 0), (0, 1000), (1, 1000), (2, 1000)]
    job = replace(job, runs=tmp_path / "others")  # where none of the trials is
    for count in (1, 3):
        searched(count)
        assert results.read_lines(file, TrialLine) == before
    searched(4)
    assert [line.trial for line in results.read_lines(file, TrialLine) if line.seed == SEED_OF_TRIALS] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({"power": {"low": 1}}, "two ends"),
        ({"power": {"low": 2, "high": 1}}, "the lower one first"),
        ({"power": {"low": 0.0, "high": 1.0, "log": True}}, "begins above 0"),
        ({"power": {"low": 0, "high": 1, "choices": [1]}}, "one of them"),
        ({"power": {"choices": [1, 2], "log": True}}, "leave log out"),
        ({"power": {}}, "one of them"),
        ({"power": {"lo": 1}}, "mine.py, ranges, power"),
    ],
)
def test_ranges_that_are_none(declared: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        ranges.parsed(Path("mine.py"), "ranges,", declared)


def test_a_factor_needs_something_to_multiply() -> None:
    of_nothing = ranges.parsed(Path("mine.py"), "ranges,", {"power": {"times": [0.5, 2.0]}})
    with pytest.raises(UserError, match="power has no value in the recipe of str"):
        tune.Search("mine", 50.0, SPEC, of_nothing)
    with pytest.raises(UserError, match="power has no value"):  # None is what it has, and no default counts
        tune.Search("mine", 50.0, replace(SPEC, method_args={"power": None}), of_nothing, {"power": 3})
    clipped = ranges.parsed(Path("mine.py"), "ranges,", {"grad_clip_norm": {"times": [0.5, 2.0]}})
    with pytest.raises(UserError, match=r"grad_clip_norm is 0 in the recipe of str, .* give it {low, high}"):
        tune.Search("mine", 50.0, SPEC, clipped)
    assert tune.Search("mine", 50.0, replace(SPEC, grad_clip_norm=3.0), clipped).own == {"grad_clip_norm": 3.0}


def test_a_factor_is_of_the_default_where_the_recipe_has_nothing_else() -> None:
    of_power = ranges.parsed(Path("mine.py"), "ranges,", {"power": {"times": [0.5, 2.0]}})
    for args, own in (({}, 3.0), ({"power": 8.0}, 8.0)):
        recipe = replace(SPEC, method_args=args)
        (search,) = tune.searches({"mine": [(50.0, recipe)]}, {"mine": of_power}, {"mine": {"power": 3.0}})
        tune.tune([search], 4, lambda specs: {name: tune.known(made_up(spec, 9.0)) for name, spec in specs.items()})
        assert search.trials[0].spec.method_args == args
        for trial in search.trials[1:]:
            assert 0.5 * own <= trial.spec.method_args["power"] <= 2.0 * own


SEARCHED = """
import paper_repro

class Searched(paper_repro.Method):
    ranges = {name: {"low": 0, "high": 2} for name in ("share", "rate", "plain", "steps", "few", "power", "none", "lr")}
    ranges |= {"times": {"times": [0.5, 2]}, "kind": {"choices": [1, 2]}}

    def __init__(
        self, sparsity_pct, share: float = 1, rate: "float | None" = None, plain=0.5,
        steps: int = 9, few: "int | None" = 3, power=2, none=None, times=4.0, kind=True,
    ):
        pass
"""


def test_whole_ends_mean_whole_numbers_for_whole_arguments_alone(tmp_path: Path) -> None:
    """By annotation, or else by the default, also across the process that looks at a plug-in."""
    (tmp_path / "searched.py").write_text(SEARCHED, encoding="utf-8")
    plugin = plugins.find(str(tmp_path / "searched.py"))
    said = json.loads(json.dumps(said_of_search(plugin, plugins.load(plugin), "sparsity_pct")))
    assert said["defaults"] == {"share": 1, "plain": 0.5, "steps": 9, "few": 3, "power": 2, "times": 4.0}
    search = tune.Search("mine", 50.0, SPEC, ranges.parsed(Path("x"), "", said["ranges"]), said["defaults"])
    search.tell(*search.ask(), "it died")
    drawn = [search.ask()[0] for _ in range(30)]
    whole = {name for name in drawn[0] if all(isinstance(values[name], int) for values in drawn)}
    assert whole == {"steps", "few", "power", "kind"}
    for name in ("steps", "few", "power"):
        assert {values[name] for values in drawn} == {0, 1, 2}
    for name in ("share", "rate", "plain", "none", "lr"):
        assert all(0.0 <= values[name] <= 2.0 for values in drawn) and len({values[name] for values in drawn}) > 20


def test_the_familys_ranges_ask_for_what_its_arguments_take() -> None:
    for name in set(reading.read_toml(ranges.FILE)) - {"default"}:
        raw = ranges.parsed(ranges.FILE, name, reading.read_toml(ranges.FILE)[name])
        assert repr(ranges.of_method(name)) == repr(raw)  # so that committed trials are proposed again


def asked_for_a_sparsity() -> list[str]:
    """The methods of the family that a comparison can ask for a sparsity, but for the variants of STR."""
    return [name for name, entry in METHODS.items() if "sparsity_pct" in inspect.signature(entry.load()).parameters]


@pytest.mark.parametrize("name", [*asked_for_a_sparsity(), *DIALS, "str"])
def test_every_method_of_the_family_is_searched_over_two_hyperparameters(name: str) -> None:
    """As many as STR. What is drawn from them is a run that the method takes."""
    if name == "gmp-nm":  # its sparsity is its pattern's
        return
    plan = tables.load("resnet50").tier("smoke")
    own = {"s_init": -30.0} if name == "str" else {"sparsity_pct": 90.0}
    recipe = plan.spec(name, {"method_args": own}, shared=True)
    if name in DIALS:
        recipe = ending(name, "smoke", recipe)[90.0]
    search = tune.Search(name, 90.0, recipe, ranges.of_method(name))
    assert len(search.ranges) == 2 and {"weight_decay", *DIALS.get(name, ())[:1]} <= search.ranges.keys()
    for _ in range(3):
        values, spec = search.ask()
        methods.get(name, **spec.method_args)
        search.tell(values, spec, tune.known(made_up(spec, 80.0, 90.0)))
    assert search.trials[1].spec.name != search.trials[2].spec.name


def test_ranges_are_those_of_methods_and_of_whoever_has_none() -> None:
    sections = reading.read_toml(ranges.FILE).keys()
    assert sections - METHODS.keys() == {"default"}
    assert ranges.of_method("somebody's") == ranges.of_method("default")
