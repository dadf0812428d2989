"""Removal by diffusion inpainting (Telea, Navier-Stokes); worse: less of the texture that hides its smear."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.exemplar import fill_hole
from piqa_cli.synthesis.pixels import U8, Rng, blur, resize, to_float

_SIDE = 160  # OpenCV's inpainting is slow; its result has no fine detail to lose anyway


def _inpaint(rng: Rng, canvas: Canvas) -> U8:
    method = cv2.INPAINT_TELEA if rng.random() < 0.5 else cv2.INPAINT_NS
    textured = fill_hole(rng, canvas.picture, canvas.mask)
    height, width = canvas.mask.shape
    factor = max(1.0, max(height, width) / _SIDE)
    small = resize(canvas.picture, (round(height / factor), round(width / factor)))
    hole = resize(canvas.mask.astype(np.uint8) * 255, (small.shape[0], small.shape[1])) > 0
    filled = cv2.inpaint(small, hole.astype(np.uint8), 3, method)
    smeared = to_float(resize(np.asarray(filled, np.uint8), (height, width), cv2.INTER_CUBIC))
    # Severity 0 keeps the diffusion's broad shading and borrows the texture; 1 is the bare diffusion.
    sigma = 0.03 * max(height, width)
    clean = textured + 0.3 * blur(smeared - textured, sigma)
    return canvas.put(clean + (smeared - clean) * canvas.severity, feather=1.5)


FAMILY = Family("inpaint", _inpaint, faults=("smear",), content=True)
