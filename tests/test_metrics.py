"""Correlations, errors and overlaps, against SciPy and worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from piqa_cli.metrics import (
    bootstrap_interval,
    box_iou,
    chance_iou,
    f1,
    iou,
    krcc,
    pairwise_accuracy,
    plcc,
    rmse,
    srcc,
)
from piqa_cli.schema import Box

# Few distinct values, so that ties are the rule.
columns = st.integers(2, 30).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(-4, 4).map(float), min_size=size, max_size=size)] * 2)
)


@given(columns)
def test_correlations_are_those_of_scipy_with_ties(pair: tuple[list[float], list[float]]) -> None:
    a, b = pair
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    assert srcc(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)
    assert plcc(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)
    assert krcc(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-9)


@given(columns)
def test_rank_correlations_ignore_a_rising_curve(pair: tuple[list[float], list[float]]) -> None:
    a, b = pair
    curved = np.exp(np.asarray(a))
    assert srcc(curved, b) == pytest.approx(srcc(a, b), nan_ok=True)
    assert krcc(curved, b) == pytest.approx(krcc(a, b), nan_ok=True)
    assert pairwise_accuracy(curved, b) == pytest.approx(pairwise_accuracy(a, b), nan_ok=True)


def test_worked_examples_with_ties() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: covariance 4.5, variances 4.5 and 5.
    assert srcc([1, 2, 2, 3], [10, 30, 20, 40]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    # Five of six pairs concordant, one tied in the first: 5 / sqrt(5 * 6).
    assert krcc([1, 2, 2, 3], [10, 30, 20, 40]) == pytest.approx(5 / math.sqrt(30))
    assert plcc([0, 1, 2], [0, 1, 5]) == pytest.approx(5 / math.sqrt(2 * 14))
    assert rmse([1, 2, 4], [1, 4, 3]) == pytest.approx(math.sqrt(5 / 3))


@pytest.mark.parametrize("metric", [srcc, krcc, plcc])
@pytest.mark.parametrize(("a", "b"), [([], []), ([1], [2]), ([3, 3, 3], [1, 2, 3]), ([1, 2, 3], [0.1, 0.1, 0.1])])
def test_a_correlation_with_a_constant_or_of_one_value_is_undefined(
    metric: object, a: list[float], b: list[float]
) -> None:
    assert callable(metric)
    assert math.isnan(metric(a, b))


@pytest.mark.parametrize("metric", [srcc, krcc, plcc])
def test_two_values_correlate_fully(metric: object) -> None:
    assert callable(metric)
    assert metric([1, 2], [5, 9]) == pytest.approx(1)
    assert metric([1, 2], [9, 5]) == pytest.approx(-1)


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_the_unit_of_the_values_does_not_move_the_linear_correlation(factor: float) -> None:
    a, b = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 5.0])
    assert plcc(a * factor, b) == pytest.approx(plcc(a, b))


def test_the_error_of_no_values_is_undefined_and_of_equal_ones_zero() -> None:
    assert math.isnan(rmse([], []))
    assert rmse([2.0], [2.0]) == 0


@pytest.mark.parametrize("metric", [srcc, krcc, plcc, rmse, pairwise_accuracy])
@pytest.mark.parametrize(
    ("a", "b"), [([1, 2], [1, 2, 3]), ([[1, 2]], [[1, 2]]), ([1, math.nan], [1, 2]), ([1, 2], [1, math.inf])]
)
def test_columns_that_do_not_fit_are_refused(metric: object, a: list[float], b: list[float]) -> None:
    assert callable(metric)
    with pytest.raises(ValueError):
        metric(a, b)


def test_pairs_are_ordered_within_their_groups_and_ties_count_half() -> None:
    truth, told = [1, 2, 3, 3], [1, 3, 2, 2]
    # Pairs with different truth: (1,2) and (1,3) twice right, (2,3) twice wrong.
    assert pairwise_accuracy(told, truth) == pytest.approx(3 / 5)
    assert pairwise_accuracy([1, 1], [1, 2]) == 0.5
    assert pairwise_accuracy(told, truth, ["a", "a", "b", "b"]) == 1  # only (1,2): the other group is tied in truth
    assert math.isnan(pairwise_accuracy([1, 2], [3, 3]))
    assert math.isnan(pairwise_accuracy([1, 2], [3, 4], ["a", "b"]))


def test_an_interval_holds_the_estimate_and_narrows_with_more_values() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=400)
    told = truth + random.normal(size=400)
    wide = bootstrap_interval(srcc, told[:40], truth[:40], resamples=200)
    narrow = bootstrap_interval(srcc, told, truth, resamples=200)
    assert narrow.low < srcc(told, truth) < narrow.high
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    told, truth = [1, 2, 3, 4, 5, 7, 6], [2, 1, 3, 5, 4, 6, 7]
    first = bootstrap_interval(srcc, told, truth, resamples=50, seed=3)
    assert first == bootstrap_interval(srcc, told, truth, resamples=50, seed=3)
    assert first != bootstrap_interval(srcc, told, truth, resamples=50, seed=4)


def test_copies_of_a_value_in_its_group_do_not_narrow_the_interval() -> None:
    random = np.random.default_rng(2)
    truth = random.normal(size=30)
    told = truth + random.normal(size=30)
    copies = np.repeat(np.arange(30), 8)
    single = bootstrap_interval(plcc, told, truth, resamples=300)
    grouped = bootstrap_interval(plcc, told[copies], truth[copies], group=copies, resamples=300)
    alone = bootstrap_interval(plcc, told[copies], truth[copies], resamples=300)
    assert grouped.high - grouped.low == pytest.approx(single.high - single.low, rel=1e-9)
    assert alone.high - alone.low < 0.6 * (single.high - single.low)


def test_an_interval_without_any_defined_resample_is_undefined() -> None:
    for told, truth in (([], []), ([1, 1, 1], [1, 2, 3])):
        interval = bootstrap_interval(srcc, told, truth, resamples=20)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"level": 1.0}, {"group": [1]}])
def test_interval_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        bootstrap_interval(srcc, [1, 2], [1, 2], **wrong)  # type: ignore[arg-type]


def test_masks_overlap_as_counted_by_hand() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True  # 8 and 8 pixels, 4 in both
    assert iou(a, b) == pytest.approx(4 / 12)
    assert f1(a, b) == pytest.approx(8 / 16)
    assert iou(a, a) == f1(a, a) == 1
    assert iou(a, ~a) == f1(a, ~a) == 0
    empty = np.zeros((4, 4), bool)
    assert iou(empty, a) == f1(empty, a) == 0
    assert math.isnan(iou(empty, empty))
    assert math.isnan(f1(empty, empty))
    with pytest.raises(ValueError, match="one shape"):
        iou(a, np.zeros((4, 5), bool))


def test_a_random_mask_scores_what_chance_says() -> None:
    random = np.random.default_rng(0)
    for share in (0.05, 0.3, 0.7):
        a, b = random.random((2, 400, 400)) < share
        assert iou(a, b) == pytest.approx(chance_iou(share), abs=0.01)
    assert chance_iou(0) == 0
    assert chance_iou(1) == 1
    with pytest.raises(ValueError):
        chance_iou(1.5)


sides = st.tuples(st.integers(0, 12), st.integers(0, 12))


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_boxes_overlap_as_their_pixels_do(
    a: tuple[tuple[int, int], tuple[int, int]], b: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    def drawn(box: Box) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        picture = np.zeros((12, 12), bool)
        picture[box[1] : box[3], box[0] : box[2]] = True
        return picture

    first, second = ((min(x), min(y), max(x), max(y)) for x, y in (a, b))
    assert box_iou(first, second) == pytest.approx(iou(drawn(first), drawn(second)), nan_ok=True)
