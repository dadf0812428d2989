"""The same small piece again and again across the region."""

from __future__ import annotations

import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, match_statistics, to_float


def _repetition(rng: Rng, canvas: Canvas) -> U8:
    base = to_float(canvas.base)
    height, width = canvas.mask.shape
    side = int(np.clip(np.sqrt(canvas.mask.sum()) * rng.uniform(0.2, 0.4), 5, min(height, width) // 2))
    rows, columns = np.nonzero(canvas.mask)
    index = int(rng.integers(len(rows)))
    top, left = int(np.clip(rows[index], 0, height - side)), int(np.clip(columns[index], 0, width - side))
    tile = base[top : top + side, left : left + side]
    if rng.random() < 0.5:  # mirrored copies join without a seam
        tile = np.concatenate([tile, tile[:, ::-1]], 1)
        tile = np.concatenate([tile, tile[::-1]], 0)
    times = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
    tiled = np.roll(np.tile(tile, times), (top, left), (0, 1))[:height, :width]
    faulty = match_statistics(np.ascontiguousarray(tiled), canvas.mask, base, canvas.mask, 0.6)
    return canvas.put(base + (faulty - base) * min(1.0, 1.1 * canvas.severity), below=canvas.base, feather=2)


FAMILY = Family("repetition", _repetition, faults=("repetition",))
