"""From the learned levels and the measurements of one pair to its scores; what is not known is null with a reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from piqa_cli.assessor import Grounding, Judgement
from piqa_cli.compact.completion import asked_kinds, verify
from piqa_cli.compact.features import measure
from piqa_cli.compact.findings import find
from piqa_cli.compact.framing import Frame
from piqa_cli.fusion import fuse
from piqa_cli.images import LoadedPair
from piqa_cli.schema import Dimension, Fault, Heat, Kind, Score, Scores, score

Levels = Mapping[Dimension, tuple[float, float]]
"""Mean and half the 80 % interval of each learned dimension."""

_LEAST_FAULT = 0.1  # severity below which a fault is not listed: nearer to none than to slight

_DIFFERENT = ("the two pictures do not show the same scene", "N_DIFFERENT_PICTURE")
_NO_EDIT = ("nothing was edited", "N_NO_EDIT")
_EMPTY = ("the mask is empty: there is no region to judge", "E_MASK_EMPTY")
_FULL = ("the mask covers the whole picture: nothing was to be preserved", "E_MASK_FULL")


def judge(
    pair: LoadedPair,
    grounding: Grounding,
    frame: Frame,
    levels: Levels,
    faults: Sequence[Fault] = (),
    artefacts: Heat | None = None,
) -> Judgement:
    """Scores, findings and faults of a grounded pair.

    Args:
        pair: the pictures as loaded.
        grounding: where they differ.
        frame: the two pictures, registered, at working resolution.
        levels: what the network says of harmony, naturalness and preservation.
        faults: how bad the network finds each fault, in any order. Listed are, worst first, those that it is at
            all sure of and that the prompt did not ask for; none where there is no edited region to judge.
        artefacts: where the network sees artefacts; passed on where there is an edited region to judge.
    """
    kind = grounding.edit.kind
    size = (pair.info.edited.height, pair.info.edited.width)
    measured = measure(frame.edited, frame.source, grounding.mask, frame.registration.valid)
    edited = kind in (Kind.LOCAL, Kind.GLOBAL)
    asked = asked_kinds(pair.info.prompt)
    findings = find(measured, grounding.regions, size, asked) if edited else ()
    harmony, naturalness = (
        _region_score(pair, grounding, dimension, levels) for dimension in (Dimension.HARMONY, Dimension.NATURALNESS)
    )
    if kind is Kind.DIFFERENT:
        completion = score(Dimension.COMPLETION, None, reason=_DIFFERENT[0], code=_DIFFERENT[1])
        overall, fusion = score(Dimension.OVERALL, None, reason=_DIFFERENT[0], code=_DIFFERENT[1]), "none"
    else:
        completion = verify(
            pair.info.prompt, grounding.edit, measured, frame.edited, frame.source, np.asarray(grounding.mask)
        )
        overall, fusion = fuse(completion, harmony, naturalness)
    scores = Scores(
        overall=overall,
        prompt_completion=completion,
        harmony=harmony,
        local_naturalness=naturalness,
        preservation=_preservation(pair, grounding, levels),
    )
    if not edited or _marks_nothing(pair):
        return Judgement(scores, fusion, findings)
    return Judgement(scores, fusion, findings, faults=_listed(faults, asked), artefacts=artefacts)


def _listed(faults: Sequence[Fault], asked: Collection[str]) -> tuple[Fault, ...]:
    """Those to tell of, worst first."""
    told = [fault for fault in faults if fault.severity >= _LEAST_FAULT and fault.kind not in asked]
    return tuple(sorted(told, key=lambda fault: -fault.severity))


def _marks_nothing(pair: LoadedPair) -> bool:
    return pair.mask is not None and not pair.mask.any()


def _region_score(pair: LoadedPair, grounding: Grounding, dimension: Dimension, levels: Levels) -> Score:
    if _marks_nothing(pair):
        reason = _EMPTY
    elif grounding.edit.kind is Kind.DIFFERENT:
        reason = _DIFFERENT
    elif grounding.edit.kind is Kind.NONE:
        reason = _NO_EDIT
    else:
        return score(dimension, *levels[dimension])
    return score(dimension, None, reason=reason[0], code=reason[1])


def _preservation(pair: LoadedPair, grounding: Grounding, levels: Levels) -> Score:
    dimension = Dimension.PRESERVATION
    if pair.mask is not None and pair.mask.all():
        return score(dimension, None, reason=_FULL[0], code=_FULL[1])
    if grounding.edit.kind is Kind.DIFFERENT:
        return score(dimension, None, reason=_DIFFERENT[0], code=_DIFFERENT[1])
    if pair.identical:
        return score(dimension, 5.0, 0.0, reason="the two pictures are identical")
    return score(dimension, *levels[dimension])
