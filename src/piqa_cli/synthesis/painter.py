"""Two small networks of our own whose faults are like those of generative tools: a painter and an autoencoder.

The painter's file is a ladder: the same network early to late in its training. What an early one paints is
smeared and loses texture and colour, what a late one paints much less so.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from piqa_cli.errors import ModelError
from piqa_cli.synthesis.pixels import U8, Mask

WEIGHTS = Path(__file__).parent / "weights"
PAINTER, AUTOENCODER = "painter.safetensors", "autoencoder.safetensors"
_MARGIN = 64  # pixels around the hole that the painter sees
_Network = TypeVar("_Network", bound=nn.Module)
_LATENT = 12  # channels; the side of the latent picture is an eighth


def _conv(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation)
    # Nothing normalises the layers, so their spread has to be right from the start.
    nn.init.kaiming_normal_(convolution.weight, 0.1)
    return nn.Sequential(convolution, nn.LeakyReLU(0.1, True))


class Painter(nn.Module):
    """A U-Net that paints a hole, over smooth colours, from what is around it; 0.15 million parameters.

    It works at a half to a sixteenth of the picture's side; pictures of other sizes are padded inside. A fixed
    tile of noise is a fifth channel: something for texture to grow from.
    """

    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        tile = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(7))
        self.register_buffer("noise", tile * 0.3, persistent=False)
        self.by_2 = _conv(20, 24)
        self.by_4 = nn.Sequential(_conv(24, 40, stride=2), _conv(40, 40))
        self.by_8 = _conv(40, 48, stride=2)
        self.by_16 = nn.Sequential(_conv(48, 48, stride=2), _conv(48, 48, dilation=2), _conv(48, 48, dilation=4))
        self.to_8 = nn.Sequential(_conv(96, 40, kernel=1), _conv(40, 40))
        self.to_4 = nn.Sequential(_conv(80, 40, kernel=1), _conv(40, 40))
        self.to_2 = nn.Sequential(_conv(64, 24, kernel=1), _conv(24, 24))
        self.paint = nn.Conv2d(24, 12, 3, 1, 1)

    def forward(self, rgb: Tensor, hole: Tensor) -> Tensor:
        """`rgb` N x 3 x H x W in 0..1, `hole` N x 1 x H x W, 1 where to paint; gives what was painted, all of it."""
        height, width = rgb.shape[-2:]
        guess = first_guess((rgb - 0.5) * (1 - hole), 1 - hole)
        noise = self.noise.tile(1, 1, -(-height // 64), -(-width // 64))[..., :height, :width] * hole
        seen = torch.cat([guess, noise, hole], 1)
        seen = F.pad(seen, (0, -width % 16, 0, -height % 16), mode="replicate")
        half = self.by_2(F.pixel_unshuffle(seen, 2))
        quarter = self.by_4(half)
        eighth = self.by_8(quarter)
        made = self.to_8(torch.cat([_doubled(self.by_16(eighth)), eighth], 1))
        made = self.to_4(torch.cat([_doubled(made), quarter], 1))
        made = self.to_2(torch.cat([_doubled(made), half], 1))
        painted: Tensor = 0.5 + guess + F.pixel_shuffle(self.paint(made), 2)[..., :height, :width]
        return painted


class Autoencoder(nn.Module):
    """Eight times smaller sides and twelve channels and back, like the autoencoder of a latent diffusion model."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4), _conv(48, 32), _conv(32, 48, stride=2), _conv(48, 48), nn.Conv2d(48, _LATENT, 1)
        )
        self.decoder = nn.Sequential(
            _conv(_LATENT, 48, kernel=1), _conv(48, 48), nn.Upsample(scale_factor=2), _conv(48, 32), _conv(32, 32),
            nn.Conv2d(32, 48, 3, 1, 1), nn.PixelShuffle(4),
        )  # fmt: skip

    def forward(self, rgb: Tensor, noise: Tensor | None = None) -> Tensor:
        """The picture after the round trip, N x 3 x H x W in about 0..1.

        `noise`, N x 12 x ceil(H / 8) x ceil(W / 8), is added to the latent picture in units of its spread.
        """
        height, width = rgb.shape[-2:]
        padded = F.pad(rgb - 0.5, (0, -width % 8, 0, -height % 8), mode="replicate")
        latent = self.encoder(padded)
        if noise is not None:
            latent = latent + noise * latent.std()
        made: Tensor = 0.5 + self.decoder(latent)
        return made[..., :height, :width]


def first_guess(values: Tensor, known: Tensor) -> Tensor:
    """Smooth colours in the hole (push-pull): `values` N x 3 x H x W, 0 where `known`, N x 1 x H x W, is 0."""
    if min(values.shape[-2:]) < 2:
        return values / known.clamp_min(1e-4)
    smaller = first_guess(F.avg_pool2d(values, 2, ceil_mode=True), F.avg_pool2d(known, 2, ceil_mode=True))
    above = F.interpolate(smaller, size=list(values.shape[-2:]), mode="bilinear")
    return values + above * (1 - known)


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


def painted(picture: U8, hole: Mask, rung: int) -> U8:
    """The picture, H x W x 3, its hole painted by the `rung`-th network of the ladder (0 the earliest, -1 the best).

    Outside the hole nothing changes.
    """
    if not hole.any():
        return picture
    box = _surroundings(hole)
    part, where = picture[box], hole[box]
    with torch.inference_mode():
        rgb = _to_tensor(part)
        made = _to_picture(ladder()[rung](rgb, torch.from_numpy(where.astype(np.float32))[None, None]))
    result = picture.copy()
    result[box] = np.where(where[..., None], made, part)
    return result


def round_trip(picture: U8, noise: np.random.Generator, strength: float) -> U8:
    """The picture, H x W x 3, through the autoencoder; its latent disturbed by `strength` spreads of noise."""
    height, width = picture.shape[:2]
    field = noise.standard_normal((1, _LATENT, -(-height // 8), -(-width // 8)), dtype=np.float32)
    with torch.inference_mode():
        return _to_picture(autoencoder()(_to_tensor(picture), torch.from_numpy(field * np.float32(strength))))


def _surroundings(hole: Mask) -> tuple[slice, slice]:
    """The hole's box and some of what is around it, in whole steps of 16 px from the picture's corner."""
    slices = []
    for axis in (1, 0):
        places = np.nonzero(hole.any(axis))[0]
        first, last = int(places[0]) - _MARGIN, int(places[-1]) + 1 + _MARGIN
        slices.append(slice(max(0, first // 16 * 16), min(hole.shape[1 - axis], -(-last // 16) * 16)))
    return slices[0], slices[1]


def _to_tensor(picture: U8) -> Tensor:
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]  # channels last in memory
    return pixels.float() / 255


def _to_picture(rgb: Tensor) -> U8:
    return np.asarray((rgb[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy(), np.uint8)


@lru_cache(maxsize=1)
def ladder() -> tuple[Painter, ...]:
    """The painter early to late in its training, read once per process."""
    return open_ladder(WEIGHTS / PAINTER)


@lru_cache(maxsize=1)
def autoencoder() -> Autoencoder:
    """The autoencoder, read once per process."""
    return open_autoencoder(WEIGHTS / AUTOENCODER)


def open_ladder(path: Path) -> tuple[Painter, ...]:
    """The painters of a file, earliest first, float32.

    Raises:
        ModelError: the file is missing, unreadable, or not of this network.
    """
    tensors = _read(path)
    rungs = sorted({int(name.partition(".")[0]) for name in tensors})
    return tuple(_filled(Painter(), _below(tensors, str(rung)), path) for rung in rungs)


def open_autoencoder(path: Path) -> Autoencoder:
    """The autoencoder of a file, float32.

    Raises:
        ModelError: the file is missing, unreadable, or not of this network.
    """
    return _filled(Autoencoder(), _below(_read(path), "0"), path)


def save_networks(networks: list[dict[str, Tensor]], path: Path) -> None:
    """Writes states of one network, in order, to a file: half precision, which no picture shows."""
    tensors = {
        f"{rung}.{name}": value.half().contiguous()
        for rung, state in enumerate(networks)
        for name, value in state.items()
    }
    save_file(tensors, path, metadata={"format": "pt"})


def _below(tensors: dict[str, Tensor], rung: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{rung}."): value for name, value in tensors.items() if name.startswith(f"{rung}.")}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"cannot read the network: {error}",
            file=str(path),
            expected="a file that `piqa train painters` wrote",
            hint="install the package anew, or train the networks",
        ) from error


def _filled(network: _Network, state: dict[str, Tensor], path: Path) -> _Network:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"the weights do not fit the network: {error}", file=str(path)) from error
    return channels_last(network).eval()


def channels_last(network: _Network) -> _Network:
    """The network with its kernels in the layout in which processors convolve fastest."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return network
