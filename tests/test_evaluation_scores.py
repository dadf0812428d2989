"""Figures of scores against ratings: ties, constants, NaN, tiny samples; baselines; significance; reliability."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from piqa_cli.evaluation.baselines import Rows, blind, from_ratings, parts_of
from piqa_cli.evaluation.logistic import Logistic, fit_logistic
from piqa_cli.evaluation.scores import (
    METRICS,
    SUBSETS,
    Columns,
    Resampling,
    Subset,
    System,
    columns_of,
    measure,
    resampled,
    rows_of,
    score_rows,
)
from piqa_cli.evaluation.significance import compare, holm, two_sided
from piqa_cli.metrics import bootstrap_counts, bootstrap_values, plcc, srcc, tie_calibrated_accuracy
from piqa_cli.pairs.columns import DIMENSIONS, ratings_of
from piqa_cli.pairs.epaiqa import RATING_FIELDS, Label, Split, parse_labels, split_of
from piqa_cli.schema import Dimension
from test_epaiqa import PUBLIC

NONE = Resampling(0)
few = st.integers(2, 9).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(-3, 3).map(float), min_size=size, max_size=size)] * 2)
)


def columns(predicted: list[float], truth: list[float], sources: list[str] | None = None) -> Columns:
    names = sources or [str(number) for number in range(len(truth))]
    return Columns(np.array(predicted, float), np.array(truth, float), np.array(names, np.str_))


def label(number: int, overall: float = 3.0, completion: float = 3.0, prompt: str = "remove it") -> Label:
    values = (overall, completion, overall, overall)
    return Label(f"{number}.jpg", f"{number}_x.png", prompt, tuple(zip(RATING_FIELDS, values, strict=True)))


def everything(values: list[float]) -> System:
    return System("told", "assessed", np.repeat(np.array(values, float)[:, None], 4, axis=1))


def by_hand(told: list[float], truth: list[float], epsilon: float) -> float:
    """acc_eq as its definition says."""
    pairs = list(combinations(range(len(told)), 2))
    right = 0
    for i, j in pairs:
        d, wanted = told[i] - told[j], truth[i] - truth[j]
        right += wanted == 0 if abs(d) <= epsilon else d * wanted > 0
    return right / len(pairs)


@given(few)
def test_tie_calibration_finds_the_best_threshold_there_is(pair: tuple[list[float], list[float]]) -> None:
    told, truth = pair
    found = tie_calibrated_accuracy(told, truth)
    tried = [by_hand(told, truth, abs(a - b)) for a, b in combinations(told, 2)] + [by_hand(told, truth, 0.0)]
    assert found.accuracy == pytest.approx(max(tried))
    assert found.accuracy == pytest.approx(by_hand(told, truth, found.epsilon))


def test_ties_are_rewarded_where_people_tie_and_pairs_stay_in_their_group() -> None:
    # Ties Matter, section 3: a metric that never ties loses every human tie unless calibrated.
    assert tie_calibrated_accuracy([1.0, 1.1, 3.0], [1, 1, 2]).accuracy == 1
    assert tie_calibrated_accuracy([1.0, 1.1, 3.0], [1, 1, 2]).epsilon == pytest.approx(0.1)
    assert tie_calibrated_accuracy([2, 2, 2, 2], [1, 1, 1, 2]).accuracy == 0.5
    assert tie_calibrated_accuracy([1, 2, 2, 1], [1, 2, 1, 2], ["a", "a", "b", "b"]).accuracy == 0.5
    assert math.isnan(tie_calibrated_accuracy([1], [1]).accuracy)
    assert math.isnan(tie_calibrated_accuracy([], []).epsilon)
    with pytest.raises(ValueError):
        tie_calibrated_accuracy([1, math.nan], [1, 2])


def test_the_logistic_finds_the_curve_that_made_the_values() -> None:
    x = np.linspace(1, 5, 60)
    made = Logistic(1.2, 3.1, 2.8, 0.4)
    found = fit_logistic(x, made(x))
    assert isinstance(found, Logistic)
    assert [found.low, found.rise, found.centre, found.width] == pytest.approx([1.2, 3.1, 2.8, 0.4], abs=1e-4)
    assert plcc(found(x), made(x)) == pytest.approx(1)


def test_the_logistic_does_not_turn_a_reversed_judge_over() -> None:
    x = np.linspace(1, 5, 40)
    found = fit_logistic(x, 6 - x)
    assert isinstance(found, str) or plcc(found(x), 6 - x) < 0


@pytest.mark.parametrize(
    ("told", "truth"),
    [([], []), ([1, 2, 3], [1, 2, 3]), ([2] * 9, [1, 2, 3] * 3), ([1, 2, 3] * 3, [2] * 9), ([1e300] * 8, range(8))],
)
def test_a_logistic_that_cannot_be_fitted_says_why(told: list[float], truth: list[float]) -> None:
    assert isinstance(fit_logistic(np.array(told, float), np.array(truth, float)), str)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 5)), min_size=5, max_size=12))
def test_the_logistic_never_crashes(rows: list[tuple[float, int]]) -> None:
    table = np.array(rows, float)
    found = fit_logistic(table[:, 0], table[:, 1])
    if isinstance(found, Logistic):
        assert np.isfinite(found(table[:, 0])).all()


def test_figures_are_those_of_scipy() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(1, 6, 80).astype(float)
    told = truth + random.normal(0, 1, 80).round(1)
    figures, _ = measure(columns(list(told), list(truth)), NONE)
    found = {figure.metric: figure.value for figure in figures}
    assert found["srcc"] == pytest.approx(stats.spearmanr(told, truth).statistic)
    assert found["krcc"] == pytest.approx(stats.kendalltau(told, truth).statistic)
    assert found["plcc"] == pytest.approx(stats.pearsonr(told, truth).statistic)
    assert found["rmse"] == pytest.approx(math.sqrt(np.mean((told - truth) ** 2)))
    assert found["plcc_logistic"] >= found["plcc"] - 0.01


@pytest.mark.parametrize(
    ("told", "truth", "defined"),
    [
        ([], [], set()),
        ([2], [3], {"rmse"}),
        ([2, 2, 2], [1, 2, 3], {"rmse", "accuracy"}),
        ([1, 2, 3], [2, 2, 2], {"rmse", "accuracy"}),
        ([1, 2, 3], [1, 2, 2], set(METRICS) - {"plcc_logistic"}),
    ],
)
def test_what_is_not_defined_is_nan_with_a_reason(told: list[float], truth: list[float], defined: set[str]) -> None:
    figures, _ = measure(columns(told, truth), Resampling(20))
    assert {figure.metric for figure in figures if not math.isnan(figure.value)} == defined
    assert all((figure.reason is None) == (figure.metric in defined) for figure in figures)


def test_nulls_and_failures_are_counted_and_never_filled_in() -> None:
    ratings = ratings_of([label(number, overall=1 + number % 4) for number in range(8)])
    told = everything([1, 2, 3, 4, math.nan, 2, math.nan, 4])
    (row, *_) = score_rows(ratings, told, np.array([False] * 6 + [True, False]), NONE)
    assert (row.rated, row.scored, row.nulls, row.failed) == (8, 6, 1, 1)
    assert row.figure("rmse").value == 0
    (row, *_) = score_rows(ratings, everything([math.nan] * 8), np.zeros(8, bool), NONE)
    assert (row.scored, row.nulls) == (0, 8)
    assert all(figure.reason == "no edit has both a rating and a score" for figure in row.figures)


def test_overall_is_also_told_of_the_completed_edits_alone() -> None:
    ratings = ratings_of([label(number, 1 + number % 4, completion=1 + number % 3) for number in range(9)])
    assert rows_of(ratings, SUBSETS[0]).sum() == 9
    assert rows_of(ratings, SUBSETS[1]).sum() == 3
    assert [subset.name for subset in SUBSETS[:2]] == ["overall", "overall_completed"]


def test_an_edit_without_a_rating_of_the_dimension_is_left_out() -> None:
    bare = Label("a.jpg", "a_x.png", None, ((Dimension.HARMONY, 2.0),))
    ratings = ratings_of([bare, label(1)])
    kept = columns_of(ratings, everything([1, 2]), Subset(Dimension.OVERALL))
    assert kept.truth.tolist() == [3.0]


def test_accuracy_is_resampled_as_a_loop_over_copies_would() -> None:
    random = np.random.default_rng(3)
    truth, told = random.integers(1, 4, 14).astype(float), random.integers(1, 6, 14).astype(float)
    sources = [str(number // 2) for number in range(14)]
    drawn = resampled("accuracy", columns(list(told), list(truth), sources), Resampling(25, 1), "", 1.0)
    for times, found in zip(bootstrap_counts(sources, 14, 25, 1), drawn, strict=True):
        members = np.repeat(np.arange(14), times)
        pairs = [(i, j) for i, j in combinations(members, 2) if i != j]
        right = sum(
            truth[i] == truth[j] if abs(told[i] - told[j]) <= 1 else (told[i] - told[j]) * (truth[i] - truth[j]) > 0
            for i, j in pairs
        )
        assert found == pytest.approx(right / len(pairs))


def test_resamples_draw_whole_photos_and_are_the_same_for_the_same_seed() -> None:
    sources = ["a", "a", "b", "c", "c", "c"]
    counts = bootstrap_counts(sources, 6, 50, 4)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 3] == counts[:, 5]).all()
    assert (counts[:, 0] + counts[:, 2] + counts[:, 3] == 3).all()
    assert np.array_equal(counts, bootstrap_counts(sources, 6, 50, 4))
    assert bootstrap_values(srcc, [], [], resamples=3).tolist() == pytest.approx([math.nan] * 3, nan_ok=True)


def test_holm_is_as_in_a_worked_example() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, math.nan, 0.9]) == pytest.approx([0.02, math.nan, 0.9], nan_ok=True)
    assert holm([]) == []


def test_a_better_judge_is_told_from_a_worse_and_not_from_itself() -> None:
    random = np.random.default_rng(5)
    labels = [label(number, float(random.integers(1, 6))) for number in range(150)]
    ratings = ratings_of(labels)
    truth = ratings.of(Dimension.OVERALL)
    good, bad = everything(list(truth + random.normal(0, 0.5, 150))), everything(list(random.normal(3, 1, 150)))
    rows = compare(ratings, good, bad, Resampling(200))
    assert len(rows) == len(SUBSETS) * len(METRICS)
    overall = rows[0]
    assert overall.metric == "srcc"
    assert overall.low > 0
    assert overall.p_holm >= overall.p
    assert overall.significant
    same = compare(ratings, good, good, Resampling(50))
    assert not any(row.significant for row in same)
    assert all(row.p == 1 for row in same if row.reason is None)


def test_a_comparison_uses_only_what_both_scored_and_says_what_is_undefined() -> None:
    ratings = ratings_of([label(number, 1.0 + number % 5) for number in range(20)])
    one = everything([math.nan, *range(19)])
    (row, *_) = compare(ratings, one, everything([2.0] * 20), Resampling(20))
    assert (row.count, row.reason) == (19, "all scores are equal")
    assert math.isnan(row.p_holm)
    assert not row.significant
    assert math.isnan(two_sided(np.array([math.nan])))


def test_baselines_learn_from_other_photos_only() -> None:
    labels = [label(number, prompt=f"word{number}") for number in range(60)]
    splits: tuple[Split | None, ...] = (None, "train", "test")
    for split in splits:
        wanted = np.array([i for i, one in enumerate(labels) if split in {None, split_of(one.source_name)}])
        predicted: list[int] = []
        for known, asked in parts_of(labels, wanted, split):
            assert not set(known) & set(asked)
            predicted += asked.tolist()
        assert sorted(predicted) == wanted.tolist()


def test_a_prompt_that_says_it_all_is_found_by_the_blind_baseline_and_the_mean_ranks_nothing() -> None:
    labels = [label(n, 1.0 if n % 2 else 5.0, prompt="make it bad" if n % 2 else "turn all good") for n in range(80)]
    wanted = np.arange(80)
    mean, prompt_only = blind(labels, wanted, parts_of(labels, wanted, None))
    assert np.unique(mean.of(Dimension.OVERALL)).size == 1
    assert srcc(prompt_only.of(Dimension.OVERALL), ratings_of(labels).of(Dimension.OVERALL)) > 0.8


@pytest.mark.parametrize("prompt", ["", "!!", "x"])
def test_labels_that_teach_nothing_make_a_baseline_without_values(prompt: str) -> None:
    labels = [label(number, prompt=prompt) for number in range(40)]
    everyone = np.arange(40)
    assert blind(labels, everyone, parts_of(labels, everyone, None))[1].reason is not None
    few_labels, three = [label(number) for number in range(3)], np.arange(3)
    parts = parts_of(few_labels, three, None)
    systems = (*blind(few_labels, three, parts), *from_ratings(few_labels, three, parts))
    assert np.isnan(systems[1].values).all()
    assert np.isnan(systems[-1].values).all()


@pytest.fixture(scope="module")
def public() -> list[Label]:
    """The public ratings."""
    if not PUBLIC.exists():
        pytest.skip("the public ratings are not beside this checkout")
    return [one for one in parse_labels(str(PUBLIC)) if isinstance(one, Label)]


def figures_of(public: list[Label], known: Rows, asked: Rows) -> dict[tuple[str, str, str], float]:
    """(system, subset, metric) -> value of all baselines, learnt from some labels, on others."""
    ratings, parts = ratings_of([public[index] for index in asked]), ((known, asked),)
    return {
        (row.system, row.subset.name, figure.metric): figure.value
        for system in (*blind(public, asked, parts), *from_ratings(public, asked, parts))
        for row in score_rows(ratings, system, np.zeros(asked.size, bool), NONE)
        for figure in row.figures
    }


def test_people_order_overall_by_their_other_ratings_as_published(public: list[Label]) -> None:
    everyone, found = ratings_of(public), {}
    for system in from_ratings(public, np.arange(len(public)), ())[:3]:
        for subset in SUBSETS[:2]:
            kept = columns_of(everyone, system, subset)
            found[system.name, subset.name] = srcc(kept.predicted, kept.truth)
    names = [f"ratings: {dimension.value}" for dimension in DIMENSIONS[1:]]
    assert [found[name, "overall"] for name in names] == pytest.approx([0.844, 0.562, 0.604], abs=5e-4)
    assert [found[name, "overall_completed"] for name in names[1:]] == pytest.approx([0.786, 0.781], abs=5e-4)


def test_the_held_out_figures_of_the_fit_and_the_prompt_come_out(public: list[Label]) -> None:
    sides = [split_of(one.source_name) for one in public]
    found = figures_of(public, *(np.flatnonzero(np.array(sides) == side) for side in ("train", "test")))
    # What `python -m benchmarks.fit_fusion` prints.
    for name, wanted in (("linear fit", (0.9296, 0.9408, 0.4324)), ("fit with products", (0.93, 0.9575, 0.365))):
        told = [found[f"ratings: {name}", "overall", metric] for metric in ("srcc", "plcc", "rmse")]
        assert told == pytest.approx(wanted, abs=5e-4)
    prompt_only = [found["prompt only", dimension.value, "srcc"] for dimension in DIMENSIONS]
    assert prompt_only == pytest.approx([0.264, 0.224, 0.251, 0.313], abs=5e-4)


def test_a_random_split_gives_the_figures_first_measured_on_it(public: list[Label]) -> None:
    order, cut = np.random.default_rng(0).permutation(len(public)), int(0.8 * len(public))
    found = figures_of(public, order[:cut], order[cut:])
    told = [found["ratings: fit with products", "overall", metric] for metric in ("srcc", "plcc", "rmse")]
    assert told == pytest.approx([0.925, 0.959, 0.36], abs=5e-3)
    assert told[:2] == pytest.approx([0.925, 0.959], abs=5e-4)
    # Unclipped, the linear fit had a PLCC of 0.932; clipping to the scale leaves the order as it is.
    assert found["ratings: linear fit", "overall", "srcc"] == pytest.approx(0.924, abs=5e-4)
    assert found["ratings: prompt_completion", "overall", "srcc"] == pytest.approx(0.837, abs=5e-4)
    prompt_only = [found["prompt only", dimension.value, "srcc"] for dimension in DIMENSIONS]
    assert prompt_only == pytest.approx([0.280, 0.277, 0.204, 0.274], abs=5e-4)
