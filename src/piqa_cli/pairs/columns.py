"""Ratings as columns of numbers, as statistics and evaluation take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from piqa_cli.pairs.epaiqa import RATING_FIELDS, Label
from piqa_cli.schema import SCALES, Dimension

Array = NDArray[np.float64]
DIMENSIONS = tuple(RATING_FIELDS)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """What people said: N photos' names and N x 4 ratings in the order of DIMENSIONS, NaN where not rated."""

    sources: tuple[str, ...]
    values: Array

    def of(self, dimension: Dimension) -> Array:
        """The N ratings of a dimension."""
        return np.asarray(self.values[:, DIMENSIONS.index(dimension)], np.float64)

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Which of the N edits people rated as done: the highest completion."""
        return np.equal(self.of(Dimension.COMPLETION), SCALES[Dimension.COMPLETION].high)


def ratings_of(labels: Sequence[Label]) -> Ratings:
    """Labels as columns."""
    return Ratings(tuple(label.source_name for label in labels), table_of(labels, Label.rating))


def table_of(rows: Sequence[T], value: Callable[[T, Dimension], float | None]) -> Array:
    """N x 4 values in the order of DIMENSIONS; NaN where there is none."""
    cells = [[np.nan if (told := value(row, dimension)) is None else told for dimension in DIMENSIONS] for row in rows]
    return np.array(cells, np.float64).reshape(-1, len(DIMENSIONS))
