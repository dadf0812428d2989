"""`piqa batch`: many pairs, one record each, in input order."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from piqa_cli.cli.assess import image_policy, load_assessor
from piqa_cli.cli.engines import (
    ENGINE,
    GPUS_PER_WORKER,
    RAY_ADDRESS,
    RAY_WORKERS,
    Cluster,
    Engine,
    Items,
    ray_engine,
)
from piqa_cli.cli.extras import JUNIT, OVERLAY_DIR, Extras, check_junit, check_overlay_dir, open_extras
from piqa_cli.cli.files import STDIN, check_target, choose_format
from piqa_cli.cli.gates import Tally, check_scales
from piqa_cli.cli.inputs import ROOT, check_root, failure_line, list_pairs, spare_inputs
from piqa_cli.cli.options import (
    EFFORT,
    INPUT_PANEL,
    MODEL,
    PAIRING,
    READING,
    RECORDS_OUTPUT,
    RESULTS,
    RESULTS_PANEL,
    SUMMARY,
    command,
    option,
)
from piqa_cli.cli.progress import progress_bar
from piqa_cli.cli.reports import REPORT, check_report
from piqa_cli.cli.results import Held, Rows, Target, hold
from piqa_cli.cli.run import GATE_FAILED, INPUT, SOME_FAILED, Run
from piqa_cli.cli.shards import SHARD, choose_shard, named_for
from piqa_cli.cli.streams import open_stdin, printable, stdout_is_terminal
from piqa_cli.cli.summary import Summary, plural
from piqa_cli.errors import InputError

if TYPE_CHECKING:
    from piqa_cli.assessor import Assessor
    from piqa_cli.cli.config import Settings
    from piqa_cli.resume import FileHashes, FinishedRows, Known, Recipe
    from piqa_cli.schema import Failure, ModelInfo, Outcome, Pair

MOST_WORKERS = 8
"""Threads that read images by default, where there are as many cores: more than any model keeps busy."""
READERS_PER_WORKER = 2
"""Reading threads of each of a cluster's workers, who share their machine's cores."""
DEFAULT_BATCH_SIZE = 8
LARGEST_BATCH = 64
"""To which `--batch-size auto` may grow on a GPU; on processors eight pairs already take no longer each than more."""
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
    root: Annotated[str | None, ROOT] = None,
    limit: Annotated[
        int | None, option(INPUT_PANEL, "--limit", metavar="N", help_="Only the first N pairs.", least=1)
    ] = None,
    shard: Annotated[str | None, SHARD] = None,
    dry_run: Annotated[
        bool, option(INPUT_PANEL, "--dry-run", metavar="", help_="Only list the pairs, as a manifest.")
    ] = False,
    output: Annotated[str | None, RECORDS_OUTPUT] = None,
    resume: Annotated[
        bool,
        option(
            RESULTS_PANEL,
            "--resume",
            metavar="",
            help_="Go on from what --output holds: assess what has no record that still holds, and what failed.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, option(RESULTS_PANEL, "--overwrite", metavar="", help_="Lose what --output holds.")
    ] = False,
    retry_failed: Annotated[
        bool,
        option(
            RESULTS_PANEL,
            "--retry-failed/--no-retry-failed",
            metavar="",
            help_="With --resume: try pairs that failed again (default), or only if their files or settings changed.",
        ),
    ] = True,
    summary: Annotated[str | None, SUMMARY] = None,
    report: Annotated[str | None, REPORT] = None,
    junit: Annotated[str | None, JUNIT] = None,
    overlay_dir: Annotated[str | None, OVERLAY_DIR] = None,
    engine: Annotated[Engine, ENGINE] = "local",
    ray_address: Annotated[str | None, RAY_ADDRESS] = None,
    ray_workers: Annotated[int | None, RAY_WORKERS] = None,
    gpus_per_worker: Annotated[float | None, GPUS_PER_WORKER] = None,
) -> None:
    """Assess many pairs: one record each, in input order, written as they are done."""
    part = choose_shard(run, shard)
    own = shard is not None
    output = named_for(part, "--output", output, alone=own)
    summary = named_for(part, "--summary", summary, alone=own)
    report = named_for(part, "--report", report, alone=own)
    junit = named_for(part, "--junit", junit, alone=own)
    form = choose_format(run.flags.get("format"), output, run.settings, piped="jsonl")
    target = Target(form, None if output == STDIN else output, resume, overwrite)
    for path in (output, target.journal):
        check_target("--output", path, (input_, manifest))
    check_target("--summary", summary, (input_, manifest, output))
    check_report("--report", report, (input_, manifest, output, summary))
    check_junit(junit, (input_, manifest, output, summary, report))
    check_overlay_dir(overlay_dir)
    check_scales(run.settings.fail_under)
    check_root(root)
    target.check()
    cluster = Cluster(engine, ray_address, ray_workers, gpus_per_worker)
    cluster.check()

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
        shard=part,
        offline=run.settings.offline,
        stdin=open_stdin() if STDIN in {input_, manifest} else None,
        root=root,
    )
    query.check()
    if not target.goes_on:  # what it goes on from are results, as reading them will show, and no picture
        spare_inputs(query, output)
    if dry_run:
        if status := list_pairs(run, query):
            raise typer.Exit(status)
        return
    target.spare()
    started = time.monotonic()
    tally = Tally(run.settings.fail_under)
    with ExitStack() as stack:
        with _made_to_stay():
            found = find_pairs(query)  # before the model is loaded and the output opened: it may be unusable
            if found.skipped:
                run.detail(f"{plural(len(found.skipped), 'file')} passed over")
            held = stack.enter_context(hold(target, run))
            judge = stack.enter_context(_judge(run, cluster, held, retry_failed))
        asked = open_extras(
            run, found.total, image_policy(run.settings), report=report, junit=junit, overlay_dir=overlay_dir
        )
        extras = stack.enter_context(asked)
        _write(run, functools.partial(judge, found), tally, held, found.total, extras)
        if tally.done == 0 and part is None:  # a shard of few pairs may well have none
            raise InputError(
                "no pairs were given", code="E_UNPAIRED", file=input_ or manifest, hint="one JSON object a line"
            )
        status = _status(run, tally)
        counts = Summary.of(tally, time.monotonic() - started, output, status)
        if summary is not None:
            counts.write(summary)
        run.note("\n".join(counts.lines()))
        extras.save(run)  # last: a page that cannot be kept must not cost the records or the summary
    if status:
        raise typer.Exit(status)


@contextmanager
def _made_to_stay() -> Iterator[None]:
    """What is made here stays to the end: the garbage collector does not go through it, now or later.

    The list of a large folder, an index of records and the libraries are millions of objects; going through them again
    and again took a third of the time of a resume.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def outcomes_of(run: Run, found: Iterable[Pair | Failure], assessor: Assessor) -> Generator[Outcome, None, None]:
    """What the assessor says of each pair: a generator, so that closing it ends the threads that decode ahead."""
    from piqa_cli.resume import FileHashes, Known

    with closing(resumed(run, found, assessor, FileHashes(), None)) as items:
        yield from (item for item in items if not isinstance(item, Known))


def resumed(
    run: Run,
    found: Iterable[Pair | Failure],
    assessor: Assessor,
    hashes: FileHashes,
    finished: FinishedRows | None,
    *,
    retry_failed: bool = True,
) -> Generator[Outcome | Known, None, None]:
    """As `outcomes_of`; pairs with a finished record that still holds come as they are known."""
    from piqa_cli.assessor import models_of
    from piqa_cli.devices import find_device
    from piqa_cli.pipeline import resume_pairs
    from piqa_cli.resume import Memory

    grows = run.settings.batch_size is None and find_device(run.settings.device).type != "cpu"
    yield from resume_pairs(
        found,
        assessor,
        Memory(_recipe(run.settings, models_of(assessor)), hashes, finished, retry_failed=retry_failed),
        policy=image_policy(run.settings),
        workers=readers(run.settings),
        batch_size=run.settings.batch_size or DEFAULT_BATCH_SIZE,
        largest_batch=LARGEST_BATCH if grows else None,
        explain=run.settings.explain,
    )


def readers(settings: Settings) -> int:
    """Threads that read images ahead of the model."""
    from piqa_cli.devices import cores

    return settings.workers or min(cores(), MOST_WORKERS)


@contextmanager
def _judge(run: Run, cluster: Cluster, held: Held, retry_failed: bool) -> Iterator[Items]:
    """What judges: the model, loaded here, or a cluster."""
    if cluster.engine == "ray":
        with ray_engine(
            run,
            cluster,
            held,
            _recipe(run.settings, ()),
            image_policy(run.settings),
            workers=run.settings.workers or READERS_PER_WORKER,
            batch_size=run.settings.batch_size or DEFAULT_BATCH_SIZE,
            retry_failed=retry_failed,
        ) as items:
            yield items
        return
    assessor = load_assessor(run)
    yield lambda found, rows: resumed(run, found, assessor, held.hashes, held.finished, retry_failed=retry_failed)


def _recipe(settings: Settings, models: tuple[ModelInfo, ...]) -> Recipe:
    """All settings that a record depends on, and the models."""
    from piqa_cli.resume import Recipe

    return Recipe(
        models=models,
        policy=image_policy(settings),
        explain=settings.explain,
        explain_below=settings.explain_below,
        grounding=settings.grounding,
        cross_check=settings.cross_check,
        quantize=settings.quantize,
        trust_remote_code=settings.trust_remote_code,
    )


def _write(
    run: Run,
    judged: Callable[[Rows], Generator[Outcome | Known, None, None]],
    tally: Tally,
    held: Held,
    total: int | None,
    extras: Extras,
) -> None:
    """Each record as it is done; a closed pipe or Ctrl-C leaves whole rows."""
    target = held.target
    place = target.journal or target.path
    kept = "" if place is None else f", kept in {printable(place)}"
    failures = 0
    run.progress = "before the first row was written"
    bar = progress_bar(run.settings, total, "pairs", rows_on_terminal=target.path is None and stdout_is_terminal())
    with held.opened(run) as rows, bar as advance, closing(judged(rows)) as items:
        for item in items:
            outcome = _count(tally, rows, item)
            done = f"after {plural(tally.done, 'row')} written{kept}"
            rows.add(item)
            run.progress = done  # at once: an interrupt in between would report a row too few
            if extras.wanted:
                _give(extras, rows, item)
            if outcome is not None and outcome.status == "error" and target.form != "table":
                failures += 1
                if failures <= SHOWN_FAILURES:
                    run.note(failure_line(outcome))
                elif failures == SHOWN_FAILURES + 1:
                    run.note("more failures follow; they are in the records")
            elif outcome is not None and outcome.status == "ok":
                for warning in outcome.warnings:
                    run.detail(f"{printable(outcome.id)}: {printable(warning)}")
            advance()
        rows.finish(run)


def _give(extras: Extras, rows: Rows, item: Outcome | Known) -> None:
    from piqa_cli.resume import Known

    if isinstance(item, Known):
        extras.add(rows.read(item), kept=True)
    else:
        extras.add(item)


def _count(tally: Tally, rows: Rows, item: Outcome | Known) -> Outcome | None:
    """Counts what an item came to; gives the record, unless it is an earlier run's and nobody needs to read it."""
    from piqa_cli.resume import Known

    if not isinstance(item, Known):
        tally.add(item)
        return item
    tally.before += 1
    if not tally.gates and not item.failed:
        tally.add_assessed_before()
        return None
    outcome = rows.read(item)
    tally.add(outcome)
    return outcome


def _status(run: Run, tally: Tally) -> int:
    """The exit status of a batch that came to its end."""
    if not run.settings.max_errors.tolerates(tally.failed, tally.done):
        return SOME_FAILED if tally.paired else INPUT
    return 0 if tally.gates_hold else GATE_FAILED
