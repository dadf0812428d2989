"""Another colour for what is there; worse: a flat, oversaturated coat that loses the shading."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, sign, to_float


def _recolour(rng: Rng, canvas: Canvas) -> U8:
    angle = sign(rng) * float(rng.uniform(0.5, np.pi))
    lift = sign(rng) * float(rng.uniform(4, 12))
    hue = float(rng.uniform(0, 2 * np.pi))
    chroma = float(rng.uniform(12, 30))
    lab = np.asarray(cv2.cvtColor(to_float(canvas.base) / 255, cv2.COLOR_RGB2LAB), np.float32)
    a, b = lab[..., 1].copy(), lab[..., 2].copy()
    # Rotated hue, and some chroma of its own so that grey things change too.
    shading = np.clip(lab[..., 0] * (100 - lab[..., 0]) / 2500, 0, 1)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    wanted_a = (a * cos - b * sin) * 0.8 + chroma * 0.5 * np.cos(hue) * shading
    wanted_b = (a * sin + b * cos) * 0.8 + chroma * 0.5 * np.sin(hue) * shading
    excess = 60 * canvas.severity
    lab[..., 1] = wanted_a + excess * np.cos(hue)
    lab[..., 2] = wanted_b + excess * np.sin(hue)
    mean = float(lab[..., 0][canvas.mask].mean())
    lab[..., 0] += lift + canvas.severity * 0.5 * (mean - lab[..., 0])
    rgb = cv2.cvtColor(np.clip(lab, (0, -127, -127), (100, 127, 127)).astype(np.float32), cv2.COLOR_LAB2RGB)
    return canvas.put(np.asarray(np.clip(rgb, 0, 1) * 255, np.float32), feather=min(canvas.feather, 2))


FAMILY = Family("recolour", _recolour, faults=("colour",), content=True)
