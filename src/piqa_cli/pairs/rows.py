"""Lines of text to rows: any CSV with a header, and the rows of a manifest, CSV or one JSON object a line.

Nothing here looks at more than one row at a time, and a bad row does not spoil those behind it.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from piqa_cli.errors import InputError

COLUMNS = ("source", "edited", "prompt", "mask", "id")
REQUIRED = ("source", "edited")
MAX_LINE_BYTES = 1 << 20
ACCEPTED = "CSV with a header, or one JSON object a line, with source and edited and optionally prompt, mask, id"
_MAX_ROW_CHARACTERS = 1 << 22  # a quoted cell may span lines, but not the rest of a large file
_MAX_PASSED_BYTES = 1 << 28  # of one line: /dev/zero has no second one
_DELIMITERS = ",;\t"
Refuse = Callable[[str, str], InputError]
"""Makes the error that a whole file is refused with, of what was found and a hint."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, counted from 1."""

    number: int
    text: str | None  # None: longer than MAX_LINE_BYTES


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row, empty ones as None; `others` are further columns in lower case, with their texts."""

    number: int
    source: str | None = None
    edited: str | None = None
    prompt: str | None = None
    mask: str | None = None
    id: str | None = None
    problem: InputError | None = None
    others: tuple[tuple[str, str], ...] = ()

    def other(self, column: str) -> str:
        """The text under a further column, "" where there is none."""
        return dict(self.others).get(column, "")


@dataclass(frozen=True, slots=True)
class Cells:
    """A row of CSV: texts by column, names in lower case; or None, and why it cannot be read."""

    number: int
    texts: dict[str, str] | None
    found: str = ""
    hint: str = ""


def read_lines(stream: BinaryIO, refuse: Refuse | None = None) -> Iterator[Line]:
    """The lines of UTF-8 text, each as soon as it is there; bytes that are not UTF-8 survive as surrogates.

    Args:
        stream: open for reading.
        refuse: makes the error that the whole text is refused with; None: whatever it is, it is lines.

    Raises:
        InputError: the text is UTF-16, or has no ends of lines at all (a device that never ends).
    """
    number = 0
    while data := stream.readline(MAX_LINE_BYTES):
        number += 1
        if number == 1:
            if refuse is not None and data.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise refuse("UTF-16 text", "save it as UTF-8")
            data = data.removeprefix(b"\xef\xbb\xbf")
        if len(data) >= MAX_LINE_BYTES and not data.endswith(b"\n"):
            _pass_over(stream, refuse)
            yield Line(number, None)
        else:
            yield Line(number, data.decode("utf-8", "surrogateescape"))


def _pass_over(stream: BinaryIO, refuse: Refuse | None) -> None:
    """Reads to the end of a line that is too long."""
    passed = 0
    while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        passed += len(rest)
        if refuse is not None and passed > _MAX_PASSED_BYTES:
            raise refuse(f"a line of more than {_MAX_PASSED_BYTES} bytes", "check the path: this is no text")


@dataclass(slots=True)
class _Replay:
    """Lines for the csv reader; after an error those behind the bad row's first can be had again."""

    lines: Iterator[Line]
    again: deque[Line] = field(default_factory=deque)
    taken: list[Line] = field(default_factory=list)
    characters: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.lines)
        self.taken.append(line)
        self.characters += len(line.text or "")
        if line.text is None or self.characters > _MAX_ROW_CHARACTERS:
            raise csv.Error("the row is too long")
        return line.text

    def next_row(self) -> None:
        """Forget what was taken."""
        self.taken.clear()
        self.characters = 0

    def give_back(self) -> None:
        """Keep only the first taken line as used."""
        self.again.extendleft(reversed(self.taken[1:]))


def csv_rows(lines: Iterator[Line], name: str) -> Iterator[Row]:
    """The rows under a header, empty ones passed over, unreadable ones with their problem.

    Raises:
        InputError: the header does not name source and edited (E_MANIFEST).
    """
    for cells in csv_cells(lines, REQUIRED, COLUMNS, not_a_manifest(name)):
        if cells.texts is None:
            yield _bad_row(name, cells.number, cells.found, cells.hint)
        else:
            yield _row(cells.number, cells.texts)


def csv_cells(lines: Iterator[Line], required: Sequence[str], known: Sequence[str], refuse: Refuse) -> Iterator[Cells]:
    """The rows under a header whose delimiter is a comma, a semicolon or a tab; empty rows are passed over.

    Args:
        lines: of the file; without any there are no rows.
        required: columns that the header must name once, in any order and case.
        known: columns that it must not name twice.
        refuse: makes the error for a header that does not.

    Raises:
        InputError: as `refuse` makes it.
    """
    feed = _Replay(lines)
    columns, delimiter = _header(feed, required, known, refuse)
    if not columns:
        return
    while True:
        feed.next_row()
        try:
            cells = next(csv.reader(feed, delimiter=delimiter, skipinitialspace=True, strict=True))
        except StopIteration:
            return
        except csv.Error as error:
            number = feed.taken[0].number
            feed.give_back()
            hint = 'put cells that hold commas, quotes or line ends in "quotes" and double the quotes inside'
            yield Cells(number, None, f"not readable as CSV: {error}", hint)
            continue
        number = feed.taken[0].number
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(columns):
            found = f"{len(cells)} cells under {len(columns)} columns"
            yield Cells(number, None, found, f'put a cell that holds "{delimiter}" in quotes')
            continue
        yield Cells(number, dict(zip(columns, cells, strict=False)))


def _header(feed: _Replay, required: Sequence[str], known: Sequence[str], refuse: Refuse) -> tuple[list[str], str]:
    """The columns in lower case, and the delimiter; no columns for an empty file."""
    hint = f"name the columns in the first line: {','.join(required)},..."
    text = ""
    try:
        while not text.strip():
            text = next(feed)
        readings = [next(csv.reader([text], delimiter=delimiter, skipinitialspace=True)) for delimiter in _DELIMITERS]
    except StopIteration:
        return [], ","
    except csv.Error as error:
        raise refuse(str(error), hint) from error
    for delimiter, cells in zip(_DELIMITERS, readings, strict=True):
        columns = [cell.strip().lower() for cell in cells]
        if set(required) <= set(columns):
            twice = [column for column in known if columns.count(column) > 1]
            if twice:
                raise refuse(f"two columns named {twice[0]}", "name each column once")
            return columns, delimiter
    raise refuse(f"first line {text.strip()[:120]!r}", hint)


def json_rows(lines: Iterable[Line], name: str) -> Iterator[Row]:
    """One row per line that holds a JSON object, empty lines passed over, other ones with their problem."""
    for line in lines:
        if line.text is None:
            yield _bad_row(name, line.number, f"a line longer than {MAX_LINE_BYTES} bytes", "one JSON object a line")
        elif line.text.strip():
            yield _json_row(line.text, line.number, name)


def _json_row(text: str, number: int, name: str) -> Row:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return _bad_row(name, number, f"not JSON: {error}", "one JSON object a line")
    if not isinstance(value, dict):
        return _bad_row(
            name, number, f"a JSON {type(value).__name__}", 'one object a line: {"source": ..., "edited": ...}'
        )
    cells: dict[str, str] = {}
    for column in COLUMNS:
        cell = value.get(column)
        if column == "id" and isinstance(cell, int) and not isinstance(cell, bool):
            cell = str(cell)
        if cell is not None and not isinstance(cell, str):
            return _bad_row(name, number, f"{json.dumps(cell)[:40]} as {column}", f"write {column} as text")
        cells[column] = cell or ""
    others = {column.lower(): _as_text(cell) for column, cell in value.items() if column not in COLUMNS}
    return _row(number, others | cells)


def _as_text(cell: object) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell)


def _row(number: int, cells: Mapping[str, str]) -> Row:
    source, edited, prompt, mask, identifier = (
        cell if (cell := cells.get(column, "")).strip() else None for column in COLUMNS
    )
    others = tuple((column, cell) for column, cell in cells.items() if column not in COLUMNS)
    return Row(number, source, edited, prompt, mask, identifier, others=others)


def _bad_row(name: str, number: int, found: str, hint: str) -> Row:
    return Row(number, problem=row_error(name, number, found, hint))


def row_error(name: str, number: int, found: str, hint: str) -> InputError:
    """Why a row is not a pair."""
    message = f"line {number} is not a pair"
    return InputError(message, code="E_MANIFEST", file=name, expected="source and edited", found=found, hint=hint)


def not_a_manifest(name: str) -> Refuse:
    """How a file that is no manifest is refused (E_MANIFEST)."""

    def refuse(found: str, hint: str) -> InputError:
        message = "the manifest cannot be read"
        return InputError(message, code="E_MANIFEST", file=name, expected=ACCEPTED, found=found, hint=hint)

    return refuse
