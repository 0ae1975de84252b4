"""The spec: its canonical text names the run, and nothing that cannot change the outcome is in it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from paper_repro.errors import UserError
from paper_repro.spec import Spec

BASE = {
    "model": "resnet50",
    "dataset": "fashion_mnist",
    "method": "str",
    "method_args": {"s_init": -20.0},
    "epochs": 2,
    "batch_size": 128,
    "lr": 0.128,
    "weight_decay": 4e-3,
    "warmup_epochs": 0,
}


def test_name_is_stable() -> None:
    """A change of this name would train every finished run again: only change it knowingly."""
    assert Spec(**BASE).name == "str-resnet50-fashion_mnist-7675242d-s0"


def test_defaults_are_left_out_so_that_new_fields_rename_nothing() -> None:
    given = json.loads(Spec(**BASE).canonical())
    assert "momentum" not in given and "seed" not in given and given["warmup_epochs"] == 0
    assert Spec(**BASE, momentum=0.875, optimizer="sgd").name == Spec(**BASE).name


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.1},
        {"method_args": {"s_init": -21.0}},
        {"model_args": {"width": 8}},
        {"momentum": 0.9},
        {"nesterov": True},
        {"optimizer": "adam"},
        {"optimizer": "adamw"},
        {"seed": 1},
    ],
)
def test_whatever_changes_the_outcome_changes_the_name(change: dict) -> None:
    assert Spec(**{**BASE, **change}).name != Spec(**BASE).name


def test_seeds_of_one_recipe_share_the_hash() -> None:
    spec = Spec(**BASE)
    assert replace(spec, seed=7).name == spec.name.removesuffix("s0") + "s7"


def test_survives_json_and_the_order_of_keys() -> None:
    spec = Spec(**BASE, model_args={"width": 8})
    again = Spec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec and again.name == spec.name
    assert Spec(**BASE, model_args={"width": 8}).name == spec.name
    gmp = replace(spec, method="gmp", method_args={"sparsity_pct": 90.0, "keep_dense": ("first",)})
    assert Spec.from_dict(json.loads(json.dumps(gmp.to_dict()))) == gmp


def test_differences_are_listed() -> None:
    assert Spec(**BASE).differences(Spec(**{**BASE, "lr": 0.1})) == {"lr": (0.128, 0.1)}


@pytest.mark.parametrize(
    "values, message",
    [
        ({**BASE, "weight_decy": 1.0}, "Did you mean 'weight_decay'"),
        ({key: value for key, value in BASE.items() if key != "lr"}, "lacks lr"),
        ({**BASE, "schedule": "epochs"}, "Did you mean 'epoch'"),
        ({**BASE, "epochs": 0}, "epochs = 0"),
        ({**BASE, "lr": float("nan")}, "lr = nan"),
        ({**BASE, "nesterov": True, "momentum": 0.0}, "momentum = 0.0"),
        ({**BASE, "nesterov": True, "optimizer": "adam"}, "nesterov = True"),
        ({**BASE, "optimizer": "adamm"}, "Did you mean 'adam"),
        ({**BASE, "warmup_epochs": 2}, "warmup_epochs = 2"),
        ({**BASE, "weight_decay": -1.0}, "weight_decay = -1"),
    ],
)
def test_bad_values_say_what_is_wrong(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Spec.from_dict(values)


def test_options_are_a_text_and_back() -> None:
    spec = Spec(**BASE)
    assert spec.options == "" and spec.with_options("") == spec
    text = "loader=ffcv autocast=bf16 channels_last=true compile=true"
    other = spec.with_options(text)
    assert other.options == text and other.name != spec.name
    assert other == replace(spec, loader="ffcv", autocast="bf16", channels_last=True, compile=True)
    assert replace(spec, lr=0.1).with_options("compile=true").options == "compile=true"
    assert other.with_options("autocast=float32") == replace(other, autocast="")
    assert other.with_no_other_options("autocast=fp16") == replace(spec, autocast="fp16")
    with pytest.raises(UserError, match="Did you mean 'autocast'"):
        spec.with_options("autocst=bf16")
