"""How well the regions of records cover the true ones: masks, boxes, over chance, by size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from piqa_cli.errors import InputError
from piqa_cli.evaluation.means import Mean, mean_of, ratio_of
from piqa_cli.evaluation.scores import Resampling
from piqa_cli.images import DEFAULT_POLICY
from piqa_cli.images.decoding import open_image
from piqa_cli.images.masks import load_mask
from piqa_cli.metrics import box_iou, chance_iou, f1, iou
from piqa_cli.pairs.annotations import Annotation
from piqa_cli.regions import decode_mask, find_regions
from piqa_cli.schema import Assessment, Box, ImageInfo

BOX_IOU = 0.5
AREAS: tuple[tuple[str, float, float], ...] = (  # name, share of the picture above which and up to which
    ("up to 1 %", 0.0, 0.01),
    ("1 to 5 %", 0.01, 0.05),
    ("5 to 20 %", 0.05, 0.2),
    ("20 to 50 %", 0.2, 0.5),
    ("over 50 %", 0.5, 1.0),
)
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Where a picture was edited; `mask` is height x width of the edited image, `boxes` half-open pixels of it."""

    mask: Mask
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """One edit: how its regions meet the true ones.

    `area` is the true share of the picture; `iou` and `f1` are of all regions as one mask, `chance` the IoU of a random
    mask of the true size. `hits` counts boxes matched one to one at an IoU of at least BOX_IOU.
    """

    source: str
    area: float
    iou: float
    f1: float
    chance: float
    hits: int
    true_boxes: int
    told_boxes: int


@dataclass(frozen=True, slots=True)
class GroundingRow:
    """Figures of the edits of one size; those of every size first."""

    area: str
    figures: tuple[Mean, ...]


@dataclass(frozen=True, slots=True)
class GroundingReport:
    """All sizes, and the edits that are none: how many, and the share of them in which a region was found."""

    rows: tuple[GroundingRow, ...]
    false_alarms: Mean


def true_regions(annotation: Annotation, edited: ImageInfo) -> Truth | None:
    """The true mask and boxes at the edited image's size; None if the annotation has neither.

    Raises:
        InputError: the annotation is of a picture of another size, its mask cannot be read, or a box lies outside.
    """
    if annotation.mask is None and annotation.boxes is None:
        return None
    size = (edited.height, edited.width)
    _check_size(annotation, edited)
    mask = _filled(annotation.boxes or (), size) if annotation.mask is None else _read_mask(annotation, edited)
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


def _filled(boxes: Iterable[Box], size: tuple[int, int]) -> Mask:
    mask = np.zeros(size, bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def overlap_of(assessment: Assessment, truth: Truth, source: str) -> Overlap:
    """How a record's regions meet the true ones; no region is a region of no pixels.

    Raises:
        InputError: a region's mask is not one of the edited image (E_RESULTS).
    """
    told = _told(assessment, truth.mask.shape)
    area = float(np.mean(truth.mask))
    told_boxes = tuple(region.box for region in assessment.regions)
    return Overlap(
        source,
        area,
        iou(told, truth.mask),
        f1(told, truth.mask),
        chance_iou(area),
        _hits(told_boxes, truth.boxes),
        len(truth.boxes),
        len(told_boxes),
    )


def _told(assessment: Assessment, size: tuple[int, ...]) -> Mask:
    told = np.zeros(size, bool)
    for region in assessment.regions:
        try:
            told |= decode_mask(region.mask)
        except ValueError as error:  # also shapes that do not fit
            raise InputError(
                f"a region's mask in the record of {assessment.id!r} cannot be used",
                code="E_RESULTS",
                expected=f"run-length masks of {size[0]} x {size[1]} pixels, height first",
                found=str(error),
            ) from error
    return told


def _hits(told: Sequence[Box], true: Sequence[Box]) -> int:
    """Pairs of boxes that meet at BOX_IOU, each box in one pair at most, as many as there can be."""
    if not told or not true:
        return 0
    meets = np.array([[box_iou(one, other) >= BOX_IOU for other in true] for one in told])
    rows, columns = linear_sum_assignment(meets, maximize=True)
    return int(np.count_nonzero(meets[rows, columns]))


def summarise(overlaps: Sequence[Overlap], how: Resampling) -> GroundingReport:
    """Figures of all edits and by size; edits without a true region only count as false alarms."""
    edited = [one for one in overlaps if one.area > 0]
    rows = [GroundingRow("all", _figures(edited, how))]
    for name, low, high in AREAS:
        inside = [one for one in edited if low < one.area <= high]
        if inside:
            rows.append(GroundingRow(name, _figures(inside, how)))
    none = [one for one in overlaps if one.area == 0]
    alarms = mean_of("false alarms", [float(one.told_boxes > 0) for one in none], [one.source for one in none], how)
    return GroundingReport(tuple(rows), alarms)


def _figures(overlaps: Sequence[Overlap], how: Resampling) -> tuple[Mean, ...]:
    sources = [one.source for one in overlaps]
    hits = [float(one.hits) for one in overlaps]
    return (
        mean_of("mIoU", [one.iou for one in overlaps], sources, how),
        mean_of("F1", [one.f1 for one in overlaps], sources, how),
        mean_of("chance mIoU", [one.chance for one in overlaps], sources, how),
        mean_of("mIoU over chance", [one.iou - one.chance for one in overlaps], sources, how),
        ratio_of("box recall at 0.5", hits, [float(one.true_boxes) for one in overlaps], sources, how),
        ratio_of("box precision at 0.5", hits, [float(one.told_boxes) for one in overlaps], sources, how),
    )
