"""The flat form of an outcome: one CSV row per pair, errors too, always the same columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from piqa_cli.schema import Assessment, Dimension, Failure, Outcome, Region, Score

Cell = str | float | int | bool | None

# Those of OWASP's page on CSV injection; the wide ones count where spreadsheets speak Japanese.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_QUOTED = frozenset(',"\r\n')


class Column(NamedTuple):
    """A column: its name, what its cells are, and how to get them."""

    name: str
    kind: Literal["text", "number", "count", "truth"]
    of_assessment: Callable[[Assessment], Cell] | None
    of_failure: Callable[[Failure], Cell] | None = None


def _of_score(dimension: Dimension) -> tuple[Column, ...]:
    def score(assessment: Assessment) -> Score:
        return assessment.scores.of(dimension)

    name = dimension.value
    return (
        Column(name, "number", lambda a: score(a).value),
        Column(f"{name}_spread", "number", lambda a: score(a).spread),
        Column(f"{name}_level", "text", lambda a: score(a).level),
        Column(f"{name}_code", "text", lambda a: score(a).code),
        Column(f"{name}_reason", "text", lambda a: score(a).reason),
    )


def _largest(assessment: Assessment) -> Region | None:
    return max(assessment.regions, key=lambda region: region.area_fraction, default=None)


def _edge(index: int) -> Callable[[Assessment], Cell]:
    def edge(assessment: Assessment) -> Cell:
        region = _largest(assessment)
        return None if region is None else region.box[index]

    return edge


def _findings(assessment: Assessment) -> str:
    return "; ".join(f"{f.kind} ({f.severity}, {f.value:.4g} {f.unit})" for f in assessment.findings)


def _faults(assessment: Assessment) -> str:
    return "; ".join(f"{f.kind} ({f.level}, {f.severity:.2f})" for f in assessment.faults)


def _second(dimension: Dimension) -> Column:
    """What the second model of a cross-check says."""

    def value(assessment: Assessment) -> Cell:
        check = assessment.cross_check
        return None if check is None else check.scores.of(dimension).value

    return Column(f"cross_check_{dimension.value}", "number", value)


def _disagreements(assessment: Assessment) -> Cell:
    check = assessment.cross_check
    return None if check is None else "; ".join(dimension.value for dimension in check.disagreements)


COLUMNS: Final[tuple[Column, ...]] = (
    Column("schema_version", "text", lambda a: a.schema_version, lambda f: f.schema_version),
    Column("status", "text", lambda a: a.status, lambda f: f.status),
    Column("id", "text", lambda a: a.id, lambda f: f.id),
    Column("key", "text", lambda a: a.key, lambda f: f.key),
    Column("source", "text", lambda a: a.pair.source.path, lambda f: f.pair.source),
    Column("edited", "text", lambda a: a.pair.edited.path, lambda f: f.pair.edited),
    Column("mask", "text", lambda a: a.pair.mask.path if a.pair.mask else None, lambda f: f.pair.mask),
    Column("prompt", "text", lambda a: a.pair.prompt, lambda f: f.pair.prompt),
    Column("source_width", "count", lambda a: a.pair.source.width),
    Column("source_height", "count", lambda a: a.pair.source.height),
    Column("edited_width", "count", lambda a: a.pair.edited.width),
    Column("edited_height", "count", lambda a: a.pair.edited.height),
    Column("model", "text", lambda a: a.model.name),
    Column("model_version", "text", lambda a: a.model.version),
    Column("weights_sha256", "text", lambda a: a.model.weights_sha256),
    Column("kind", "text", lambda a: a.edit.kind.value),
    Column("is_edited", "truth", lambda a: a.edit.edited),
    Column("edit_probability", "number", lambda a: a.edit.probability),
    Column("area_fraction", "number", lambda a: a.edit.area_fraction),
    Column("identical", "truth", lambda a: a.edit.identical),
    Column("alignment", "text", lambda a: a.alignment.method),
    Column("alignment_confidence", "number", lambda a: a.alignment.confidence),
    Column("shift_pixels", "number", lambda a: a.alignment.shift_pixels),
    Column("regions", "count", lambda a: len(a.regions)),
    Column("largest_x0", "count", _edge(0)),
    Column("largest_y0", "count", _edge(1)),
    Column("largest_x1", "count", _edge(2)),
    Column("largest_y1", "count", _edge(3)),
    *_of_score(Dimension.OVERALL),
    *_of_score(Dimension.COMPLETION),
    *_of_score(Dimension.HARMONY),
    *_of_score(Dimension.NATURALNESS),
    *_of_score(Dimension.PRESERVATION),
    Column("fusion", "text", lambda a: a.fusion),
    Column("faults", "text", _faults),
    Column("findings", "text", _findings),
    Column("cross_check_model", "text", lambda a: a.cross_check.model.name if a.cross_check else None),
    *(_second(dimension) for dimension in Dimension),
    Column("disagreements", "text", _disagreements),
    Column("explanation", "text", lambda a: a.explanation),
    Column("warnings", "text", lambda a: "; ".join(a.warnings)),
    Column("seconds", "number", lambda a: a.seconds),
    Column("error_code", "text", None, lambda f: f.error.code),
    Column("error_message", "text", None, lambda f: f.error.message),
    Column("error_file", "text", None, lambda f: f.error.file),
    Column("error_expected", "text", None, lambda f: f.error.expected),
    Column("error_found", "text", None, lambda f: f.error.found),
    Column("error_hint", "text", None, lambda f: f.error.hint),
)


def csv_header() -> str:
    """The first line of the file, with its end of line."""
    return ",".join(column.name for column in COLUMNS) + "\n"


def csv_row(outcome: Outcome) -> str:
    """One row with its end of line; a cell may hold line breaks, quoted."""
    return ",".join(_quote(_cell(*pair)) for pair in zip(COLUMNS, cells(outcome), strict=True)) + "\n"


def cells(outcome: Outcome) -> tuple[Cell, ...]:
    """The values of one row, None where there is none: also for numbers that are not finite."""
    return tuple(_value(column, outcome) for column in COLUMNS)


def _value(column: Column, outcome: Outcome) -> Cell:
    if isinstance(outcome, Failure):
        value = column.of_failure(outcome) if column.of_failure else None
    else:
        value = column.of_assessment(outcome) if column.of_assessment else None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(column: Column, value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    text = str(value)
    # A spreadsheet would run such a cell as a formula; the apostrophe is its sign for "this is text".
    return "'" + text if column.kind == "text" and text.startswith(FORMULA_STARTS) else text


def _quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.intersection(cell) else cell
