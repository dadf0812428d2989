"""Synthetic edits of held-out photos for `benchmarks.synthetic`: made ahead in a second process, assessed as files."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import baselines, common
from piqa_cli import Assessment, Assessor, assess_pairs
from piqa_cli.assessor import Explanation, Grounding, Judgement
from piqa_cli.images import LoadedPair
from piqa_cli.metrics import chance_iou, f1, iou
from piqa_cli.schema import Dimension, Kind, ModelInfo, Pair
from piqa_cli.synthesis import FAMILIES, PhotoLibrary, Sample, make_sample, make_severity_pair

DIMENSIONS = (Dimension.HARMONY, Dimension.NATURALNESS)
KINDS = (Kind.LOCAL, Kind.GLOBAL, Kind.NONE, Kind.DIFFERENT)
FOUND = ("piqa", "difference + Otsu", "1 - SSIM + Otsu", "difference + Otsu, aligned", "1 - SSIM + Otsu, aligned")
JUDGED = ("piqa", "SSIM in the region", "smaller region", "smaller difference")
AUDITED = 0.5  # the one severity of the shortcut audit
BATCH = 24  # samples on disk at once, times three: one lot being assessed, two being made
DRAWN, VERSIONS, AUDIT = 6_000_000, 5_000_000, 7_000_000  # where the seeds of each part begin


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
    ) -> Sequence[str | Explanation]:
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
