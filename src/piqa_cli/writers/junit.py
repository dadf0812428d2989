"""JUnit XML, the form in which Jenkins, GitLab and GitHub's actions read test results: one test case a pair.

There is no standard; the elements and their order are those that these readers share (testsuites, testsuite, its
properties, then test cases, each with properties before an error or a failure).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast
from xml.sax.saxutils import escape, quoteattr

from piqa_cli.schema import Assessment, Dimension, Failure, Outcome
from piqa_cli.writers.replacing import replacement

SUITE = "piqa"
# XML 1.0, section 2.2: what a document may hold; anything else has no way to be written in it, not even as a reference.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IN_MEMORY = 1 << 22  # bytes of test cases; more go to a temporary file


class Bound(Protocol):
    """The least value of a dimension that passes."""

    @property
    def dimension(self) -> str:
        """As in the records."""

    @property
    def minimum(self) -> float:
        """Inclusive."""


class JUnitWriter:
    """Collects outcomes and writes them with `save`. A context manager; leaving it without `save` writes nothing.

    Args:
        path: of the file.
        bounds: a score below one, or a null, is a failure of its pair; a pair that could not be assessed is an error.
    """

    def __init__(self, path: str, bounds: Sequence[Bound] = ()) -> None:
        self.path = path
        self._bounds = bounds
        self._body = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - closed by __exit__
        self._tests = self._failures = self._errors = 0
        self._seconds = 0.0
        self._models: dict[str, None] = {}
        self._started = datetime.now(UTC)

    def add(self, outcome: Outcome) -> None:
        """Takes the next outcome."""
        self._tests += 1
        if isinstance(outcome, Assessment):
            self._seconds += outcome.seconds
            self._models[f"{outcome.model.name} {outcome.model.version}"] = None
            missed = [text for bound in self._bounds if (text := _missed(bound, outcome)) is not None]
            self._failures += bool(missed)
            text = _assessed(outcome, missed)
        else:
            self._errors += 1
            text = _failed(outcome)
        self._body.write(text.encode())

    def save(self) -> None:
        """Writes the file; one that is there is replaced when all of it is written.

        Raises:
            OutputError: it cannot be written.
        """
        counts = f'tests="{self._tests}" failures="{self._failures}" errors="{self._errors}" time="{self._seconds:.3f}"'
        properties = [("model", name) for name in self._models]
        properties += [("gate", f"{bound.dimension} >= {bound.minimum:g}") for bound in self._bounds]
        head = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<testsuites name="{SUITE}" {counts}>\n'
            f'<testsuite name="{SUITE}" {counts} skipped="0" timestamp="{self._started:%Y-%m-%dT%H:%M:%S}">\n'
            + _properties(properties)
        )
        with replacement(self.path) as file:
            file.write(head.encode())
            self._body.seek(0)
            shutil.copyfileobj(self._body, file)
            file.write(b"</testsuite>\n</testsuites>\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._body.close()


def _missed(bound: Bound, outcome: Assessment) -> str | None:
    """What is wrong with the score, None if it passes."""
    score = outcome.scores.of(Dimension(bound.dimension))
    if score.value is None:
        return f"{bound.dimension} has no score ({score.reason}), expected at least {bound.minimum:g}"
    if score.value < bound.minimum:
        return f"{bound.dimension} is {score.value:.2f}, expected at least {bound.minimum:g}"
    return None


def _assessed(outcome: Assessment, missed: list[str]) -> str:
    text = _properties(list(_told(outcome)))
    if missed:
        body = "\n".join([*missed, *([outcome.explanation] if outcome.explanation else [])])
        text += f'<failure type="gate" message={_quoted("; ".join(missed))}>{_legal(escape(body))}</failure>\n'
    return _case(outcome.id, outcome.pair.edited.path, outcome.seconds, text)


def _failed(outcome: Failure) -> str:
    error = outcome.error
    lines = [
        f"{label}: {value}"
        for label, value in (("file", error.file), ("expected", error.expected), ("found", error.found))
        if value is not None
    ]
    lines += [f"hint: {error.hint}"] if error.hint else []
    text = f"<error type={_quoted(error.code)} message={_quoted(error.message)}>{_legal(escape(chr(10).join(lines)))}"
    return _case(outcome.id, outcome.pair.edited, 0.0, text + "</error>\n")


def _case(name: str, file: str, seconds: float, inner: str) -> str:
    place = f" file={_quoted(file)}" if file not in {"", "-"} else ""
    return f'<testcase classname="{SUITE}" name={_quoted(name)}{place} time="{seconds:.3f}">\n{inner}</testcase>\n'


def _told(outcome: Assessment) -> Iterator[tuple[str, str]]:
    """What a test case's properties say: the kind of change and the scores with their spreads."""
    yield "kind", outcome.edit.kind.value
    yield "area_fraction", f"{outcome.edit.area_fraction:.4f}"
    for dimension in Dimension:
        score = outcome.scores.of(dimension)
        if score.value is None:
            yield f"{dimension.value}_code", score.code or "null"
            continue
        yield dimension.value, f"{score.value:.4f}"
        if score.spread is not None:
            yield f"{dimension.value}_spread", f"{score.spread:.4f}"


def _properties(pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return ""
    lines = "".join(f'<property name="{name}" value={_quoted(value)}/>\n' for name, value in pairs)
    return f"<properties>\n{lines}</properties>\n"


def _quoted(text: str) -> str:
    return _legal(quoteattr(text))


def _legal(text: str) -> str:
    r"""The text with characters that XML cannot hold spelt out: \x1b, \udce9, \uffff."""
    return _ILLEGAL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
