"""Statistics as pictures; needs the extra `plots`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from piqa_cli.dataset.statistics import Statistics
from piqa_cli.pairs.columns import DIMENSIONS, Ratings
from piqa_cli.schema import SCALES, Dimension, Scale
from piqa_cli.writers.plots import canvas, save_figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _GREY, _RED = "#3b6ea5", "#9aa5b1", "#a53b3b"


def save_plots(ratings: Ratings, statistics: Statistics, folder: str) -> tuple[str, ...]:
    """Draws histograms of the ratings, their correlations and overall by completion; gives the paths.

    Args:
        ratings: of all edits.
        statistics: of the same edits.
        folder: made if it is not there; files of the same names are overwritten.

    Raises:
        OutputError: a file cannot be written.
        ImportError: matplotlib is not installed.
    """
    return save_figures(_figures(ratings, statistics), folder)


def _figures(ratings: Ratings, statistics: Statistics) -> Iterator[tuple[str, Figure]]:
    yield "ratings", _histograms(ratings)
    yield "correlations", _correlations(statistics)
    yield "overall_by_completion", _by_completion(ratings)


def _histograms(ratings: Ratings) -> Figure:
    """A histogram a dimension, with the mean."""
    figure, panels = canvas(2, 2, height=3)
    for axes, dimension in zip(panels, DIMENSIONS, strict=True):
        values, scale = ratings.of(dimension), SCALES[dimension]
        values = values[~np.isnan(values)]
        axes.hist(values, bins=_edges(scale), color=_BLUE)
        if values.size:
            axes.axvline(values.mean(), color="black", linestyle="--", linewidth=1)
        axes.set(title=f"{dimension.value} (n = {values.size})", xlim=(scale.low, scale.high), ylabel="edits")
        axes.set_xticks(np.linspace(scale.low, scale.high, len(scale.levels)))
    return figure


def _correlations(statistics: Statistics) -> Figure:
    """Spearman's correlations as a matrix."""
    matrix = np.eye(len(DIMENSIONS))
    for one in statistics.correlations:
        i, j = DIMENSIONS.index(one.first), DIMENSIONS.index(one.second)
        matrix[i, j] = matrix[j, i] = one.srcc
    figure, (axes,) = canvas(1, 1, height=5.5, width=6.5)
    picture = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    names = [dimension.value.replace("_", "\n") for dimension in DIMENSIONS]
    axes.set_xticks(range(len(DIMENSIONS)), names)
    axes.set_yticks(range(len(DIMENSIONS)), names)
    for (i, j), value in np.ndenumerate(matrix):
        text = "-" if np.isnan(value) else f"{value:.3f}"
        axes.text(j, i, text, ha="center", va="center", color="white" if abs(value) > 0.6 else "black")
    axes.set_title("Spearman's rank correlation")
    figure.colorbar(picture)
    return figure


def _by_completion(ratings: Ratings) -> Figure:
    """Overall at each completion level, stacked: how far completion decides it."""
    overall, completion = ratings.of(Dimension.OVERALL), ratings.of(Dimension.COMPLETION)
    scale, range_ = SCALES[Dimension.COMPLETION], SCALES[Dimension.OVERALL]
    known = ~(np.isnan(overall) | np.isnan(completion))
    levels = np.array([scale.level(value) for value in completion[known].tolist()], object)
    figure, (axes,) = canvas(1, 1, width=7)
    parts = [overall[known][levels == word] for word in scale.levels]
    axes.hist(
        parts, bins=_edges(range_), stacked=True,
        label=[f"{word} (n = {len(part)})" for word, part in zip(scale.levels, parts, strict=True)],
        color=[_RED, _GREY, _BLUE],
    )  # fmt: skip
    axes.set(title="overall, by completion", xlabel="overall", ylabel="edits", xlim=(range_.low, range_.high))
    axes.legend()
    return figure


def _edges(scale: Scale) -> list[float]:
    """Eight bins from each level's centre to the next one's."""
    steps = 8 * (len(scale.levels) - 1)
    return [scale.low + (scale.high - scale.low) * step / steps for step in range(steps + 1)]
