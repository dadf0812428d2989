"""Raw ratings to mean opinion scores: one value a rater, image and dimension; their mean, deviation and interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from piqa_cli.dataset.tables import TableRow, cell_error, read_table, table_text
from piqa_cli.errors import InputError
from piqa_cli.pairs.epaiqa import RATING_FIELDS
from piqa_cli.schema import SCALES, Dimension

RATING_COLUMNS = ("rater", "image", "dimension", "value")
OPINION_COLUMNS = ("image", "dimension", "mean", "sd", "raters", "ci_low", "ci_high")
_LEVEL = 0.95
# Names that a dimension goes by: its own, its column in a label file, and its last word.
DIMENSION_NAMES: dict[str, Dimension] = {
    name: dimension
    for dimension in Dimension
    for name in (dimension.value, RATING_FIELDS.get(dimension, dimension.value), dimension.value.split("_")[-1])
}


@dataclass(frozen=True, slots=True)
class Rating:
    """What one rater said of one image, on the dimension's scale."""

    rater: str
    image: str
    dimension: Dimension
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class RatingMatrix:
    """The ratings of one dimension: `values` is raters x images, NaN where a rater did not rate an image."""

    dimension: Dimension
    raters: tuple[str, ...]
    images: tuple[str, ...]
    values: NDArray[np.float64]

    def without(self, raters: Iterable[str]) -> RatingMatrix:
        """Without some raters, and without the images that nobody else rated."""
        gone = set(raters)
        kept = [index for index, rater in enumerate(self.raters) if rater not in gone]
        values = self.values[kept]
        rated = np.flatnonzero((~np.isnan(values)).any(0)).tolist()
        images = tuple(self.images[index] for index in rated)
        return RatingMatrix(self.dimension, tuple(self.raters[index] for index in kept), images, values[:, rated])


@dataclass(frozen=True, slots=True)
class Opinion:
    """A mean opinion score. `sd` (of n - 1) and the 95 % interval of the mean are NaN for a single rater."""

    image: str
    dimension: Dimension
    mean: float
    sd: float
    raters: int
    low: float
    high: float


def read_ratings(path: str) -> list[Rating]:
    """The rows of a CSV file with the columns rater, image, dimension and value. An empty value is no rating.

    Raises:
        InputError: it cannot be read, a value is not a number on its dimension's scale, or a rater rated an image
            twice (E_LABELS, E_DUPLICATE); or it holds no rating.
    """
    ratings: list[Rating] = []
    first: dict[tuple[str, str, Dimension], int] = {}
    for row in read_table(path, RATING_COLUMNS):
        rater, image, name, text = row.cells
        if not text:
            continue
        if not (rater and image):
            raise cell_error(path, row.number, "a rater and an image", f"nothing as {'image' if rater else 'rater'}")
        dimension = dimension_of(name, row, path)
        earlier = first.setdefault((rater, image, dimension), row.number)
        if earlier != row.number:
            raise InputError(
                f"line {row.number} of the table repeats line {earlier}",
                code="E_DUPLICATE",
                file=path,
                expected="one value a rater, image and dimension",
                found=f"{rater!r} rated {image!r} twice",
                hint="keep one of them, or give a repeated showing a name of its own",
            )
        ratings.append(Rating(rater, image, dimension, _value(text, dimension, row, path)))
    if not ratings:
        message = "the table holds no rating"
        raise InputError(message, code="E_LABELS", file=path, expected="one value a row", found="none")
    return ratings


def dimension_of(name: str, row: TableRow, path: str) -> Dimension:
    """The dimension of a name such as `harmony`, `harmony_score` or `local_naturalness`.

    Raises:
        InputError: there is none.
    """
    dimension = DIMENSION_NAMES.get(name.lower())
    if dimension is None:
        known = ", ".join(dimension.value for dimension in Dimension)
        raise cell_error(path, row.number, f"one of {known}", f"dimension {name!r}")
    return dimension


def rating_matrices(ratings: Sequence[Rating]) -> list[RatingMatrix]:
    """One matrix a dimension that was rated; raters and images sorted by name."""
    matrices = []
    for dimension in Dimension:
        rated = [rating for rating in ratings if rating.dimension is dimension]
        if not rated:
            continue
        raters = {name: index for index, name in enumerate(sorted({rating.rater for rating in rated}))}
        images = {name: index for index, name in enumerate(sorted({rating.image for rating in rated}))}
        values = np.full((len(raters), len(images)), np.nan)
        for rating in rated:
            values[raters[rating.rater], images[rating.image]] = rating.value
        matrices.append(RatingMatrix(dimension, tuple(raters), tuple(images), values))
    return matrices


def mean_opinions(matrix: RatingMatrix) -> list[Opinion]:
    """Mean, deviation and 95 % interval by Student's t of each image, in the matrix's order."""
    opinions = []
    for index, image in enumerate(matrix.images):
        given = matrix.values[:, index]
        given = given[~np.isnan(given)]
        count, mean = len(given), float(given.mean())
        sd = float(given.std(ddof=1)) if count > 1 else math.nan
        half = float(stats.t.ppf((1 + _LEVEL) / 2, count - 1)) * sd / math.sqrt(count) if count > 1 else math.nan
        opinions.append(Opinion(image, matrix.dimension, mean, sd, count, mean - half, mean + half))
    return opinions


def opinions_text(opinions: Iterable[Opinion]) -> str:
    """As CSV with `OPINION_COLUMNS`; what is not known is an empty cell."""
    rows = (
        (o.image, o.dimension.value, *map(_known, (o.mean, o.sd)), o.raters, *map(_known, (o.low, o.high)))
        for o in opinions
    )
    return table_text(OPINION_COLUMNS, rows)


def read_opinions(path: str) -> list[Opinion]:
    """Mean opinion scores from CSV; only image, dimension and mean are needed.

    Raises:
        InputError: it cannot be read, a mean is not on its scale, or an image has two means of a dimension.
    """
    opinions: dict[tuple[str, Dimension], Opinion] = {}
    for row in read_table(path, OPINION_COLUMNS[:3]):
        image, name, mean = row.cells
        dimension = dimension_of(name, row, path)
        if not image or (image, dimension) in opinions:
            raise cell_error(
                path, row.number, "each image once a dimension", f"{image!r} again" if image else "nothing"
            )
        value = _value(mean, dimension, row, path)
        opinions[image, dimension] = Opinion(image, dimension, value, math.nan, 0, math.nan, math.nan)
    return list(opinions.values())


def _value(text: str, dimension: Dimension, row: TableRow, path: str) -> float:
    scale = SCALES[dimension]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not scale.low <= value <= scale.high:
        hint = "write decimals with a point" if "," in text else "bring it onto the scale, or leave the cell empty"
        raise cell_error(path, row.number, f"{dimension.value} within {scale.low:g}..{scale.high:g}", repr(text), hint)
    return value


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
