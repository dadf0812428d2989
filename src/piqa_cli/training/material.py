"""The data of a training run: rated pairs with what else is known of them, split by the photo they were made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from piqa_cli.errors import InputError
from piqa_cli.pairs.annotations import Annotation, by_edited_image, read_annotations
from piqa_cli.pairs.epaiqa import LabelledPair, read_labels, split_of
from piqa_cli.pairs.names import Names
from piqa_cli.schema import Dimension, Failure

ANNOTATIONS = "annotations.jsonl"
VALIDATION_SHARE = 0.1  # of the photos
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example:
    """A rated pair, and its annotation; an empty one where it has none."""

    rated: LabelledPair
    known: Annotation

    def value(self, dimension: Dimension) -> float:
        """The mean of its ratings, NaN where it was not rated."""
        found = self.rated.rating(dimension)
        return float("nan") if found is None else found

    def deviation(self, dimension: Dimension) -> float:
        """Their standard deviation, NaN where that is not known."""
        found = self.known.deviation(dimension)
        return float("nan") if found is None else found


@dataclass(frozen=True, slots=True)
class Material:
    """All examples, those of one photo on one side; `sha256` is of the label files and the images' names and sizes."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    sha256: str

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Those that anyone rated."""
        return tuple(d for d in Dimension if any(one.rated.rating(d) is not None for one in self.train))


def read_material(
    data: str, labels: str | None, image_dir: str | None, seed: int, warn: Callable[[str], None]
) -> Material:
    """Reads the labels and, where it is there, `annotations.jsonl`.

    Args:
        data: the folder.
        labels: the label file; the only `.json` file of the folder if None.
        image_dir: folder of the images; `data` if None.
        seed: of the split.
        warn: takes a line about what is passed over.

    Raises:
        InputError: files are missing or malformed, no pair can be used, or one side of the split is empty.
    """
    label_file = labels or _label_file(data)
    pairs = _usable(read_labels(label_file, image_dir or data), "labels", warn)
    notes = os.path.join(data, ANNOTATIONS)
    known = _usable(read_annotations(notes), "annotations", warn) if os.path.isfile(notes) else []
    examples = _join(pairs, known, notes)
    held_out = [split_of(one.rated.source_name, test_share=VALIDATION_SHARE, seed=seed) == "test" for one in examples]
    train = tuple(one for one, out in zip(examples, held_out, strict=True) if not out)
    validation = tuple(one for one, out in zip(examples, held_out, strict=True) if out)
    if not train or not validation:
        raise InputError(
            "the labels cannot be split into training and validation",
            code="E_LABELS",
            file=label_file,
            expected="pairs of at least two photos, better of a hundred; a tenth of the photos validates",
            found=f"{len(train)} pairs to train on, {len(validation)} to validate with",
            hint="another --seed splits otherwise",
        )
    return Material(train, validation, _digest([label_file, *([notes] if known else [])], examples))


def _label_file(data: str) -> str:
    found = sorted(path.name for path in Path(data).glob("*.json"))
    if len(found) != 1:
        raise InputError(
            "the data folder has no single label file",
            code="E_NOT_FOUND" if not found else "E_LABELS",
            file=data,
            expected="one .json file with labels in EPAIQA-15K's format",
            found=", ".join(found[:3]) or "none",
            hint="name it with --labels",
        )
    return os.path.join(data, found[0])


def _usable(rows: Iterable[T | Failure], what: str, warn: Callable[[str], None]) -> list[T]:
    """The rows that could be read; the others are counted, and the first of them is told."""
    kept: list[T] = []
    failed: list[Failure] = []
    for row in rows:
        if isinstance(row, Failure):
            failed.append(row)
        else:
            kept.append(row)
    if failed:
        why = f"{failed[0].error.message}; found: {failed[0].error.found}"
        warn(f"{len(failed)} of {len(failed) + len(kept)} {what} cannot be used; the first, {failed[0].id}: {why}")
    return kept


def _join(pairs: Iterable[LabelledPair], annotations: Iterable[Annotation], file: str) -> list[Example]:
    """Pairs and their annotations by the edited file's name."""
    names = Names(by_edited_image(annotations).items())
    found = [(pair, names.find(pair.pair.edited, pair.pair.id)) for pair in pairs]
    if names and not any(known for _, known in found):
        raise InputError(
            "no annotation belongs to a label", code="E_LABELS", file=file, expected="the labels' edited_img_name"
        )
    return [Example(pair, known or Annotation(os.path.basename(pair.pair.edited))) for pair, known in found]


def _digest(files: Iterable[str], examples: Iterable[Example]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(Path(file).read_bytes())
    for one in examples:
        for path in (one.rated.pair.source, one.rated.pair.edited):
            digest.update(f"{os.path.basename(path)}\0{os.path.getsize(path)}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
