"""CSV tables with named columns: read whole, refused at the first line that does not fit; and written back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from piqa_cli.errors import InputError

_DELIMITERS = ",;\t"
_FORMULA_STARTS = ("=", "+", "-", "@")
_MOST = 10_000_000  # rows: a table is held in memory


@dataclass(frozen=True, slots=True)
class TableRow:
    """The cells of one row without surrounding space, in the order of the columns that were asked for."""

    number: int  # of the line that ends it, counted from 1
    cells: tuple[str, ...]


def read_table(path: str, columns: Sequence[str]) -> list[TableRow]:
    """The rows of a CSV file (UTF-8, with or without a byte-order mark; comma, semicolon or tab), empty ones left out.

    Args:
        path: the file.
        columns: names that the header must have, in any order and case; others are passed over.

    Raises:
        InputError: it cannot be read, a column is missing or named twice, or a line does not fit (E_LABELS).
    """
    expected = f"CSV with a header that names {', '.join(columns)}"
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter, places = _places(header, columns, path, expected)
            width = len(next(csv.reader([header], delimiter=delimiter, skipinitialspace=True)))
            return _fitting(file, delimiter, places, width, path)
    except OSError as error:
        found = (error.strerror or type(error).__name__).lower()
        codes = {FileNotFoundError: "E_NOT_FOUND", PermissionError: "E_PERMISSION"}
        code = codes.get(type(error), "E_LABELS")
        raise InputError(
            "the table cannot be read", code=code, file=path, expected=expected, found=found, hint="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise _refused(path, expected, "text that is not UTF-8", "save it as UTF-8") from error
    except csv.Error as error:
        hint = 'put cells that hold commas, quotes or line ends in "quotes" and double the quotes inside'
        raise _refused(path, expected, f"not readable as CSV: {error}", hint) from error


def cell_error(
    path: str, number: int, expected: str, found: str, hint: str = "correct or remove the line"
) -> InputError:
    """Why a line of a table cannot be used."""
    message = f"line {number} of the table cannot be used"
    return InputError(message, code="E_LABELS", file=path, expected=expected, found=found, hint=hint)


def table_text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV as `read_table` reads it. A text that a spreadsheet would run as a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_guard(cell) for cell in row] for row in rows)
    return text.getvalue()


def _places(header: str, columns: Sequence[str], path: str, expected: str) -> tuple[str, list[int]]:
    """The delimiter, and where each column stands."""
    if not header.strip():
        raise _refused(path, expected, "an empty file" if not header else "an empty first line")
    for delimiter in _DELIMITERS:
        names = [
            name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter, skipinitialspace=True))
        ]
        if set(columns) <= set(names):
            twice = [name for name in columns if names.count(name) > 1]
            if twice:
                raise _refused(path, expected, f"two columns named {twice[0]}", "name each column once")
            return delimiter, [names.index(name) for name in columns]
    raise _refused(path, expected, f"first line {header.strip()[:120]!r}")


def _fitting(lines: Iterable[str], delimiter: str, places: Sequence[int], width: int, path: str) -> list[TableRow]:
    fitting: list[TableRow] = []
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    for cells in rows:
        number = rows.line_num + 1  # the header's line was taken before
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != width:
            raise cell_error(
                path, number, f"{width} cells", f"{len(cells)}", "a cell that holds the delimiter is quoted"
            )
        if len(fitting) == _MOST:
            raise cell_error(path, number, f"at most {_MOST} rows", "more", "divide the table")
        fitting.append(TableRow(number, tuple(_unguard(cells[place].strip()) for place in places)))
    return fitting


def _guard(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) and not _is_number(cell) else cell


def _unguard(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA_STARTS) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _refused(path: str, expected: str, found: str, hint: str = "name the columns in the first line") -> InputError:
    return InputError("the table cannot be read", code="E_LABELS", file=path, expected=expected, found=found, hint=hint)
