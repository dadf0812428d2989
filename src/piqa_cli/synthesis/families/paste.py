"""Something from another photo; worse: it keeps its own light and colour, and a hard edge."""

from __future__ import annotations

import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import (
    F32,
    U8,
    Rng,
    displace,
    inner_alpha,
    match_statistics,
    membrane,
    noise_field,
    ring,
    sign,
    to_float,
)  # fmt: skip


def _paste(rng: Rng, canvas: Canvas) -> U8:
    amount = float(rng.uniform(0.5, 0.9))
    poisson = rng.random() < 0.25
    gain = 1 + sign(rng) * float(rng.uniform(0.25, 0.5))
    tint = 1 + float(rng.uniform(0.1, 0.25)) * sign(rng) * np.array([1, 0, -1], np.float32)
    tone = (rng.normal(0, 2) + rng.normal(0, 1, 3)).astype(np.float32)
    around = ring(canvas.inner, max(6, round(0.06 * max(canvas.mask.shape))))
    donor = to_float(canvas.donor)
    clean: F32 = match_statistics(donor, canvas.inner, to_float(canvas.picture), around, amount)
    if poisson:
        border = ring(canvas.inner, 2)
        if border.any():
            clean = clean + membrane(np.where(border[..., None], to_float(canvas.picture) - clean, 0), border)
    foreign: F32 = np.clip(donor * gain * tint, 0, 255).astype(np.float32)
    content = clean + (foreign - clean) * canvas.severity
    # Around the object, but inside the mask, tools redraw the surroundings a little.
    redrawn = displace(to_float(canvas.picture), noise_field(rng, canvas.mask.shape, 14, 2)) + tone
    alpha = inner_alpha(canvas.inner, 1 + (canvas.feather - 1) * (1 - canvas.severity))[..., None]
    return canvas.put(redrawn + (content - redrawn) * alpha, feather=1 if (canvas.inner == canvas.mask).all() else None)


FAMILY = Family("paste", _paste, faults=("colour", "exposure", "seam"), content=True)
