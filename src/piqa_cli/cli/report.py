"""`piqa report`: records as one HTML page."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from piqa_cli.cli.assess import image_policy
from piqa_cli.cli.inputs import check_root
from piqa_cli.cli.options import EFFORT, INPUT_PANEL, READING, RESULTS_PANEL, command, option
from piqa_cli.cli.progress import progress_bar
from piqa_cli.cli.reports import check_report, save_report
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import printable
from piqa_cli.errors import InputError

_READING = {name: READING[name] for name in ("max_pixels", "frame")}
_WORKERS = {"workers": EFFORT["workers"]}


@command(_READING, _WORKERS)
def report(
    run: Run,
    results: Annotated[str, typer.Argument(metavar="RESULTS.jsonl", help="Records that piqa wrote.")],
    output: Annotated[str, option(RESULTS_PANEL, "--output", "-o", metavar="FILE.html", help_="The page.")],
    root: Annotated[
        str | None,
        option(
            INPUT_PANEL,
            "--root",
            metavar="DIR",
            help_="Where the pictures are now: the folder that relative paths start from; this folder by default.",
        ),
    ] = None,
    images: Annotated[
        Literal["auto", "embed", "folder", "none"],
        option(
            RESULTS_PANEL,
            "--images",
            metavar="auto|embed|folder|none",
            help_="Pictures within the page, in a folder FILE_files beside it, or none; auto has them within it up to"
            " 100 pairs.",
        ),
    ] = "auto",
    title: Annotated[
        str | None, option(RESULTS_PANEL, "--title", metavar="TEXT", help_="Of the page; by default the file's name.")
    ] = None,
) -> None:
    """Show records in a page for the browser: distributions, worst first, source against edited, reasons."""
    check_report("--output", output, (results,))
    check_root(root)

    from piqa_cli.devices import cores
    from piqa_cli.report import ReportWriter
    from piqa_cli.writers import read_results

    count = _count(results)
    run.progress = "before the page was written"
    writer = ReportWriter(
        output,
        expected=count,
        title=title or f"piqa: {os.path.basename(results)}",
        images=images,
        root=root,
        policy=image_policy(run.settings),
        workers=run.settings.workers or cores(),
    )
    with writer, progress_bar(run.settings, count, "pairs") as advance:
        for outcome in read_results(results, on_warning=lambda text: run.warn(printable(text))):
            writer.add(outcome)
            advance()
        save_report(run, writer)


def _count(results: str) -> int:
    """Lines that hold something: the number of records, or close to it."""
    try:
        with open(results, "rb") as file:
            count = sum(1 for line in file if line.strip())
    except OSError:
        return 0  # read_results says what is wrong with it
    if count == 0:
        raise InputError(
            "there is no record in it", code="E_RESULTS", file=results, expected="a JSONL file that piqa wrote"
        )
    return count
