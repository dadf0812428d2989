"""The two ImageNet networks that the encoder is distilled from: used while training, never shipped.

A teacher file is safetensors whose metadata describes the network: `steps`, a list of operations in
order, `taps`, the names of the outputs to give, and `input`, the scale, shift and channel order.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from piqa_cli.errors import InputError


class Teacher(nn.Module):
    """A frozen feature extractor read from a described safetensors file.

    Raises:
        InputError: the file is missing or describes an operation that is not known here.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not path.is_file():
            raise InputError("a teacher network is missing", code="E_NOT_FOUND", file=str(path))
        with safe_open(path, framework="pt") as file:
            described = file.metadata()
            self.plan: list[dict[str, object]] = json.loads(described["steps"])
            self.taps: dict[str, str] = json.loads(described["taps"])
            scale, shift, self.reversed_channels = json.loads(described["input"])
            for name in file.keys():  # noqa: SIM118 (a safetensors handle is not a mapping)
                self.register_buffer(name, file.get_tensor(name).float())
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).view(1, -1, 1, 1))
        self.eval()

    def _convolve(self, x: Tensor, step: dict[str, object]) -> Tensor:
        name, stride = step["name"], int(str(step["stride"]))
        weight, bias = self.get_buffer(f"{name}_w"), self.get_buffer(f"{name}_b")
        padding = int(str(step.get("pad", 0)))
        if step.get("same"):
            x = F.pad(x, [p for size in (x.shape[-1], x.shape[-2]) for p in _same(size, weight.shape[-1], stride)])
        y = F.conv2d(x, weight, bias, stride, padding, 1, int(str(step.get("groups", 1))))
        match step["act"]:
            case "relu":
                return y.relu()
            case "relu6":
                return y.clamp(0, 6)
            case _:
                return y

    @torch.no_grad()
    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """`rgb`: N x 3 x H x W in 0..1; gives the tapped feature maps by name."""
        made = {"in": (rgb.flip(1) if self.reversed_channels else rgb) * self.scale + self.shift}
        for step in self.plan:
            inputs = [made[str(name)] for name in step["from"]]  # type: ignore[attr-defined]
            match step["op"]:
                case "conv":
                    result = self._convolve(inputs[0], step)
                case "add":
                    result = inputs[0] + inputs[1]
                case "cat":
                    result = torch.cat(inputs, 1)
                case "maxpool":
                    result = F.max_pool2d(inputs[0], 3, 2, ceil_mode=True)
                case other:
                    raise InputError(f"a teacher file asks for an unknown operation: {other}")
            made[str(step["name"])] = result
        return {tap: made[name] for tap, name in self.taps.items()}


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding, before and after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Distillation(nn.Module):
    """Encoder maps -> the teachers' maps, each through one linear layer, compared channel by channel.

    Targets are standardised over the batch, so that no channel of a teacher outweighs another.
    """

    # (teacher file, its tap, index of the encoder stage of the same stride)
    TARGETS = (
        ("mobilenet_v2", "stride4", 1),
        ("mobilenet_v2", "stride8", 2),
        ("mobilenet_v2", "stride16", 3),
        ("mobilenet_v2", "stride32", 4),
        ("squeezenet_v1_1", "stride8", 2),
        ("squeezenet_v1_1", "stride16_fire9", 3),
    )

    def __init__(self, folder: Path, widths: list[int]) -> None:
        super().__init__()
        names = dict.fromkeys(name for name, _, _ in self.TARGETS)
        self.teachers = nn.ModuleDict({name: Teacher(folder / f"{name}.safetensors") for name in names})
        sample = {name: teacher(torch.zeros(1, 3, 64, 64)) for name, teacher in self.teachers.items()}
        self.adapters = nn.ModuleList(
            nn.Conv2d(widths[stage], sample[name][tap].shape[1], 1) for name, tap, stage in self.TARGETS
        )

    def forward(self, rgb: Tensor, features: list[Tensor]) -> Tensor:
        """Mean squared error over all targets: `rgb` N x 3 x H x W in 0..1, `features` the encoder's maps of it."""
        wanted = {name: teacher(rgb) for name, teacher in self.teachers.items()}
        losses = []
        for adapter, (name, tap, stage) in zip(self.adapters, self.TARGETS, strict=True):
            target = F.interpolate(wanted[name][tap], size=features[stage].shape[-2:], mode="bilinear")
            target = F.batch_norm(target, None, None, training=True)
            losses.append(F.smooth_l1_loss(adapter(features[stage]), target))
        return torch.stack(losses).mean()
