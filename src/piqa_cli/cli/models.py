"""`piqa models`: which assessors there are, and the hub models in the cache of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from piqa_cli.cli.options import HUB, command
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import emit, printable, stdout_is_terminal

if TYPE_CHECKING:
    from piqa_cli.lmm.cache import Described
    from piqa_cli.lmm.hub import Located
    from piqa_cli.models import ModelEntry

app = typer.Typer(no_args_is_help=True, help="List, describe, download and verify models.")
FormatOption = Annotated[
    Literal["table", "json"] | None,
    typer.Option("--format", "-f", help="By default a table for a terminal, JSON for a pipe.", show_default=False),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As in `piqa models list`, a folder or a hub id.")]


@app.command("list")
@command()
def list_models(run: Run, form: FormatOption = None) -> None:
    """List the models that are here: those of the package, and those in the hub's cache."""
    from piqa_cli.errors import ModelError
    from piqa_cli.lmm.cache import cached_models, describe
    from piqa_cli.lmm.hub import prepare
    from piqa_cli.models import MODELS

    prepare(offline=True)  # the cache answers for itself
    rows = [_entry_fields(entry) for entry in MODELS.values()]
    for located in cached_models():
        try:
            rows.append(_described_fields(describe(located)))
        except ModelError as error:  # half a download must not hide the others
            run.warn(f"{located.name} {located.version[:8]}: {printable(error.message)}")
    if as_json(form):
        emit_json(rows)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "version", "parameters", "licence", "description", box=None)
    for row in rows:
        cells = (row["name"], row["version"], f"{row['parameters']:,}", row["licence"], row["description"])
        table.add_row(*(escape(printable(str(cell))) for cell in cells))
    Console().print(table)


@app.command("info")
@command(HUB)
def info(run: Run, name: NameArgument, form: FormatOption = None) -> None:
    """Describe one model that is here: version, size, licence, weights, and the memory that it needs."""
    from piqa_cli.models import MODELS

    fields = _entry_fields(MODELS[name]) if name in MODELS else _described_fields(_describe(run, name))
    if as_json(form):
        emit_json(fields)
        return
    width = max(map(len, fields))
    emit("".join(f"{key:<{width}}  {_shown(value)}\n" for key, value in fields.items()))


@app.command("download")
@command(HUB)
def download(
    run: Run, name: Annotated[str, typer.Argument(metavar="HUB_ID", help="OWNER/NAME, as the hub has it.")]
) -> None:
    """Download an image-text-to-text model into the hub's cache, for use without the network."""
    from piqa_cli.lmm.cache import describe
    from piqa_cli.lmm.hub import download as fetch
    from piqa_cli.lmm.hub import prepare

    chosen = run.settings
    prepare(chosen.offline)
    run.note(f"downloading {name}")
    found = describe(fetch(name, chosen.revision, trusted=chosen.trust_remote_code))
    run.note(f"{found.parameters:,} parameters, licence {printable(found.licence)}; it needs {_shown(found.memory)}")
    emit(f"{found.name} {found.version} {found.folder}\n")


@app.command("verify")
@command(HUB)
def verify(
    run: Run,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="The package's own models by default.")
    ] = None,
) -> None:
    """Check that the weights are there and unaltered, reading all of them; exit with 4 if not."""
    from piqa_cli.lmm.cache import verify_files
    from piqa_cli.models import MODELS
    from piqa_cli.models import verify as verify_weights

    for name in names or list(MODELS):
        if name in MODELS:
            emit(f"{name}: ok, sha256 {verify_weights(name)}\n")
            continue
        located = _here(run, name)
        count = verify_files(located)
        what = f"{count} files are as published" if count else "whole; there is nothing to compare its files with"
        emit(f"{printable(name)}: ok, {what}\n")


def _here(run: Run, name: str) -> Located:
    """A folder, or a hub model in the cache.

    Raises:
        ModelError: it is not here.
    """
    from piqa_cli.lmm.hub import is_hub_id, locate
    from piqa_cli.models import find_model

    if not Path(name).is_dir() and not is_hub_id(name):
        find_model(name)
    return locate(name, run.settings.revision, offline=True)


def _describe(run: Run, name: str) -> Described:
    from piqa_cli.lmm.cache import describe

    return describe(_here(run, name))


def _entry_fields(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "version": entry.version,
        "description": entry.description,
        "parameters": entry.parameters,
        "licence": entry.licence,
        "weights": str(entry.weights),
        "sha256": entry.sha256,
        "memory": None,
    }


def _described_fields(found: Described) -> dict[str, Any]:
    return {
        "name": found.name,
        "version": found.version,
        "description": f"Image-text-to-text model, architecture {found.architecture}.",
        "parameters": found.parameters,
        "licence": found.licence,
        "weights": str(found.folder),
        "sha256": found.sha256,
        "memory": found.memory,
    }


def _shown(value: object) -> str:
    """A field as text; bytes of memory in GiB."""
    from piqa_cli.lmm.memory import gib

    if isinstance(value, dict):
        return ", ".join(f"{form} {gib(count)}" for form, count in value.items())
    return printable(str(value))


def as_json(form: str | None) -> bool:
    """Whether a report is JSON: told so, or nobody reads it."""
    return form == "json" or (form is None and not stdout_is_terminal())


def emit_json(value: object) -> None:
    """Fields as JSON on standard output; what is not finite is null."""
    from piqa_cli.writers.writing import finite

    emit(json.dumps(finite(value), indent=2, allow_nan=False) + "\n")
