"""What a comparison needs of a file of records, read fast: scores, spreads, failures, and by what pairs are known.

A record is about 5 kB, most of it masks and sentences. Only the fields below become objects, which takes a tenth of
the time of reading whole records.
"""

from __future__ import annotations

import errno
import json
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from piqa_cli.errors import InputError
from piqa_cli.schema import Dimension, SchemaVersion
from piqa_cli.writers import cannot_read, not_a_record

_NAN = float("nan")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Score(_Part):
    value: float | None = Field(allow_inf_nan=False)
    spread: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class _Scores(_Part):
    overall: _Score
    prompt_completion: _Score
    harmony: _Score
    local_naturalness: _Score
    preservation: _Score


class _File(_Part):
    path: str


class _Files(_Part):
    source: _File
    prompt: str | None = None


class _Paths(_Part):
    source: str
    prompt: str | None = None


class _Model(_Part):
    name: str
    version: str
    weights_sha256: str
    precision: str | None = None
    adapter_sha256: str | None = None


class _Assessed(_Part):
    schema_version: SchemaVersion
    status: Literal["ok"]
    id: str
    key: str | None = None
    pair: _Files
    model: _Model
    scores: _Scores


class _Error(_Part):
    code: str


class _Failed(_Part):
    schema_version: SchemaVersion
    status: Literal["error"]
    id: str
    key: str | None = None
    pair: _Paths
    error: _Error


_LINE: TypeAdapter[_Assessed | _Failed] = TypeAdapter(Annotated[_Assessed | _Failed, Field(discriminator="status")])


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """The records of a file, a row each, in its order.

    Attributes:
        path: the file.
        rows: row of each id; of several records with one id the last counts.
        values: rows x dimensions, NaN where there is no score.
        spreads: likewise; 0 where none is known.
        codes: of each row: "" if it was assessed, else why not.
        sources: of each row, the path of the photo.
        prompts: of each row.
        keys: of each row; None where the record has none.
        judges: name, version, weights and precision of each model, and how many records are its.
        repeated: records that a later one of the same id took the place of.
    """

    path: str
    rows: dict[str, int]
    values: NDArray[np.float64]
    spreads: NDArray[np.float64]
    codes: list[str]
    sources: list[str]
    prompts: list[str | None]
    keys: list[str | None]
    judges: Counter[str]
    repeated: int

    @property
    def failed(self) -> int:
        """Pairs that could not be assessed."""
        return sum(self.codes[row] != "" for row in self.rows.values())


def read_records(path: str, on_warning: Callable[[str], None]) -> Records:
    """Reads a JSONL file that piqa wrote.

    Args:
        path: the file.
        on_warning: told in a sentence when the last line is torn, as a killed run leaves it; the line is skipped.

    Raises:
        InputError: it cannot be read, a whole line is not a record, or there is none in it (E_RESULTS).
    """
    reading = _Reading()
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    reading.add(_parse(line))
                except ValueError as error:
                    if line.endswith(b"\n"):
                        raise not_a_record(path, number, error) from error
                    on_warning(f"{path}: line {number} is torn and was skipped")
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise InputError("it is a folder", code="E_RESULTS", file=path, expected="a JSONL file") from error
        raise cannot_read(path, error) from error
    if not reading.rows:
        raise InputError(
            "there is no record in it", code="E_RESULTS", file=path, expected="a JSONL file that piqa wrote"
        )
    return reading.done(path)


class _Reading:
    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self._values, self._spreads = array("d"), array("d")
        self._codes: list[str] = []
        self._sources: list[str] = []
        self._prompts: list[str | None] = []
        self._keys: list[str | None] = []
        self._judges: dict[tuple[str, ...], int] = {}
        self._same: dict[str, str] = {}  # texts that come again and again are held once

    def add(self, record: _Assessed | _Failed) -> None:
        self.rows[record.id] = len(self._codes)
        self._keys.append(record.key)
        self._prompts.append(None if record.pair.prompt is None else self._once(record.pair.prompt))
        if isinstance(record, _Failed):
            self._values.extend([_NAN] * len(Dimension))
            self._spreads.extend([0.0] * len(Dimension))
            self._codes.append(self._once(record.error.code))
            self._sources.append(self._once(record.pair.source))
            return
        s = record.scores
        for score in (s.overall, s.prompt_completion, s.harmony, s.local_naturalness, s.preservation):
            self._values.append(_NAN if score.value is None else score.value)
            self._spreads.append(score.spread or 0.0)
        self._codes.append("")
        self._sources.append(self._once(record.pair.source.path))
        m = record.model
        judge = (m.name, m.version, m.weights_sha256, m.precision or "", m.adapter_sha256 or "")
        self._judges[judge] = self._judges.get(judge, 0) + 1

    def done(self, path: str) -> Records:
        shape = len(self._codes), len(Dimension)
        return Records(
            path=path,
            rows=self.rows,
            values=np.array(self._values, np.float64).reshape(shape),
            spreads=np.array(self._spreads, np.float64).reshape(shape),
            codes=self._codes,
            sources=self._sources,
            prompts=self._prompts,
            keys=self._keys,
            judges=Counter({_judge_words(judge): count for judge, count in self._judges.items()}),
            repeated=len(self._codes) - len(self.rows),
        )

    def _once(self, text: str) -> str:
        return self._same.setdefault(text, text)


def _judge_words(judge: tuple[str, ...]) -> str:
    name, version, weights, precision, adapter = judge
    words = f"{name} {version}, weights {weights[:12]}"
    words += f", {precision}" if precision else ""
    return words + (f", adapter {adapter[:12]}" if adapter else "")


def _parse(line: bytes) -> _Assessed | _Failed:
    """The record of a line.

    Raises:
        ValueError: it holds none.
    """
    try:
        return _LINE.validate_json(line)
    except ValidationError:
        # Paths that are not UTF-8, which only the standard library's reader lets through; or it is none, and this
        # says why.
        return _LINE.validate_python(_printable(json.loads(line)))


def _printable(value: object) -> object:
    r"""Texts with bytes that are not UTF-8 spelt out, as \udce9."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    return value
