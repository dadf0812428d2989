"""Traces that editing tools leave in a region: seam, block grid, ghost of what was removed, repeated pattern.

Each takes L* planes of the edited picture and of the registered source, H x W float32.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.compact.planes import BLOCK, MIN_BLOCKS, Areas, Plane, Planes

P = TypeVar("P", np.uint8, np.float32)

_RIM = 12  # pixels to either side of the edge where a seam is looked for
_REPEAT_SIDE = 128  # longest side of the crop in which repetition is looked for


def seam(gradient: Plane, was: Plane, areas: Areas) -> float | None:
    """Step across the region's edge in L*, beyond the source's; None for a region too small.

    Peak of the mean gradient over lines parallel to the edge, near the edge against farther off, x 3 pixels.

    A Sobel response to a step is spread over about three pixels, so that their sum is the step in L*.
    """
    rim = (np.abs(areas.distance) < _RIM) & (areas.inside | areas.outside)
    line = np.floor(areas.distance[rim]).astype(np.intp) + _RIM
    count = np.bincount(line, minlength=2 * _RIM)
    if count[_RIM - 6 : _RIM + 6].min() < 16:
        return None
    step, had = (_edge_peak(np.bincount(line, g[rim], 2 * _RIM) / np.maximum(count, 1)) for g in (gradient, was))
    return 3 * max(0.0, step - had)


def _edge_peak(profile: NDArray[np.float64]) -> float:
    # The mask may be off by a few pixels: the peak is looked for within four of its edge.
    near = float(profile[_RIM - 4 : _RIM + 4].max())
    sides = max(float(np.median(profile[: _RIM - 5])), float(np.median(profile[_RIM + 5 :])))
    return max(0.0, near - sides)


def blocking(light: Plane, areas: Areas) -> float:
    """Mean step at the strongest of eight grid phases beyond the median phase, region minus outside, in L*."""
    total = 0.0
    for axis in (0, 1):
        step = cv2.absdiff(*_neighbours(light, axis))
        excess = []
        for where in (areas.inside, areas.outside):
            first, second = _neighbours(where.view(np.uint8), axis)
            both = (first & second).astype(np.float32)
            line_sum, line_count = (
                cv2.reduce(plane, 1 - axis, cv2.REDUCE_SUM).ravel() for plane in (cv2.multiply(step, both), both)
            )
            phase = np.arange(line_sum.size) % BLOCK
            mean = np.bincount(phase, line_sum, BLOCK) / np.maximum(np.bincount(phase, line_count, BLOCK), 1)
            excess.append(float(mean.max() - np.median(mean)))
        total += excess[0] - excess[1]
    return total / 2


def _neighbours(plane: NDArray[P], axis: int) -> tuple[NDArray[P], NDArray[P]]:
    """The plane without its first and without its last row or column."""
    return (plane[1:], plane[:-1]) if axis == 0 else (plane[:, 1:], plane[:, :-1])


def ghosting(now: Planes, before: Planes, areas: Areas) -> float | None:
    """Share of the region's strongly structured source pixels of which a faint copy remains, 0..1.

    Faint: correlation above 0.5 with 8 to 50 % of the amplitude, in windows of 15 x 15 pixels of the band-pass.
    None where the source had too little structure there. A region that was only blurred, darkened or faded
    holds what it held: it has no ghost.
    """
    window = (15, 15)
    power = cv2.blur(before.band * before.band, window)
    strong = areas.inside & (power > 4.0)
    total = int(np.count_nonzero(strong))
    if total < BLOCK * BLOCK * MIN_BLOCKS:
        return None
    if _same_content(now.lab_blocks[..., 0][areas.inside_blocks], before.lab_blocks[..., 0][areas.inside_blocks]):
        return 0.0
    cross = cv2.blur(now.band * before.band, window)
    own = cv2.blur(now.band * now.band, window)
    gain = cross / np.maximum(power, 1e-3)
    alike = cross / np.sqrt(np.maximum(power * own, 1e-3))
    ghost = strong & (alike > 0.5) & (gain > 0.08) & (gain < 0.5)
    return float(np.count_nonzero(ghost)) / total


def _same_content(now: Plane, before: Plane) -> bool:
    """Whether block means follow the source's in their own contrast, or scaled as a change of exposure scales them."""
    a, b = now - now.mean(), before - before.mean()
    power = float(b @ b)
    if power < 1e-6:
        return False
    gain = float(a @ b) / power
    if gain * np.sqrt(power) < 0.9 * float(np.sqrt(a @ a)):
        return False
    return gain > 0.6 or abs(gain - float(now.mean()) / max(1.0, float(before.mean()))) < 0.15


def repetition(light: Plane, was: Plane, inside: NDArray[np.bool_]) -> float | None:
    """Highest side peak of the region's autocorrelation beyond the source's, 0..1; None for a region too small."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    crop = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    window = inside[crop].astype(np.float32)
    scale = min(1.0, _REPEAT_SIDE / max(window.shape))
    side = (max(1, round(window.shape[1] * scale)), max(1, round(window.shape[0] * scale)))
    if min(side) < 32:
        return None
    window = (cv2.resize(window, side, interpolation=cv2.INTER_AREA) > 0.99).astype(np.float32)
    shape = (cv2.getOptimalDFTSize(2 * side[1]), cv2.getOptimalDFTSize(2 * side[0]))
    overlap = _autocorrelation(window, shape)
    crops = (np.asarray(cv2.resize(p[crop], side, interpolation=cv2.INTER_AREA), np.float32) for p in (light, was))
    now, before = (_side_peak(small, window, overlap) for small in crops)
    return max(0.0, now - before)


def _autocorrelation(plane: Plane, shape: tuple[int, int]) -> Plane:
    padded = np.zeros(shape, np.float32)
    padded[: plane.shape[0], : plane.shape[1]] = plane
    spectrum = cv2.dft(padded)
    power = cv2.mulSpectrums(spectrum, spectrum, 0, conjB=True)
    return np.asarray(cv2.dft(power, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE), np.float32)


def _side_peak(light: Plane, window: Plane, overlap: Plane) -> float:
    """Highest normalised autocorrelation at lags of 10 pixels and more over which half the region overlaps itself."""
    detail = (light - cv2.GaussianBlur(light, (0, 0), 4)) * window
    energy = float(np.sum(detail * detail))
    if energy < 0.25 * float(window.sum()):
        return 0.0
    lags = _autocorrelation(detail, (overlap.shape[0], overlap.shape[1])) / np.maximum(overlap, 1)
    usable = overlap > 0.4 * overlap[0, 0]
    y = np.minimum(np.arange(overlap.shape[0]), overlap.shape[0] - np.arange(overlap.shape[0]))
    x = np.minimum(np.arange(overlap.shape[1]), overlap.shape[1] - np.arange(overlap.shape[1]))
    usable &= (y[:, None] >= 10) | (x[None, :] >= 10)
    if not usable.any():
        return 0.0
    return float(np.clip(lags[usable].max() / (energy / float(window.sum())), 0, 1))
