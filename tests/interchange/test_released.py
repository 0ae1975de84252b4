"""The authors' checkpoint format, in files made here the way their code and PyTorch 1.3 made them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from paper_repro import budgets, models
from paper_repro.accounting import account, counted_layers
from paper_repro.errors import UserError
from paper_repro.interchange import released, weight_files
from paper_repro.interchange.export import torchvision_state
from tests.reference.soft_threshold import soft_threshold

State = dict[str, Any]
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "resnet50": lambda: models.resnet50(num_classes=7, width=8),
    "resnet18": lambda: models.resnet18(num_classes=7, width=8),
    "mobilenet_v1": lambda: models.mobilenet_v1(num_classes=7, width=8),
}


def native(name: str = "resnet50", prefix: str = "module.") -> State:
    """Raw weights and a threshold for each layer, of a network that ends about half sparse."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    state = {f"{prefix}{key}": value.clone() for key, value in network.state_dict().items()}
    for layer, module in counted_layers(network).items():
        s = torch.logit(module.weight.detach().abs().flatten().quantile(0.5).clamp(max=0.9))
        state[f"{prefix}{layer}.sparseThreshold"] = s.reshape(1, 1)
    return state


def weights_of(state: State) -> dict[str, Tensor]:
    """Layer's key, without a prefix -> soft-thresholded weight, by the plain formula."""
    found = {}
    for key in [key for key in state if key.endswith("sparseThreshold")]:
        weight = key.replace("sparseThreshold", "weight")
        found[weight] = soft_threshold(state[weight], torch.sigmoid(state[key]))
    return found


def dense(state: State) -> State:
    """As the authors' ``--dense-conv-model`` converts."""
    return {key: value for key, value in state.items() if "sparse" not in key} | weights_of(state)


def doubled(state: State) -> State:
    return state | {key.replace(".weight", ".sparseWeight"): value for key, value in weights_of(state).items()}


def save(state: State, file: Path, old: bool = True) -> Path:
    content = {
        "epoch": 100,
        "arch": "ResNet50",
        "state_dict": state,
        "best_acc1": 74.31,
        "curr_acc1": 74.25,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("prefix", ["module.", "", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_form_gives_the_network_that_was_evaluated(tmp_path: Path, name: str, prefix: str, old: bool) -> None:
    state = native(name, prefix)
    expected = {key.removeprefix(prefix): value for key, value in dense(state).items()}
    for form, content in (("native", state), ("doubled", doubled(state)), ("dense", dense(state))):
        found = released.read(save(content, tmp_path / f"{form}.pt", old))
        assert (found.model, found.weights.form, found.weights.prefix) == (name, form, prefix)
        assert found.model_args == {"num_classes": 7, "width": 8, "in_channels": 3}
        assert found.stated == {"epoch": 100, "arch": "ResNet50", "best_acc1": 74.31, "curr_acc1": 74.25}
        mine = found.network.state_dict()
        assert mine.keys() == expected.keys()
        assert all(torch.equal(mine[key], expected[key]) for key in expected)
        layers = counted_layers(found.network)
        assert list(found.weights.thresholds) == ([] if form == "dense" else list(layers))


def test_native_and_dense_files_have_the_same_account(tmp_path: Path) -> None:
    state = native()
    accounts = [
        account(released.read(save(content, tmp_path / "a.pt")).network, (3, 32, 32))
        for content in (state, dense(state))
    ]
    assert accounts[0] == accounts[1]
    assert 45.0 < accounts[0].sparsity_pct < 55.0


def test_thresholds_are_those_of_the_sigmoid(tmp_path: Path) -> None:
    state = native()
    state["module.conv1.sparseThreshold"] = torch.full((1, 1), -3200.0)
    state["module.fc.sparseThreshold"] = torch.full((1, 1), -5.0)
    found = released.read(save(state, tmp_path / "a.pt"))
    assert found.weights.thresholds["conv1"] == 0.0
    assert found.weights.thresholds["fc"] == pytest.approx(0.0066928509)
    assert torch.equal(found.network.conv1.weight, state["module.conv1.weight"])


def test_thresholds_of_a_wider_file_are_as_wide(tmp_path: Path) -> None:
    state = native()
    state["module.fc.weight"] = state["module.fc.weight"].double()
    state["module.fc.sparseThreshold"] = torch.full((1, 1), -5.1, dtype=torch.float64)
    found = released.read(save(state, tmp_path / "a.pt"))
    assert found.weights.thresholds["fc"] == pytest.approx(1.0 / (1.0 + math.exp(5.1)), rel=1e-14)


def test_balance_is_measured_on_the_raw_weights_of_a_native_file(tmp_path: Path) -> None:
    """By hand: threshold sigmoid(-2) = 0.1192; 0.75 and -0.5 are kept, 0.1 is not; ratio = t (1 - t) L1 / 2."""
    state = native()
    weight = torch.zeros_like(state["module.fc.weight"])
    weight.view(-1)[:3] = torch.tensor([0.75, -0.5, 0.1])
    state |= {"module.fc.weight": weight, "module.fc.sparseThreshold": torch.full((1, 1), -2.0)}
    for content in (state, doubled(state)):
        found = released.read(save(content, tmp_path / "a.pt")).weights.balances
        assert list(found) == list(counted_layers(NETWORKS["resnet50"]()))
        assert found["fc"] == (1.25, pytest.approx(0.119203 * (1 - 0.119203) * 1.25 / 2, rel=1e-5))
    assert released.read(save(dense(state), tmp_path / "a.pt")).weights.balances == {}


def test_a_bare_state_dict_is_read(tmp_path: Path) -> None:
    torch.save(native(), tmp_path / "a.pt")
    assert released.read(tmp_path / "a.pt").stated == {}


@pytest.mark.parametrize("holder", ["state_dict", "model", "model_state_dict"])
def test_a_state_dict_is_found_where_others_keep_it(tmp_path: Path, holder: str) -> None:
    """Without the counters of batch norm, too, which older files lack."""
    state = {key: value for key, value in native("mobilenet_v1").items() if "num_batches" not in key}
    torch.save({holder: state, "model_ema": None}, tmp_path / "a.tar")
    expected = released.read(save(native("mobilenet_v1"), tmp_path / "b.pt")).network.state_dict()
    found = released.read(tmp_path / "a.tar").network.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("form", ["torchvision's", "safetensors"])
def test_what_the_project_exports_is_read(tmp_path: Path, form: str) -> None:
    network = released.read(save(native(), tmp_path / "a.pt")).network
    if form == "safetensors":
        file = weight_files.write_weights(torchvision_state(network), tmp_path / "model.safetensors")
    else:
        file = tmp_path / "torchvision_resnet50.pth"
        torch.save(torchvision_state(network), file)
    found = released.read(file).network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())
    sparsity_pct = {layer.name: layer.sparsity_pct for layer in account(network, (3, 32, 32)).layers}
    assert dict(budgets.load(str(file), network)) == pytest.approx(sparsity_pct)
    biased = torchvision_state(network) | {"fc.bias": torch.ones(7)}
    torch.save(biased, tmp_path / "biased.pth")
    with pytest.raises(UserError, match=r"fc\.bias"):
        released.read(tmp_path / "biased.pth")


def without(key: str) -> Callable[[State], None]:
    return lambda state: state.pop(key)


def having(key: str, value: object) -> Callable[[State], None]:
    return lambda state: state.update({key: value})


@pytest.mark.parametrize(
    "change, message",
    [
        (without("module.layer2.1.conv3.weight"), "layer2.1.conv3.sparseThreshold"),
        (without("module.layer2.1.bn3.bias"), "missing: layer2.1.bn3.bias"),
        (without("module.layer3.0.conv2.sparseThreshold"), "missing: layer3.0.conv2.sparseThreshold"),
        (without("module.conv1.weight"), "conv1"),
        (having("module.fc.bias", torch.zeros(7)), "not expected: fc.bias"),
        (having("module.extra", torch.zeros(1)), "not expected: extra"),
        (having("module.bn1.sparseThreshold", torch.zeros(1, 1)), "not expected: bn1.sparseThreshold"),
        (having("module.conv1.sparseThreshold", torch.zeros(8)), r"shape than \(1, 1\): conv1.sparseThreshold"),
        (having("module.bn1.weight", torch.zeros(9)), r"bn1.weight \(9,\), not \(8,\)"),
        (having("module.fc.weight", torch.zeros(7, 256)), r"not expected: fc.sparseThreshold"),
        (having("module.bn1.weight", torch.full((8,), float("nan"))), "not finite: bn1.weight"),
        (having("bn1.extra", torch.zeros(1)), "unlike others: bn1.extra"),
        (having("module.note", "text"), "no tensor: module.note"),
    ],
)
def test_a_key_that_does_not_fit_is_named(tmp_path: Path, change: Callable[[State], None], message: str) -> None:
    state = native()
    change(state)
    with pytest.raises(UserError, match=message):
        released.read(save(state, tmp_path / "a.pt"))


def test_all_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    state = native()
    state |= {"module.extra": torch.zeros(1), "module.other": torch.zeros(1), "module.bn1.bias": torch.zeros(9)}
    del state["module.layer1.0.bn1.bias"]
    with pytest.raises(UserError) as error:
        released.read(save(state, tmp_path / "a.pt"))
    assert all(word in str(error.value) for word in ("extra, other", "missing: layer1.0.bn1.bias", "bn1.bias (9,)"))


def test_a_copy_may_differ_by_rounding_and_no_more(tmp_path: Path) -> None:
    state = doubled(native())
    copy = state["module.layer1.0.conv1.sparseWeight"]
    copy += 1e-8
    released.read(save(state, tmp_path / "a.pt"))
    copy[0, 0] += 1e-3
    with pytest.raises(UserError, match=r"layer1\.0\.conv1\.sparseWeight$"):
        released.read(save(state, tmp_path / "a.pt"))


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("old", [True, False])
def test_a_malicious_file_is_refused_and_executes_nothing(tmp_path: Path, old: bool) -> None:
    file, trace = tmp_path / "evil.pt", tmp_path / "executed"
    save(native() | {"module.x": Evil(trace)}, file, old)
    with pytest.raises(UserError, match=r"asks for \S+.*nothing in it was executed.*convert it offline") as error:
        released.read(file)
    assert "will likely succeed" not in str(error.value)  # PyTorch's advice to read it unsafely
    assert not trace.exists()
    torch.load(file, weights_only=False)  # it would have been
    assert trace.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short", b"\x80\x02}q\x01."])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pt cannot be read as a checkpoint: it is cut short, damaged, or no file"):
        released.read(tmp_path / "a.pt")


def test_a_file_cut_in_half_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    file = save(native(), tmp_path / "a.pt")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for path in (file, tmp_path, tmp_path / "none.pt"):
        with pytest.raises(UserError, match=r"is a folder|does not exist|cannot be read"):
            released.read(path)


def test_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"no network that is known here .* it has weight, bias$"):
        released.read(tmp_path / "a.pt")
    torch.save({f"layer{index}": torch.zeros(1) for index in range(1000)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"layer7 and 992 more$"):
        released.read(tmp_path / "a.pt")
