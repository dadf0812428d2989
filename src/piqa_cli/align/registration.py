"""Registration: the source brought onto the edited picture, geometry first, then tone.

Editors resize, crop and re-encode whole files. Such a change is not an edit, and what it does must be undone before
the pictures are compared. A picture that is already in place is left exactly as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.align import matching, motion
from piqa_cli.align.motion import Level, Matrix, Plane, Size
from piqa_cli.align.tone import Tone, apply_tone, fit_tone
from piqa_cli.schema import Alignment

Method = Literal["none", "resize", "shift", "affine", "crop", "failed"]

UNMOVED = 0.1  # working pixels: below this no better motion is looked for
LEAST_MOTION = 0.15  # working pixels: below this, resampling costs more than it repairs (WebP alone seems to move 0.13)
LEAST_SCORE = 0.12  # Blocks.score of a motion worth believing: the best motion between different photos stays below
COARSE_SIDE = 40  # pixels: at this size a picture re-made or restyled by a generator still looks like its source
LEAST_COARSE = 0.12  # score at that size: 1 % of pairs of different photos reach 0.106, none of 500 reached 0.15
CLEAR_SCORE = 0.3  # above this no other hypothesis is tried
SHIFT_SLACK = 0.5  # working pixels: an affine motion this near to a shift may be one
SAME_ASPECT = 1.01
ROTATION_LIMIT = 0.3  # radians
SCALE_LIMITS = (0.15, 6.0)


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """The source in the frame of the edited picture.

    Attributes:
        source: H x W x 3 uint8 RGB: warped, and with the edited file's tone.
        valid: H x W: where the source covers the frame.
        matrix: 2 x 3; (x, y, 1) in working-frame pixels of the edited picture to pixels of the source as given
            to `register`. Whole numbers are pixel centres.
        alignment: the same in pixels of the full-size files, with figures for people.
        matches: False where no registration was found: a different picture.
    """

    source: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    matrix: Matrix
    alignment: Alignment
    matches: bool


def register(
    source: NDArray[np.uint8],
    edited: NDArray[np.uint8],
    *,
    source_size: Size,
    edited_size: Size,
    exclude: NDArray[np.bool_] | None = None,
) -> Registration:
    """Find where each pixel of the edited picture comes from, however large the edit.

    Args:
        source: h x w x 3 uint8 RGB at working resolution (longer side at most 512).
        edited: H x W x 3 uint8 RGB at working resolution; its frame is the frame of the answer.
        source_size: (height, width) of the full-size source.
        edited_size: (height, width) of the full-size edited file.
        exclude: H x W, True where an edit is known; those pixels are not asked.

    Raises:
        ValueError: an array has the wrong shape or type.
    """
    _check(source, edited, exclude)
    frame, given = _size(edited), _size(source)
    pyramid = _Pyramid(_luma(source), _luma(edited), exclude)
    base = motion.plain_resize(frame, given)
    matrix, score = _estimate(pyramid, base)
    matches = score >= LEAST_SCORE
    if not matches:  # no motion is known; the same scene may still have been made anew where it was
        matrix = base
        matches = pyramid.coarse_score(base) >= LEAST_COARSE or _alike_when_flat(source, edited, exclude)
    pixels, valid = warp(source, matrix, frame)
    tone = fit_tone(pixels, edited, valid if exclude is None else valid & ~exclude) if matches else Tone()
    pixels = apply_tone(pixels, tone)
    full = motion.rescaled(matrix, (frame, edited_size), (given, source_size))
    confidence = _confidence(pyramid, matrix) if matches else 0.0
    alignment = _describe(full, source_size, edited_size, tone, float(valid.mean()), confidence, matches)
    return Registration(pixels, valid, matrix, alignment, matches)


def warp(source: NDArray[np.uint8], matrix: Matrix, size: Size) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The source seen through `matrix` in a frame of `size` (height, width), and where it covers that frame.

    Where the motion is a plain resize or a shift by whole pixels no pixel is interpolated twice: the identity
    gives back the source's own pixels. Outside the source its border is repeated.
    """
    given = _size(source)
    if np.array_equal(matrix, motion.plain_resize(size, given)):
        if size == given:
            return source.copy(), np.ones(size, bool)
        down = size[0] <= given[0] and size[1] <= given[1]
        resized = cv2.resize(source, size[::-1], interpolation=cv2.INTER_AREA if down else cv2.INTER_CUBIC)
        return np.asarray(resized, np.uint8), np.ones(size, bool)
    pixels = np.asarray(motion.sample(source, matrix, size, cv2.INTER_CUBIC), np.uint8)
    xs, ys = np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64)[:, None]
    valid = np.ones(size, bool)
    for row, length in ((matrix[0], given[1]), (matrix[1], given[0])):
        seen = row[0] * xs + row[1] * ys + row[2]
        valid &= (seen > -0.6) & (seen < length - 0.4)
    return pixels, valid


class _Pyramid:
    """The pair at falling sizes, each made when first asked for."""

    def __init__(self, source: Plane, edited: Plane, exclude: NDArray[np.bool_] | None) -> None:
        self.source, self.edited, self.exclude = source, edited, exclude
        self.frame: Size = (edited.shape[0], edited.shape[1])
        sides = [max(self.frame)]
        while sides[-1] // 2 >= motion.COARSEST:
            sides.append(sides[-1] // 2)
        self.sides = sides  # finest first
        self._made: dict[int, Level] = {}

    @property
    def middle(self) -> Level:
        return self.level(min(1, len(self.sides) - 1))

    def level(self, index: int) -> Level:
        if index not in self._made:
            self._made[index] = motion.make_level(self.source, self.edited, self.exclude, self.sides[index])
        return self._made[index]

    def to(self, level: Level, matrix: Matrix) -> Matrix:
        same = (1, 1)
        return motion.rescaled(matrix, (self.frame, level.size), (same, same))

    def back(self, level: Level, matrix: Matrix) -> Matrix:
        same = (1, 1)
        return motion.rescaled(matrix, (level.size, self.frame), (same, same))

    def score(self, matrix: Matrix) -> float:
        return motion.measure(self.middle, self.to(self.middle, matrix)).score

    def coarse_score(self, matrix: Matrix) -> float:
        """The score at a size that forgives small changes of shape; 0 where there is too little texture to tell."""
        level = motion.make_level(self.source, self.edited, self.exclude, COARSE_SIDE)
        blocks = motion.measure(level, self.to(level, matrix))
        return blocks.score if float(blocks.counted.mean()) > 0.1 else 0.0


def _estimate(pyramid: _Pyramid, base: Matrix) -> tuple[Matrix, float]:
    """The simplest motion that explains the pair, and its score."""
    level = pyramid.middle
    blocks = motion.measure(level, pyramid.to(level, base))
    step = motion.solve(level, blocks)
    if step is not None and blocks.score > LEAST_SCORE:
        moved, _ = motion.displacement(step.matrix, np.eye(3)[:2], level.size)
        if moved * max(pyramid.frame) / max(level.size) < UNMOVED:
            return base, blocks.score
    # Resampling alone lowers the score a little; `_simplest` decides at full resolution, so a draw is let through.
    best, score = base, blocks.score - 0.03
    for hypothesis in _hypotheses(pyramid, base):
        found = _refined(pyramid, hypothesis)
        if found is not None and found[1] > score:
            best, score = found
        if score > CLEAR_SCORE:
            break
    if score < CLEAR_SCORE:
        feature = matching.search_features(pyramid.source, pyramid.edited, pyramid.exclude)
        found = None if feature is None else _polished(pyramid, feature)
        if found is not None and found[1] > score:
            best, score = found
    best = _simplest(pyramid, base, best)
    return best, blocks.score if best is base else score


def _hypotheses(pyramid: _Pyramid, base: Matrix) -> list[Matrix]:
    """Stretched over the frame; where the aspect differs also centred, to cover the frame or to fit within it."""
    (height, width), (rows, columns) = pyramid.frame, pyramid.source.shape
    sy, sx = rows / height, columns / width
    if max(sx / sy, sy / sx) < SAME_ASPECT:
        return [base]
    centred = []
    for ratio in (min(sx, sy), max(sx, sy)):
        x, y = (columns - 1) / 2 - ratio * (width - 1) / 2, (rows - 1) / 2 - ratio * (height - 1) / 2
        centred.append(np.array([[ratio, 0, x], [0, ratio, y]]))
    return [base, *centred]


def _refined(pyramid: _Pyramid, start: Matrix) -> tuple[Matrix, float] | None:
    """Coarse search by blocks from `start`, then sub-pixel steps up the pyramid."""
    coarse = pyramid.level(len(pyramid.sides) - 1)
    found = matching.search(coarse, pyramid.to(coarse, start))
    return None if found is None else _polished(pyramid, pyramid.back(coarse, found))


def _polished(pyramid: _Pyramid, matrix: Matrix) -> tuple[Matrix, float] | None:
    """Robust Lucas-Kanade steps from the coarsest level to the finest; None where they run away."""
    for index in reversed(range(len(pyramid.sides))):
        level = pyramid.level(index)
        current = pyramid.to(level, matrix)
        for _ in range(2 if index == 0 and len(pyramid.sides) > 1 else 4):
            step = motion.solve(level, motion.measure(level, current))
            if step is None:
                break
            current = motion.compose(step.matrix, current)
            if motion.displacement(step.matrix, np.eye(3)[:2], level.size)[1] < 0.02:
                break
        matrix = pyramid.back(level, current)
    return (matrix, pyramid.score(matrix)) if _plausible(matrix) else None


def _plausible(matrix: Matrix) -> bool:
    """A picture that was resized, cropped or tilted a little: no mirror, no shear, no wild scale."""
    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    turn = abs(float(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])))
    sound = SCALE_LIMITS[0] < stretch[1] and stretch[0] < SCALE_LIMITS[1] and stretch[0] < 3 * stretch[1]
    return bool(sound and turn < ROTATION_LIMIT and np.linalg.det(matrix[:, :2]) > 0)


def _simplest(pyramid: _Pyramid, base: Matrix, best: Matrix) -> Matrix:
    """The plain resize, or a shift, where an affine motion is not clearly better."""
    frame, level = pyramid.frame, pyramid.level(0)
    if best is base or motion.displacement(best, base, frame)[0] < LEAST_MOTION:
        return base
    affine = motion.measure(level, best)
    if not motion.better(affine, motion.measure(level, base)):
        return base
    middle = np.array([(frame[1] - 1) / 2, (frame[0] - 1) / 2, 1.0])
    shift = base.copy()
    shift[:, 2] += best @ middle - base @ middle
    if motion.displacement(best, shift, frame)[0] > SHIFT_SLACK:
        return best
    shifted = motion.measure(level, shift)
    step = motion.solve(level, shifted, shift_only=True)
    if step is not None:
        shift = motion.compose(step.matrix, shift)
        rounded = np.hstack([shift[:, :2], np.rint(shift[:, 2:])])
        if np.array_equal(base, np.eye(3)[:2]) and np.abs(rounded - shift).max() < 0.06:
            shift = rounded  # whole pixels need no interpolation
        shifted = motion.measure(level, shift)
    return best if motion.better(affine, shifted) else shift


def _confidence(pyramid: _Pyramid, matrix: Matrix) -> float:
    """Correlation of the two pictures' structure over the blocks that were not edited."""
    blocks = motion.measure(pyramid.middle, pyramid.to(pyramid.middle, matrix))
    values = blocks.correlation[blocks.covered & blocks.counted]
    if not values.size:
        return 0.0
    kept = np.sort(values)[values.size // 2 :]
    return float(np.clip(kept.mean(), 0, 1))


def _alike_when_flat(source: NDArray[np.uint8], edited: NDArray[np.uint8], exclude: NDArray[np.bool_] | None) -> bool:
    """Whether pictures with little texture to compare are flat in the same places and of the same colour."""
    size = (16, 16)
    before = cv2.resize(source, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    after = cv2.resize(edited, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    alike = np.abs(before - after).max(axis=2) < 6
    if exclude is not None:
        alike |= cv2.resize(exclude.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    return float(alike.mean()) > 0.4


def _describe(
    matrix: Matrix, source_size: Size, edited_size: Size, tone: Tone, overlap: float, confidence: float, matches: bool
) -> Alignment:
    """The matrix of the full-size files as a record."""
    base = motion.plain_resize(edited_size, source_size)
    beyond = motion.compose(matrix, motion.inverse(base))  # in edited pixels
    mean, largest = motion.displacement(matrix, base, edited_size)
    scale = 1 / float(np.sqrt(np.linalg.det(beyond[:, :2])))
    turn = float(np.degrees(np.arctan2(beyond[1, 0] - beyond[0, 1], beyond[0, 0] + beyond[1, 1])))
    seen = float(np.linalg.det(matrix[:, :2])) * edited_size[0] * edited_size[1] / (source_size[0] * source_size[1])
    method: Method
    if not matches:
        method = "failed"
    elif largest < 1e-6:
        method = "none" if source_size == edited_size else "resize"
    elif np.abs(beyond[:, :2] - np.eye(2)).max() < 1e-9:
        method = "shift"
    else:
        method = "crop" if seen < 0.9 or overlap < 0.9 else "affine"
    rows = [tuple(round(float(value), 9) for value in row) for row in matrix]
    return Alignment(
        method=method,
        matrix=(rows[0], rows[1]),  # type: ignore[arg-type]
        shift_pixels=round(mean, 6),
        scale=round(scale, 9),
        rotation_degrees=round(turn, 9),
        gain=tone.gain,
        bias=tone.bias,
        overlap=overlap,
        confidence=confidence,
    )


def _luma(image: NDArray[np.uint8]) -> Plane:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _size(image: NDArray[np.uint8]) -> Size:
    return image.shape[0], image.shape[1]


def _check(source: NDArray[np.uint8], edited: NDArray[np.uint8], exclude: NDArray[np.bool_] | None) -> None:
    for name, image in (("source", source), ("edited", edited)):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 1:
            raise ValueError(f"{name}: expected H x W x 3 uint8, found {image.shape} {image.dtype}")
    if exclude is not None and (exclude.shape != edited.shape[:2] or exclude.dtype != np.bool_):
        expected = edited.shape[:2]
        raise ValueError(f"exclude: expected bool of {expected}, found {exclude.dtype} of {exclude.shape}")
