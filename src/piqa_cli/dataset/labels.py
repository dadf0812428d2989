"""Label files as a whole: the rows that can be used, those that cannot, and label files written.

The format is that of `pairs.epaiqa`. A row is written as it was read, with columns that nobody here knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from piqa_cli.errors import InputError
from piqa_cli.pairs.epaiqa import RATING_FIELDS, Label, label_rows, load_rows
from piqa_cli.schema import Failure


@dataclass(frozen=True, slots=True, eq=False)
class LabelRow:
    """A row that can be used: its number in the file, counted from 1, what it says, and as it stood there."""

    number: int
    label: Label
    written: object


@dataclass(frozen=True, slots=True, eq=False)
class LabelFile:
    """A label file: its rows in file order, and why the others are left out."""

    path: str
    rows: tuple[LabelRow, ...]
    left_out: tuple[Failure, ...]

    @property
    def labels(self) -> list[Label]:
        """The labels of the rows."""
        return [row.label for row in self.rows]


def open_labels(path: str) -> LabelFile:
    """Reads a label file. Of rows with the same edited image the first counts.

    Raises:
        InputError: it cannot be read, or no row of it can be used (E_LABELS).
    """
    file = read_label_file(path)
    if not file.rows:
        count = len(file.left_out)
        found = f"no usable row among {count}" if count else "an empty list"
        hint = "`piqa dataset validate` lists what is wrong with each row" if count else "check the path"
        message = "the label file has no row that can be used"
        raise InputError(message, code="E_LABELS", file=path, expected="rated edits", found=found, hint=hint)
    return file


def read_label_file(path: str) -> LabelFile:
    """As `open_labels`, but a file without a row that can be used is one too.

    Raises:
        InputError: it cannot be read (E_LABELS).
    """
    written = load_rows(path)
    items = label_rows(written, path)
    rows = tuple(
        LabelRow(number, label, row)
        for number, (label, row) in enumerate(zip(items, written, strict=True), 1)
        if isinstance(label, Label)
    )
    return LabelFile(path, rows, tuple(item for item in items if isinstance(item, Failure)))


def label_object(label: Label) -> dict[str, object]:
    """A label as a row of a label file."""
    named: dict[str, object] = {
        "source_img_name": label.source_name,
        "edited_img_name": label.edited_name,
        "prompt": label.prompt or "",
    }
    return named | {RATING_FIELDS[dimension]: value for dimension, value in label.ratings}


def labels_text(rows: Iterable[object]) -> str:
    """A label file's text: a JSON list, a row a line, plain ASCII."""
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
