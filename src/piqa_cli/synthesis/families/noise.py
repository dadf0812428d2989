"""The region noisier than the scene, or clean where the scene has grain."""

from __future__ import annotations

import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, blur, noise_field, to_float


def _noise(rng: Rng, canvas: Canvas) -> U8:
    base = to_float(canvas.base)
    size = canvas.mask.shape
    strength = float(rng.uniform(14, 30))
    wavelength = float(rng.choice([1.0, 1.0, 1.8, 3.0]))
    coloured = rng.random() < 0.5
    loses = rng.random() < 0.8
    if loses and canvas.grain.any():  # the grain of the photo stops at the border of the region
        faulty = blur(base - canvas.grain, 0.6)
    else:
        field = noise_field(rng, size, wavelength, 3) if coloured else noise_field(rng, size, wavelength)
        light = 0.5 + np.sqrt(base.mean(2, keepdims=True) / 255)
        faulty = base + strength * field * light
    return canvas.put(base + (faulty - base) * canvas.severity, below=canvas.base, feather=1)


FAMILY = Family("noise", _noise, faults=("noise",), grain=0.5)
