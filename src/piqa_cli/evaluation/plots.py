"""Scatter plots and reliability diagrams; needs the extra `plots`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from piqa_cli.evaluation.logistic import Logistic, fit_logistic
from piqa_cli.evaluation.reliability import Reliability
from piqa_cli.evaluation.report import Evaluation, Subject
from piqa_cli.evaluation.scores import SUBSETS, Subset, columns_of, system_of
from piqa_cli.evaluation.tables import subset_title
from piqa_cli.pairs.columns import ratings_of
from piqa_cli.schema import SCALES
from piqa_cli.writers.plots import canvas, save_figures
from piqa_cli.writers.terminal import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


def save_plots(evaluation: Evaluation, folder: str) -> tuple[str, ...]:
    """Draws every subject: a scatter plot for each subset that has scores, a reliability diagram for each dimension.

    Args:
        evaluation: what to draw.
        folder: made if it is not there; files of the same names are overwritten.

    Returns:
        The paths.

    Raises:
        OutputError: a file cannot be written.
        ImportError: matplotlib is not installed.
    """
    return save_figures(_figures(evaluation), folder)


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, Figure]]:
    for number, subject in enumerate(evaluation.subjects, 1):
        stem = f"{number}_{_UNSAFE.sub('_', subject.name).strip('_.')[:60] or 'records'}"
        for drawn in (_scatters(subject), _diagrams(evaluation, number - 1)):
            yield from ((f"{stem}_{name}", figure) for name, figure in drawn)


def _scatters(subject: Subject) -> Iterator[tuple[str, Figure]]:
    cases = subject.joined.matched
    ratings, system = ratings_of([case.label for case in cases]), system_of(subject.name, cases)
    for subset in SUBSETS:
        columns = columns_of(ratings, system, subset)
        if columns.truth.size == 0:
            continue
        figure, (axes,) = canvas(1, 1)
        axes.scatter(columns.predicted, columns.truth, s=9, alpha=0.4, linewidths=0)
        curve = fit_logistic(columns.predicted, columns.truth)
        if isinstance(curve, Logistic):
            x = np.linspace(columns.predicted.min(), columns.predicted.max(), 200)
            axes.plot(x, curve(x), color="black", linewidth=1.2, label="four-parameter logistic")
            axes.legend(loc="upper left", fontsize="small")
        _frame(axes, subset, f"{visible(subject.name)}: {subset_title(subset)}, {columns.truth.size} edits")
        yield f"{subset.name}_scatter", figure


def _diagrams(evaluation: Evaluation, index: int) -> Iterator[tuple[str, Figure]]:
    for one in evaluation.details[index].reliability:
        if one.bins:
            yield f"{one.dimension.value}_reliability", _diagram(one)


def _diagram(one: Reliability) -> Figure:
    """Mean rating by mean score of each bin; beside it, where there are spreads, found by stated coverage."""
    figure, (left, *right) = canvas(1, 2 if one.coverage else 1)
    scale = SCALES[one.dimension]
    left.plot((scale.low, scale.high), (scale.low, scale.high), color="grey", linewidth=0.8)
    left.plot([each.score for each in one.bins], [each.rating for each in one.bins], "o-", markersize=4)
    _frame(left, Subset(one.dimension), f"{visible(one.system)}: {subset_title(Subset(one.dimension))}")
    for axes in right:
        axes.plot((0, 1), (0, 1), color="grey", linewidth=0.8)
        axes.plot([each.stated for each in one.coverage], [each.found for each in one.coverage], "o-", markersize=4)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="stated probability", ylabel="share of ratings within")
        axes.set_title(f"intervals, {one.with_spread} edits", fontsize="medium")
    return figure


def _frame(axes: Axes, subset: Subset, title: str) -> None:
    scale = SCALES[subset.dimension]
    margin = 0.03 * (scale.high - scale.low)
    ends = (scale.low - margin, scale.high + margin)
    axes.set(xlim=ends, ylim=ends, xlabel="score", ylabel="rating")
    axes.set_title(title, fontsize="medium", parse_math=False)  # a $ in a name is a $
