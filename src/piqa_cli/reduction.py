"""How large pictures are brought to the working size: one plan for both, so that reducing never looks like an edit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.decoding import ImageFile

# Whole-number reductions are fast and exact; one is taken where it keeps at least this part of working_side.
_KEPT_SIDE = 0.75
# Pictures whose longer sides differ by less than this (editors round to multiples of 8..64) share one plan.
_NEAR_SIZE = 0.8


@dataclass(frozen=True, slots=True)
class Reduction:
    """How a picture is brought to the working size: JPEG's DCT scale, then means of factor x factor, then resampling.

    All three are 1 for a picture that is small enough.
    """

    draft: int = 1
    factor: int = 1
    shrink: float = 1.0


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

    A whole-number factor is preferred, down to 3/4 of working_side; else the picture is resampled to
    working_side exactly.

    Args:
        longer: as stored in the file.
        working_side: the longest side allowed afterwards.
        draft: whether JPEG's scaled decoding may do a part of it.
    """
    if longer <= working_side:
        return Reduction()
    least = _KEPT_SIDE * working_side
    scale = next(s for s in (8, 4, 2, 1) if math.ceil(longer / s) >= least) if draft else 1
    drafted = math.ceil(longer / scale)
    factor = math.ceil(drafted / working_side)
    if factor == 1 or math.ceil(drafted / factor) >= least:
        return Reduction(scale, factor)
    return Reduction(scale, shrink=working_side / drafted)


def reduce(image: Image.Image, reduction: Reduction) -> Image.Image:
    """A decoded picture after the part of the plan that comes after JPEG's own scaling."""
    if reduction.factor > 1:
        image = image.reduce(reduction.factor)
    if reduction.shrink < 1:
        size = (max(1, round(image.width * reduction.shrink)), max(1, round(image.height * reduction.shrink)))
        # Pillow widens the triangle by the ratio; a mean of areas is no faster and, at ratios near 1, leaves moire.
        image = image.resize(size, Image.Resampling.BILINEAR)
    return image


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
