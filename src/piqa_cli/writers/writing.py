"""Outcomes out: one writer per format, and the reader of what the JSONL writer wrote.

A finished row is in the file at once. When the disk fills up, or an interrupt comes in the middle of a
row, the torn row is taken back, so that what stands in the file stays valid; a JSON array in a file is
closed after every element for the same reason.
"""

from __future__ import annotations

import errno
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, Literal, Self, get_args

from pydantic import Field, TypeAdapter, ValidationError

from piqa_cli.errors import InputError
from piqa_cli.schema import Outcome, SchemaVersion
from piqa_cli.writers.columns import csv_header, csv_row
from piqa_cli.writers.sink import Sink, Stream

if TYPE_CHECKING:
    from rich.console import RenderableType

Format = Literal["table", "json", "jsonl", "csv"]
FORMATS: Final[tuple[Format, ...]] = ("table", "json", "jsonl", "csv")

MAX_RECORD_BYTES: Final = 1 << 26
"""Of a line of JSONL. A mask as ragged as noise, at the size of the largest picture, takes 5 MB."""
_PADDING = re.compile(" +\n")
_OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Annotated[Outcome, Field(discriminator="status")])


class Writer(ABC):
    """Takes outcomes one by one. A context manager; leaving it calls `close`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    @abstractmethod
    def write(self, outcome: Outcome) -> None:
        """Write one outcome, whole, and flush it.

        Raises:
            OutputError: it cannot be written; the rows before it are intact.
            BrokenPipeError: the reader went away.
        """

    def close(self) -> None:
        """Finish the output, also after an error or an interrupt. A second call does nothing.

        Raises:
            OutputError, BrokenPipeError: as `write`.
        """
        self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _ObjectWriter(Writer):
    """JSON of a single pair: one object."""

    def write(self, outcome: Outcome) -> None:
        self._sink.write(to_json(outcome, indent=2) + "\n")


class _ArrayWriter(Writer):
    """JSON of a batch: an array, element by element."""

    _END = "\n]\n"

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        sink.write("[", tail="]\n")
        self._separator = "\n"

    def write(self, outcome: Outcome) -> None:
        self._sink.write(self._separator + to_json(outcome), tail=self._END)
        self._separator = ",\n"


class _LinesWriter(Writer):
    """JSONL: one record a line."""

    def write(self, outcome: Outcome) -> None:
        self._sink.write(to_json(outcome) + "\n")


class _CsvWriter(Writer):
    """CSV with a header."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        sink.write(csv_header())

    def write(self, outcome: Outcome) -> None:
        self._sink.write(csv_row(outcome))


class _TableWriter(Writer):
    """For people: the detailed view of a single pair, or one line per pair under a heading."""

    def __init__(self, sink: Sink, single: bool, width: int | None) -> None:
        from piqa_cli.writers import terminal  # with Rich: only a table needs it

        super().__init__(sink)
        self._console, self._encoding = terminal.open_console(sink.stream, width)
        self._render = terminal.details if single else terminal.row
        if not single:
            self._print(terminal.heading(self._console))

    def write(self, outcome: Outcome) -> None:
        self._print(self._render(outcome, self._console))

    def _print(self, renderable: RenderableType) -> None:
        with self._console.capture() as capture:  # Rich must not write: errors and encoding are the sink's
            self._console.print(renderable)
        text = _PADDING.sub("\n", capture.get())
        self._sink.write(text, encoding=self._encoding)


def open_writer(
    output_format: Format, target: str | Stream, *, single: bool = False, width: int | None = None
) -> Writer:
    """The writer of a format.

    Args:
        output_format: one of `FORMATS`.
        target: a path, created or overwritten and closed with the writer; or an open stream (text or
            binary), left open. Rows go below the stream's buffers, so nothing else may be pending in them.
        single: exactly one outcome is coming: JSON is one object instead of an array, the table is the
            detailed view.
        width: columns of the table; the terminal's by default.

    Raises:
        OutputError: the path cannot be opened.
    """
    sink = Sink(target)
    match output_format:
        case "table":
            return _TableWriter(sink, single, width)
        case "json":
            return _ObjectWriter(sink) if single else _ArrayWriter(sink)
        case "jsonl":
            return _LinesWriter(sink)
        case "csv":
            return _CsvWriter(sink)


def to_json(outcome: Outcome, *, indent: int | None = None) -> str:
    """The record as JSON, pure ASCII. Numbers that are not finite become null.

    By the standard library: pydantic's own writer refuses paths that are not UTF-8.
    """
    return json.dumps(finite(outcome.model_dump()), indent=indent, allow_nan=False)


def read_results(path: str, *, on_warning: Callable[[str], None] | None = None) -> Iterator[Outcome]:
    """The outcomes of a JSONL file, in its order.

    Args:
        path: the file.
        on_warning: told in a sentence when the last line is torn, as a killed run leaves it; the line is skipped.

    Raises:
        InputError: the file cannot be read, or a whole line is not an outcome of a schema version that is known.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(record_lines(file, path), start=1):
                if not line.strip():
                    continue
                try:
                    yield parse_record(line)
                except ValueError as error:
                    if line.endswith(b"\n"):
                        raise not_a_record(path, number, error) from error
                    if on_warning:
                        on_warning(f"{path}: line {number} is torn and was skipped")
    except OSError as error:
        raise cannot_read(path, error) from error


def record_lines(file: BinaryIO, path: str) -> Iterator[bytes]:
    """The lines of a file of records, with their ends.

    Raises:
        InputError: a line is longer than any record (E_RESULTS): this is another file, or none.
    """
    number = 0
    while line := file.readline(MAX_RECORD_BYTES):
        number += 1
        if len(line) == MAX_RECORD_BYTES and not line.endswith(b"\n"):
            raise not_a_record(path, number, ValueError(f"a line of more than {MAX_RECORD_BYTES} bytes"))
        yield line


def parse_record(line: bytes) -> Outcome:
    """The outcome that a line of JSONL holds.

    Raises:
        ValueError: it holds none; JSONDecodeError, UnicodeDecodeError or ValidationError.
    """
    try:
        return _OUTCOME.validate_python(json.loads(line))
    except RecursionError as error:
        raise ValueError("brackets within brackets, deeper than any record") from error


def cannot_read(path: str, error: OSError) -> InputError:
    """Why a file of results cannot be read."""
    return InputError(
        f"cannot read results: {error.strerror}",
        code="E_NOT_FOUND" if error.errno == errno.ENOENT else "E_RESULTS",
        file=path,
        expected="a JSONL file that piqa wrote",
        found=error.strerror,
    )


def not_a_record(path: str, number: int, error: ValueError) -> InputError:
    """Why a line, counted from 1, is refused; `error` is what `parse_record` raised."""
    found = str(error).splitlines()[0]
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return InputError(
        f"line {number} is not a piqa result",
        code="E_RESULTS",
        file=path,
        expected=f"one JSON record of schema version {' or '.join(get_args(SchemaVersion))} per line",
        found=found,
        hint="give a file written with --format jsonl by this version of piqa",
    )


def finite(value: object) -> object:
    """Numbers that JSON has no word for (NaN, infinity) as None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
