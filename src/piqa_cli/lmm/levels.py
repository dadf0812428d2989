"""Level words -> a distribution over the levels -> a score that cannot leave its scale.

A word can be written in several ways: small or capital, with a space before it, after a line break. Each way is a
convention; a model keeps to one for all its words, so a convention counts by its true probability, and within it the
words compete. Where a convention's words have different numbers of tokens, they compete by their mean log-probability a
token: summed, the longer word would lose to the shorter one for its length alone.

The expectation over level words is Q-Align's (Wu et al., ICML 2024, arXiv 2312.17090).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from piqa_cli.errors import ModelError
from piqa_cli.lmm.prefix import Answer, Question
from piqa_cli.lmm.prompts import QUESTIONS
from piqa_cli.schema import SCALES, Dimension

Tokens = tuple[int, ...]

_HALF_80 = 1.2816  # half the 80 % interval of a normal distribution, in standard deviations; as the compact assessor's
_LEADS = ("", " ", "\n")  # what stands before the word; the line break itself belongs to the prompt


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a tokenizer writes a dimension's words: a row for each convention, a token sequence for each level in it.

    Levels run from worst to best.
    """

    dimension: Dimension
    conventions: tuple[tuple[Tokens, ...], ...]

    @property
    def question(self) -> Question:
        """The dimension's question, with the openings of all words of several tokens."""
        openings = {word[:-1] for words in self.conventions for word in words if len(word) > 1}
        return Question(QUESTIONS[self.dimension].text, tuple(sorted(openings)))


@dataclass(frozen=True, slots=True)
class LevelScore:
    """A score on its dimension's scale.

    value: expectation over the levels. spread: half the 80 % interval, from the distribution's deviation.
    probabilities: of the levels, worst first, adding up to 1. off_scale: probability 0..1 of an answer that is none of
    the words. entropy: of the distribution, 0 (one level) .. 1 (all alike).
    """

    value: float
    spread: float
    probabilities: tuple[float, ...]
    off_scale: float
    entropy: float


def spell(tokenizer: Any, dimension: Dimension, model: str) -> Spelling:
    """How the tokenizer writes the words of a dimension.

    Raises:
        ModelError: two levels are the same tokens, so their probabilities cannot be told apart.
    """
    words = QUESTIONS[dimension].words
    kept: list[tuple[Tokens, ...]] = []
    level_of: dict[Tokens, int] = {}
    for convention in _conventions(tokenizer, words):
        for level, tokens in enumerate(convention):
            same = convention.index(tokens)
            other = level_of.get(tokens, same if same != level else level)
            if other != level:
                raise ModelError(
                    f"the tokenizer of '{model}' writes '{words[level]}' and '{words[other]}' with the same tokens",
                    expected="a tokenizer that knows English words",
                    found=f"tokens {list(tokens)} for both",
                )
        if any(tokens in level_of for tokens in convention):
            continue  # in part or in whole an earlier convention: its words would count twice
        level_of |= {tokens: level for level, tokens in enumerate(convention)}
        kept.append(convention)
    return Spelling(dimension, tuple(kept))


def _conventions(tokenizer: Any, words: Sequence[str]) -> Iterator[tuple[Tokens, ...]]:
    for lead in _LEADS:
        for written in (str.capitalize, str.lower):
            yield tuple(_tokens(tokenizer, written(word), lead) for word in words)


def _tokens(tokenizer: Any, word: str, lead: str) -> Tokens:
    """Token ids of a word after `lead`."""
    ids: list[int] = tokenizer(f"{lead}{word}", add_special_tokens=False)["input_ids"]
    if lead == "\n":
        before: list[int] = tokenizer(lead, add_special_tokens=False)["input_ids"]
        ids = ids[len(before) :] if ids[: len(before)] == before else ids
    return tuple(ids)


def score_levels(spelling: Spelling, answer: Answer) -> list[LevelScore]:
    """One score for each row of the answer."""
    flat = [word for words in spelling.conventions for word in words]
    levels = len(spelling.conventions[0])
    sums = _sequences(answer, flat).reshape(-1, len(spelling.conventions), levels)
    lengths = torch.tensor([len(word) for word in flat], dtype=torch.float64).reshape(-1, levels)
    uneven = lengths.amin(1, keepdim=True) != lengths.amax(1, keepdim=True)
    within = torch.where(uneven, sums / lengths, sums).softmax(-1)
    masses = sums.logsumexp(-1)  # rows x conventions: log-probability of any word in that convention
    pooled = (masses.softmax(-1)[..., None] * within).sum(1)
    on_scale = masses.logsumexp(-1).exp()
    return [level_score(spelling.dimension, row, float(mass)) for row, mass in zip(pooled, on_scale, strict=True)]


def level_score(dimension: Dimension, probabilities: Tensor, on_scale: float) -> LevelScore:
    """The score of one distribution.

    Args:
        dimension: whose scale it is on.
        probabilities: of its levels, worst first: float64, on the CPU, adding up to 1.
        on_scale: probability 0..1 that the answer is a level word at all.
    """
    scale = SCALES[dimension]
    levels = torch.linspace(scale.low, scale.high, len(scale.levels), dtype=torch.float64)
    value = float((probabilities * levels).sum())
    deviation = float((probabilities * (levels - value).square()).sum().sqrt())
    entropy = float(torch.special.entr(probabilities).sum()) / math.log(len(levels))
    return LevelScore(
        value=min(scale.high, max(scale.low, value)),
        spread=_HALF_80 * deviation,
        probabilities=tuple(probabilities.tolist()),
        off_scale=min(1.0, max(0.0, 1.0 - on_scale)),
        entropy=min(1.0, max(0.0, entropy)),
    )


def _sequences(answer: Answer, words: Sequence[Tokens]) -> Tensor:
    """Log-probability of each word as a whole, rows x words, float64 on the CPU."""
    wanted: dict[Tokens, list[int]] = {}
    for word in words:
        for place, token in enumerate(word):
            wanted.setdefault(word[:place], []).append(token)
    found = {
        (opening, token): column
        for opening, tokens in wanted.items()
        for token, column in zip(tokens, answer.after[opening][:, tokens].double().cpu().T, strict=True)
    }
    return torch.stack([_sum(word, found) for word in words], 1)


def _sum(word: Tokens, found: dict[tuple[Tokens, int], Tensor]) -> Tensor:
    return torch.stack([found[word[:place], token] for place, token in enumerate(word)]).sum(0)
