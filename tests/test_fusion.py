from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import fit_fusion
from piqa_cli.fusion import ALL_TERMS, DONE, MEAN_BY_COMPLETION, NOT_DONE_RESIDUAL, fuse
from piqa_cli.schema import Dimension, Score, score

LABELS = Path(__file__).parents[2] / "shared" / "epaiqa" / "scored_img.json"
UNKNOWN = score(Dimension.COMPLETION, None, reason="no prompt was given", code="N_NO_PROMPT")
NO_EDIT = "nothing was edited"


def completion(value: float, spread: float | None = None) -> Score:
    return score(Dimension.COMPLETION, value, spread)


def harmony(value: float | None, spread: float | None = None) -> Score:
    return score(Dimension.HARMONY, value, spread, reason=NO_EDIT, code="N_NO_EDIT")


def naturalness(value: float | None, spread: float | None = None) -> Score:
    return score(Dimension.NATURALNESS, value, spread, reason=NO_EDIT, code="N_NO_EDIT")


def value_of(result: tuple[Score, str]) -> float:
    assert result[0].value is not None
    return result[0].value


def spread_of(result: tuple[Score, str]) -> float:
    assert result[0].spread is not None
    return result[0].spread


def test_an_average_edit_gets_about_what_people_gave_it() -> None:
    """The means of EPAIQA-15K by completion: (H, N) -> overall."""
    assert value_of(fuse(completion(1), harmony(2.90), naturalness(2.91))) == pytest.approx(1.36, abs=0.06)
    assert value_of(fuse(completion(3), harmony(3.37), naturalness(3.45))) == pytest.approx(3.67, abs=0.06)
    assert value_of(fuse(UNKNOWN, harmony(3.37), naturalness(3.45))) == pytest.approx(3.67, abs=0.06)


def test_without_completion_the_edit_is_assumed_done_and_the_score_says_so() -> None:
    fused, how = fuse(UNKNOWN, harmony(4), naturalness(4))
    assert fused.reason == "assumes the edit did what was asked"
    assert fused.code == "N_COMPLETION_ASSUMED"
    assert "completion unknown" in how
    known, how = fuse(completion(3), harmony(4), naturalness(4))
    assert known.reason is None
    assert how.startswith("completion, harmony and naturalness")
    assert known.value == pytest.approx(fused.value, abs=0.2)


def test_an_edit_that_was_not_done_and_left_no_region_gets_the_mean_of_failed_edits() -> None:
    fused, how = fuse(completion(1), harmony(None), naturalness(None))
    assert fused.value == pytest.approx(MEAN_BY_COMPLETION[0])
    assert fused.level == "bad"
    assert fused.spread == pytest.approx(1.2816 * NOT_DONE_RESIDUAL)
    assert "not done" in how


@pytest.mark.parametrize(
    ("c", "h", "n"),
    [
        (UNKNOWN, harmony(None), naturalness(None)),
        (completion(3), harmony(None), naturalness(4)),
        (completion(2), harmony(4), naturalness(None)),
        (UNKNOWN, harmony(4), naturalness(None)),
    ],
)
def test_without_a_score_of_the_region_the_overall_is_null_with_the_reason(c: Score, h: Score, n: Score) -> None:
    fused, how = fuse(c, h, n)
    assert fused.value is None
    assert fused.reason == "needs harmony and naturalness: nothing was edited"
    assert fused.code == "N_NO_EDIT"
    assert how.startswith("not fused")


def test_what_is_uncertain_in_a_term_is_uncertain_in_the_overall() -> None:
    sure = spread_of(fuse(completion(3, 0), harmony(3, 0), naturalness(3, 0)))
    assert sure == pytest.approx(1.2816 * ALL_TERMS.residual)
    assert spread_of(fuse(completion(3, 1), harmony(3, 0), naturalness(3, 0))) > sure + 0.3
    assert spread_of(fuse(completion(3, 0), harmony(3, 1), naturalness(3, 0))) > sure + 0.1
    assert spread_of(fuse(UNKNOWN, harmony(3, 0), naturalness(3, 0))) == pytest.approx(1.2816 * DONE.residual)
    assert spread_of(fuse(completion(1, 2), harmony(None), naturalness(None))) > 1.5


def test_the_spread_is_the_swing_of_the_overall_over_the_terms_interval() -> None:
    moved = DONE(3, 4, 3) - DONE(3, 3, 3)  # one point of harmony up is the larger side, or as large
    down = DONE(3, 3, 3) - DONE(3, 2, 3)
    expected = np.hypot(1.2816 * DONE.residual, max(moved, down))
    assert spread_of(fuse(UNKNOWN, harmony(3, 1), naturalness(3))) == pytest.approx(expected)


completions = st.none() | st.floats(1, 3)
qualities = st.none() | st.floats(1, 5)
spreads = st.none() | st.floats(0, 4)


@given(completions, qualities, qualities, st.tuples(spreads, spreads, spreads))
def test_the_overall_never_leaves_its_scale(
    c: float | None, h: float | None, n: float | None, widths: tuple[float | None, float | None, float | None]
) -> None:
    first = UNKNOWN if c is None else completion(c, widths[0])
    fused, how = fuse(first, harmony(h, widths[1]), naturalness(n, widths[2]))
    assert how
    if fused.value is None:
        assert fused.reason
    else:
        assert 1 <= fused.value <= 5
        assert fused.spread is not None
        assert 0 < fused.spread < 6


@given(st.floats(1, 3), st.floats(1, 5), st.floats(1, 5), st.floats(0, 2))
def test_a_better_term_never_lowers_the_overall(c: float, h: float, n: float, more: float) -> None:
    better = min(5.0, h + more)
    for first in (UNKNOWN, completion(c)):
        here = value_of(fuse(first, harmony(h), naturalness(n)))
        assert value_of(fuse(first, harmony(better), naturalness(n))) >= here - 1e-9
        assert value_of(fuse(first, harmony(n), naturalness(better))) >= value_of(
            fuse(first, harmony(n), naturalness(h))
        ) - (1e-9)
    assert value_of(fuse(completion(min(3.0, c + more)), harmony(h), naturalness(n))) >= value_of(
        fuse(completion(c), harmony(h), naturalness(n))
    ) - (1e-9)


def test_the_benchmark_finds_the_coefficients_that_made_the_ratings(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [
        {
            "source_img_name": f"{number}.jpg",
            "edited_img_name": f"{number}_edit.png",
            "prompt": "make it blue",
            "overall_score": float(np.clip(0.2 + 0.5 * h + 0.3 * n, 1, 5)),
            "prompt_completion": 3,
            "harmony_score": h,
            "local_naturalness": n,
        }
        for number, (h, n) in enumerate(rng.uniform(1.5, 4.5, (60, 2)).tolist())
    ]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(rows))
    ratings = fit_fusion.read(path)
    done = next(variant for variant in fit_fusion.VARIANTS if "(DONE)" in variant.name)
    assert fit_fusion.fit(done, ratings) == pytest.approx([0.2, 0.5, 0.3, 0.0], abs=1e-6)


@pytest.mark.skipif(not LABELS.exists(), reason="EPAIQA-15K's label file is not part of the project")
def test_the_shipped_coefficients_are_the_fit_to_the_public_ratings() -> None:
    ratings = fit_fusion.read(LABELS)
    assert len(ratings.overall) == 6730
    found = {
        variant.name: fit_fusion.fit(variant, ratings.where(variant.rows(ratings))) for variant in fit_fusion.VARIANTS
    }
    every = found["C, H, N with products (ALL_TERMS)"]
    shipped = ALL_TERMS.constant, ALL_TERMS.c, ALL_TERMS.h, ALL_TERMS.n, ALL_TERMS.ch, ALL_TERMS.cn, ALL_TERMS.hn
    assert every == pytest.approx(shipped, abs=6e-5)
    assert found["H, N of completed edits (DONE)"] == pytest.approx((DONE.constant, DONE.h, DONE.n, DONE.hn), abs=6e-5)
    for level, mean in enumerate(MEAN_BY_COMPLETION, start=1):
        assert ratings.overall[ratings.completion == level].mean() == pytest.approx(mean, abs=6e-5)
