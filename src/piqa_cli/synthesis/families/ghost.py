"""What should be gone shows through, or a second, shifted image lies over the region."""

from __future__ import annotations

import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.pixels import U8, Rng, displace, to_float


def _ghost(rng: Rng, canvas: Canvas) -> U8:
    base, picture = to_float(canvas.base), to_float(canvas.picture)
    angle, length = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.025, 0.07)) * max(canvas.mask.shape)
    opacity = float(rng.uniform(0.45, 0.65))
    kind = int(rng.integers(3))
    shift = np.zeros((*canvas.mask.shape, 2), np.float32)
    shift += np.array([np.cos(angle), np.sin(angle)], np.float32) * length
    changed = np.abs(base - picture)[canvas.mask].mean() > 8
    if kind == 0 and changed:
        other = displace(picture, np.float32(0.3) * shift)
    elif kind == 1:
        other = to_float(canvas.donor)
    else:
        other = displace(base, shift)
    return canvas.put(base + (other - base) * (opacity * canvas.severity), below=canvas.base, feather=2)


FAMILY = Family("ghost", _ghost, faults=("ghost",))
