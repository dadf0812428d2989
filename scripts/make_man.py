"""Writes the man pages from the commands themselves: `python scripts/make_man.py`, or --check whether they are current.

One page a command, `piqa-batch.1`; one for a group with its subcommands in it, `piqa-models.1`; and `piqa.1`. The exit
statuses are the table of docs/cli.md. The wheel carries the pages to share/man/man1 (pyproject.toml).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from piqa_cli.cli.app import app

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "man"
ENVIRONMENT = (
    ("PIQA_...", "Any setting, as PIQA_DEVICE=cpu; an option wins over it, and it over the files below."),
    ("NO_COLOR, FORCE_COLOR, TERM=dumb", "Whether tables have colours."),
    ("HF_HOME, HF_HUB_CACHE, HF_TOKEN", "Where the Hugging Face hub's models are kept, and who asks for them."),
)
FILES = (
    ("piqa.toml", "Settings of a project: the nearest one from the current folder up to the root of its repository."),
    ("~/.config/piqa/config.toml", "Settings of the user, on Linux."),
)


def pages() -> dict[str, str]:
    """Name of each file -> its text."""
    root: Any = typer.main.get_command(app)
    found = {"piqa.1": page(("piqa",), root, sorted(root.commands))}
    for name, command in sorted(root.commands.items()):
        found[f"piqa-{name}.1"] = page(("piqa", name), command, sorted(root.commands))
    return found


def page(names: tuple[str, ...], command: Any, others: list[str]) -> str:
    """One page. `others`: the commands that there are."""
    title = "-".join(names)
    summary = paragraph(command)[0].rstrip(".").replace("\n", " ")
    lines = [
        '.\\" Made by scripts/make_man.py: change the commands, not this file.',
        f'.TH "{title.upper()}" "1" "" "piqa" "User Commands"',
        ".SH NAME",
        f"{escaped(title)} \\- {escaped(summary[0].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        *synopsis(names, command),
        ".SH DESCRIPTION",
    ]
    for text in paragraph(command):
        lines += [escaped(text), ".PP"]
    lines.pop()
    subcommands = sorted(getattr(command, "commands", {}).items())
    if len(names) == 1:
        lines.append(".SH COMMANDS")
        for name, sub in subcommands:
            lines += [".TP", f".BR {escaped(f'piqa-{name}')} (1)", escaped(paragraph(sub)[0])]
        lines += options(command, ".SH")
    else:
        for name, sub in subcommands:
            lines += [f'.SH "{" ".join((*names, name)).upper()}"', *synopsis((*names, name), sub)]
            lines += [".PP", escaped(" ".join(paragraph(sub))), *options(sub, ".SS")]
        if not subcommands:
            lines += options(command, ".SH")
    lines += [*exit_statuses(), *listed("ENVIRONMENT", ENVIRONMENT), *listed("FILES", FILES)]
    others = [f"piqa-{name}" for name in others if f"piqa-{name}" != title]
    pages_ = others if len(names) == 1 else ["piqa", *others]
    lines += [".SH SEE ALSO", ",\n".join(f".BR {escaped(name)} (1)" for name in pages_)]
    return "\n".join(lines) + "\n"


def synopsis(names: tuple[str, ...], command: Any) -> Iterator[str]:
    """The line of usage."""
    yield f".B {escaped(' '.join(names))}"
    words = ["[OPTIONS]"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
            words.append((name if parameter.required else f"[{name}]") + ("..." if parameter.nargs == -1 else ""))
    if hasattr(command, "commands"):
        words += ["COMMAND", "[ARGUMENTS]"]
    yield f".I {escaped(' '.join(words))}"


def options(command: Any, heading: str) -> Iterator[str]:
    """Arguments, then options by the panels of the help."""
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if not parameter.hidden:
            argument = parameter.param_type_name == "argument"
            panel = "Arguments" if argument else (parameter.rich_help_panel or "Options")
            panels.setdefault(panel, []).append(parameter)
    for panel, parameters in sorted(panels.items(), key=lambda item: item[0] != "Arguments"):
        yield f'{heading} "{panel.upper() if heading == ".SH" else panel}"'
        for parameter in parameters:
            yield from option(parameter)


def option(parameter: Any) -> Iterator[str]:
    """An argument or option: how it is written, and what it does."""
    yield ".TP"
    if parameter.param_type_name == "argument":
        yield f".I {escaped(parameter.metavar or parameter.name.upper())}"
    else:
        names = ", ".join(f"\\fB{escaped(name)}\\fR" for name in (*parameter.opts, *parameter.secondary_opts))
        value = "" if parameter.is_flag else parameter.metavar or str(parameter.display_type).strip("<>[]")
        yield names + (f" \\fI{escaped(value)}\\fR" if value else "")
    yield escaped(" ".join((parameter.help or "").split())) or "\\&"


def exit_statuses() -> Iterator[str]:
    """The table of the page on the command line."""
    _, _, rest = (ROOT / "docs" / "cli.md").read_text("utf-8").partition("## Exit status")
    rows = re.findall(r"^\| ([\d, ]+) \| (.+) \|$", rest.partition("\n## ")[0], flags=re.MULTILINE)
    yield from listed("EXIT STATUS", [(status, words.replace("`", "").replace("\\|", "|")) for status, words in rows])


def listed(title: str, rows: Any) -> Iterator[str]:
    """A section of terms and what they mean."""
    yield f'.SH "{title}"'
    for term, words in rows:
        yield from (".TP", f".B {escaped(term)}", escaped(words))


def paragraph(command: Any) -> list[str]:
    """The help text, a string a paragraph."""
    return [" ".join(part.split()) for part in (command.help or "").split("\n\n") if part.strip()]


def escaped(text: str) -> str:
    """Text that roff takes as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def main() -> int:
    """Writes the pages, or says which are not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is not current")
    check = parser.parse_args().check
    made = pages()
    there = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.1")}
    stale = sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))
    if check:
        print("\n".join(stale) or "all pages are current")
        return bool(stale)
    FOLDER.mkdir(exist_ok=True)
    for name in stale:
        if name in made:
            (FOLDER / name).write_text(made[name], "utf-8")
        else:
            (FOLDER / name).unlink()
    print(f"{len(made)} pages, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
