"""How one picture moved against another: robust estimates of an affine motion that large edits cannot pull.

Both pictures are compared as locally normalised luma (mean 0, deviation 1 in a small window), so that tone
curves and exposure hardly matter, and block by block, so that an edited area is a set of outlying blocks.

A matrix here is 2 x 3 and maps (x, y, 1) of the edited frame to the source; integers are pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Plane = NDArray[np.float32]
Size = tuple[int, int]  # height, width
P = TypeVar("P", np.uint8, np.float32)

CONTRAST_FLOOR = 4.0  # grey levels: below this deviation a window counts as flat, and coding noise does not matter
BLOCK = 16  # pixels; 8 on small levels, so that there are enough of them
TEXTURED = 0.3  # share of a block's normalised variance that is above the floor
COARSEST = 96  # the pyramid stops before its longer side falls below this


def rescaled(matrix: Matrix, edited: tuple[Size, Size], source: tuple[Size, Size]) -> Matrix:
    """The same motion between pictures of other sizes: each argument is (size now, size wanted)."""
    return (_resize(*source) @ _square(matrix) @ np.linalg.inv(_resize(*edited)))[:2]


def plain_resize(edited: Size, source: Size) -> Matrix:
    """The matrix that stretches the source over the edited frame: x_source = (x + 0.5) * ratio - 0.5."""
    return _resize(edited, source)[:2]


def compose(first: Matrix, second: Matrix) -> Matrix:
    """`second` applied to what `first` gives."""
    return (_square(second) @ _square(first))[:2]


def inverse(matrix: Matrix) -> Matrix:
    """The matrix that undoes `matrix`."""
    return np.asarray(np.linalg.inv(_square(matrix))[:2], np.float64)


def displacement(matrix: Matrix, base: Matrix, size: Size) -> tuple[float, float]:
    """Mean and largest distance, in pixels of the frame `size`, between where two matrices look."""
    height, width = size
    xs, ys = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
    points = np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])
    moved = compose(matrix, inverse(base)) @ points - points[:2]
    lengths = np.hypot(moved[0], moved[1])
    return float(lengths.mean()), float(lengths.max())


def _square(matrix: Matrix) -> Matrix:
    return np.vstack([matrix, (0.0, 0.0, 1.0)])


def _resize(old: Size, new: Size) -> Matrix:
    sy, sx = new[0] / old[0], new[1] / old[1]
    return np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]], np.float64)


def shrink_factor(matrix: Matrix) -> tuple[float, float]:
    """By how much (x, y) the source must be reduced before it is sampled with `matrix`, so as not to alias."""
    columns = np.hypot(matrix[0, :2], matrix[1, :2])
    return float(max(1.0, columns[0])), float(max(1.0, columns[1]))


def sample(source: NDArray[P], matrix: Matrix, size: Size, interpolation: int) -> NDArray[P]:
    """The source seen through `matrix` in a frame of `size`; area-averaged first where it is reduced."""
    fx, fy = shrink_factor(matrix)
    if fx > 1.02 or fy > 1.02:
        small = max(1, round(source.shape[0] / fy)), max(1, round(source.shape[1] / fx))
        old = source.shape[0], source.shape[1]
        source = reduced(source, small)
        matrix = rescaled(matrix, (size, size), (old, small))
    flags = interpolation | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(source, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, source.dtype)


def reduced(image: NDArray[P], size: Size) -> NDArray[P]:
    """The image averaged over areas to (height, width) `size`."""
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), image.dtype)


def normalised(luma: Plane, window: int) -> Plane:
    """Luma with its local mean removed and its local deviation brought to 1 (less where it is flat)."""
    mean = np.asarray(cv2.boxFilter(luma, -1, (window, window)), np.float32)
    square = np.asarray(cv2.sqrBoxFilter(luma, cv2.CV_32F, (window, window)), np.float32)
    variance = np.maximum(square - mean * mean, 0) + np.float32(CONTRAST_FLOOR**2)
    return np.asarray((luma - mean) / np.sqrt(variance), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One size of the pyramid: the edited frame at that size, the source at its own size."""

    source: Plane
    edited: Plane  # normalised
    usable: Plane  # 0..1 per block: 0 where the caller knows of an edit
    size: Size
    grid: Size
    window: int

    def seen(self, matrix: Matrix) -> Plane:
        """The source through `matrix` (this level's pixels to the source's), normalised."""
        return normalised(sample(self.source, matrix, self.size, cv2.INTER_CUBIC), self.window)


def make_level(source: Plane, edited: Plane, exclude: NDArray[np.bool_] | None, long_side: int) -> Level:
    """The pair of luma planes with the edited frame reduced to `long_side`."""
    ratio = long_side / max(edited.shape)
    size = max(4, round(edited.shape[0] * ratio)), max(4, round(edited.shape[1] * ratio))
    if size != edited.shape:
        edited = reduced(edited, size)
    block = min(BLOCK, max(8, long_side // 16))
    grid = max(2, round(size[0] / block)), max(2, round(size[1] / block))
    window = block + 1
    usable = np.ones(grid, np.float32)
    if exclude is not None:
        usable = 1 - reduced(exclude.astype(np.float32), grid)
    return Level(source, normalised(edited, window), usable, size, grid, window)


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """What each block of a level says; arrays are grid height x grid width (flattened where 1-D is named)."""

    correlation: Plane  # -1..1 between the two normalised pictures
    texture: Plane  # 0..1 of the edited picture
    covered: NDArray[np.bool_]  # the source reaches this block, and the caller did not exclude it
    counted: NDArray[np.bool_]  # textured and not excluded: what a score is taken over
    centres: NDArray[np.float64]  # n x 2, x and y in the level's pixels
    tensor: NDArray[np.float64]  # n x 2 x 2 gradient products
    pull: NDArray[np.float64]  # n x 2 gradient times difference

    @property
    def score(self) -> float:
        """0..1: how much of the edited picture's texture is found in the source, good blocks counting most."""
        if not self.counted.any():
            return 0.0
        found = np.where(self.covered, np.clip(self.correlation, 0, 1) ** 2, 0)
        return float(found[self.counted].mean())


def measure(level: Level, matrix: Matrix) -> Blocks:
    """Compare the pictures under `matrix` (in the level's pixels to the source's), block by block."""
    source, edited = level.seen(matrix), level.edited
    mean = (source + edited) * 0.5
    gx = cv2.Sobel(mean, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    gy = cv2.Sobel(mean, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    gap = edited - source

    def pool(plane: Plane) -> Plane:
        return reduced(plane, level.grid)

    energy_s, energy_e = pool(source * source), pool(edited * edited)
    correlation = pool(source * edited) / np.sqrt((energy_s + 0.002) * (energy_e + 0.002))
    xx, xy, yy = pool(gx * gx).ravel(), pool(gx * gy).ravel(), pool(gy * gy).ravel()
    centres, inside = _cells(level, matrix)
    free = level.usable > 0.9
    return Blocks(
        correlation=np.asarray(correlation, np.float32),
        texture=energy_e,
        covered=inside & free,
        counted=(energy_e > TEXTURED) & free,
        centres=centres,
        tensor=np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2).astype(np.float64),
        pull=np.stack([pool(gx * gap).ravel(), pool(gy * gap).ravel()], axis=1).astype(np.float64),
    )


def _cells(level: Level, matrix: Matrix) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Centres of the blocks, and whether the source covers the whole block."""
    (rows, columns), (height, width) = level.grid, level.size
    step = np.array([width / columns, height / rows])
    xs, ys = np.meshgrid(np.arange(columns), np.arange(rows))
    centres = (np.stack([xs.ravel(), ys.ravel()], axis=1) + 0.5) * step - 0.5
    inside = np.ones(len(centres), bool)
    limit = np.array(level.source.shape[::-1]) - 0.5
    slack = 1.5 * np.maximum(1, np.hypot(matrix[0, :2], matrix[1, :2]))
    for corner in ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)):
        seen = (centres + np.array(corner) * step) @ matrix[:, :2].T + matrix[:, 2]
        inside &= ((seen >= -0.5 - slack) & (seen <= limit + slack)).all(axis=1)
    return centres, inside.reshape(level.grid)


def better(new: Blocks, old: Blocks) -> bool:
    """Whether the pictures fit clearly better in `new`: most blocks that fit at all agree, or the score leaps.

    A true motion of a fraction of a pixel raises every block's correlation a little; a motion fitted to noise or
    to an edit raises some and lowers others.
    """
    leap = new.score - old.score
    if leap > 0.03:
        return True
    both = new.covered & old.covered & new.counted
    change = (new.correlation - old.correlation)[both & (np.maximum(new.correlation, old.correlation) > 0.5)]
    change = change[np.abs(change) > 0.001]
    return bool(leap > 0 and change.size >= 12 and np.mean(change > 0) > 0.68)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One robust least-squares step: the correction, in the edited frame, and who voted for it."""

    matrix: Matrix  # applied to edited coordinates before the current matrix
    weights: NDArray[np.float64]  # n
    error: float  # standard error of the common shift, in the level's pixels


def solve(level: Level, blocks: Blocks, *, shift_only: bool = False, rounds: int = 4) -> Step | None:
    """Lucas-Kanade over blocks with weights that drop whatever does not follow the common motion.

    None where too few blocks are textured, covered and alike to tell.
    """
    alike = np.clip((blocks.correlation - 0.25) / 0.75, 0, 1).ravel() ** 2
    base = np.where((blocks.covered & blocks.counted).ravel(), alike, 0.0)
    trace = np.trace(blocks.tensor, axis1=1, axis2=2) + 1e-9
    if np.count_nonzero(base > 0.01) < (4 if shift_only else 8):
        return None
    middle, reach = np.array(level.size[::-1]) / 2 - 0.5, max(level.size) / 2
    local = (blocks.centres - middle) / reach
    ones = np.ones((len(local), 1))
    basis = ones if shift_only else np.hstack([ones, local])
    # each block's own displacement, damped along directions that it cannot see
    damped = blocks.tensor + 0.02 * trace[:, None, None] * np.eye(2)
    own = np.linalg.solve(damped, blocks.pull[:, :, None])[:, :, 0]
    weights = base.copy()
    parameters = np.zeros((basis.shape[1], 2))
    for turn in range(rounds):
        parameters = _weighted(basis, blocks, weights)
        off = own - basis @ parameters
        misfit = np.einsum("ni,nij,nj->n", off, blocks.tensor, off) / trace
        tolerance = max(0.15, 0.8 * 0.6**turn)
        weights = base / (1 + misfit / tolerance**2) ** 2
    parameters = _weighted(basis, blocks, weights)
    off = own - basis @ parameters
    error = float(np.sqrt((weights**2 * (off**2).mean(axis=1)).sum()) / weights.sum())
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    linear = np.zeros((2, 2)) if shift_only else parameters[1:].T / reach
    matrix[:, :2] += linear
    matrix[:, 2] += parameters[0] - linear @ middle
    return Step(matrix, weights, error)


def _weighted(basis: NDArray[np.float64], blocks: Blocks, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    count = basis.shape[1]
    normal = np.einsum("n,na,nb,nij->aibj", weights, basis, basis, blocks.tensor).reshape(2 * count, 2 * count)
    right = np.einsum("n,na,ni->ai", weights, basis, blocks.pull).reshape(-1)
    normal += np.eye(2 * count) * (1e-6 + 1e-4 * np.trace(normal) / (2 * count))
    return np.linalg.solve(normal, right).reshape(count, 2)
