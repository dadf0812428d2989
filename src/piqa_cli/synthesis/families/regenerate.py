"""The whole masked area drawn anew, alike but not the same, as generative tools do; worse: its detail dissolves."""

from __future__ import annotations

import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, blur, displace, noise_field, to_float


def _regenerate(rng: Rng, canvas: Canvas) -> U8:
    size = canvas.mask.shape
    base = to_float(canvas.base)
    sigma = float(rng.uniform(0.7, 1.4))
    colour = (rng.normal(0, 2.5) + rng.normal(0, 1.2, 3)).astype(np.float32)
    gain = np.exp(0.25 * noise_field(rng, size, 24))
    gentle = noise_field(rng, size, float(rng.uniform(14, 40)), 2) * float(rng.uniform(0.8, 2.0))
    wild = noise_field(rng, size, float(rng.uniform(4, 9)), 2) * float(rng.uniform(3, 6))
    texture = noise_field(rng, size, float(rng.uniform(1.2, 3)), 1)
    warped = displace(base, gentle + wild * canvas.severity)
    low = blur(warped, sigma)
    detail = (warped - low) * gain
    local_contrast = blur(np.abs(warped - low).mean(2, keepdims=True)[..., 0], 4)[..., None]
    made = low + detail * 0.8 + texture * local_contrast * (0.6 + 1.2 * canvas.severity) + colour
    return canvas.put(made)


FAMILY = Family("regenerate", _regenerate, faults=("garbled",), content=True)
