"""The model's answers as a pair's scores; null where a question makes no sense, by the compact assessor's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from piqa_cli.assessor import Judgement
from piqa_cli.lmm.grounding import EDITED, LmmGrounding
from piqa_cli.lmm.levels import LevelScore
from piqa_cli.schema import Dimension, Reliability, Score, Scores, score

MOST_OFF_SCALE = 0.5
"""Probability of an answer that is no level, above which a warning says so."""

_ASSUMED = ("the instruction is not known; assumes that the edit did what was asked", "N_COMPLETION_ASSUMED")
_FUSION = "the model's own answer to the question for the overall, not made from the other scores"


def sensible(grounding: LmmGrounding, compact: Judgement) -> tuple[Dimension, ...]:
    """The dimensions whose question makes sense, by what the compact assessor could score."""
    edited = grounding.edit.kind in EDITED
    region = edited and compact.scores.harmony.value is not None  # there is a region to judge
    wanted = {
        Dimension.OVERALL: region,
        Dimension.COMPLETION: edited and _prompted(grounding),
        Dimension.HARMONY: region,
        Dimension.NATURALNESS: region,
        Dimension.PRESERVATION: compact.scores.preservation.value is not None,
    }
    return tuple(dimension for dimension, wants in wanted.items() if wants)


def _prompted(grounding: LmmGrounding) -> bool:
    return bool((grounding.pair.info.prompt or "").strip())


def judge(grounding: LmmGrounding, compact: Judgement, answers: Mapping[Dimension, LevelScore]) -> Judgement:
    """The compact assessor's judgement with the model's answers wherever the question makes sense.

    Findings, faults and the artefact map stay the compact assessor's, and so do scores that no one need be asked for:
    identical pictures are preserved, and what was not edited was not done.
    """
    askable, prompted = sensible(grounding, compact), _prompted(grounding)
    given: dict[str, Score] = {}
    warnings = list(compact.warnings)
    for dimension, answer in answers.items():
        if dimension not in askable:
            continue
        reason, code = _ASSUMED if dimension is Dimension.OVERALL and not prompted else (None, None)
        given[dimension.value] = _score(dimension, answer, reason, code)
        if answer.off_scale > MOST_OFF_SCALE:
            share = f"{100 * answer.off_scale:.0f} %"
            warnings.append(f"{dimension.value}: the model would answer something else than a level with {share}")
    fusion = _FUSION if Dimension.OVERALL.value in given else compact.fusion
    scores: Scores = compact.scores.model_copy(update=given)
    return replace(compact, scores=scores, fusion=fusion, warnings=tuple(warnings))


def _score(dimension: Dimension, answer: LevelScore, reason: str | None, code: str | None) -> Score:
    return score(
        dimension,
        answer.value,
        answer.spread,
        reason=reason,
        code=code,
        distribution=answer.probabilities,
        reliability=Reliability(off_scale=answer.off_scale, entropy=answer.entropy),
    )
