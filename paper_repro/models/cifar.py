"""Networks for images of 32 x 32 px, as those who re-run STR on CIFAR have them.

As in the STR paper, no convolution has a bias and the classifier is a 1x1 convolution without bias; weights are drawn
from kaiming_normal(fan_in, relu). Input: (N, C, 32, 32) float; output: (N, num_classes) logits.

``resnet32_cifar`` has the three stages of He et al. (2016), section 4.2, at ``width`` 16, with projections where
shapes change (option B there). ``resnet50_cifar`` has the four stages of ResNet50. Both begin with a 3x3 convolution
and do not pool. ``vgg19_cifar`` has the convolutions of configuration E of Simonyan and Zisserman (2015), table 1, each
with batch norm, under torchvision's names, and one classifier in place of three.
"""

from __future__ import annotations

from torch import Tensor, nn

from paper_repro.models.resnet import BasicBlock, Bottleneck, conv, stage

VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels and number of convolutions before each pool


class SmallImageResNet(nn.Module):
    """A 3x3 stem, stages that halve the image and double the channels, global average pool, 1x1 classifier."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, ...],
        width: int,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        channels = width
        for at, count in enumerate(blocks):
            stride = 1 if at == 0 else 2
            self.add_module(f"layer{at + 1}", stage(block, channels, width * 2**at, count, stride))
            channels = width * 2**at * block.expansion
        self.stages = len(blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = conv(channels, num_classes, 1)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        for at in range(self.stages):
            x = self.get_submodule(f"layer{at + 1}")(x)
        return self.fc(self.avgpool(x)).flatten(1)


class SmallImageVGG(nn.Module):
    """The convolutions of VGG19 with batch norm, which leave one pixel of 32 x 32, and a 1x1 classifier."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, count in VGG19:
            for _ in range(count):
                layers += [conv(in_channels, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
                in_channels = channels
            layers.append(nn.MaxPool2d(2, stride=2))
        self.features = nn.Sequential(*layers)
        self.fc = conv(512, num_classes, 1)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x)).flatten(1)


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")


def resnet32_cifar(num_classes: int = 10, width: int = 16, in_channels: int = 3) -> SmallImageResNet:
    """ResNet32: 34 layers, two projections among them."""
    return SmallImageResNet(BasicBlock, (5, 5, 5), width, num_classes, in_channels)


def resnet50_cifar(num_classes: int = 10, width: int = 64, in_channels: int = 3) -> SmallImageResNet:
    """ResNet50: 54 layers."""
    return SmallImageResNet(Bottleneck, (3, 4, 6, 3), width, num_classes, in_channels)


def vgg19_cifar(num_classes: int = 10, in_channels: int = 3) -> SmallImageVGG:
    """VGG19: 16 convolutions and a classifier."""
    return SmallImageVGG(num_classes, in_channels)
