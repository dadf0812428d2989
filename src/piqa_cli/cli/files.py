"""Where results go: the format, the target, and what must never be overwritten by accident."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Literal, cast

from piqa_cli.cli.config import Settings
from piqa_cli.cli.streams import emit, printable, stdout_is_terminal
from piqa_cli.errors import InputError, UsageError
from piqa_cli.remote import is_remote

Format = Literal["table", "json", "jsonl", "csv", "parquet"]
STDIN = "-"
# Suffix of --output -> format.
SUFFIXES: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".txt": "table",
}
OVERLAY_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def choose_format(flag: object, output: str | None, settings: Settings, piped: Format) -> Format:
    """The format of the results: `--format`, then `--output`'s suffix, then configuration, then who reads.

    Args:
        flag: what `--format` gave, None if nothing.
        output: what `--output` gave.
        settings: for the format from the environment and the configuration files.
        piped: the command's own for a pipe or a file without a suffix.

    Raises:
        UsageError: the suffix of the output stands for no format, and none was given.
    """
    if flag is not None:
        return cast(Format, flag)
    if output is not None and output != "-":
        suffix = os.path.splitext(output)[1].lower()
        if suffix in SUFFIXES:
            return SUFFIXES[suffix]
        if suffix and settings.format is None:
            raise UsageError(
                f"--output: no format is known by the suffix '{printable(suffix)}'",
                hint=f"use one of {', '.join(SUFFIXES)}, or give --format",
            )
    if settings.format is not None:
        return settings.format
    return "table" if output in {None, "-"} and stdout_is_terminal() else piped


def check_target(option: str, path: str | None, inputs: Iterable[str | None]) -> None:
    """Refuses a file that cannot be written, or that would overwrite an input, before any work is done.

    Raises:
        UsageError: the folder is not there, the path is a folder, or it is one of the inputs.
    """
    if path is None or path == "-":
        return
    if is_remote(path):
        raise UsageError(f"{option}: is written to a file of this machine", file=path, hint="write it here and copy it")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UsageError(f"{option}: there is no folder '{printable(folder)}'", file=path, hint="create it first")
    if os.path.isdir(path):
        raise UsageError(f"{option}: '{printable(path)}' is a folder, expected a file", file=path)
    try:
        there = os.stat(path)
    except OSError:
        return
    for name in inputs:
        if name is None or name == STDIN:
            continue
        try:
            same = os.path.samestat(there, os.stat(name))
        except (OSError, ValueError):
            continue
        if same:
            raise UsageError(
                f"{option}: '{printable(path)}' is also an input and would be overwritten",
                file=path,
                hint="choose another",
            )


def check_plots(folder: str | None) -> None:
    """Refuses `--plots` where it cannot work, before any work is done.

    Raises:
        UsageError: matplotlib is not installed, or there is a file where the folder is to be.
    """
    if folder is None:
        return
    if find_spec("matplotlib") is None:
        raise UsageError("--plots needs matplotlib", hint="pip install 'piqa-cli[plots]'")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UsageError(f"--plots: '{printable(folder)}' is a file, expected a folder", file=folder)


def write(text: str, output: str | None) -> None:
    """A whole result to a file, or to standard output for `-` and None.

    Raises:
        BrokenPipeError: the reader has gone.
        OutputError: it cannot be written.
    """
    if output is None or output == "-":
        emit(text)
        return
    from piqa_cli.writers.sink import write_text

    write_text(output, text)


def check_overlay(path: str | None, inputs: Iterable[str | None]) -> None:
    """Refuses an overlay of another format, and what `check_target` refuses.

    Raises:
        UsageError: as said.
    """
    if path is None:
        return
    if os.path.splitext(path)[1].lower() not in OVERLAY_SUFFIXES:
        raise UsageError(f"--overlay: expected a .png, .jpg or .webp file, found '{printable(path)}'", file=path)
    check_target("--overlay", path, inputs)


def read_prompt(text: str | None) -> str | None:
    """The prompt: the text itself, or with `@FILE` the file's content; `@@` begins a text with an `@`.

    Raises:
        InputError: the file cannot be read.
    """
    if text is None or not text.startswith("@"):
        return text
    if text.startswith("@@"):
        return text[1:]
    path = text[1:]
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read().strip()
    except FileNotFoundError as error:
        raise InputError(
            f"{printable(path)}: no such file for the prompt",
            code="E_NOT_FOUND",
            file=path,
            hint="a prompt that begins with @ names a file; write @@ for a literal @",
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{printable(path)}: the prompt cannot be read: {error}", file=path, hint="expected a text file in UTF-8"
        ) from error
