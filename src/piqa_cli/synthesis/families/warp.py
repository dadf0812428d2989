"""Shapes bent within the region: wobbling outlines, swollen or pinched parts."""

from __future__ import annotations

import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, displace, inner_alpha, noise_field, to_float


def _warp(rng: Rng, canvas: Canvas) -> U8:
    size = canvas.mask.shape
    side = float(np.sqrt(canvas.mask.sum()))
    field = noise_field(rng, size, max(10, side * float(rng.uniform(0.2, 0.5))), 2)
    strength = float(rng.uniform(0.06, 0.1)) * side + 2.5
    # The displacement fades towards the border, so that the region still joins its surroundings.
    fade = inner_alpha(canvas.mask, max(2, 0.15 * side))[..., None]
    moved = displace(to_float(canvas.base), field * fade * strength * canvas.severity)
    return canvas.put(moved, below=canvas.base, feather=1)


FAMILY = Family("warp", _warp, faults=("warp",))
