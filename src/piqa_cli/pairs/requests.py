"""Requests: one JSON object a line, each a pair and what its sender asks for, from a stream that may never end.

Whatever a line holds, it becomes a request or a `Failure`, and the next line is read as if nothing had been. Nothing is
remembered from one line to the next, so memory does not grow: an id may come again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic import Field, StrictBool, StrictInt, ValidationError

from piqa_cli.errors import InputError
from piqa_cli.failures import refuse
from piqa_cli.pairs.rows import MAX_LINE_BYTES, Line, read_lines
from piqa_cli.schema import Failure, Pair

EXPECTED = "one JSON object a line with id, source and edited, and optionally prompt, mask, explain, frame, invert_mask"
_PATHS = ("source", "edited", "mask")


class Request(Pair):
    """A pair, and what is asked for in place of the run's own settings; None leaves them as they are."""

    explain: StrictBool | None = None
    frame: StrictInt | None = Field(default=None, ge=0)
    invert_mask: StrictBool | None = None

    def pair(self) -> Pair:
        """The pair alone."""
        return Pair(**{name: getattr(self, name) for name in Pair.model_fields})


def read_requests(stream: BinaryIO, folder: str | None = None) -> Iterator[Request | Failure]:
    """The requests of a stream, each as soon as its line is there; blank lines are passed over.

    Args:
        stream: standard input.
        folder: what relative paths refer to; the current folder by default.
    """
    for line in read_lines(stream):
        if line.text is None or line.text.strip():
            yield _request(line, folder or "")


def _request(line: Line, folder: str) -> Request | Failure:
    fields: dict[str, Any] = {}
    try:
        fields = _fields(line)
        for name in fields:
            if name not in Request.model_fields:
                hint = "leave it out, or correct its name"
                raise _error(line, "E_REQUEST_FIELD", f"an unknown field {name[:80]!r}", hint)
        request = Request.model_validate(fields)
    except InputError as error:
        return refuse(_named(fields, line), error)
    except ValidationError as error:
        return refuse(_named(fields, line), _wrong_field(line, error))
    paths = {name: _path(getattr(request, name), folder) for name in _PATHS}
    return request.model_copy(update=paths)


def _fields(line: Line) -> dict[str, Any]:
    """The fields of a line, a whole number as id as text, those of blank text left out.

    Raises:
        InputError: E_REQUEST_LENGTH or E_REQUEST_JSON; E_REQUEST_FIELD for one that is given twice.
    """
    if line.text is None:
        found = f"a line longer than {MAX_LINE_BYTES} bytes"
        raise _error(line, "E_REQUEST_LENGTH", found, "give images by their paths, not their bytes")
    try:
        fields = json.loads(line.text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise _error(line, "E_REQUEST_FIELD", f"{error} twice", "give each field once") from error
    except (ValueError, RecursionError) as error:
        raise _error(line, "E_REQUEST_JSON", f"not JSON: {error}", "one JSON object a line") from error
    if not isinstance(fields, dict):
        raise _error(line, "E_REQUEST_JSON", f"a JSON {type(fields).__name__}", "one JSON object a line")
    if type(fields.get("id")) is int:
        fields["id"] = str(fields["id"])
    texts = {name for name, value in fields.items() if isinstance(value, str) and name in Pair.model_fields}
    return {name: value for name, value in fields.items() if name not in texts or value.strip()}


class _TwiceError(ValueError):
    """A name that an object has twice; of its values the last would count, and nobody would be told."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return fields


def _path(path: str | None, folder: str) -> str | None:
    if path is None:
        return None
    path = os.path.join(folder, path)
    return "./-" if path == "-" else path  # a file of that name: standard input brings requests


def _named(fields: dict[str, Any], line: Line) -> Pair:
    """Whose failure it is, as far as that can be told."""
    told = {name: value for name, value in fields.items() if name in Pair.model_fields and isinstance(value, str)}
    return Pair(**({"id": f"line {line.number}", "source": "", "edited": ""} | told))


def _wrong_field(line: Line, error: ValidationError) -> InputError:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return _error(line, "E_REQUEST_FIELD", f"no {name}", f"give {name}")
    reason = first["msg"].removeprefix("Value error, ")
    return _error(line, "E_REQUEST_FIELD", f"{name}: {reason}", f"correct {name}")


def _error(line: Line, code: str, found: str, hint: str) -> InputError:
    return InputError(
        f"line {line.number} is not a request",
        code=code,
        file="standard input",
        expected=EXPECTED,
        found=found,
        hint=hint,
    )
