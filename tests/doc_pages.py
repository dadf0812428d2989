"""The pages of the documentation, and the commands and code that they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}


def fenced(text: str) -> list[tuple[str, str]]:
    """(language, text) of every fenced block; the language is empty where none is named."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for name, text in fenced(PAGES[page]) if name == language]


def steps(line: str) -> Iterator[list[str]]:
    """The words of each `piqa ...` in a shell line: split at pipes and &&, redirections and comments left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    step: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;<>"):
            if step[:1] == ["piqa"]:
                yield step[1:]
            elif "piqa_cli" in step:  # accelerate launch ... -m piqa_cli
                yield step[step.index("piqa_cli") + 1 :]
            # What follows < or > is a file, not a command.
            step = [] if set(word) <= set("|&;") else ["file"]
        else:
            step.append(word)
