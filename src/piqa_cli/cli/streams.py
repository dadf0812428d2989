"""Standard streams: data on standard output, everything else on standard error, in UTF-8 on every system."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import BinaryIO

from piqa_cli.errors import OutputError

CLOSED_PIPE_STATUS = 141
"""128 + SIGPIPE: what a shell reports for `cat` or `grep` when the reader of their pipe has gone."""


def prepare() -> None:
    """Makes both streams UTF-8; a byte of a file name that is not comes out as an escape, also valid in JSON."""
    for stream, newline in ((sys.stdout, "\n"), (sys.stderr, None)):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline=newline)


def printable(text: str) -> str:
    """The text with control characters (of a file name, of a prompt) as escapes, for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def say(text: str) -> None:
    """Lines to standard error, with escapes for what a terminal obeys; a closed one is nobody's problem."""
    try:
        sys.stderr.write("\n".join(map(printable, text.split("\n"))) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def emit(text: str) -> None:
    """A piece of data to standard output, flushed.

    Raises:
        BrokenPipeError: the reader has gone.
        OutputError: it cannot be written, as on a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise OutputError(f"standard output cannot be written: {error.strerror}", found=error.strerror) from error


def open_stdin() -> BinaryIO:
    """Standard input as bytes, apart from `sys.stdin`: a thread may still wait in it when the process ends."""
    return open(0, "rb", closefd=False)


def abandon_stdout() -> None:
    """Points standard output at nothing, so that the flush at exit cannot fail a second time."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        return


def stdout_is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def stderr_is_terminal() -> bool:
    """Whether standard error can show a progress bar."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
