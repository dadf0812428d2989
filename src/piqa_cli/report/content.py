"""What the page says of each pair, as JSON: the record's words and numbers, and which pictures show it.

All text is spelt out where it has characters that cannot be seen or that turn the direction of writing; the page
sets it as text only, never as markup.
"""

from __future__ import annotations

import json
from typing import Any

from piqa_cli.overlay import COLOURS, HEAT_COLOURS, KINDS
from piqa_cli.regions import place
from piqa_cli.report.pictures import Preview
from piqa_cli.schema import SCALES, Assessment, CrossCheck, Dimension, Failure, ImageInfo, ModelInfo, Outcome, Score
from piqa_cli.writers.terminal import visible
from piqa_cli.writers.writing import finite

# A data block ends at "</script", and "<!--" changes how it is read; JSON may spell these out anywhere.
_ESCAPES = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


def to_block(value: object) -> str:
    """JSON that can stand in a `<script>` element: ASCII, without <, > and &; null for what is not finite."""
    text = json.dumps(finite(value), allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def legend() -> str:
    """What all rows share, as JSON for `to_block`'s place: dimensions and scales, words for kinds, colours."""
    dimensions = [
        {"key": dimension.value, "name": _words(dimension), "low": scale.low, "high": scale.high}
        for dimension, scale in SCALES.items()
    ]
    return to_block(
        {
            "dimensions": dimensions,
            "kinds": {kind.value: words for kind, words in KINDS.items()},
            "colours": [_css(colour) for colour in COLOURS],
            "heat": HEAT_COLOURS,
        }
    )


def row(outcome: Outcome, preview: Preview, source: int | None, edited: int | None) -> str:
    """One pair as JSON.

    Args:
        outcome: the record.
        preview: what is shown of it.
        source: place of its picture in the page's list; None where there is none.
        edited: the same.
    """
    told = _of_failure(outcome) if isinstance(outcome, Failure) else _of_assessment(outcome, preview)
    shown = {
        "frame": preview.frame,
        "pictures": [source, edited],
        "registered": preview.registered,
        "missing": [visible(text) for text in preview.missing],
    }
    return to_block(_without_empty(told | shown))


def model_words(model: ModelInfo) -> str:
    """Who judged, in a line."""
    words = [f"{visible(model.name)} {visible(model.version)}", f"weights {visible(model.weights_sha256[:12])}"]
    words += [model.precision] if model.precision else []
    words += [f"adapter {visible(model.adapter)}"] if model.adapter else []
    return ", ".join(words)


def _of_failure(failure: Failure) -> dict[str, Any]:
    pair, error = failure.pair, failure.error
    return {
        "id": visible(failure.id),
        "source": visible(pair.source),
        "edited": visible(pair.edited),
        "mask": _seen(pair.mask),
        "prompt": _seen(pair.prompt),
        "error": _without_empty(
            {name: _seen(getattr(error, name)) for name in ("code", "message", "file", "expected", "found", "hint")}
        ),
    }


def _of_assessment(assessment: Assessment, preview: Preview) -> dict[str, Any]:
    pair, edit, alignment = assessment.pair, assessment.edit, assessment.alignment
    size = pair.edited.height, pair.edited.width
    regions = [
        {
            "box": region.box,
            "area": round(region.area_fraction, 5),
            "confidence": round(region.confidence, 3),
            "place": place(region.box, size),
            "outline": outline,
        }
        for region, outline in zip(assessment.regions, preview.outlines, strict=True)
    ]
    heat = assessment.artefacts
    return {
        "id": visible(assessment.id),
        "source": visible(pair.source.path),
        "edited": visible(pair.edited.path),
        "mask": _seen(pair.mask.path if pair.mask else None),
        "prompt": _seen(pair.prompt),
        "sourceIs": _file_words(pair.source),
        "editedIs": _file_words(pair.edited),
        "size": (pair.edited.width, pair.edited.height),
        "kind": edit.kind.value,
        "probability": round(edit.probability, 4),
        "area": round(edit.area_fraction, 5),
        "identical": edit.identical,
        "alignment": alignment.method,
        "shift": round(alignment.shift_pixels, 2),
        "scores": [_score(assessment.scores.of(dimension)) for dimension in SCALES],
        "fusion": visible(assessment.fusion),
        "findings": [
            {
                "kind": visible(finding.kind),
                "severity": finding.severity,
                "box": finding.box,
                "value": f"{finding.value:.3g} {visible(finding.unit)}",
                "text": visible(finding.text),
            }
            for finding in assessment.findings
        ],
        "faults": [[visible(fault.kind), round(fault.severity, 3), fault.level] for fault in assessment.faults],
        "heat": None if heat is None else {"box": heat.box, "size": heat.size, "values": heat.values},
        "regions": regions,
        "check": None if assessment.cross_check is None else _check(assessment.cross_check),
        "explanation": _seen(assessment.explanation),
        "warnings": [visible(warning) for warning in assessment.warnings],
        "seconds": round(assessment.seconds, 3),
        "model": model_words(assessment.model),
    }


def _score(score: Score) -> dict[str, Any]:
    return _without_empty(
        {
            "value": None if score.value is None else round(score.value, 3),
            "spread": None if score.spread is None else round(score.spread, 3),
            "level": score.level,
            "reason": _seen(score.reason),
            "code": _seen(score.code),
            "distribution": score.distribution and [round(share, 4) for share in score.distribution],
            "offScale": score.reliability and round(score.reliability.off_scale, 4),
        }
    )


def _check(check: CrossCheck) -> dict[str, Any]:
    return {
        "model": model_words(check.model),
        "kind": check.kind.value,
        "scores": [_score(check.scores.of(dimension)) for dimension in SCALES],
        "disagreements": [dimension in check.disagreements for dimension in SCALES],
    }


def _file_words(info: ImageInfo) -> str:
    return ", ".join((f"{info.width} x {info.height}", visible(info.format), *map(visible, info.notes)))


def _seen(text: str | None) -> str | None:
    return None if text is None else visible(text)


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is null or empty: the page takes what is not there for that."""
    return {name: value for name, value in values.items() if value not in (None, [], "")}


def _words(dimension: Dimension) -> str:
    return dimension.value.replace("_", " ")


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
