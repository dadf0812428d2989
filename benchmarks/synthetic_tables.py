"""The tables of `benchmarks.synthetic`: from samples with what is known of them and what was said, to figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from benchmarks import common
from benchmarks.samples import AUDITED, DIMENSIONS, FOUND, JUDGED, KINDS, RealKind, Recipe, Seen
from piqa_cli.metrics import bootstrap_interval, plcc, srcc
from piqa_cli.schema import Kind
from piqa_cli.synthesis import FAULTS, find_family
from piqa_cli.training.ratings import read_ratings

Array = NDArray[np.float64]
Index = NDArray[np.intp]
ACCEPTED: Mapping[str, tuple[Kind, ...]] = {
    "masked": (Kind.LOCAL,),
    "local": (Kind.LOCAL,),
    "local+drift": (Kind.LOCAL,),
    "global_regen": (Kind.GLOBAL, Kind.DIFFERENT),
}
HARM = 0.05  # least difference of two versions in a dimension's own severity for an order to be owed
PLAIN_FAULT = 0.3  # a worst fault below this need not be named
LEVEL_SLACK = 0.5  # grey levels between a rated picture's mean and that of the picture made again


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def cells(self, digits: int = 2) -> tuple[float, str]:
        """The value, and the interval as text."""
        return self.value, "-" if np.isnan(self.low) else f"{self.low:.{digits}f} .. {self.high:.{digits}f}"


def figure(metric: Callable[[Index], float], photos: Sequence[str]) -> Figure:
    """A metric of the rows with these indices, and its bootstrap interval over photos."""
    rows = np.arange(len(photos))
    interval = bootstrap_interval(lambda drawn, _: metric(drawn.astype(np.intp)), rows, rows, group=list(photos))
    return Figure(metric(rows) if len(photos) else float("nan"), interval.low, interval.high)


def mean_figure(values: ArrayLike, photos: Sequence[str]) -> Figure:
    """The mean of N values."""
    column = np.asarray(values, np.float64)
    return figure(lambda rows: float(column[rows].mean()), photos)


def rank_figure(predicted: ArrayLike, truth: ArrayLike, photos: Sequence[str]) -> Figure:
    """Spearman's correlation of N values with N others."""
    a, b = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    return figure(lambda rows: srcc(a[rows], b[rows]), photos)


def within(a: Array, b: Array, groups: NDArray[np.intp]) -> float:
    """Spearman's correlation within groups: ranks within each, centred and scaled, then pooled."""
    ranks: list[list[Array]] = [[], []]
    for group in np.unique(groups):
        chosen = groups == group
        size = int(np.count_nonzero(chosen))
        for column, kept in zip((a, b), ranks, strict=True):
            kept.append((rankdata(column[chosen]) - (size + 1) / 2) / size)
    return plcc(*(np.concatenate(kept) for kept in ranks)) if ranks[0] else float("nan")


def photos_of(rows: Sequence[Seen]) -> list[str]:
    """What the bootstrap draws."""
    return [row.truth.photo for row in rows]


def grounding_tables(rows: Sequence[Seen]) -> Iterator[common.Table]:
    """Overlap of the regions found, over all samples, by family and by the true region's area."""
    rows = [row for row in rows if row.iou and row.truth.kind is Kind.LOCAL]
    lots = (
        ("all", rows),
        ("nothing else changed", [row for row in rows if not row.truth.drifted]),
        ("drift elsewhere", [row for row in rows if row.truth.drifted]),
    )
    yield common.Table(
        f"Grounding: {len(rows)} synthetic edits of held-out photos",
        ("samples", "n", "method", "IoU", "95 % interval", "F1", "95 % interval", "IoU over chance", "95 % interval"),
        tuple(line for name, lot in lots for line in _overlaps(name, lot)),
        "Pixels that drifted are not counted; where all surroundings did, only the region and its rim are, and chance "
        "is near 1. Over chance: IoU less that of a random mask of the true size. Difference: absolute, smoothed. "
        "Aligned: after the assessor's own registration.",
    )
    families = dict.fromkeys(row.truth.family for row in rows)
    lines = [_overlap_line(name, [row for row in rows if row.truth.family == name]) for name in families]
    means = (
        [float(np.mean([_float(line[k]) for line in lines])) for k in (2, 4, 5, *range(7, 11))] if lines else [0.0] * 7
    )
    lines.append(("mean of families", len(rows), means[0], "-", means[1], means[2], "-", *means[3:]))
    columns = ("n", "IoU", "95 % interval", "F1", "over chance", "95 % interval", *FOUND[1:])
    yield common.Table("Grounding by family: IoU", ("family", *columns), tuple(lines))
    yield common.Table(
        "Grounding by area of the true region: IoU", ("area, per cent of the picture", *columns), tuple(_by_area(rows))
    )


def _float(value: str | float | None) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _overlaps(name: str, rows: Sequence[Seen]) -> Iterator[common.Row]:
    photos = photos_of(rows)
    for k, method in enumerate(FOUND):
        figures = (
            mean_figure([row.iou[k] for row in rows], photos),
            mean_figure([row.f1[k] for row in rows], photos),
            mean_figure([row.iou[k] - row.chance for row in rows], photos),
        )
        yield name, len(rows), method, *(cell for f in figures for cell in f.cells(3))


def _overlap_line(name: str, rows: Sequence[Seen]) -> common.Row:
    photos = photos_of(rows)
    found = mean_figure([row.iou[0] for row in rows], photos)
    over = mean_figure([row.iou[0] - row.chance for row in rows], photos)
    others = [float(np.mean([row.iou[k] for row in rows])) for k in range(1, len(FOUND))]
    return name, len(rows), *found.cells(3), float(np.mean([row.f1[0] for row in rows])), *over.cells(3), *others


def _by_area(rows: Sequence[Seen]) -> Iterator[common.Row]:
    ordered = sorted(rows, key=lambda row: row.truth.area)
    for part in np.array_split(np.arange(len(ordered)), 5):
        fifth = [ordered[k] for k in part]
        if fifth:
            low, high = (100 * fifth[k].truth.area for k in (0, -1))
            yield _overlap_line(f"{low:.1f} .. {high:.1f}", fifth)


def kind_tables(rows: Sequence[Seen], real: Sequence[RealKind]) -> Iterator[common.Table]:
    """Confusion of kinds, area marked where nothing was edited, and what the real edits are called."""
    rows = [row for row in rows if not row.masked and row.truth.part in ("local", "other")]
    truths, told = [row.truth.kind for row in rows], [row.kind for row in rows]
    yield common.Table(
        f"Kind of change: {len(rows)} synthetic pairs of held-out photos",
        ("truth", "n", *(f"called {kind.value}" for kind in KINDS), "right, per cent", "95 % interval"),
        tuple(_confusion(truths, told, photos_of(rows))),
        f"Always saying the most frequent kind is right in {100 * _most_frequent(truths):.0f} per cent of all, in 25 "
        "of the mean of kinds.",
    )
    unedited = [row for row in rows if row.truth.kind is Kind.NONE]
    yield common.Table(
        f"False alarms on {len(unedited)} unedited pairs with nuisances (moved, re-encoded), per cent",
        ("method", "mean area marked", "95 % interval", "pairs with over 1 %", "called edited", "95 % interval"),
        tuple(_false_alarms(unedited)),
        "Otsu's threshold always marks something: the baselines cannot say that nothing was edited.",
    )
    if real:
        yield common.Table(
            f"Kind of change: {len(real)} real AI edits",
            ("scope", "n", *(f"called {kind.value}" for kind in KINDS), "accepted, per cent", "95 % interval"),
            tuple(_real_kinds(real)),
            "Accepted: local_edit for masked, local and local+drift; for global_regen (the picture was made anew) "
            "global_change and different_picture alike. Interval: over source photos.",
        )


def _most_frequent(labels: Sequence[object]) -> float:
    return Counter(labels).most_common(1)[0][1] / len(labels) if labels else float("nan")


def _confusion(truths: Sequence[Kind], told: Sequence[Kind], photos: Sequence[str]) -> Iterator[common.Row]:
    right = np.array([a is b for a, b in zip(truths, told, strict=True)], np.float64)
    codes = np.array([KINDS.index(kind) for kind in truths], np.intp)
    for code, kind in enumerate(KINDS):
        chosen: list[int] = np.flatnonzero(codes == code).tolist()
        counts = [sum(told[k] is other for k in chosen) for other in KINDS]
        yield kind.value, len(chosen), *counts, *mean_figure(100 * right[chosen], [photos[k] for k in chosen]).cells(0)
    totals = [sum(kind is other for kind in told) for other in KINDS]
    yield "all", len(told), *totals, *mean_figure(100 * right, photos).cells(0)

    def balanced(rows: Index) -> float:
        return float(np.mean([100 * right[rows][codes[rows] == code].mean() for code in np.unique(codes[rows])]))

    yield "mean of kinds", len(told), *(None for _ in KINDS), *figure(balanced, photos).cells(0)


def _false_alarms(rows: Sequence[Seen]) -> Iterator[common.Row]:
    photos = photos_of(rows)
    for k, method in enumerate(FOUND):
        area = np.array([100 * row.marked[k] for row in rows])
        called = mean_figure([100.0 * (row.kind is not Kind.NONE) for row in rows], photos).cells(0)
        over = float(100 * np.mean(area > 1)) if rows else float("nan")
        yield method, *mean_figure(area, photos).cells(2), over, *(called if k == 0 else (None, None))


def _real_kinds(real: Sequence[RealKind]) -> Iterator[common.Row]:
    for scope in ("all", *dict.fromkeys(item.scope for item in real)):
        lot = [item for item in real if scope in ("all", item.scope)]
        counts = [sum(item.kind is kind for item in lot) for kind in KINDS]
        right = [100.0 * (item.kind in ACCEPTED[item.scope]) for item in lot]
        yield scope, len(lot), *counts, *mean_figure(right, [item.cluster for item in lot]).cells(0)


def predictions(rows: Sequence[Seen], dimension: int) -> dict[str, Array]:
    """Method -> N values that should be higher for better edits, in the order of `JUDGED`."""
    columns = [[row.scores[dimension] for row in rows], *([row.judged[k] for row in rows] for k in range(3))]
    return {name: np.array(values, np.float64) for name, values in zip(JUDGED, columns, strict=True)}


def scored(rows: Sequence[Seen], dimension: int, *, masked: bool, part: str = "local") -> list[Seen]:
    """The rows of a part, with or without a given mask, that have this score."""
    return [
        row for row in rows if row.truth.part == part and row.masked is masked and not np.isnan(row.scores[dimension])
    ]


def severity_tables(rows: Sequence[Seen]) -> Iterator[common.Table]:
    """Rank correlation of the scores with severity: over all samples; within each family with and without the mask."""
    lines: list[common.Row] = []
    for k, dimension in enumerate(DIMENSIONS):
        for masked in (True, False):
            chosen = scored(rows, k, masked=masked)
            truth, photos = [-row.truth.severities[k] for row in chosen], photos_of(chosen)
            for method, values in predictions(chosen, k).items():
                figures = rank_figure(values, truth, photos).cells()
                lines.append((dimension.value, _mask_word(masked), len(chosen), method, *figures))
    yield common.Table(
        "Scores against severity: synthetic local edits of held-out photos, SRCC",
        ("dimension", "mask", "n", "method", "SRCC", "95 % interval"),
        tuple(lines),
        "Severity: of the worst fault of the dimension, 0 where there is none. Null scores are left out. The other "
        "methods (smaller difference: 1 less the mean absolute one) are measured on aligned pictures, in the region "
        "that the assessor used.",
    )
    for masked in (True, False):
        yield common.Table(
            f"Scores against severity within each family, mask {_mask_word(masked)}: SRCC",
            ("family", *(c for d in DIMENSIONS for c in ("n", d.value, "95 % interval", JUDGED[1]))),
            tuple(_severity_by_family(rows, masked)),
            "Only the dimensions that a family's own fault harms. Mean: of the families, its interval over photos.",
        )


def _mask_word(masked: bool) -> str:
    return "given" if masked else "found"


def harmed(family: str, dimension: int) -> bool:
    """Whether the family's own fault costs the dimension, as an index into `DIMENSIONS`."""
    found = find_family(family)
    return found.harms_naturalness if dimension else found.harms_harmony


def _severity_by_family(rows: Sequence[Seen], masked: bool) -> Iterator[common.Row]:
    lots = [[row for row in scored(rows, k, masked=masked) if harmed(row.truth.family, k)] for k in (0, 1)]
    for family in dict.fromkeys(row.truth.family for row in rows if row.truth.part == "local"):
        cells: list[str | float | int | None] = []
        for k, lot in enumerate(lots):
            chosen = [row for row in lot if row.truth.family == family]
            truth = [-row.truth.severities[k] for row in chosen]
            ours, other = (predictions(chosen, k)[name] for name in JUDGED[:2])
            cells += [len(chosen), *rank_figure(ours, truth, photos_of(chosen)).cells(), srcc(other, truth)]
        yield family, *cells
    yield "mean of families", *(cell for k, lot in enumerate(lots) for cell in mean_of_families(lot, k))


def mean_of_families(rows: Sequence[Seen], dimension: int) -> common.Row:
    """Number of rows, the mean of the families' SRCC with its interval, the same of SSIM in the region."""
    names, codes = np.unique([row.truth.family for row in rows], return_inverse=True)
    truth = np.array([-row.truth.severities[dimension] for row in rows])

    def mean(values: Array) -> Callable[[Index], float]:
        def metric(drawn: Index) -> float:
            lots = (drawn[codes[drawn] == code] for code in range(names.size))
            known = [rank for rank in (srcc(values[lot], truth[lot]) for lot in lots) if not np.isnan(rank)]
            return float(np.mean(known)) if known else float("nan")

        return metric

    ours, other = (predictions(rows, dimension)[name] for name in JUDGED[:2])
    return len(rows), *figure(mean(ours), photos_of(rows)).cells(), mean(other)(np.arange(len(rows)))


def pairs_table(rows: Sequence[Seen]) -> common.Table:
    """How often the better of two versions of one edit, mask given, scores higher; a tie counts half."""
    by_name = {row.truth.name: row for row in rows if row.truth.part == "versions"}
    versions = [(row, by_name.get(f"{name[:-1]}w")) for name, row in by_name.items() if name.endswith("b")]
    lines: list[common.Row] = []
    for k, dimension in enumerate(DIMENSIONS):
        owed = [
            (better, worse)
            for better, worse in versions
            if worse is not None
            and worse.truth.severities[k] - better.truth.severities[k] > HARM
            and not np.isnan(better.scores[k] + worse.scores[k])
        ]
        sides = [predictions([pair[side] for pair in owed], k) for side in (0, 1)]
        photos = [better.truth.photo for better, _ in owed]
        for method in JUDGED:
            right = 50 * (1 + np.sign(sides[0][method] - sides[1][method]))
            lines.append((dimension.value, method, len(owed), *mean_figure(right, photos).cells(0)))
    return common.Table(
        "Better against worse version of one synthetic edit of a held-out photo, mask given",
        ("dimension", "method", "pairs", "right order, per cent", "95 % interval"),
        tuple(lines),
        f"Pairs in which the dimension's own severity differs by more than {HARM:g}. Chance: 50.",
    )


def audit_table(rows: Sequence[Seen]) -> common.Table:
    """Whether scores of edits that are equally bad follow what should not count."""
    lines: list[common.Row] = []
    for k, dimension in enumerate(DIMENSIONS):
        # A companion fault has a severity of its own: with it, samples are not equally bad.
        chosen = [
            row
            for row in scored(rows, k, masked=True, part="audit")
            if all(abs(amount - row.truth.severity) < 1e-9 for _, amount in row.truth.faults)
        ]
        score = [row.scores[k] for row in chosen]
        for name, values in (
            ("area of the region", [row.truth.area for row in chosen]),
            ("1 - SSIM in the region", [1 - row.judged[0] for row in chosen]),
        ):
            lines.append((dimension.value, name, len(chosen), *_within_families(score, values, chosen).cells()))
    return common.Table(
        f"Shortcut audit: synthetic edits of severity {AUDITED:g}, mask given",
        ("score", "against", "n", "Spearman within family", "95 % interval"),
        tuple(lines),
        "Ranks within each family, pooled; 0 is best: at one severity a score should follow neither. Samples with a "
        "second fault of another severity are left out.",
    )


def _within_families(a: ArrayLike, b: ArrayLike, rows: Sequence[Seen]) -> Figure:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    families = np.unique([row.truth.family for row in rows], return_inverse=True)[1].astype(np.intp)
    return figure(lambda drawn: within(x[drawn], y[drawn], families[drawn]), photos_of(rows))


def fault_tables(rows: Sequence[Seen]) -> Iterator[common.Table]:
    """How often the main fault named is the worst one that is there, and which faults are found."""
    rows = [row for row in rows if row.truth.part == "local" and row.truth.faults]
    rows = [row for row in rows if row.truth.faults[0][1] >= PLAIN_FAULT]
    lines: list[common.Row] = []
    for masked in (True, False):
        chosen = [row for row in rows if row.masked is masked]
        photos = photos_of(chosen)
        common_one, common_main = (_most_common(chosen, every=every) for every in (True, False))
        for method, one, main_one in (
            ("piqa", [row.fault for row in chosen], [row.fault for row in chosen]),
            ("the most frequent", [common_one] * len(chosen), [common_main] * len(chosen)),
        ):
            right = [100.0 * (named in row.truth.worst) for named, row in zip(one, chosen, strict=True)]
            strict = [100.0 * (named == row.truth.faults[0][0]) for named, row in zip(main_one, chosen, strict=True)]
            figures = (mean_figure(right, photos).cells(0), mean_figure(strict, photos).cells(0))
            lines.append((_mask_word(masked), method, len(chosen), *figures[0], *figures[1]))
    yield common.Table(
        f"Main fault: synthetic edits with a fault of severity {PLAIN_FAULT:g} or more",
        (
            "mask",
            "method",
            "n",
            "one of the worst, per cent",
            "95 % interval",
            "the main one, per cent",
            "95 % interval",
        ),
        tuple(lines),
        "One of the worst: the named fault has the greatest severity in the edit; families bring several at once. The "
        "main one: the first that the family lists. A record that names none is wrong.",
    )
    found = [row for row in rows if not row.masked]
    yield common.Table(
        "Main fault, mask found: recall of each fault",
        ("fault", "n", "named, per cent", "95 % interval", "otherwise most often", "named in all"),
        tuple(_recall(found)),
        "n: edits in which the fault is one of the worst. Named in all: how often the fault was named, rightly or not.",
    )


def _most_common(rows: Sequence[Seen], *, every: bool) -> str | None:
    """What to answer always: the fault most often among the worst, or most often the main one."""
    counts = Counter(fault for row in rows for fault in (row.truth.worst if every else row.truth.worst[:1]))
    return counts.most_common(1)[0][0] if counts else None


def _recall(rows: Sequence[Seen]) -> Iterator[common.Row]:
    for fault in FAULTS:
        chosen = [row for row in rows if fault in row.truth.worst]
        missed = Counter(row.fault or "none" for row in chosen if row.fault != fault)
        recall = mean_figure([100.0 * (row.fault == fault) for row in chosen], photos_of(chosen)).cells(0)
        named = sum(row.fault == fault for row in rows)
        yield fault, len(chosen), *recall, missed.most_common(1)[0][0] if missed else None, named


@dataclass(frozen=True, slots=True)
class Rating:
    """A rated sample: how to make it, its mean grey level when it was rated, and the ratings of `DIMENSIONS`."""

    recipe: Recipe
    level: float
    opinions: tuple[float, float]


def read_rated(count: int | None = None) -> list[Rating]:
    """The rated synthetic edits of held-out photos, on people's scale.

    Raises:
        SystemExit: there are none.
    """
    rows = read_ratings(("test",))
    if not rows:
        raise SystemExit("expected rated synthetic edits of split test, found none; --skip coverage")
    return [
        Rating(
            Recipe("rated", f"rated_{row.id}", row.seed, row.size, row.family, severity=row.severity),
            row.level,
            row.opinions[:2],
        )
        for row in rows[:count]
    ]


def coverage_table(rows: Sequence[Seen], ratings: Sequence[Rating]) -> common.Table:
    """How often a rating lies within value +- spread, and how well scores rank rated samples."""
    rated = {rating.recipe.name: rating for rating in ratings}
    own = [row for row in rows if row.truth.part == "rated" and not row.masked]
    same = [row for row in own if abs(row.truth.level - rated[row.truth.name].level) <= LEVEL_SLACK]
    lines: list[common.Row] = []
    for k, dimension in enumerate(DIMENSIONS):
        chosen = scored(same, k, masked=False, part="rated")
        chosen = [row for row in chosen if not np.isnan(rated[row.truth.name].opinions[k])]
        truth = np.array([rated[row.truth.name].opinions[k] for row in chosen])
        error = np.abs(np.array([row.scores[k] for row in chosen]) - truth)
        spread = np.array([row.spreads[k] for row in chosen])
        photos = photos_of(chosen)
        inside = mean_figure(100.0 * (error <= spread), photos).cells(0)
        means = [float(values.mean()) if len(chosen) else float("nan") for values in (error, spread)]
        ranks = [rank_figure(values, truth, photos).cells() for values in predictions(chosen, k).values()]
        lines.append((dimension.value, len(chosen), *inside, *means, *ranks[0], *(cells[0] for cells in ranks[1:])))
    columns = ("inside, per cent", "95 % interval", "mean error", "mean spread", "SRCC", "95 % interval", *JUDGED[1:])
    return common.Table(
        "Ratings within value +- spread: rated synthetic edits of held-out photos, mask found",
        ("dimension", "n", *columns),
        tuple(lines),
        "Aim: 75 to 85 per cent inside. Ratings: a vision-language judge's, brought onto people's scale; SRCC: with "
        f"them, in the last columns that of what needs no model. {len(own) - len(same)} of {len(own)} samples are left "
        "out: made again they are not the picture that was rated.",
    )
