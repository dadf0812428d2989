"""Filling a hole from elsewhere in the same photo, as removal tools do: best offset, then smooth borders."""

from __future__ import annotations

import cv2
import numpy as np

from piqa_cli.synthesis.pixels import F32, U8, Mask, Rng, blur, dilate, membrane, ring, to_float

_WORKING_SIDE = 96  # offsets are searched on a picture this small
_ROUNDS = 5
_PARTS = 4


def fill_hole(rng: Rng, picture: U8, hole: Mask) -> F32:
    """The picture with the hole filled from its surroundings, H x W x 3 float32; unchanged outside.

    The copied part is the one whose surroundings look most like the hole's (or one of the next best);
    where that part lies in the hole itself, another round fills what is left.
    """
    result = to_float(picture)
    left = hole.copy()
    for part in _parts(hole):
        result = _fill_part(rng, result, part, left)
        left &= ~part
    return np.asarray(np.clip(result, 0, 255), np.float32)


def _parts(hole: Mask) -> list[Mask]:
    """The connected parts of the hole, largest first; the smallest together as one."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8))
    order = [1 + int(index) for index in np.argsort(-stats[1:, cv2.CC_STAT_AREA])]
    if count <= _PARTS + 1:
        return [np.asarray(labels == index) for index in order]
    rest = hole & ~np.isin(labels, order[:_PARTS])
    return [*(np.asarray(labels == index) for index in order[:_PARTS]), rest]


def _fill_part(rng: Rng, picture: F32, part: Mask, unknown: Mask) -> F32:
    """One part filled; `unknown` is all of the hole that is not filled yet, this part included."""
    result, left, known = picture, part.copy(), ~unknown
    for _ in range(_ROUNDS):
        offset = _best_offset(rng, result, left, ~known) if left.any() else None
        if offset is None:
            break
        moved, usable = _shifted(result, known, offset)
        take = left & usable
        if not take.any():
            break
        border = ring(take, 4) & known
        if border.any():
            moved = moved + membrane(_smoothed(result - moved, border), border)
        result = np.where(take[..., None], moved, result)
        left, known = left & ~take, known | take
    if left.any():  # a hole too big for copies: smooth continuation
        result = np.where(left[..., None], membrane(_smoothed(result, known), known), result)
    return result


def _smoothed(values: F32, known: Mask) -> F32:
    """Averages of the known values nearby, so that the texture at the border does not run inwards as streaks."""
    weight = known.astype(np.float32)[..., None]
    total = blur(np.concatenate([values * weight, weight], 2), 3.0)
    return np.asarray(np.where(weight > 0, total[..., :3] / np.maximum(total[..., 3:], 1e-3), 0), np.float32)


def _best_offset(rng: Rng, picture: F32, left: Mask, unknown: Mask) -> tuple[int, int] | None:
    """(dy, dx) from the hole to one of the best matching places, in pixels."""
    factor = max(1.0, max(left.shape) / _WORKING_SIDE)
    size = (max(8, round(left.shape[1] / factor)), max(8, round(left.shape[0] / factor)))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
    small_left = np.asarray(cv2.resize(left.astype(np.float32), size, interpolation=cv2.INTER_AREA)) > 0
    rows, columns = np.nonzero(dilate(small_left, 3))
    top, bottom, lft, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    seen = ring(small_left, 3)[top:bottom, lft:right]
    template = small[top:bottom, lft:right]
    # A hole as large as the picture leaves no room to slide: pad by half the template.
    pad_y, pad_x = (bottom - top) // 2, (right - lft) // 2
    padded = cv2.copyMakeBorder(small, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_CONSTANT)
    unusable = cv2.resize(unknown.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    blocked = np.pad(unusable.astype(np.float32), ((pad_y, pad_y), (pad_x, pad_x)), constant_values=1)
    weights = np.repeat(seen[..., None].astype(np.float32), 3, 2)
    cost = cv2.matchTemplate(padded, template, cv2.TM_SQDIFF, mask=weights) / max(1, int(seen.sum()))
    inside = small_left[top:bottom, lft:right].astype(np.float32)
    overlap = cv2.matchTemplate(blocked, inside, cv2.TM_CCORR) / max(1.0, float(inside.sum()))
    cost = np.where(overlap < 0.98, np.maximum(cost, 0) + 6000 * overlap, np.inf)
    cost[max(0, pad_y + top - 1) : pad_y + top + 2, max(0, pad_x + lft - 1) : pad_x + lft + 2] = np.inf
    best = np.argsort(cost, axis=None)[: int(rng.integers(1, 4)) ** 2]
    y, x = np.unravel_index(int(best[-1]), cost.shape)
    if not np.isfinite(cost[y, x]):
        return None
    return round((y - pad_y - top) * factor), round((x - pad_x - lft) * factor)


def _shifted(picture: F32, usable: Mask, offset: tuple[int, int]) -> tuple[F32, Mask]:
    """The picture moved so that what lies at p + offset comes to p, and where that is known."""
    height, width = usable.shape
    dy, dx = offset
    moved, known = np.zeros_like(picture), np.zeros_like(usable)
    to_y, to_x = slice(max(0, -dy), min(height, height - dy)), slice(max(0, -dx), min(width, width - dx))
    from_y, from_x = slice(max(0, dy), min(height, height + dy)), slice(max(0, dx), min(width, width + dx))
    moved[to_y, to_x] = picture[from_y, from_x]
    known[to_y, to_x] = usable[from_y, from_x]
    return moved, known
