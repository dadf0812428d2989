"""A comparison of two files of records as tables for a terminal, as JSON, or as CSV with a row a pair."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from piqa_cli.evaluation.changes import DIMENSIONS, Change, Comparison
from piqa_cli.evaluation.reading import Records
from piqa_cli.schema import Dimension
from piqa_cli.writers.columns import FORMULA_STARTS
from piqa_cli.writers.grids import Grid, draw
from piqa_cli.writers.writing import finite

Format = Literal["table", "json", "csv"]
SHORT: Final[dict[Dimension, str]] = {
    Dimension.OVERALL: "overall",
    Dimension.COMPLETION: "completion",
    Dimension.HARMONY: "harmony",
    Dimension.NATURALNESS: "naturalness",
    Dimension.PRESERVATION: "preservation",
}
_SPARED = ("effect", "p (Holm)", "old", "new", "pairs")  # columns left out, in turn, where a terminal is too narrow
_LONGEST = 32  # characters of a name in a table


def render(comparison: Comparison, form: Format, *, top: int, width: int | None = None) -> str:
    """The comparison in a format, ending with a line end.

    Args:
        comparison: what to show.
        form: table, json or csv.
        top: in a table: at most so many pairs of a kind.
        width: columns of the terminal; None for all that there are.
    """
    if form == "json":
        return json.dumps(finite(_as_json(comparison)), indent=2, allow_nan=False) + "\n"
    if form == "csv":
        return _as_csv(comparison)
    return "\n".join(draw(grid, "table") for grid in _grids(comparison, top, width))


def _grids(comparison: Comparison, top: int, width: int | None) -> Iterator[Grid]:
    """Dimensions, then the pairs that moved furthest, then those that newly fail or are newly fixed."""
    yield _dimensions(comparison, width)
    moved = comparison.order()
    if moved:
        rows = tuple(_moved(comparison, pair, index) for pair, index in moved[:top])
        title = f"moved beyond both spreads: {_first(len(moved), len(rows), 'score')}"
        yield Grid(title, ("pair", "dimension", "old", "new", "change"), rows, left=2)
    for title, pairs in (("newly failing", comparison.newly_failing), ("newly fixed", comparison.newly_fixed)):
        if pairs:
            rows = tuple((_cut(pair.id), pair.code) for pair in pairs[:top])
            yield Grid(f"{title}: {_first(len(pairs), len(rows), 'pair')}", ("pair", "code"), rows, left=2)
    for title, names in (("only in the old file", comparison.only_old), ("only in the new file", comparison.only_new)):
        if names:
            rows = tuple((_cut(name),) for name in names[:top])
            yield Grid(f"{title}: {_first(len(names), len(rows), 'pair')}", ("pair",), rows)


def _dimensions(comparison: Comparison, width: int | None) -> Grid:
    header = ["dimension", "pairs", "old", "new", "change", "95 % interval", "better", "worse", "p (Holm)", "effect"]
    rows = [_dimension(change) for change in comparison.changes]
    for name in _SPARED:
        if width is None or _wide(header, rows) <= width:
            break
        at = header.index(name)
        del header[at]
        for row in rows:
            del row[at]
    told = "change: new less old, of pairs scored in both; better, worse: beyond both spreads"
    notes = (told, *(f"{SHORT[c.dimension]}: {c.reason}" for c in comparison.changes if c.reason))
    title = f"{len(comparison.ids):,} pairs in both files, {comparison.same_key:,} of them with the same key"
    if width is not None:
        notes = tuple(line for note in notes for line in _wrapped(note, width - 2))
    return Grid(title, tuple(header), tuple(map(tuple, rows)), notes=notes)


def _dimension(change: Change) -> list[str]:
    interval = "-" if math.isnan(change.low) else f"{change.low:+.3f} {change.high:+.3f}"
    p = "-" if math.isnan(change.p_holm) else "<0.0001" if change.p_holm < 1e-4 else f"{change.p_holm:.4f}"
    return [
        SHORT[change.dimension],
        f"{change.count:,}",
        _number(change.old),
        _number(change.new),
        "-" if math.isnan(change.change) else f"{change.change:+.3f}",
        interval,
        f"{change.better:,}",
        f"{change.worse:,}",
        p,
        _number(change.effect, sign=True),
    ]


def _moved(comparison: Comparison, pair: int, index: int) -> tuple[str, ...]:
    old = comparison.old.values[comparison.old_rows[pair], index]
    new = comparison.new.values[comparison.new_rows[pair], index]
    values = _number(old), _number(new), _number(new - old, sign=True)
    return _cut(comparison.ids[pair]), SHORT[DIMENSIONS[index]], *values


def _number(value: float, *, sign: bool = False) -> str:
    return "-" if math.isnan(value) else f"{value:+.2f}" if sign else f"{value:.2f}"


def _cut(name: str) -> str:
    """The end of a long name, which says more than its beginning."""
    return name if len(name) <= _LONGEST else "..." + name[3 - _LONGEST :]


def _first(count: int, shown: int, word: str) -> str:
    words = f"{count:,} {word}{'' if count == 1 else 's'}"
    return words if shown == count else f"{words}, the first {shown}"


def _wide(header: list[str], rows: list[list[str]]) -> int:
    return sum(2 + max(map(len, column)) for column in zip(header, *rows, strict=True))


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(20, width))


def _as_json(comparison: Comparison) -> dict[str, object]:
    return {
        "old": _file(comparison.old),
        "new": _file(comparison.new),
        "pairs": len(comparison.ids),
        "same_key": comparison.same_key,
        "other_source": comparison.other_source,
        "other_prompt": comparison.other_prompt,
        "dimensions": [asdict(change) | {"significant": change.significant} for change in comparison.changes],
        "moved": [
            {
                "id": comparison.ids[pair],
                "dimension": DIMENSIONS[index].value,
                "old": float(comparison.old.values[comparison.old_rows[pair], index]),
                "new": float(comparison.new.values[comparison.new_rows[pair], index]),
                "change": float(comparison.moved[pair, index]),
            }
            for pair, index in comparison.order()
        ],
        "newly_failing": [asdict(pair) for pair in comparison.newly_failing],
        "newly_fixed": [asdict(pair) for pair in comparison.newly_fixed],
        "still_failing": comparison.still_failing,
        "only_old": comparison.only_old,
        "only_new": comparison.only_new,
    }


def _file(records: Records) -> dict[str, object]:
    return {
        "path": os.fspath(records.path),
        "pairs": len(records.rows),
        "failed": records.failed,
        "repeated": records.repeated,
        "judges": dict(records.judges),
    }


def _as_csv(comparison: Comparison) -> str:
    """A row a pair: those in both files in the new one's order, then those in one only."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [dimension.value for dimension in DIMENSIONS]
    parts = [f"{name}{part}" for name in names for part in ("_old", "_new", "_change", "_beyond")]
    table.writerow(["id", "in", "error_old", "error_new", *parts])
    old, new = comparison.old, comparison.new
    for at, (name, a, b) in enumerate(zip(comparison.ids, comparison.old_rows, comparison.new_rows, strict=True)):
        cells = _cells(old.values[a], new.values[b], comparison.moved[at], comparison.beyond[at])
        table.writerow([_safe(name), "both", old.codes[a], new.codes[b], *cells])
    nothing, no = np.full(len(DIMENSIONS), math.nan), np.zeros(len(DIMENSIONS), np.bool_)
    for name in comparison.only_old:
        row = old.rows[name]
        table.writerow([_safe(name), "old", old.codes[row], "", *_cells(old.values[row], nothing, nothing, no)])
    for name in comparison.only_new:
        row = new.rows[name]
        table.writerow([_safe(name), "new", "", new.codes[row], *_cells(nothing, new.values[row], nothing, no)])
    return text.getvalue()


def _cells(
    old: NDArray[np.float64], new: NDArray[np.float64], moved: NDArray[np.float64], beyond: NDArray[np.bool_]
) -> Iterator[str]:
    """Of each dimension the old and the new score, the change, and whether it is beyond both spreads."""
    for a, b, step, far in zip(old.tolist(), new.tolist(), moved.tolist(), beyond.tolist(), strict=True):
        yield from ("" if math.isnan(value) else f"{value:.6g}" for value in (a, b, step))
        yield "" if math.isnan(step) else str(far).lower()


def _safe(text: str) -> str:
    """A name that no spreadsheet runs as a formula."""
    return "'" + text if text.startswith(FORMULA_STARTS) else text
