"""How well the regions of records cover the true ones: masks, boxes, over chance, by size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from piqa_cli.errors import InputError
from piqa_cli.evaluation.means import Mean, mean_of, ratio_of
from piqa_cli.evaluation.scores import Resampling
from piqa_cli.metrics import box_iou, chance_iou, f1, iou
from piqa_cli.pairs.truth import Mask, Truth
from piqa_cli.regions import decode_mask
from piqa_cli.schema import Assessment, Box

BOX_IOU = 0.5
AREAS: tuple[tuple[str, float, float], ...] = (  # name, share of the picture above which and up to which
    ("up to 1 %", 0.0, 0.01),
    ("1 to 5 %", 0.01, 0.05),
    ("5 to 20 %", 0.05, 0.2),
    ("20 to 50 %", 0.2, 0.5),
    ("over 50 %", 0.5, 1.0),
)


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
