"""The seam between the flow and the models: what every assessor does, in the paper's three stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from piqa_cli.schema import Alignment, CrossCheck, Edit, Fault, Finding, Heat, ModelInfo, Region, Scores

if TYPE_CHECKING:
    from piqa_cli.align import Registration
    from piqa_cli.images import LoadedPair


@dataclass(frozen=True, slots=True, eq=False)
class Grounding:
    """Stage 1: where the edit is.

    `mask` is boolean, height x width of the working frame (the edited image scaled to the assessor's
    working size); `registration` holds the source brought onto that frame.
    """

    edit: Edit
    alignment: Alignment
    regions: tuple[Region, ...]
    mask: NDArray[np.bool_]
    registration: Registration
    warnings: tuple[str, ...] = ()

    def as_fields(self) -> dict[str, Any]:
        """The fields of every grounding by name: what an assessor's own kind of grounding is made from."""
        return {field.name: getattr(self, field.name) for field in fields(Grounding)}


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Stage 2: the scores, how the overall was made, the findings beside them, and what a learned judge sees.

    `faults` are its severities, worst first; `artefacts` is where it sees them. `cross_check` is a second model's
    judgement of the same pair.
    """

    scores: Scores
    fusion: str
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    artefacts: Heat | None = None
    cross_check: CrossCheck | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Stage 3 where there is more to say than a text: None where none was asked for, and how it came about."""

    text: str | None
    warnings: tuple[str, ...] = ()


class Assessor(Protocol):
    """Judges pairs in three stages. Each method takes and gives one item per pair, order kept.

    The answer for a pair must not depend on the other pairs in the sequence.

    Raises:
        DeviceError: out of memory (code E_OOM); the pipeline halves the batch and tries again.
    """

    @property
    def info(self) -> ModelInfo:
        """Name, version and weights hash, as they stand in every record."""
        ...

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        """Which region was edited."""
        ...

    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        """The five scores with findings."""
        ...

    def explain(
        self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding], judgements: Sequence[Judgement]
    ) -> Sequence[str | Explanation]:
        """Two to four plain sentences that never contradict the scores."""
        ...


def models_of(assessor: Assessor) -> tuple[ModelInfo, ...]:
    """All models that decide an assessor's records, first the one they name; the others stand in its `beside`."""
    beside: tuple[ModelInfo, ...] = getattr(assessor, "beside", ())
    return (assessor.info, *beside)
