"""ResNet (He et al., 2016), v1.5: the 3x3 convolution of a bottleneck carries the stride.

As in the STR paper, no convolution has a bias and the classifier is a 1x1 convolution without bias, so that all 54
layers of ResNet50 are alike to a sparsity method. Weights are drawn from kaiming_normal(fan_in, relu). Input: (N, C,
H, W) float; output: (N, num_classes) logits.

``width`` is the number of channels of the first stage (64 in the paper). ``last_stride`` is the stride of the last
stage: on 28 px images 2 would leave it one pixel, and 8 of the 9 taps of its 3x3 convolutions would see nothing but
padding; 1 keeps 2 x 2 pixels.
"""

from __future__ import annotations

from torch import Tensor, nn


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded to keep the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (ResNet18)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 to four times the channels (ResNet50)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv(channels, channels * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Stem, four stages of ``blocks[i]`` blocks, global average pool, 1x1 convolution as classifier."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        num_classes: int = 1000,
        width: int = 64,
        in_channels: int = 3,
        last_stride: int = 2,
    ) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, width, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        expansion = block.expansion
        self.layer1 = stage(block, width, width, blocks[0], stride=1)
        self.layer2 = stage(block, width * expansion, width * 2, blocks[1], stride=2)
        self.layer3 = stage(block, width * 2 * expansion, width * 4, blocks[2], stride=2)
        self.layer4 = stage(block, width * 4 * expansion, width * 8, blocks[3], stride=last_stride)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = conv(width * 8 * expansion, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x)).flatten(1)


def stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, channels: int, count: int, stride: int
) -> nn.Sequential:
    """``count`` blocks, of which the first has the stride, with a projection where shapes change."""
    out_channels = channels * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))
    first = block(in_channels, channels, stride, downsample)
    return nn.Sequential(first, *(block(out_channels, channels, 1, None) for _ in range(count - 1)))


def resnet18(num_classes: int = 1000, width: int = 64, in_channels: int = 3, last_stride: int = 2) -> ResNet:
    """ResNet18: 21 layers."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, width, in_channels, last_stride)


def resnet50(num_classes: int = 1000, width: int = 64, in_channels: int = 3, last_stride: int = 2) -> ResNet:
    """ResNet50: 54 layers; 25,502,912 weights and 4,089,184,256 MACs at 224 px with the defaults."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, width, in_channels, last_stride)
