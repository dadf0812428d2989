"""From the judge's scale to people's: the same rank among edits, on the scale on which people used it.

A vision-language judge rated the edits that we learn from, people rated those of EPAIQA-15K (Qian et al., ACM MM 2025,
arXiv 2504.09291). A rating that beats a share p of the judge's is taken for the one that beats a share p of people's.
That presumes that both lots are equally good on the whole, which nobody has checked; the model card says so.
`python -m benchmarks.fit_opinion LABELS.json RATINGS.csv` prints the tables, every 5 % from the lowest to the highest.
"""

from __future__ import annotations

import numpy as np

from piqa_cli.schema import Dimension

# fmt: off
JUDGE: dict[Dimension, tuple[float, ...]] = {
    Dimension.HARMONY: (
        1.0, 1.8, 2.1, 2.4, 2.6, 2.8, 2.9, 3.0, 3.2, 3.3, 3.4,
        3.5, 3.6, 3.8, 3.9, 4.0, 4.1, 4.2, 4.4, 4.5, 4.8,
    ),
    Dimension.NATURALNESS: (
        1.0, 1.5, 1.8, 2.0, 2.2, 2.4, 2.6, 2.7, 2.8, 2.96, 3.1,
        3.2, 3.4, 3.5, 3.7, 3.8, 4.0, 4.1, 4.2, 4.4, 4.8,
    ),
}
PEOPLE: dict[Dimension, tuple[float, ...]] = {
    Dimension.HARMONY: (
        1.0, 1.6, 2.0, 2.2, 2.4, 2.6, 2.75, 2.86, 3.0, 3.17, 3.25,
        3.4, 3.5, 3.6, 3.75, 3.83, 4.0, 4.0, 4.2, 4.4, 5.0,
    ),
    Dimension.NATURALNESS: (
        1.0, 1.67, 2.0, 2.25, 2.43, 2.6, 2.8, 3.0, 3.0, 3.2, 3.33,
        3.43, 3.57, 3.62, 3.8, 3.83, 4.0, 4.07, 4.2, 4.4, 5.0,
    ),
}
# fmt: on


def to_opinion(dimension: Dimension, value: float) -> float:
    """A judge's rating of harmony or naturalness (1..5) on people's scale (1..5); NaN stays NaN.

    Piecewise linear between the tables' knots, so that order is kept.

    Raises:
        KeyError: people did not rate this dimension.
    """
    return float(np.interp(value, JUDGE[dimension], PEOPLE[dimension]))
