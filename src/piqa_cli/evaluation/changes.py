"""What changed from one file of records to another: by pair, by dimension, and whether by more than chance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from piqa_cli.evaluation.reading import Records
from piqa_cli.evaluation.scores import Resampling
from piqa_cli.evaluation.significance import LEVEL, holm
from piqa_cli.metrics import percentile_interval
from piqa_cli.schema import Dimension

TOLERANCE = 1e-4
"""Scores of the same pair differ by as much between batches and machines (docs/architecture.md): no change."""
DIMENSIONS: Final = tuple(Dimension)
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Change:
    """New minus old of one dimension, over the `count` pairs that have a score in both files.

    Attributes:
        low, high: the 95 % interval of the mean change, from a bootstrap over photos.
        median: of the changes.
        p: of Wilcoxon's signed-rank test, two-sided; `p_holm` corrected over the dimensions.
        effect: matched-pairs rank-biserial correlation: 1 where every pair that moved got better, -1 worse.
        better, worse: pairs that moved by more than both spreads.
        gained, lost: pairs that have a score only in the new, only in the old file.
        reason: why figures are NaN.
    """

    dimension: Dimension
    count: int
    old: float
    new: float
    change: float
    low: float
    high: float
    median: float
    p: float
    p_holm: float
    effect: float
    better: int
    worse: int
    gained: int
    lost: int
    reason: str | None = None

    @property
    def significant(self) -> bool:
        """Below LEVEL after the correction."""
        return self.p_holm < LEVEL


@dataclass(frozen=True, slots=True)
class Failing:
    """A pair that could not be assessed, and why."""

    id: str
    code: str


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two files of records, joined by id.

    Attributes:
        ids: of the pairs in both, in the new file's order; `old_rows` and `new_rows` say where.
        moved: pairs x dimensions, new minus old; NaN where either has no score; 0 within `TOLERANCE`.
        beyond: whether that is more than both spreads.
        only_old, only_new: ids in one file only.
        newly_failing, newly_fixed: pairs assessed in one and failed in the other; `still_failing`: in both.
        same_key: pairs with one key in both: same files, same prompt, same settings.
        other_source, other_prompt: pairs whose photo has another name, or that were asked for something else.
    """

    old: Records
    new: Records
    ids: list[str]
    old_rows: NDArray[np.intp]
    new_rows: NDArray[np.intp]
    moved: NDArray[np.float64]
    beyond: NDArray[np.bool_]
    only_old: list[str]
    only_new: list[str]
    newly_failing: list[Failing]
    newly_fixed: list[Failing]
    still_failing: int
    same_key: int
    other_source: int
    other_prompt: int
    changes: tuple[Change, ...]

    def order(self) -> list[tuple[int, int]]:
        """(pair, dimension) of what moved beyond the spreads, furthest first."""
        found = np.argwhere(self.beyond)
        sizes = np.abs(self.moved[self.beyond])
        return [(int(found[at, 0]), int(found[at, 1])) for at in np.argsort(-sizes, kind="stable")]


def compare_records(old: Records, new: Records, how: Resampling) -> Comparison:
    """Joins two files by the pairs' ids and measures what changed."""
    ids = [name for name in new.rows if name in old.rows]
    old_rows = np.array([old.rows[name] for name in ids], np.intp)
    new_rows = np.array([new.rows[name] for name in ids], np.intp)
    before, after = old.values[old_rows], new.values[new_rows]
    moved = after - before
    moved[np.abs(moved) <= TOLERANCE] = 0.0
    spread = np.maximum(old.spreads[old_rows], new.spreads[new_rows])
    beyond = np.abs(moved) > spread + TOLERANCE
    codes = [(name, old.codes[a], new.codes[b]) for name, a, b in zip(ids, old_rows, new_rows, strict=True)]
    rows = list(zip(old_rows, new_rows, strict=True))
    photos = np.unique(np.array([new.sources[row] for row in new_rows]), return_inverse=True)[1]
    return Comparison(
        old=old,
        new=new,
        ids=ids,
        old_rows=old_rows,
        new_rows=new_rows,
        moved=moved,
        beyond=beyond,
        only_old=[name for name in old.rows if name not in new.rows],
        only_new=[name for name in new.rows if name not in old.rows],
        newly_failing=[Failing(name, after) for name, before, after in codes if after and not before],
        newly_fixed=[Failing(name, before) for name, before, after in codes if before and not after],
        still_failing=sum(bool(before and after) for _, before, after in codes),
        same_key=sum(old.keys[a] is not None and old.keys[a] == new.keys[b] for a, b in rows),
        other_source=sum(_name(old.sources[a]) != _name(new.sources[b]) for a, b in rows),
        other_prompt=sum(old.prompts[a] != new.prompts[b] for a, b in rows),
        changes=_changes(before, after, moved, beyond, photos, how),
    )


def _name(path: str) -> str:
    """What stays of a path when a data set is moved."""
    return os.path.basename(path)


def _changes(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    moved: NDArray[np.float64],
    beyond: NDArray[np.bool_],
    photos: NDArray[np.intp],
    how: Resampling,
) -> tuple[Change, ...]:
    drawn = _resampled_means(moved, photos, how)
    rows = []
    for index, dimension in enumerate(DIMENSIONS):
        both = ~np.isnan(moved[:, index])
        steps = moved[both, index]
        known = [~np.isnan(side[:, index]) for side in (before, after)]
        interval = percentile_interval(drawn[:, index])
        p, effect = _signed_ranks(steps)
        counts = [int(np.count_nonzero(beyond[both, index] & side)) for side in (steps > 0, steps < 0)]
        rows.append(
            Change(
                dimension=dimension,
                count=len(steps),
                old=_mean(before[both, index]),
                new=_mean(after[both, index]),
                change=_mean(steps),
                low=interval.low,
                high=interval.high,
                median=float(np.median(steps)) if len(steps) else _NAN,
                p=p,
                p_holm=_NAN,
                effect=effect,
                better=counts[0],
                worse=counts[1],
                gained=int(np.count_nonzero(known[1] & ~known[0])),
                lost=int(np.count_nonzero(known[0] & ~known[1])),
                reason=None if len(steps) else "no pair has a score in both files",
            )
        )
    return tuple(replace(row, p_holm=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else _NAN


def _signed_ranks(steps: NDArray[np.float64]) -> tuple[float, float]:
    """Wilcoxon's signed-rank p, two-sided, pairs that did not move left out; and the rank-biserial correlation.

    The correlation is Kerby's (2014): the share of the ranks that moved up less the share that moved down. Both are
    NaN for no pair; p is 1 and the correlation 0 where none moved.
    """
    if not len(steps):
        return _NAN, _NAN
    nonzero = steps[steps != 0]
    if not len(nonzero):
        return 1.0, 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    effect = float(np.sign(nonzero) @ ranks / ranks.sum())
    return float(stats.wilcoxon(nonzero).pvalue), effect


def _resampled_means(moved: NDArray[np.float64], photos: NDArray[np.intp], how: Resampling) -> NDArray[np.float64]:
    """The mean change of each dimension on resamples of whole photos: resamples x dimensions, NaN for no pair.

    By sums a photo, so that neither time nor memory goes with resamples x pairs x dimensions.
    """
    size = int(photos.max()) + 1 if len(photos) else 0
    known = ~np.isnan(moved)
    sums, counts = np.zeros((size, moved.shape[1])), np.zeros((size, moved.shape[1]))
    np.add.at(sums, photos, np.where(known, moved, 0.0))
    np.add.at(counts, photos, known)
    random = np.random.default_rng(how.seed)
    means = np.full((how.resamples, moved.shape[1]), _NAN)
    for row in means if size else ():
        times = np.bincount(random.integers(size, size=size), minlength=size)
        drawn = times @ counts
        np.divide(times @ sums, drawn, out=row, where=drawn > 0)
    return means


def fall_of(comparison: Comparison, dimension: Dimension) -> float | None:
    """How much the mean of a dimension fell, negative if it rose; None if no pair has a score in both files."""
    change = comparison.changes[DIMENSIONS.index(dimension)]
    return None if change.reason is not None else -change.change


def differing_judges(old: Records, new: Records) -> Sequence[str]:
    """The models of both files, if they are not one and the same; else nothing."""
    models = [*old.judges, *(judge for judge in new.judges if judge not in old.judges)]
    return models if len(models) > 1 else ()
