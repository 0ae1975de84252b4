"""Checkpoints of the authors: recognised, kept, and evaluated as a tier. The files are made here, from a published
budget.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from paper_repro import models, tables
from paper_repro.accounting import counted_layers
from paper_repro.data.sets.imagenet1k import ImageNet
from paper_repro.data.sources import sha256
from paper_repro.errors import UserError
from paper_repro.evidence import claims, results, verdicts
from paper_repro.evidence import evidence as ev
from paper_repro.interchange import networks, released
from paper_repro.methods import balance
from paper_repro.tables import CHECKPOINT
from paper_repro.terminal import Console
from paper_repro.workflows import checkpoint_tier, reproduce
from paper_repro.workflows.job import Job
from paper_repro.workflows.released_checkpoints import Candidate, import_file
from tests.interchange.test_released import dense, native, save

Import = Callable[..., tuple[Path, str]]


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A native file of full size with random weights, and the thresholds that give it the budget of row str-89.01."""
    torch.manual_seed(0)
    network = models.mobilenet_v1()
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    for layer, sparsity_pct in tables.budgets("mobilenetv1")["str-89.01"].items():
        weight = counted_layers(network)[layer].weight.detach().abs().flatten().sort().values
        pruned = round(len(weight) * sparsity_pct / 100)
        between = weight[pruned - 1 : pruned + 1].double().mean()
        state[f"module.{layer}.sparseThreshold"] = torch.logit(between).float().reshape(1, 1)
    return save(state, tmp_path_factory.mktemp("released") / "mobilenet é.pth")


@pytest.fixture
def bring(tmp_path: Path) -> Import:
    """bring(file, row=..., table=...) -> (folder, what was said)"""

    def bring(file: Path, row: str | None = None, table: str | None = None) -> tuple[Path, str]:
        said = io.StringIO()
        folder = import_file(file, table, row, tmp_path / "checkpoints", Console(file=said, width=160))
        return folder, said.getvalue()

    return bring


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        "mobilenetv1",
        CHECKPOINT,
        data_root=tmp_path / "data",
        runs=tmp_path / "runs",
        results=tmp_path / "results",
        checkpoints=tmp_path / "checkpoints",
    )


def test_a_full_size_file_is_recognised_by_sparsity_and_macs(mobilenet: Path, bring: Import, tmp_path: Path) -> None:
    folder, said = bring(mobilenet)
    assert folder == tmp_path / "checkpoints" / "mobilenetv1" / "str-89.01"
    for text in (
        "network: mobilenet_v1 (num_classes 1000, width 32, in_channels 3)",
        "native",
        "with 'module.'",
        "sparsity: 89.0",
        "MACs: 41.7",
        "of 28 layers",
        "balance of thresholds, g'(s) L1 / |s|: median ratio ",
        "with the number of kept weights, ",
        f"balance layer by layer: {folder / 'balance.csv'}",
        "epoch 100",
        "best_acc1 74.31",
        "by sparsity str-89.01 (89.01), by MACs str-89.01 (42M)",
        "row: str-89.01, whose printed sparsity and MACs are those of the file",
    ):
        assert text in said
    about = json.loads((folder / networks.IMPORTED).read_text(encoding="utf-8"))
    assert (about["sha256"], about["source"], about["form"]) == (sha256(mobilenet), "mobilenet é.pth", "native")
    kept, original = networks.read(folder).network.state_dict(), released.read(mobilenet).network.state_dict()
    assert all(torch.equal(kept[key], original[key]) for key in original)


def test_the_balance_is_written_down_layer_by_layer(mobilenet: Path, bring: Import) -> None:
    folder, said = bring(mobilenet)
    layers = pd.read_csv(folder / "balance.csv").set_index("layer")
    state = torch.load(mobilenet, weights_only=True)["state_dict"]
    assert list(layers.index) == list(tables.budgets("mobilenetv1")["str-89.01"])
    for name, line in layers.iterrows():
        raw, s = state[f"module.{name}.weight"].double().abs(), state[f"module.{name}.sparseThreshold"].double()
        t = float(torch.sigmoid(s))
        kept = raw[raw > t]
        assert line["kept_weights"] == len(kept) and line["threshold"] == pytest.approx(t, rel=1e-4)
        assert line["kept_l1"] == pytest.approx(float(kept.sum()), rel=1e-4)
        assert line["implied_l1"] == pytest.approx(abs(float(s)) / (t * (1 - t)), rel=1e-4)
        assert line["balance"] == pytest.approx(line["kept_l1"] / line["implied_l1"], rel=1e-4)
    r = np.corrcoef(np.log(layers["implied_l1"]), np.log(layers["kept_l1"]))[0, 1]
    assert f"{r:.3f} with the measured norm" in said


def test_a_row_can_be_named_and_a_wrong_one_is_said(mobilenet: Path, bring: Import, tmp_path: Path) -> None:
    folder, said = bring(mobilenet, row="str-75.28")
    assert folder.name == "str-75.28" and "are not those of the file" in said
    with pytest.raises(UserError, match=r"Did you mean 'str-89\.01'"):
        bring(mobilenet, row="str-89.10")
    with pytest.raises(UserError, match="is of mobilenet_v1, which resnet50 is not"):
        bring(mobilenet, table="resnet50")
    small = models.resnet18(num_classes=7, width=8)
    with pytest.raises(UserError, match=r"is of resnet18, and no table .* is; those are: .*resnet50 \(resnet50\)"):
        bring(save(dict(small.state_dict()), tmp_path / "small.pth"))
    with pytest.raises(UserError, match="unknown table with a tier checkpoint 'rnn'"):
        bring(mobilenet, table="rnn")


def test_a_narrow_network_is_kept_under_its_own_name_and_is_no_row(tmp_path: Path, bring: Import) -> None:
    state = native()
    folder, said = bring(save(state, tmp_path / "mine[v2].pth"))
    assert (folder.parent.name, folder.name) == ("resnet50", "mine[v2]") and "row: none" in said
    assert f"kept in {folder}\n" in said
    _, said = bring(tmp_path / "mine[v2].pth")
    assert "takes the place" not in said
    _, said = bring(save(dense(state), tmp_path / "mine[v2].pth"))
    assert "it takes the place of another file, mine[v2].pth (sha256 " in said
    assert "dense-converted" in said and "thresholds g(s)" not in said
    with pytest.raises(UserError, match="and this one has num_classes 7, width 8"):
        bring(save(state, tmp_path / "mine.pth"), row="str-90.23")


def test_a_file_of_no_row_that_has_the_name_of_one_does_not_take_its_place(tmp_path: Path, bring: Import) -> None:
    """Tier checkpoint goes by the names of folders."""
    for name in ("str-90.23", "gmp-80"):
        folder, said = bring(save(native(), tmp_path / f"{name}.pth"))
        assert folder == tmp_path / "checkpoints" / "resnet50" / f"{name}-no-row" and "row: none" in said
    assert not (tmp_path / "checkpoints" / "resnet50" / "str-90.23").exists()


def test_the_balances_of_a_file_are_computed_once(
    tmp_path: Path, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = balance.implied_l1, []

    def implied_l1(threshold: float) -> float:
        asked.append(threshold)
        return real(threshold)

    monkeypatch.setattr(balance, "implied_l1", implied_l1)
    folder, said = bring(save(native(), tmp_path / "mine.pth"))
    assert "the L1 norm that thresholds imply" in said
    assert len(asked) == len(pd.read_csv(folder / "balance.csv"))


def test_the_nearest_row_is_one_that_the_authors_trained(tmp_path: Path) -> None:
    """GMP and others print sparsities of their own, 90.00 for example."""
    found = released.read(save(native(), tmp_path / "mine.pth"))
    candidate = Candidate(found, tables.load("resnet50"), (3, 224, 224), {"sparsity_pct": 90.01})
    assert candidate.nearest("sparsity_pct", "sparsity_pct") == "str-90.23 (90.23)"


def test_without_any_checkpoint_the_tier_says_how_to_get_one(job: Job) -> None:
    with pytest.raises(UserError, match="checkpoint import FILE"):
        checkpoint_tier.reproduce(job, Console(quiet=True))


def test_without_data_all_but_accuracy_is_compared(mobilenet: Path, bring: Import, job: Job) -> None:
    bring(mobilenet)
    said = io.StringIO()
    with pytest.raises(UserError, match=r"accuracy of the checkpoints was not measured: .*ImageNet"):
        reproduce.reproduce(job, Console(file=said, width=200))
    (line,) = (line for line in said.getvalue().splitlines() if line.startswith("str-89.01"))
    assert line.split() == [
        "str-89.01",
        "STR",
        "62.10",
        "–",
        "89.01",
        "89.01",
        "0.46",
        "0.463",
        "42M",
        "41.7",
        *line.split()[-2:],
    ]
    assert line.endswith("checkpoint  MISSING")
    assert not results.path(job.results, job.table, CHECKPOINT).exists()


class Validation:
    """Eight images in two batches; the second is not full."""

    def in_order(self):
        images = torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        yield from zip(images.split(5), torch.arange(8).split(5), strict=True)


def test_the_tier_from_end_to_end(
    mobilenet: Path, bring: Import, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr(ImageNet, "ensure", lambda self, root, say: root)
    monkeypatch.setattr(ImageNet, "open", lambda self, root, size: (None, Validation(), "cd" * 32))
    monkeypatch.setattr(checkpoint_tier, "show", lambda job, console: shown.append(job))
    monkeypatch.setattr(
        checkpoint_tier.Subject,
        "evaluated",
        lambda self, real=checkpoint_tier.Subject.evaluated: real(self) or shown.append("no"),
    )
    bring(mobilenet)
    assert reproduce.reproduce(job, Console(quiet=True)) == 0
    assert shown == ["no", job]
    file = results.path(job.results, job.table, CHECKPOINT)
    (line,) = results.read(file).to_dict("records")
    assert (line["row"], line["tier"], line["seed"], line["status"]) == ("str-89.01", CHECKPOINT, 0, "finished")
    assert line["checkpoint_sha256"] == sha256(mobilenet) and line["dataset_sha256"] == "cd" * 32
    network = released.read(mobilenet).network.eval()
    with torch.no_grad():
        correct = [network(images).argmax(1) == labels for images, labels in Validation().in_order()]
    assert line["top1_pct"] == 100.0 * float(torch.cat(correct).double().mean())
    assert line["sparsity_pct"] == pytest.approx(89.01, abs=0.01)
    layers = results.read(results.path(job.results, job.table, CHECKPOINT, "budgets"), "budgets")
    assert len(layers) == 28 and layers["threshold"].gt(0).all()
    last, raw = layers.iloc[-1], torch.load(mobilenet, weights_only=True)["state_dict"]["module.fc.weight"].abs()
    l1 = float(raw[raw > last["threshold"]].double().sum())
    t = float(last["threshold"])
    assert last["kept_l1"] == pytest.approx(l1, rel=1e-4)
    assert last["balance"] == pytest.approx(t * (1 - t) * l1 / -math.log(t / (1 - t)), rel=1e-3)

    found = ev.load(job.table, CHECKPOINT, job.results)
    compared = {row.row: row for row in verdicts.comparisons(found)}
    cells = compared["str-89.01"].quantities
    assert [cells[name].verdict for name in ("top1_pct", "sparsity_pct", "params_m", "macs_m")] == [
        "FAIL",
        "PASS",
        "PASS",
        "PASS",
    ]
    assert compared["str-75.28"].quantities["top1_pct"].verdict == "MISSING"
    ours = {claim.id: claim.verdict for claim in claims.check(found) if claim.tier == CHECKPOINT}
    assert ours["budget-shape"] != "MISSING" and ours["sparsity-after-onset"] == "UNTESTED"  # there is no history

    monkeypatch.setattr(ImageNet, "open", lambda *given: pytest.fail("evaluated once more"))
    assert reproduce.reproduce(job, Console(quiet=True)) == 0
    with monkeypatch.context() as failing:
        failing.setattr(checkpoint_tier, "write_audit", lambda job, console: False)
        assert reproduce.reproduce(job, Console(quiet=True)) == 1
    state = torch.load(mobilenet, weights_only=True)["state_dict"]
    state["module.model.0.0.sparseThreshold"] -= 1e-4
    bring(save(state, tmp_path / "changed.pth"), row="str-89.01")
    (changed,) = checkpoint_tier.subjects(job)
    assert not changed.evaluated()


def test_a_checkpoint_imported_before_balance_was_kept_is_measured_without_it(
    mobilenet: Path, bring: Import, job: Job
) -> None:
    folder, _ = bring(mobilenet)
    about = json.loads((folder / networks.IMPORTED).read_text(encoding="utf-8"))
    del about["balances"]
    (folder / networks.IMPORTED).write_text(json.dumps(about), encoding="utf-8")
    (subject,) = checkpoint_tier.subjects(job)
    _, layers = subject.size()
    assert len(layers) == 28 and all(layer.balance is None for layer in layers)


def test_a_number_that_the_audit_knows_to_be_wrong_is_an_erratum_when_it_is_measured(tmp_path: Path) -> None:
    """The paper prints 4.47 M parameters for str-81.27, whose layers leave 4.776 M."""
    found = ev.load("resnet50", CHECKPOINT)
    values = {"top1_pct": 76.12, "sparsity_pct": 81.2733, "sparse_macs_m": 705.3}
    for params, verdict in ((4.776, "ERRATUM"), (5.5, "FAIL")):
        line = {"row": "str-81.27", "seed": 0, "status": "finished", "dataset": "imagenet1k", "options": "", **values}
        runs = results.empty().reindex([0]).assign(**line, nonzero_params_m=params)
        (row,) = (row for row in verdicts.comparisons(replace(found, runs=runs)) if row.row == "str-81.27")
        assert row.quantities["params_m"].verdict == verdict
        assert row.quantities["macs_m"].verdict == "PASS"
