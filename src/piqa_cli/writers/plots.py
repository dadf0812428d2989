"""Figures as PNG files. matplotlib is the extra `plots`; it is imported only where something is drawn."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from piqa_cli.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 4.5
"""Of a panel, in inches."""
_DOTS = 150  # per inch


def canvas(rows: int, columns: int, *, height: float = SIDE, width: float = SIDE) -> tuple[Figure, list[Axes]]:
    """A figure of its own, which no display and no global state knows of, and its panels row by row.

    Args:
        rows: of panels.
        columns: of panels.
        height: of a panel, in inches.
        width: of a panel, in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(rows * columns)]


def save_figures(figures: Iterable[tuple[str, Figure]], folder: str) -> tuple[str, ...]:
    """Writes each figure to `NAME.png`, overwriting what is there, and gives the paths.

    Args:
        figures: names and figures; drawn one at a time if they come from an iterator.
        folder: made if it is not there.

    Raises:
        OutputError: a file cannot be written.
    """
    paths: list[str] = []
    try:
        os.makedirs(folder, exist_ok=True)
        for name, figure in figures:
            path = os.path.join(folder, f"{name}.png")
            figure.savefig(path, dpi=_DOTS)
            paths.append(path)
    except OSError as error:
        found = error.strerror or str(error)
        raise OutputError(
            "the plots cannot be written", file=folder, expected="a folder that can be written to", found=found
        ) from error
    return tuple(paths)
