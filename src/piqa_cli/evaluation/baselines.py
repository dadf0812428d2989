"""What a judge must beat: baselines that see no pixels, and what people's other ratings would give.

Each row is predicted from photos other than its own: the test split from the training split, anything else in five
parts by photo. Only the mean is one number for all, because a mean that differs by part would rank the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from piqa_cli.evaluation.scores import System
from piqa_cli.pairs.columns import DIMENSIONS, Array, Ratings, ratings_of
from piqa_cli.pairs.epaiqa import Label, Split, split_of
from piqa_cli.schema import SCALES, Dimension

PARTS = 5
LEAST_LABELS = 20
"""Fewer labels to learn from teach nothing."""
_RIDGE = 10.0
_LEAST_USES = 3  # of a word, to count as one
_NAN = float("nan")
_OVERALL = DIMENSIONS.index(Dimension.OVERALL)
_EXTRA = "needs scikit-learn: pip install 'piqa-cli[evaluate]'"
_FEW = f"needs at least {LEAST_LABELS} labels of other photos, whose prompts share words"
Rows = NDArray[np.intp]
Parts = tuple[tuple[Rows, Rows], ...]


def blind(labels: Sequence[Label], wanted: Rows, parts: Parts) -> tuple[System, ...]:
    """The mean of the ratings, and what the wording of the prompt alone predicts.

    Args:
        labels: all labels, of both splits.
        wanted: indices of the labels to predict, in the order of the values.
        parts: what is learnt from which labels, as `parts_of` gives it.
    """
    return (_mean(labels, wanted, parts), _prompt_only(labels, wanted, parts))


def from_ratings(labels: Sequence[Label], wanted: Rows, parts: Parts) -> tuple[System, ...]:
    """Overall from people's own ratings of the other dimensions: one alone, or a least-squares fit of all three."""
    ratings = ratings_of(labels)
    single = tuple(
        _overall_only(f"ratings: {dimension.value}", ratings.of(dimension)[wanted], on_scale=_on_overall(dimension))
        for dimension in DIMENSIONS[1:]
    )
    fits = (("ratings: linear fit", _linear), ("ratings: fit with products", _products))
    return (*single, *(_overall_only(name, _fitted(ratings, parts, design)[wanted]) for name, design in fits))


def parts_of(labels: Sequence[Label], wanted: Rows, split: Split | None) -> Parts:
    """(labels to learn from, labels to predict), disjoint by photo; together all that are wanted are predicted."""
    if split == "test":
        return ((np.flatnonzero([split_of(label.source_name) == "train" for label in labels]), wanted),)
    names, photo = np.unique([label.source_name for label in labels], return_inverse=True)
    part = (np.random.default_rng(0).permutation(names.size) % PARTS)[photo]
    usable = np.array([split is None or split_of(label.source_name) == split for label in labels])
    return tuple((np.flatnonzero((part != number) & usable), wanted[part[wanted] == number]) for number in range(PARTS))


def _mean(labels: Sequence[Label], wanted: Rows, parts: Parts) -> System:
    known = np.unique(np.concatenate([known for known, _ in parts]))
    values = ratings_of([labels[index] for index in known]).values
    rated = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means = np.where(rated, values, 0).sum(axis=0) / rated.sum(axis=0)
    reason = None if rated.any() else "there are no labels of other photos"
    return System("mean", "blind", np.tile(means, (wanted.size, 1)), reason=reason)


def _prompt_only(labels: Sequence[Label], wanted: Rows, parts: Parts) -> System:
    """TF-IDF of words and pairs of words, and ridge regression: an assessor near it has seen nothing."""
    values = np.full((len(labels), len(DIMENSIONS)), _NAN)
    if find_spec("sklearn") is None:
        return System("prompt only", "blind", values[wanted], reason=_EXTRA)
    ratings = ratings_of(labels)
    prompts = np.array([label.prompt or "" for label in labels], object)
    for known, asked in parts:
        for column in range(len(DIMENSIONS)):
            learnt = known[~np.isnan(ratings.values[known, column])]
            if learnt.size >= LEAST_LABELS and asked.size:
                told = _ridge(prompts[learnt], ratings.values[learnt, column], prompts[asked])
                values[asked, column] = _NAN if told is None else told
    chosen = values[wanted]
    return System("prompt only", "blind", chosen, reason=_FEW if np.isnan(chosen).all() else None)


def _ridge(prompts: NDArray[np.object_], ratings: Array, asked: NDArray[np.object_]) -> Array | None:
    """What the prompts asked are predicted to be rated; None where the known ones share no words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=_LEAST_USES)
    try:
        seen = words.fit_transform(prompts)
    except ValueError:  # an empty vocabulary, and there is no other way to ask
        return None
    return np.asarray(Ridge(alpha=_RIDGE).fit(seen, ratings).predict(words.transform(asked)), np.float64)


def _fitted(ratings: Ratings, parts: Parts, design: Callable[[Array, Array, Array], Array]) -> Array:
    """Overall by a least-squares fit, clipped to its scale; NaN where a rating is missing or there is no fit."""
    terms = design(*(ratings.of(dimension) for dimension in DIMENSIONS[1:]))
    overall = ratings.of(Dimension.OVERALL)
    rated = np.isfinite(terms).all(axis=1) & np.isfinite(overall)
    scale = SCALES[Dimension.OVERALL]
    told = np.full(overall.size, _NAN)
    for known, asked in parts:
        learnt = known[rated[known]]
        if learnt.size >= LEAST_LABELS:
            weights = np.linalg.lstsq(terms[learnt], overall[learnt], rcond=None)[0]
            told[asked] = np.clip(terms[asked] @ weights, scale.low, scale.high)
    return told


def _linear(c: Array, h: Array, n: Array) -> Array:
    return np.stack([np.ones_like(c), c, h, n], 1)


def _products(c: Array, h: Array, n: Array) -> Array:
    return np.stack([np.ones_like(c), c, h, n, c * h, c * n, h * n], 1)


def _overall_only(name: str, overall: Array, *, on_scale: bool = True) -> System:
    values = np.full((overall.size, len(DIMENSIONS)), _NAN)
    values[:, _OVERALL] = overall
    return System(name, "ratings", values, on_scale)


def _on_overall(dimension: Dimension) -> bool:
    return SCALES[dimension].low == SCALES[Dimension.OVERALL].low and SCALES[dimension].high == 5
