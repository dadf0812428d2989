"""The region lit otherwise than the scene: gain in linear light, gamma, lost contrast."""

from __future__ import annotations

import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, noise_field, sign, to_float


def _exposure(rng: Rng, canvas: Canvas) -> U8:
    stops = sign(rng) * float(rng.uniform(0.9, 1.8)) * canvas.severity
    kind = int(rng.integers(3))
    uneven = 1 + 0.25 * noise_field(rng, canvas.mask.shape, 0.6 * max(canvas.mask.shape))
    base = to_float(canvas.base) / 255
    if kind == 0:
        made = np.clip(base**2.2 * 2 ** (stops * uneven), 0, 1) ** (1 / 2.2)
    elif kind == 1:
        made = base ** (2 ** (-stops * uneven * 0.8))
    else:  # washed out or crushed towards black
        level = 0.75 if stops > 0 else 0.08
        made = base + (level - base) * min(0.6, 0.45 * abs(stops))
    return canvas.put(np.asarray(made * 255, np.float32), below=canvas.base)


FAMILY = Family("exposure", _exposure, faults=("exposure",))
