"""The pictures a model is shown: source and edited at a bounded size, and the region enlarged, with surroundings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.compact.framing import CONTEXT
from piqa_cli.images import resize_to_side
from piqa_cli.regions import scale_box
from piqa_cli.schema import Box

U8 = NDArray[np.uint8]

MAX_PIXELS = 768 * 768
"""Most pixels of a picture that is shown; about 750 tokens of Qwen2.5-VL. Part of what a score depends on."""

_LEAST_WINDOW = 160  # pixels; a smaller window has hardly any surroundings to compare with
_LEAST_SHOWN = 448  # longer side to which a small window is enlarged: models of a fixed input size blur less
_MOST_SHARE = 0.7  # of the picture; a window beyond it shows nothing that the whole picture does not


def view(pixels: U8) -> Image.Image:
    """A picture of at most `MAX_PIXELS`, its shape kept; never enlarged."""
    height, width = pixels.shape[:2]
    side = math.floor(max(height, width) * math.sqrt(MAX_PIXELS / (height * width)))
    return Image.fromarray(resize_to_side(pixels, max(1, side)))


def region_view(pixels: U8, boxes: Sequence[Box], size: tuple[int, int]) -> Image.Image | None:
    """A window around all boxes, or the first of them where all together fill the picture; None where that does too.

    Args:
        pixels: the edited picture as loaded, h x w x 3, RGB.
        boxes: half-open x0, y0, x1, y1 in pixels of the edited image at full size; the largest region first.
        size: (height, width) of the edited image at full size.
    """
    if not boxes:
        return None
    height, width = pixels.shape[:2]
    around = min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)
    for box in (around, boxes[0]):
        x0, y0, x1, y1 = window(scale_box(box, size, (height, width)), (height, width))
        if (x1 - x0) * (y1 - y0) <= _MOST_SHARE * height * width:
            return _enlarged(pixels[y0:y1, x0:x1])
    return None


def window(box: Box, size: tuple[int, int]) -> Box:
    """The square around a box with `compact.framing.CONTEXT` times its longer side, pushed and cut into the picture.

    Args:
        box: half-open, in pixels of the picture.
        size: (height, width) of the picture.
    """
    x0, y0, x1, y1 = box
    side = math.ceil(max(CONTEXT * max(x1 - x0, y1 - y0), _LEAST_WINDOW))
    left, right = _span((x0 + x1) / 2, side, size[1])
    top, bottom = _span((y0 + y1) / 2, side, size[0])
    return left, top, right, bottom


def _span(centre: float, side: int, extent: int) -> tuple[int, int]:
    if side >= extent:
        return 0, extent
    start = round(min(max(centre - side / 2, 0), extent - side))
    return start, start + side


def _enlarged(pixels: U8) -> Image.Image:
    height, width = pixels.shape[:2]
    factor = _LEAST_SHOWN / max(height, width)
    if factor <= 1:
        return view(np.ascontiguousarray(pixels))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return Image.fromarray(np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8))
