"""How far raters agree, and what that leaves for any predictor: raters x images in, NaN where not rated.

What is not defined (one rater, one image, values that are all the same) is NaN, never 0 and never 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from piqa_cli.dataset.ratings import RatingMatrix
from piqa_cli.metrics import plcc, srcc
from piqa_cli.schema import Dimension

Array = NDArray[np.float64]
Metric = Literal["nominal", "ordinal", "interval"]
_NAN = math.nan


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One rater against the mean of the others, over the images that both rated: correlations, -1..1."""

    rater: str
    images: int
    srcc: float
    plcc: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Share of the variance that is the images' own: of one rater's values, and of the means; at most 1."""

    model: Literal["ICC(1)", "ICC(3)"]
    single: float
    mean: float
    raters: float  # an image, harmonic mean


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The correlations with these mean opinion scores that a perfect predictor of the true means would reach, 0..1."""

    srcc: float
    plcc: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """All of it for one dimension. `left_out_*` are means over the raters for whom they are defined."""

    dimension: Dimension
    raters: int
    images: int
    ratings: int
    alpha_nominal: float
    alpha_ordinal: float
    alpha_interval: float
    left_out_srcc: float
    left_out_plcc: float
    reliability: Reliability
    ceiling: Ceiling


def agreement(matrix: RatingMatrix) -> Agreement:
    """The agreement of one dimension's raters."""
    values = matrix.values
    others = leave_one_out(matrix)
    found = reliability(values)
    return Agreement(
        dimension=matrix.dimension,
        raters=values.shape[0],
        images=values.shape[1],
        ratings=int((~np.isnan(values)).sum()),
        alpha_nominal=krippendorff_alpha(values, "nominal"),
        alpha_ordinal=krippendorff_alpha(values, "ordinal"),
        alpha_interval=krippendorff_alpha(values, "interval"),
        left_out_srcc=_mean([one.srcc for one in others]),
        left_out_plcc=_mean([one.plcc for one in others]),
        reliability=found,
        ceiling=ceiling(found.mean),
    )


def krippendorff_alpha(values: Array, metric: Metric) -> float:
    """Krippendorff's alpha, at most 1; 0 is chance. Any number of raters, values may be missing.

    1 - observed / expected disagreement (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011). Its ordinal
    difference of two values is the squared difference of their mean ranks among all values that can be paired.

    Args:
        values: raters x images, NaN where missing. Images with one value are left out.
        metric: what the difference of two values means.

    Raises:
        ValueError: it is not a matrix, or holds an infinity.
    """
    if values.ndim != 2 or np.isinf(values).any():
        raise ValueError(f"needs a matrix of raters x images without infinities, found shape {values.shape}")
    values = values[:, (~np.isnan(values)).sum(0) >= 2]
    known = values[~np.isnan(values)]
    if known.size == 0 or bool(np.all(known == known[0])):
        return _NAN
    if metric == "nominal":
        observed, expected = _different(values)
    else:
        if metric == "ordinal":
            values = values.copy()
            values[~np.isnan(values)] = stats.rankdata(known)
        observed, expected = _squared(values)
    return 1 - (known.size - 1) * observed / expected


def _squared(values: Array) -> tuple[float, float]:
    """Squared differences of all ordered pairs: an image's over its number of values - 1, summed; and of all values."""
    count = (~np.isnan(values)).sum(0)
    within = 2 * count**2 * np.nanvar(values, axis=0) / (count - 1)
    total = int(count.sum())
    return float(within.sum()), 2 * total**2 * float(np.nanvar(values))


def _different(values: Array) -> tuple[float, float]:
    """As `_squared`, but counting the ordered pairs of values that are not the same."""
    rater, image = np.nonzero(~np.isnan(values))
    _, level, of_level = np.unique(values[rater, image], return_inverse=True, return_counts=True)
    cells, of_cell = np.unique(np.stack([image, level]), axis=1, return_counts=True)
    count = np.bincount(image).astype(float)
    same = np.bincount(cells[0], weights=of_cell.astype(float) ** 2)
    total = float(rater.size)
    return float(((count**2 - same) / (count - 1)).sum()), total**2 - float((of_level.astype(float) ** 2).sum())


def leave_one_out(matrix: RatingMatrix) -> list[LeftOut]:
    """Every rater against the mean of the other raters, in the matrix's order; NaN where either is constant."""
    known = ~np.isnan(matrix.values)
    filled = np.where(known, matrix.values, 0.0)
    total, count = filled.sum(0), known.sum(0)
    left = []
    for index, rater in enumerate(matrix.raters):
        shared = known[index] & (count > 1)
        others = (total - filled[index])[shared] / (count[shared] - 1)
        # Rounded, so that means which differ in the last bit only are ties to the rank correlation.
        own, others = filled[index][shared], np.round(others, 9)
        left.append(LeftOut(rater, int(shared.sum()), srcc(own, others), plcc(own, others)))
    return left


def reliability(values: Array) -> Reliability:
    """Intraclass correlation of single values and of means (Shrout and Fleiss, Psychological Bulletin 86, 1979).

    Where every rater rated every image, a rater's own level shifts all means alike and is no error: ICC(3), two-way.
    Otherwise raters differ from image to image and their levels are errors: ICC(1), one-way, for unequal numbers of
    raters as Donner (International Statistical Review 54, 1986) has it. The reliability of means is that of single
    values stepped up by Spearman and Brown's formula to the harmonic mean number of raters an image.
    """
    complete = not np.isnan(values).any()
    count = (~np.isnan(values)).sum(0)
    raters = float(stats.hmean(count)) if count.size and count.min() > 0 else _NAN
    single = _two_way(values) if complete else _one_way(values, count)
    return Reliability("ICC(3)" if complete else "ICC(1)", single, spearman_brown(single, raters), raters)


def spearman_brown(single: float, raters: float) -> float:
    """The reliability of the mean of so many values, k r / (1 + (k - 1) r). NaN if r is, or where it has a pole."""
    below = 1 + (raters - 1) * single
    return raters * single / below if below > 0 else _NAN


def ceiling(reliability_of_means: float) -> Ceiling:
    """What errors in the means leave to a perfect predictor.

    PLCC: the square root of their reliability (Spearman's attenuation, American Journal of Psychology 15, 1904).
    SRCC: 6 / pi asin(PLCC / 2), its rank correlation under a normal distribution (Pearson, 1907). 0 for a reliability
    that is not positive.
    """
    if math.isnan(reliability_of_means):
        return Ceiling(_NAN, _NAN)
    linear = math.sqrt(min(1.0, max(0.0, reliability_of_means)))
    return Ceiling(6 / math.pi * math.asin(linear / 2), linear)


def _two_way(values: Array) -> float:
    """ICC(3,1) of a full matrix: (BMS - EMS) / (BMS + (k - 1) EMS)."""
    raters, images = values.shape
    if raters < 2 or images < 2:
        return _NAN
    between = raters * float(values.mean(0).var(ddof=1))
    errors = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    error = float((errors**2).sum()) / ((raters - 1) * (images - 1))
    return _share(between, error, raters)


def _one_way(values: Array, count: NDArray[np.int_]) -> float:
    """ICC(1,1): (BMS - WMS) / (BMS + (k0 - 1) WMS), k0 = (N - sum k^2 / N) / (images - 1)."""
    total, images = int(count.sum()), count.size
    if images < 2 or total <= images or count.min() == 0:
        return _NAN
    means = np.nansum(values, axis=0) / count
    grand = float(np.nansum(values)) / total
    between = float((count * (means - grand) ** 2).sum()) / (images - 1)
    within = float(np.nansum((values - means) ** 2)) / (total - images)
    return _share(between, within, (total - float((count.astype(float) ** 2).sum()) / total) / (images - 1))


def _share(between: float, error: float, raters: float) -> float:
    below = between + (raters - 1) * error
    return (between - error) / below if below > 1e-15 else _NAN


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else _NAN
