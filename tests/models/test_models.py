"""The networks: the paper's sizes, names and initialisation."""

from __future__ import annotations

import pytest
import torch
import torchvision

from paper_repro import models
from paper_repro.accounting import account, counted_layers
from paper_repro.errors import UserError


@pytest.mark.parametrize(
    "name, layers, params, macs",
    [
        ("resnet50", 54, 25_502_912, 4_089_184_256),
        ("mobilenet_v1", 28, 4_209_088, 568_740_352),
        ("resnet18", 21, 11_678_912, 1_814_073_344),
    ],
)
def test_size_at_224_px(name: str, layers: int, params: int, macs: int) -> None:
    report = account(models.get(name), (3, 224, 224))
    assert (len(report.layers), report.params, report.macs) == (layers, params, macs)


@pytest.mark.parametrize("name", models.MODELS)
def test_an_outline_has_the_shapes_and_no_values(name: str) -> None:
    outline, network = models.outline(name), models.get(name)
    assert {key: value.shape for key, value in outline.state_dict().items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }
    assert all(value.is_meta for value in outline.state_dict().values())


def test_vggs_convolutions_are_torchvisions() -> None:
    ours, theirs = models.get("vgg19_cifar").features, torchvision.models.vgg19_bn(init_weights=False).features
    weights = {key: value for key, value in theirs.state_dict().items() if key in ours.state_dict()}
    ours.load_state_dict(weights)  # with nothing missing
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(ours.eval()(images), theirs.eval()(images), atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_are_torchvisions_but_for_the_classifier(name: str) -> None:
    ours, theirs = models.get(name).double(), torchvision.models.get_model(name).double()
    state = theirs.state_dict()
    del state["fc.bias"]
    state["fc.weight"] = state["fc.weight"][:, :, None, None]
    ours.load_state_dict(state)
    torch.nn.init.zeros_(theirs.fc.bias)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(ours.eval()(images), theirs.eval()(images), rtol=1e-10, atol=1e-10)


def test_initialisation_follows_the_authors() -> None:
    torch.manual_seed(0)
    resnet = models.resnet50()
    for layer in (resnet.layer3[0].conv2, resnet.fc):
        assert layer.weight.std().item() == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.01)
        assert layer.bias is None
    mobilenet = models.mobilenet_v1()
    assert mobilenet.fc.weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.01)
    body = mobilenet.model[13][3].weight
    assert body.abs().max().item() == pytest.approx(1024**-0.5, rel=0.001)  # uniform, PyTorch's default


def test_narrow_networks_keep_the_layers_and_their_names() -> None:
    narrow = models.resnet50(num_classes=10, width=8, in_channels=1)
    assert list(counted_layers(narrow)) == list(counted_layers(models.get("resnet50")))
    assert narrow(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    mobile = models.mobilenet_v1(num_classes=10, width=8, in_channels=1)
    assert list(counted_layers(mobile)) == list(counted_layers(models.get("mobilenet_v1")))
    assert mobile(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("resnet5", {}, "Did you mean 'resnet50'"),
        ("resnet50", {"widht": 8}, "Did you mean 'width'"),
    ],
)
def test_bad_arguments_say_what_to_do(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.get(name, **arguments)


@pytest.mark.parametrize(
    "name, layers, params",
    [
        # 3*3*3*16; 10 of 16x16x9; 16x32, 16x32x9, 9 of 32x32x9; 32x64, 32x64x9, 9 of 64x64x9; 64x10
        ("resnet32_cifar", 34, 432 + 23_040 + 512 + 4_608 + 82_944 + 2_048 + 18_432 + 331_776 + 640),
        ("vgg19_cifar", 17, 20_018_880 + 5_120),  # of VGG19: 20,018,880 weights of convolutions
        # ResNet50 with a stem of 3x3 in place of 7x7, and 10 classes in place of 1000
        ("resnet50_cifar", 54, 25_502_912 - 3 * 64 * (49 - 9) - 990 * 2048),
    ],
)
def test_networks_for_images_of_32_px(name: str, layers: int, params: int) -> None:
    model = models.get(name)
    report = account(model, (3, 32, 32))
    assert (len(report.layers), report.params) == (layers, params)
    assert all(layer.bias is None for layer in counted_layers(model).values())
    assert models.get(name, num_classes=100)(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
