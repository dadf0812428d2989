"""The region in another light's colour: temperature, hue, saturation, or the statistics of another photo."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import F32, U8, Rng, match_statistics, sign, to_float


def _temperature(rng: Rng, base: F32) -> F32:
    warm = sign(rng) * float(rng.uniform(0.25, 0.45))
    green = float(rng.normal(0, 0.08))
    gains = np.exp(np.array([warm, green, -warm], np.float32))
    return np.asarray(base * gains / np.mean(gains), np.float32)


def _hue_saturation(rng: Rng, base: F32) -> F32:
    hsv = np.asarray(cv2.cvtColor(np.clip(base / 255, 0, 1), cv2.COLOR_RGB2HSV), np.float32)
    hsv[..., 0] = (hsv[..., 0] + sign(rng) * float(rng.uniform(15, 60))) % 360
    factor = float(rng.choice([0.1, 0.4, 1.8, 2.6]))
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + (0.12 if factor > 1 else 0), 0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32) * 255


def _histogram(base: F32, canvas: Canvas) -> F32:
    """Each channel's distribution inside the mask replaced by the donor's."""
    made = base.copy()
    for channel in range(3):
        values = base[..., channel][canvas.mask]
        wanted = np.sort(canvas.donor[..., channel].ravel())
        order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        made[..., channel][canvas.mask] = wanted[(order * (wanted.size - 1)) // max(1, values.size - 1)]
    return made


def _covariance(base: F32, canvas: Canvas) -> F32:
    """Mean and covariance of the region's colours replaced by the donor's (Xiao and Ma 2006, by principal axes)."""
    values, wanted = base[canvas.mask], to_float(canvas.donor).reshape(-1, 3)
    if len(values) < 2:
        return base
    spreads, axes = np.linalg.eigh(np.cov(values.T) + np.eye(3))
    wanted_spreads, wanted_axes = np.linalg.eigh(np.cov(wanted.T) + np.eye(3))
    wanted_axes = wanted_axes * np.where((axes * wanted_axes).sum(0) < 0, -1, 1)  # an axis has no sign of its own
    gains = np.sqrt(wanted_spreads / spreads).clip(0.4, 2.5)
    moved = (values - values.mean(0)) @ (axes * gains) @ wanted_axes.T + wanted.mean(0)
    made = base.copy()
    made[canvas.mask] = moved
    return made


def _colour(rng: Rng, canvas: Canvas) -> U8:
    base = to_float(canvas.base)
    kind = int(rng.integers(5))
    if kind == 0:
        faulty = _temperature(rng, base)
    elif kind == 1:
        faulty = _hue_saturation(rng, base)
    elif kind == 2:
        everywhere = np.ones(canvas.mask.shape, bool)
        faulty = _temperature(rng, match_statistics(base, canvas.mask, to_float(canvas.donor), everywhere, 1.0))
    elif kind == 3:
        faulty = _covariance(_temperature(rng, base), canvas)
    else:
        faulty = base + 0.7 * (_histogram(_temperature(rng, base), canvas) - base)
    return canvas.put(base + (np.clip(faulty, 0, 255) - base) * canvas.severity, below=canvas.base)


FAMILY = Family("colour", _colour, faults=("colour",))
