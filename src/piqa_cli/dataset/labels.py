"""Label files as a whole: the rows that can be used, those that cannot, and label files written.

The format is that of `pairs.epaiqa`. A row is written as it was read, with columns that nobody here knows.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from piqa_cli.errors import InputError, OutputError
from piqa_cli.failures import refuse
from piqa_cli.pairs.epaiqa import RATING_FIELDS, Label, label_rows, load_rows, match_key
from piqa_cli.schema import Failure, Pair


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
    written = load_rows(path)
    rows: list[LabelRow] = []
    left_out: list[Failure] = []
    seen = dict[str, int]()
    for number, (label, row) in enumerate(zip(label_rows(written, path), written, strict=True), 1):
        if isinstance(label, Failure):
            left_out.append(label)
            continue
        first = seen.setdefault(match_key(label.id), number)
        if first == number:
            rows.append(LabelRow(number, label, row))
        else:
            left_out.append(_repeated(label, number, first, path))
    if not rows:
        found = f"{len(left_out)} rows, none of which can be used" if left_out else "an empty list"
        hint = "`piqa dataset validate` lists what is wrong with each row" if left_out else "check the path"
        message = "the label file has no row that can be used"
        raise InputError(message, code="E_LABELS", file=path, expected="rated edits", found=found, hint=hint)
    return LabelFile(path, tuple(rows), tuple(left_out))


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


def write_text(path: str, text: str) -> None:
    """A file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="surrogateescape", dir=os.path.dirname(path) or ".", delete=False, newline=""
        ) as file:
            temporary = file.name
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        reason = error.strerror or type(error).__name__
        raise OutputError(f"the file cannot be written: {reason}", file=path, found=reason) from error


def sha256_of(path: str) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return sha256(file.read()).hexdigest()
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", file=path, hint="check the path") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _repeated(label: Label, number: int, first: int, path: str) -> Failure:
    error = InputError(
        f"row {number} of the label file repeats row {first}",
        code="E_DUPLICATE",
        file=path,
        expected="each edited image once",
        found=f"{label.edited_name!r} again",
        hint="remove one of them",
    )
    pair = Pair(id=f"row {number}", source=label.source_name, edited=label.edited_name, prompt=label.prompt)
    return refuse(pair, error)
