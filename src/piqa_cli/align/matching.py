"""Where to start when two pictures are far apart: blocks searched for in a window, or SIFT key points, and a vote."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.align.motion import TEXTURED, Level, Matrix, Plane, Size, compose, reduced, rescaled

RANSAC_DRAWS = 400
FEATURE_SIDE = 320


def search(level: Level, matrix: Matrix, reach: float = 0.09) -> Matrix | None:
    """A motion of up to `reach` of the longer side from `matrix`, by matching blocks and a vote among them.

    None where no two blocks agree.
    """
    height, width = level.size
    side = max(8, min(24, min(height, width) // 3))
    radius = max(3, round(reach * max(height, width)))
    padded = np.pad(level.seen(matrix), radius)
    origins, moves, votes = [], [], []
    for y in np.linspace(0, height - side, max(3, round(1.5 * height / side))).astype(int):
        for x in np.linspace(0, width - side, max(3, round(1.5 * width / side))).astype(int):
            template = level.edited[y : y + side, x : x + side]
            row = min(level.grid[0] - 1, (y + side // 2) * level.grid[0] // height)
            column = min(level.grid[1] - 1, (x + side // 2) * level.grid[1] // width)
            if float(np.mean(template * template)) < TEXTURED or level.usable[row, column] < 0.5:
                continue
            window = padded[y : y + side + 2 * radius, x : x + side + 2 * radius]
            match = cv2.matchTemplate(window, template, cv2.TM_CCOEFF_NORMED)
            _, best, _, place = cv2.minMaxLoc(match)
            if best > 0.5:
                origins.append(complex(x + side / 2 - 0.5, y + side / 2 - 0.5))
                moves.append(complex(place[0] - radius, place[1] - radius))
                votes.append(best - 0.4)
    start = np.array(origins)
    found = similarity_by_vote(start, start + np.array(moves), np.array(votes), 1.5, (0.85, 1.18), 0.14)
    return None if found is None else compose(found[0], matrix)


def similarity_by_vote(
    start: NDArray[np.complex128],
    end: NDArray[np.complex128],
    votes: NDArray[np.float64],
    tolerance: float,
    scales: tuple[float, float],
    turn: float,
) -> tuple[Matrix, float] | None:
    """The similarity end = a * start + b (points as complex numbers) most votes agree on, and their sum.

    RANSAC with a fixed seed of its own: the same points give the same answer, whatever ran before.
    """
    if len(start) < 3:
        return None
    draws = np.random.default_rng(0)
    first, second = draws.integers(0, len(start), (2, RANSAC_DRAWS))
    span = start[second] - start[first]
    apart = np.abs(span) > 3 * tolerance
    slope = (end[second] - end[first])[apart] / span[apart]
    slope = np.concatenate([slope, np.ones(min(len(start), 100))])  # pure shifts too
    offset = np.concatenate([end[first][apart], end[:100]]) - slope * np.concatenate([start[first][apart], start[:100]])
    sound = (np.abs(slope) > scales[0]) & (np.abs(slope) < scales[1]) & (np.abs(np.angle(slope)) < turn)
    slope, offset = slope[sound], offset[sound]
    if not len(slope):
        return None
    off = np.abs(slope[:, None] * start + offset[:, None] - end)
    best = int(np.argmax((np.clip(1 - (off / tolerance) ** 2, 0, 1) * votes).sum(axis=1)))
    near = off[best] < tolerance
    if np.count_nonzero(near) < 3:
        return None
    a, b = _least_squares(start[near], end[near], votes[near])
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    return matrix, float(votes[near].sum())


def _least_squares(
    start: NDArray[np.complex128], end: NDArray[np.complex128], weights: NDArray[np.float64]
) -> tuple[complex, complex]:
    weights = weights / weights.sum()
    from_middle, to_middle = (weights * start).sum(), (weights * end).sum()
    centred = start - from_middle
    spread = float((weights * np.abs(centred) ** 2).sum())
    a = complex((weights * np.conj(centred) * (end - to_middle)).sum() / spread) if spread > 1e-6 else 1.0 + 0.0j
    return a, complex(to_middle - a * from_middle)


def search_features(source: Plane, edited: Plane, exclude: NDArray[np.bool_] | None) -> Matrix | None:
    """A similarity between the pictures from SIFT key points: for crops and margins; None where none is found."""
    near, small_source = _features(source, None)
    far, small_edited = _features(edited, exclude)
    if near is None or far is None:
        return None
    # whole numbers below 2**24: exact in float32, so the same on every machine and thread count
    product = far[1] @ near[1].T
    distance = (far[1] ** 2).sum(1)[:, None] + (near[1] ** 2).sum(1)[None] - 2 * product
    order = np.argpartition(distance, 1, axis=1)[:, :2]
    two = np.take_along_axis(distance, order, axis=1)
    swap = two[:, 0] > two[:, 1]
    best = np.where(swap, order[:, 1], order[:, 0])
    keep = two.min(axis=1) < 0.72 * two.max(axis=1)
    keep &= distance.argmin(axis=0)[best] == np.arange(len(best))
    start, end = far[0][keep], near[0][best[keep]]
    found = similarity_by_vote(start, end, np.ones(len(start)), 3.0, (0.2, 5.0), 0.3)
    if found is None or found[1] < 6:
        return None
    return rescaled(found[0], (small_edited, _shape(edited)), (small_source, _shape(source)))


def _shape(plane: Plane) -> Size:
    return plane.shape[0], plane.shape[1]


def _features(
    luma: Plane, exclude: NDArray[np.bool_] | None
) -> tuple[tuple[NDArray[np.complex128], Plane] | None, Size]:
    ratio = min(1.0, FEATURE_SIDE / max(luma.shape))
    size = max(8, round(luma.shape[0] * ratio)), max(8, round(luma.shape[1] * ratio))
    small = reduced(luma, size)
    mask = None
    if exclude is not None:
        mask = np.where(reduced(exclude.astype(np.float32), size) > 0, 0, 255).astype(np.uint8)
    detector = cv2.SIFT.create(nfeatures=500, contrastThreshold=0.02)
    points, descriptors = detector.detectAndCompute(np.clip(small + 0.5, 0, 255).astype(np.uint8), mask)
    if len(points) < 6:
        return None, size
    # OpenCV's key points are in pixel-centre coordinates
    return (np.array([complex(*point.pt) for point in points]), np.asarray(descriptors, np.float32)), size
