"""What is known of an edit besides its mean ratings: where it is, its main fault, why, how far people differed.

One JSON object a line, each naming its edited image; all other keys are optional, and keys that are not named here
are passed over:

    {"edited_img_name": "1_red.png", "boxes": [[40, 60, 240, 220]], "mask": "masks/1_red.png",
     "fault": "seam", "explanation": "The colour does not fit the light of the scene.",
     "deviations": {"harmony": 0.7}}

`boxes` are half-open x0, y0, x1, y1 in pixels of the edited image after EXIF rotation; an empty list says that nothing
was edited. `mask` is the path of an image, white where edited, relative to this file; or a run-length mask as a result
record has it, {"size": [height, width], "counts": "..."}. `deviations` are standard deviations of the ratings on their
scales, by the names that dimensions have in a record.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from piqa_cli.errors import InputError
from piqa_cli.failures import refuse
from piqa_cli.pairs.names import Names, check_once
from piqa_cli.pairs.rows import MAX_LINE_BYTES, Line, read_lines
from piqa_cli.schema import Box, Dimension, Failure, Pair, RunLengthMask

_EXPECTED = "one JSON object a line with edited_img_name and optionally boxes, mask, fault, explanation, deviations"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One line. `boxes` is None where none are given; `mask` is a path, or the run-length mask itself.

    `deviations`: (dimension, standard deviation of its ratings on its scale), in the order of Dimension.
    """

    edited_name: str
    boxes: tuple[Box, ...] | None = None
    mask: str | RunLengthMask | None = None
    fault: str | None = None
    explanation: str | None = None
    deviations: tuple[tuple[Dimension, float], ...] = ()

    def deviation(self, dimension: Dimension) -> float | None:
        """How far the ratings of one dimension differ, None where that is not known."""
        return dict(self.deviations).get(dimension)


def read_annotations(path: str) -> Iterator[Annotation | Failure]:
    """The lines of an annotation file, in order; a line that cannot be used is a failure and does not stop the others.

    Raises:
        InputError: the file cannot be read (E_NOT_FOUND, E_LABELS), or is UTF-16 (E_MANIFEST).
    """
    folder = os.path.dirname(path)
    try:
        with open(path, "rb") as file:
            for line in read_lines(file, path):
                if line.text is None or line.text.strip():
                    yield _annotation(line, path, folder)
    except OSError as error:
        raise InputError(
            "the annotation file cannot be read",
            code="E_NOT_FOUND" if isinstance(error, FileNotFoundError) else "E_LABELS",
            file=path,
            expected=_EXPECTED,
            found=(error.strerror or type(error).__name__).lower(),
            hint="check the path",
        ) from error


def by_name(annotations: Iterable[Annotation]) -> Names[Annotation]:
    """Annotations by the edited images that they name.

    Raises:
        InputError: two name one image (E_DUPLICATE).
    """
    named = [(annotation.edited_name, annotation) for annotation in annotations]
    check_once((name for name, _ in named), "two annotations name one edited image", "each edited image annotated once")
    return Names(named)


def _annotation(line: Line, path: str, folder: str) -> Annotation | Failure:
    try:
        row = _object(line)
        name = _text(row, "edited_img_name")
        if name is None or "\0" in name:
            raise ValueError("edited_img_name: expected a file name")
        boxes = None if row.get("boxes") is None else _boxes(row["boxes"])
        fault, explanation = _text(row, "fault"), _text(row, "explanation")
        return Annotation(name, boxes, _mask(row, folder), fault, explanation, _deviations(row))
    except (ValueError, RecursionError) as error:  # pydantic's and json's errors are ValueErrors too
        wrong = InputError(
            f"line {line.number} of the annotation file cannot be used",
            code="E_LABELS",
            file=path,
            expected=_EXPECTED,
            found=str(error).splitlines()[0],
            hint="correct or remove the line",
        )
        return refuse(Pair(id=f"line {line.number}", source="", edited=""), wrong)


def _object(line: Line) -> dict[str, Any]:
    if line.text is None:
        raise ValueError(f"a line longer than {MAX_LINE_BYTES} bytes")
    row = json.loads(line.text)
    if not isinstance(row, dict):
        raise ValueError(f"a JSON {type(row).__name__}")
    return row


def _text(row: dict[str, Any], key: str) -> str | None:
    """The text of a key; None where it is absent, null or blank."""
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key}: expected text, found {json.dumps(value)[:40]}")
    return value if value and value.strip() else None


def _boxes(value: object) -> tuple[Box, ...]:
    if not isinstance(value, list):
        raise ValueError(f"boxes: expected a list of [x0, y0, x1, y1], found {json.dumps(value)[:40]}")
    return tuple(_box(item) for item in value)


def _box(value: object) -> Box:
    whole = isinstance(value, list) and len(value) == 4 and all(type(one) is int and one >= 0 for one in value)
    if isinstance(value, list) and whole and value[0] < value[2] and value[1] < value[3]:
        return value[0], value[1], value[2], value[3]
    raise ValueError(f"boxes: expected whole pixels [x0, y0, x1, y1], x0 < x1, y0 < y1; found {json.dumps(value)[:60]}")


def _mask(row: dict[str, Any], folder: str) -> str | RunLengthMask | None:
    value = row.get("mask")
    if isinstance(value, dict):
        return RunLengthMask.model_validate(value)
    path = _text(row, "mask")
    if path is not None and "\0" in path:
        raise ValueError("mask: expected the path of an image")
    return None if path is None else os.path.join(folder, path)


def _deviations(row: dict[str, Any]) -> tuple[tuple[Dimension, float], ...]:
    value = row.get("deviations")
    known = {dimension.value for dimension in Dimension}
    if value is None:
        return ()
    if not isinstance(value, dict) or not value.keys() <= known:
        raise ValueError(f"deviations: expected an object with some of {', '.join(sorted(known))}")
    for name, one in value.items():
        if type(one) not in {int, float} or not (math.isfinite(one) and one >= 0):
            raise ValueError(f"deviations: expected a number from 0 as {name}, found {json.dumps(one)[:40]}")
    return tuple((dimension, float(value[dimension.value])) for dimension in Dimension if dimension.value in value)
