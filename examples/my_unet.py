"""A small U-Net that finds discs in noise. Does STR prune it? make run TABLE=resnet50 MODEL=examples/my_unet.py"""

import torch
from torch import nn


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, num_classes, in_channels, width=8):
        super().__init__()
        self.first, self.second = block(in_channels, width), block(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2, bias=False)
        self.last, self.classes = block(2 * width, width), nn.Conv2d(width, num_classes, 1)

    def forward(self, images):
        shallow = self.first(images)
        deep = self.up(self.second(nn.functional.max_pool2d(shallow, 2)))
        return self.classes(self.last(torch.cat([shallow, deep], 1)))


def model(num_classes, in_channels):
    return UNet(num_classes, in_channels)


def data(train=256, val=64, size=16):
    """Images (N, 1, size, size), and the class of each pixel: 1 inside of the disc."""
    rows, columns = (torch.rand(train + val, 1, 1) * size for _ in range(2))
    pixels = torch.arange(size)
    labels = ((pixels.view(-1, 1) - rows) ** 2 + (pixels - columns) ** 2 < (size / 4) ** 2).long()
    images = (labels + 0.5 * torch.randn(labels.shape)).unsqueeze(1)
    return (images[:train], labels[:train]), (images[train:], labels[train:])
