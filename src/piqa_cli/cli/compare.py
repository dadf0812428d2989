"""`piqa compare`: what changed from one file of results to another, and whether it got worse."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from piqa_cli.cli import completion
from piqa_cli.cli.files import check_target, write
from piqa_cli.cli.gates import DIMENSIONS
from piqa_cli.cli.options import GATES_PANEL, OUTPUT, RESULTS_PANEL, SEED, command, option
from piqa_cli.cli.run import GATE_FAILED, Run
from piqa_cli.cli.streams import printable, stdout_is_terminal
from piqa_cli.cli.summary import plural
from piqa_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from piqa_cli.evaluation.changes import Comparison

FAILURES = "failures"
_SUFFIXES: dict[str, Literal["table", "json", "csv"]] = {".json": "json", ".csv": "csv", ".txt": "table"}


@command(SEED)
def compare(
    run: Run,
    old: Annotated[str, typer.Argument(metavar="OLD.jsonl", help="Records that piqa wrote before.")],
    new: Annotated[str, typer.Argument(metavar="NEW.jsonl", help="Records to compare with them, joined by id.")],
    fail_if_worse: Annotated[
        list[str] | None,
        option(
            GATES_PANEL,
            "--fail-if-worse",
            metavar="DIM=X",
            completer=completion.bounds,
            help_="Exit with 10 if the mean of DIM fell by more than X over the pairs that have a score in both files."
            " DIM is overall, completion, harmony, naturalness or preservation; or failures: if more than X pairs"
            " newly fail. Repeatable.",
        ),
    ] = None,
    form: Annotated[
        Literal["table", "json", "csv"] | None,
        option(
            RESULTS_PANEL,
            "--format",
            "-f",
            metavar="FORMAT",
            help_="table, json, or csv with a row a pair. By default a table for a terminal; else by the suffix of"
            " --output, or JSON.",
        ),
    ] = None,
    output: Annotated[str | None, OUTPUT] = None,
    top: Annotated[
        int, option(RESULTS_PANEL, "--top", metavar="N", help_="Pairs of a kind that a table lists.", least=0)
    ] = 10,
    resamples: Annotated[
        int, option(RESULTS_PANEL, "--resamples", metavar="N", help_="Of the intervals; 0 makes none.", least=0)
    ] = 1000,
) -> None:
    """Compare two files of results: which pairs moved, how much, and whether by more than chance."""
    bounds = [parse_bound(text) for text in fail_if_worse or ()]
    check_target("--output", output, (old, new))
    form = form or _format(output)

    from piqa_cli.evaluation.change_tables import render
    from piqa_cli.evaluation.changes import compare_records
    from piqa_cli.evaluation.reading import read_records
    from piqa_cli.evaluation.scores import Resampling

    first, second = (read_records(path, lambda text: run.warn(printable(text))) for path in (old, new))
    found = compare_records(first, second, Resampling(resamples, run.settings.seed))
    if not found.ids:
        raise InputError(
            "no pair is in both files",
            code="E_RESULTS",
            file=new,
            expected=f"ids of {printable(old)}, such as '{printable(next(iter(first.rows)))}'",
            found=f"'{printable(next(iter(second.rows)))}'",
            hint="pairs are joined by their ids: give both runs the same names",
        )
    _tell(run, found)
    on_terminal = output in {None, "-"} and stdout_is_terminal()
    write(render(found, form, top=top, width=shutil.get_terminal_size().columns if on_terminal else None), output)
    verdicts = [bound.verdict(found) for bound in bounds]
    for _, words in verdicts:
        run.note(words)
    if not all(held for held, _ in verdicts):
        raise typer.Exit(GATE_FAILED)


@dataclass(frozen=True, slots=True)
class Bound:
    """One `--fail-if-worse`: by how much a dimension's mean may fall, or how many pairs may newly fail."""

    name: str
    most: float

    def verdict(self, found: Comparison) -> tuple[bool, str]:
        """Whether it holds, and in words."""
        if self.name == FAILURES:
            count = len(found.newly_failing)
            held = count <= self.most
            return held, f"gate {self} {'held' if held else 'failed'}: {plural(count, 'pair')}"
        from piqa_cli.evaluation.changes import fall_of
        from piqa_cli.schema import Dimension

        fall = fall_of(found, Dimension(DIMENSIONS[self.name]))
        if fall is None:
            return False, f"gate {self} failed: no pair has a score in both files"
        held = fall <= self.most
        return (
            held,
            f"gate {self} {'held' if held else 'failed'}: the mean {'fell' if fall > 0 else 'rose'} by {abs(fall):.3f}",
        )

    def __str__(self) -> str:
        what = "newly failing pairs" if self.name == FAILURES else f"fall of {self.name}"
        return f"{what} <= {self.most:g}"


def parse_bound(text: str) -> Bound:
    """`overall=0.1` or `failures=0` as a Bound.

    Raises:
        UsageError: not DIM=X, an unknown dimension, or no number of at least 0.
    """
    name, equals, number = text.partition("=")
    name = name.strip().lower().replace("-", "_")
    short = next((short for short, full in DIMENSIONS.items() if name == full), name)
    known = (*DIMENSIONS, FAILURES)
    if not equals or short not in known:
        raise UsageError(
            f"--fail-if-worse: expected DIM=X with DIM one of {', '.join(known)}; found '{printable(text)}'",
            hint="for example --fail-if-worse overall=0.1",
        )
    try:
        most = float(number)
    except ValueError:
        most = math.nan
    if not 0 <= most < math.inf:
        raise UsageError(
            f"--fail-if-worse {short}: expected a number of at least 0 after '=', found '{printable(number)}'",
            hint=f"for example --fail-if-worse {short}=0.1",
        )
    return Bound(short, most)


def _format(output: str | None) -> Literal["table", "json", "csv"]:
    if output is None or output == "-":
        return "table" if stdout_is_terminal() else "json"
    suffix = os.path.splitext(output)[1].lower()
    if suffix and suffix not in _SUFFIXES:
        raise UsageError(
            f"--output: no format is known by the suffix '{printable(suffix)}'",
            hint=f"use one of {', '.join(_SUFFIXES)}, or give --format",
        )
    return _SUFFIXES.get(suffix, "json")


def _tell(run: Run, found: Comparison) -> None:
    """On standard error: what makes the two files less comparable, and what is not in both."""
    from piqa_cli.evaluation.changes import differing_judges

    judges = differing_judges(found.old, found.new)
    if judges:
        run.warn(f"not one model judged: {'; '.join(map(printable, judges))}; a change may be the model's")
    if found.other_source:
        run.warn(f"{plural(found.other_source, 'pair')} with a source of another name")
    if found.other_prompt:
        run.warn(f"{plural(found.other_prompt, 'pair')} with another prompt")
    for side in (found.old, found.new):
        if side.repeated:
            run.warn(f"{printable(side.path)}: {plural(side.repeated, 'record')} passed over for a later one of its id")
    told = (("only in", found.old, found.only_old), ("only in", found.new, found.only_new))
    for words, side, names in told:
        if names:
            run.note(f"{plural(len(names), 'pair')} {words} {printable(side.path)}; first '{printable(names[0])}'")
    if found.same_key == len(found.ids):
        run.note("all pairs have the same key: the same files, judged by the same model and settings")
