"""Between label files, manifests and tables of mean opinion scores.

A manifest carries the ratings in columns named as in a label file, which `piqa batch` passes over; so a label file
becomes a manifest and comes back the same, but for stray quotes and rows that could not be used.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from piqa_cli.dataset.labels import LabelFile, label_object
from piqa_cli.dataset.ratings import OPINION_COLUMNS, Opinion
from piqa_cli.errors import InputError
from piqa_cli.failures import refuse
from piqa_cli.pairs.epaiqa import RATING_FIELDS, Label, label_rows, match_key, pair_labels
from piqa_cli.pairs.manifest import read_manifest_rows
from piqa_cli.pairs.rows import Row
from piqa_cli.schema import Dimension, Failure, Pair

Form = Literal["labels", "manifest", "opinions"]
_MANIFEST_COLUMNS = ("id", "source", "edited", "prompt", *RATING_FIELDS.values())


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row of a manifest: paths as they are to be written, and the ratings."""

    id: str
    source: str
    edited: str
    prompt: str | None
    ratings: tuple[tuple[Dimension, float], ...]


@dataclass(frozen=True, slots=True)
class Converted:
    """Labels that were made, and what could not be."""

    labels: tuple[Label, ...]
    left_out: tuple[Failure, ...]


def detect_form(path: str) -> Form:
    """What a file is: `.json` a label file; a CSV with image, dimension and mean opinion scores; else a manifest."""
    if os.path.splitext(path)[1].lower() == ".json":
        return "labels"
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(10_000).lower()
    except OSError:
        return "manifest"  # whose reader says what is wrong
    names = {name.strip().strip('"') for delimiter in ",;\t" for name in header.split(delimiter)}
    return "opinions" if set(OPINION_COLUMNS[:3]) <= names else "manifest"


def manifest_rows(file: LabelFile, image_dir: str | None, base: str) -> tuple[list[ManifestRow], list[Failure]]:
    """A label file's rows for a manifest, and those whose images are not there.

    Args:
        file: the label file.
        image_dir: where its images are; without it the names are written as they stand, for `--image-dir` later.
        base: the folder that the manifest's relative paths will refer to.

    Raises:
        InputError: the folder cannot be read.
    """
    if image_dir is None:
        rows = [
            ManifestRow(label.id, label.source_name, label.edited_name, label.prompt, label.ratings)
            for label in file.labels
        ]
        return rows, []
    found, missing = list[ManifestRow](), list[Failure]()
    for item in pair_labels(file.labels, image_dir):
        if isinstance(item, Failure):
            missing.append(item)
            continue
        pair = item.pair
        source, edited = (_relative(path, base) for path in (pair.source, pair.edited))
        found.append(ManifestRow(pair.id, source, edited, pair.prompt, item.ratings))
    return found, missing


def manifest_text(rows: Sequence[ManifestRow], form: Literal["csv", "jsonl"]) -> str:
    """The manifest's text: CSV with all columns, or JSON lines without those that are not known."""
    cells = [
        (row.id, row.source, row.edited, row.prompt or "", *(dict(row.ratings).get(d) for d in RATING_FIELDS))
        for row in rows
    ]
    if form == "jsonl":
        named = (zip(_MANIFEST_COLUMNS, row, strict=True) for row in cells)
        return "".join(json.dumps({name: cell for name, cell in row if cell not in {None, ""}}) + "\n" for row in named)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_MANIFEST_COLUMNS)
    writer.writerows(cells)  # None is an empty cell
    return text.getvalue()


def labels_of_manifest(path: str) -> Converted:
    """A manifest's rows as labels, with the ratings that its columns hold.

    Raises:
        InputError: the manifest cannot be read.
    """
    labels, left_out = list[Label](), list[Failure]()
    for row, item in read_manifest_rows(path):
        label = item if isinstance(item, Failure) else _label(row, path)
        if isinstance(label, Failure):
            left_out.append(label)
        else:
            labels.append(label)
    return Converted(tuple(labels), tuple(left_out))


def labels_of_opinions(opinions: Sequence[Opinion], path: str, manifest: str) -> Converted:
    """Mean opinion scores as labels; a manifest says the source and the prompt of each image.

    An image is a manifest row's id, its edited path, or that path's file name with or without suffix. Preservation has
    no place in a label file and is passed over.

    Args:
        opinions: mean opinion scores.
        path: the file they are from, for messages.
        manifest: the manifest's path.

    Raises:
        InputError: the manifest cannot be read.
    """
    left_out = list[Failure]()
    means = defaultdict[str, dict[str, float]](dict)
    for opinion in opinions:
        if opinion.dimension in RATING_FIELDS:
            means[opinion.image][RATING_FIELDS[opinion.dimension]] = opinion.mean
    labels = list[Label]()
    for row, item in read_manifest_rows(manifest):
        image = next((name for name in _names(row) if name in means), None)
        if isinstance(item, Failure):
            left_out.append(item)
        elif image is not None:
            made = _made(row, means.pop(image), manifest)
            (left_out if isinstance(made, Failure) else labels).append(made)  # type: ignore[arg-type]
        else:
            left_out.append(_unmatched(item, manifest, "a mean opinion score of each image", "none"))
    for image in means:
        pair = Pair(id=image, source="", edited=image)
        left_out.append(_unmatched(pair, path, f"a row of {manifest!r} for each image", "none"))
    return Converted(tuple(labels), tuple(left_out))


def labels_only(file: LabelFile) -> Converted:
    """A label file's own rows, prompts without stray quotes."""
    return Converted(tuple(file.labels), file.left_out)


def label_objects(converted: Converted) -> Iterator[dict[str, object]]:
    """The rows of a label file."""
    return (label_object(label) for label in converted.labels)


def _relative(path: str, base: str) -> str:
    """As a manifest in `base` names a path, with "/"; a spreadsheet must not take it for a formula."""
    relative = os.path.relpath(path, base or ".").replace(os.sep, "/")
    return f"./{relative}" if relative.startswith(("=", "+", "-", "@")) else relative


def _label(row: Row, path: str) -> Label | Failure:
    ratings: dict[str, float] = {}
    for column in RATING_FIELDS.values():
        text = row.other(column).strip()
        if not text:
            continue
        try:
            ratings[column] = float(text)
        except ValueError:
            pair = Pair(id=f"line {row.number}", source=row.source or "", edited=row.edited or "")
            return _unmatched(pair, path, f"a number as {column}", repr(text))
    return _made(row, ratings, path)


def _made(row: Row, ratings: dict[str, float], path: str) -> Label | Failure:
    written = {"source_img_name": row.source, "edited_img_name": row.edited, "prompt": row.prompt, **ratings}
    made = label_rows([written], path)[0]
    return made.model_copy(update={"id": f"line {row.number}"}) if isinstance(made, Failure) else made


def _names(row: Row) -> Iterator[str]:
    """What an image may be called in a table of opinions, the most exact first."""
    edited = row.edited or ""
    base = match_key(edited).rsplit("/", 1)[-1]
    yield from (name for name in (row.id, edited, base, os.path.splitext(base)[0]) if name)


def _unmatched(pair: Pair, file: str, expected: str, found: str) -> Failure:
    error = InputError("no label can be made", code="E_LABELS", file=file, expected=expected, found=found)
    return refuse(pair, error)
