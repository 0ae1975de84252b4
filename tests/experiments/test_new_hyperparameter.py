"""A hyperparameter is added in one place, as a field of Spec: any TOML file may then set it, and training has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.experiments import recipe
from paper_repro.spec import Spec
from paper_repro.training import step
from paper_repro.training.schedule import learning_rate
from tests.tables_copy import Edit
from tests.training.test_step import difference, taken
from tests.training.tiny import SPEC, install


@dataclass(frozen=True, kw_only=True)
class Floored(Spec):
    """Specs with one more hyperparameter: the learning rate does not fall below ``lr_floor``."""

    lr_floor: Annotated[float, Field(ge=0, lt=1)] = 0.0


@pytest.fixture(autouse=True)
def floored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "Spec", Floored)


TIER = ("[tiers.smoke]\n", "[tiers.smoke]\nlr_floor = 0.125\n")
METHOD = ("\nrigl = { ", "\nrigl = { lr_floor = 0.25, ")
ARGUMENTS = "method_args = { sparsity_pct = 90.0 } }"
ROW = (f'{{ row = "rigl-90", {ARGUMENTS}', f'{{ row = "rigl-90", lr_floor = 0.5, {ARGUMENTS}')


def specs(edit: Edit, *changes: tuple[str, str]) -> Mapping[str, Floored]:
    """Row -> spec of table resnet50 at tier smoke, with these changes of its file."""
    path = edit("resnet50.toml", *TIER)
    for old, new in changes:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
    return {id: plan.spec for id, plan in tables.load("resnet50").tier("smoke").rows.items()}


def test_it_stands_in_any_section_and_the_more_particular_one_holds(edit: Edit) -> None:
    now = specs(edit, METHOD, ROW)
    floors = {id: now[id].lr_floor for id in ("dense", "gmp-90", "rigl-95", "rigl-90")}
    assert floors == {"dense": 0.125, "gmp-90": 0.125, "rigl-95": 0.25, "rigl-90": 0.5}
    family = tables.load("family").tier("smoke").rows  # it takes the protocol of resnet50
    assert {family[id].spec.lr_floor for id in ("rigl-99", "rigl-95")} == {0.25}
    assert family["set-90"].spec.lr_floor == 0.125


def test_a_run_that_leaves_it_out_keeps_its_name_and_one_that_sets_it_has_another(edit: Edit) -> None:
    plain = {"model": "resnet18", "dataset": "cifar10", "method": "dense", "epochs": 9, "batch_size": 64, "lr": 0.1}
    old, new = Spec(**plain, weight_decay=0.0), Floored(**plain, weight_decay=0.0)
    assert old.name == new.name != replace(new, lr_floor=0.1).name
    assert Floored.from_dict(new.to_dict()) == new


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("lr_floor = 0.125", "lr_floor = 2", r"\[tiers\.smoke\], key 'lr_floor' = 2"),
        ("lr_floor = 0.125", "lr_flor = 0.125", r"\[tiers\.smoke\]: unknown key 'lr_flor'\. Did you mean 'lr_floor'"),
        ("\nrigl = { ", '\nrigl = { lr_floor = "low", ', r"\[tiers\.smoke\.methods\] rigl, key 'lr_floor' = 'low'"),
        (ROW[0], ROW[1].replace("0.5", "-1.0"), r"rows, 'rigl-90', key 'lr_floor' = -1\.0"),
    ],
)
def test_what_is_wrong_with_it_is_said_with_its_place(edit: Edit, old: str, new: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        specs(edit, (old, new))
    assert "resnet50.toml" in str(error.value)


def test_it_trains(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line of training that uses it, and three steps with what the TOML file says."""
    install(monkeypatch)

    def with_floor(spec: Floored, index: int, per_epoch: int) -> float:
        return max(spec.lr_floor, learning_rate(spec, index, per_epoch))

    monkeypatch.setattr(step, "learning_rate", with_floor)
    small = {"model": SPEC.model, "model_args": SPEC.model_args, "batch_size": SPEC.batch_size, "lr": SPEC.lr}
    tiny = replace(specs(edit)["dense"], **small)
    low, high = taken(replace(tiny, lr_floor=0.0), count=3)[0], taken(tiny, count=3)[0]
    assert tiny.lr_floor == 0.125 > tiny.lr and difference(low, high) > 0.01
    assert difference(low, taken(replace(tiny, lr_floor=0.01), count=3)[0]) == 0.0  # below what the schedule has
