"""Edited regions: from a mask to connected regions, run-length masks, heat maps and words for where they are.

Masks are stored as COCO compressed run-length encoding, bit-compatible with pycocotools: runs counted down
the columns, starting with a run of zeros (possibly empty); each count from the fourth on is written as its
difference to the count two before; each number in groups of 5 bits, lowest first, bit 6 meaning "more
follows" and the highest bit of the last group the sign; each group as the character with code 48 + group.

Sizes are (height, width); boxes are half-open (x0, y0, x1, y1) in pixels of the image of that size.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from piqa_cli.schema import Box, Heat, Region, RunLengthMask

MIN_AREA_FRACTION = 0.0002  # smaller components are specks of a thresholded map, not edits
MAX_REGIONS = 20
MAX_MASK_PIXELS = 1 << 28  # what decode_mask builds at most: 268 megapixels, one byte each

_FIRST_CHARACTER = 48
_GROUP_BITS = 5
_MAX_GROUPS = 7  # 35 bits with sign, above any count that MAX_MASK_PIXELS lets through


def encode_mask(mask: NDArray[np.bool_], size: tuple[int, int] | None = None) -> RunLengthMask:
    """The COCO run-length encoding of a mask at `size`, its own by default.

    At another size it is exactly the encoding of the nearest-neighbour resized mask, where pixel i of `big`
    takes pixel floor((i + 0.5) * small / big); that picture is never built, only its runs are.

    Args:
        mask: height x width.
        size: (height, width) of the encoded mask.

    Raises:
        ValueError: the mask is not two-dimensional, or a side is 0.
    """
    height, width = size or mask.shape
    if mask.ndim != 2 or 0 in mask.shape or height < 1 or width < 1:
        raise ValueError(f"a mask needs height and width of at least 1, found {mask.shape} for size {size}")
    bounds = _run_bounds(mask, height, width)
    counts = np.diff(bounds, prepend=0, append=height * width)
    if counts.size > 1 and counts[-1] == 0:  # the last run of ones reaches the end: no zeros after it
        counts = counts[:-1]
    return RunLengthMask(size=(height, width), counts=_counts_to_text(counts))


def _run_bounds(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.int64]:
    """Column-major start, end, start, end ... of the runs of ones in the mask resized to height x width."""
    used_columns = np.flatnonzero(mask.any(axis=0))
    if used_columns.size == 0:
        return np.zeros(0, np.int64)
    left, right = int(used_columns[0]), int(used_columns[-1]) + 1
    padded = np.zeros((right - left, mask.shape[0] + 2), bool)
    padded[:, 1:-1] = mask[:, left:right].T
    column, row = np.nonzero(padded[:, 1:] != padded[:, :-1])
    row_edges = _edges(mask.shape[0], height)
    top, bottom, column = row_edges[row[0::2]], row_edges[row[1::2]], column[0::2]
    if height < mask.shape[0]:  # a run may fall between two rows that are kept
        kept = bottom > top
        top, bottom, column = top[kept], bottom[kept], column[kept]

    # Repeat the runs of each small column in all the big columns that show it.
    runs_of = np.bincount(column, minlength=right - left)
    first_run_of = np.cumsum(runs_of) - runs_of
    column_edges = _edges(mask.shape[1], width)[left : right + 1]
    shown = np.repeat(np.arange(right - left), np.diff(column_edges))
    repeats = runs_of[shown]
    total = int(repeats.sum())
    if total == 0:
        return np.zeros(0, np.int64)
    within = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    run = np.repeat(first_run_of[shown], repeats) + within
    base = np.repeat((column_edges[0] + np.arange(shown.size)) * height, repeats)
    starts, ends = base + top[run], base + bottom[run]

    joins = starts[1:] == ends[:-1]  # a run to the bottom of a column goes on at the top of the next
    starts, ends = starts[np.append(True, ~joins)], ends[np.append(~joins, True)]
    return np.stack([starts, ends], axis=1).ravel()


def _edges(small: int, big: int) -> NDArray[np.int64]:
    """For k = 0..small the first of `big` pixels that takes pixel k or a later one: ceil(k * big / small - 1/2)."""
    k = np.arange(small + 1, dtype=np.int64)
    return -((small - 2 * big * k) // (2 * small))


def _counts_to_text(counts: NDArray[np.int64]) -> str:
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    columns: list[NDArray[np.uint8]] = []
    written: list[NDArray[np.bool_]] = []
    open_ = np.ones(values.size, bool)
    while open_.any():
        group = values & 31
        values >>= _GROUP_BITS
        more = open_ & np.where(group & 16, values != -1, values != 0)
        columns.append((group + 32 * more + _FIRST_CHARACTER).astype(np.uint8))
        written.append(open_)
        open_ = more
    return np.stack(columns, axis=1)[np.stack(written, axis=1)].tobytes().decode("ascii")


def decode_mask(rle: RunLengthMask, *, max_pixels: int = MAX_MASK_PIXELS) -> NDArray[np.bool_]:
    """The mask, height x width (in column-major memory order), of a COCO run-length encoding.

    Safe on text from anyone: memory stays in proportion to the text and to `max_pixels`.

    Raises:
        ValueError: the size is not positive or above `max_pixels`, the text holds other characters or is cut
            off, or the counts are negative or do not add up to height * width.
    """
    height, width = rle.size
    if height < 1 or width < 1 or height * width > max_pixels:
        raise ValueError(f"mask size must be positive and at most {max_pixels} pixels, found {height} x {width}")
    counts = _text_to_counts(rle.counts, height * width)
    ones = np.arange(counts.size) % 2 == 1
    return np.repeat(ones, counts).reshape(width, height).T


def sample_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask at `size` (width, height) by its nearest pixels, height x width, as a picture of that size shows it."""
    rows = (np.arange(size[1]) + 0.5) * mask.shape[0] / size[1]
    columns = (np.arange(size[0]) + 0.5) * mask.shape[1] / size[0]
    # Column by column, as decode_mask has them in memory.
    seen: NDArray[np.bool_] = mask.T[columns.astype(np.intp)][:, rows.astype(np.intp)].T
    return seen


def _text_to_counts(text: str, pixels: int) -> NDArray[np.int64]:
    """The counts, each 0..pixels, adding up to `pixels`."""
    if not text.isascii() or not text:
        raise ValueError("run-length text must be non-empty ASCII")
    groups = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if groups.min() < 0 or groups.max() > 63:
        raise ValueError("run-length text may hold only the characters '0' to 'o'")
    lasts = np.flatnonzero(groups < 32)
    if lasts.size == 0 or lasts[-1] != groups.size - 1:
        raise ValueError("run-length text is cut off inside a number")
    firsts = np.append(0, lasts[:-1] + 1)
    lengths = lasts - firsts + 1
    if lengths.max() > _MAX_GROUPS:
        raise ValueError(f"run-length text holds a number of more than {_MAX_GROUPS} characters")
    place_in_number = np.arange(groups.size) - np.repeat(firsts, lengths)
    values = np.add.reduceat((groups & 31) << (_GROUP_BITS * place_in_number), firsts)
    values -= np.where(groups[lasts] & 16, 1 << (_GROUP_BITS * lengths), 0)
    for start in (1, 2):
        values[start::2] = np.cumsum(values[start::2])
    if values.min() < 0 or values.max() > pixels or values.sum() != pixels:
        raise ValueError(f"run-length counts must be 0 or more and add up to {pixels}, found {int(values.sum())}")
    return values


def encode_heat(values: NDArray[np.floating], box: Box) -> Heat:
    """A map of probabilities as it stands in a record, rounded to 1/255.

    Args:
        values: rows x columns, 0..1.
        box: what the map covers, half-open x0, y0, x1, y1 in pixels of the edited image; may reach beyond it.

    Raises:
        ValueError: the map is not two-dimensional, a side of it or of the box is 0, or a value is not within 0..1.
    """
    if values.ndim != 2 or values.size == 0 or box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"a heat map needs rows, columns and a box, found shape {values.shape} and box {box}")
    if not (values.min() >= 0 and values.max() <= 1):  # so put, NaN is refused too
        raise ValueError(f"a heat map holds 0..1, found {values.min()} to {values.max()}")
    levels = np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    rows, columns = values.shape
    return Heat(box=box, size=(rows, columns), values=base64.b64encode(levels.tobytes()).decode("ascii"))


def decode_heat(heat: Heat) -> NDArray[np.float32]:
    """The probabilities, rows x columns in 0..1.

    Raises:
        ValueError: the box is empty, the text is not base64, or it does not hold rows * columns bytes.
    """
    (rows, columns), (x0, y0, x1, y1) = heat.size, heat.box
    try:
        levels = np.frombuffer(base64.b64decode(heat.values, validate=True), np.uint8)
    except binascii.Error as error:
        raise ValueError(f"the values of a heat map are not base64: {error}") from error
    if rows < 1 or columns < 1 or levels.size != rows * columns or x0 >= x1 or y0 >= y1:
        raise ValueError(f"expected {rows} x {columns} values over a box, found {levels.size} over {heat.box}")
    return levels.reshape(rows, columns).astype(np.float32) / np.float32(255)


def find_regions(mask: NDArray[np.bool_], confidence: NDArray[np.float32], size: tuple[int, int]) -> tuple[Region, ...]:
    """The connected regions (8 neighbours) of a mask, largest first, ties from the top left.

    Components under 0.02 % of the picture are dropped, the largest never. At most 20 are listed: the rest are
    small beside these, and `Edit.area_fraction`, taken from the whole mask, counts them still.

    Args:
        mask: height x width of the working frame.
        confidence: the same shape, 0..1; a region's confidence is its mean inside the region.
        size: (height, width) of the edited image, to which boxes (scaled outward) and masks refer.

    Raises:
        ValueError: mask and confidence differ in shape, or a side is 0.
    """
    if mask.shape != confidence.shape or mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"mask and confidence must be alike and not empty, found {mask.shape}, {confidence.shape}")
    labels, count = ndimage.label(mask, structure=np.ones((3, 3), bool))
    if count == 0:
        return ()
    flat = labels.ravel()
    areas = np.bincount(flat, minlength=count + 1)[1:]
    sums = np.bincount(flat, weights=confidence.ravel().astype(np.float64), minlength=count + 1)[1:]
    slices = ndimage.find_objects(labels)
    order = np.argsort(-areas, kind="stable")[:MAX_REGIONS]
    order = order[(areas[order] >= MIN_AREA_FRACTION * mask.size) | (order == order[0])]
    regions: list[Region] = []
    for index in order.tolist():
        rows, columns = slices[index]
        alone = np.zeros(mask.shape, bool)
        alone[rows, columns] = labels[rows, columns] == index + 1
        small_box = (columns.start, rows.start, columns.stop, rows.stop)
        regions.append(
            Region(
                box=scale_box(small_box, mask.shape, size),
                area_fraction=float(areas[index] / mask.size),
                confidence=float(np.clip(sums[index] / areas[index], 0.0, 1.0)),
                mask=encode_mask(alone, size),
            )
        )
    return tuple(regions)


def fill_boxes(boxes: Iterable[Box], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of `size`, height x width, true in the boxes, which are in its pixels."""
    mask = np.zeros(size, np.bool_)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def scale_box(box: Box, old: tuple[int, ...], new: tuple[int, int]) -> Box:
    """A box in a picture of size `old`, in pixels of the same picture at size `new`: outward, inside the picture."""
    x0, y0, x1, y1 = box
    (old_h, old_w), (new_h, new_w) = old, new
    return (
        max(0, x0 * new_w // old_w),
        max(0, y0 * new_h // old_h),
        min(new_w, -(-x1 * new_w // old_w)),
        min(new_h, -(-y1 * new_h // old_h)),
    )


_NINTHS = (
    ("upper left", "upper centre", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "lower centre", "lower right"),
)
_BANDS = {  # a box across the whole width or height: (thin, thick) words by third
    "rows": (("top edge", "upper half"), ("middle, full width", "middle, full width"), ("bottom edge", "lower half")),
    "columns": (
        ("left edge", "left half"),
        ("middle, full height", "middle, full height"),
        ("right edge", "right half"),
    ),
}
PLACES = tuple(dict.fromkeys((*sum(_NINTHS, ()), *sum(sum(_BANDS.values(), ()), ()), "whole picture")))
"""All that `place` can say."""
_ACROSS = 0.8  # a box this long, as a share of the side, spans the picture
_THICK = 0.25  # a spanning box thicker than this is a half, not an edge


def place(box: Box, size: tuple[int, int]) -> str:
    """Words for where a box lies: "upper left", "centre", "left half", "whole picture" ...

    Args:
        box: half-open x0, y0, x1, y1 in pixels.
        size: (height, width) of the image.
    """
    x0, y0, x1, y1 = box
    height, width = size
    share_x, share_y = (x1 - x0) / width, (y1 - y0) / height
    third_x, third_y = (_third((x0 + x1) / (2 * width)), _third((y0 + y1) / (2 * height)))
    if share_x >= _ACROSS and share_y >= _ACROSS:
        return "whole picture"
    if share_x >= _ACROSS:
        return _BANDS["rows"][_third_of_band(third_y, share_y, (y0 + y1) / (2 * height))][share_y > _THICK]
    if share_y >= _ACROSS:
        return _BANDS["columns"][_third_of_band(third_x, share_x, (x0 + x1) / (2 * width))][share_x > _THICK]
    return _NINTHS[third_y][third_x]


def locate(box: Box, size: tuple[int, int]) -> str:
    """The words of `place` as they stand in a sentence: "in the upper left", "along the top edge"."""
    words = place(box, size)
    if words == "whole picture":
        return f"across the {words}"
    if words.endswith("edge"):
        return f"along the {words}"
    return f"on the {words}" if words in {"left", "right"} else f"in the {words}"


def _third(centre: float) -> int:
    return min(2, max(0, int(centre * 3)))


def _third_of_band(third: int, share: float, centre: float) -> int:
    """A thick band can only have its centre in the middle third; past 0.45 .. 0.55 it still is a half."""
    if third != 1 or share <= _THICK:
        return third
    return 0 if centre < 0.45 else 2 if centre > 0.55 else 1


def describe(region: Region, size: tuple[int, int]) -> str:
    """Where a region lies and how large it is: "upper left, 12 % of the image".

    Args:
        region: the region.
        size: (height, width) of the edited image, in whose pixels its box is.
    """
    percent = 100 * region.area_fraction
    amount = f"{percent:.0f}" if percent >= 1 else f"{percent:.1f}" if percent >= 0.1 else "under 0.1"
    return f"{place(region.box, size)}, {amount} % of the image"
