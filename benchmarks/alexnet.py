"""AlexNet's five convolution stages, the ones LPIPS compares: here only to be timed, with random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AlexNetFeatures(nn.Module):
    """The feature stack of Krizhevsky 2014 ("One weird trick"), which LPIPS (Zhang et al. 2018) runs on each image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True)),
                nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True)),
                nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
                nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
                nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True)),
            ]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """`image`: N x 3 x H x W; gives the output of each stage."""
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps
