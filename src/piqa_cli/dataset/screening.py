"""Raters whose values cannot be trusted, found as ITU-R BT.500 describes.

Recommendation ITU-R BT.500-13, annex 2, section 2.3.1 (the same in BT.500-14, annex 1): for each image the mean, the
deviation S and the kurtosis b2 of all raters' values. Where 2 <= b2 <= 4 the values are taken for normal and the bound
is 2 S, else sqrt(20) S. P counts a rater's values at or above mean + bound, Q those at or below mean - bound. Rejected
is who has (P + Q) / n > 0.05 and |P - Q| / (P + Q) < 0.3: often far off, and to both sides, so not merely strict or
mild. n is the number of images that the rater rated. The screening is done once; it is never repeated on what is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from piqa_cli.dataset.ratings import RatingMatrix

LEAST_RATERS = 6
"""With fewer raters of an image no value can be 2 S from the mean: the largest distance is (n - 1) / sqrt(n) S."""
_NORMAL = (2.0, 4.0)
_OFTEN, _BOTH_SIDES = 0.05, 0.3


@dataclass(frozen=True, slots=True)
class Screened:
    """One rater: of so many images, `above` (P) and `below` (Q) are beyond the bound."""

    rater: str
    images: int
    above: int
    below: int

    @property
    def rejected(self) -> bool:
        """Whether BT.500 leaves this rater out."""
        beyond = self.above + self.below
        if beyond == 0:
            return False
        return beyond / self.images > _OFTEN and abs(self.above - self.below) / beyond < _BOTH_SIDES


def screen(matrix: RatingMatrix) -> list[Screened]:
    """Every rater of one dimension, in the matrix's order.

    Images on which all agree, or that one rater rated, have no bound and count for nothing but n.
    """
    values = matrix.values
    rated = ~np.isnan(values)
    count = rated.sum(0)
    distance = np.where(rated, values - _mean(values, rated), 0.0)
    bound = _bounds(distance, count)
    usable = rated & (bound > 0)
    above = (usable & (distance >= bound)).sum(1)
    below = (usable & (distance <= -bound)).sum(1)
    numbers = zip(matrix.raters, rated.sum(1).tolist(), above.tolist(), below.tolist(), strict=True)
    return [Screened(*row) for row in numbers]


def can_reject(matrix: RatingMatrix) -> bool:
    """Whether any image has raters enough for a value to be beyond the bound."""
    return bool(((~np.isnan(matrix.values)).sum(0) >= LEAST_RATERS).any())


def _mean(values: NDArray[np.float64], rated: NDArray[np.bool_]) -> NDArray[np.float64]:
    total = np.where(rated, values, 0.0).sum(0)
    return np.asarray(total / np.maximum(rated.sum(0), 1), np.float64)


def _bounds(distance: NDArray[np.float64], count: NDArray[np.int_]) -> NDArray[np.float64]:
    """How far from its mean a value of each image may be; 0 where that is not defined. Distances: raters x images."""
    second, fourth = (distance**2).sum(0), (distance**4).sum(0)
    # Values that differ by rounding alone, such as three times 3.7, are one value.
    spread = np.where(second > 1e-18 * count, second, 0.0)
    kurtosis = np.divide(fourth * count, spread**2, out=np.zeros_like(spread), where=spread > 0)
    deviation = np.sqrt(np.divide(spread, count - 1, out=np.zeros_like(spread), where=count > 1))
    normal = (kurtosis >= _NORMAL[0]) & (kurtosis <= _NORMAL[1])
    return np.asarray(np.where(normal, 2.0, math.sqrt(20.0)) * deviation, np.float64)
