"""Small picture operations that several edit families share.

Pictures are H x W x 3, RGB, 0..255; `uint8` between families, `float32` within them. Masks are H x W bool.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rng = np.random.Generator


def to_float(picture: NDArray[np.generic]) -> F32:
    """The picture as float32, 0..255."""
    return picture.astype(np.float32)


def to_uint8(picture: NDArray[np.floating]) -> U8:
    """Rounded and clipped to 0..255."""
    rounded: U8 = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return rounded


def blur(picture: F32, sigma: float) -> F32:
    """Gaussian blur; wide ones run on a reduced picture, which looks the same and is much faster."""
    if sigma < 0.05:
        return picture
    factor = int(min(8, max(1, sigma // 3)))
    if factor == 1:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def resize(picture: U8, size: tuple[int, int], interpolation: int = cv2.INTER_AREA) -> U8:
    """The picture at size = (height, width)."""
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=interpolation), np.uint8)


def dilate(mask: Mask, radius: int) -> Mask:
    """The mask grown by `radius` pixels; shrunk when it is negative."""
    if radius == 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(radius) + 1,) * 2)
    operation = cv2.dilate if radius > 0 else cv2.erode
    return np.asarray(operation(mask.astype(np.uint8), kernel), np.uint8) > 0


def ring(mask: Mask, radius: int) -> Mask:
    """The pixels outside the mask within `radius` of it."""
    return dilate(mask, radius) & ~mask


def inner_alpha(mask: Mask, width: float) -> F32:
    """Opacity 0..1, H x W: 0 outside the mask, rising over `width` pixels inside its border to 1."""
    if width <= 1:
        return mask.astype(np.float32)
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    step = np.clip(distance / width, 0, 1)
    return np.asarray(step * step * (3 - 2 * step), np.float32)


def noise_field(rng: Rng, size: tuple[int, int], wavelength: float, channels: int = 1) -> F32:
    """Smooth random field, H x W x channels, about zero mean and unit variance, features of `wavelength` pixels."""
    grid = (max(2, round(size[0] / wavelength) + 1), max(2, round(size[1] / wavelength) + 1))
    coarse = rng.standard_normal((*grid, channels)).astype(np.float32)
    field = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field, np.float32).reshape(*size, channels)


def displace(picture: F32, shift: F32, border: int = cv2.BORDER_REFLECT_101) -> F32:
    """Each pixel taken from (x, y) + shift; shift is H x W x 2, (dx, dy) in pixels."""
    height, width = picture.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(picture, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(moved, np.float32)


def membrane(values: F32, known: Mask) -> F32:
    """Smooth interpolation of H x W x C values from the known pixels to all (push-pull on a pyramid)."""
    weight = known.astype(np.float32)[..., None]
    levels = [(values * weight, weight)]
    while min(levels[-1][0].shape[:2]) > 2:
        value, weight = levels[-1]
        size = ((value.shape[1] + 1) // 2, (value.shape[0] + 1) // 2)
        weight_down = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32)[..., None]
        value_down = np.asarray(cv2.resize(value, size, interpolation=cv2.INTER_AREA), np.float32)
        levels.append((value_down.reshape(*weight_down.shape[:2], -1), weight_down))
    value, weight = levels[-1]
    total = max(float(weight.sum()), 1e-6)
    result = np.broadcast_to(value.sum((0, 1)) / total, value.shape).astype(np.float32)
    for value, weight in reversed(levels):
        size = (value.shape[1], value.shape[0])
        above = np.asarray(cv2.resize(result, size, interpolation=cv2.INTER_LINEAR), np.float32).reshape(value.shape)
        here = np.minimum(weight, 1)
        result = value / np.maximum(weight, 1e-6) * here + above * (1 - here)
    return np.asarray(result, np.float32)


def match_statistics(content: F32, where: Mask, target: F32, target_where: Mask, amount: float) -> F32:
    """Reinhard transfer: mean and spread (in Lab) of content[where] moved towards target[target_where]."""
    if not where.any() or not target_where.any():
        return content
    lab = cv2.cvtColor(np.clip(content / 255, 0, 1), cv2.COLOR_RGB2LAB)
    other = cv2.cvtColor(np.clip(target / 255, 0, 1), cv2.COLOR_RGB2LAB)
    mean, spread = lab[where].mean(0), lab[where].std(0) + 1e-3
    wanted, wanted_spread = other[target_where].mean(0), other[target_where].std(0) + 1e-3
    gain = 1 + amount * (np.clip(wanted_spread / spread, 0.6, 1.6) - 1)
    moved = (lab - mean) * gain + mean + amount * (wanted - mean)
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(np.clip(rgb, 0, 1) * 255, np.float32)


def encode(picture: U8, codec: str, quality: int, subsampling: int = 2) -> U8:
    """The picture after a round trip through a lossy file: codec JPEG, WEBP or AVIF, quality 1..100."""
    buffer = BytesIO()
    image = Image.fromarray(picture)
    if codec == "JPEG":
        image.save(buffer, codec, quality=quality, subsampling=subsampling)
    elif codec == "AVIF":
        image.save(buffer, codec, quality=quality, speed=10, max_threads=1)
    else:
        image.save(buffer, codec, quality=quality, method=0)
    buffer.seek(0)
    return np.asarray(Image.open(buffer).convert("RGB"), np.uint8)


def pick(rng: Rng, weights: Sequence[float]) -> int:
    """An index drawn in proportion to the weights."""
    cumulative = np.cumsum(weights)
    return int(min(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"), len(weights) - 1))


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number in [low, high], uniform in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def sign(rng: Rng) -> float:
    """-1 or +1."""
    return 1.0 if rng.random() < 0.5 else -1.0
