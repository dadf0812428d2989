"""The same small piece again and again across the region."""

from __future__ import annotations

import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, blur, noise_field, to_float


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
    tiled = np.ascontiguousarray(tiled)
    faulty = tiled + 0.7 * blur(base - tiled, float(side))  # light and colour stay those of the place
    # Severity is how much of the region is repeated, from one random place outwards.
    spread = np.hypot(np.arange(height)[:, None] - rows[index], np.arange(width)[None] - columns[index])
    spread = spread / (side + spread[canvas.mask].max()) + 0.05 * noise_field(rng, (height, width), side)[..., 0]
    reach = np.clip((1.15 * canvas.severity - np.maximum(spread, 0)) / 0.1, 0, 1).astype(np.float32)[..., None]
    return canvas.put(base + (faulty - base) * reach, below=canvas.base, feather=2)


FAMILY = Family("repetition", _repetition, faults=("repetition",))
