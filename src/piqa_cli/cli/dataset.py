"""`piqa dataset`: check, count, split, convert and describe rated edits; raw ratings to mean opinion scores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from piqa_cli.cli.dataset_report import show_check, show_opinions, show_split, show_statistics
from piqa_cli.cli.files import check_plots, check_target, write
from piqa_cli.cli.inputs import failure_line
from piqa_cli.cli.models import FormatOption, as_json, emit_json
from piqa_cli.cli.options import SEED, command
from piqa_cli.cli.progress import progress_bar
from piqa_cli.cli.run import INPUT, Run
from piqa_cli.cli.streams import printable
from piqa_cli.cli.summary import plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.dataset.conversion import Converted, Form
    from piqa_cli.dataset.splitting import Part
    from piqa_cli.pairs.annotations import Annotation
    from piqa_cli.schema import Failure

app = typer.Typer(no_args_is_help=True, help="Check, count, split, convert and describe rated edits.")
_MOST_TOLD = 10

LabelsArgument = Annotated[str, typer.Argument(metavar="LABELS", help="Label file in EPAIQA-15K's format.")]
ImagesOption = Annotated[
    str | None, typer.Option("--image-dir", metavar="DIR", help="Where the images are, anywhere below.")
]
AnnotationsOption = Annotated[
    str | None, typer.Option("--annotations", metavar="FILE", help="Regions, faults and explanations, JSON lines.")
]
OutputOption = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is standard output.")
]


@app.command("validate")
@command()
def validate(
    run: Run,
    labels: LabelsArgument,
    image_dir: ImagesOption = None,
    annotations: AnnotationsOption = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every image in --image-dir; slow.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 also where there is a warning.")] = False,
    form: FormatOption = None,
) -> None:
    """List what is wrong with a label file, its images and its annotations; exit with 3 where there is an error.

    Errors cost a row, an image or an annotation; warnings need somebody to look; notes are put right or harmless.
    """
    if decode and image_dir is None:
        raise UsageError("--decode needs --image-dir")
    from piqa_cli.dataset.checking import check_labels

    with progress_bar(run.settings, None, "rows") as advance:
        report = check_labels(labels, image_dir, annotations, decode=decode, advance=advance)
    if as_json(form):
        emit_json(asdict(report))
    else:
        show_check(report)
    counts = (plural(report.errors, "error"), plural(report.warnings, "warning"), plural(report.notes, "note"))
    run.note(f"{report.usable} of {plural(report.rows, 'row')} can be used; {', '.join(counts)}")
    if not report.usable or report.errors or (strict and report.warnings):
        raise typer.Exit(INPUT)


@app.command("stats")
@command()
def stats(
    run: Run,
    labels: LabelsArgument,
    annotations: AnnotationsOption = None,
    plots: Annotated[
        str | None, typer.Option("--plots", metavar="DIR", help="Also draw them there; needs piqa-cli[plots].")
    ] = None,
    form: FormatOption = None,
) -> None:
    """Count the ratings: marginals, correlations, overall by completion, prompts and edited regions."""
    check_plots(plots)
    from piqa_cli.dataset.labels import open_labels
    from piqa_cli.dataset.plots import save_plots
    from piqa_cli.dataset.statistics import describe_ratings
    from piqa_cli.pairs.columns import ratings_of

    file = open_labels(labels)
    _tell_left_out(run, file.left_out)
    found = describe_ratings(file.labels, None if annotations is None else _annotations(run, annotations))
    if plots is not None:
        paths = save_plots(ratings_of(file.labels), found, plots)
        run.note(f"{plural(len(paths), 'plot')} in {printable(plots)}")
    if as_json(form):
        emit_json(asdict(found))
    else:
        show_statistics(found)


@app.command("split")
@command(SEED)
def split(
    run: Run,
    labels: LabelsArgument,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder for a label file a split, and split.json.")],
    shares: Annotated[
        str, typer.Option("--shares", metavar="NAME=X,...", help="Names of the splits, and their shares of the edits.")
    ] = "train=0.8,val=0.1,test=0.1",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace splits that are there.")] = False,
    form: FormatOption = None,
) -> None:
    """Divide a label file so that all edits of a photo are in one split, by completion and quintile of overall.

    The same file and --seed give the same splits, in whatever order the rows stand.
    """
    parts = _parse_shares(shares)
    from piqa_cli.dataset.labels import open_labels
    from piqa_cli.dataset.splitting import check_parts, write_splits

    check_parts(parts)
    file = open_labels(labels)
    _tell_left_out(run, file.left_out)
    record = write_splits(file, parts, out, run.settings.seed, overwrite=overwrite)
    for part in record.parts:
        if part.rows == 0:
            run.warn(f"{part.name} is empty: there are too few photos for its share")
    if as_json(form):
        emit_json(asdict(record))
    else:
        show_split(record)
    run.note(f"{plural(len(parts), 'split')} and split.json in {printable(out)}")


@app.command("convert")
@command()
def convert(
    run: Run,
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="Label file, manifest, or table of mean opinion scores.")
    ],
    to: Annotated[Literal["labels", "manifest"], typer.Option("--to", help="What to make of it.")],
    source_form: Annotated[
        Literal["labels", "manifest", "opinions"] | None,
        typer.Option("--from", help="What INPUT is; told by its suffix and header by default.", show_default=False),
    ] = None,
    image_dir: ImagesOption = None,
    manifest: Annotated[
        str | None,
        typer.Option("--manifest", metavar="FILE", help="For opinions: the source and prompt of each image."),
    ] = None,
    output: OutputOption = "-",
) -> None:
    """Turn a label file into a manifest for `piqa batch`, or a manifest or mean opinion scores into a label file.

    A manifest is CSV where --output ends in .csv, else JSON lines; its paths are relative to its own folder.
    """
    from piqa_cli.dataset.conversion import detect_form, label_objects
    from piqa_cli.dataset.labels import labels_text

    found: Form = source_form or detect_form(source)
    _check_conversion(found, to, image_dir, manifest)
    check_target("--output", output, (source, manifest))
    if to == "manifest":
        text, count, left_out = _manifest(source, image_dir, output)
    else:
        made = _labels(source, found, manifest)
        text, count, left_out = labels_text(label_objects(made)), len(made.labels), made.left_out
    _tell_left_out(run, left_out)
    if not count:
        raise _nothing_made(source)
    write(text, output)
    run.note(f"{plural(count, 'row')} written, {len(left_out)} left out")


@app.command("describe")
@command(SEED)
def describe(
    run: Run, labels: LabelsArgument, annotations: AnnotationsOption = None, output: OutputOption = "-"
) -> None:
    """Write explanation targets: those of --annotations, and by template from ratings, boxes and faults elsewhere."""
    from piqa_cli.dataset.describe import describe_all
    from piqa_cli.dataset.labels import open_labels
    from piqa_cli.pairs.annotations import annotation_line

    check_target("--output", output, (labels, annotations))
    known = [] if annotations is None else _annotations(run, annotations)
    file = open_labels(labels)
    _tell_left_out(run, file.left_out)
    told = describe_all(file.labels, known, seed=run.settings.seed)
    folder = "" if output == "-" else os.path.dirname(output)
    write("".join(annotation_line(one, folder) for one in told), output)
    written = sum(one.explanation is not None and not one.template for one in told)
    made = sum(one.explanation is not None and one.template for one in told)
    run.note(f"{plural(len(told), 'annotation')}: {written} explained by people, {made} by template")
    if stray := len(told) - len(file.rows):
        run.warn(f"{plural(stray, 'annotation')} of edits that are not in the label file")


@app.command("mos")
@command()
def mos(
    run: Run,
    ratings: Annotated[
        str, typer.Argument(metavar="RATINGS", help="CSV of raw ratings: rater, image, dimension, value.")
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the mean opinion scores here, as CSV; - is stdout."),
    ] = None,
    keep_outliers: Annotated[
        bool, typer.Option("--keep-outliers", help="Reject nobody, only tell who would be rejected.")
    ] = False,
    form: FormatOption = None,
) -> None:
    """Make mean opinion scores of raw ratings, and tell how far the raters agree.

    Raters are screened as ITU-R BT.500 describes. The ceiling is what a perfect predictor could reach against these
    means. Without --output only the report is given; with --output - only the scores.
    """
    check_target("--output", output, (ratings,))
    from piqa_cli.dataset.opinions import report_opinions
    from piqa_cli.dataset.ratings import opinions_text, read_ratings

    report = report_opinions(read_ratings(ratings), keep_outliers=keep_outliers)
    if output is not None:
        write(opinions_text(report.opinions), output)
    for warning in report.warnings:
        run.warn(warning)
    if output != "-" and as_json(form):
        emit_json({name: value for name, value in asdict(report).items() if name != "opinions"})
    elif output != "-":
        show_opinions(report)
    rejected = sum(rater.rejected for rater in report.raters)
    verdict = "would be rejected" if keep_outliers else "rejected"
    run.note(f"{plural(len(report.opinions), 'mean opinion score')}; {rejected} of {len(report.raters)} "
             f"raters x dimensions {verdict}")  # fmt: skip


def _annotations(run: Run, path: str) -> list[Annotation]:
    """The lines that can be used; the others are told."""
    from piqa_cli.pairs.annotations import read_annotations
    from piqa_cli.schema import Failure

    lines = list(read_annotations(path))
    _tell_left_out(run, [line for line in lines if isinstance(line, Failure)])
    return [line for line in lines if not isinstance(line, Failure)]


def _tell_left_out(run: Run, failures: Sequence[Failure]) -> None:
    for failure in failures[:_MOST_TOLD]:
        run.warn(f"left out: {failure_line(failure)}")
    if len(failures) > _MOST_TOLD:
        run.warn(f"left out: {len(failures) - _MOST_TOLD} more")


def _parse_shares(text: str) -> list[Part]:
    from piqa_cli.dataset.splitting import Part

    parts = []
    for item in text.split(","):
        name, _, share = item.partition("=")
        try:
            parts.append(Part(name.strip(), float(share)))
        except ValueError as error:
            raise UsageError(
                f"--shares: expected NAME=SHARE, found '{printable(item)}'", hint="for example train=0.8,test=0.2"
            ) from error
    return parts


def _check_conversion(found: Form, to: str, image_dir: str | None, manifest: str | None) -> None:
    """Refuses options that do not go together.

    Raises:
        UsageError: as said.
    """
    if to == "manifest" and found != "labels":
        raise UsageError(f"--to manifest: expected a label file, found {found}", hint="make labels of it first")
    if image_dir is not None and to != "manifest":
        raise UsageError("--image-dir is for --to manifest")
    if (manifest is not None) != (found == "opinions"):
        raise UsageError(
            "--manifest goes with mean opinion scores, and they need it", hint="it names source and prompt"
        )


def _manifest(source: str, image_dir: str | None, output: str) -> tuple[str, int, Sequence[Failure]]:
    from piqa_cli.dataset.conversion import manifest_rows, manifest_text
    from piqa_cli.dataset.labels import open_labels

    file = open_labels(source)
    base = "" if output == "-" else os.path.dirname(output)
    rows, missing = manifest_rows(file, image_dir, base)
    form: Literal["csv", "jsonl"] = "csv" if output.lower().endswith(".csv") else "jsonl"
    return manifest_text(rows, form), len(rows), [*file.left_out, *missing]


def _labels(source: str, form: Form, manifest: str | None) -> Converted:
    from piqa_cli.dataset.conversion import labels_of_manifest, labels_of_opinions, labels_only
    from piqa_cli.dataset.labels import open_labels
    from piqa_cli.dataset.ratings import read_opinions

    if form == "labels":
        return labels_only(open_labels(source))
    if form == "manifest":
        return labels_of_manifest(source)
    return labels_of_opinions(read_opinions(source), source, manifest or "")


def _nothing_made(source: str) -> Exception:
    from piqa_cli.errors import InputError

    return InputError("nothing in it can be converted", code="E_LABELS", file=source, hint="see the warnings above")
