"""What a label file's ratings say: marginals, correlations, overall by completion, prompts, edited regions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from piqa_cli.metrics import plcc, srcc
from piqa_cli.pairs.annotations import Annotation
from piqa_cli.pairs.columns import DIMENSIONS, Array, Ratings, ratings_of
from piqa_cli.pairs.epaiqa import Label, match_key
from piqa_cli.schema import SCALES, Dimension

PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True, slots=True)
class LevelCount:
    """How many values are nearest to a level word."""

    level: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Marginal:
    """One dimension. `sd` is that of a sample (n - 1); percentiles (5, 25, 50, 75, 95) are linear between values."""

    dimension: Dimension
    count: int
    mean: float
    sd: float
    low: float
    high: float
    percentiles: tuple[float, ...]
    levels: tuple[LevelCount, ...]


@dataclass(frozen=True, slots=True)
class Correlation:
    """Two dimensions over the edits that have both; `done`: only those whose completion is 3."""

    first: Dimension
    second: Dimension
    count: int
    srcc: float
    plcc: float
    done_count: int
    done_srcc: float


@dataclass(frozen=True, slots=True)
class ByCompletion:
    """Edits of one completion level: means of the other dimensions, deviation of overall (n - 1)."""

    level: str
    count: int
    overall_mean: float
    overall_sd: float
    harmony_mean: float
    naturalness_mean: float


@dataclass(frozen=True, slots=True)
class Prompts:
    """Words a prompt (median, longest), prompts that occur more than once, and labels without one."""

    missing: int
    different: int
    median_words: float
    most_words: int


@dataclass(frozen=True, slots=True)
class Regions:
    """Annotated edits: how many have boxes, a main fault, an explanation by a person; a box's share of the area.

    `box_area_quartiles` are over the boxes of pictures whose size is told.
    """

    annotated: int
    with_boxes: int
    with_fault: int
    explained: int
    box_area_quartiles: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Statistics:
    """All of it. What is not defined is NaN."""

    edits: int
    sources: int
    most_edits_of_a_source: int
    marginals: tuple[Marginal, ...]
    correlations: tuple[Correlation, ...]
    by_completion: tuple[ByCompletion, ...]
    prompts: Prompts
    regions: Regions | None


def describe_ratings(labels: Sequence[Label], annotations: Sequence[Annotation] | None = None) -> Statistics:
    """The statistics of the labels, at least one; of regions too where there are annotations."""
    ratings = ratings_of(labels)
    edits = Counter(match_key(label.source_name) for label in labels)
    return Statistics(
        edits=len(labels),
        sources=len(edits),
        most_edits_of_a_source=max(edits.values()),
        marginals=tuple(_marginal(dimension, ratings.of(dimension)) for dimension in DIMENSIONS),
        correlations=tuple(_correlation(ratings, *pair) for pair in combinations(DIMENSIONS, 2)),
        by_completion=tuple(_by_completion(ratings)),
        prompts=_prompts(labels),
        regions=None if annotations is None else _regions(annotations),
    )


def _marginal(dimension: Dimension, column: Array) -> Marginal:
    values, scale = column[~np.isnan(column)], SCALES[dimension]
    counts = Counter(scale.level(value) for value in values.tolist())
    percentiles = np.percentile(values, PERCENTILES) if values.size else np.full(len(PERCENTILES), math.nan)
    return Marginal(
        dimension=dimension,
        count=values.size,
        mean=_mean(values),
        sd=_sd(values),
        low=float(values.min()) if values.size else math.nan,
        high=float(values.max()) if values.size else math.nan,
        percentiles=tuple(percentiles.tolist()),
        levels=tuple(LevelCount(word, counts[word], counts[word] / max(1, values.size)) for word in scale.levels),
    )


def _correlation(ratings: Ratings, first: Dimension, second: Dimension) -> Correlation:
    a, b = ratings.of(first), ratings.of(second)
    both = ~(np.isnan(a) | np.isnan(b))
    done = both & ratings.completed
    return Correlation(
        first=first,
        second=second,
        count=int(both.sum()),
        srcc=srcc(a[both], b[both]),
        plcc=plcc(a[both], b[both]),
        done_count=int(done.sum()),
        done_srcc=srcc(a[done], b[done]),
    )


def _by_completion(ratings: Ratings) -> list[ByCompletion]:
    scale, rows = SCALES[Dimension.COMPLETION], []
    levels = np.array(["" if math.isnan(v) else scale.level(v) for v in ratings.of(Dimension.COMPLETION).tolist()])
    for level in scale.levels:
        here = levels == level
        overall, harmony, naturalness = (
            column[here & ~np.isnan(column)]
            for column in map(ratings.of, (Dimension.OVERALL, Dimension.HARMONY, Dimension.NATURALNESS))
        )
        rows.append(
            ByCompletion(level, int(here.sum()), _mean(overall), _sd(overall), _mean(harmony), _mean(naturalness))
        )
    return rows


def _prompts(labels: Sequence[Label]) -> Prompts:
    prompts = [label.prompt for label in labels if label.prompt]
    words = [len(prompt.split()) for prompt in prompts]
    return Prompts(
        missing=len(labels) - len(prompts),
        different=len({prompt.casefold() for prompt in prompts}),
        median_words=float(np.median(words)) if words else math.nan,
        most_words=max(words, default=0),
    )


def _regions(annotations: Sequence[Annotation]) -> Regions:
    shares = [
        (x1 - x0) * (y1 - y0) / (one.size[0] * one.size[1])
        for one in annotations
        if one.size is not None
        for x0, y0, x1, y1 in one.boxes or ()
    ]
    low, middle, high = np.percentile(shares, (25, 50, 75)).tolist() if shares else (math.nan,) * 3
    return Regions(
        annotated=len(annotations),
        with_boxes=sum(bool(one.boxes) for one in annotations),
        with_fault=sum(one.fault is not None for one in annotations),
        explained=sum(one.explanation is not None and not one.template for one in annotations),
        box_area_quartiles=(low, middle, high),
    )


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else math.nan


def _sd(values: Array) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else math.nan
