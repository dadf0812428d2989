"""Pictures -> what the network sees: a registered working frame, and a native-resolution crop of the region.

The assessor and the training data both go through here, so the network meets at work what it met in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.align import Registration, register, warp
from piqa_cli.align.tone import Tone, apply_tone
from piqa_cli.images import resize_to_side
from piqa_cli.schema import Box

U8 = NDArray[np.uint8]
WORKING_SIDE = 512
"""Longer side of the working frame in pixels; smaller pictures are not enlarged."""

CONTEXT = 1.5  # side of the crop over the region's longer side
_ENLARGED = 2.0  # at most: a small region has to fill more than a few cells of the network


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A registered pair at working resolution: h x w x 3 uint8 sRGB twice.

    `edited_native` and `source_native` are the pictures as loaded, for crops finer than the frame;
    `source_reduced_width` is the width at which the source was registered.
    """

    source: U8
    edited: U8
    registration: Registration
    source_native: U8
    edited_native: U8
    source_reduced_width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the working frame."""
        return self.edited.shape[0], self.edited.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A square around the region: S x S x 3 uint8 twice, its mask S x S in 0..1, and the mask's share of the frame.

    `box`: where the square lies, half-open x0, y0, x1, y1 in shares of the frame's width and height; it may stick out.
    """

    source: U8
    edited: U8
    mask: NDArray[np.float32]
    area: float
    box: tuple[float, float, float, float]


def open_frame(
    source: U8,
    edited: U8,
    *,
    source_size: tuple[int, int],
    edited_size: tuple[int, int],
    exclude: NDArray[np.bool_] | None,
) -> Frame:
    """Scales both pictures to the working side and registers them.

    Args:
        source: H x W x 3 uint8 sRGB as loaded.
        edited: the same; its size may differ.
        source_size: (height, width) of the source's file.
        edited_size: (height, width) of the edited file.
        exclude: region known to be edited, at the edited picture's loaded size, or None.
    """
    small = resize_to_side(edited, WORKING_SIDE)
    if exclude is not None:
        exclude = resize_mask(exclude, (small.shape[0], small.shape[1]))
    reduced = resize_to_side(source, WORKING_SIDE)
    registration = register(reduced, small, source_size=source_size, edited_size=edited_size, exclude=exclude)
    return Frame(registration.source, small, registration, source, edited, reduced.shape[1])


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Nearest-neighbour resize of an H x W mask to (height, width)."""
    resized = cv2.resize(mask.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.uint8).view(np.bool_)


def bounds(mask: NDArray[np.bool_]) -> Box:
    """Half-open x0, y0, x1, y1 around the true pixels; the whole frame where there are none."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return 0, 0, mask.shape[1], mask.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def crop_region(frame: Frame, mask: NDArray[np.bool_], side: int, context: float = CONTEXT) -> Crop:
    """The square around a region with some context, `side` pixels wide, from the finest pixels that help.

    Args:
        frame: the registered pair.
        mask: the region, h x w of the working frame.
        side: width and height of the crop in pixels.
        context: its side over the region's longer side.
    """
    fine = frame.edited_native.shape[1] / frame.size[1]  # loaded pixels per pixel of the frame
    x0, y0, x1, y1 = bounds(mask)
    span = min(max(context * max(x1 - x0, y1 - y0), side / (fine * _ENLARGED)), max(frame.size))
    native = fine > 1 and span < side
    edited, fine = (frame.edited_native, fine) if native else (frame.edited, 1.0)
    size = max(1, round(span * fine))
    height, width = edited.shape[:2]
    left, top = _start((x0 + x1) / 2 * fine, size, width), _start((y0 + y1) / 2 * fine, size, height)
    source = _source_window(frame, left, top, size, fine) if native else _cut(frame.source, left, top, size)
    how = cv2.INTER_AREA if size > side else cv2.INTER_LINEAR

    def scaled(window: U8) -> U8:
        return np.asarray(cv2.resize(window, (side, side), interpolation=how), np.uint8)

    seen = _mask_window(mask, left, top, size, fine, side)
    box = left / width, top / height, (left + size) / width, (top + size) / height
    return Crop(scaled(source), scaled(_cut(edited, left, top, size)), seen, float(mask.mean()), box)


def _start(centre: float, size: int, extent: int) -> int:
    """Where a window of `size` begins: centred, pushed inside; one longer than the picture is centred on it."""
    if size >= extent:
        return -((size - extent) // 2)
    return round(min(max(centre - size / 2, 0), extent - size))


def _cut(picture: U8, left: int, top: int, size: int) -> U8:
    """A square window; where it sticks out, the border pixels repeat."""
    height, width = picture.shape[:2]
    rows = np.clip(np.arange(top, top + size), 0, height - 1)
    columns = np.clip(np.arange(left, left + size), 0, width - 1)
    inside = top >= 0 and left >= 0 and top + size <= height and left + size <= width
    return picture[top : top + size, left : left + size] if inside else picture[rows][:, columns]


def _source_window(frame: Frame, left: int, top: int, size: int, fine: float) -> U8:
    """The source under a window of the edited picture as loaded, through the registration and its tone."""
    # window pixel -> pixel of the frame -> pixel of the reduced source -> pixel of the source as loaded
    to_frame = _scaling(1 / fine) @ np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    reduced = frame.source_native.shape[1] / frame.source_reduced_width
    matrix = _scaling(reduced) @ np.vstack([frame.registration.matrix, [0, 0, 1]]) @ to_frame
    pixels, _ = warp(frame.source_native, matrix[:2], (size, size))
    alignment = frame.registration.alignment
    return apply_tone(pixels, Tone(alignment.gain, alignment.bias))


def _scaling(factor: float) -> NDArray[np.float64]:
    """Magnification in pixel-centre coordinates."""
    shift = 0.5 * factor - 0.5
    return np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])


def _mask_window(
    mask: NDArray[np.bool_], left: int, top: int, size: int, fine: float, side: int
) -> NDArray[np.float32]:
    """The mask under a window given in pixels `fine` times finer than its own, S x S in 0..1."""
    matrix = _scaling(1 / fine) @ np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]]) @ _scaling(size / side)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    window = cv2.warpAffine(
        mask.astype(np.float32), matrix[:2], (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(window, np.float32)
