"""The region of an edit: the boxes that the model names, beside what the compact assessor found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from piqa_cli.assessor import Grounding
from piqa_cli.images import LoadedPair
from piqa_cli.lmm.boxes import Parsed
from piqa_cli.regions import encode_mask, fill_boxes, scale_box
from piqa_cli.schema import Box, Kind, Region

LEAST_OVERLAP = 0.3
"""Intersection over union below which two groundings disagree."""

EDITED = (Kind.LOCAL, Kind.GLOBAL)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LmmGrounding(Grounding):
    """A grounding, the compact assessor's own beside it, and the pair it was made from (without a mask not used)."""

    compact: Grounding
    pair: LoadedPair


def place(grounding: LmmGrounding, parsed: Parsed, confidence: float) -> LmmGrounding:
    """The grounding with the model's boxes as its regions.

    A warning says so where there are none, and where they and the compact assessor's regions overlap little.

    Args:
        grounding: as the compact assessor has it.
        parsed: the boxes, or why there are none.
        confidence: 0..1, the mean probability of the tokens in which they were written.
    """
    size = size_of(grounding.pair)
    if not parsed.boxes:
        warning = f"grounding: the model gave no box ({parsed.reason}); the region is the compact assessor's"
        return replace(grounding, warnings=(*grounding.warnings, warning))
    mask = _rectangles(parsed.boxes, size, grounding.mask.shape)
    return replace(
        grounding,
        regions=_regions(parsed, confidence, size),
        mask=mask,
        edit=grounding.edit.model_copy(update={"area_fraction": float(mask.mean())}),
        warnings=(*grounding.warnings, *_disagreement(grounding, mask, size)),
    )


def size_of(pair: LoadedPair) -> tuple[int, int]:
    """(height, width) of the edited image as a person sees it."""
    return pair.info.edited.height, pair.info.edited.width


def _regions(parsed: Parsed, confidence: float, size: tuple[int, int]) -> tuple[Region, ...]:
    """The boxes as regions, largest first."""
    made = []
    for box in parsed.boxes:
        mask = fill_boxes((box,), size)
        made.append(
            Region(box=box, area_fraction=float(mask.mean()), confidence=confidence, mask=encode_mask(mask, size))
        )
    return tuple(sorted(made, key=lambda region: -region.area_fraction))


def _disagreement(grounding: LmmGrounding, mask: NDArray[np.bool_], size: tuple[int, int]) -> list[str]:
    """A warning where the model's boxes and those of the compact assessor's regions overlap little."""
    others = [region.box for region in grounding.compact.regions]
    if not others:
        return []
    theirs = _rectangles(others, size, mask.shape)
    overlap = float((mask & theirs).sum() / max(1, (mask | theirs).sum()))
    if overlap >= LEAST_OVERLAP:
        return []
    share = f"{overlap:.2f}"
    return [f"grounding: the model's box and the compact assessor's overlap little (IoU {share}); the model's is used"]


def _rectangles(boxes: Sequence[Box], size: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of that shape, true in the boxes, which are in pixels of a picture of `size`."""
    return fill_boxes([scale_box(box, size, (shape[0], shape[1])) for box in boxes], shape)
