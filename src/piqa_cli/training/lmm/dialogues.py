"""What a model learns from: the conversation that the assessor will hold with it, and what it should have answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from piqa_cli.errors import ModelError
from piqa_cli.lmm.levels import spell
from piqa_cli.lmm.prompts import QUESTIONS, Conversation
from piqa_cli.schema import SCALES, Dimension
from piqa_cli.training.losses import soft_levels


@dataclass(frozen=True, slots=True)
class Written:
    """A question, and the text that answers it."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Rated:
    """A dimension's question, and the value on its scale that the level words should tell; NaN: not known.

    deviation: the standard deviation of the ratings that the value is the mean of; NaN where that is not known.
    """

    dimension: Dimension
    value: float
    deviation: float = math.nan

    @property
    def question(self) -> str:
        """As the assessor asks it."""
        return QUESTIONS[self.dimension].text


@dataclass(frozen=True, slots=True, eq=False)
class Dialogue:
    """A conversation, and the turns that follow it, each as if it were the only one."""

    conversation: Conversation
    turns: tuple[Written | Rated, ...]


def level_tokens(tokenizer: Any, dimension: Dimension, model: str) -> tuple[int, ...]:
    """The first tokens of a dimension's words, worst first, written as the questions ask for them: capital, bare.

    Raises:
        ModelError: the tokenizer cannot tell the words apart by their first tokens.
    """
    first = tuple(word[0] for word in spell(tokenizer, dimension, model).conventions[0])
    if len(set(first)) < len(first):
        raise ModelError(
            f"the tokenizer of '{model}' begins two level words of {dimension.value} alike, so they cannot be learnt",
            expected="words that differ in their first token",
            found=f"tokens {list(first)}",
        )
    return first


def level_targets(dimension: Dimension, values: Sequence[float], deviations: Sequence[float] = ()) -> Tensor:
    """Distributions over a dimension's levels that have these means: N x levels; NaN rows where not known.

    Two-point ones (the two levels beside the mean) where no deviation is known, else Gaussian ones: a judge that knows
    how far people differ is told so (after You et al., CVPR 2025, arXiv 2501.11561, who keep the mean by a linear
    correction instead).

    Args:
        dimension: whose levels.
        values: means on its scale.
        deviations: standard deviations on its scale, NaN or none at all where they are not known.
    """
    scale = SCALES[dimension]
    known = torch.tensor(values, dtype=torch.float32)
    targets = soft_levels(known, len(scale.levels), scale.low, scale.high)
    step = (scale.high - scale.low) / (len(scale.levels) - 1)
    for row, (value, deviation) in enumerate(zip(values, deviations, strict=False)):
        if deviation > 0 and math.isfinite(value):
            targets[row] = _gaussian((value - scale.low) / step, deviation / step, len(scale.levels))
    return torch.where(torch.isnan(known)[:, None], torch.nan, targets)


def _gaussian(mean: float, deviation: float, bins: int) -> Tensor:
    """A Gaussian at the whole numbers from 0 to `bins` - 1, its centre moved until they have this mean, by bisection.

    With a small deviation that is the two-point distribution.
    """
    places = torch.arange(bins, dtype=torch.float64)
    mean, deviation = min(max(mean, 1e-3), bins - 1 - 1e-3), max(deviation, 0.05)
    reach = bins + 20 * deviation**2
    low, high = mean - reach, mean + reach
    for _ in range(80):
        centre = (low + high) / 2
        shares = (-0.5 * ((places - centre) / deviation).square()).softmax(0)
        low, high = (centre, high) if float((shares * places).sum()) < mean else (low, centre)
    return shares.float()
