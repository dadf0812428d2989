"""`--report F.html`, for the commands that have it: checked before any work, filled as the records come."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from piqa_cli.cli.files import check_target
from piqa_cli.cli.options import RESULTS_PANEL, option
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import printable
from piqa_cli.cli.summary import plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.images import ImagePolicy
    from piqa_cli.report import ReportWriter

REPORT: Any = option(RESULTS_PANEL, "--report", metavar="FILE.html", help_="Also show them in a page for the browser.")
_SUFFIXES = (".html", ".htm")
# Settings that a reader of the scores may want; never an address or anything else that may hold a secret.
_TOLD = (
    "model",
    "device",
    "dtype",
    "seed",
    "grounding",
    "quantize",
    "cross_check",
    "max_pixels",
    "frame",
    "invert_mask",
)


def check_report(name: str, path: str | None, inputs: Iterable[str | None]) -> None:
    """Refuses a report that cannot be made, before any work is done.

    Args:
        name: of the option, for the message.
        path: what it gave.
        inputs: files that must not be overwritten.

    Raises:
        UsageError: jinja2 is not installed, the suffix is not .html, or what `check_target` refuses.
    """
    if path is None:
        return
    if os.path.splitext(path)[1].lower() not in _SUFFIXES:
        raise UsageError(f"{name}: expected a .html file, found '{printable(path)}'", file=path)
    check_target(name, path, inputs)
    if find_spec("jinja2") is None:
        raise UsageError(f"{name} needs jinja2", hint="pip install 'piqa-cli[report]'")


def open_report(
    run: Run, path: str | None, expected: int | None, policy: ImagePolicy
) -> AbstractContextManager[ReportWriter | None]:
    """The report of a run, to be filled; None without a path.

    Args:
        run: for its settings.
        path: what `--report` gave.
        expected: how many outcomes will come, None if nobody knows.
        policy: how pictures are read.
    """
    if path is None:
        return nullcontext()
    from piqa_cli.report import ReportWriter

    return ReportWriter(path, expected=expected, title=_title(path), policy=policy, settings=_settings(run))


def save_report(run: Run, report: ReportWriter | None) -> None:
    """Writes the page, if there is to be one, and tells where it is and what it cannot show.

    Raises:
        OutputError: it cannot be written.
    """
    if report is None:
        return
    report.save()
    if report.missing:
        run.warn(f"{plural(len(report.missing), 'picture')} not in the report; first {printable(report.missing[0])}")
    run.note(f"report in {printable(report.path)}")


def _title(path: str) -> str:
    return f"piqa: {os.path.splitext(os.path.basename(path))[0]}"


def _settings(run: Run) -> tuple[tuple[str, str], ...]:
    """(option, value) of what decided the records, as far as it was set."""
    values = [(name.replace("_", "-"), getattr(run.settings, name)) for name in _TOLD]
    told = [(name, "yes" if value is True else str(value)) for name, value in values if value not in (None, False)]
    return (*told, *(("gate", str(gate)) for gate in run.settings.fail_under))
