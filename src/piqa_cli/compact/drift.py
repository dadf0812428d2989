"""What changed outside the region, after what a round trip of the whole file changes everywhere is discounted.

A re-encoding moves every block by about the same little; drift is what exceeds the quietest tenth of the blocks.
That floor is capped, or a picture that drifted everywhere would be excused by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.compact.planes import BLOCK, MIN_BLOCKS, Areas, Plane, Planes
from piqa_cli.schema import Box

_FLOOR_STRUCTURE = 0.03  # 1 - SSIM that a JPEG of quality 50 or an autoencoder leaves at quarter resolution
_FLOOR_COLOUR = 1.5  # Delta E on block means from the same
_STROKE = 10.0  # L*: contrast from which a thin line counts as a stroke


@dataclass(frozen=True, slots=True)
class Drift:
    """Change outside the region; None where there is too little outside.

    structure: 0..1, mean of 1 - SSIM on a low-pass at quarter resolution, beyond the floor.
    colour: Delta E (CIE76) of block means, beyond the floor.
    sharpness: octaves, mean deviation of each block's log2 gradient-energy ratio from the picture's median.
    text: share 0..1 of the source's thin high-contrast strokes that lost half their contrast.
    box: half-open x0, y0, x1, y1 in pixels of the working frame around the most drifted blocks.
    """

    structure: float | None = None
    colour: float | None = None
    sharpness: float | None = None
    text: float | None = None
    box: Box | None = None


def measure_drift(now: Planes, before: Planes, areas: Areas) -> Drift:
    """Drift between the edited picture's planes and the registered source's."""
    outside = areas.outside_blocks
    if np.count_nonzero(outside) < 4 * MIN_BLOCKS:
        return Drift()
    # The region's own change must not reach outside through the windows.
    rest = np.where(areas.distance > 3, now.light, before.light)
    structure = _structure(rest, before.light, outside.shape)
    structure = np.maximum(0, structure - min(_FLOOR_STRUCTURE, float(np.percentile(structure[outside], 10))))
    colour = np.linalg.norm(now.lab_blocks - before.lab_blocks, axis=-1)
    colour = np.maximum(0, colour - min(_FLOOR_COLOUR, float(np.percentile(colour[outside], 10))))
    return Drift(
        structure=float(structure[outside].mean()),
        colour=float(colour[outside].mean()),
        sharpness=_sharpness(now, before, outside),
        text=_text(now.light, before.light, areas.outside & (areas.distance > 3)),
        box=_worst(np.asarray(structure / 0.1 + colour / 5, np.float32), outside),
    )


def _structure(now: Plane, before: Plane, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """1 - SSIM (Wang et al. 2004) in windows of 7 x 7 at quarter resolution, one value a block."""
    a, b = (cv2.pyrDown(cv2.pyrDown(plane)) for plane in (now, before))
    window = (7, 7)
    mean_a, mean_b = cv2.blur(a, window), cv2.blur(b, window)
    var_a = cv2.blur(a * a, window) - mean_a * mean_a
    var_b = cv2.blur(b * b, window) - mean_b * mean_b
    both = cv2.blur(a * b, window) - mean_a * mean_b
    # c1, c2 are SSIM's for a range of 100; the second is doubled so that noise on flat ground is no structure.
    c1, c2 = 1.0, 18.0
    ssim = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return np.asarray(cv2.resize(1 - ssim, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.float32)


def _sharpness(now: Planes, before: Planes, outside: NDArray[np.bool_]) -> float | None:
    structured = outside & (before.fine_blocks > 1.0)
    if np.count_nonzero(structured) < MIN_BLOCKS:
        return None
    ratio = np.log2((now.fine_blocks[structured] + 0.2) / (before.fine_blocks[structured] + 0.2))
    return float(np.abs(ratio - np.median(ratio)).mean())


def _text(now: Plane, before: Plane, outside: NDArray[np.bool_]) -> float | None:
    kernel = np.ones((5, 5), np.uint8)

    def strokes(plane: Plane) -> Plane:
        closed = cv2.morphologyEx(plane, cv2.MORPH_CLOSE, kernel)
        opened = cv2.morphologyEx(plane, cv2.MORPH_OPEN, kernel)
        return np.asarray(np.maximum(closed - plane, plane - opened), np.float32)

    had = strokes(before)
    where = outside & (had > _STROKE)
    total = int(np.count_nonzero(where))
    if total < BLOCK * BLOCK:
        return None
    # A pixel of shift is no loss: the strongest stroke in the neighbourhood counts.
    have = cv2.dilate(strokes(now), np.ones((3, 3), np.uint8))
    return float(np.count_nonzero(have[where] < 0.5 * had[where])) / total


def _worst(score: NDArray[np.float32], outside: NDArray[np.bool_]) -> Box | None:
    """Bounding box of the connected blocks with the most drift: those above a third of the 98th percentile."""
    level = max(1.0, float(np.percentile(score[outside], 98)) / 3)
    hot = (outside & (score > level)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    if count < 2:
        return None
    weight = np.bincount(labels.ravel(), score.ravel(), count)
    weight[0] = 0
    x, y, width, height = (int(v) * BLOCK for v in stats[int(weight.argmax()), :4])
    return x, y, x + width, y + height
