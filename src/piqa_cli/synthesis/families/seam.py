"""The border of the region gives it away: a bright or dark halo, an outline, a step of a few pixels."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, displace, inner_alpha, sign, to_float


def _seam(rng: Rng, canvas: Canvas) -> U8:
    base = to_float(canvas.base)
    scale = max(canvas.mask.shape) / 256
    kind = int(rng.integers(3))
    if kind == 2 and np.abs(base - canvas.picture)[canvas.mask].mean() > 12:
        kind = 0  # a step does not show where new content meets the photo anyway
    width = float(rng.uniform(2, 7)) * scale
    strength = sign(rng) * float(rng.uniform(45, 90))
    angle = float(rng.uniform(0, 2 * np.pi))
    tint = 1 + 0.4 * rng.uniform(-1, 1, 3).astype(np.float32)
    if kind == 2:  # the region sits a few pixels beside where it belongs
        length = float(rng.uniform(3, 7)) * scale * canvas.severity
        shift = np.broadcast_to(np.array([np.cos(angle), np.sin(angle)], np.float32) * length, (*canvas.mask.shape, 2))
        return canvas.put(displace(base, shift.astype(np.float32)), below=canvas.base, feather=1)
    padded = cv2.copyMakeBorder(canvas.mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1], np.float32) - 1
    edge = np.exp(-((depth / width) ** 2)) if kind == 0 else (depth < max(1.0, width / 3)).astype(np.float32)
    made = base + (edge * inner_alpha(canvas.mask, 1))[..., None] * strength * tint * canvas.severity
    return canvas.put(made, below=canvas.base, feather=1)


FAMILY = Family("seam", _seam, faults=("seam",))
