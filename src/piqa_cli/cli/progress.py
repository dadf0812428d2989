"""The progress bar, on standard error and only for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from piqa_cli.cli.config import Settings
from piqa_cli.cli.streams import stderr_is_terminal


@contextmanager
def progress_bar(
    settings: Settings, total: int | None, what: str, *, rows_on_terminal: bool = False
) -> Iterator[Callable[[], None]]:
    """Gives a function to call once per item done.

    Args:
        settings: --quiet and --no-progress turn the bar off.
        total: the number of items, None if nobody knows.
        what: what the items are, for the label.
        rows_on_terminal: rows appear there too; they would run into the bar, and show the progress themselves.
    """
    if settings.quiet or not settings.progress or rows_on_terminal or not stderr_is_terminal():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
