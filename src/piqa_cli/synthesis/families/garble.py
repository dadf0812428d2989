"""Structure that makes no sense: shuffled patches, scrambled phase, letters and faces dissolved."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import F32, U8, Rng, displace, to_float


def _shuffled(rng: Rng, canvas: Canvas, base: F32) -> F32:
    """Every patch looks a random step away; the step grows with severity."""
    height, width = canvas.mask.shape
    side = max(4, round(float(rng.uniform(0.08, 0.2)) * np.sqrt(canvas.mask.sum())))
    grid = (height // side + 1, width // side + 1)
    steps = rng.standard_normal((*grid, 2)).astype(np.float32) * side * 0.7
    crisp = cv2.resize(steps, (grid[1] * side, grid[0] * side), interpolation=cv2.INTER_NEAREST)[:height, :width]
    smooth = cv2.GaussianBlur(crisp, (0, 0), side * float(rng.choice([0.1, 0.3])) + 0.1)
    return displace(base, np.asarray(smooth, np.float32) * canvas.severity)


def _scrambled(rng: Rng, canvas: Canvas, base: F32) -> F32:
    """The Fourier phase of what is in the region's box, disturbed at all but the lowest frequencies."""
    rows, columns = np.nonzero(canvas.mask)
    box = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
    part = base[box]
    spectrum = np.fft.rfft2(part, axes=(0, 1))
    frequency = np.hypot(np.fft.fftfreq(part.shape[0])[:, None], np.fft.rfftfreq(part.shape[1])[None])
    phase = rng.uniform(-np.pi, np.pi, spectrum.shape[:2]) * np.clip(frequency / 0.05 - 0.3, 0, 1)
    turned = spectrum * np.exp(1j * phase * min(1.0, 1.1 * canvas.severity))[..., None]
    made = base.copy()
    made[box] = np.fft.irfft2(turned, part.shape[:2], axes=(0, 1))
    return made


def _garble(rng: Rng, canvas: Canvas) -> U8:
    base = to_float(canvas.base)
    made = _shuffled(rng, canvas, base) if rng.random() < 0.6 else _scrambled(rng, canvas, base)
    return canvas.put(made, below=canvas.base, feather=2)


FAMILY = Family("garble", _garble, faults=("garbled",))
