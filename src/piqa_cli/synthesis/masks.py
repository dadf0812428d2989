"""Regions to edit: objects, segments, superpixels, strokes, shapes; 0.1 to 60 % of the picture, never empty.

Every kind is a ranking of pixels or cells ("what belongs to the region first") cut where the wanted area is
reached, so that the area is log-uniform whatever the kind; only whole objects keep the area they have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.synthesis.photos import Photo
from piqa_cli.synthesis.pixels import F32, Mask, Rng, dilate, log_uniform, noise_field, pick

SMALLEST_AREA, LARGEST_AREA = 0.001, 0.60


def draw_mask(rng: Rng, photo: Photo, *, area: float | None = None) -> Mask:
    """A random region, H x W; `area` is the wanted share of the picture (log-uniform when not given)."""
    wanted = log_uniform(rng, SMALLEST_AREA, LARGEST_AREA) if area is None else area
    kind = _KINDS[pick(rng, [weight for _, weight in _KINDS])][0]
    count = int(rng.integers(2, 5)) if rng.random() < 0.15 else 1
    mask = np.zeros(photo.pixels.shape[:2], bool)
    for _ in range(count):
        mask |= kind(rng, photo, max(SMALLEST_AREA, wanted / count))
    if rng.random() < 0.35:  # people draw generously
        mask = dilate(mask, round(float(rng.uniform(0.005, 0.04)) * min(mask.shape)))
    if rng.random() < 0.3:
        mask = _smooth(mask)
    return bounded(rng, mask)


def bounded(rng: Rng, mask: Mask) -> Mask:
    """The mask if its area is within bounds; cut around a point inside it, or replaced by an ellipse, if not."""
    share = float(mask.mean())
    if SMALLEST_AREA <= share <= LARGEST_AREA:
        return mask
    height, width = mask.shape
    if share > LARGEST_AREA:
        distance = np.where(mask, _distance_from_point(rng, mask), np.float32(np.inf))
        return _first(distance, float(rng.uniform(0.2, LARGEST_AREA)))
    grown = mask | dilate(mask, 2)
    if share > 0 and grown.mean() >= SMALLEST_AREA:
        return grown
    return _first(_ellipse_rank(rng, (height, width)), float(rng.uniform(2, 6)) * SMALLEST_AREA)


def draw_object(rng: Rng, photo: Photo) -> Mask | None:
    """One whole object of the photo (a connected part of one class), or None where none is known."""
    if photo.objects is None or not photo.objects.any():
        return None
    classes = [int(value) for value in np.unique(photo.objects) if value > 0]
    chosen = photo.objects == classes[int(rng.integers(len(classes)))]
    _, parts, stats, _ = cv2.connectedComponentsWithStats(chosen.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA].astype(float)
    areas[areas < SMALLEST_AREA * chosen.size] = 0
    if not areas.any():
        return None
    return np.asarray(parts == 1 + pick(rng, [float(area) for area in areas]))


def draw_thing(rng: Rng, photo: Photo) -> Mask:
    """A whole object where one is known, else whole segments or superpixels: something with an outline of its own."""
    mask = draw_object(rng, photo)
    return bounded(rng, _segments(rng, photo, log_uniform(rng, 0.003, 0.3)) if mask is None else mask)


def _object(rng: Rng, photo: Photo, area: float) -> Mask:
    mask = draw_object(rng, photo)
    if mask is None:
        return _segments(rng, photo, area)
    if rng.random() < 0.6 or mask.mean() < area:
        return mask
    return _first(np.where(mask, _distance_from_point(rng, mask), np.float32(np.inf)), area)  # a part of the object


def _segments(rng: Rng, photo: Photo, area: float) -> Mask:
    return _superpixels(rng, photo, area) if photo.segments is None else _first_cells(rng, photo.segments, area)


def _superpixels(rng: Rng, photo: Photo, area: float) -> Mask:
    """Grid-seeded watershed cells on a reduced picture, merged around one of them."""
    height, width = photo.pixels.shape[:2]
    factor = max(1.0, min(height, width) / 128)
    small = cv2.resize(photo.pixels, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    step = int(np.clip(np.sqrt(area * small.shape[0] * small.shape[1] / rng.uniform(1, 6)), 4, 40))
    seeds = np.zeros(small.shape[:2], np.int32)
    rows, columns = np.arange(step // 2, seeds.shape[0], step), np.arange(step // 2, seeds.shape[1], step)
    seeds[np.ix_(rows, columns)] = np.arange(1, len(rows) * len(columns) + 1).reshape(len(rows), len(columns))
    cells = cv2.watershed(np.ascontiguousarray(small), seeds)
    cells = cv2.dilate(cells.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)  # over the watersheds
    cells = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    return _first_cells(rng, np.asarray(cells, np.int32), area)


def _strokes(rng: Rng, photo: Photo, area: float) -> Mask:
    height, width = photo.pixels.shape[:2]
    lines = np.ones((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        point = rng.uniform(0, 1, 2) * (width, height)
        heading = rng.uniform(0, 2 * np.pi)
        points = [point]
        for _ in range(int(rng.integers(3, 10))):
            heading += rng.normal(0, 0.6)
            point = point + np.array([np.cos(heading), np.sin(heading)]) * np.sqrt(area) * rng.uniform(0.1, 0.6) * width
            points.append(point)
        cv2.polylines(lines, [np.round(points).astype(np.int32).reshape(-1, 1, 2)], False, 0, 1)
    return _first(np.asarray(cv2.distanceTransform(lines, cv2.DIST_L2, 5), np.float32), area)


def _ellipse(rng: Rng, photo: Photo, area: float) -> Mask:
    height, width = photo.pixels.shape[:2]
    return _first(_ellipse_rank(rng, (height, width)), area)


def _rectangle(rng: Rng, photo: Photo, area: float) -> Mask:
    x, y = _turned_axes(rng, photo.pixels.shape[:2], turn=0 if rng.random() < 0.7 else float(rng.uniform(0, np.pi)))
    return _first(np.maximum(np.abs(x), np.abs(y)), area)


def _blob(rng: Rng, photo: Photo, area: float) -> Mask:
    height, width = photo.pixels.shape[:2]
    rank = _ellipse_rank(rng, (height, width)) / (np.sqrt(area) * max(height, width))
    wavelength = np.sqrt(area) * max(height, width) * float(rng.uniform(0.3, 0.9))
    roughness = float(rng.uniform(0.15, 0.6))
    return _first(rank + roughness * noise_field(rng, (height, width), max(4, wavelength))[..., 0], area)


_KINDS: tuple[tuple[Callable[[Rng, Photo, float], Mask], float], ...] = (
    (_object, 0.28),
    (_segments, 0.16),
    (_superpixels, 0.16),
    (_strokes, 0.10),
    (_ellipse, 0.08),
    (_rectangle, 0.08),
    (_blob, 0.14),
)


def _turned_axes(rng: Rng, size: tuple[int, ...], turn: float) -> tuple[F32, F32]:
    """Pixel coordinates about a random centre, turned by `turn` radians and stretched to a random aspect."""
    height, width = size[0], size[1]
    centre_y, centre_x = rng.uniform(0.1, 0.9, 2) * (height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x - np.float32(centre_x), y - np.float32(centre_y)
    aspect = np.float32(log_uniform(rng, 0.5, 2.0))
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return (x * cos + y * sin) * aspect, (y * cos - x * sin) / aspect


def _ellipse_rank(rng: Rng, size: tuple[int, int]) -> F32:
    x, y = _turned_axes(rng, size, float(rng.uniform(0, np.pi)))
    return np.asarray(np.sqrt(x * x + y * y), np.float32)


def _distance_from_point(rng: Rng, mask: Mask) -> F32:
    rows, columns = np.nonzero(mask)
    index = int(rng.integers(len(rows)))
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]].astype(np.float32)
    return np.asarray(np.hypot(x - columns[index], y - rows[index]), np.float32)


def _first(rank: F32, area: float) -> Mask:
    """The pixels of lowest rank that make up `area` of the picture; infinite rank never counts."""
    count = int(np.clip(round(area * rank.size), 1, rank.size))
    limit = np.partition(rank.ravel(), count - 1)[count - 1]
    return np.asarray((rank <= limit) & np.isfinite(rank))


def _first_cells(rng: Rng, cells: NDArray[np.integer[Any]], area: float) -> Mask:
    """Whole cells around a random one, nearest first, until the area is reached."""
    numbers, inverse = np.unique(cells, return_inverse=True)
    inverse = inverse.reshape(-1)
    sizes = np.bincount(inverse, minlength=len(numbers))
    y, x = np.divmod(np.arange(cells.size), cells.shape[1])
    centres = np.stack([np.bincount(inverse, y), np.bincount(inverse, x)]) / sizes
    order = np.argsort(np.hypot(*(centres - centres[:, [int(rng.integers(len(numbers)))]])))
    count = 1 + int(np.searchsorted(np.cumsum(sizes[order]), area * cells.size))
    chosen = np.zeros(len(numbers), bool)
    chosen[order[:count]] = True
    return np.asarray(chosen[inverse].reshape(cells.shape))


def _smooth(mask: Mask) -> Mask:
    sigma = 0.01 * min(mask.shape)
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma) > 0.5)
