"""A user's network: found, checked, given STR's values by the balance, trained; and how it can be wrong."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from paper_repro import cli, record, tables
from paper_repro.accounting import Account, LayerAccount
from paper_repro.conformance import preflight
from paper_repro.data import brought, catalog
from paper_repro.data.loaders import Loader
from paper_repro.data.sets.fashion_mnist import FashionMNIST
from paper_repro.errors import UserError
from paper_repro.evidence.provenance import repository
from paper_repro.interchange import networks, weight_files
from paper_repro.methods import plugins as method_plugins
from paper_repro.models import plugins
from paper_repro.spec import Spec
from paper_repro.terminal import Console
from paper_repro.training import randomness
from paper_repro.training.forecast import forecast, steps_per_epoch
from paper_repro.workflows import own_network, regress, tune
from paper_repro.workflows.job import Job
from paper_repro.workflows.plan import show_plan
from paper_repro.workflows.regress import Question
from paper_repro.workflows.train import run, train_named
from tests.made_up_record import finished, leave

PAGE = (repository() / "docs" / "extend.md").read_text(encoding="utf-8").splitlines()
UNET = repository() / "examples" / "my_unet.py"
TWIN = """
from paper_repro import models

def model(num_classes, in_channels):
    return models.resnet50(num_classes, width=16, in_channels=in_channels, last_stride=1)
"""
TINY = """
from torch import nn

def model(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, num_classes))
"""


def written(folder: Path, text: str, name: str = "net.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_the_example_is_short() -> None:
    assert len(UNET.read_text(encoding="utf-8").splitlines()) < 40


def test_the_tables_own_network_gets_the_tables_own_values(tmp_path: Path) -> None:
    """The rules are relative to the tier's network: on a copy of it they give back the recipe."""
    wanted = {row.id: spec for row, spec in tables.load("resnet50").specs("smoke", [0])}
    for row, spec in Job("resnet50", model=written(tmp_path, TWIN), rows=("dense", "str-90.23", "gmp-90")).specs():
        recipe = wanted[row.id]
        assert spec.weight_decay == pytest.approx(recipe.weight_decay, rel=1e-3)
        for name, value in recipe.method_args.items():  # of s_init the recipe has another rounding of the same onset
            assert spec.method_args[name] == pytest.approx(value, rel=0.01)
        same = ("model", "model_args", "model_sha256", "method_args", "weight_decay")
        assert replace(spec, **{name: getattr(recipe, name) for name in same}) == recipe


def test_the_name_of_a_run_changes_with_the_code(tmp_path: Path) -> None:
    names = set()
    for text in (TINY, TINY + "# another\n"):
        ((_, spec),) = Job("resnet50", model=written(tmp_path, text), rows=("dense",)).specs()
        names.add(spec.name)
        assert spec.model == "net" and len(spec.model_sha256) == 64 and spec.dataset == "fashion_mnist"
    assert len(names) == 2


def test_a_plan_weighs_the_network_and_foretells_when_it_prunes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    job = Job("resnet50", model=str(UNET), rows=("str-90.23",), runs=tmp_path)
    assert show_plan(job, Console(width=300)) == 0
    out = capsys.readouterr().out
    # 72 + 1152 + 512 + 1152 + 16 weights; at 16 x 16, 8 x 8, from 8 x 8 on, 16 x 16, 16 x 16 pixels
    macs = 256 * 72 + 64 * 1152 + 64 * 512 + 256 * 1152 + 256 * 16
    assert f"2,904 weights and {macs / 1e6:.4g} M multiply-adds in 5 layers" in out and "epoch" in out
    named = ("layer ", "first", "second", "up", "last", "classes")
    header, *lines = [line.rstrip() for line in out.splitlines() if line.startswith(named)]
    layers = {"first.0": (72, 256), "second.0": (1152, 64), "up": (512, 64), "last.0": (1152, 256)}
    layers["classes"] = (16, 256)
    assert [line.split() for line in lines] == [
        [name, f"{weights:,}", f"{pixels * weights / 1e6:.4g}", f"{100 * pixels * weights / macs:.1f}"]
        for name, (weights, pixels) in layers.items()
    ]
    assert {header, *lines} <= set(PAGE)  # as docs/extend.md shows them
    ((_, spec),) = job.specs()
    row = tables.load("resnet50").tier("smoke").rows["str-90.23"].spec
    assert (spec.epochs, spec.dataset) == (235, "my_unet_data")  # as many steps as one epoch of the tier, and two more
    share, wanted = (found.onset_step / found.total_steps for found in (forecast(spec), forecast(row)))
    assert share == pytest.approx(wanted, abs=0.01) and spec.method_args["target_sparsity_pct"] == 90.0
    assert spec.method_args["slope"] > row.method_args["slope"]


def test_of_many_layers_the_largest_are_listed_and_the_others_summed() -> None:
    """By their share of weights or of multiply-adds; the lines add up to the totals. A tied weight counts once."""
    layers = [LayerAccount(f"conv{index}", 10 + index, 0, macs=1000 - index) for index in range(30)]
    layers += [LayerAccount("fc", 5000, 0, macs=1), LayerAccount("again", 5000, 0, macs=2, tied_to="fc")]
    lines = own_network.layer_lines(Account(tuple(layers)))
    names = [line[0] for line in lines]
    assert names[-2:] == ["fc", "20 smaller ones together"] and names[:-2] == [f"conv{index}" for index in range(11)]
    weights = [int(line[1].replace(",", "")) for line in lines]
    assert sum(weights) == sum(range(10, 40)) + 5000
    assert float(lines[-1][2]) == pytest.approx(sum(1000 - index for index in range(11, 30)) / 1e6 + 2e-6, rel=1e-3)
    assert sum(float(line[3]) for line in lines) == pytest.approx(100.0, abs=1.0)


def test_the_data_is_the_same_in_every_process() -> None:
    fingerprints = set()
    for _ in range(2):
        torch.rand(7)
        plugin = plugins.find(str(UNET))
        brought.bring(plugin)
        fingerprints.add(catalog.source("my_unet_data").fingerprint(Path()))
    assert len(fingerprints) == 1


DRAWS = """
import random
import numpy as np
import torch
from torch import nn

def model(num_classes):
    return nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.Linear(64, num_classes))

def data():
    order = torch.from_numpy(np.random.permutation(%(examples)d))
    random.shuffle(labels := [index %% 2 for index in range(%(examples)d)])
    x, y = torch.rand(%(examples)d, 8)[order], torch.tensor(labels)
    return (x, y), (x[:8], y[:8])
"""


def test_data_drawn_by_numpy_or_python_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Whatever the process has drawn before; and what it draws then is as if nothing had been."""
    plugin, fingerprints = plugins.find(written(tmp_path, DRAWS % {"examples": 64}, "draws.py")), set()
    for seed in (1, 2):
        randomness.seed(seed)
        expected = random.random(), np.random.rand()  # noqa: NPY002
        randomness.seed(seed)
        brought.bring(plugin)
        assert (random.random(), np.random.rand()) == expected  # noqa: NPY002
        fingerprints.add(catalog.source("draws_data").fingerprint(Path()))
    assert len(fingerprints) == 1


def test_a_last_batch_of_one_example_is_refused_where_batch_norm_cannot_take_it(tmp_path: Path) -> None:
    batch = tables.load("resnet50").tier("smoke").base.batch_size
    for examples in (2 * batch, 2 * batch + 1):
        job = Job(
            "resnet50", model=written(tmp_path, DRAWS % {"examples": examples}, f"n{examples}.py"), rows=("dense",)
        )
        if examples % batch != 1:
            assert len(job.specs()) == 1
            continue
        with pytest.raises(UserError, match=rf"batch norm cannot train on a single .* {examples} examples in batches"):
            job.specs()


def test_larger_data_is_trained_for_as_many_steps_as_the_tier_takes(tmp_path: Path) -> None:
    """In whole epochs: one where the tier takes fewer steps, and warm-up only where it fills some."""
    examples = 4 * catalog.dataset("watch").train_examples
    own = own_network.loaded(written(tmp_path, DRAWS % {"examples": examples}, "larger.py"), "watch")
    recipe = replace(tables.load("resnet50").tier("smoke").base, method="dense", dataset="watch", batch_size=10)
    assert own.data == "larger_data"
    for (epochs, warmup), wanted in {(16, 4): (4, 1), (16, 3): (4, 0), (17, 1): (5, 0), (1, 0): (1, 0)}.items():
        fitted = own_network._fitted(replace(recipe, epochs=epochs, warmup_epochs=warmup), own)
        assert (fitted.epochs, fitted.warmup_epochs) == wanted and fitted.dataset == "larger_data"


def test_a_network_of_a_few_weights_is_told_so(tmp_path: Path) -> None:
    few = DRAWS.replace("64", "1") % {"examples": 64}
    with pytest.raises(UserError, match="few: it has too few weights for STR's slope"):
        Job("resnet50", model=written(tmp_path, few, "few.py"), rows=("str-90.23",)).specs()


def test_the_example_is_trained_and_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """From the command on, in processes of their own. What a processor may round otherwise is not asked for: of STR's
    run, only that it pruned, that its record fits its network, and that the table shows what is on record.
    """
    rows = ("gmp-90", "str-90.23")
    job = Job("resnet50", model=str(UNET), rows=rows, runs=tmp_path / "runs", results=tmp_path / "results")
    (tmp_path / "results").mkdir()
    assert run(job, Console(width=200)) == 0
    out = capsys.readouterr().out
    lines = {row: next(line for line in out.splitlines() if line.startswith(f"{row} ")).split() for row in rows}
    assert lines["gmp-90"][5:7] == ["90.01", "0.0424"]
    assert next(line.rstrip() for line in out.splitlines() if line.startswith("row ")) in PAGE
    shown = {row: next(line for line in PAGE if line.startswith(f"{row} ")).split() for row in rows}
    assert shown["gmp-90"][:7] == lines["gmp-90"][:7] and shown["str-90.23"][:5] == lines["str-90.23"][:5]
    assert not list((tmp_path / "results").iterdir())  # no row of the table
    spec = next(spec for row, spec in job.specs() if row.id == "str-90.23")
    done = record.finished(tmp_path / "runs" / spec.name, spec)
    assert done is not None and done.result.sparsity_pct > 10.0 and 0.0 <= done.result.top1_pct <= 100.0
    found = [f"{done.result.sparsity_pct:.2f}", f"{done.result.sparse_macs_m:.4f}", f"{done.result.top1_pct:.2f}"]
    settings = [f"{spec.method_args['slope']:g}", f"{spec.weight_decay:.4g}", f"{spec.method_args['s_init']:g}"]
    assert lines["str-90.23"][1:] == ["0", *settings, *found, str(len(done.result.empty_layers))]
    weights = weight_files.read_weights(tmp_path / "runs" / spec.name / networks.WEIGHTS)
    for layer in done.layers:
        zeros = 100.0 * float((weights[f"{layer.layer}.weight"] == 0).double().mean())
        assert zeros == pytest.approx(layer.sparsity_pct) and 0.0 < layer.threshold < 0.5
    total = sum(layer.params * layer.sparsity_pct for layer in done.layers) / 2904
    assert done.result.sparsity_pct == pytest.approx(total)
    assert done.result.sparse_macs_m == pytest.approx(
        sum(layer.macs * (1 - layer.sparsity_pct / 100.0) for layer in done.layers) / 1e6
    )
    assert run(job, Console(width=200)) == 0 and "2 of 2 are finished already" in capsys.readouterr().out


def test_regress_puts_both_on_the_network(tmp_path: Path) -> None:
    question = Question("gmp", Job("resnet50", seeds=2, model=written(tmp_path, TINY)))
    theirs, ours = question.method_runs(method_plugins.find("gmp"), "sparsity_pct"), question.str_runs()
    assert [(target, spec.seed) for target, spec in theirs] == [(target, spec.seed) for target, spec in ours]
    for (target, one), (_, other) in zip(theirs, ours, strict=True):
        assert one.method_args["sparsity_pct"] == other.method_args["target_sparsity_pct"] == target
        assert other.method_args["target"] == "freeze"
        assert (one.model, one.model_sha256, one.model_args) == (other.model, other.model_sha256, {})


def test_the_report_says_which_network_and_data_were_trained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And that STR stops at its target there; of the tier's network and data, nothing."""

    def train(todo: Mapping[str, Spec], job: Job, *given: object, **more: object) -> dict[str, str]:
        for name, spec in todo.items():
            leave(job.runs, spec, finished(spec, top1_pct=90.0, sparsity_pct=float(name.split()[1]), sparse_macs_m=0.1))
        return {}

    monkeypatch.setattr(regress, "train_named", train)
    monkeypatch.setattr(FashionMNIST, "ensure", lambda data, root, *given: root)  # nothing is read
    monkeypatch.setattr(preflight, "findings", lambda *given: preflight.Findings((), "sparsity_pct"))
    for model, title in ((str(UNET), "the data set of my_unet"), ("", "Fashion-MNIST")):
        job = Job("resnet50", seeds=2, model=model, rows=("str-90.23",), runs=tmp_path / "runs")
        assert regress.regress(Question("gmp", job, out=tmp_path), Console(width=200)) == 0
        network = "my_unet" if model else "resnet50 of width 16"
        setting = f"{network} on {title}, {235 if model else 1} epoch{'s' * bool(model)}"
        instead = ", with my_unet in place of its network; STR stops at its target" * bool(model)
        out, page = capsys.readouterr().out, (tmp_path / "report.html").read_text(encoding="utf-8")
        assert f"Table resnet50, tier smoke ({setting}), at 90 % sparsity, 2 seeds" in out
        assert f"table resnet50 (ResNet50 on ImageNet-1K{instead}), tier smoke: {setting}; 2 paired seeds" in page
        assert f"his is {setting}." in page if model else f"Tier smoke is {setting}: minutes on a CPU" in page
        for text in (out, page):
            assert bool(model) == ("STR stops at its target" in text) == ("Fashion-MNIST" not in text)
        assert bool(model) == ("It stops at its target" in page) == ("width 16" not in page)
        assert bool(model) != ("weight decay and s_init were chosen for this tier" in page)


def test_a_function_of_an_installed_package() -> None:
    plugin = plugins.find("torchvision.models:mobilenet_v3_small")
    assert plugin.name == "torchvision_models_mobilenet_v3_small" and len(plugin.sha256) == 64
    assert plugins.load(plugin)(num_classes=7, in_channels=3)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


PAIRS = """
import torch
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.Linear(2, 64), nn.BatchNorm1d(64), nn.Linear(64, num_classes))

model = net

def data():
    train, val = torch.arange(50), torch.arange(1000, 1020)
    return tuple((torch.stack([part, part % 3], 1).float(), part % 3) for part in (train, val))
"""


def test_a_module_of_a_package_brings_its_data_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebodys").mkdir()
    written(tmp_path, "", "somebodys/__init__.py")
    written(tmp_path, PAIRS, "somebodys/nets.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    ((_, spec),) = Job("resnet50", model="somebodys.nets:net", rows=("dense",)).specs()
    assert (spec.model, spec.dataset) == ("somebodys_nets_net", "somebodys_nets_net_data")
    assert catalog.dataset(spec.dataset).train_examples == 50 and catalog.dataset(spec.dataset).num_classes == 3


def test_the_command_of_the_page_plans_a_network_of_torchvision(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the command line does; only the speed of this machine is made up."""
    (command,) = [line for line in PAGE if line.startswith("make plan") and "torchvision" in line]
    given = dict(word.split("=", 1) for word in command.split()[2:])
    words = [given.pop("TABLE"), *(word for key, value in given.items() for word in (f"--{key.lower()}", value))]
    monkeypatch.setattr("paper_repro.runs.cost._measured", lambda *given: 1000.0)
    monkeypatch.setattr("sys.argv", ["paper-repro", "plan", *words, "--runs", str(tmp_path)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    out = capsys.readouterr().out
    assert not done.value.code and "on inputs of (3, 32, 32)" in out and "1,512,072 weights" in out
    assert any(line.startswith("str-90.23 ") and " epoch " in line for line in out.splitlines())


def ids(loader: Loader) -> list[int]:
    """What PAIRS numbers its examples by."""
    return [int(number) for inputs, _ in loader.in_order() for number in inputs[:, 0]]


def test_trials_on_brought_data_see_neither_its_validation_part_nor_what_they_are_scored_on(tmp_path: Path) -> None:
    parts = []
    for _ in range(2):
        brought.bring(plugins.find(written(tmp_path, PAIRS)))
        split = catalog.validation_split("net_data")
        facts = catalog.dataset(split)
        learnt, held_out, fingerprint = catalog.source(split).open(Path(), 8)
        assert (facts.train_examples, facts.val_examples, facts.num_classes) == (45, 5, 3)
        assert len(ids(learnt)) == 45 and len(ids(held_out)) == 5
        assert not {*ids(learnt)} & {*ids(held_out)} and sorted(ids(learnt) + ids(held_out)) == [*range(50)]
        parts.append((ids(learnt), ids(held_out), fingerprint))
        torch.rand(3)
    assert parts[0] == parts[1]
    whole, test, other = catalog.source("net_data").open(Path(), 8)
    assert ids(whole) == [*range(50)] and ids(test) == [*range(1000, 1020)] and other != parts[0][2]


def test_no_batch_of_a_trial_has_a_single_example(tmp_path: Path) -> None:
    """Of 50 examples 45 are learnt from. In batches of 11 the last would have one; in batches of 10 it has five."""
    job = Job("resnet50", model=written(tmp_path, PAIRS), rows=("dense",))
    ((_, spec),) = job.specs()
    trial = tune.on_validation_split(replace(spec, batch_size=11))
    assert trial.batch_size == 10 and steps_per_epoch(trial) == steps_per_epoch(replace(spec, batch_size=11)) == 5
    learnt, _, _ = catalog.source(trial.dataset).open(Path(), trial.batch_size)
    assert [len(labels) for _, labels in learnt.epoch(0, 0)] == [10, 10, 10, 10, 5]
    sizes = [tune.on_validation_split(replace(spec, batch_size=size)).batch_size for size in range(2, 51)]
    assert all(45 % size != 1 for size in sizes)


def test_a_trial_on_brought_data_is_trained_in_a_process_of_its_own(tmp_path: Path) -> None:
    job = Job("resnet50", model=written(tmp_path, PAIRS), rows=("dense",), runs=tmp_path / "runs")
    ((_, spec),) = job.specs()
    trial = replace(tune.on_validation_split(spec), epochs=2, warmup_epochs=0)
    assert trial.dataset == "net_data_validation"
    assert train_named({"trial": trial}, job, Console(width=200)) == {}
    done = record.finished(job.runs / trial.name, trial)
    assert done is not None and done.result.top1_pct is not None


def test_a_single_training_example_cannot_be_divided(tmp_path: Path) -> None:
    brought.bring(plugins.find(written(tmp_path, PAIRS.replace("torch.arange(50)", "torch.tensor([2])"))))
    with pytest.raises(UserError, match=r"the data set of net has a single training example.*leave out TUNE="):
        catalog.validation_split("net_data")


BROKEN = {
    "import nothing_that_is_there": "No module named 'nothing_that_is_there'; install it",
    "def model(:": "net.py, line 1: SyntaxError",
    "MODEL = 1": r"defines no function model\(\)",
    "def model():\n    return 3": "returns int, and not a torch.nn.Module",
    "def model():\n    raise KeyError('width')": r"net.py, line 2 \(in model\) raised KeyError: 'width', "
    "while it was to build",
    "from torch import nn\ndef model():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 3))": r"\(2, 3\), and a "
    r"tensor of shape \(2, 10\)",
    "from torch import nn\ndef model():\n    return nn.Linear(3, 10)": "was to read inputs of shape",
    "from torch import nn\ndef model():\n    return nn.Sequential(nn.Flatten(), nn.LazyBatchNorm1d(), "
    "nn.AdaptiveAvgPool1d(10))": "no convolution or fully connected layer",
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_wrong_with_a_network_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=BROKEN[text]):
        Job("resnet50", model=written(tmp_path, text), rows=("dense",)).specs()


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nowhere.py", "does not exist; MODEL is a Python file"),
        ("no_such_package.nets:unet", "no module no_such_package"),
        ("torchvision.models:resnet5", "defines no function resnet5"),
    ],
)
def test_a_network_that_is_not_there(source: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Job("resnet50", model=source, rows=("dense",)).specs()


def test_a_name_of_this_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is called 'resnet18' already"):
        plugins.find(written(tmp_path, TINY, "resnet18.py"))


DATA = """import torch
from torch import nn
def model():
    return nn.Linear(3, 2)
def data():
    x = torch.zeros(4, 3)
    return """


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ("3", "it returned int"),
        ("(x, x)", "two pairs of tensors"),
        ("(x, x), (x, x)", "labels of both are int64"),
        ("(x.double(), x.long()), (x, x.long())", "float32"),
        ("(x, x[:2, 0].long()), (x, x[:, 0].long())", "as many labels as inputs"),
        ("(x, x[:, 0].long()), (x, x[:, 0].long() + 1)", "classes from 0 on"),
        ("1 / 0", r"net.py, line 7 \(in data\) raised ZeroDivisionError.*while it was to make its data"),
    ],
)
def test_what_is_wrong_with_its_data_is_said(tmp_path: Path, returned: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Job("resnet50", model=written(tmp_path, DATA + returned), rows=("dense",)).specs()


def test_a_run_of_changed_code_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path, TINY)
    ((_, spec),) = Job("resnet50", model=source, rows=("dense",)).specs()
    assert plugins.require(spec.model, spec.model_sha256) is not None
    plugins.load(plugins.find(written(tmp_path, TINY + "# another\n")))
    with pytest.raises(UserError, match="was changed since this run was planned"):
        plugins.require(spec.model, spec.model_sha256)
    assert plugins.require("resnet50", "") is None
