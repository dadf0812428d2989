"""The four-parameter logistic that maps scores onto people's scale before PLCC.

ITU-T P.1401 and VQEG (FR-TV phase II, 2003): f(x) = low + (high - low) / (1 + exp(-(x - centre) / width)), by least
squares. The curve never falls: a judge that has the order upside down is not turned over by its fit.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.special import expit

LEAST_VALUES = 5
"""One more than there are parameters."""
_NARROWEST = 1e-3  # width of the step, in standard deviations of the scores
_MAX_EVALUATIONS = 1000


@dataclass(frozen=True, slots=True)
class Logistic:
    """A fitted curve; `rise` is high - low, not negative."""

    low: float
    rise: float
    centre: float
    width: float

    def __call__(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The scores on people's scale."""
        x = np.asarray(scores, np.float64)
        return _curve(x, self.low, self.rise, self.centre, self.width)


def fit_logistic(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> Logistic | str:
    """The curve from predicted to true values, or in words why there is none.

    Args:
        predicted: N finite values.
        truth: N finite values.
    """
    if predicted.size < LEAST_VALUES:
        return f"the logistic needs at least {LEAST_VALUES} values"
    middle, spread = float(predicted.mean()), float(predicted.std())
    if not spread > 1e-12 * max(1.0, abs(middle)) or np.all(truth == truth[0]):
        return "the logistic needs values that differ"
    x = (predicted - middle) / spread
    start = (float(truth.min()), float(np.ptp(truth)), 0.0, 0.5)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # the covariance, which nobody asks for
            low, rise, centre, width = curve_fit(
                _curve,
                x,
                truth,
                p0=start,
                bounds=((-np.inf, 0, -np.inf, _NARROWEST), np.inf),
                max_nfev=_MAX_EVALUATIONS,
            )[0]
    except (RuntimeError, ValueError) as error:
        return f"the logistic fit did not converge: {str(error).splitlines()[0]}"
    fitted = Logistic(float(low), float(rise), float(centre * spread + middle), float(width * spread))
    return fitted if np.ptp(fitted(predicted)) > 0 else "the logistic fit is flat"


def _curve(x: NDArray[np.float64], low: float, rise: float, centre: float, width: float) -> NDArray[np.float64]:
    return np.asarray(low + rise * expit((x - centre) / width), np.float64)
