"""Everything that can be measured on synthetic edits of photos that training holds out, where the truth is known.

    python -m benchmarks.synthetic --data ../shared/data [--only grounding kind severity ...]

grounding  overlap of the region found with the true one, at the model's own fixed threshold
kind       which kind of change is told; area marked where nothing was edited; kind of the real edits
severity   rank correlation of the scores with the severity of the edit's faults
pairs      how often the better of two versions of one edit scores higher
audit      whether scores of equally bad edits follow the region's area or how much was changed
faults     how often the record's main fault is the worst one that was put in
coverage   how often a rating lies within value +- spread, on synthetic edits that were rated

Every interval is a bootstrap over source photos. What needs no model is measured on the same samples, in the same run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.stats import rankdata

from benchmarks import baselines, common
from piqa_cli import Assessment, Assessor, assess_pairs, open_assessor
from piqa_cli.assessor import Grounding, Judgement
from piqa_cli.images import LoadedPair
from piqa_cli.metrics import bootstrap_interval, chance_iou, f1, iou, plcc, srcc
from piqa_cli.schema import Dimension, Kind, ModelInfo, Pair
from piqa_cli.synthesis import FAMILIES, FAULTS, PhotoLibrary, Sample, find_family, make_sample, make_severity_pair
from piqa_cli.training.ratings import read_ratings

Array = NDArray[np.float64]
Index = NDArray[np.intp]
DIMENSIONS = (Dimension.HARMONY, Dimension.NATURALNESS)
KINDS = (Kind.LOCAL, Kind.GLOBAL, Kind.NONE, Kind.DIFFERENT)
FOUND = ("piqa", "difference + Otsu", "1 - SSIM + Otsu", "difference + Otsu, aligned", "1 - SSIM + Otsu, aligned")
JUDGED = ("piqa", "SSIM in the region", "smaller region", "smaller difference")
ACCEPTED: Mapping[str, tuple[Kind, ...]] = {
    "masked": (Kind.LOCAL,),
    "local": (Kind.LOCAL,),
    "local+drift": (Kind.LOCAL,),
    "global_regen": (Kind.GLOBAL, Kind.DIFFERENT),
}
HARM = 0.05  # least difference of two versions in a dimension's own severity for an order to be owed
AUDITED = 0.5  # the one severity of the shortcut audit
PLAIN_FAULT = 0.3  # a worst fault below this need not be named
LEVEL_SLACK = 0.5  # grey levels between a rated picture's mean and that of the picture made again
BATCH = 24  # samples on disk at once, times three: one lot being assessed, two being made
DRAWN, VERSIONS, AUDIT = 6_000_000, 5_000_000, 7_000_000  # where the seeds of each part begin


# ---------------------------------------------------------------------------------------------- making samples


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a sample, or two versions of one, and whether to assess it without its mask, with it, or both."""

    part: str
    name: str
    seed: int
    size: int
    family: str | None = None
    kind: Kind = Kind.LOCAL
    severity: float | None = None
    versions: bool = False
    masks: tuple[bool, ...] = (False,)

    def draw(self, library: PhotoLibrary) -> tuple[Sample, ...]:
        """The sample; the better and the worse one where two versions are asked for."""
        if self.versions:
            return make_severity_pair(library, self.seed, self.size, "test")
        if self.kind is not Kind.LOCAL:
            return (make_sample(library, self.seed, self.size, "test", kinds={self.kind: 1.0}),)
        return (make_sample(library, self.seed, self.size, "test", family=self.family, severity=self.severity),)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a sample without its pictures. `severities`: harmony's and naturalness's; level: mean grey."""

    part: str
    name: str
    photo: str
    kind: Kind
    family: str
    area: float
    severity: float
    severities: tuple[float, float]
    faults: tuple[tuple[str, float], ...] = ()
    drifted: bool = False
    level: float = 0.0

    @property
    def worst(self) -> tuple[str, ...]:
        """The faults with the greatest severity: more than one where a family brings several."""
        return tuple(name for name, amount in self.faults if amount >= self.faults[0][1] - 1e-9)


@dataclass(frozen=True, slots=True)
class Made:
    """A sample as files; `drift` is none where nothing else changed."""

    truth: Truth
    source: Path
    edited: Path
    mask: Path
    drift: Path | None

    def pair(self, masked: bool) -> Pair:
        """What a user would give, with or without the mask."""
        mask = str(self.mask) if masked else None
        return Pair(id=self.truth.name, source=str(self.source), edited=str(self.edited), mask=mask)


def local_recipes(
    families: Sequence[str], count: int, size: int, masks: tuple[bool, ...] = (False, True)
) -> list[Recipe]:
    """`count` local edits of each family at severities as training draws them."""
    return [
        # The seed follows from the family's name, so that a family added to the list changes no other's samples.
        Recipe(
            "local", f"{family}_{n}", DRAWN + zlib.crc32(family.encode()) % 1000 * 1000 + n, size, family, masks=masks
        )
        for family in families
        for n in range(count)
    ]


def other_recipes(count: int, size: int) -> list[Recipe]:
    """`count` unedited pairs, whole-picture changes and different pictures each."""
    kinds = [kind for kind in KINDS if kind is not Kind.LOCAL]
    return [
        Recipe("other", f"{kind.value}_{n}", DRAWN - 1 - len(kinds) * n - k, size, kind=kind)
        for k, kind in enumerate(kinds)
        for n in range(count)
    ]


def version_recipes(count: int, size: int) -> list[Recipe]:
    """`count` edits in two versions at severities at least 0.2 apart; the mask is given."""
    return [Recipe("versions", f"v{n}", VERSIONS + n, size, versions=True, masks=(True,)) for n in range(count)]


def audit_recipes(count: int, size: int) -> list[Recipe]:
    """`count` edits of each family at one severity; the mask is given."""
    return [
        Recipe("audit", f"a_{family.name}_{n}", AUDIT + zlib.crc32(family.name.encode()) % 1000 * 1000 + n, size,
               family.name, severity=AUDITED, masks=(True,))
        for family in FAMILIES
        for n in range(count)
    ]  # fmt: skip


@lru_cache(maxsize=1)
def _library(photos: Path) -> PhotoLibrary:
    return PhotoLibrary(photos)  # opened once a process, decoded photos kept


def _one_thread() -> None:
    """The other core is the assessor's; families that paint with a network must not take both."""
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def write_samples(recipes: Sequence[Recipe], photos: Path, folder: Path) -> list[list[Made]]:
    """Makes each recipe's samples and writes them into a new folder."""
    folder.mkdir()
    library = _library(photos)
    return [
        [_written(recipe, sample, folder, f"{recipe.name}{'bw'[n] if recipe.versions else ''}")
         for n, sample in enumerate(recipe.draw(library))]
        for recipe in recipes
    ]  # fmt: skip


def _written(recipe: Recipe, sample: Sample, folder: Path, name: str) -> Made:
    def save(role: str, pixels: NDArray[Any]) -> Path:
        path = folder / f"{name}_{role}.png"
        Image.fromarray(pixels).save(path, compress_level=1)
        return path

    truth = Truth(
        part=recipe.part,
        name=name,
        photo=sample.photo,
        kind=sample.kind,
        family=sample.family,
        area=float(sample.mask.mean()),
        severity=sample.severity,
        severities=(sample.harmony_severity, sample.naturalness_severity),
        faults=sample.faults,
        drifted=bool(sample.drift_mask.any()),
        level=float(sample.edited.mean()),
    )
    drift = save("drift", sample.drift_mask) if truth.drifted else None
    return Made(truth, save("source", sample.source), save("edited", sample.edited), save("mask", sample.mask), drift)


def made_ahead(recipes: Sequence[Recipe], photos: Path) -> Iterator[tuple[list[Recipe], list[list[Made]]]]:
    """Recipes and their samples, batch by batch; a process of its own makes the next two, files go when used."""
    batches = [list(recipes[start : start + BATCH]) for start in range(0, len(recipes), BATCH)]
    pending: deque[tuple[list[Recipe], Path, Future[list[list[Made]]]]] = deque()
    # A forked process would inherit OpenCV's and torch's thread pools without their threads.
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_one_thread)
    with tempfile.TemporaryDirectory() as root, pool:
        for number, batch in enumerate([*batches, None, None]):
            if batch is not None:
                folder = Path(root) / str(number)
                pending.append((batch, folder, pool.submit(write_samples, batch, photos, folder)))
            if number >= 2 and pending:
                done, folder, future = pending.popleft()
                yield done, future.result()
                shutil.rmtree(folder)


# -------------------------------------------------------------------------------------------- assessing samples


class Watched:
    """An assessor that keeps what it grounded until it is taken: records hold no frame and no aligned source."""

    def __init__(self, assessor: Assessor) -> None:
        self._assessor = assessor
        self.kept: dict[str, tuple[LoadedPair, Grounding]] = {}

    @property
    def info(self) -> ModelInfo:
        """The assessor's own."""
        return self._assessor.info

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        """The assessor's own, kept by the pair's id."""
        groundings = self._assessor.ground(pairs)
        self.kept |= {pair.pair.id: (pair, found) for pair, found in zip(pairs, groundings, strict=True)}
        return groundings

    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        """The assessor's own."""
        return self._assessor.score(pairs, groundings)

    def explain(
        self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding], judgements: Sequence[Judgement]
    ) -> list[str]:
        """The assessor's own."""
        return self._assessor.explain(pairs, groundings, judgements)


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample and what was said of it.

    masked: whether the assessor was given the mask. scores, spreads: of `DIMENSIONS`, NaN where null. fault: the
    record's main one. judged: what predicts a score, in the order of `JUDGED` without the first: in the region that
    the assessor used, on aligned pictures. iou, f1, marked (share of the picture): in the order of `FOUND`, empty where
    the mask was given; chance: the IoU of a random mask of the true size.
    """

    truth: Truth
    masked: bool
    kind: Kind
    scores: tuple[float, float]
    spreads: tuple[float, float] = (float("nan"), float("nan"))
    fault: str | None = None
    judged: tuple[float, float, float] = (float("nan"), float("nan"), float("nan"))
    iou: tuple[float, ...] = ()
    f1: tuple[float, ...] = ()
    marked: tuple[float, ...] = ()
    chance: float = float("nan")


def measure(recipes: Sequence[Recipe], photos: Path, assessor: Assessor) -> list[Seen]:
    """Makes, assesses and forgets the samples, a bounded number at a time."""
    watched = Watched(assessor)
    rows: list[Seen] = []
    count = 0
    for batch, made in made_ahead(recipes, photos):
        for masked in (False, True):
            wanted = [
                item for recipe, items in zip(batch, made, strict=True) for item in items if masked in recipe.masks
            ]
            rows += _assessed(watched, wanted, masked)
        count += len(batch)
        print(f"\r{count} of {len(recipes)} samples", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rows


def _assessed(watched: Watched, made: Sequence[Made], masked: bool) -> Iterator[Seen]:
    for item, outcome in zip(made, assess_pairs([m.pair(masked) for m in made], watched, explain=False), strict=True):
        kept = watched.kept.pop(item.truth.name, None)
        if not isinstance(outcome, Assessment) or kept is None:
            print(f"left out, could not be assessed: {item.truth.name}", file=sys.stderr)
            continue
        yield _seen(item, outcome, *kept, masked=masked)


def _seen(item: Made, outcome: Assessment, loaded: LoadedPair, grounding: Grounding, *, masked: bool) -> Seen:
    found = grounding.mask
    source, edited = _at(loaded.source.pixels, found.shape), _at(loaded.edited.pixels, found.shape)
    aligned = grounding.registration.source
    unlike = baselines.dissimilarity_map(aligned, edited)
    where = found if found.any() else np.ones_like(found)
    difference = np.abs(aligned.astype(np.float64) - edited)[where].mean() / 255
    harmony, naturalness = (outcome.scores.of(dimension) for dimension in DIMENSIONS)
    row = Seen(
        truth=item.truth,
        masked=masked,
        kind=outcome.edit.kind,
        scores=(_number(harmony.value), _number(naturalness.value)),
        spreads=(_number(harmony.spread), _number(naturalness.spread)),
        fault=outcome.faults[0].kind if outcome.faults else None,
        judged=(1 - float(unlike[where].mean()), -float(found.mean()), 1 - float(difference)),
    )
    if masked:
        return row
    masks = [
        found,
        baselines.otsu(baselines.difference_map(source, edited)),
        baselines.otsu(baselines.dissimilarity_map(source, edited)),
        baselines.otsu(baselines.difference_map(aligned, edited)),
        baselines.otsu(unlike),
    ]
    counted = np.ones_like(found) if item.drift is None else ~_read_mask(item.drift, found.shape)
    truth = _read_mask(item.mask, found.shape)[counted]
    return replace(
        row,
        iou=tuple(iou(mask[counted], truth) for mask in masks),
        f1=tuple(f1(mask[counted], truth) for mask in masks),
        marked=tuple(float(mask.mean()) for mask in masks),
        chance=chance_iou(float(truth.mean())),
    )


def _at(pixels: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _read_mask(path: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((size[1], size[0]), Image.Resampling.NEAREST)) > 127


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


@dataclass(frozen=True, slots=True)
class RealKind:
    """The kind that was told of a real edit. cluster: the same for edits of one source."""

    cluster: str
    scope: str
    kind: Kind


def real_kinds(data: Path, assessor: Assessor, count: int | None) -> list[RealKind]:
    """Each real edit without its mask and prompt."""
    real = common.real_pairs(data)[:count]
    pairs = [Pair(id=p.id, source=str(p.source), edited=str(p.edited)) for p in real]
    outcomes = zip(real, assess_pairs(pairs, assessor, explain=False), strict=True)
    return [
        RealKind(common.fingerprint(pair.source), pair.scope, outcome.edit.kind)
        for pair, outcome in outcomes
        if isinstance(outcome, Assessment)
    ]


# -------------------------------------------------------------------------------------------------- statistics


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


# ------------------------------------------------------------------------------------------------------ tables


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


# ----------------------------------------------------------------------------------------------------- the run


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured in a run."""

    rows: Sequence[Seen]
    real: Sequence[RealKind]
    ratings: Sequence[Rating]


SECTIONS: Mapping[str, Callable[[Results], Iterator[common.Table]]] = {
    "grounding": lambda results: grounding_tables([row for row in results.rows if row.truth.part == "local"]),
    "kind": lambda results: kind_tables(results.rows, results.real),
    "severity": lambda results: severity_tables(results.rows),
    "pairs": lambda results: iter([pairs_table(results.rows)]),
    "audit": lambda results: iter([audit_table(results.rows)]),
    "faults": lambda results: fault_tables(results.rows),
    "coverage": lambda results: iter([coverage_table(results.rows, results.ratings)]),
}


def recipes_for(chosen: Sequence[str], options: argparse.Namespace, ratings: Sequence[Rating]) -> list[Recipe]:
    """The samples that the chosen sections need."""
    families = [family.name for family in FAMILIES]
    recipes: list[Recipe] = []
    if {"grounding", "kind", "severity", "faults"} & set(chosen):
        masks = (False, True) if {"severity", "faults"} & set(chosen) else (False,)
        recipes += local_recipes(families, options.per_family, options.size, masks)
    if "kind" in chosen:
        recipes += other_recipes(options.others, options.size)
    if "pairs" in chosen:
        recipes += version_recipes(options.pairs, options.size)
    if "audit" in chosen:
        recipes += audit_recipes(options.audit, options.size)
    return recipes + [rating.recipe for rating in ratings]


def main() -> None:
    """Print the tables of the chosen sections."""
    parser = common.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(SECTIONS), default=tuple(SECTIONS), help="these sections")
    parser.add_argument("--skip", nargs="+", choices=tuple(SECTIONS), default=(), help="not these sections")
    parser.add_argument("--size", type=int, default=384, help="side of the samples in pixels (default: %(default)s)")
    parser.add_argument("--per-family", type=int, default=20, help="local edits a family (default: %(default)s)")
    parser.add_argument("--others", type=int, default=100, help="pairs of each other kind (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=100, help="edits in two versions (default: %(default)s)")
    parser.add_argument("--audit", type=int, default=6, help="edits a family in the audit (default: %(default)s)")
    parser.add_argument("--rated", type=int, help="only the first N rated edits")
    parser.add_argument("--real", type=int, help="only the first N real edits")
    options = parser.parse_args()
    chosen = [name for name in SECTIONS if name in options.only and name not in options.skip]
    ratings = read_rated(options.rated) if "coverage" in chosen else []
    assessor = open_assessor(options.model)
    rows = measure(recipes_for(chosen, options, ratings), options.data / "photos", assessor)
    real = real_kinds(options.data, assessor, options.real) if "kind" in chosen else []
    results = Results(rows, real, ratings)
    common.publish([table for name in chosen for table in SECTIONS[name](results)], options.json)


if __name__ == "__main__":
    main()
