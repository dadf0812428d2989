"""An evaluation as text: aligned columns for a terminal, Markdown, LaTeX, and JSON with every figure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from piqa_cli.evaluation.grounding import GroundingReport
from piqa_cli.evaluation.joining import Joined
from piqa_cli.evaluation.means import Mean
from piqa_cli.evaluation.report import Details, Evaluation
from piqa_cli.evaluation.scores import METRICS, SUBSETS, Figure, Metric, ScoreRow, Subset
from piqa_cli.evaluation.significance import Difference
from piqa_cli.pairs.epaiqa import RATING_FIELDS
from piqa_cli.writers.grids import Grid, GridFormat, draw
from piqa_cli.writers.writing import finite

Format = GridFormat | Literal["json"]
TITLES: dict[Metric, str] = {
    "srcc": "SRCC",
    "krcc": "KRCC",
    "plcc": "PLCC",
    "plcc_logistic": "PLCC fit",
    "rmse": "RMSE",
    "accuracy": "acc_eq",
}


def render(evaluation: Evaluation, form: Format) -> str:
    """The whole evaluation in a format, ending with a line end. Control characters of names are spelt out."""
    if form == "json":
        return json.dumps(_as_json(evaluation), indent=2, allow_nan=False) + "\n"
    return "\n".join(draw(grid, form) for grid in grids(evaluation, brief=form == "table"))


def grids(evaluation: Evaluation, *, brief: bool) -> Iterator[Grid]:
    """The tables; `brief` leaves out all intervals but SRCC's."""
    for subset in SUBSETS:
        rows = [row for row in evaluation.rows if row.subset == subset]
        if rows:
            yield _scores(subset, rows, brief=brief)
    for one in evaluation.details:
        yield from _detail_grids(one)
    if evaluation.differences:
        yield _difference_grid(evaluation)


def subset_title(subset: Subset) -> str:
    """The dimension in words."""
    words = subset.dimension.value.replace("_", " ")
    return f"{words}, completed edits" if subset.completed else words


def _scores(subset: Subset, rows: Sequence[ScoreRow], *, brief: bool) -> Grid:
    header = ("system", "rated", "scored", "null", "failed", *(TITLES[metric] for metric in METRICS))
    cells = tuple(
        (
            row.system,
            *map(str, (row.rated, row.scored, row.nulls, row.failed)),
            *(_interval(figure, bare=brief and figure.metric != "srcc") for figure in row.figures),
        )
        for row in rows
    )
    return Grid(subset_title(subset), header, cells, notes=tuple(_reasons(rows)))


def _reasons(rows: Sequence[ScoreRow]) -> Iterator[str]:
    """Why figures are not there, each reason once a system."""
    for row in rows:
        by_reason: dict[str, list[str]] = {}
        for figure in row.figures:
            if figure.reason is not None:
                by_reason.setdefault(figure.reason, []).append(TITLES[figure.metric])
        yield from (f"{row.system}: {', '.join(names)}: {reason}" for reason, names in by_reason.items())


def _detail_grids(one: Details) -> Iterator[Grid]:
    header = ("dimension", "bins", "calibration error", "with spread", "within 80 %")
    known = [row for row in one.reliability if row.bins]
    if known:
        rows = tuple(
            (
                row.dimension.value.replace("_", " "),
                str(len(row.bins)),
                _number(row.error),
                str(row.with_spread),
                _number(next((level.found for level in row.coverage if level.stated == 0.8), math.nan)),
            )
            for row in known
        )
        yield Grid(f"{one.name}: reliability", header, rows)
    problems = tuple(f"{problem.name}: {problem.reason}" for problem in one.problems)
    if one.grounding is not None:
        yield _grounding(one.name, one.grounding, problems)
    elif problems:
        yield Grid(f"{one.name}: grounding", ("edit", "problem"), tuple((p.name, p.reason) for p in one.problems), 2)
    if any(mean.count for mean in one.explanations.figures):
        told = tuple((mean.name, str(mean.count), _interval(mean)) for mean in one.explanations.figures)
        without = one.explanations.without
        notes = (f"{without} assessments have no explanation",) if without else ()
        yield Grid(f"{one.name}: explanations", ("figure", "edits", "value"), told, notes=notes)


def _grounding(name: str, report: GroundingReport, problems: tuple[str, ...]) -> Grid:
    header = ("area", "edits", *(mean.name for mean in report.rows[0].figures))
    rows = tuple(
        (row.area, str(row.figures[0].count), *(_interval(mean) for mean in row.figures)) for row in report.rows
    )
    alarms = report.false_alarms
    told = f"{alarms.count} edits without a true region; regions found in {_interval(alarms)} of them"
    return Grid(f"{name}: grounding", header, rows, notes=((told,) if alarms.count else ()) + problems)


def _difference_grid(evaluation: Evaluation) -> Grid:
    first, second = (subject.name for subject in evaluation.subjects)
    header = ("dimension", "metric", "edits", "first", "second", "difference", "p", "p (Holm)", "significant")
    rows = tuple(_difference(row) for row in evaluation.differences)
    note = f"difference: {first} minus {second}, on the edits that both scored; paired bootstrap over photos"
    return Grid(f"{first} against {second}", header, rows, left=2, notes=(note,))


def _difference(row: Difference) -> tuple[str, ...]:
    gap = f"{_number(row.difference)} [{_number(row.low)}, {_number(row.high)}]"
    figures = (_number(row.first), _number(row.second), gap if row.reason is None else "-")
    verdict = "-" if row.reason is not None else "yes" if row.significant else "no"
    return (
        subset_title(row.subset),
        TITLES[row.metric],
        str(row.count),
        *figures,
        _number(row.p),
        _number(row.p_holm),
        verdict,
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _interval(figure: Figure | Mean, *, bare: bool = False) -> str:
    if bare or math.isnan(figure.low):
        return _number(figure.value)
    return f"{_number(figure.value)} [{_number(figure.low)}, {_number(figure.high)}]"


def _as_json(evaluation: Evaluation) -> Any:
    return finite(
        {
            "split": evaluation.split,
            "labels": evaluation.labels,
            "resamples": evaluation.how.resamples,
            "seed": evaluation.how.seed,
            "subjects": [{"name": one.name, **_counts(one.joined)} for one in evaluation.subjects],
            "refused": [{"id": one.id, **one.error.model_dump()} for one in evaluation.refused],
            "scores": [_row_fields(row) for row in evaluation.rows],
            "details": [asdict(one) for one in evaluation.details],
            "differences": [
                {**asdict(row), "subset": row.subset.name, "significant": row.significant}
                for row in evaluation.differences
            ],
        }
    )


def _counts(joined: Joined) -> dict[str, Any]:
    matched = joined.matched
    return {
        "matched": len(matched),
        "assessed": sum(case.assessment is not None for case in matched),
        "labels_without_record": list(joined.missing),
        "records_without_label": list(joined.strangers),
        "records_of_other_split": joined.elsewhere,
        "null_scores": {
            dimension.value: sum(case.assessment is not None and case.value(dimension) is None for case in matched)
            for dimension in RATING_FIELDS
        },
    }


def _row_fields(row: ScoreRow) -> dict[str, Any]:
    fields = {
        "system": row.system,
        "kind": row.kind,
        "subset": row.subset.name,
        "rated": row.rated,
        "scored": row.scored,
        "nulls": row.nulls,
        "failed": row.failed,
        "epsilon": row.epsilon,
    }
    return fields | {
        one.metric: {"value": one.value, "low": one.low, "high": one.high, "reason": one.reason} for one in row.figures
    }
