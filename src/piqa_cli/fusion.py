"""Completion, harmony and naturalness -> the overall score, as people weigh them.

The coefficients are least-squares fits to the 6,730 human-rated edits of EPAIQA-15K (Qian et al., ACM MM
2025, arXiv 2504.09291). `python -m benchmarks.fit_fusion LABELS.json` prints them again, with what they
reach on photos that were held out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from piqa_cli.schema import SCALES, Dimension, Score, score

_NORMAL_80 = 1.2816  # half the width of the 80 % interval of a normal distribution, in standard deviations


@dataclass(frozen=True, slots=True)
class Fit:
    """overall = constant + c C + h H + n N + ch C H + cn C N + hn H N, with C in 1..3, H and N in 1..5.

    `residual` is the standard deviation of what the fit leaves unexplained, on the overall's scale.
    """

    constant: float
    c: float
    h: float
    n: float
    ch: float
    cn: float
    hn: float
    residual: float

    def __call__(self, completion: float, harmony: float, naturalness: float) -> float:
        """The overall score, within 1..5."""
        c, h, n = completion, harmony, naturalness
        linear = self.constant + self.c * c + self.h * h + self.n * n
        return _on_scale(linear + self.ch * c * h + self.cn * c * n + self.hn * h * n)


# All 6,730 edits.
ALL_TERMS: Final = Fit(
    constant=0.9486, c=-0.1500, h=-0.0668, n=-0.0555, ch=0.1830, cn=0.1924, hn=-0.0228, residual=0.357
)
# The 3,973 edits that were rated as done (C = 3).
DONE: Final = Fit(constant=0.2655, c=0.0, h=0.5854, n=0.5979, ch=0.0, cn=0.0, hn=-0.0523, residual=0.386)
# Mean overall of the edits rated C = 1 (2,359 edits), 2 (398) and 3 (3,973), and its deviation at C = 1.
MEAN_BY_COMPLETION: Final = (1.3601, 1.7781, 3.6664)
NOT_DONE_RESIDUAL: Final = 0.278

_SOURCE = "fitted to the human ratings of EPAIQA-15K"
_ASSUMED = "assumes the edit did what was asked"


def fuse(completion: Score, harmony: Score, naturalness: Score) -> tuple[Score, str]:
    """The overall score and, in words, which terms it was made of.

    - All three known: the fit with products of terms.
    - Completion unknown (no prompt, or nothing to verify it by): the fit on completed edits, and the score's
      `reason` says that this was assumed, with code N_COMPLETION_ASSUMED.
    - The region's scores unknown and the edit not done: what people gave such edits on average.
    - Otherwise null, with the reason of the term that is missing.

    The spread combines the spreads of the terms, carried through the fit, and the fit's own residual.
    """
    missing = next((one for one in (harmony, naturalness) if one.value is None), None)
    if missing is not None:
        return _without_region(completion, missing)
    if completion.value is None:
        spread = _combine(DONE.residual, _region_swing(DONE, 3.0, harmony, naturalness))
        value = DONE(3.0, _value(harmony), _value(naturalness))
        fused = score(Dimension.OVERALL, value, spread, reason=_ASSUMED, code="N_COMPLETION_ASSUMED")
        return fused, f"harmony and naturalness, completion unknown: {_ASSUMED}; {_SOURCE}"
    c, h, n = completion.value, _value(harmony), _value(naturalness)
    by_completion = _swing(lambda moved: ALL_TERMS(moved, h, n), completion)
    spread = _combine(ALL_TERMS.residual, by_completion, _region_swing(ALL_TERMS, c, harmony, naturalness))
    fused = score(Dimension.OVERALL, ALL_TERMS(c, h, n), spread)
    return fused, f"completion, harmony and naturalness; {_SOURCE}"


def _without_region(completion: Score, missing: Score) -> tuple[Score, str]:
    scale = SCALES[Dimension.COMPLETION]
    if completion.value is not None and scale.level(completion.value) == scale.levels[0]:
        value = _mean_overall(completion.value)
        fused = score(
            Dimension.OVERALL,
            value,
            _combine(NOT_DONE_RESIDUAL, _swing(_mean_overall, completion)),
            reason="the mean that people gave edits that were not done",
            code="N_NOT_DONE",
        )
        return fused, f"completion only, the edit was not done; {_SOURCE}"
    reason = f"needs harmony and naturalness: {missing.reason}"
    return score(Dimension.OVERALL, None, reason=reason, code=missing.code), "not fused: a term is missing"


def _mean_overall(completion: float) -> float:
    """Mean overall by completion alone, straight between the three levels."""
    lower = min(1, int(completion - 1))
    share = completion - 1 - lower
    return MEAN_BY_COMPLETION[lower] * (1 - share) + MEAN_BY_COMPLETION[lower + 1] * share


def _swing(overall: Callable[[float], float], term: Score) -> float:
    """How far the overall moves within the term's 80 % interval, to the side where it moves more."""
    value, spread = _value(term), term.spread or 0.0
    ends = (max(term.low, value - spread), min(term.high, value + spread))
    return max(abs(overall(end) - overall(value)) for end in ends)


def _region_swing(fit: Fit, completion: float, harmony: Score, naturalness: Score) -> float:
    """As `_swing`, harmony and naturalness moving together: both judge one region, so their errors are shared."""
    by_harmony = _swing(lambda moved: fit(completion, moved, _value(naturalness)), harmony)
    return by_harmony + _swing(lambda moved: fit(completion, _value(harmony), moved), naturalness)


def _combine(residual: float, *swings: float) -> float:
    return math.hypot(_NORMAL_80 * residual, *swings)


def _value(term: Score) -> float:
    if term.value is None:
        raise ValueError("the term has no value")
    return term.value


def _on_scale(value: float) -> float:
    scale = SCALES[Dimension.OVERALL]
    return min(scale.high, max(scale.low, value))
