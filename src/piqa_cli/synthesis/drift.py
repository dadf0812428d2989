"""Unwanted changes outside the edited region, as editors that redraw the whole picture leave them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from piqa_cli.synthesis.exemplar import fill_hole
from piqa_cli.synthesis.masks import draw_mask
from piqa_cli.synthesis.photos import Photo
from piqa_cli.synthesis.pixels import (
    F32,
    U8,
    Mask,
    Rng,
    blur,
    dilate,
    displace,
    inner_alpha,
    noise_field,
    sign,
    to_float,
    to_uint8,
)  # fmt: skip


def _tinted(rng: Rng, base: F32, where: Mask, severity: float) -> F32:
    cast = sign(rng) * rng.uniform(6, 22, 3) * rng.choice([1, 1, -1], 3)
    uneven = 1 + 0.5 * noise_field(rng, where.shape, 0.5 * max(where.shape))
    tinted: F32 = base + cast.astype(np.float32) * uneven * np.float32(severity)
    return tinted


def _softened(rng: Rng, base: F32, where: Mask, severity: float) -> F32:
    return blur(base, float(rng.uniform(1.5, 2.5)) * severity * max(where.shape) / 256)


def _moved(rng: Rng, base: F32, where: Mask, severity: float) -> F32:
    scale = max(where.shape) / 256
    return displace(base, noise_field(rng, where.shape, float(rng.uniform(15, 40)) * scale, 2) * 3.5 * scale * severity)


def _redrawn(rng: Rng, base: F32, where: Mask, severity: float) -> F32:
    moved = displace(base, noise_field(rng, where.shape, float(rng.uniform(6, 14)), 2) * 2.0 * severity)
    low = blur(moved, 1.5)
    return low + (moved - low) * (1 - 0.6 * severity * np.clip(1 + noise_field(rng, where.shape, 20), 0, 1.5))


def _erased(rng: Rng, base: F32, where: Mask, severity: float) -> F32:
    filled = fill_hole(rng, to_uint8(base), where)
    return base + (filled - base) * min(1.0, 0.3 + severity)


# Whether it takes the whole surroundings (True) or only spots of them.
DRIFTS: tuple[tuple[str, Callable[[Rng, F32, Mask, float], F32], bool], ...] = (
    ("tinted", _tinted, True),
    ("softened", _softened, True),
    ("moved", _moved, True),
    ("redrawn", _redrawn, True),
    ("moved_spots", _moved, False),
    ("erased_spots", _erased, False),
)


def drift(rng: Rng, photo: Photo, edited: U8, mask: Mask, severity: float) -> tuple[U8, Mask]:
    """The edited picture with drift outside the mask, and where it is (H x W); inside nothing changes."""
    _, change, everywhere = DRIFTS[int(rng.integers(len(DRIFTS)))]
    where = ~dilate(mask, 1)
    if not everywhere:
        spots = np.zeros_like(mask)
        for _ in range(1 + round(2 * severity)):
            spots |= draw_mask(rng, photo, area=float(rng.uniform(0.004, 0.02)))
        where &= spots
    if not where.any():
        return edited, np.zeros_like(mask)
    base = to_float(edited)
    changed = change(rng, base, where, severity)
    mixed = base + inner_alpha(where, 2)[..., None] * (changed - base)
    return np.where(where[..., None], to_uint8(mixed), edited), where
