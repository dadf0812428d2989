"""Raw ratings: tables read, mean opinion scores, BT.500's screening, agreement and the ceiling it implies."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from piqa_cli.dataset.agreement import (
    agreement,
    ceiling,
    krippendorff_alpha,
    leave_one_out,
    reliability,
    spearman_brown,
)
from piqa_cli.dataset.opinions import report_opinions
from piqa_cli.dataset.ratings import (
    Rating,
    RatingMatrix,
    mean_opinions,
    opinions_text,
    rating_matrices,
    read_opinions,
    read_ratings,
)
from piqa_cli.dataset.screening import can_reject, screen
from piqa_cli.errors import InputError
from piqa_cli.schema import Dimension

NAN = math.nan
HEADER = "rater,image,dimension,value\n"
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D: 4 observers, 12 units.
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
# Shrout and Fleiss, Psychological Bulletin 86 (1979), table 2: 6 targets, 4 judges; here judges x targets.
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float).T


def matrix(values: NDArray[np.float64]) -> RatingMatrix:
    raters = tuple(f"r{number}" for number in range(values.shape[0]))
    images = tuple(f"i{number}" for number in range(values.shape[1]))
    return RatingMatrix(Dimension.HARMONY, raters, images, values)


def table(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "ratings.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_table_of_ratings_is_read_whatever_its_delimiter_order_and_names(tmp_path: Path) -> None:
    text = '\ufeffValue;Rater;note;IMAGE;dimension\n3;anna;x;"a;b.png";harmony_score\n\n'
    text += " 2 ;ben;;c.png;completion\n;ben;;d.png;overall\n"
    first, second = read_ratings(table(tmp_path, text))
    assert (first.rater, first.image, first.dimension, first.value) == ("anna", "a;b.png", Dimension.HARMONY, 3.0)
    assert (second.rater, second.dimension, second.value) == ("ben", Dimension.COMPLETION, 2.0)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "E_LABELS", "no row"),
        ("\n", "E_LABELS", "no row"),
        (HEADER, "E_LABELS", "no row"),
        (HEADER + "a,b,harmony,\n", "E_LABELS", "none"),
        ("rater,image,value\na,b,1\n", "E_LABELS", "first line"),
        ("rater,image,dimension,value,value\na,b,harmony,1,2\n", "E_LABELS", "two columns named value"),
        (HEADER + "a,b,harmony,nan\n", "E_LABELS", "'nan'"),
        (HEADER + "a,b,harmony,inf\n", "E_LABELS", "'inf'"),
        (HEADER + "a,b,harmony,5.1\n", "E_LABELS", "'5.1'"),
        (HEADER + "a,b,completion,4\n", "E_LABELS", "'4'"),
        (HEADER + 'a,b,harmony,"3,5"\n', "E_LABELS", "'3,5'"),
        (HEADER + "a,b,beauty,3\n", "E_LABELS", "dimension 'beauty'"),
        (HEADER + ",b,harmony,3\n", "E_LABELS", "nothing as rater"),
        (HEADER + "a,b,harmony\n", "E_LABELS", "3"),
        (HEADER + "a,b,harmony,3\na,b,harmony_score,4\n", "E_DUPLICATE", "'a' rated 'b' twice"),
        (HEADER + 'a,"b,harmony,3\n', "E_LABELS", "not readable as CSV"),
        (HEADER.encode("utf-16"), "E_LABELS", "UTF-16"),
        (bytes(range(256)), "E_LABELS", "first line"),
        (HEADER + "a,b,harmony,3,4\n", "E_LABELS", "5 cells under 4 columns"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_what_was_found(
    tmp_path: Path, text: str | bytes, code: str, words: str
) -> None:
    path = table(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_ratings(path)
    assert (error.value.code, error.value.file) == (code, path)
    assert words in str(error.value.found)


def test_the_line_that_does_not_fit_is_named_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 5 "):
        read_ratings(table(tmp_path, HEADER + 'a,"b\nc",harmony,3\n\na,d,harmony,9\n'))
    with pytest.raises(InputError) as missing:
        read_ratings(str(tmp_path / "no.csv"))
    assert missing.value.code == "E_NOT_FOUND"


def test_means_deviations_and_intervals_are_those_of_scipy(tmp_path: Path) -> None:
    given_values = [3.0, 4.0, 4.5, 2.0]
    rows = "".join(f"r{number},a.png,overall,{value}\n" for number, value in enumerate(given_values))
    (found,) = rating_matrices(read_ratings(table(tmp_path, HEADER + rows)))
    (opinion,) = mean_opinions(found)
    low, high = stats.t.interval(0.95, 3, np.mean(given_values), stats.sem(given_values))
    assert (opinion.raters, opinion.mean) == pytest.approx((4, 3.375))
    assert opinion.sd == pytest.approx(np.std(given_values, ddof=1))
    assert (opinion.low, opinion.high) == pytest.approx((low, high))


def test_one_rater_has_a_mean_and_neither_deviation_nor_interval() -> None:
    (opinion,) = mean_opinions(matrix(np.array([[3.0]])))
    assert opinion.mean == 3
    assert all(math.isnan(value) for value in (opinion.sd, opinion.low, opinion.high))
    assert opinions_text([opinion]).splitlines()[1] == "i0,harmony,3.0,,1,,"


def test_raters_who_agree_have_no_deviation() -> None:
    (opinion,) = mean_opinions(matrix(np.full((5, 1), 4.0)))
    assert (opinion.sd, opinion.low, opinion.high) == (0, 4, 4)


def test_opinions_come_back_from_their_table_and_formulas_stay_text(tmp_path: Path) -> None:
    rows = "a,=1+1.png,harmony,3\nb,=1+1.png,harmony,4\na,-x.png,completion,2\n"
    made = [
        one for found in rating_matrices(read_ratings(table(tmp_path, HEADER + rows))) for one in mean_opinions(found)
    ]
    text = opinions_text(made)
    assert not any(line.startswith(("=", "-")) for line in text.splitlines())
    back = read_opinions(table(tmp_path, text))
    assert [(one.image, one.dimension, one.mean) for one in back] == [(o.image, o.dimension, o.mean) for o in made]


# BT.500: one image's values decide its bound, so each case is one column and the rest are constant.


def crowd(column: list[float], images: int = 20) -> NDArray[np.float64]:
    return np.hstack([np.array(column)[:, None], np.full((len(column), images - 1), 3.0)])


def test_the_bound_is_two_deviations_where_the_kurtosis_is_that_of_normal_values() -> None:
    column = [3.0, 3, 3, 3, 2, 4, 2, 4, 2, 4, 5, 1]  # b2 = 2.4: sum d^4 = 38, sum d^2 = 14
    deviations = np.array(column) - 3
    kurtosis = 12 * (deviations**4).sum() / (deviations**2).sum() ** 2
    assert kurtosis == pytest.approx(12 * 38 / 196)
    screened = screen(matrix(crowd(column)))
    # 5 is 2 from the mean, S is 1.128: within 2 S = 2.256.
    assert [(one.above, one.below) for one in screened] == [(0, 0)] * 12
    column += [3.0, 3, 3, 3]  # S falls to 0.966: 5 is beyond 2 S = 1.932, b2 rises to 3.10
    screened = screen(matrix(crowd(column)))
    assert [(one.above, one.below) for one in screened[10:12]] == [(1, 0), (0, 1)]
    assert sum(one.above + one.below for one in screened) == 2


def test_the_bound_is_root_twenty_deviations_elsewhere() -> None:
    # One of n differs by d: its distance is (n - 1) / n d, S = d / sqrt(n), so it is (n - 1) / sqrt(n) S away:
    # beyond sqrt(20) S from n = 22 on. The kurtosis is about n.
    for count, beyond in ((20, 0), (21, 0), (22, 1)):
        screened = screen(matrix(crowd([5.0] + [3.0] * (count - 1))))
        assert screened[0].above == beyond
    # Values at two ends have a kurtosis of 1: nobody is beyond.
    assert all(one.above + one.below == 0 for one in screen(matrix(crowd([1.0] * 8 + [5.0] * 8))))


def erratic(above: int, below: int, images: int = 40) -> RatingMatrix:
    """Sixteen raters around 3, of whom the last is far off, so often to each side."""
    values = np.tile(np.array([3.0, 3, 3, 3, 3, 3, 3, 3, 2.5, 3.5, 2.5, 3.5, 2.5, 3.5, 3, 3])[:, None], (1, images))
    values[15, :above] = 4.2
    values[15, above : above + below] = 1.8
    return matrix(values)


@pytest.mark.parametrize(
    ("above", "below", "rejected"),
    [
        (2, 2, True),  # 4 of 40 = 0.1, balance 0
        (1, 1, False),  # 2 of 40 = 0.05 is not above 0.05
        (2, 1, False),  # 3 of 40 > 0.05, but |P - Q| / (P + Q) = 1/3
        (11, 6, True),  # 5 / 17 = 0.294
        (13, 7, False),  # 6 / 20 = 0.3 is not below 0.3
        (10, 0, False),  # mild throughout, not erratic
        (0, 0, False),
    ],
)
def test_who_is_often_far_off_to_both_sides_is_rejected(above: int, below: int, rejected: bool) -> None:
    *others, last = screen(erratic(above, below))
    assert (last.images, last.above, last.below) == (40, above, below)
    assert last.rejected is rejected
    assert not any(one.rejected for one in others)


def test_images_on_which_all_agree_and_those_not_rated_count_for_no_side() -> None:
    values = np.full((8, 5), 3.7)
    values[0, 1:] = NAN
    screened = screen(matrix(values))
    assert [one.images for one in screened] == [1, *[5] * 7]
    assert not any(one.above + one.below for one in screened)


def test_fewer_than_six_raters_cannot_be_screened() -> None:
    assert not can_reject(matrix(np.arange(20.0).reshape(5, 4)))
    assert can_reject(matrix(np.arange(24.0).reshape(6, 4)))


@pytest.mark.parametrize(("metric", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_that_of_krippendorffs_worked_example(metric: str, alpha: float) -> None:
    assert krippendorff_alpha(KRIPPENDORFF, metric) == pytest.approx(alpha, abs=5e-4)  # type: ignore[arg-type]


def by_definition(values: NDArray[np.float64], difference: Callable[[float, float], float]) -> float:
    """Alpha pair by pair."""
    units = [column[~np.isnan(column)] for column in values.T]
    units = [unit for unit in units if len(unit) > 1]
    known = np.concatenate(units)
    observed = sum(
        difference(a, b) / (len(unit) - 1)
        for unit in units
        for i, a in enumerate(unit)
        for j, b in enumerate(unit)
        if i != j
    )
    expected = sum(difference(a, b) for a in known for b in known) / (len(known) - 1)
    return float(1 - observed / expected)


@settings(deadline=None)
@given(arrays(np.float64, (4, 6), elements=st.sampled_from([1.0, 2.0, 3.0, 4.5, NAN])))
def test_alpha_is_what_its_definition_says(values: NDArray[np.float64]) -> None:
    known = values[:, (~np.isnan(values)).sum(0) >= 2]
    known = known[~np.isnan(known)]
    if np.unique(known).size < 2:
        assert math.isnan(krippendorff_alpha(values, "interval"))
    else:
        interval, nominal = by_definition(values, lambda a, b: (a - b) ** 2), by_definition(values, lambda a, b: a != b)
        assert krippendorff_alpha(values, "interval") == pytest.approx(interval, abs=1e-9)
        assert krippendorff_alpha(values, "nominal") == pytest.approx(nominal, abs=1e-9)


@pytest.mark.parametrize(
    "values",
    [np.empty((0, 0)), np.empty((3, 0)), np.array([[1.0, 2.0]]), np.full((3, 3), 2.0), np.full((3, 3), NAN), np.eye(1)],
    ids=["nothing", "no image", "one rater", "constant", "not rated", "one value"],
)
def test_agreement_that_is_not_defined_is_nan(values: NDArray[np.float64]) -> None:
    assert math.isnan(krippendorff_alpha(values, "nominal"))
    assert math.isnan(krippendorff_alpha(values, "ordinal"))
    found = agreement(matrix(values))
    undefined = (found.alpha_interval, found.left_out_srcc, found.reliability.single, found.ceiling.srcc)
    assert all(math.isnan(value) for value in undefined)


def test_alpha_refuses_infinities() -> None:
    with pytest.raises(ValueError, match="infinities"):
        krippendorff_alpha(np.array([[1.0, math.inf], [1.0, 2.0]]), "interval")


def test_reliability_is_that_of_shrout_and_fleiss_both_ways() -> None:
    full = reliability(SHROUT_FLEISS)
    assert (full.model, full.raters) == ("ICC(3)", 4)
    assert (full.single, full.mean) == pytest.approx((0.71, 0.91), abs=5e-3)


def test_one_way_reliability_of_equal_numbers_is_that_of_shrout_and_fleiss() -> None:
    # Each judge twice, rating three of the six targets: no matrix is full, every target has four values.
    halves = np.full((8, 6), NAN)
    halves[:4, :3], halves[4:, 3:] = SHROUT_FLEISS[:, :3], SHROUT_FLEISS[:, 3:]
    found = reliability(halves)
    assert (found.model, found.raters) == ("ICC(1)", 4)
    assert (found.single, found.mean) == pytest.approx((0.17, 0.44), abs=5e-3)


def test_the_ceiling_is_what_a_perfect_predictor_reaches_on_simulated_ratings() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(0, 1, 4000)
    values = truth + random.normal(0, 1.2, (5, 4000)) + random.normal(0, 1, (5, 1))  # raters' own levels too
    found = agreement(matrix(values))
    assert found.ceiling.plcc == pytest.approx(stats.pearsonr(truth, values.mean(0)).statistic, abs=0.01)
    assert found.ceiling.srcc == pytest.approx(stats.spearmanr(truth, values.mean(0)).statistic, abs=0.01)
    values[random.random(values.shape) < 0.3] = NAN
    values -= np.nanmean(values, 1, keepdims=True)
    rated = (~np.isnan(values)).any(0)
    found = agreement(matrix(values[:, rated]))
    assert found.reliability.model == "ICC(1)"
    reached = stats.pearsonr(truth[rated], np.nanmean(values[:, rated], 0)).statistic
    assert found.ceiling.plcc == pytest.approx(reached, abs=0.015)


def test_spearman_brown_and_the_ceiling_at_their_ends() -> None:
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(0.3, 1) == pytest.approx(0.3)
    assert math.isnan(spearman_brown(-1.0, 3))
    assert (ceiling(1.0).srcc, ceiling(1.0).plcc) == pytest.approx((1, 1))
    assert (ceiling(-0.2).srcc, ceiling(0.0).plcc) == (0, 0)
    assert ceiling(0.81).plcc == pytest.approx(0.9)


def test_leaving_one_out_compares_with_the_mean_of_the_others() -> None:
    values = np.array([[1.0, 2, 3, 4], [1, 2, 3, NAN], [4, 3, 2, 1], [2, 2, 2, 2]])
    found = leave_one_out(matrix(values))
    others = np.array([7 / 3, 7 / 3, 7 / 3, 1.5])
    assert found[0].plcc == pytest.approx(stats.pearsonr(values[0], others).statistic)
    assert found[0].srcc == pytest.approx(stats.spearmanr(values[0], others).statistic)
    assert (found[1].images, found[0].images) == (3, 4)
    assert math.isnan(found[3].srcc)


def test_rejected_raters_leave_the_means_unless_they_are_kept() -> None:
    bad = erratic(4, 4)
    ratings = _ratings(bad, Dimension.HARMONY)
    report, kept = report_opinions(ratings), report_opinions(ratings, keep_outliers=True)
    assert [rater.rater for rater in report.raters if rater.rejected] == ["r15"]
    assert [rater.rater for rater in kept.raters if rater.rejected] == ["r15"]
    assert {opinion.raters for opinion in report.opinions} == {15}
    assert {opinion.raters for opinion in kept.opinions} == {16}
    assert report.agreement[0].raters == 15
    few = report_opinions([rating for rating in ratings if rating.rater in {"r0", "r8"}])
    assert any("cannot reject" in warning for warning in few.warnings)


def _ratings(found: RatingMatrix, dimension: Dimension) -> list[Rating]:
    return [
        Rating(rater, image, dimension, float(found.values[i, j]))
        for i, rater in enumerate(found.raters)
        for j, image in enumerate(found.images)
    ]
