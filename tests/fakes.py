"""A stand-in for the models: deterministic, numpy only, with switches for what can go wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from piqa_cli.assessor import Grounding, Judgement
from piqa_cli.errors import DeviceError
from piqa_cli.regions import encode_heat
from piqa_cli.schema import (
    Alignment,
    Dimension,
    Edit,
    Finding,
    Kind,
    ModelInfo,
    Region,
    RunLengthMask,
    Scores,
    fault,
    score,
)

if TYPE_CHECKING:
    from piqa_cli.align import Registration
    from piqa_cli.images import LoadedPair

FAKE_MODEL = ModelInfo(name="fake", version="1", weights_sha256="0" * 64)
IDENTITY = Alignment(
    method="none",
    matrix=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    shift_pixels=0.0,
    scale=1.0,
    rotation_degrees=0.0,
    gain=(1.0, 1.0, 1.0),
    bias=(0.0, 0.0, 0.0),
    overlap=1.0,
    confidence=1.0,
)


@dataclass
class FakeAssessor:
    """Scores follow the mean difference of the two images; nothing else decides them.

    Args:
        out_of_memory_above: a batch of more pairs than this raises `DeviceError` E_OOM.
        out_of_memory_for: so does any batch with a pair of one of these ids.
        fail: a batch with a pair of this id raises the error.
        seconds: how long a batch takes.
        info: the model that the records name.
    """

    out_of_memory_above: int | None = None
    out_of_memory_for: frozenset[str] = frozenset()
    fail: dict[str, BaseException] = field(default_factory=dict)
    seconds: float = 0.0  # a batch takes
    seconds_a_pair: float = 0.0
    info: ModelInfo = FAKE_MODEL
    batches: list[list[str]] = field(default_factory=list)  # ids of every batch that ground() was asked for
    explained: int = 0

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        """The whole picture is the region if any pixel differs."""
        ids = [loaded.pair.id for loaded in pairs]
        self.batches.append(ids)
        time.sleep(self.seconds + len(pairs) * self.seconds_a_pair)
        too_many = self.out_of_memory_above is not None and len(pairs) > self.out_of_memory_above
        if too_many or self.out_of_memory_for.intersection(ids):
            raise DeviceError("out of memory", code="E_OOM")
        for name in ids:
            if name in self.fail:
                raise self.fail[name]
        return [_ground(loaded) for loaded in pairs]

    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        """Every dimension gets 5 less the mean difference / 16."""
        return [_judge(loaded, grounding) for loaded, grounding in zip(pairs, groundings, strict=True)]

    def explain(
        self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding], judgements: Sequence[Judgement]
    ) -> list[str]:
        """One sentence with the pair's id."""
        self.explained += len(pairs)
        return [f"The pair {loaded.pair.id} was judged. It is a fake." for loaded in pairs]


def _difference(loaded: LoadedPair) -> float:
    if loaded.source.pixels.shape != loaded.edited.pixels.shape:
        return 0.0
    return float(np.abs(loaded.source.pixels.astype(np.int16) - loaded.edited.pixels).mean())


def _ground(loaded: LoadedPair) -> Grounding:
    height, width = loaded.info.edited.height, loaded.info.edited.width
    changed = _difference(loaded) > 0
    whole = Region(
        box=(0, 0, width, height),
        area_fraction=1.0,
        confidence=0.9,
        mask=RunLengthMask(size=(height, width), counts=_all_ones(height * width)),
    )
    edit = Edit(
        edited=changed,
        probability=0.9 if changed else 0.1,
        kind=Kind.LOCAL if changed else Kind.NONE,
        area_fraction=1.0 if changed else 0.0,
        identical=loaded.identical,
    )
    return Grounding(
        edit=edit,
        alignment=IDENTITY,
        regions=(whole,) if changed else (),
        mask=np.full((height, width), changed),
        registration=cast("Registration", None),
    )


def _judge(loaded: LoadedPair, grounding: Grounding) -> Judgement:
    value = 5.0 - _difference(loaded) / 16
    if grounding.edit.edited:
        local = score(Dimension.HARMONY, value, 0.5), score(Dimension.NATURALNESS, value, 0.5)
    else:
        local = (
            score(Dimension.HARMONY, None, reason="nothing was edited", code="N_NO_EDIT"),
            score(Dimension.NATURALNESS, None, reason="nothing was edited", code="N_NO_EDIT"),
        )
    scores = Scores(
        overall=score(Dimension.OVERALL, value, 0.6),
        prompt_completion=score(Dimension.COMPLETION, None, reason="no prompt was given", code="N_NO_PROMPT"),
        harmony=local[0],
        local_naturalness=local[1],
        preservation=score(Dimension.PRESERVATION, value, 0.4),
    )
    finding = Finding(
        kind="colour",
        severity="slight",
        box=None,
        value=_difference(loaded),
        unit="levels of 255",
        text="The colours differ.",
    )
    if not grounding.edit.edited:
        return Judgement(scores=scores, fusion="fake", findings=(finding,))
    height, width = grounding.mask.shape
    return Judgement(
        scores=scores,
        fusion="fake",
        findings=(finding,),
        faults=(fault("colour", _difference(loaded) / 255),),
        artefacts=encode_heat(np.array([[0.0, 0.5], [1.0, 0.25]]), (0, 0, width, height)),
    )


def _all_ones(pixels: int) -> str:
    """COCO counts of a full mask: a run of 0 zeros, then one of all pixels."""
    text, rest = "0", pixels
    while True:
        group, rest = rest & 31, rest >> 5
        last = rest == 0 and not group & 16
        text += chr((group if last else group | 32) + 48)
        if last:
            return text
