"""`piqa evaluate`: how well records agree with people's ratings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from piqa_cli.cli.assess import load_assessor
from piqa_cli.cli.batch import outcomes_of
from piqa_cli.cli.files import check_plots, check_target, write
from piqa_cli.cli.inputs import failure_line
from piqa_cli.cli.options import EFFORT, INPUT_PANEL, MODEL, OUTPUT, READING, RESULTS_PANEL, SEED, command, option
from piqa_cli.cli.progress import progress_bar
from piqa_cli.cli.run import SOME_FAILED, Run
from piqa_cli.cli.streams import printable, stdout_is_terminal
from piqa_cli.cli.summary import plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.evaluation.report import Evaluation, Subject
    from piqa_cli.pairs.annotations import Annotation
    from piqa_cli.pairs.epaiqa import Label, Split
    from piqa_cli.schema import Failure, Outcome, Pair

Format = Literal["table", "json", "markdown", "latex"]
SHOWN = 10
"""Names of a kind that are told one by one on standard error; --format json lists them all."""
_SUFFIXES: dict[str, Format] = {".json": "json", ".md": "markdown", ".tex": "latex", ".txt": "table"}
_EFFORT = {name: EFFORT[name] for name in ("workers", "batch_size")}


@command(MODEL, READING, _EFFORT, SEED)
def evaluate(
    run: Run,
    labels: Annotated[
        str,
        option(INPUT_PANEL, "--labels", metavar="FILE", help_="What people said: a label file in EPAIQA-15K's format."),
    ],
    results: Annotated[
        str | None,
        typer.Argument(
            metavar="RESULTS.jsonl",
            show_default=False,
            help="Records that piqa wrote. Without them --image-dir has the model judge; without both only the"
            " baselines are measured.",
        ),
    ] = None,
    image_dir: Annotated[
        str | None,
        option(INPUT_PANEL, "--image-dir", metavar="DIR", help_="The labels' images, for --model to judge now."),
    ] = None,
    split: Annotated[
        Literal["train", "test"] | None,
        option(INPUT_PANEL, "--split", metavar="train|test", help_="Only the photos of this split; all by default."),
    ] = None,
    annotations: Annotated[
        str | None,
        option(INPUT_PANEL, "--annotations", metavar="FILE.jsonl", help_="True regions, faults and explanations."),
    ] = None,
    against: Annotated[
        str | None,
        option(INPUT_PANEL, "--against", metavar="OTHER.jsonl", help_="Other records, to compare the first with."),
    ] = None,
    baselines: Annotated[
        Literal["blind", "all", "none"],
        option(
            RESULTS_PANEL,
            "--baselines",
            metavar="blind|all|none",
            help_="What to measure beside them: the mean and the prompt alone (blind), also what people's other ratings"
            " would give (all), or nothing.",
        ),
    ] = "blind",
    form: Annotated[
        Format | None,
        option(
            RESULTS_PANEL,
            "--format",
            "-f",
            metavar="FORMAT",
            help_="table, json, markdown or latex. By default a table for a terminal; else by the suffix of --output,"
            " or JSON.",
        ),
    ] = None,
    output: Annotated[str | None, OUTPUT] = None,
    plots: Annotated[
        str | None,
        option(
            RESULTS_PANEL, "--plots", metavar="DIR", help_="Also draw scatter plots and reliability diagrams there."
        ),
    ] = None,
    records: Annotated[
        str | None,
        option(RESULTS_PANEL, "--records", metavar="FILE.jsonl", help_="With --image-dir: also keep the records."),
    ] = None,
    resamples: Annotated[
        int, option(RESULTS_PANEL, "--resamples", metavar="N", help_="Of the intervals; 0 makes none.", least=0)
    ] = 1000,
) -> None:
    """Measure records against people's ratings: scores, regions, explanations, baselines, differences."""
    _check(run, results, image_dir, against, records, plots, resamples)
    for name, target in (("--output", output), ("--records", records)):
        check_target(name, target, (results, against, labels, annotations, output if name == "--records" else None))
    form = form or _format(output)

    from piqa_cli.evaluation.joining import select
    from piqa_cli.evaluation.report import evaluate as measure
    from piqa_cli.evaluation.scores import Resampling
    from piqa_cli.pairs.epaiqa import parse_labels

    rated, refused = select(parse_labels(labels), None)
    known, unread = _annotations(annotations)
    failed = 0
    subjects: list[Subject] = []
    if image_dir is not None:
        outcomes = list(_assess(run, labels, image_dir, split, records))
        failed = sum(outcome.status == "error" for outcome in outcomes)
        subjects.append(_subject(run, run.settings.model, outcomes, rated, split))
    names = _names(results, against)
    for path, name in names:
        subjects.append(_subject(run, name, _read(run, path), rated, split))
    evaluation = measure(
        rated,
        subjects,
        split=split,
        annotations=known,
        baselines=baselines,
        how=Resampling(resamples, run.settings.seed),
        refused=(*refused, *unread),
    )
    _tell(run, evaluation)
    _write(evaluation, form, output)
    if plots is not None:
        _draw(run, evaluation, plots)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _check(
    run: Run,
    results: str | None,
    image_dir: str | None,
    against: str | None,
    records: str | None,
    plots: str | None,
    resamples: int,
) -> None:
    """Refuses options that do not go together, before any work is done."""
    if results is not None and image_dir is not None:
        raise UsageError("RESULTS and --image-dir exclude each other", hint="records are there, or are to be made")
    if results is None and image_dir is None:
        for option_, value in (("--model", run.flags.get("model")), ("--records", records)):
            if value is not None:
                raise UsageError(f"{option_} needs --image-dir", hint="give the folder of the labels' images")
        if against is not None:
            raise UsageError("--against needs RESULTS or --image-dir", hint="give the records to compare with")
    if results is not None and records is not None:
        raise UsageError("--records is for --image-dir: RESULTS are records already")
    if against is not None and resamples == 0:
        raise UsageError("--against needs --resamples of at least 1", hint="1000 is the default")
    check_plots(plots)


def _format(output: str | None) -> Format:
    if output is None or output == "-":
        return "table" if stdout_is_terminal() else "json"
    suffix = os.path.splitext(output)[1].lower()
    if suffix and suffix not in _SUFFIXES:
        raise UsageError(
            f"--output: no format is known by the suffix '{printable(suffix)}'",
            hint=f"use one of {', '.join(_SUFFIXES)}, or give --format",
        )
    return _SUFFIXES.get(suffix, "json")


def _names(*paths: str | None) -> list[tuple[str, str]]:
    """(path, what tables call it): the file's name, or the path where two share a name."""
    given = [path for path in paths if path is not None]
    short = [os.path.splitext(os.path.basename(path))[0] or path for path in given]
    distinct = len(set(short)) == len(short)
    return list(zip(given, short if distinct else _told_apart(given), strict=True))


def _told_apart(paths: list[str]) -> list[str]:
    return paths if len(set(paths)) == len(paths) else [f"{path} ({number})" for number, path in enumerate(paths, 1)]


def _read(run: Run, path: str) -> Iterator[Outcome]:
    from piqa_cli.writers import read_results

    return read_results(path, on_warning=lambda text: run.warn(printable(text)))


def _annotations(path: str | None) -> tuple[list[Annotation], list[Failure]]:
    if path is None:
        return [], []
    from piqa_cli.pairs.annotations import read_annotations
    from piqa_cli.schema import Failure

    lines = list(read_annotations(path))
    return [line for line in lines if not isinstance(line, Failure)], [
        line for line in lines if isinstance(line, Failure)
    ]


def _subject(
    run: Run, name: str, outcomes: Iterable[Outcome], labels: tuple[Label, ...], split: Split | None
) -> Subject:
    """Records joined with the labels; what found no partner is told on standard error."""
    from piqa_cli.evaluation.joining import join
    from piqa_cli.evaluation.report import Subject

    joined = join(labels, outcomes, split)
    shown = printable(name)
    failed = sum(case.assessment is None for case in joined.matched)
    run.note(f"{shown}: {len(joined.matched)} of {plural(len(joined.cases), 'label')} have a record, {failed} failed")
    _list(run, f"{shown}: no record for", joined.missing)
    _list(run, f"{shown}: no label for", joined.strangers)
    if joined.elsewhere:
        run.note(f"{shown}: {plural(joined.elsewhere, 'record')} of the other split passed over")
    return Subject(name, joined)


def _list(run: Run, what: str, names: tuple[str, ...]) -> None:
    for name in names[:SHOWN]:
        run.note(f"{what} {printable(name)}")
    if len(names) > SHOWN:
        run.note(f"{what} {len(names) - SHOWN} more; --format json lists them")


def _assess(run: Run, labels: str, image_dir: str, split: Split | None, records: str | None) -> Iterator[Outcome]:
    """The model's judgement of the labelled pairs, kept in a file as they come if one is named."""
    from contextlib import ExitStack

    from piqa_cli.writers import open_writer

    pairs = list(_pairs(labels, image_dir, split))
    run.progress = "while the model judged" + (f"; the rows written are in {printable(records)}" if records else "")
    with ExitStack() as stack:
        outcomes = stack.enter_context(closing(outcomes_of(run, pairs, load_assessor(run))))
        writer = stack.enter_context(open_writer("jsonl", records)) if records is not None else None
        advance = stack.enter_context(progress_bar(run.settings, len(pairs), "pairs"))
        for outcome in outcomes:
            if writer is not None:
                writer.write(outcome)
            advance()
            yield outcome


def _pairs(labels: str, image_dir: str, split: Split | None) -> Iterator[Pair | Failure]:
    """The pairs of the split. A row without images is a failure; one that names no images is told elsewhere."""
    from piqa_cli.pairs.epaiqa import pair_labels, parse_labels, split_of
    from piqa_cli.schema import Failure

    rows = parse_labels(labels)
    for label, item in zip(rows, pair_labels(rows, image_dir), strict=True):
        if isinstance(label, Failure) or split not in {None, split_of(label.source_name)}:
            continue
        yield item if isinstance(item, Failure) else item.pair


def _tell(run: Run, evaluation: Evaluation) -> None:
    """What could not be used, on standard error."""
    for failure in evaluation.refused[:SHOWN]:
        run.note(failure_line(failure))
    if len(evaluation.refused) > SHOWN:
        run.note(f"{len(evaluation.refused) - SHOWN} more rows that cannot be used; --format json lists them")
    if not evaluation.subjects:
        run.note(f"no records were given: baselines alone, on {plural(evaluation.labels, 'label')}")
    for one in evaluation.details:
        for problem in one.problems[:SHOWN]:
            run.note(f"{printable(one.name)}: {printable(problem.name)}: {printable(problem.reason)}")


def _write(evaluation: Evaluation, form: Format, output: str | None) -> None:
    from piqa_cli.evaluation.tables import render

    write(render(evaluation, form), output)


def _draw(run: Run, evaluation: Evaluation, folder: str) -> None:
    from piqa_cli.evaluation.plots import save_plots

    paths = save_plots(evaluation, folder)
    run.note(f"{plural(len(paths), 'plot')} in {printable(folder)}")
