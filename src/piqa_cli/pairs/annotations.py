"""What is known of an edit besides its mean ratings: where it is, its main fault, why, how far people differed.

One JSON object a line, each naming its edited image; all other keys are optional, and keys that are not named here
are passed over:

    {"edited_img_name": "1_red.png", "width": 640, "height": 480, "boxes": [[40, 60, 240, 220]],
     "mask": "masks/1_red.png", "fault": "seam", "explanation": "The colour does not fit the light of the scene.",
     "deviations": {"harmony": 0.7}}

`boxes` are half-open x0, y0, x1, y1 in pixels of the edited image after EXIF rotation; an empty list says that nothing
was edited. `mask` is the path of an image, white where edited, relative to this file; or a run-length mask as a result
record has it, {"size": [height, width], "counts": "..."}. `width` and `height` are those of the edited image. `origin`
says whether a person wrote the explanation ("written", the default) or `piqa dataset describe` made it ("template").
`deviations` are standard deviations of the ratings on their scales, by the names that dimensions have in a record.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from piqa_cli.errors import InputError
from piqa_cli.failures import refuse
from piqa_cli.pairs.epaiqa import match_key, twice
from piqa_cli.pairs.rows import MAX_LINE_BYTES, Line, read_lines
from piqa_cli.schema import Box, Dimension, Failure, Pair, RunLengthMask

_EXPECTED = "one JSON object a line with edited_img_name and optionally boxes, mask, fault, explanation, deviations"
_ORIGINS = ("written", "template")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One line. `boxes` is None where none are given; `mask` is a path, or the run-length mask itself.

    `size` is the (height, width) of the edited image, from the line or its run-length mask. `template`: no person wrote
    the explanation. `deviations`: (dimension, standard deviation of its ratings on its scale), in Dimension's order.
    """

    edited_name: str
    boxes: tuple[Box, ...] | None = None
    mask: str | RunLengthMask | None = None
    fault: str | None = None
    explanation: str | None = None
    size: tuple[int, int] | None = None
    template: bool = False
    deviations: tuple[tuple[Dimension, float], ...] = ()

    @property
    def fault_kind(self) -> str | None:
        """The fault as records spell their kinds: `texture_loss` for "Texture loss"."""
        return None if self.fault is None else self.fault.strip().lower().replace(" ", "_")

    def deviation(self, dimension: Dimension) -> float | None:
        """How far the ratings of one dimension differ, None where that is not known."""
        return dict(self.deviations).get(dimension)


def read_annotations(path: str) -> Iterator[Annotation | Failure]:
    """The lines of an annotation file, in order; a line that cannot be used is a failure and does not stop the others.

    Raises:
        InputError: the file cannot be read (E_NOT_FOUND, E_LABELS), or is UTF-16 (E_LABELS).
    """
    folder = os.path.dirname(path)
    try:
        with open(path, "rb") as file:
            for line in read_lines(file, partial(_refused, path, "E_LABELS")):
                if line.text is None or line.text.strip():
                    yield _annotation(line, path, folder)
    except OSError as error:
        code = "E_NOT_FOUND" if isinstance(error, FileNotFoundError) else "E_LABELS"
        found = (error.strerror or type(error).__name__).lower()
        raise _refused(path, code, found, "check the path") from error


def by_edited_image(annotations: Iterable[Annotation]) -> dict[str, Annotation]:
    """Annotations by the `match_key` of their edited image, in order.

    Raises:
        InputError: two name one image (E_DUPLICATE).
    """
    kept: dict[str, Annotation] = {}
    for one in annotations:
        if kept.setdefault(match_key(one.edited_name), one) is not one:
            message = "two annotations name one edited image"
            raise twice(message, one.edited_name, "each edited image annotated once")
    return kept


def annotation_line(annotation: Annotation, folder: str) -> str:
    """An annotation as a line of a file in `folder`, plain ASCII, with its line end; a mask's path as seen there."""
    mask = annotation.mask
    if isinstance(mask, str):
        mask = os.path.relpath(mask, folder or ".")
    height, width = annotation.size or (None, None)
    fields = {
        "edited_img_name": annotation.edited_name,
        "width": width,
        "height": height,
        "boxes": annotation.boxes,
        "mask": mask.model_dump() if isinstance(mask, RunLengthMask) else mask,
        "fault": annotation.fault,
        "explanation": annotation.explanation,
        "origin": _ORIGINS[annotation.template] if annotation.explanation is not None else None,
        "deviations": {dimension.value: value for dimension, value in annotation.deviations} or None,
    }
    return json.dumps({key: value for key, value in fields.items() if value is not None}) + "\n"


def _refused(path: str, code: str, found: str, hint: str) -> InputError:
    message = "the annotation file cannot be read"
    return InputError(message, code=code, file=path, expected=_EXPECTED, found=found, hint=hint)


def _annotation(line: Line, path: str, folder: str) -> Annotation | Failure:
    try:
        row = _object(line)
        name = _text(row, "edited_img_name")
        if name is None or "\0" in name:
            raise ValueError("edited_img_name: expected a file name")
        boxes, mask = _boxes(row), _mask(row, folder)
        return Annotation(
            name, boxes, mask, _text(row, "fault"), _text(row, "explanation"), _size(row, boxes, mask),
            _is_template(row), _deviations(row),
        )  # fmt: skip
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


def _boxes(row: dict[str, Any]) -> tuple[Box, ...] | None:
    value = row.get("boxes")
    if value is None:
        return None
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
        mask = RunLengthMask.model_validate(value)
        if min(mask.size) < 1:
            raise ValueError(f"mask: expected a size of whole pixels, found {list(mask.size)}")
        return mask
    path = _text(row, "mask")
    if path is not None and "\0" in path:
        raise ValueError("mask: expected the path of an image")
    return None if path is None else os.path.join(folder, path)


def _size(
    row: dict[str, Any], boxes: tuple[Box, ...] | None, mask: str | RunLengthMask | None
) -> tuple[int, int] | None:
    """The (height, width) of the edited image, None where it is not told."""
    height, width = row.get("height"), row.get("width")
    size = mask.size if isinstance(mask, RunLengthMask) else None
    if height is not None or width is not None:
        if not all(type(side) is int and side > 0 for side in (height, width)):
            raise ValueError(f"width and height: expected whole pixels, found {json.dumps([width, height])[:40]}")
        told = (int(height or 0), int(width or 0))
        if size not in {None, told}:
            raise ValueError(f"width and height: expected those of the mask, {size}, height first; found {told}")
        size = told
    for box in boxes or ():
        if size is not None and (box[2] > size[1] or box[3] > size[0]):
            raise ValueError(f"boxes: expected them within {size[1]} x {size[0]} pixels, found {list(box)}")
    return size


def _is_template(row: dict[str, Any]) -> bool:
    origin = row.get("origin") or _ORIGINS[0]
    if origin not in _ORIGINS:
        raise ValueError(f"origin: expected one of {', '.join(_ORIGINS)}, found {json.dumps(origin)[:40]}")
    return bool(origin == _ORIGINS[1])


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
