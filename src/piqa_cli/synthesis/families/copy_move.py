"""A part of the same photo, moved, mirrored, rescaled; worse: a visible edge and another sharpness."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, blur, inner_alpha, log_uniform, match_statistics, ring, sign, to_float


def _copy_move(rng: Rng, canvas: Canvas) -> U8:
    height, width = canvas.mask.shape
    rows, columns = np.nonzero(canvas.mask)
    centre = np.array([columns.mean(), rows.mean()])
    angle, reach = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.2, 0.5))
    target = np.clip(centre + reach * max(height, width) * np.array([np.cos(angle), np.sin(angle)]), 0, (width, height))
    scale, turn = log_uniform(rng, 0.7, 1.5), float(rng.normal(0, 0.12))
    mirror = sign(rng)
    gain = 1 + sign(rng) * float(rng.uniform(0.12, 0.35))
    sigma = float(rng.uniform(0.8, 2))
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror, 1])
    matrix = np.hstack([linear, (target - linear @ centre)[:, None]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(canvas.picture, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    content = to_float(np.asarray(moved))
    around = ring(canvas.mask, max(6, round(0.05 * max(height, width))))
    clean = match_statistics(content, canvas.mask, to_float(canvas.picture), around, 0.5)
    faulty = blur(content, sigma) * gain
    mixed = clean + (faulty - clean) * canvas.severity
    hard, soft = inner_alpha(canvas.mask, 1), inner_alpha(canvas.mask, canvas.feather)
    alpha = (soft + (hard - soft) * canvas.severity)[..., None]
    under = to_float(canvas.picture)
    return canvas.put(under + (mixed - under) * alpha, feather=1)


FAMILY = Family("copy_move", _copy_move, faults=("seam", "exposure", "sharpness"), content=True)
