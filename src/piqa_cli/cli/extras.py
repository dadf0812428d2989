"""What the outcomes of a run go to besides the results: the report, the overlays, the JUnit file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from piqa_cli.cli.files import check_target
from piqa_cli.cli.options import RESULTS_PANEL, option
from piqa_cli.cli.reports import open_report, save_report
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import printable
from piqa_cli.cli.summary import plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.images import ImagePolicy, LoadedPair
    from piqa_cli.report import OverlayFolder, ReportWriter
    from piqa_cli.schema import Outcome
    from piqa_cli.writers import JUnitWriter

JUNIT: Any = option(
    RESULTS_PANEL,
    "--junit",
    metavar="FILE.xml",
    help_="Also write the gates' verdicts as JUnit XML: a test case a pair.",
)
OVERLAY_DIR: Any = option(
    RESULTS_PANEL, "--overlay-dir", metavar="DIR", help_="Also draw every pair there, as `piqa assess --overlay` does."
)


def check_junit(path: str | None, inputs: Iterable[str | None]) -> None:
    """Refuses a JUnit file that is none by its name, and what `check_target` refuses.

    Raises:
        UsageError: as said.
    """
    if path is None:
        return
    if os.path.splitext(path)[1].lower() != ".xml":
        raise UsageError(f"--junit: expected a .xml file, found '{printable(path)}'", file=path)
    check_target("--junit", path, inputs)


def check_overlay_dir(path: str | None) -> None:
    """Refuses a folder that cannot be one, before any work is done.

    Raises:
        UsageError: there is a file of that name.
    """
    if path is not None and os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"--overlay-dir: '{printable(path)}' is a file, expected a folder", file=path)


@dataclass(frozen=True, slots=True)
class Extras:
    """Takes each outcome once; what was not asked for is None."""

    page: ReportWriter | None = None
    overlays: OverlayFolder | None = None
    junit: JUnitWriter | None = None

    @property
    def wanted(self) -> bool:
        """Whether anything was asked for, so that also records of earlier runs have to be read."""
        return any(one is not None for one in (self.page, self.overlays, self.junit))

    def add(self, outcome: Outcome, *, loaded: LoadedPair | None = None, kept: bool = False) -> None:
        """Takes the next outcome; `loaded`: its pictures, if in memory; `kept`: it is an earlier run's."""
        if self.page is not None:
            self.page.add(outcome, loaded)
        if self.overlays is not None:
            self.overlays.add(outcome, kept=kept)
        if self.junit is not None:
            self.junit.add(outcome)

    def save(self, run: Run) -> None:
        """Writes what is to be written, and tells where it is.

        Raises:
            OutputError: something cannot be written; what comes before it is.
        """
        if self.junit is not None:
            self.junit.save()
            run.note(f"JUnit XML in {printable(self.junit.path)}")
        if self.overlays is not None:
            self.overlays.finish()
            missing = self.overlays.missing
            if missing:
                run.warn(f"{plural(len(missing), 'pair')} not drawn; first {printable(missing[0])}")
            run.note(f"{plural(self.overlays.drawn, 'overlay')} drawn in {printable(self.overlays.path)}")
        save_report(run, self.page)


@contextmanager
def open_extras(
    run: Run,
    expected: int | None,
    policy: ImagePolicy,
    *,
    report: str | None = None,
    junit: str | None = None,
    overlay_dir: str | None = None,
) -> Iterator[Extras]:
    """What was asked for, to be filled; left without `save` nothing of it is written but overlays.

    Args:
        run: for its settings.
        expected: how many outcomes will come, None if nobody knows.
        policy: how pictures are read.
        report: what `--report` gave.
        junit: what `--junit` gave.
        overlay_dir: what `--overlay-dir` gave.

    Raises:
        OutputError: the folder cannot be made.
    """
    with ExitStack() as stack:
        page = stack.enter_context(open_report(run, report, expected, policy))
        cases = overlays = None
        if junit is not None:
            from piqa_cli.writers import JUnitWriter

            cases = stack.enter_context(JUnitWriter(junit, run.settings.fail_under))
        if overlay_dir is not None:
            from piqa_cli.report import OverlayFolder

            overlays = stack.enter_context(OverlayFolder(overlay_dir, policy=policy))
        yield Extras(page, overlays, cases)
