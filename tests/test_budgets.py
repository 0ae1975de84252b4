"""Budgets from every source, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paper_repro import budgets, methods, models, tables
from paper_repro.accounting import account, counted_layers
from paper_repro.errors import UserError
from paper_repro.record import Layer
from paper_repro.terminal import Console
from paper_repro.workflows.released_checkpoints import import_file
from tests.interchange.test_released import native, save, weights_of
from tests.made_up_record import finished, leave
from tests.training.tiny import SPEC


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.resnet50(num_classes=10, width=8, in_channels=1, last_stride=1)


LAYERS = counted_layers(network())


def test_a_published_budget() -> None:
    assert dict(budgets.load("str-90.23", network())) == dict(tables.budgets("resnet50")["str-90.23"])


@pytest.mark.parametrize("source", ["uniform:90", "erk:90"])
def test_a_rule(source: str) -> None:
    model = network()
    sparse = account(model, (1, 28, 28)).with_budget(budgets.load(source, model))
    assert sparse.sparsity_pct == pytest.approx(90.0)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    budget = budgets.load("str-98.05", network())
    file = budgets.save(budget, tmp_path / "budget é.csv")
    assert dict(budgets.load(str(file), network())) == dict(budget)


def test_a_finished_run_and_a_state_dict_give_the_budget_that_was_measured(tmp_path: Path) -> None:
    model = network()
    method = methods.get("gmp", sparsity_pct=80.0, keep_dense=["first"])
    method.attach(model)
    for step in range(10):
        method.before_step(model, step, 10)
    plain = method.finalize(model)
    layers = account(plain, (1, 28, 28)).layers
    measured = [
        Layer(layer=layer.name, params=layer.params, macs=layer.macs, sparsity_pct=layer.sparsity_pct)
        for layer in layers
    ]
    run = leave(tmp_path, SPEC, finished(SPEC), measured)
    torch.save(plain.state_dict(), tmp_path / "model.pt")
    expected = {layer.name: layer.sparsity_pct for layer in layers}
    assert dict(budgets.load(str(run), network())) == expected
    assert dict(budgets.load(str(tmp_path / "model.pt"), network())) == pytest.approx(expected)


def test_a_released_checkpoint_and_its_import_give_the_budget_of_the_weights_that_it_computes_with(
    tmp_path: Path,
) -> None:
    state = native()
    file = save(state, tmp_path / "released.pth")
    expected = {
        key.removeprefix("module.").removesuffix(".weight"): 100.0 * float((weight == 0).double().mean())
        for key, weight in weights_of(state).items()
    }
    assert all(45.0 < sparsity_pct < 55.0 for sparsity_pct in expected.values())
    model = models.resnet50(num_classes=7, width=8)
    assert dict(budgets.load(str(file), model)) == pytest.approx(expected)
    folder = import_file(file, None, None, tmp_path / "checkpoints", Console(quiet=True))
    for source in (folder, folder / "model.safetensors"):
        assert dict(budgets.load(str(source), model)) == pytest.approx(expected)
    with pytest.raises(UserError, match="another network: it has no"):
        budgets.load(str(folder), models.mobilenet_v1(width=8))


def test_any_method_that_takes_a_budget_takes_it() -> None:
    model = network()
    budget = budgets.load("erk:95", model)
    for name in ("gmp", "dnw", "dpf", "set", "rigl", "snfs", "dsr"):
        model = methods.get(name, budget=budget).attach(network())
        assert account(methods.get(name, budget=budget).finalize(model), (1, 28, 28)).params > 0


@pytest.mark.parametrize(
    "content, message",
    [
        ("layer,percent\nconv1,1\n", "column 'sparsity_pct' is missing"),
        ("layer,sparsity_pct\nconv1,much\n", "line 2, column 'sparsity_pct': 'much'"),
        ("layer,sparsity_pct\nconv1,1\nconv1,2\n", "line 3, column 'layer': 'conv1' is already on line 2"),
        ("layer,sparsity_pct\nconv1,101\n", "less than or equal to 100"),
        ("layer,sparsity_pct\nconv1,10\n", "does not fit the network"),
        ("", "empty; a header line"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "budget.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        budgets.load(str(tmp_path / "budget.csv"), network())


@pytest.mark.parametrize(
    "source, message",
    [
        ("str-90.32", "Did you mean 'str-90.23'"),
        ("erk:ninety", "'ninety' is no sparsity"),
        ("nowhere.csv", "does not exist"),
        ("nowhere.pt", "does not exist"),
        ("nowhere.safetensors", "does not exist"),
    ],
)
def test_a_source_that_is_none_says_so(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        budgets.load(source, network())


def test_a_malicious_pickle_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"is refused: .* nothing in it was executed"):
        budgets.load(str(tmp_path / "evil.pt"), network())


def test_a_diverged_run_has_no_budget(tmp_path: Path) -> None:
    run = leave(tmp_path, SPEC, finished(SPEC, status="diverged"))
    with pytest.raises(UserError, match="diverged"):
        budgets.load(str(run), network())
