"""Tables of text: aligned columns for a terminal, Markdown, LaTeX. Control characters of names are spelt out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from piqa_cli.writers.terminal import visible

GridFormat = Literal["table", "markdown", "latex"]
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|])")
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as cells of text; the first `left` columns are words, the others figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    notes: tuple[str, ...] = ()


def draw(grid: Grid, form: GridFormat) -> str:
    """The table in a format, ending with a line end."""
    draws: dict[GridFormat, Callable[[Grid], str]] = {"table": _plain, "markdown": _markdown, "latex": _latex}
    return draws[form](grid)


def _plain(grid: Grid) -> str:
    lines = [tuple(map(visible, cells)) for cells in (grid.header, *grid.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = visible(grid.title) + "\n"
    for cells in lines:
        aligned = (
            cell.ljust(width) if index < grid.left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        text += _GAP + _GAP.join(aligned).rstrip() + "\n"
    return text + "".join(f"{_GAP}{visible(note)}\n" for note in grid.notes)


def _markdown(grid: Grid) -> str:
    def escaped(text: str) -> str:
        return _MARKDOWN.sub(r"\\\1", visible(text))

    rule = ["---" if index < grid.left else "---:" for index in range(len(grid.header))]
    lines = [map(escaped, grid.header), rule, *(map(escaped, row) for row in grid.rows)]
    text = f"### {escaped(grid.title)}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return text + "".join(f"\n{escaped(note)}\n" for note in grid.notes)


def _latex(grid: Grid) -> str:
    r"""A table environment with the rules of the booktabs package."""

    def escaped(text: str) -> str:
        return "".join(_LATEX.get(mark, mark) for mark in visible(text))

    columns = "l" * grid.left + "r" * (len(grid.header) - grid.left)
    text = f"\\begin{{table}}\n\\caption{{{escaped(grid.title)}}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
    text += " & ".join(map(escaped, grid.header)) + " \\\\\n\\midrule\n"
    text += "".join("{}" + " & ".join(map(escaped, row)) + " \\\\\n" for row in grid.rows)
    text += "\\bottomrule\n\\end{tabular}\n"
    return text + "".join(f"\\par {escaped(note)}\n" for note in grid.notes) + "\\end{table}\n"
