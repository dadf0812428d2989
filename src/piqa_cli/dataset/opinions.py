"""A table of raw ratings to what `piqa dataset mos` reports: opinions, who was left out, and how far raters agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from piqa_cli.dataset.agreement import Agreement, LeftOut, agreement, leave_one_out
from piqa_cli.dataset.ratings import Opinion, Rating, mean_opinions, rating_matrices
from piqa_cli.dataset.screening import LEAST_RATERS, Screened, can_reject, screen
from piqa_cli.schema import Dimension


@dataclass(frozen=True, slots=True)
class RaterReport:
    """One rater in one dimension: BT.500's counts, and the correlation with the others, the rejected ones included."""

    dimension: Dimension
    rater: str
    images: int
    above: int
    below: int
    rejected: bool
    srcc: float
    plcc: float


@dataclass(frozen=True, slots=True)
class OpinionReport:
    """All dimensions. Opinions and agreement are those of the raters who were kept."""

    opinions: tuple[Opinion, ...]
    agreement: tuple[Agreement, ...]
    raters: tuple[RaterReport, ...]
    warnings: tuple[str, ...]


def report_opinions(ratings: Sequence[Rating], *, keep_outliers: bool = False) -> OpinionReport:
    """Screens each dimension by itself, and takes means and agreement over who is left.

    Args:
        ratings: at least one.
        keep_outliers: report who would be rejected, but reject nobody.
    """
    opinions: list[Opinion] = []
    agreements: list[Agreement] = []
    raters: list[RaterReport] = []
    warnings: list[str] = []
    for matrix in rating_matrices(ratings):
        screened, left = screen(matrix), leave_one_out(matrix)
        rejected = [one.rater for one in screened if one.rejected]
        raters += [_rater(matrix.dimension, *both) for both in zip(screened, left, strict=True)]
        kept = matrix if keep_outliers else matrix.without(rejected)
        if not can_reject(matrix):
            least = f"fewer than {LEAST_RATERS} raters an image"
            warnings.append(f"{matrix.dimension.value}: with {least} BT.500 cannot reject anybody")
        lost = len(matrix.images) - len(kept.images)
        if lost:
            warnings.append(f"{matrix.dimension.value}: {lost} images were rated by rejected raters only")
        opinions += mean_opinions(kept)
        agreements.append(agreement(kept))
    return OpinionReport(tuple(opinions), tuple(agreements), tuple(raters), tuple(warnings))


def _rater(dimension: Dimension, one: Screened, left: LeftOut) -> RaterReport:
    return RaterReport(dimension, one.rater, one.images, one.above, one.below, one.rejected, left.srcc, left.plcc)
