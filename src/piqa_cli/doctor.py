"""Sanity before trust: what any judge of edits must get right, whatever it was trained on.

Some published judges score a black picture like any other, or come with an adapter whose weights are all zero.
Each check changes the example pair in one way of which the right answer is known, and compares. The tolerances are
what a sane judge must keep to, not what some model here happens to reach. A check that a rule answers before the
model is asked (identical files, another picture) says little about the model; that is why `black region` stands
beside `black image`: it leaves the rest of the photo alone, so the model itself has to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from piqa_cli.assessor import Assessor, Grounding, Judgement
from piqa_cli.doctor_pairs import OTHER_PROMPT, corner, example, mirrored, with_edited
from piqa_cli.errors import DeviceError, ModelError, PiqaError
from piqa_cli.images import LoadedPair
from piqa_cli.lmm.adapters import parts_that_work
from piqa_cli.schema import Box, Dimension, Kind, Score

_REGION_SCORES = (Dimension.HARMONY, Dimension.NATURALNESS)
_UNMOVED = (*_REGION_SCORES, Dimension.PRESERVATION)  # what a wrong prompt is no reason to score otherwise
_LEAST_DROP = 0.5  # a quarter of completion's scale; from done to not done is 2
_MOST_MOVED = 0.5  # on a scale of 1..5
_POOR, _BAD = 2.5, 1.5  # the upper ends of the levels of that name
_LEAST_FALL = 0.25  # the example is middling, so there is not much to fall
_SAME_BOX = 0.5  # intersection over union; boxes of language models are coarse
_EXACT, _HALF, _SERVED = 1e-3, 0.1, 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found. `holds` is None where the check is not applicable; `found` then says why."""

    check: str
    question: str
    expected: str
    found: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Patient:
    """Who is examined.

    Args:
        assessor: the judge.
        adapter: the folder of its LoRA adapter, if it has one.
        precision: how far its numbers may depend on the batch: fp32, half (bf16, fp16 or quantized weights), or
            served (the server composes its own batches).
    """

    assessor: Assessor
    adapter: Path | None = None
    precision: str = "fp32"


@dataclass(frozen=True, slots=True)
class Check:
    """One row: its name, what it asks, what a sane judge must do, and the function that finds out.

    `run` gives whether it holds (None: not applicable) and what was found.
    """

    name: str
    question: str
    expected: str
    run: Callable[[Patient], tuple[bool | None, str]]


def examine(patient: Patient) -> list[Verdict]:
    """All checks in the order of `CHECKS`.

    A pair that the judge cannot answer is a check that does not hold.

    Raises:
        ModelError: the model cannot be used.
        DeviceError: the device cannot be used, or has no memory for a single pair.
    """
    verdicts = []
    for check in CHECKS:
        try:
            holds, found = check.run(patient)
        except (ModelError, DeviceError):
            raise
        except PiqaError as error:
            holds, found = False, f"no answer: {error.message} [{error.code}]"
        verdicts.append(Verdict(check.name, check.question, check.expected, found, holds))
    return verdicts


def precision_of(assessor: Assessor) -> str:
    """`Patient.precision` by what the assessor says of itself; one that says nothing is held to fp32."""
    own = getattr(assessor, "precision", None)
    if isinstance(own, str):
        return own
    return "fp32" if str(getattr(assessor, "dtype", "float32")).endswith("float32") else "half"


def _black_image(patient: Patient) -> tuple[bool, str]:
    pair = example()
    black = with_edited(pair, np.zeros_like(pair.edited.pixels))
    grounding, judgement = _ask(patient, black)
    overall, preservation = judgement.scores.overall, judgement.scores.preservation
    found = f"{grounding.edit.kind.value}; overall {_say(overall)}, preservation {_say(preservation)}"
    return _at_most(overall, _POOR) and _at_most(preservation, _POOR), found


def _black_region(patient: Patient) -> tuple[bool, str]:
    pair = example(masked=True)
    pixels = pair.edited.pixels.copy()
    pixels[pair.mask] = 0
    (_, before), (_, after) = _ask(patient, pair), _ask(patient, with_edited(pair, pixels))
    rows = [(d, before.scores.of(d), after.scores.of(d)) for d in _REGION_SCORES]
    found = "; ".join(f"{d.value} {_say(old)} before, {_say(new)} black" for d, old, new in rows)
    known = [(old.value, new.value) for _, old, new in rows if old.value is not None and new.value is not None]
    if len(known) < len(rows):  # a mask says where to look, so there is nothing to refuse
        return False, found
    fall = sum(old - new for old, new in known) / len(known)
    worst = max(new for _, new in known)
    return worst <= _POOR and (fall >= _LEAST_FALL or worst <= _BAD), found


def _identical(patient: Patient) -> tuple[bool, str]:
    pair = example()
    same = replace(with_edited(pair, pair.source.pixels.copy()), identical=True)
    grounding, judgement = _ask(patient, same)
    scores = judgement.scores
    told = (scores.prompt_completion, scores.preservation, scores.harmony, scores.local_naturalness)
    completion, preservation, *region = told
    holds = (
        grounding.edit.kind is Kind.NONE
        and completion.value is not None
        and completion.value <= 1.5
        and preservation.value is not None
        and preservation.value >= 4.5
        and all(score.value is None or score.value >= 4 for score in region)
    )
    names = ("completion", "preservation", "harmony", "naturalness")
    words = ", ".join(f"{name} {_say(score)}" for name, score in zip(names, told, strict=True))
    return holds, f"{grounding.edit.kind.value}; {words}"


def _other_prompt(patient: Patient) -> tuple[bool, str]:
    (_, right), (_, wrong) = _ask(patient, example()), _ask(patient, example(prompt=OTHER_PROMPT))
    asked, other = right.scores.prompt_completion, wrong.scores.prompt_completion
    dropped = asked.value is not None and (other.value is None or other.value <= asked.value - _LEAST_DROP)
    moved = {d: _distance(right.scores.of(d), wrong.scores.of(d)) for d in _UNMOVED}
    worst = max(moved, key=lambda dimension: moved[dimension])
    found = f"completion {_say(asked)} with its own prompt, {_say(other)} with the other; {worst.value} moved most,"
    return dropped and moved[worst] <= _MOST_MOVED, f"{found} by {moved[worst]:.2f}"


def _mirrored(patient: Patient) -> tuple[bool | None, str]:
    pair = example()
    width = pair.info.edited.width
    (plain, _), (turned, _) = _ask(patient, pair), _ask(patient, mirrored(pair))
    if not plain.regions or not turned.regions:
        counts = f"{len(plain.regions)} regions in the picture, {len(turned.regions)} in its mirror image"
        return False, f"nothing to compare: {counts}"
    box, seen = (max(g.regions, key=lambda r: r.area_fraction).box for g in (plain, turned))
    wanted = (width - box[2], box[1], width - box[0], box[3])
    if _overlap(box, wanted) >= _SAME_BOX:
        return None, f"the box {box} is nearly its own mirror image, which proves nothing"
    share = _overlap(wanted, seen)
    return share >= _SAME_BOX, f"{box} mirrors to {wanted}; found {seen}, overlap {share:.2f}"


def _batches(patient: Patient) -> tuple[bool | None, str]:
    pair = example()
    pairs = [pair, corner(pair, 384, 480), mirrored(pair), corner(example(prompt=OTHER_PROMPT), 400, 448)]
    alone = [_ask(patient, one)[1] for one in pairs]
    try:
        together = patient.assessor.score(pairs, patient.assessor.ground(pairs))
    except DeviceError as error:
        if error.code != "E_OOM":
            raise
        return None, "out of memory with four pairs at once"
    rows = [(a.scores.of(d), b.scores.of(d)) for a, b in zip(alone, together, strict=True) for d in Dimension]
    known = [(a.value, b.value) for a, b in rows if a.value is not None and b.value is not None]
    if not known:
        return False, "no score to compare: all are null"
    null = sum((a.value is None) != (b.value is None) for a, b in rows)
    most = max(abs(a - b) for a, b in known)
    limit = {"fp32": _EXACT, "half": _HALF}.get(patient.precision, _SERVED)
    found = f"{len(known)} scores, largest difference {most:.1e} of {limit:g} allowed"
    return most <= limit and not null, found + (f"; {null} are null in one of the two only" if null else "")


def _adapter(patient: Patient) -> tuple[bool | None, str]:
    if patient.adapter is None:
        return None, "the model has no adapter"
    files = sorted(patient.adapter.glob("adapter_model*.safetensors"))
    if not files:
        return False, f"no adapter_model*.safetensors in {patient.adapter}"
    working = parts_that_work(files)
    return any(working.values()), f"{sum(working.values())} of {len(working)} adapted parts change the model"


CHECKS: tuple[Check, ...] = (
    Check(
        "black image",
        "Is a wholly black edited picture refused or scored low?",
        f"overall and preservation null with a reason, or at most {_POOR:g} of 5",
        _black_image,
    ),
    Check(
        "black region",
        "Does a black hole in place of the edit cost harmony and naturalness?",
        f"each is at most {_POOR:g} of 5; their mean falls by at least {_LEAST_FALL:g}, or each is at most {_BAD:g}",
        _black_region,
    ),
    Check(
        "identical pair",
        "Is an edited file equal to its source called unedited?",
        "kind no_change, completion at most 1.5 of 3, preservation at least 4.5, harmony and naturalness null or"
        " at least 4",
        _identical,
    ),
    Check(
        "other prompt",
        "Does a prompt that asks for something else cost completion, and only that?",
        f"completion falls by at least {_LEAST_DROP:g} or becomes null; harmony, naturalness and preservation move by"
        f" at most {_MOST_MOVED:g}",
        _other_prompt,
    ),
    Check(
        "mirrored boxes",
        "In the mirrored pair, is the region where the mirror puts it?",
        f"the largest region's box overlaps the mirrored box by at least {_SAME_BOX:g} (intersection over union)",
        _mirrored,
    ),
    Check(
        "batch of four",
        "Does a pair get the score alone that it gets beside three others?",
        f"every score within {_EXACT:g} in fp32, {_HALF:g} in half precision or quantized (rounding follows the"
        f" shape of the batch), {_SERVED:g} served (the server makes its own batches)",
        _batches,
    ),
    Check(
        "adapter of zeros",
        "Does the adapter change the model at all?",
        "at least one adapted part whose weights are not all zero",
        _adapter,
    ),
)


def _ask(patient: Patient, pair: LoadedPair) -> tuple[Grounding, Judgement]:
    groundings = patient.assessor.ground([pair])
    return groundings[0], patient.assessor.score([pair], groundings)[0]


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two half-open boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def _at_most(score: Score, limit: float) -> bool:
    return score.value is None or score.value <= limit


def _distance(one: Score, other: Score) -> float:
    """How far a score moved; one that became null, or ceased to be, moved by its whole scale."""
    if one.value is None and other.value is None:
        return 0.0
    if one.value is None or other.value is None:
        return one.high - one.low
    return abs(one.value - other.value)


def _say(score: Score) -> str:
    return f"null ({score.code or score.reason})" if score.value is None else f"{score.value:.2f}"
