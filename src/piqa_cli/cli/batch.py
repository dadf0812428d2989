"""`piqa batch`: many pairs, one record each, in input order."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from piqa_cli.cli.assess import image_policy, load_assessor
from piqa_cli.cli.files import STDIN, Format, check_target, choose_format
from piqa_cli.cli.gates import Tally, check_scales
from piqa_cli.cli.inputs import failure_line, list_pairs, spare_inputs
from piqa_cli.cli.options import EFFORT, INPUT_PANEL, MODEL, PAIRING, READING, RESULTS, RESULTS_PANEL, command, option
from piqa_cli.cli.progress import progress_bar
from piqa_cli.cli.reports import REPORT, check_report, open_report, passed_on, save_report
from piqa_cli.cli.run import GATE_FAILED, INPUT, SOME_FAILED, Run
from piqa_cli.cli.streams import open_stdin, printable, stdout_is_terminal
from piqa_cli.cli.summary import Summary, plural
from piqa_cli.errors import InputError

if TYPE_CHECKING:
    from piqa_cli.assessor import Assessor
    from piqa_cli.schema import Failure, Outcome, Pair

DEFAULT_WORKERS = 2
DEFAULT_BATCH_SIZE = 8
SHOWN_FAILURES = 10
"""Failures told one by one on standard error; the records hold them all."""


@command(RESULTS, PAIRING, EFFORT, MODEL, READING)
def batch(
    run: Run,
    input_: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT",
            show_default=False,
            help="A folder with source/ and edited/, a folder of NAME_source.* and NAME_edited.*, a manifest (CSV,"
            " JSON lines), a label file with --image-dir, or - for JSON lines on standard input.",
        ),
    ] = None,
    manifest: Annotated[
        str | None,
        option(INPUT_PANEL, "--manifest", metavar="FILE|-", help_="A manifest of any suffix; - reads JSON lines."),
    ] = None,
    source_dir: Annotated[
        str | None, option(INPUT_PANEL, "--source-dir", metavar="DIR", help_="Folder of sources, instead of INPUT.")
    ] = None,
    edited_dir: Annotated[
        str | None, option(INPUT_PANEL, "--edited-dir", metavar="DIR", help_="Folder of edited files, with the above.")
    ] = None,
    mask_dir: Annotated[
        str | None, option(INPUT_PANEL, "--mask-dir", metavar="DIR", help_="Folder of masks, with the above.")
    ] = None,
    image_dir: Annotated[
        str | None,
        option(INPUT_PANEL, "--image-dir", metavar="DIR", help_="Where the images of a label file or manifest are."),
    ] = None,
    limit: Annotated[
        int | None, option(INPUT_PANEL, "--limit", metavar="N", help_="Only the first N pairs.", least=1)
    ] = None,
    dry_run: Annotated[
        bool, option(INPUT_PANEL, "--dry-run", metavar="", help_="Only list the pairs, as a manifest.")
    ] = False,
    output: Annotated[
        str | None,
        option(RESULTS_PANEL, "--output", "-o", metavar="FILE|-", help_="Where they go; standard output by default."),
    ] = None,
    summary: Annotated[
        str | None,
        option(RESULTS_PANEL, "--summary", metavar="FILE.json", help_="Also write the counts and verdicts there."),
    ] = None,
    report: Annotated[str | None, REPORT] = None,
) -> None:
    """Assess many pairs: one record each, in input order, written as they are done."""
    form = choose_format(run.flags.get("format"), output, run.settings, piped="jsonl")
    check_target("--output", output, (input_, manifest))
    check_target("--summary", summary, (input_, manifest, output))
    check_report("--report", report, (input_, manifest, output, summary))
    check_scales(run.settings.fail_under)

    from piqa_cli.pairs import PairQuery, find_pairs

    query = PairQuery(
        input=input_,
        source_dir=source_dir,
        edited_dir=edited_dir,
        mask_dir=mask_dir,
        manifest=manifest,
        image_dir=image_dir,
        match=run.settings.match,
        on_unpaired=run.settings.on_unpaired,
        limit=limit,
        stdin=open_stdin() if STDIN in {input_, manifest} else None,
    )
    query.check()
    spare_inputs(query, output)
    if dry_run:
        if status := list_pairs(run, query):
            raise typer.Exit(status)
        return
    started = time.monotonic()
    tally = Tally(run.settings.fail_under)
    found = find_pairs(query)  # before the model is loaded and the output opened: it may be unusable
    if found.skipped:
        run.detail(f"{plural(len(found.skipped), 'file')} passed over")
    assessor = load_assessor(run)
    with open_report(run, report, found.total, image_policy(run.settings)) as page:
        with closing(outcomes_of(run, found, assessor)) as outcomes:
            _write(run, passed_on(outcomes, page), tally, form, output, found.total)
        if tally.done == 0:
            raise InputError(
                "no pairs were given", code="E_UNPAIRED", file=input_ or manifest, hint="one JSON object a line"
            )
        status = _status(run, tally)
        counts = Summary.of(tally, time.monotonic() - started, output, status)
        if summary is not None:
            counts.write(summary)
        run.note(counts.paragraph())
        save_report(run, page)  # last: a page that cannot be kept must not cost the records or the summary
    if status:
        raise typer.Exit(status)


def outcomes_of(run: Run, found: Iterable[Pair | Failure], assessor: Assessor) -> Generator[Outcome, None, None]:
    """What the assessor says of each pair: a generator, so that closing it ends the threads that decode ahead."""
    from piqa_cli.pipeline import assess_pairs

    yield from assess_pairs(
        found,
        assessor,
        policy=image_policy(run.settings),
        workers=run.settings.workers or DEFAULT_WORKERS,
        batch_size=run.settings.batch_size or DEFAULT_BATCH_SIZE,
        explain=run.settings.explain,
    )


def _write(
    run: Run, outcomes: Iterator[Outcome], tally: Tally, form: Format, output: str | None, total: int | None
) -> None:
    """Each record as it is done; a closed pipe or Ctrl-C leaves whole rows."""
    from piqa_cli.writers import open_writer

    target = sys.stdout if output is None or output == "-" else output
    kept = "" if target is sys.stdout else f", kept in {printable(str(output))}"
    shown = 0
    run.progress = "before the first row was written"
    on_terminal = target is sys.stdout and stdout_is_terminal()
    bar = progress_bar(run.settings, total, "pairs", rows_on_terminal=on_terminal)
    with open_writer(form, target) as writer, bar as advance:
        for outcome in outcomes:
            tally.add(outcome)
            done = f"after {plural(tally.done, 'row')} written{kept}"
            writer.write(outcome)
            run.progress = done  # at once: an interrupt in between would report a row too few
            if outcome.status == "error" and form != "table":
                shown += 1
                if shown <= SHOWN_FAILURES:
                    run.note(failure_line(outcome))
                elif shown == SHOWN_FAILURES + 1:
                    run.note("more failures follow; they are in the records")
            elif outcome.status == "ok":
                for warning in outcome.warnings:
                    run.detail(f"{printable(outcome.id)}: {printable(warning)}")
            advance()


def _status(run: Run, tally: Tally) -> int:
    """The exit status of a batch that came to its end."""
    if not run.settings.max_errors.tolerates(tally.failed, tally.done):
        return SOME_FAILED if tally.paired else INPUT
    return 0 if tally.gates_hold else GATE_FAILED
