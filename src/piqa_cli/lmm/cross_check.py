"""Two assessors behind one protocol: both judge every pair on its own, and their disagreements are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from piqa_cli.assessor import Assessor, Explanation, Grounding, Judgement, models_of
from piqa_cli.errors import UsageError
from piqa_cli.images import LoadedPair
from piqa_cli.schema import SCALES, CrossCheck, Dimension, Kind, ModelInfo, Score, Scores


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CrossCheckGrounding(Grounding):
    """The first assessor's grounding, with both as they were given: each scores its own."""

    first: Grounding
    second: Grounding


class CrossCheckAssessor:
    """The first assessor's records, each with what the second one says beside it.

    Neither sees the other's answer. The record is the first one's throughout (its grounding, scores, findings and
    explanation); `cross_check` holds the second one's scores, and a warning names each disagreement.

    Args:
        first: the model that was asked for.
        second: the one that checks it.

    Raises:
        UsageError: both are the same model.
    """

    def __init__(self, first: Assessor, second: Assessor) -> None:
        if first.info == second.info:
            raise UsageError(
                f"'{first.info.name}' cannot be its own cross-check",
                expected="two different models",
                found=f"{first.info.name} {first.info.version} twice",
                hint="name another --model, or leave --cross-check out",
            )
        self.first, self.second = first, second

    @property
    def info(self) -> ModelInfo:
        """The first model's; the second one's stands in `cross_check`."""
        return self.first.info

    @property
    def beside(self) -> tuple[ModelInfo, ...]:
        """All other models that decide a part of every record (`resume.key`)."""
        return (*models_of(self.first)[1:], *models_of(self.second))

    @property
    def precision(self) -> str:
        """As the first says of itself (`doctor.precision_of`)."""
        return str(getattr(self.first, "precision", "fp32"))

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        """Stage 1 by both."""
        both = zip(self.first.ground(pairs), self.second.ground(pairs), strict=True)
        return [CrossCheckGrounding(**one.as_fields(), first=one, second=two) for one, two in both]

    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        """Stage 2 by both; the disagreements are in the judgement and among its warnings."""
        own = _own(groundings)
        first = self.first.score(pairs, [grounding.first for grounding in own])
        second = self.second.score(pairs, [grounding.second for grounding in own])
        return [self._compare(*row) for row in zip(own, first, second, strict=True)]

    def explain(
        self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding], judgements: Sequence[Judgement]
    ) -> Sequence[str | Explanation]:
        """Stage 3 by the first."""
        return self.first.explain(pairs, [grounding.first for grounding in _own(groundings)], judgements)

    def _compare(self, grounding: CrossCheckGrounding, first: Judgement, second: Judgement) -> Judgement:
        kind, other = grounding.first.edit.kind, grounding.second.edit.kind
        differ = tuple(d for d in Dimension if disagree(first.scores.of(d), second.scores.of(d)))
        names = self.first.info.name, self.second.info.name
        warnings = [_kinds(names, kind, other)] if kind is not other else []
        warnings += [_sentence(names, dimension, first.scores, second.scores) for dimension in differ]
        check = CrossCheck(model=self.second.info, kind=other, scores=second.scores, disagreements=differ)
        return replace(first, cross_check=check, warnings=(*first.warnings, *warnings))


def disagree(one: Score, other: Score) -> bool:
    """Whether both are known and neither lies within the other's spread (half its 80 % interval, 0 if unknown)."""
    if one.value is None or other.value is None:
        return False
    return abs(one.value - other.value) > max(one.spread or 0.0, other.spread or 0.0)


def _own(groundings: Sequence[Grounding]) -> list[CrossCheckGrounding]:
    own = [grounding for grounding in groundings if isinstance(grounding, CrossCheckGrounding)]
    if len(own) != len(groundings):
        raise TypeError("a cross-check scores its own groundings")
    return own


def _kinds(names: tuple[str, str], kind: Kind, other: Kind) -> str:
    return f"cross-check: {names[0]} finds {_spoken(kind)}, {names[1]} finds {_spoken(other)}"


def _spoken(kind: Kind) -> str:
    return {
        Kind.LOCAL: "a local edit",
        Kind.GLOBAL: "a change of the whole picture",
        Kind.NONE: "no change",
        Kind.DIFFERENT: "a different picture",
    }[kind]


def _sentence(names: tuple[str, str], dimension: Dimension, first: Scores, second: Scores) -> str:
    one, other = (
        f"{name} {scores.of(dimension).value:.1f}" for name, scores in zip(names, (first, second), strict=True)
    )
    return f"cross-check: {dimension.value} is {one}, {other} of {SCALES[dimension].high:g}, beyond both spreads"
