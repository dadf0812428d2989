"""Statistics as pictures. matplotlib is an optional extra, and nothing but this module imports it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from piqa_cli.dataset.statistics import RATED, Statistics, ratings_of
from piqa_cli.errors import OutputError, UsageError
from piqa_cli.pairs.epaiqa import Label
from piqa_cli.schema import SCALES, Dimension, Scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTS = ("ratings.png", "correlations.png", "overall_by_completion.png")
_BLUE, _GREY = "#3b6ea5", "#9aa5b1"
_DOTS = 150  # per inch


def require_plots() -> None:
    """Refuses plots where matplotlib is not installed.

    Raises:
        UsageError: as said.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "--plots needs matplotlib, which is not installed", hint="pip install 'piqa-cli[plots]'"
        ) from error


def save_plots(labels: Sequence[Label], statistics: Statistics, folder: str) -> list[str]:
    """Draws the files of `PLOTS` into a folder, which is made if need be; gives their paths.

    Raises:
        OutputError: they cannot be written.
    """
    drawn: tuple[Callable[[], Figure], ...] = (
        lambda: _ratings(labels),
        lambda: _correlations(statistics),
        lambda: _by_completion(labels),
    )
    paths = [os.path.join(folder, name) for name in PLOTS]
    try:
        os.makedirs(folder, exist_ok=True)
        for draw, path in zip(drawn, paths, strict=True):
            draw().savefig(path, dpi=_DOTS)
    except OSError as error:
        raise OutputError(f"the plots cannot be written: {error.strerror}", file=folder) from error
    return paths


def _ratings(labels: Sequence[Label]) -> Figure:
    """A histogram a dimension, with the mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, dimension in zip(figure.subplots(2, 2).flat, RATED, strict=True):
        values, scale = ratings_of(labels, dimension), SCALES[dimension]
        values = values[~np.isnan(values)]
        axes.hist(values, bins=_edges(scale), color=_BLUE)
        if values.size:
            axes.axvline(values.mean(), color="black", linestyle="--", linewidth=1)
        axes.set(title=f"{dimension.value} (n = {values.size})", xlim=(scale.low, scale.high), ylabel="edits")
        axes.set_xticks(np.linspace(scale.low, scale.high, len(scale.levels)))
    return figure


def _correlations(statistics: Statistics) -> Figure:
    """Spearman's correlations as a matrix."""
    from matplotlib.figure import Figure

    matrix = np.eye(len(RATED))
    for one in statistics.correlations:
        i, j = RATED.index(one.first), RATED.index(one.second)
        matrix[i, j] = matrix[j, i] = one.srcc
    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    names = [dimension.value.replace("_", "\n") for dimension in RATED]
    axes.set_xticks(range(len(RATED)), names)
    axes.set_yticks(range(len(RATED)), names)
    for (i, j), value in np.ndenumerate(matrix):
        text = "-" if np.isnan(value) else f"{value:.3f}"
        axes.text(j, i, text, ha="center", va="center", color="white" if abs(value) > 0.6 else "black")
    axes.set_title("Spearman's rank correlation")
    figure.colorbar(picture)
    return figure


def _by_completion(labels: Sequence[Label]) -> Figure:
    """Overall at each completion level, stacked: how far completion decides it."""
    from matplotlib.figure import Figure

    overall, completion = ratings_of(labels, Dimension.OVERALL), ratings_of(labels, Dimension.COMPLETION)
    scale, range_ = SCALES[Dimension.COMPLETION], SCALES[Dimension.OVERALL]
    known = ~(np.isnan(overall) | np.isnan(completion))
    levels = np.array([scale.level(value) for value in completion[known].tolist()], object)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    parts = [overall[known][levels == word] for word in scale.levels]
    axes.hist(
        parts, bins=_edges(range_), stacked=True,
        label=[f"{word} (n = {len(part)})" for word, part in zip(scale.levels, parts, strict=True)],
        color=["#a53b3b", _GREY, _BLUE],
    )  # fmt: skip
    axes.set(title="overall, by completion", xlabel="overall", ylabel="edits", xlim=(range_.low, range_.high))
    axes.legend()
    return figure


def _edges(scale: Scale) -> list[float]:
    """Eight bins from each level's centre to the next one's."""
    steps = 8 * (len(scale.levels) - 1)
    return [scale.low + (scale.high - scale.low) * step / steps for step in range(steps + 1)]
