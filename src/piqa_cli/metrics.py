"""How well numbers, masks and boxes agree: arrays in, one float out.

What is not defined (a correlation with a constant, of fewer than two values, the overlap of two empty masks) is
NaN, never 0: an undefined figure must not pass for a bad or a good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from piqa_cli.schema import Box

_NAN = float("nan")


def srcc(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's rank correlation, -1..1; ties take their mean rank. NaN if either side is constant.

    Raises:
        ValueError: the two differ in length, are not one-dimensional, or hold values that are not finite.
    """
    a, b = _columns(predicted, truth)
    return _pearson(stats.rankdata(a), stats.rankdata(b))


def krcc(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Kendall's rank correlation tau-b, -1..1, corrected for ties. NaN if either side is constant.

    Raises:
        ValueError: as for `srcc`.
    """
    a, b = _columns(predicted, truth)
    return float(stats.kendalltau(a, b).statistic) if _varies(a) and _varies(b) else _NAN


def plcc(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Pearson's linear correlation, -1..1, of the values as they are (no fitted curve). NaN if a side is constant.

    Raises:
        ValueError: as for `srcc`.
    """
    return _pearson(*_columns(predicted, truth))


def rmse(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Root of the mean squared difference, in the unit of the values. NaN for no values.

    Raises:
        ValueError: as for `srcc`.
    """
    a, b = _columns(predicted, truth)
    return float(np.sqrt(np.mean((a - b) ** 2))) if a.size else _NAN


def pairwise_accuracy(predicted: ArrayLike, truth: ArrayLike, group: ArrayLike | None = None) -> float:
    """Share of pairs with different truth that the prediction puts in the same order, 0..1; chance is 0.5.

    A tied prediction counts half. NaN if no pair has different truth.

    Args:
        predicted: N values.
        truth: N values.
        group: N labels; only pairs within a group (the edits of one photo) count. All in one by default.

    Raises:
        ValueError: as for `srcc`.
    """
    a, b = _columns(predicted, truth)
    groups = _groups(group, a.size)
    right, count = 0.0, 0
    for members in groups:
        for position, index in enumerate(members[:-1]):
            rest = members[position + 1 :]
            wanted = np.sign(b[index] - b[rest])
            told = np.sign(a[index] - a[rest])[wanted != 0]
            wanted = wanted[wanted != 0]
            right += float(np.sum(told == wanted) + 0.5 * np.sum(told == 0))
            count += wanted.size
    return right / count if count else _NAN


@dataclass(frozen=True, slots=True)
class Calibrated:
    """An accuracy with ties, and the `epsilon` up to which two predictions count as tied."""

    accuracy: float
    epsilon: float


def tie_calibrated_accuracy(predicted: ArrayLike, truth: ArrayLike, group: ArrayLike | None = None) -> Calibrated:
    """Share of all pairs, ties among them, that the prediction puts as people do, 0..1; NaN where there is no pair.

    Two predictions count as tied if they differ by at most epsilon, which is chosen to maximise the share (the
    smallest such): acc_eq with tie calibration, Deutsch, Foster and Freitag, "Ties Matter", EMNLP 2023.

    Args:
        predicted: N values.
        truth: N values; equal ones are ties.
        group: N labels; only pairs within a group count. All in one by default.

    Raises:
        ValueError: as for `srcc`.
    """
    a, b = _columns(predicted, truth)
    tied, right, count = [np.zeros(0)], [np.zeros(0)], 0
    for members in _groups(group, a.size):
        for position, index in enumerate(members[:-1]):
            rest = members[position + 1 :]
            told, wanted = a[index] - a[rest], b[index] - b[rest]
            tied.append(np.abs(told[wanted == 0]))
            right.append(np.abs(told[told * wanted > 0]))
            count += rest.size
    if not count:
        return Calibrated(_NAN, _NAN)
    ties, ordered = np.sort(np.concatenate(tied)), np.sort(np.concatenate(right))
    bounds = np.append(0.0, ties)  # the share rises only where a tie of people's is gained
    kept = np.searchsorted(ties, bounds, "right") + ordered.size - np.searchsorted(ordered, bounds, "right")
    best = int(np.argmax(kept))
    return Calibrated(float(kept[best] / count), float(bounds[best]))


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval; `low` and `high` are NaN where no resample gave a value."""

    low: float
    high: float


def bootstrap_interval(
    metric: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    predicted: ArrayLike,
    truth: ArrayLike,
    *,
    group: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a metric, drawing whole groups with replacement.

    Edits of one photo are not independent: drawing them one by one gives an interval that is too narrow.
    Resamples on which the metric is NaN are left out.

    Args:
        metric: such as `srcc`, of N predicted and N true values.
        predicted: N values.
        truth: N values.
        group: N labels (the photo); each value its own group by default.
        resamples: how many to draw.
        level: the interval's probability, 0..1.
        seed: the same seed gives the same interval.

    Raises:
        ValueError: as for `srcc`; `group` is of another length; resamples or level are out of range.
    """
    values = bootstrap_values(metric, predicted, truth, group=group, resamples=resamples, seed=seed)
    return percentile_interval(values, level)


def bootstrap_values(
    metric: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    predicted: ArrayLike,
    truth: ArrayLike,
    *,
    group: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The metric on each resample, those of `bootstrap_counts`, NaN where it is not defined; arguments as above.

    The same groups and seed draw the same resamples, so that two predictions can be compared draw by draw.

    Raises:
        ValueError: as for `srcc`; `group` is of another length; resamples are out of range.
    """
    a, b = _columns(predicted, truth)
    counts = bootstrap_counts(np.arange(a.size) if group is None else group, a.size, resamples, seed)
    values = [_NAN] * len(counts)
    for number, times in enumerate(counts if a.size else ()):
        drawn = np.repeat(np.arange(a.size), times)
        values[number] = metric(a[drawn], b[drawn])
    return np.array(values, np.float64)


def bootstrap_counts(group: ArrayLike, size: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each of `size` values is in each resample of whole groups, resamples x size.

    Raises:
        ValueError: `group` is of another length; resamples are below 1.
    """
    if resamples < 1:
        raise ValueError(f"needs resamples of at least 1, found {resamples}")
    groups = _groups(group, size)
    counts = np.zeros((resamples, size), np.int64)
    random = np.random.default_rng(seed)
    for row in counts if groups else ():
        times = np.bincount(random.integers(len(groups), size=len(groups)), minlength=len(groups))
        row[np.concatenate(groups)] = np.repeat(times, [members.size for members in groups])
    return counts


def percentile_interval(values: NDArray[np.float64], level: float = 0.95) -> Interval:
    """The interval that holds `level` of the values, NaN ones left out.

    Raises:
        ValueError: the level is not within 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"needs a level in 0..1, found {level}")
    defined = values[~np.isnan(values)]
    if defined.size == 0:
        return Interval(_NAN, _NAN)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape, 0..1. NaN if both are empty.

    Raises:
        ValueError: the shapes differ.
    """
    both, either = _overlap(predicted, truth)
    return both / either if either else _NAN


def f1(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall over pixels (Dice), 0..1. NaN if both masks are empty.

    Raises:
        ValueError: the shapes differ.
    """
    both, either = _overlap(predicted, truth)
    return 2 * both / (both + either) if either else _NAN


def chance_iou(fraction: float) -> float:
    """The IoU that a random mask of the right size is expected to score: f / (2 - f), f being its share of the area.

    A random mask of share f meets the true one of share f on f * f of the picture, and covers with it 2f - f * f.

    Raises:
        ValueError: the fraction is not within 0..1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"an area fraction is within 0..1, found {fraction}")
    return fraction / (2 - fraction)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two half-open boxes (x0, y0, x1, y1), 0..1. NaN if both are empty."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    either = _area(a) + _area(b) - both
    return both / either if either else _NAN


def _area(box: Box) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _overlap(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int]:
    if predicted.shape != truth.shape:
        raise ValueError(f"masks must be of one shape, found {predicted.shape} and {truth.shape}")
    a, b = predicted.astype(bool, copy=False), truth.astype(bool, copy=False)
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))


def _columns(predicted: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"needs two columns of one length, found shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("values must be finite: leave out the pairs that have none, and say how many")
    return a, b


def _varies(values: NDArray[np.float64]) -> bool:
    return values.size > 1 and bool(np.any(values != values[0]))


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if not (_varies(a) and _varies(b)):
        return _NAN
    # Scaled first, so that neither tiny nor huge values leave the range of floats when squared.
    a, b = a - a.mean(), b - b.mean()
    scale_a, scale_b = np.abs(a).max(), np.abs(b).max()
    if scale_a == 0 or scale_b == 0:
        return _NAN
    a, b = a / scale_a, b / scale_b
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def _groups(group: ArrayLike | None, size: int) -> list[NDArray[np.intp]]:
    """Indices of each group's members, groups in sorted order of their labels."""
    if size == 0:
        return []
    labels = np.zeros(size, int) if group is None else np.asarray(group)
    if labels.shape != (size,):
        raise ValueError(f"needs one group label per value, found {labels.shape} for {size}")
    _, inverse = np.unique(labels, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1)
