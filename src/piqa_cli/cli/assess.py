"""`piqa assess`: one pair."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from piqa_cli.cli.extras import JUNIT, check_junit, open_extras
from piqa_cli.cli.files import STDIN, check_overlay, check_target, choose_format, read_prompt
from piqa_cli.cli.gates import Tally, check_scales
from piqa_cli.cli.options import INPUT_PANEL, MODEL, READING, RECORDS_OUTPUT, RESULTS, RESULTS_PANEL, command, option
from piqa_cli.cli.reports import REPORT, check_report
from piqa_cli.cli.run import GATE_FAILED, Run
from piqa_cli.cli.streams import printable
from piqa_cli.errors import InputError, PiqaError, ReplyError, UsageError
from piqa_cli.remote import needs_network, refuse_offline

if TYPE_CHECKING:
    from piqa_cli.assessor import Assessor
    from piqa_cli.cli.config import Settings
    from piqa_cli.images import ImagePolicy, LoadedPair
    from piqa_cli.schema import Assessment, Outcome, Pair
    from piqa_cli.writers import Format


@command(RESULTS, MODEL, READING)
def assess(
    run: Run,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The photo before the edit; - reads standard input.")],
    edited: Annotated[str, typer.Argument(metavar="EDITED", help="The photo after the edit; - reads standard input.")],
    prompt: Annotated[
        str | None,
        option(INPUT_PANEL, "--prompt", "-p", metavar="TEXT|@FILE", help_="What the editor was asked for."),
    ] = None,
    mask: Annotated[
        str | None,
        option(INPUT_PANEL, "--mask", metavar="FILE", help_="White where the edit was meant to be; - as above."),
    ] = None,
    output: Annotated[str | None, RECORDS_OUTPUT] = None,
    overlay: Annotated[
        str | None,
        option(
            RESULTS_PANEL,
            "--overlay",
            metavar="FILE.png",
            help_="Also draw source, edited image with the regions, and map of artefacts; .png, .jpg or .webp.",
        ),
    ] = None,
    report: Annotated[str | None, REPORT] = None,
    junit: Annotated[str | None, JUNIT] = None,
) -> None:
    """Assess one pair: where it was edited, how good the edit is, and why."""
    inputs = (source, edited, mask)
    if inputs.count(STDIN) > 1:
        raise UsageError("only one of SOURCE, EDITED and --mask can be standard input (-)")
    form = choose_format(run.flags.get("format"), output, run.settings, piped="json")
    if form == "parquet":
        raise UsageError("a single pair is not written as Parquet", hint="give --format json, jsonl or csv")
    for path in inputs:
        if path is not None and run.settings.offline and needs_network(path):
            raise refuse_offline(path)
    check_target("--output", output, inputs)
    check_overlay(overlay, (*inputs, output))
    check_report("--report", report, (*inputs, output, overlay))
    check_junit(junit, (*inputs, output, overlay, report))
    check_scales(run.settings.fail_under)

    from piqa_cli.schema import Pair

    name = edited if edited != STDIN else source
    pair = Pair(id=name, source=source, edited=edited, mask=mask, prompt=read_prompt(prompt))
    try:
        loaded, assessment = _judge(run, pair)
    except PiqaError as error:
        if isinstance(error, InputError | ReplyError) or error.code == "E_OOM":
            from piqa_cli.pipeline import failure

            failed = failure(pair, error)  # what is wrong with this pair is a record too
            if form != "table":
                _write(form, output, failed)
            with open_extras(run, 1, image_policy(run.settings), junit=junit) as extras:
                extras.add(failed)
                extras.save(run)
        raise
    _write(form, output, assessment)
    if form != "table":
        for warning in assessment.warnings:
            run.warn(printable(warning))
    if overlay is not None:  # after the record: a drawing that cannot be kept must not cost the scores
        from piqa_cli.overlay import save_overlay

        save_overlay(loaded, assessment, overlay)
    with open_extras(run, 1, image_policy(run.settings), report=report, junit=junit) as extras:
        extras.add(assessment, loaded=loaded)
        extras.save(run)
    tally = Tally(run.settings.fail_under)
    tally.add(assessment)
    for verdict in tally.verdicts():
        run.note(verdict)
    if not tally.gates_hold:
        raise typer.Exit(GATE_FAILED)


def _judge(run: Run, pair: Pair) -> tuple[LoadedPair, Assessment]:
    """The pictures and their record.

    Raises:
        PiqaError: the pair, the model or the device cannot be used.
    """
    from piqa_cli.pipeline import assess_pair

    chosen = run.settings
    assessor = load_assessor(run)
    return assess_pair(pair, assessor, policy=image_policy(chosen), explain=chosen.explain, stdin=sys.stdin.buffer)


def load_assessor(run: Run) -> Assessor:
    """The model that the settings name, opened with all that they say of it.

    Raises:
        ModelError, DeviceError: it cannot be had.
        UsageError: settings that do not go together, or that need an extra which is not installed.
    """
    from piqa_cli.devices import keep_freed_memory
    from piqa_cli.models import open_assessor

    keep_freed_memory()
    chosen = run.settings
    assessor = open_assessor(**chosen.for_model())
    model = assessor.info
    run.detail(f"model {model.name} {model.version}, weights {model.weights_sha256[:12]}, device {chosen.device}")
    return assessor


def _write(form: Format, output: str | None, outcome: Outcome) -> None:
    from piqa_cli.writers import open_writer

    target = sys.stdout if output in {None, STDIN} else output
    with open_writer(form, target, single=True) as writer:
        writer.write(outcome)


def image_policy(settings: Settings) -> ImagePolicy:
    """How images are read, by the settings."""
    from piqa_cli.images import ImagePolicy

    standard = ImagePolicy()
    return ImagePolicy(
        max_pixels=settings.max_pixels or standard.max_pixels, invert_mask=settings.invert_mask, frame=settings.frame
    )
