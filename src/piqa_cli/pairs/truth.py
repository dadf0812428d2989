"""Where a picture was truly edited: the regions that an annotation tells, at the picture's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from piqa_cli.errors import InputError
from piqa_cli.images import DEFAULT_POLICY
from piqa_cli.images.decoding import open_image
from piqa_cli.images.masks import load_mask
from piqa_cli.pairs.annotations import Annotation
from piqa_cli.regions import decode_mask, fill_boxes, find_regions
from piqa_cli.schema import Box, ImageInfo

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Where a picture was edited; `mask` is height x width of the edited image, `boxes` half-open pixels of it."""

    mask: Mask
    boxes: tuple[Box, ...]


def true_regions(annotation: Annotation, edited: ImageInfo) -> Truth | None:
    """The true mask and boxes at the edited image's size; None if the annotation has neither.

    Raises:
        InputError: the annotation is of a picture of another size, its mask cannot be read, or a box lies outside.
    """
    if annotation.mask is None and annotation.boxes is None:
        return None
    size = (edited.height, edited.width)
    _check_size(annotation, edited)
    mask = fill_boxes(annotation.boxes or (), size) if annotation.mask is None else _read_mask(annotation, edited)
    boxes = annotation.boxes
    if boxes is None:
        boxes = tuple(region.box for region in find_regions(mask, np.ones(mask.shape, np.float32), size))
    return Truth(mask, boxes)


def _check_size(annotation: Annotation, edited: ImageInfo) -> None:
    size = f"{edited.width} x {edited.height} pixels"
    told = annotation.size
    if told is not None and told != (edited.height, edited.width):
        raise InputError(
            f"the annotation of {annotation.edited_name!r} is of a picture of another size",
            code="E_LABELS",
            file=edited.path,
            expected=size,
            found=f"{told[1]} x {told[0]}",
        )
    for box in annotation.boxes or ():
        if box[2] > edited.width or box[3] > edited.height:
            raise InputError(
                f"a true box of {annotation.edited_name!r} lies outside the picture",
                code="E_LABELS",
                file=edited.path,
                expected=f"boxes within {size}",
                found=str(list(box)),
            )


def _read_mask(annotation: Annotation, edited: ImageInfo) -> Mask:
    size = (edited.height, edited.width)
    if isinstance(annotation.mask, str):
        with open_image(annotation.mask, max_pixels=DEFAULT_POLICY.max_pixels) as file:
            return load_mask(file, edited, size, threshold=DEFAULT_POLICY.mask_threshold, invert=False).mask
    if annotation.mask is None or annotation.mask.size != size:
        raise _mask_error(annotation, edited, "no mask" if annotation.mask is None else str(annotation.mask.size))
    try:
        return decode_mask(annotation.mask)
    except ValueError as error:
        raise _mask_error(annotation, edited, str(error)) from error


def _mask_error(annotation: Annotation, edited: ImageInfo, found: str) -> InputError:
    return InputError(
        f"the true mask of {annotation.edited_name!r} cannot be used",
        code="E_MASK_SIZE",
        expected=f"a run-length mask of {edited.height} x {edited.width} pixels, height first",
        found=found,
    )
