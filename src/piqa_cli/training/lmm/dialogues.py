"""What a model learns from: the conversation that the assessor will hold with it, and what it should have answered."""

from __future__ import annotations

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
    """A dimension's question, and the value on its scale that the level words should tell; NaN: not known."""

    dimension: Dimension
    value: float

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


def level_targets(dimension: Dimension, values: Sequence[float]) -> Tensor:
    """Two-point distributions over a dimension's levels that have these means: N x levels; NaN rows where not known."""
    scale = SCALES[dimension]
    known = torch.tensor(values, dtype=torch.float32)
    targets = soft_levels(known, len(scale.levels), scale.low, scale.high)
    return torch.where(torch.isnan(known)[:, None], torch.nan, targets)
