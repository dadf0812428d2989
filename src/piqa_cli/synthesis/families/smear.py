"""Texture wiped away: median, bilateral, painterly or directional smear."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import F32, U8, Rng, displace, noise_field, to_float


def _along_flow(base: F32, flow: F32, steps: int) -> F32:
    """Line integral along a smooth field: strokes of a soft brush."""
    total, current = base.copy(), base
    for _ in range(steps):
        current = displace(current, flow)
        total += current
    return total / np.float32(steps + 1)


def _smear(rng: Rng, canvas: Canvas) -> U8:
    base = to_float(canvas.base)
    scale = max(canvas.mask.shape) / 256
    kind = int(rng.integers(3))
    if kind == 0:
        size = 2 * round(3.5 * scale) + 1
        faulty = to_float(np.asarray(cv2.medianBlur(cv2.medianBlur(canvas.base, size), size)))
    elif kind == 1:
        small = cv2.resize(canvas.base, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for _ in range(2):
            small = cv2.bilateralFilter(small, 7, 60, 4)
        size_xy = (canvas.base.shape[1], canvas.base.shape[0])
        faulty = to_float(np.asarray(cv2.resize(small, size_xy, interpolation=cv2.INTER_CUBIC)))
    else:
        flow = noise_field(rng, canvas.mask.shape, 40 * scale, 2)
        flow /= np.linalg.norm(flow, axis=2, keepdims=True) + 0.3
        faulty = _along_flow(base, flow * float(rng.uniform(1.2, 2.2)) * scale, 7)
    return canvas.put(base + (faulty - base) * canvas.severity, below=canvas.base, feather=1.5)


FAMILY = Family("smear", _smear, faults=("smear", "texture_loss"))
