"""The region softer than the scene (out of focus, moved, upsampled), or sharpened beyond it."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import F32, U8, Rng, blur, to_float


def _motion(base: F32, length: float, angle: float) -> F32:
    side = 2 * int(np.ceil(length)) + 3
    kernel = np.zeros((side, side), np.float32)
    centre = side // 2
    tip = np.array([np.cos(angle), np.sin(angle)]) * length
    ends = [(round(float(centre + s * tip[0])), round(float(centre + s * tip[1]))) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return np.asarray(cv2.filter2D(base, -1, kernel / kernel.sum()), np.float32)


def _sharpness(rng: Rng, canvas: Canvas) -> U8:
    base = to_float(canvas.base)
    kind = int(rng.integers(4))
    scale = max(canvas.mask.shape) / 256
    strength, angle = float(rng.uniform(0.7, 1.3)), float(rng.uniform(0, np.pi))
    severity = canvas.severity
    if severity <= 0:
        made = base
    elif kind <= 1:
        made = blur(base, 3.2 * scale * strength * severity)
    elif kind == 2:
        made = base + min(1, 4 * severity) * (_motion(base, 1 + 6 * scale * strength * severity, angle) - base)
    else:
        made = base + 4 * strength * severity * (base - blur(base, 1.1 * scale))
    return canvas.put(made, below=canvas.base, feather=1.5)


FAMILY = Family("sharpness", _sharpness, faults=("sharpness",))
