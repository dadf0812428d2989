"""Boxes, defects and explanations of edits: JSON lines, one `Annotation` an edited image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from piqa_cli.errors import InputError
from piqa_cli.pairs.epaiqa import match_key
from piqa_cli.schema import Box, PathText, Record

Side = Annotated[int, Field(ge=1)]


class Annotation(Record):
    """What people marked and wrote on one edited image."""

    edited: PathText = Field(min_length=1, description="The edited image's file name, as in the label file.")
    width: Side | None = Field(default=None, description="Of the edited image in pixels; needed with boxes.")
    height: Side | None = Field(default=None, description="Of the edited image in pixels; needed with boxes.")
    boxes: tuple[Box, ...] = Field(
        default=(), description="Edited parts, half-open x0, y0, x1, y1 in pixels of the edited image."
    )
    defects: tuple[PathText, ...] = Field(default=(), description="Visible defects in a few words each.")
    explanation: PathText | None = Field(default=None, description="Why the edit is as good as it is, in sentences.")
    origin: Literal["written", "template"] = Field(
        default="written", description="Whether a person wrote the explanation or `piqa dataset describe` made it."
    )

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the edited image, None where it is not told."""
        return None if self.width is None or self.height is None else (self.height, self.width)

    @model_validator(mode="after")
    def _boxes_lie_inside(self) -> Self:
        if self.boxes and self.size is None:
            raise ValueError("boxes need width and height")
        height, width = self.size or (0, 0)
        for x0, y0, x1, y1 in self.boxes:
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
                raise ValueError(f"box {[x0, y0, x1, y1]} is empty or not within {width} x {height}")
        return self


def parse_annotations(path: str) -> list[Annotation | InputError]:
    """Every line that is not empty: what it says, or why it cannot be used (E_LABELS, E_DUPLICATE).

    Raises:
        InputError: the file cannot be read.
    """
    expected = "JSON lines: one object an edited image, in UTF-8"
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [(number, line) for number, line in enumerate(file, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        found = "text that is not UTF-8" if isinstance(error, UnicodeDecodeError) else (error.strerror or "").lower()
        code = "E_NOT_FOUND" if isinstance(error, FileNotFoundError) else "E_LABELS"
        message = "the annotations cannot be read"
        raise InputError(
            message, code=code, file=path, expected=expected, found=found, hint="check the path"
        ) from error
    seen = dict[str, int]()
    return [_annotation(line, number, path, seen) for number, line in lines]


def read_annotations(path: str) -> list[Annotation]:
    """All lines.

    Raises:
        InputError: the file cannot be read, or the first line that cannot be used.
    """
    read: list[Annotation] = []
    for item in parse_annotations(path):
        if isinstance(item, InputError):
            raise item
        read.append(item)
    return read


def annotations_text(annotations: Iterable[Annotation]) -> str:
    """As JSON lines, plain ASCII."""
    return "".join(json.dumps(one.model_dump(exclude_defaults=True)) + "\n" for one in annotations)


def annotation_key(edited: str) -> str:
    """By what an annotation and a label row find each other: the file's name, without folders."""
    return os.path.basename(match_key(edited))


def _annotation(line: str, number: int, path: str, seen: dict[str, int]) -> Annotation | InputError:
    try:
        annotation = Annotation.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return _line_error(path, number, f"{where}: {first['msg']}" if where else first["msg"])
    except (ValueError, RecursionError) as error:
        return _line_error(path, number, f"not JSON: {error}")
    earlier = seen.setdefault(annotation_key(annotation.edited), number)
    if earlier != number:
        return _line_error(path, number, f"{annotation.edited!r} again, as on line {earlier}", code="E_DUPLICATE")
    return annotation


def _line_error(path: str, number: int, found: str, *, code: str = "E_LABELS") -> InputError:
    return InputError(
        f"line {number} of the annotations cannot be used",
        code=code,
        file=path,
        expected="one annotation an edited image",
        found=found,
        hint="docs/dataset.md has the fields",
    )
