"""`piqa models`: which assessors there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from piqa_cli.cli.options import command
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import emit, stdout_is_terminal

if TYPE_CHECKING:
    from piqa_cli.models import ModelEntry

app = typer.Typer(no_args_is_help=True, help="List, describe and verify the models.")
FormatOption = Annotated[
    Literal["table", "json"] | None,
    typer.Option("--format", "-f", help="By default a table for a terminal, JSON for a pipe.", show_default=False),
]


@app.command("list")
@command()
def list_models(run: Run, form: FormatOption = None) -> None:
    """List the models by name."""
    from piqa_cli.models import MODELS

    entries = list(MODELS.values())
    if _as_json(form):
        _print_json([_fields(entry) for entry in entries])
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "version", "parameters", "licence", "description", box=None)
    for entry in entries:
        row = (entry.name, entry.version, f"{entry.parameters:,}", entry.licence, entry.description)
        table.add_row(*map(escape, row))
    Console().print(table)


@app.command("info")
@command()
def info(
    run: Run, name: Annotated[str, typer.Argument(help="As in `piqa models list`.")], form: FormatOption = None
) -> None:
    """Describe one model: version, size, licence, weights."""
    from piqa_cli.models import find_model

    fields = _fields(find_model(name))
    if _as_json(form):
        _print_json(fields)
        return
    width = max(map(len, fields))
    emit("".join(f"{key:<{width}}  {value}\n" for key, value in fields.items()))


@app.command("verify")
@command()
def verify(
    run: Run,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All models by default.")] = None,
) -> None:
    """Check that the weights are there and unaltered; exit with 4 if not."""
    from piqa_cli.models import MODELS
    from piqa_cli.models import verify as verify_weights

    for name in names or list(MODELS):
        emit(f"{name}: ok, sha256 {verify_weights(name)}\n")


def _fields(entry: ModelEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "version": entry.version,
        "description": entry.description,
        "parameters": entry.parameters,
        "licence": entry.licence,
        "weights": str(entry.weights),
        "sha256": entry.sha256,
    }


def _as_json(form: str | None) -> bool:
    return form == "json" or (form is None and not stdout_is_terminal())


def _print_json(value: object) -> None:
    emit(json.dumps(value, indent=2) + "\n")
