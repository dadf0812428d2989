"""`piqa synth`: edited pairs with known faults, made from photos."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from piqa_cli.cli.options import SEED, command
from piqa_cli.cli.progress import progress_bar
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import printable
from piqa_cli.cli.summary import plural
from piqa_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from piqa_cli.synthesis import Sample


SEED_STEP = 1_000_003
"""Between the sample numbers of two seeds, so that they share no sample below a million pairs."""


@command(SEED)
def synth(
    run: Run,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder to make: source/, edited/, mask/ and the labels.")],
    photos: Annotated[str, typer.Option("--photos", metavar="DIR", help="Photos to edit.")],
    count: Annotated[int, typer.Option("--count", min=1, metavar="N", help="How many pairs.")] = 100,
    size: Annotated[
        int, typer.Option("--size", min=64, metavar="N", help="Side of the square pictures, in pixels.")
    ] = 256,
    split: Annotated[
        Literal["train", "val", "test", "all"], typer.Option("--split", help="Which share of the photos.")
    ] = "train",
    family: Annotated[
        str | None, typer.Option("--family", metavar="NAME", help="Only this family of edits; all by default.")
    ] = None,
) -> None:
    """Make synthetic partial edits of photos, with masks and known severity."""
    if not os.path.isdir(photos):
        raise InputError(f"--photos: there is no folder '{printable(photos)}'", code="E_NOT_FOUND", file=photos)
    if os.path.exists(out) and (not os.path.isdir(out) or os.listdir(out)):
        raise UsageError(f"OUT: '{printable(out)}' exists and is not an empty folder", file=out, hint="choose another")

    from piqa_cli.synthesis import FAMILIES, PhotoLibrary, make_sample, write_folder

    names = [known.name for known in FAMILIES]
    if family is not None and family not in names:
        raise UsageError(f"--family: there is none called '{printable(family)}'", hint=f"one of {', '.join(names)}")
    library = PhotoLibrary(photos)
    first = run.settings.seed * SEED_STEP
    with progress_bar(run.settings, count, "pairs") as advance:

        def samples() -> Iterator[Sample]:
            for number in range(count):
                yield make_sample(library, first + number, size, split, family=family)
                advance()
                run.progress = f"after {plural(number + 1, 'pair')}, kept in {printable(out)}"

        written = write_folder(samples(), out)
    run.note(f"{plural(written, 'pair')} in {printable(out)}; labels.jsonl there is a manifest for `piqa batch`")
