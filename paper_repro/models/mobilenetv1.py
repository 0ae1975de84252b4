"""MobileNetV1 (Howard et al., 2017) as the STR authors train it: ReLU, batch norm, no bias, 1x1 convolution as
classifier.

28 layers under the names of the authors' code: ``model.0.0`` is the first convolution, ``model.i.0`` and
``model.i.3`` the depthwise and pointwise convolutions of block i, ``fc`` the classifier. The body keeps PyTorch's
default initialisation (kaiming_uniform, a=sqrt(5)) and only the classifier is drawn from kaiming_normal, as in the
authors' code, whatever its configuration says. Input: (N, C, H, W) float; output: (N, num_classes) logits.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

# (output channels at the paper's width of 32, stride) of the 13 blocks
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


class MobileNetV1(nn.Module):
    """A 3x3 convolution with stride 2 and 13 depthwise-separable blocks: 28 layers; 4,209,088 weights and 568,740,352
    MACs at 224 px with the defaults. ``width`` is the stem's channels (32 in the paper).
    """

    def __init__(self, num_classes: int = 1000, width: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        channels = width
        blocks = [nn.Sequential(*_conv_bn_relu(in_channels, channels, 3, stride=2, padding=1))]
        for at_full_width, stride in BLOCKS:
            out_channels = at_full_width * width // 32
            blocks.append(_separable(channels, out_channels, stride))
            channels = out_channels
        self.model = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Conv2d(channels, num_classes, 1, bias=False)
        nn.init.kaiming_normal_(self.fc.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.model(x))).flatten(1)


def _conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int, **options: Any) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False, **options)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def _separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_conv_bn_relu(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels),
        *_conv_bn_relu(in_channels, out_channels, 1),
    )


mobilenet_v1 = MobileNetV1
