"""CSV tables with named columns: read whole, refused at the first line that does not fit; and written back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from piqa_cli.errors import InputError
from piqa_cli.pairs.rows import csv_cells, read_lines
from piqa_cli.writers.columns import FORMULA_STARTS


@dataclass(frozen=True, slots=True)
class TableRow:
    """The cells of one row without surrounding space, in the order of the columns that were asked for."""

    number: int  # of its first line, counted from 1
    cells: tuple[str, ...]


def read_table(path: str, columns: Sequence[str]) -> list[TableRow]:
    """The rows of a CSV file (UTF-8, with or without a byte-order mark; comma, semicolon or tab), empty ones left out.

    Args:
        path: the file.
        columns: names that the header must have, in any order and case; others are passed over.

    Raises:
        InputError: it cannot be read, a column is missing or named twice, or a line does not fit (E_LABELS).
    """

    def refuse(found: str, hint: str, code: str = "E_LABELS") -> InputError:
        expected = f"CSV with a header that names {', '.join(columns)}"
        return InputError("the table cannot be read", code=code, file=path, expected=expected, found=found, hint=hint)

    rows: list[TableRow] = []
    try:
        with open(path, "rb") as file:
            for row in csv_cells(read_lines(file, refuse), columns, columns, refuse):
                if row.texts is None:
                    raise cell_error(path, row.number, "a row of CSV", row.found, row.hint)
                missing = [column for column in columns if column not in row.texts]
                if missing:
                    raise cell_error(path, row.number, f"a cell for {missing[0]}", f"{len(row.texts)} cells")
                rows.append(TableRow(row.number, tuple(_unguard(row.texts[column].strip()) for column in columns)))
    except OSError as error:
        found = (error.strerror or type(error).__name__).lower()
        codes = {FileNotFoundError: "E_NOT_FOUND", PermissionError: "E_PERMISSION"}
        raise refuse(found, "check the path", codes.get(type(error), "E_LABELS")) from error
    if not rows:
        raise refuse("no row under it", "give one value a row")
    return rows


def cell_error(
    path: str, number: int, expected: str, found: str, hint: str = "correct or remove the line"
) -> InputError:
    """Why a line of a table cannot be used."""
    message = f"line {number} of the table cannot be used"
    return InputError(message, code="E_LABELS", file=path, expected=expected, found=found, hint=hint)


def table_text(columns: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """CSV as `read_table` reads it; None is an empty cell.

    A text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_guard(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue()


def _guard(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def _unguard(cell: str) -> str:
    return cell[1:] if cell.startswith(tuple(f"'{start}" for start in FORMULA_STARTS)) else cell
