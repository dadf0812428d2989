"""What surrounds every command: its settings, its errors as one line and an exit status, its interruptions."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import typer

from piqa_cli.cli.config import Settings
from piqa_cli.cli.streams import CLOSED_PIPE_STATUS, abandon_stdout, printable, say
from piqa_cli.errors import PiqaError

INTERNAL_ERROR, USAGE, INPUT, SOME_FAILED, GATE_FAILED, INTERRUPTED, TERMINATED = 1, 2, 3, 6, 10, 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: everything that cleans up after Ctrl-C cleans up after this too."""


@dataclass(slots=True)
class Run:
    """One run of the command line: its settings, how far it has come, and how to go on from there if it is stopped."""

    flags: dict[str, object] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    progress: str = "before anything was written"
    go_on: str | None = None
    implied: tuple[str, ...] = ()  # options that the environment gave, and that going on needs

    def note(self, text: str) -> None:
        """A remark on standard error, unless --quiet."""
        if not self.settings.quiet:
            say(f"piqa: {text}")

    def detail(self, text: str) -> None:
        """A remark on standard error with --verbose."""
        if self.settings.verbose and not self.settings.quiet:
            say(f"piqa: {text}")

    def warn(self, text: str) -> None:
        """A warning on standard error, unless --quiet."""
        self.note(f"warning: {text}")


def terminate_like_interrupt() -> None:
    """SIGTERM raises in the main thread, as Ctrl-C does."""

    def handler(signum: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handler)


@contextmanager
def guarded(run: Run) -> Iterator[None]:
    """Turns what a command raises into a message on standard error and an exit status.

    Raises:
        typer.Exit: with the status, for everything but success.
    """
    try:
        yield
        sys.stdout.flush()
    except typer.Exit:  # a RuntimeError: it must pass before the last clause
        raise
    except PiqaError as error:
        status = report(error, debug=run.settings.debug)
        _tell_how_to_go_on(run)
        raise typer.Exit(status) from error
    except KeyboardInterrupt as error:
        word, status = ("terminated", TERMINATED) if isinstance(error, Terminated) else ("interrupted", INTERRUPTED)
        say(f"piqa: {word} {run.progress}")
        _tell_how_to_go_on(run)
        raise typer.Exit(status) from error
    except BrokenPipeError as error:
        abandon_stdout()
        raise typer.Exit(CLOSED_PIPE_STATUS) from error
    except Exception as error:  # the last resort: nothing above it in the program
        _report_internal(error, debug=run.settings.debug)
        _tell_how_to_go_on(run)
        raise typer.Exit(INTERNAL_ERROR) from error


def _tell_how_to_go_on(run: Run) -> None:
    if run.go_on is not None:
        say(f"  to go on: {run.go_on}")


def report(error: PiqaError, *, debug: bool = False) -> int:
    """Tells the error in one line, with what was expected and found, and what to do; gives its exit status."""
    if debug:
        _traceback(error)
    line = printable(error.message)
    if error.file is not None and error.file != "-" and printable(error.file) not in line:
        line = f"{printable(error.file)}: {line}"
    for label, text in (("expected", error.expected), ("found", error.found)):
        if text is not None and text not in error.message:
            line += f"; {label} {printable(text)}"
    say(f"piqa: error: {line} [{error.code}]")
    if error.hint:
        say(f"  hint: {printable(error.hint)}")
    return error.exit_status


def _report_internal(error: Exception, *, debug: bool) -> None:
    if debug:
        _traceback(error)
    say(f"piqa: internal error: {type(error).__name__}: {printable(str(error))} [E_INTERNAL]")
    if not debug:
        say("  hint: run it again with --debug for the traceback, and report it")


def _traceback(error: BaseException) -> None:
    import traceback

    say("".join(traceback.format_exception(error)).rstrip())
