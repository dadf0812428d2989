"""`piqa merge`: the parts that shards wrote as one file of results, with gates on all of them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from piqa_cli.cli.assess import image_policy
from piqa_cli.cli.files import STDIN, check_target, choose_format
from piqa_cli.cli.gates import Tally, check_scales
from piqa_cli.cli.options import (
    EFFORT,
    INPUT_PANEL,
    PAIRING,
    READING,
    RECORDS_OUTPUT,
    RESULTS,
    RESULTS_PANEL,
    SUMMARY,
    command,
    option,
)
from piqa_cli.cli.reports import REPORT, check_report, open_report, save_report
from piqa_cli.cli.results import TABLES, Target
from piqa_cli.cli.run import GATE_FAILED, SOME_FAILED, Run
from piqa_cli.cli.streams import printable
from piqa_cli.cli.summary import Summary, plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.pairs import PairQuery
    from piqa_cli.resume import MergedRows, Place

_RESULTS = {name: RESULTS[name] for name in ("format", "fail_under")}
_EFFORT = {"max_errors": EFFORT["max_errors"]}
_READING = {name: READING[name] for name in ("max_pixels", "frame")}
_SHOWN = 3  # of the pairs without a record


@command(_RESULTS, _EFFORT, PAIRING, _READING)
def merge(
    run: Run,
    parts: Annotated[list[str], typer.Argument(metavar="PART...", help="Files of records, one a shard.")],
    pairs: Annotated[
        str | None,
        option(
            INPUT_PANEL,
            "--pairs",
            metavar="INPUT",
            help_="What `piqa batch` was given: the records take its order, and pairs without one are told and count"
            " as failed.",
        ),
    ] = None,
    image_dir: Annotated[
        str | None,
        option(INPUT_PANEL, "--image-dir", metavar="DIR", help_="As `piqa batch` was given it, with --pairs."),
    ] = None,
    shards: Annotated[
        bool,
        option(
            INPUT_PANEL,
            "--shards",
            metavar="",
            help_="The parts are the shards 1/N to N/N in this order: give them the order of their input.",
        ),
    ] = False,
    output: Annotated[str | None, RECORDS_OUTPUT] = None,
    overwrite: Annotated[
        bool, option(RESULTS_PANEL, "--overwrite", metavar="", help_="Lose what --output holds.")
    ] = False,
    summary: Annotated[str | None, SUMMARY] = None,
    report: Annotated[str | None, REPORT] = None,
) -> None:
    """Join the results of shards: each pair once, in the order of the input, gates on all of them."""
    if pairs is not None and shards:
        raise UsageError("--pairs and --shards both say the order", hint="give one of them")
    form = choose_format(run.flags.get("format"), output, run.settings, piped="jsonl")
    target = Target(form, None if output == STDIN else output, overwrite=overwrite)
    files = [_records_of(part) for part in parts]
    for path in (output, target.journal):
        check_target("--output", path, (*parts, *files))
    check_target("--summary", summary, (*parts, *files, output))
    check_report("--report", report, (*parts, *files, output, summary))
    check_scales(run.settings.fail_under)
    target.check()
    query = None if pairs is None else _query(run, pairs, image_dir)
    target.spare()

    from piqa_cli.resume import MergedRows

    started = time.monotonic()
    tally = Tally(run.settings.fail_under)
    run.progress = "before the results were written"
    with MergedRows(files, lambda text: run.warn(printable(text))) as rows, ExitStack() as stack:
        if rows.changed:
            run.warn(f"{plural(rows.changed, 'record')} of other settings or file contents; the last of a pair counts")
        places, missing = _ordered(run, rows, query, shards)
        page = stack.enter_context(open_report(run, report, len(rows), image_policy(run.settings)))
        with _opened(target, rows) as add:
            for place in places:
                add(place)
                tally.before += 1
                if place.failed or tally.gates or page is not None:
                    outcome = rows.read(place)
                    tally.add(outcome)
                    if page is not None:
                        page.add(outcome)
                else:
                    tally.add_assessed_before()
        status = _status(run, tally, missing)
        counts = Summary.of(tally, time.monotonic() - started, output, status)
        lacking = (f"{plural(missing, 'pair')} without a record",) * bool(missing)
        if summary is not None:
            replace(counts, verdicts=(*lacking, *counts.verdicts)).write(summary)
        run.note(f"{plural(len(files), 'part')} merged, {plural(rows.repeated, 'record')} repeated")
        run.note("\n".join((*counts.lines(), *lacking)))
        save_report(run, page)
    if status:
        raise typer.Exit(status)


def _records_of(part: str) -> str:
    """The file of records that a part stands for: itself, or the JSONL beside a table that `piqa batch` made.

    Raises:
        UsageError: a table without that file.
    """
    suffix = os.path.splitext(part)[1].lower()
    if suffix not in {".csv", ".parquet"}:
        return part
    beside = f"{part}.jsonl"
    if not os.path.isfile(beside):
        raise UsageError(
            "a table does not hold whole records",
            file=part,
            expected=f"'{printable(beside)}' beside it, which `piqa batch` writes",
            found="none",
            hint="give the JSONL files",
        )
    return beside


def _query(run: Run, pairs: str, image_dir: str | None) -> PairQuery:
    from piqa_cli.pairs import PairQuery

    if pairs == STDIN:
        raise UsageError("--pairs names an input that can be read again", found="standard input")
    query = PairQuery(
        input=pairs,
        image_dir=image_dir,
        match=run.settings.match,
        on_unpaired=run.settings.on_unpaired,
        offline=run.settings.offline,
    )
    query.check()
    return query


def _ordered(run: Run, rows: MergedRows, query: PairQuery | None, shards: bool) -> tuple[Iterable[Place], int]:
    """The records in their order, and how many pairs of the input have none."""
    if query is None:
        return (list(rows.as_shards()) if shards else rows.in_turn()), 0
    from piqa_cli.pairs import find_pairs

    known: dict[Place, None] = {}
    missing: list[str] = []
    for item in find_pairs(query):
        place = rows.of(item.id)
        if place is None:
            missing.append(item.id)
        else:
            known[place] = None
    others = len(rows) - len(known)
    if missing:
        more = ", ..." if len(missing) > _SHOWN else ""
        run.warn(f"no record of {plural(len(missing), 'pair')}: {', '.join(map(printable, missing[:_SHOWN]))}{more}")
    if others:
        run.note(f"{plural(others, 'record')} of pairs that are not in that input kept at the end of the results")
    return dict.fromkeys((*known, *rows.in_turn())), len(missing)


@contextmanager
def _opened(target: Target, rows: MergedRows) -> Iterator[Callable[[Place], object]]:
    """Takes records one by one; a file changes in one step, when all are there.

    Raises:
        OutputError: it cannot be written.
    """
    from piqa_cli.resume import HASHES, only_writer
    from piqa_cli.writers import open_writer, read_results, replacement, write_table

    if target.journal is None and target.form != "parquet":  # which `Target.check` refuses there
        with open_writer(target.form, sys.stdout if target.path is None else target.path) as writer:
            yield lambda place: writer.write(rows.read(place))
        return
    if target.journal is None:
        return
    with only_writer(target.journal):
        with replacement(target.journal) as file:
            yield lambda place: file.write(rows.bytes_of(place))
        rows.join_hashes(f"{target.journal}{HASHES}")
        if target.form in TABLES and target.path is not None:
            write_table(read_results(target.journal), target.path, TABLES[target.form])


def _status(run: Run, tally: Tally, missing: int) -> int:
    """As of the batch that the parts make up; a pair without a record is a failed one."""
    if not run.settings.max_errors.tolerates(tally.failed + missing, tally.done + missing):
        return SOME_FAILED
    return 0 if tally.gates_hold and not (missing and tally.gates) else GATE_FAILED
