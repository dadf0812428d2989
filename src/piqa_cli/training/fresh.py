"""Made edits without end, as the quality branch meets them, so that no step of a stage sees one twice.

Grounding has no part in them: the region is the true one, drawn a little wider or narrower as a found one would be,
and nothing is known of what changed in the whole picture.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.compact.framing import CONTEXT, Crop, Frame, crop_region, open_frame, resize_mask
from piqa_cli.compact.network import FAULTS
from piqa_cli.synthesis import FAMILIES, PhotoLibrary, Sample, make_severity_pair
from piqa_cli.training.cases import WIDER

_SIDE = 320  # of the pictures that the edits are made in
_LOOSE = 0.06  # of the square root of the region's area: how far a drawn outline may lie from the true one


@dataclass(frozen=True, slots=True, eq=False)
class FreshEdit:
    """A crop around an edit, and what was put into it: severities and faults as in `cases.Cases`."""

    crop: Crop
    severities: tuple[float, float, float]
    faults: tuple[float, ...]
    family: int


class FreshEdits:
    """Every number is an edit in two versions, (better, worse); families not left out come in turn.

    The crops are `WIDER` times `side` wide, as those of `Cases`.
    """

    def __init__(self, photos: str, side: int, seed: int, leave_out: Collection[str] = ()) -> None:
        self.photos, self.side, self.seed = photos, round(WIDER * side), seed
        self.leave_out = tuple(leave_out)
        self.families = [family.name for family in FAMILIES if family.name not in self.leave_out]
        self.library: PhotoLibrary | None = None  # opened in the process that uses it

    def __getitem__(self, number: int) -> tuple[FreshEdit, FreshEdit]:
        self.library = self.library or PhotoLibrary(self.photos)
        family = self.families[number % len(self.families)]
        seed = self.seed * 1_000_003 + 50_000_000 + number
        better, worse = make_severity_pair(self.library, seed, _SIDE, "train", family=family, without=self.leave_out)
        size = better.source.shape[:2]
        frame = open_frame(better.source, better.edited, source_size=size, edited_size=size, exclude=None)
        # One registration and one outline for both: what tells the versions apart is the severity alone.
        region = drawn(resize_mask(better.mask, frame.size), np.random.default_rng(seed))
        other = replace(frame, edited=worse.edited, edited_native=worse.edited)
        return self._seen(better, frame, region), self._seen(worse, other, region)

    def _seen(self, sample: Sample, frame: Frame, region: NDArray[np.bool_]) -> FreshEdit:
        amounts = dict(sample.faults)
        return FreshEdit(
            crop=crop_region(frame, region, self.side, WIDER * CONTEXT),
            severities=(sample.harmony_severity, sample.naturalness_severity, sample.drift_severity),
            faults=tuple(amounts.get(fault, 0.0) for fault in FAULTS),
            family=[family.name for family in FAMILIES].index(sample.family),
        )


def drawn(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """An outline as a grounder or a hand draws it: H x W in and out, never empty where the true one is not."""
    reach = round(float(rng.uniform(-1, 1)) * _LOOSE * float(np.sqrt(mask.sum())))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(reach) + 1, 2 * abs(reach) + 1))
    change = cv2.dilate if reach > 0 else cv2.erode
    changed = change(mask.view(np.uint8), kernel).view(np.bool_)
    return changed if changed.any() else mask
