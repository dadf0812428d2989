"""How large pictures are brought to a bounded size: one plan for both, so that reducing never looks like an edit.

Sides are divided by whole numbers only: means of whole blocks of pixels are fast and exact. A picture less than
half as long again as the working side is therefore left whole: resampling it would take longer than it saves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.images.decoding import ImageFile

_LEFT_WHOLE = 1.5  # times working_side
_KEPT_SIDE = 2 / 3  # of working_side is left at least: what a division by 3 leaves of the smallest it is used for
# Pictures whose longer sides differ by less than this (editors round to multiples of 8..64) share one plan.
_NEAR_SIZE = 0.8


@dataclass(frozen=True, slots=True)
class Reduction:
    """How a picture is brought to a bounded size: JPEG's DCT scale, then means of factor x factor pixels.

    Both are 1 for a picture that is small enough.
    """

    draft: int = 1
    factor: int = 1


def plan_pair(first: ImageFile, second: ImageFile, working_side: int) -> tuple[Reduction, Reduction]:
    """The reductions of the two pictures of a pair: the same operations wherever their sizes are near."""
    longer, shorter = (pick(max(first.size), max(second.size)) for pick in (max, min))
    if shorter < _NEAR_SIZE * longer:
        one, other = (plan_reduction(max(file.size), working_side, draft=False) for file in (first, second))
        return one, other
    # JPEG's own scaling is not a box filter: both go through it, or neither.
    draft = first.size == second.size and first.format == second.format == "JPEG"
    plan = plan_reduction(longer, working_side, draft=draft)
    return plan, plan


def plan_reduction(longer: int, working_side: int, *, draft: bool) -> Reduction:
    """The reduction for a picture with a longer side of so many pixels; depends on nothing else.

    It is left whole up to 3/2 of working_side, and else ends between 2/3 of it and that.

    Args:
        longer: as stored in the file.
        working_side: what the longer side is brought near to.
        draft: whether JPEG's scaled decoding may do a part of it.
    """
    if longer <= _LEFT_WHOLE * working_side:
        return Reduction()
    least = _KEPT_SIDE * working_side
    scale = next(s for s in (8, 4, 2, 1) if math.ceil(longer / s) >= least) if draft else 1
    drafted = math.ceil(longer / scale)
    return Reduction(scale, 1 if drafted <= _LEFT_WHOLE * working_side else math.ceil(drafted / working_side))


def reduce(image: Image.Image, reduction: Reduction) -> Image.Image:
    """A decoded picture after the part of the plan that comes after JPEG's own scaling."""
    return image.reduce(reduction.factor) if reduction.factor > 1 else image


def resize_to_side(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Reduces a picture so that its longer side is `side`, each new pixel the mean of the area it covers.

    Args:
        pixels: height x width or height x width x 3, 0..255.
        side: longer side of the result, at least 1; a picture that is not longer is returned as it is.
    """
    height, width = pixels.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return pixels
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
