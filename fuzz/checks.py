"""What the targets share: a wrong answer, and a file that holds a case."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class WrongAnswerError(AssertionError):
    """A reader accepted a case and gave an answer that another way to it contradicts."""


def same(found: object, expected: object, what: str) -> None:
    """Holds an answer against another.

    Raises:
        WrongAnswerError: they differ.
    """
    if found != expected:
        raise WrongAnswerError(f"{what}: {str(found)[:300]} where {str(expected)[:300]} was expected")


@contextmanager
def file_of(data: bytes, suffix: str) -> Iterator[str]:
    """A file with these bytes, gone afterwards."""
    handle, path = tempfile.mkstemp(suffix)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        yield path
    finally:
        os.unlink(path)
