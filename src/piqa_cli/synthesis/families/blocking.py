"""Blocks and stairs in the region alone: a strong local JPEG, or coarse pixels blown up."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, blur, encode, to_float


def _blocking(rng: Rng, canvas: Canvas) -> U8:
    height, width = canvas.mask.shape
    if rng.random() < 0.65:
        subsampling = int(rng.choice([0, 2]))
        coded = to_float(encode(canvas.base, "JPEG", round(40 * 0.1**canvas.severity), subsampling))
        # The lowest qualities also get broad colours wrong, which would be another fault.
        faulty = coded + blur(to_float(canvas.base) - coded, 6)
    else:
        coarse = 1.5 + float(rng.uniform(2, 3.5)) * canvas.severity * max(height, width) / 256
        size = (max(1, round(width / coarse)), max(1, round(height / coarse)))
        small = cv2.resize(canvas.base, size, interpolation=cv2.INTER_AREA)
        faulty = to_float(np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)))
    base = to_float(canvas.base)
    mix = min(1.0, 3 * canvas.severity)
    return canvas.put(base + (faulty - base) * mix, below=canvas.base, feather=1)


FAMILY = Family("blocking", _blocking, faults=("blocking",))
