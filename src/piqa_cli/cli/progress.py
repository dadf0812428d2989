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
    """Gives a function to call once per item done; shows how many are, how fast it goes and how long it will take.

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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Items a second, or seconds an item."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            if not speed:
                return Text("")
            return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")

    columns = (
        f"{what}",
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(compact=True),
        "left",
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, expand=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
