"""The small pictures of a report: source and edited image in one frame, and the outlines of the regions in it.

The source is seen through the record's registration, so that the same place lies at the same pixel in both.
Files are read again when the report is made; one that is gone, or no longer what was judged, is said to be missing.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.align import rescaled, warp
from piqa_cli.errors import InputError
from piqa_cli.images import DEFAULT_POLICY, ImagePolicy, LoadedImage, LoadedPair, load_image, resize_to_side
from piqa_cli.regions import decode_mask, sample_mask
from piqa_cli.remote import is_remote
from piqa_cli.schema import Assessment, Failure, ImageInfo, Outcome, Region

_UNCOVERED = 128  # grey where the source shows nothing of the edited frame
_QUALITIES = (82, 65, 45, 25)  # of WebP, tried in turn
_STRETCH = (1e-3, 1e3)  # of a registration; beyond it nothing could be seen, and a record may come from anyone
_TOLERANCE = 1.0  # pixels by which an outline may be simplified
_OUTLINE_SIDE = 640  # of the frame that outlines are in where no picture is
_SMALLEST = 32  # pixels; a picture of this side is kept whatever it weighs
_MOST_POINTS = 600  # of a region's outline


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """How large a picture of a report is at most: longer side in pixels, size in bytes."""

    side: int
    size: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a report shows of a pair.

    Attributes:
        frame: (width, height) that both pictures and the outlines are in.
        source, edited: WebP files; None where there is nothing to show.
        registered: whether the same place lies at the same pixel in both.
        outlines: SVG path data through pixels of the frame, one for each region; "" where its mask cannot be drawn.
        missing: sentences about pictures that could not be read.
    """

    frame: tuple[int, int]
    source: bytes | None = None
    edited: bytes | None = None
    registered: bool = False
    outlines: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def draw_preview(
    outcome: Outcome,
    limits: PictureLimits | None,
    *,
    root: str | None = None,
    policy: ImagePolicy = DEFAULT_POLICY,
    loaded: LoadedPair | None = None,
) -> Preview:
    """The preview of an outcome; what cannot be read is told in it and never raised.

    Args:
        outcome: the record; of a failed pair whatever can still be read is shown as it is.
        limits: of each picture; None leaves the pictures out.
        root: the folder that relative paths are relative to; the working directory by default.
        policy: how pictures are read.
        loaded: the pictures, if they are in memory already.
    """
    if isinstance(outcome, Failure):
        return Preview((4, 3)) if limits is None else _of_failure(outcome, limits, root, policy)
    frame = _frame(outcome.pair.edited, limits.side if limits else _OUTLINE_SIDE)
    outlines = tuple(outline(region, frame, policy.max_pixels) for region in outcome.regions)
    if limits is None:
        return Preview(frame, registered=is_registered(outcome), outlines=outlines)
    reader = _Reader(root, policy)
    edited = loaded.edited if loaded else reader.read("edited", outcome.pair.edited.path, outcome.pair.edited)
    source = loaded.source if loaded else reader.read("source", outcome.pair.source.path, outcome.pair.source)
    return Preview(
        frame,
        source=None if source is None else encode(_seen_source(source, outcome, frame), limits),
        edited=None if edited is None else encode(_resized(edited.pixels, frame), limits),
        registered=is_registered(outcome),
        outlines=outlines,
        missing=tuple(reader.missing),
    )


def _of_failure(failure: Failure, limits: PictureLimits, root: str | None, policy: ImagePolicy) -> Preview:
    reader = _Reader(root, policy)
    edited, source = (reader.read(role, getattr(failure.pair, role)) for role in ("edited", "source"))
    shown = edited or source
    frame = (4, 3) if shown is None else _frame(shown.info, limits.side)
    pictures = [None if one is None else encode(one.pixels, limits) for one in (source, edited)]
    return Preview(frame, pictures[0], pictures[1], missing=tuple(reader.missing))


class _Reader:
    """Reads pictures for a report and collects why others cannot be shown."""

    def __init__(self, root: str | None, policy: ImagePolicy) -> None:
        self._root = root
        self._policy = policy
        self.missing: list[str] = []

    def read(self, role: str, path: str, expected: ImageInfo | None = None) -> LoadedImage | None:
        """The picture; None, and a sentence in `missing`, where it is not there or of another size than judged."""
        if path in {"", "-"}:
            self.missing.append(f"{role}: {'came from standard input' if path else 'no path is known'}")
            return None
        try:
            image = load_image(
                os.path.join(self._root, path) if self._root and not is_remote(path) else path, self._policy
            )
        except InputError as error:
            self.missing.append(f"{role}: {error.message}")
            return None
        size = image.info.width, image.info.height
        if expected is not None and size != (expected.width, expected.height):
            found, then = (f"{width} x {height}" for width, height in (size, (expected.width, expected.height)))
            self.missing.append(f"{role}: the file has changed: it was {then} pixels when it was judged, now {found}")
            return None
        return image


def is_registered(assessment: Assessment) -> bool:
    """Whether the record knows where each pixel of the edited image comes from."""
    matrix = np.array(assessment.alignment.matrix)
    if assessment.alignment.method == "failed" or not np.isfinite(matrix).all():
        return False
    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(_STRETCH[0] < stretch[1] and stretch[0] < _STRETCH[1])


def _frame(info: ImageInfo, side: int) -> tuple[int, int]:
    """(width, height) of the picture within the side; never enlarged."""
    scale = min(1.0, side / max(info.width, info.height))
    return max(1, round(info.width * scale)), max(1, round(info.height * scale))


def _seen_source(source: LoadedImage, assessment: Assessment, frame: tuple[int, int]) -> NDArray[np.uint8]:
    """The source in the frame of the edited image, grey where it shows nothing of it; as it is if not registered."""
    if not is_registered(assessment):
        return resize_to_side(source.pixels, max(frame))
    size, edited = (frame[1], frame[0]), assessment.pair.edited
    given = source.pixels.shape[0], source.pixels.shape[1]
    matrix = rescaled(
        np.array(assessment.alignment.matrix, np.float64),
        ((edited.height, edited.width), size),
        ((source.info.height, source.info.width), given),
    )
    seen, valid = warp(source.pixels, matrix, size)
    seen[~valid] = _UNCOVERED
    return seen


def _resized(pixels: NDArray[np.uint8], frame: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, frame, interpolation=cv2.INTER_AREA), np.uint8)


def encode(pixels: NDArray[np.uint8], limits: PictureLimits) -> bytes:
    """A picture, height x width x 3 sRGB, as WebP within the limits: of less quality, then smaller, until it fits."""
    pixels = resize_to_side(pixels, limits.side)
    while True:
        image = Image.fromarray(pixels)
        for quality in _QUALITIES:
            file = io.BytesIO()
            image.save(file, "WEBP", quality=quality)
            if file.tell() <= limits.size or max(pixels.shape) <= _SMALLEST:
                return file.getvalue()
        pixels = resize_to_side(pixels, max(pixels.shape) // 2)


def outline(region: Region, frame: tuple[int, int], max_pixels: int = DEFAULT_POLICY.max_pixels) -> str:
    """The border of a region as SVG path data, through centres of pixels, which are whole numbers.

    Args:
        region: its mask counts; one that cannot be decoded gives "".
        frame: (width, height) of the picture that the pixels are of.
        max_pixels: of the mask.
    """
    try:
        mask = sample_mask(decode_mask(region.mask, max_pixels=max_pixels), frame)
    except ValueError:
        return ""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    tolerance = _TOLERANCE
    simple = [cv2.approxPolyDP(contour, tolerance, True) for contour in contours]
    while sum(len(contour) for contour in simple) > _MOST_POINTS:
        # A ragged mask: coarser, without the specks that are no longer seen.
        tolerance *= 2
        simple = [cv2.approxPolyDP(contour, tolerance, True) for contour in contours]
        simple = [contour for contour in simple if cv2.contourArea(contour) > tolerance**2]
    return "".join(_path(np.asarray(contour, np.int32).reshape(-1, 2)) for contour in simple)


def _path(points: NDArray[np.int32]) -> str:
    """A closed line through pixels: the first by its place, the others by their steps, which are shorter to write."""
    steps = np.diff(points, axis=0).tolist() or [(0, 0)]  # a single pixel is a dot
    return f"M{points[0, 0]} {points[0, 1]}l{' '.join(f'{x} {y}' for x, y in steps)}z".replace(" -", "-")
