"""`regress` from end to end on the tiny data set, in real processes where they matter: the example, reuse of STR's
runs, exit codes, and plug-ins that break on the way.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

import pytest

from paper_repro import cli, errors, methods, tables
from paper_repro.conformance import preflight
from paper_repro.conformance.protocol import CHECKS
from paper_repro.evidence import provenance, regression, results
from paper_repro.evidence.lines import SEED_OF_TRIALS, RunLine, TrialLine
from paper_repro.record import Provenance
from paper_repro.runs import launch
from paper_repro.spec import Spec
from paper_repro.terminal import Console
from paper_repro.workflows import finished, regress, tune
from paper_repro.workflows.job import Job
from tests.made_up_record import MADE_BY, leave
from tests.made_up_record import finished as finished_result
from tests.runs.in_this_process import LaunchHere
from tests.runs.test_launch import WORKER
from tests.training.tiny import SPEC, install

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "examples" / "my_method.py")
REGIMES = {"str-79.55": (40.0, 0.08), "str-90.23": (60.0, 0.10)}  # row -> sparsity that it stands for, weight decay
STR_SPARSITY = {40.0: 30.0, 60.0: 80.0}  # of the results that are written by hand below


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests share: what one has trained, the next one reuses."""
    return tmp_path_factory.mktemp("regress")


def tiny_table() -> tables.Table:
    """Table resnet50 with two STR rows, trained as the tiny spec says."""
    table = tables.load("resnet50")
    smoke = table.tiers["smoke"]
    taken = ("epochs", "batch_size", "lr", "momentum", "warmup_epochs", "schedule", "label_smoothing", "model_args")
    protocol = {name: getattr(SPEC, name) for name in taken}
    base = replace(smoke.base, model=SPEC.model, weight_decay=0.01, **protocol)
    tiny = {"method": "str", "method_args": SPEC.method_args, "dataset": SPEC.dataset}
    rows = {
        name: replace(smoke.rows[name], spec=replace(base, weight_decay=decay, **tiny), stated_target_pct=target)
        for name, (target, decay) in REGIMES.items()
    }
    plan = replace(smoke, base=base, rows=MappingProxyType(rows))
    return replace(table, model=SPEC.model, tiers=MappingProxyType({"smoke": plan}))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, trained: Path) -> None:
    install(monkeypatch)
    table = tiny_table()
    monkeypatch.setattr(tables, "load", lambda name: table)
    monkeypatch.setattr(launch, "WORKER", WORKER)
    monkeypatch.setattr(provenance, "repository", lambda: trained / "nothing")  # no committed results but those here
    monkeypatch.setattr(methods, "PLUGINS", {})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(trained)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks have passed: they are tested elsewhere, and take seconds."""
    outcomes = tuple(
        {"name": check.name, "sentence": check.sentence, "needed": check.needed, "passed": True, "note": ""}
        for check in CHECKS
    )
    report = preflight.Findings(outcomes, "sparsity_pct")
    monkeypatch.setattr(preflight, "findings", lambda *given: report)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "Launch", LaunchHere)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["paper-repro", "regress", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return int(done.value.code or 0)


def write_str_results(folder: Path, top1_pct: float, seeds: int = 2) -> None:
    """Committed results of STR that say what a test needs."""
    lines = []
    for row, spec in tables.load("resnet50").specs("smoke", range(seeds)):
        target = tables.load("resnet50").tiers["smoke"].rows[row.id].target_sparsity_pct
        sparsity = STR_SPARSITY[target]
        lines.append(
            dict.fromkeys(RunLine.model_fields)
            | {"row": row.id, "method": "str", "tier": "smoke", "seed": spec.seed, "spec": spec.name}
            | {"status": "finished", "target_sparsity_pct": target, "top1_pct": top1_pct, "val_loss": 1.0}
            | {"sparsity_pct": sparsity, "backbone_sparsity_pct": sparsity, "params_m": 1.0}
            | {
                "nonzero_params_m": 1.0 - sparsity / 100,
                "macs_m": 10.0,
                "sparse_macs_m": 10.0 if sparsity == 30.0 else 0.001,
            }
            | {"epochs": 3, "dataset": "fashion_mnist", "dataset_sha256": "0" * 64, "commit": "1" * 40}
            | {"dirty": "false", "torch": "2", "device": "cpu", "threads": 1, "seconds": 1.0}
        )
    path = results.path(folder, "resnet50", "smoke")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(RunLine.model_fields))
        writer.writeheader()
        writer.writerows(lines)


def comparison(out: str) -> list[dict[str, str]]:
    with Path(out, "regress.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_example_from_end_to_end(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """One seed: the checks, STR and the example trained, no verdict, exit code 4, and a report that needs nothing."""
    assert call(monkeypatch, EXAMPLE, "--seeds", "1", "--data-root", ".", "--strict") == 4
    out, err = capfd.readouterr()
    assert err == "" and "FAILED" not in out and "warns" not in out
    assert out.count("passed") == len(CHECKS) and "4 to train" in out
    assert "my_method: 2 runs from runs/" in out and "STR: 2 runs from runs/" in out
    runs = [json.loads(path.read_text()) for path in Path("runs").glob("my_method-*/result.json")]
    assert sorted(run["result"]["sparsity_pct"] for run in runs) == pytest.approx([40.0, 60.0], abs=0.1)
    assert {run["spec"]["weight_decay"] for run in runs} == {0.01}
    assert all(len(run["spec"]["method_sha256"]) == 64 for run in runs)
    lines = comparison("regress/my_method")
    assert [(line["regime_pct"], line["at_equal"]) for line in lines] == [
        ("40", "sparsity"), ("40", "MACs"), ("60", "sparsity"), ("60", "MACs"),
    ]  # fmt: skip
    assert {line["verdict"] for line in lines} <= {"not enough seeds", "outside STR's range"}
    html = Path("regress/my_method/report.html").read_text(encoding="utf-8")
    assert html.count("<svg role") == 2 and "exit code 4" in html
    assert not re.search(r"(src|href)=|@import|url\((?!#)", re.sub(r'xlink:href="#[^"]*"|href="#[^"]*"', "", html))
    for text in (out, html):
        assert "one seed of STR gives no range of reseeding" in text and "SEEDS=3 (--seeds 3)" in text
    assert runs[0]["spec"]["method_sha256"] in html and "Fashion-MNIST" in html and "by Holm's method" in html
    here = finished.machine(Job("resnet50"))
    assert f"STR: 2 runs from runs/, {here.rsplit(' on ', 1)[0]}\n" in out and here in html
    finished.require_one_machine(Job("resnet50"), finished.trained(Job("resnet50"), str_specs()))
    made_elsewhere = {"a": {"arithmetic": here.replace("torch ", "torch 1.")}}
    with pytest.raises(errors.UserError, match=r"runs/ has runs of another machine.*--reuse committed"):
        finished.require_one_machine(Job("resnet50"), made_elsewhere)


REUSED = ("--results", "committed", "--reuse", "committed", "--data-root", ".")
TWO_SEEDS = ("--seeds", "2", "--runs", "mine", *REUSED)


def train_and_set_top1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds of the example in ``mine/``, whose accuracies the test decides: 50 and 50.5 %.

    Networks as small as these come out otherwise on another processor, and a verdict of a test must not.
    """
    assert call(monkeypatch, EXAMPLE, *TWO_SEEDS) in (0, 1)
    for path in Path("mine").glob("*/result.json"):
        run = json.loads(path.read_text(encoding="utf-8"))
        run["result"]["top1_pct"] = 50 + run["spec"]["seed"] / 2
        path.write_text(json.dumps(run), encoding="utf-8")


def test_finished_runs_are_reused_and_strs_come_from_the_results(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None, here: None
) -> None:
    """Two seeds: of STR nothing is trained, of the example what the test before has not; then nothing at all."""
    write_str_results(Path("committed"), top1_pct=0.0)
    finished = [path.parent for path in Path("runs").glob("my_method-*/result.json")]
    for path in finished:
        shutil.copytree(path, Path("mine", path.name))
    train_and_set_top1(monkeypatch)
    out, _ = capfd.readouterr()
    assert f"runs: {4 - len(finished)} to train" in out and "my_method 40 s1" in out
    assert ("my_method 40 s0" in out) == (not finished)
    assert "STR: 4 runs from committed/resnet50/smoke.csv (commit 1111111)" in out
    assert not list(Path("mine").glob("str-*"))
    assert "REUSE=committed: these runs are of 2 machines, as far as results name them (" in out
    assert "no run is there from both" in out
    assert "these runs are of 2 machines" in Path("regress/my_method/report.html").read_text(encoding="utf-8")
    assert call(monkeypatch, EXAMPLE, *TWO_SEEDS) == 0
    out, _ = capfd.readouterr()
    assert "to train" not in out and "my_method: 4 runs from mine/" in out and "better in 2" in out


def test_committed_runs_are_not_taken_unasked(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None
) -> None:
    """What would be trained is seen without training it."""
    write_str_results(Path("committed"), top1_pct=0.0, seeds=3)
    asked: list[str] = []
    monkeypatch.setattr(regress, "train_named", lambda todo, job, console, plugin: asked.extend(todo) or {})
    given = ("--seeds", "2", "--runs", "empty", "--results", "committed", "--data-root", ".")
    assert call(monkeypatch, EXAMPLE, *given) == 2  # of the method there is no run
    out, _ = capfd.readouterr()
    assert [name for name in asked if name.startswith("STR")] == ["STR 40 s0", "STR 40 s1", "STR 60 s0", "STR 60 s1"]
    assert "4 of those to train are among the committed results" in out and "STR's finished runs spread by 0.00" in out
    asked.clear()
    call(monkeypatch, EXAMPLE, *given, "--reuse", "committed")
    assert asked and not [name for name in asked if name.startswith("STR")]


def test_as_many_trials_for_both(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None, here: None
) -> None:
    """One regime, two trials each on a part of the training set; then the comparison, on all of it, with what was
    chosen. The same command trains nothing again.
    """
    pytest.importorskip("optuna")
    table = tiny_table()
    plan = table.tiers["smoke"]
    rows = {"str-79.55": replace(plan.rows["str-79.55"], stated_target_pct=10.0)}
    one = replace(plan, rows=MappingProxyType(rows))
    monkeypatch.setattr(tables, "load", lambda name: replace(table, tiers=MappingProxyType({"smoke": one})))
    given = ("--seeds", "1", "--runs", "tuned", "--results", "tuned results", "--data-root", ".", "--tune", "2")
    assert call(monkeypatch, "gmp", *given) == 0
    out, _ = capfd.readouterr()
    assert "trials: 2 for gmp and as many for STR, at each regime, scored on Fashion-MNIST, 6,000 of the 60,000" in out
    assert "one row of STR alone: it ends near its sparsity" in out
    every = results.read_lines(Path("tuned results/resnet50/smoke_trials.csv"), TrialLine)
    assert results.read_lines(Path("regress/gmp/trials.csv"), TrialLine) == every
    kept = [line for line in every if line.seed == SEED_OF_TRIALS]
    assert [(line.method, line.trial) for line in kept] == [("gmp", 0), ("gmp", 1), ("str", 0), ("str", 1)]
    then = [line for line in every if line not in kept]
    assert [(line.method, line.seed, line.dataset) for line in then] == [
        ("gmp", 0, "fashion_mnist"), ("str", 0, "fashion_mnist"),
    ]  # fmt: skip
    assert {(line.method, line.trial, line.settings) for line in then} == {
        (line.method, line.trial, line.settings) for line in kept if line.chosen == "yes"
    }
    assert {line.dataset for line in kept} == {"fashion_mnist_validation"} and kept[0].settings == "as in the recipe"
    assert all(line.machine == finished.machine(Job("resnet50")) for line in kept if line.status == "finished")
    for method, argument in (("gmp", "weight_decay"), ("str", "s_init")):
        (chosen,) = [line for line in kept if line.method == method and line.chosen == "yes"]
        (run,) = [
            json.loads(path.read_text()) for path in Path("tuned").glob(f"{method}-*-fashion_mnist-*/result.json")
        ]
        value = {**run["spec"]["method_args"], "weight_decay": run["spec"]["weight_decay"]}[argument]
        recipe = 0.01 if method == "gmp" else SPEC.method_args["s_init"]
        assert (f"{argument}={value}" in chosen.settings) if chosen.trial else value == recipe
    html = Path("regress/gmp/report.html").read_text(encoding="utf-8")
    assert "gmp and STR had 2 trials each" in html and "0.25 to 4 times the recipe" in html
    assert call(monkeypatch, "gmp", *given) == 0
    assert "to train" not in capfd.readouterr().out


def made_up_training(monkeypatch: pytest.MonkeyPatch, sparsity: Callable[[Spec, float], float]) -> list[str]:
    """In place of trainings, records of this machine: ``sparsity`` says where the run of a spec for a regime ends.
    Returns the names that are asked for, as they come.
    """
    made_by = provenance.provenance(threads=1)
    here = Provenance.model_validate({**made_by, "device": "cpu", "processes": 1, "dirty": "false", "commit": "1" * 40})
    asked: list[str] = []

    def train(todo: Mapping[str, Spec], job: Job, console: object, plugin: str | None = None) -> dict[str, str]:
        asked.extend(todo)
        for name, spec in todo.items():
            regime = float(name.split()[1])
            numbers = {"sparsity_pct": sparsity(spec, regime), "top1_pct": 80.0 - regime / 4 + spec.seed % 10}
            ended = finished_result(spec, sparse_macs_m=10.0 - regime / 20, **numbers)
            leave(job.runs, spec, ended, provenance=here)
        return {}

    monkeypatch.setattr(regress, "train_named", train)
    monkeypatch.setattr(tune, "require_pruning", lambda spec: None)
    return asked


@pytest.mark.parametrize(("lost", "said"), [("gmp", "gmp"), ("str", "STR")])
def test_a_regime_without_a_usable_trial_is_left_out_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None, lost: str, said: str
) -> None:
    """Of the method or of STR. The trials are kept, and the other regime is compared."""
    pytest.importorskip("optuna")
    ends = lambda spec, regime: 10.0 if (spec.method, regime) == (lost, 60.0) else regime  # noqa: E731
    asked = made_up_training(monkeypatch, ends)
    folder = f"lost-{lost}"
    given = ("gmp", "--seeds", "2", "--runs", f"{folder}/runs", "--results", f"{folder}/results", "--tune", "2")
    assert call(monkeypatch, *given, "--data-root", ".", "--out", folder) == 0
    out, _ = capfd.readouterr()
    problem = (
        f"none of the 2 trials of {said} at 60 % ended as sparse as that with an accuracy: too dense (2); try more"
    )
    assert f"{said} 60 %: left out: {problem}" in out and "no result in 1" in out
    page = Path(folder, "report.html").read_text(encoding="utf-8")
    assert problem in page and "60 % at equal sparsity, 60 % at equal MACs" in page
    final = [name for name in asked if "trial" not in name]
    assert not [name for name in final if name.startswith((f"{said} 60", "gmp 60"))]
    assert ("STR 60 s0" in final) == (lost == "gmp")  # STR's runs are read off at the other regime too
    verdicts = {(line["regime_pct"], line["at_equal"]): line["verdict"] for line in comparison(folder)}
    assert verdicts["60", "sparsity"] == verdicts["60", "MACs"] == "no result" != verdicts["40", "sparsity"]
    kept = [line for line in results.read_lines(Path(folder, "trials.csv"), TrialLine) if line.seed == SEED_OF_TRIALS]
    assert len(kept) == 8
    chosen = {(line.method, line.regime_pct) for line in kept if line.chosen == "yes"}
    assert chosen == {("gmp", 40.0), ("gmp", 60.0), ("str", 40.0), ("str", 60.0)} - {(lost, 60.0)}
    assert call(monkeypatch, *given, "--data-root", ".", "--out", folder, "--strict") == 4


def test_where_no_regime_is_left_the_trials_are_kept(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None
) -> None:
    pytest.importorskip("optuna")
    asked = made_up_training(monkeypatch, lambda spec, regime: 5.0 if spec.method == "gmp" else regime)
    given = ("gmp", "--runs", "nothing left/runs", "--results", "nothing left/results", "--tune", "2")
    assert call(monkeypatch, *given, "--data-root", ".", "--out", "nothing left") == 2
    out, err = capfd.readouterr()
    assert "no regime is left to compare at: none of the 2 trials of gmp at 40 %" in err and "at 60 %" in err
    assert "Traceback" not in out + err and len(asked) == 8 and not Path("nothing left/report.html").exists()
    kept = results.read_lines(Path("nothing left/trials.csv"), TrialLine)
    assert [line.method for line in kept if line.chosen == "no"].count("gmp") == 4 and len(kept) == 8


def test_what_a_search_chose_is_reused_from_the_results(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None
) -> None:
    """Where they are asked for, nothing is trained again, and the outcome is the same; a trial is no run of a pair."""
    pytest.importorskip("optuna")
    asked = made_up_training(monkeypatch, lambda spec, regime: regime)
    given = ("gmp", "--seeds", "2", "--results", "chosen results", "--tune", "3", "--data-root", ".")
    assert call(monkeypatch, *given, "--runs", "chosen runs", "--out", "first") == 0
    assert len(asked) == 12 + 8
    file = Path("chosen results/resnet50/smoke_trials.csv")
    lines = results.read_lines(file, TrialLine)
    assert [line.seed for line in lines].count(SEED_OF_TRIALS) == 12 and len(lines) == 20
    asked.clear()
    capfd.readouterr()
    assert call(monkeypatch, *given, "--runs", "no runs", "--out", "second", "--reuse", "committed") == 0
    out, _ = capfd.readouterr()
    assert asked == [] and comparison("second") == comparison("first")
    here = finished.machine(Job("resnet50"))
    assert f"gmp: 4 runs from {file} (commit 1111111), {here.rsplit(' on ', 1)[0]}\n" in out
    page = Path("second/report.html").read_text(encoding="utf-8")
    for method in ("gmp", "str"):
        read = f"6 of {method} were read from the results and not trained again; they are of {here}"
        assert f"trials: {read}" in out and f"Of the trials, {read}." in page
    first = Path("first/report.html").read_text(encoding="utf-8")
    assert "were read from the results" not in first
    table = first[first.index("All 12 trials") : first.index("<h2>Conformance")]
    assert table.count("<code>1111111</code>") == table.count(here) == 12
    job = Job("resnet50", results=Path("chosen results"))
    trials = [line.spec for line in lines if line.seed == SEED_OF_TRIALS]
    names = {line.spec for line in lines}
    specs = [spec for spec in map(spec_of, Path("chosen runs").glob("*/result.json")) if spec.name in names]
    assert len(specs) == 20 and finished.committed(job, specs).keys() == names - set(trials)
    assert call(monkeypatch, *given, "--runs", "no runs", "--out", "second") == 0
    assert sorted(asked) == sorted(
        f"{who} {at} s{seed}" for who in ("STR", "gmp") for at in (40, 60) for seed in (0, 1)
    )


def test_of_a_run_of_several_machines_that_with_most_runs_is_taken() -> None:
    """STR's recipe, committed with the table and with a search: the latter has the method beside it."""
    write_str_results(Path("several"), top1_pct=50.0, seeds=1)
    mine = [
        spec for _, spec in regress.Question("gmp", Job("resnet50")).method_runs(regress_plugin("gmp"), "sparsity_pct")
    ]
    common = {"tier": "smoke", "trial": 0, "settings": "as in the recipe", "chosen": "yes", "status": "finished"}
    common |= {"dataset": "fashion_mnist", "commit": "2" * 40, "top1_pct": 60.0, "sparsity_pct": 50.0}
    lines = [
        TrialLine(**common, method=spec.method, regime_pct=40.0 + at, seed=spec.seed, spec=spec.name, machine="another")
        for at, spec in enumerate([*str_specs(), *mine[:2]])
    ]
    results.write_lines(lines, results.path(Path("several"), "resnet50", "smoke", "trials"), "trials")
    job = Job("resnet50", results=Path("several"))
    of_str = finished.committed(job, str_specs())
    assert {known["arithmetic"] for known in of_str.values()} == {"cpu, 1 thread, torch 2"} and len(of_str) == 2
    both = finished.committed(job, [*str_specs(), *mine])
    assert {known["arithmetic"] for known in both.values()} == {"another"} and len(both) == 4
    assert {known["top1_pct"] for known in both.values()} == {60.0}


def test_a_machine_has_one_name_here_in_the_results_and_among_trials() -> None:
    write_str_results(Path("named"), top1_pct=50.0, seeds=1)
    file = results.path(Path("named"), "resnet50", "smoke")
    as_collected = {"device": f"cpu ({MADE_BY.cpu})", "torch": MADE_BY.torch, "options": "channels_last=true"}
    results.write_lines(
        [line.model_copy(update=as_collected) for line in results.read_lines(file, RunLine)], file, "runs"
    )
    common = {"tier": "smoke", "trial": 0, "settings": "as in the recipe", "chosen": "yes", "status": "finished"}
    common |= {"dataset": "fashion_mnist", "commit": "2" * 40, "top1_pct": 60.0, "sparsity_pct": 50.0}
    mine = replace(str_specs()[0], seed=1)
    trial = TrialLine(**common, method="str", regime_pct=40.0, seed=1, spec=mine.name, machine=MADE_BY.arithmetic)
    results.write_lines([trial], results.path(Path("named"), "resnet50", "smoke", "trials"), "trials")
    job = Job("resnet50", results=Path("named"), runs=Path("named runs"))
    leave(job.runs, mine, finished_result(mine, top1_pct=70.0, sparsity_pct=50.0))
    known = [finished.committed(job, [*str_specs(), mine]), finished.trained(job, [mine])]
    names = [run["machine"] for stored in known for run in stored.values()]
    assert names == [MADE_BY.machine] * 4 and MADE_BY.machine == "Test CPU, 1 thread, torch 2.0"
    (run,) = regression.measured([(40.0, mine)], known[1])
    assert run.machine == MADE_BY.machine and run.arithmetic == MADE_BY.arithmetic


def spec_of(file: Path) -> Spec:
    return Spec.from_dict(json.loads(file.read_text(encoding="utf-8"))["spec"])


def test_exit_code_of_a_method_that_is_worse(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None, here: None
) -> None:
    write_str_results(Path("committed"), top1_pct=100.0)
    train_and_set_top1(monkeypatch)
    assert call(monkeypatch, EXAMPLE, *TWO_SEEDS, "--out", "else where") == 1
    out, _ = capfd.readouterr()
    assert "worse in 2" in out
    assert {line["verdict"] for line in comparison("else where")} == {"worse"}


def test_exit_code_of_a_method_that_two_seeds_cannot_place(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None, here: None
) -> None:
    """A point below the example's mean: the interval of two seeds, some three points either way, has zero in it."""
    write_str_results(Path("committed"), top1_pct=49.25)
    train_and_set_top1(monkeypatch)
    assert call(monkeypatch, EXAMPLE, *TWO_SEEDS, "--strict") == 4
    assert call(monkeypatch, EXAMPLE, *TWO_SEEDS) == 0
    assert "not enough seeds in 2" in capfd.readouterr().out
    assert {line["verdict"] for line in comparison("regress/my_method")} == {"not enough seeds"}


def test_a_margin_that_forgives_everything(monkeypatch: pytest.MonkeyPatch, checked: None, here: None) -> None:
    write_str_results(Path("committed"), top1_pct=50.0)
    train_and_set_top1(monkeypatch)
    assert call(monkeypatch, EXAMPLE, *TWO_SEEDS, "--margin", "99.9") == 0
    assert {line["verdict"] for line in comparison("regress/my_method")} == {"equivalent within the margin"}


FAILS_LATE = """
from paper_repro.methods.gmp import GMP

class Late(GMP):
    def __init__(self, sparsity_pct):
        super().__init__(sparsity_pct)
    def before_step(self, model, step, total_steps):
        if total_steps > 20 and step == 30 and self.sparsity_pct > 50:
            raise RuntimeError("too late for [/some/where], [red] and :smile:")
        super().before_step(model, step, total_steps)
    def sparsity(self):
        return 0.95
"""


def test_a_plugin_that_fails_in_training_loses_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None
) -> None:
    write_str_results(Path("committed"), top1_pct=0.0, seeds=1)
    Path("late.py").write_text(FAILS_LATE, encoding="utf-8")
    given = ["--seeds", "1", *REUSED]
    assert call(monkeypatch, "late.py", *given) == 2
    out, err = capfd.readouterr()
    said = "raised RuntimeError: too late for [/some/where], [red] and :smile:, while it was to train"
    assert f"late.py, line 9 (in before_step) {said}" in out
    assert "Traceback" not in out + err
    assert "no result in 1" in out and "the method's own sparsity() was off by up to 55.0" in out
    assert [line["verdict"] for line in comparison("regress/late") if line["regime_pct"] == "60"] == ["no result"] * 2
    assert "too late" in Path("regress/late/report.html").read_text(encoding="utf-8")
    Path("late.py").write_text(FAILS_LATE.replace("self.sparsity_pct > 50", "False"), encoding="utf-8")
    monkeypatch.setattr(launch, "Launch", LaunchHere)
    before = sorted(Path("runs").glob("late-*"))
    assert (
        call(monkeypatch, "late.py", *given) == 0
    )  # mended: it is another method now, and no run of the old one counts
    assert len(sorted(Path("runs").glob("late-*"))) == 2 + len(before)


PRINTS = """
import os, subprocess, sys
from paper_repro.methods.gmp import GMP

class Prints(GMP):
    def before_step(self, model, step, total_steps):
        print(".", end="", flush=True)
        print({"step": step}, flush=True)
        print('{"event": "error", "text": "forged"}', flush=True)
        if step == 0:
            os.write(1, b'{"event": "no such"')
            os.write(2, b"\\xff")  # is not UTF-8
            subprocess.run([sys.executable, "-c", "print({})"])
            subprocess.Popen(["sleep", "600"])
        super().before_step(model, step, total_steps)
"""


def test_what_a_plugin_prints_is_not_taken_for_events_nor_what_it_starts_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checked: None
) -> None:
    write_str_results(Path("committed"), top1_pct=0.0, seeds=1)
    Path("prints.py").write_text(PRINTS, encoding="utf-8")
    given = ["--seeds", "1", *REUSED]
    began = time.monotonic()
    assert call(monkeypatch, "prints.py", *given) == 0
    assert time.monotonic() - began < 600  # what it left running is not waited for
    out, err = capfd.readouterr()
    assert err == "" and "forged" not in out and "{'step'" not in out
    assert {line["verdict"] for line in comparison("regress/prints")} <= {"not enough seeds", "outside STR's range"}


def test_a_fault_of_the_program_ends_in_a_code_that_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(regress, "regress", lambda question, console: {}["missing"])
    assert call(monkeypatch, "gmp", "--data-root", ".") == errors.CRASHED
    assert f"  {errors.CRASHED}  " in errors.EXIT_CODES and "KeyError: 'missing'" in capfd.readouterr().err


def test_a_broken_plugin_is_not_trained(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import paper_repro\n\nclass Lazy(paper_repro.Method):\n    def __init__(self, sparsity_pct):\n        pass\n"
    )
    Path("lazy.py").write_text(code, encoding="utf-8")
    assert call(monkeypatch, "lazy.py", "--seeds", "1", "--data-root", ".", "--runs", "none") == 2
    out, err = capfd.readouterr()
    assert "lazy.py fails 1 of its checks, and was not trained: it pruned nothing: asked for 60 %" in err
    assert "Traceback" not in out + err and not Path("none").exists() and not Path("regress/lazy").exists()


def test_a_range_of_what_the_method_does_not_take(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import paper_repro\n\nclass Mine(paper_repro.Method):\n    ranges = {'untl': {'low': 1, 'high': 2}}\n"
    Path("mistyped.py").write_text(
        f"{code}    def __init__(self, sparsity_pct, until=1):\n        pass\n", encoding="utf-8"
    )
    assert call(monkeypatch, "mistyped.py", "--data-root", ".") == 2
    assert "mistyped.py, line 3: unknown argument in ranges 'untl'. Did you mean 'until'?" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which method? METHOD is a Python file"),
        (["nowhere.py"], "nowhere.py does not exist"),
        (["gpm"], "Did you mean 'gmp'"),
        (["gmp", "--margin", "-1"], "margin is -1 points"),
        (["gmp", "--weight-decay", "-1"], "weight_decay is -1"),
        (["gmp", "--tier", "audit"], "trains nothing"),
        (["gmp", "--method-args", "start"], "is not of the form key=value"),
        (["gmp", "--method-args", "sparsity_pct=90"], "is what regress asks the method for"),
        (["gmp", "--seeds", "0"], "not in the range"),
        (["gmp", "--tune", "-1"], "not in the range"),
        (["gmp", "--rows", "str-95.3"], "unknown row of table resnet50 'str-95.3'. Did you mean 'str-95.03'"),
        (["gmp", "--rows", "gmp-95"], "row 'gmp-95' is not trained at tier smoke; these are: str-79.55, str-90.23"),
        (["gmp", "--reuse", "all"], "is not one of"),
    ],
)
def test_mistakes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(monkeypatch, *arguments) == 2
    out, err = capfd.readouterr()
    assert message in err and "Traceback" not in out + err


def test_method_arguments() -> None:
    given = regress.parse_arguments(["start=0.1", 'keep_dense=["first"]', "distribution=erk", "nesterov=true"])
    assert given == {"start": 0.1, "keep_dense": ["first"], "distribution": "erk", "nesterov": True}


def test_runs_are_those_of_str_but_for_the_method() -> None:
    question = regress.Question("gmp", regress.Job("resnet50", seeds=2))
    plugin = regress_plugin("gmp")
    theirs, mine = question.str_runs(), question.method_runs(plugin, "sparsity_pct")
    assert [(target, spec.seed) for target, spec in mine] == [(target, spec.seed) for target, spec in theirs]
    for (target, spec), (_, other) in zip(mine, theirs, strict=True):
        assert spec.differences(other).keys() == {"method", "method_args", "weight_decay"}
        assert spec.method_args == {"sparsity_pct": target}
    chosen = replace(question, weight_decay=0.5, method_args={"start": 0.1}).method_runs(plugin, "sparsity_pct")
    assert all(spec.weight_decay == 0.5 and spec.method_args["start"] == 0.1 for _, spec in chosen)


def test_rows_are_the_regimes_that_are_compared() -> None:
    job = Job("resnet50", seeds=2, rows=("str-90.23",))
    assert [target for target, _ in regress.Question("gmp", job).str_runs()] == [REGIMES["str-90.23"][0]] * 2
    everything = regress.Question("gmp", replace(job, rows=("all",))).str_runs()
    assert everything == regress.Question("gmp", replace(job, rows=())).str_runs() and len(everything) == 4


def test_of_several_rows_at_one_sparsity_one_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As table resnet50_choices has them: STR's recipe changed in one thing at a time."""
    table = tables.load("resnet50")
    smoke = table.tiers["smoke"]
    rows = {name: replace(row, stated_target_pct=40.0) for name, row in smoke.rows.items()}
    alike = replace(table, tiers=MappingProxyType({"smoke": replace(smoke, rows=MappingProxyType(rows))}))
    monkeypatch.setattr(tables, "load", lambda name: alike)
    job = Job("resnet50", seeds=2)
    with pytest.raises(
        errors.UserError, match=r"^2 STR rows stand for 40 %: str-79\.55, str-90\.23\. .* ROWS= \(--rows\)$"
    ):
        regress.Question("gmp", job).str_runs()
    assert len(regress.Question("gmp", replace(job, rows=("str-90.23",))).str_runs()) == 2


def test_rows_that_a_method_ends_at_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, given = [], []
    (_, first), (_, second) = regress.Question("lats", Job("resnet50", seeds=1)).str_runs()
    of_rows = {60.0: replace(second, method_args={"of": 60}), 40.0: replace(first, method_args={"of": 40})}
    monkeypatch.setattr(regress.Question, "by_rows", lambda *_: read.append("rows") or of_rows)
    monkeypatch.setattr(
        preflight, "findings", lambda *asked: given.append(asked[2]) or preflight.Findings((), sparsity_argument="")
    )
    monkeypatch.setattr(regress, "_print_plan", lambda *_: given.append("ready") or {}["trains nothing"])
    with pytest.raises(KeyError, match="trains nothing"):
        regress.regress(regress.Question("lats", Job("resnet50", seeds=1)), Console(quiet=True))
    assert read == ["rows"] and given == [{"of": 40}, "ready"]


def str_specs() -> list[Spec]:
    return [spec for _, spec in regress.Question("gmp", Job("resnet50", seeds=1)).str_runs()]


def regress_plugin(name: str):
    from paper_repro.methods import plugins

    return plugins.find(name)


def test_the_help_explains_the_exit_codes(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--help") == 0
    out, _ = capfd.readouterr()
    assert all(f"  {code}  " in out for code in range(5)) and "examples/my_method.py" in out


def test_old_names_of_runs_stay() -> None:
    """The sha256 of plug-ins came later than the results that are committed: it names no other run anew."""
    assert "method_sha256" not in json.loads(SPEC.canonical())
    assert Spec.from_dict({key: value for key, value in asdict(SPEC).items() if key != "method_sha256"}) == SPEC
    assert replace(SPEC, method_sha256="0" * 64).name != SPEC.name
