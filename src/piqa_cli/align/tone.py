"""Robust per-channel gain and bias between two aligned pictures, taken from what was not edited."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GAIN_LIMITS = (0.7, 1.4)
BIAS_LIMIT = 40.0
SIDE = 96  # fitted on pictures reduced to this: coding noise and texture average out
LEAST_HELP = 1.5  # grey levels that the typical difference must fall by for a correction to be worth applying


@dataclass(frozen=True, slots=True)
class Tone:
    """edited = gain * source + bias, R, G, B in 0..255 units."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_identity(self) -> bool:
        """Nothing to correct."""
        return self == Tone()


def fit_tone(source: NDArray[np.uint8], edited: NDArray[np.uint8], usable: NDArray[np.bool_] | None = None) -> Tone:
    """The tone change of the whole file; identity where there is none, or where only a part was recoloured.

    Args:
        source: H x W x 3, aligned to `edited`.
        edited: H x W x 3.
        usable: H x W, False where the source is missing or an edit is known; None for everywhere.
    """
    before, after, weights = _reduced(source, edited, usable)
    if len(before) < 24:
        return Tone()
    plain = _share(before, after, np.ones(3), np.zeros(3))
    # Where much of the picture has kept its exact tone, whatever else changed was an edit, not the file.
    if (weights * plain).sum() > 0.35 * weights.sum():
        return Tone()
    gain, bias = _consensus(before, after, weights)
    gain = np.clip(gain, *GAIN_LIMITS)
    bias = np.clip(bias, -BIAS_LIMIT, BIAS_LIMIT)
    fitted = _share(before, after, gain, bias)
    if (weights * fitted).sum() < max(0.3 * weights.sum(), 1.6 * (weights * plain).sum()):
        return Tone()
    agreed = fitted > 0
    moved = np.abs(before[agreed] * gain + bias - before[agreed])
    if float(moved.mean()) < LEAST_HELP:
        return Tone()
    return Tone(tuple(round(float(g), 5) for g in gain), tuple(round(float(b), 4) for b in bias))  # type: ignore[arg-type]


def apply_tone(pixels: NDArray[np.uint8], tone: Tone) -> NDArray[np.uint8]:
    """`gain * pixels + bias`, rounded and clipped; the same array where there is nothing to do."""
    if tone.is_identity:
        return pixels
    ramp = np.arange(256, dtype=np.float64)[:, None] * np.array(tone.gain) + np.array(tone.bias)
    table = np.clip(np.rint(ramp), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table.reshape(1, 256, 3)), np.uint8)


def _reduced(
    source: NDArray[np.uint8], edited: NDArray[np.uint8], usable: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Colours (n x 3) of both pictures at low resolution, and weights that favour smooth places."""
    height, width = edited.shape[:2]
    ratio = min(1.0, SIDE / max(height, width))
    size = max(2, round(width * ratio)), max(2, round(height * ratio))
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float64) for image in (source, edited)]
    keep = np.ones(small[0].shape[:2], bool)
    if usable is not None:
        keep = cv2.resize(usable.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
    for image in small:  # clipped pixels do not follow a gain
        keep &= ((image > 3) & (image < 252)).all(axis=2)
    edge = cv2.morphologyEx(small[0].mean(axis=2), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    weights = 1 / (1 + (edge / 24) ** 2)
    return small[0][keep], small[1][keep], weights[keep]


def _share(
    before: NDArray[np.float64], after: NDArray[np.float64], gain: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1 where a pixel follows the tone in all three channels, falling to 0 at a difference of 5 grey levels."""
    off = np.abs(before * gain + bias - after).max(axis=1)
    return np.asarray(np.clip(1 - (off / 5) ** 2, 0, 1))


def _consensus(
    before: NDArray[np.float64], after: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain and bias by trimmed least squares from several starts; the one that most pixels follow."""
    shift = np.median(after - before, axis=0)
    ratio = np.median(after, axis=0) / np.maximum(np.median(before, axis=0), 1)
    best, most = (np.ones(3), np.zeros(3)), -1.0
    for gain, bias in ((np.ones(3), np.zeros(3)), (np.ones(3), shift), (ratio, np.zeros(3))):
        for width in (30.0, 20.0, 14.0, 10.0, 7.0, 5.0, 5.0):
            off = np.abs(before * gain + bias - after).max(axis=1)
            vote = weights * np.clip(1 - (off / width) ** 2, 0, 1) ** 2
            if np.count_nonzero(vote > 0.05) < 12:
                break
            gain, bias = _line(before, after, vote)
        followed = float((weights * _share(before, after, gain, bias)).sum())
        if followed > most:
            best, most = (gain, bias), followed
    return best


def _line(
    before: NDArray[np.float64], after: NDArray[np.float64], vote: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    total = vote.sum()
    x, y = vote @ before / total, vote @ after / total
    spread = vote @ (before - x) ** 2 / total
    joint = vote @ ((before - x) * (after - y)) / total
    # a picture of one colour says nothing about gain: 4 grey levels of deviation draw it towards 1
    gain = (joint + 16.0) / (spread + 16.0)
    return gain, y - gain * x
