"""Source-disjoint, stratified splits of a label file, decided by a seed and the sources' names alone.

All edits of a photo go to one split. Photos are ordered by stratum (completion level, then quintile of overall) and
within it by a hash of seed and name; each goes to the split that is furthest below its share of the edits so far. So
every stratum is divided in the wanted shares, to about one photo, and the order of the rows plays no part.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from piqa_cli.dataset.labels import LabelFile, LabelRow, labels_text
from piqa_cli.errors import OutputError, UsageError
from piqa_cli.pairs.epaiqa import match_key, photo_digest
from piqa_cli.schema import SCALES, Dimension
from piqa_cli.writers.sink import write_text

RECORD_NAME = "split.json"
QUINTILES = 5
_METHOD = "source-disjoint; stratified by completion level and overall quintile"


@dataclass(frozen=True, slots=True)
class Part:
    """A split by name and the share of the edits that it should have, 0..1."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class PartCount:
    """What a split came to. Means are None where nothing was rated."""

    name: str
    share: float
    file: str
    sha256: str
    rows: int
    sources: int
    overall_mean: float | None
    completion_mean: float | None


@dataclass(frozen=True, slots=True)
class SplitRecord:
    """The record that is written beside the splits."""

    input: str
    input_sha256: str
    seed: int
    method: str
    rows: int
    left_out: int
    strata: int
    parts: tuple[PartCount, ...]


def check_parts(parts: Sequence[Part]) -> None:
    """Refuses shares that are no shares.

    Raises:
        UsageError: a name is no plain file name, or comes twice; shares are not positive or do not add up to 1.
    """
    for part in parts:
        plain = part.name and part.name.replace("_", "").replace("-", "").isalnum() and part.name.isascii()
        if not plain or part.name == RECORD_NAME.partition(".")[0]:
            raise UsageError(f"a split's name is letters, digits, - and _, and not 'split'; found {part.name!r}")
    if len({part.name.casefold() for part in parts}) < len(parts):
        raise UsageError("each split needs a name of its own", found=", ".join(part.name for part in parts))
    total = sum(part.share for part in parts)
    if not parts or not all(0 < part.share <= 1 for part in parts) or abs(total - 1) > 1e-6:
        shares = ", ".join(f"{part.share:g}" for part in parts)
        raise UsageError(f"shares are above 0 and add up to 1; found {shares}", hint="--shares train=0.8,test=0.2")


def split_rows(rows: Sequence[LabelRow], parts: Sequence[Part], seed: int) -> list[list[LabelRow]]:
    """The rows of each part, in file order. Shares are those of the rows, as far as photos of several edits allow."""
    photos = _photos(rows)
    strata = _strata(photos)
    order = sorted(photos, key=lambda photo: (strata[photo], photo_digest(photo, seed), photo))
    taken = [0] * len(parts)
    place = dict[str, int]()
    for photo in order:
        total = sum(taken) + len(photos[photo])
        behind = [part.share * total - count for part, count in zip(parts, taken, strict=True)]
        place[photo] = behind.index(max(behind))
        taken[place[photo]] += len(photos[photo])
    return [[row for row in rows if place[_photo(row)] == index] for index in range(len(parts))]


def write_splits(file: LabelFile, parts: Sequence[Part], out: str, seed: int, *, overwrite: bool) -> SplitRecord:
    """A label file a part, and `split.json`, into a folder that is made if need be.

    Raises:
        UsageError: the parts are wrong, or a file is there already and may not be overwritten, or is the input.
        OutputError: a file cannot be written.
    """
    check_parts(parts)
    paths = [os.path.join(out, f"{part.name}.json") for part in parts]
    record_path = os.path.join(out, RECORD_NAME)
    _spare(file.path, [*paths, record_path], overwrite=overwrite)
    digest = sha256(Path(file.path).read_bytes()).hexdigest()
    divided = split_rows(file.rows, parts, seed)
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder cannot be made: {error.strerror}", file=out) from error
    counts = []
    for part, rows, path in zip(parts, divided, paths, strict=True):
        text = labels_text(row.written for row in rows)
        write_text(path, text)
        counts.append(_count(part, rows, os.path.basename(path), text))
    strata = len(set(_strata(_photos(file.rows)).values()))
    name = os.path.basename(file.path)
    record = SplitRecord(name, digest, seed, _METHOD, len(file.rows), len(file.left_out), strata, tuple(counts))
    write_text(record_path, json.dumps(asdict(record), indent=2) + "\n")
    return record


def _spare(source: str, paths: Sequence[str], *, overwrite: bool) -> None:
    for path in paths:
        if not os.path.lexists(path):
            continue
        if os.path.exists(path) and os.path.samefile(path, source):
            raise UsageError(f"OUT: {path!r} is also the input and would be overwritten", hint="choose another folder")
        if not overwrite:
            raise UsageError(f"OUT: {path!r} exists", file=path, hint="choose another folder, or give --overwrite")


def _photos(rows: Sequence[LabelRow]) -> dict[str, list[LabelRow]]:
    photos = defaultdict[str, list[LabelRow]](list)
    for row in rows:
        photos[_photo(row)].append(row)
    return dict(photos)


def _photo(row: LabelRow) -> str:
    return match_key(row.label.source_name)


def _strata(photos: dict[str, list[LabelRow]]) -> dict[str, tuple[int, int]]:
    """(completion level, quintile of overall) of each photo by the means of its edits; -1 where it was not rated."""
    overall = {photo: _mean(rows, Dimension.OVERALL) for photo, rows in photos.items()}
    known = [value for value in overall.values() if value is not None]
    edges = np.quantile(known, np.arange(1, QUINTILES) / QUINTILES) if known else np.empty(0)
    scale = SCALES[Dimension.COMPLETION]
    strata = {}
    for photo, rows in photos.items():
        completion, value = _mean(rows, Dimension.COMPLETION), overall[photo]
        level = -1 if completion is None else scale.levels.index(scale.level(completion))
        strata[photo] = (level, -1 if value is None else int(np.searchsorted(edges, value, side="right")))
    return strata


def _mean(rows: Sequence[LabelRow], dimension: Dimension) -> float | None:
    values = [value for row in rows if (value := row.label.rating(dimension)) is not None]
    return sum(values) / len(values) if values else None


def _count(part: Part, rows: Sequence[LabelRow], file: str, text: str) -> PartCount:
    return PartCount(
        name=part.name,
        share=part.share,
        file=file,
        sha256=sha256(text.encode()).hexdigest(),
        rows=len(rows),
        sources=len({_photo(row) for row in rows}),
        overall_mean=_mean(rows, Dimension.OVERALL),
        completion_mean=_mean(rows, Dimension.COMPLETION),
    )
