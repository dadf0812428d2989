"""`piqa doctor`: whether a model passes the checks that any judge must pass."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from piqa_cli.cli.assess import load_assessor
from piqa_cli.cli.models import FormatOption
from piqa_cli.cli.options import MODEL, command
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import emit, stdout_is_terminal

if TYPE_CHECKING:
    from piqa_cli.doctor import Verdict
    from piqa_cli.schema import ModelInfo

CHECK_FAILED: Final = 1
_WORDS: Final = {True: ("holds", "green"), False: ("FAILS", "red"), None: ("not applicable", "dim")}


@command(MODEL)
def doctor(run: Run, form: FormatOption = None) -> None:
    """Check that a model can be trusted with edits at all; exit with 1 where it fails.

    A black picture, an identical pair, a prompt that asks for something else, a mirrored pair, batches, and the
    weights of an adapter: each with what a sane judge must do and what this one did.
    """
    from piqa_cli.doctor import Patient, examine, precision_of

    assessor = load_assessor(run)
    adapter = run.settings.adapter
    patient = Patient(assessor, None if adapter is None else Path(adapter), precision_of(assessor))
    verdicts = examine(patient)
    failed = sum(verdict.holds is False for verdict in verdicts)
    if form == "json" or (form is None and not stdout_is_terminal()):
        record = {"model": assessor.info.model_dump(), "passed": not failed, "checks": [asdict(v) for v in verdicts]}
        emit(json.dumps(record, indent=2) + "\n")
    else:
        _print_table(verdicts, assessor.info)
    run.note(f"{failed} of {len(verdicts)} checks failed" if failed else "all checks hold")
    if failed:
        raise typer.Exit(CHECK_FAILED)


def _print_table(verdicts: list[Verdict], model: ModelInfo) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from piqa_cli.writers.terminal import visible

    title = Text(f"{visible(model.name)} {visible(model.version)}")
    table = Table("check", "verdict", "expected", "found", box=box.HORIZONTALS, title=title, show_lines=True)
    for verdict in verdicts:
        word, style = _WORDS[verdict.holds]
        row = (verdict.check, verdict.expected, verdict.found)
        check, expected, found = (escape(visible(text)) for text in row)
        table.add_row(check, Text(word, style=style), expected, found)
    Console().print(table)
