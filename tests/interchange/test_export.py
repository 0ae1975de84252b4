"""What leaves the project: every file is read by the library that it is meant for, and gives the same logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from paper_repro import models
from paper_repro.errors import UserError
from paper_repro.interchange import export as exporting
from paper_repro.interchange import networks, weight_files
from paper_repro.interchange.export import Exported, export
from paper_repro.interchange.networks import Imported
from tests.made_up_record import finished, leave
from tests.training.tiny import SPEC


def kept(folder: Path, model: str, input_size: tuple[int, ...], **arguments: int) -> tuple[Path, torch.nn.Module]:
    """A network with a third of its weights zero, and batch norms that do something, as an imported checkpoint."""
    torch.manual_seed(0)
    network = models.get(model, **arguments)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            with torch.no_grad():
                module.weight.mul_(torch.rand_like(module.weight) > 1 / 3)
    about = Imported(
        source="x.pth", sha256="0" * 64, form="dense", model=model, model_args=arguments, input_size=input_size
    )
    networks.keep(network, about, folder)
    return folder, network.eval()


def written(folder: Path, out: Path) -> tuple[dict[str, Exported], list[str]]:
    items = list(export(folder, out))
    files = {item.path.name: item for item in items if isinstance(item, Exported)}
    return files, [item for item in items if isinstance(item, str)]


def test_torchvision_loads_its_state_dict_and_all_three_give_the_same_logits(tmp_path: Path) -> None:
    folder, network = kept(tmp_path, "resnet18", (3, 64, 64), num_classes=5)
    files, notes = written(folder, tmp_path / "out")
    assert list(files) == ["torchvision_resnet18.pth", "model.safetensors", "model.onnx"] and notes == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(files)
    assert all(item.difference <= 1e-5 * item.largest and item.largest > 0.1 for item in files.values())
    inputs = torch.randn(3, 3, 64, 64)
    expected = network(inputs)
    for state in (
        torch.load(tmp_path / "out" / "torchvision_resnet18.pth", weights_only=True),
        weight_files.read_weights(tmp_path / "out" / "model.safetensors"),
    ):
        theirs = torchvision.models.resnet18(num_classes=5)
        theirs.load_state_dict(state)
        assert torch.allclose(theirs.eval()(inputs), expected, rtol=1e-4, atol=1e-4)
        assert state["fc.weight"].shape == (5, 512) and not state["fc.bias"].any()
        same = torch.equal(state["layer1.0.conv1.weight"], network.state_dict()["layer1.0.conv1.weight"])
        assert same and (state["layer1.0.conv1.weight"] == 0).any()
    run = exporting.run_onnx(tmp_path / "out" / "model.onnx", inputs)
    assert torch.allclose(run, expected, rtol=1e-4, atol=1e-4)


def test_the_names_and_shapes_of_resnet50_are_torchvisions() -> None:
    with torch.device("meta"):
        mine, theirs = models.resnet50(), torchvision.models.resnet50()
    state = exporting.torchvision_state(mine)
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


@pytest.mark.parametrize(
    ("model", "input_size", "arguments", "reason"),
    [
        ("resnet18", (1, 28, 28), {"width": 4, "in_channels": 1, "last_stride": 1}, "this one has 4, 1 and 1"),
        ("mobilenet_v1", (3, 32, 32), {"width": 8}, "it has no mobilenet_v1"),
        ("fastgrnn", (5, 9), {"hidden": 6}, "it has no fastgrnn"),
    ],
)
def test_a_network_that_torchvision_lacks_leaves_in_two_forms(
    tmp_path: Path, model: str, input_size: tuple[int, ...], arguments: dict[str, int], reason: str
) -> None:
    folder, network = kept(tmp_path, model, input_size, num_classes=3, **arguments)
    files, notes = written(folder, tmp_path / "out")
    assert list(files) == ["model.safetensors", "model.onnx"]
    assert len(notes) == 1 and reason in notes[0]
    assert weight_files.read_weights(files["model.safetensors"].path).keys() == network.state_dict().keys()


def test_a_file_with_other_logits_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where all logits are so small that no fixed tolerance would show it."""
    folder, network = kept(tmp_path, "resnet18", (3, 32, 32), num_classes=5)
    with torch.no_grad():
        network.fc.weight.mul_(1e-4)
    weight_files.write_weights(network.state_dict(), folder / networks.WEIGHTS)
    original = exporting.torchvision_state

    def wrong(network: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {**original(network), "fc.bias": torch.full((5,), 1e-3)}

    monkeypatch.setattr(exporting, "torchvision_state", wrong)
    with pytest.raises(UserError, match="is not written"):
        written(folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = kept(tmp_path, "resnet18", (3, 32, 32), num_classes=5)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install onnxruntime"):
        written(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("other.json", "", "neither a finished run"),
        ("result.json", '{"schema": 1}', r"result\.json is damaged: spec is missing"),
        ("checkpoint.json", '{"schema": 1}', r"checkpoint\.json is damaged: source is missing; import it again"),
        ("checkpoint.json", "{", r"checkpoint\.json is damaged \(.*\); import it again"),
    ],
)
def test_a_folder_without_a_network_says_why(tmp_path: Path, file: str, content: str, message: str) -> None:
    (tmp_path / file).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        written(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("status", "message"), [("diverged", "the run diverged"), ("finished", "kept no weights; delete its folder")]
)
def test_a_run_that_left_no_weights_says_why(tmp_path: Path, status: str, message: str) -> None:
    run = leave(tmp_path, SPEC, finished(SPEC, status=status))
    with pytest.raises(UserError, match=message):
        written(run, tmp_path / "out")


def test_weights_that_layers_share_are_written_for_each_of_them(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    network[1].weight = network[0].weight
    state = network.state_dict()
    stored = weight_files.read_weights(weight_files.write_weights(state, tmp_path / networks.WEIGHTS))
    assert stored.keys() == state.keys() and all(torch.equal(stored[name], state[name]) for name in state)
    assert networks.loaded(network, stored)[0].weight is network[1].weight


def test_a_weight_that_layers_have_pruned_each_in_its_way_is_read_as_two(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    network[1].weight = network[0].weight
    state = {name: value.clone() for name, value in network.state_dict().items()}
    state["1.weight"] *= torch.eye(4)
    read = networks.loaded(network, state).state_dict()
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_weights_of_any_memory_format_are_kept(tmp_path: Path) -> None:
    """As a run leaves them that was trained in channels_last."""
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    path = weight_files.write_weights({"weight": weight}, tmp_path / networks.WEIGHTS)
    assert torch.equal(weight_files.read_weights(path)["weight"], weight)


def test_damaged_or_foreign_weights_are_refused(tmp_path: Path) -> None:
    folder, _ = kept(tmp_path, "resnet18", (3, 32, 32), num_classes=5)
    other = models.resnet18(num_classes=6)
    weight_files.write_weights(other.state_dict(), folder / networks.WEIGHTS)
    with pytest.raises(UserError, match="is of another network"):
        networks.read(folder)
    (folder / networks.WEIGHTS).write_bytes(b"\x00" * 20)
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        networks.read(folder)
