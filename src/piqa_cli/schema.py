"""The records that travel through piqa and come out of it; the only place that knows the scales.

`Pair` goes in; `Outcome` (an `Assessment` or a `Failure`) comes out, the same record in JSON, JSONL
and, flattened, CSV. All records are frozen. Boxes are half-open (x0, y0, x1, y1) in pixels of the
edited image as a person sees it, that is after EXIF rotation.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

SchemaVersion = Literal["1.0", "1.1", "1.2", "1.3"]
"""What can be read: older records lack only fields that have a default."""

SCHEMA_VERSION: SchemaVersion = "1.3"
"""What is written."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, found {type(value).__name__}")
    return value


# Paths may hold bytes that are not UTF-8 (surrogates in Python's str); pydantic's own str refuses them.
PathText = Annotated[str, PlainValidator(_text), WithJsonSchema({"type": "string"})]


class Record(BaseModel):
    """Base of all records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dimension(StrEnum):
    """What is scored: EPAIQA-15K's four dimensions, and preservation, which is ours."""

    OVERALL = "overall"
    COMPLETION = "prompt_completion"
    HARMONY = "harmony"
    NATURALNESS = "local_naturalness"
    PRESERVATION = "preservation"


class Scale(Record):
    """A closed range on which higher is better, with named levels at equal steps, worst first."""

    low: float
    high: float
    levels: tuple[str, ...]

    def level(self, value: float) -> str:
        """The level word of a value in [low, high]: the level whose centre is nearest.

        Levels have their centres at equal steps from `low` to `high` (EPAIQA's 1 = bad ... 5 = excellent).
        """
        step = (self.high - self.low) / (len(self.levels) - 1)
        return self.levels[min(len(self.levels) - 1, int((value - self.low) / step + 0.5))]


_QUALITY = Scale(low=1, high=5, levels=("bad", "poor", "fair", "good", "excellent"))
SCALES: dict[Dimension, Scale] = {
    Dimension.OVERALL: _QUALITY,
    Dimension.COMPLETION: Scale(low=1, high=3, levels=("not done", "partly done", "done")),
    Dimension.HARMONY: _QUALITY,
    Dimension.NATURALNESS: _QUALITY,
    Dimension.PRESERVATION: _QUALITY,
}


class Pair(Record):
    """One thing to assess. `source`, `edited` and `mask` are paths, or "-" for standard input."""

    id: PathText
    source: PathText
    edited: PathText
    mask: PathText | None = None
    prompt: PathText | None = None


class ImageInfo(Record):
    """An image file as it was read; width and height in pixels after EXIF rotation."""

    path: PathText
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    format: str = Field(description="Decoder's name: JPEG, PNG ...")
    notes: tuple[str, ...] = Field(
        default=(), description="Conversions applied on the way to 8-bit sRGB: 'exif rotation 6', 'icc Adobe RGB' ..."
    )


class PairInfo(Record):
    """The pair as read."""

    source: ImageInfo
    edited: ImageInfo
    mask: ImageInfo | None = None
    prompt: PathText | None = None


class ModelInfo(Record):
    """Which model judged, exactly."""

    name: str
    version: str
    weights_sha256: str
    precision: str | None = Field(
        default=None, description="fp32, bf16, fp16, 8bit or 4bit; null where a server decides."
    )
    adapter: PathText | None = Field(default=None, description="The LoRA adapter's folder, by name; null without one.")
    adapter_sha256: str | None = Field(default=None, description="SHA-256 of its settings and weights.")


class Kind(StrEnum):
    """How the edited file relates to the source."""

    LOCAL = "local_edit"
    GLOBAL = "global_change"
    NONE = "no_change"
    DIFFERENT = "different_picture"


class Edit(Record):
    """Whether, and how, the picture was edited. A whole-file re-encoding or resize is not an edit."""

    edited: bool
    probability: float = Field(ge=0, le=1, description="Probability that something was edited.")
    kind: Kind
    area_fraction: float = Field(ge=0, le=1, description="Edited area / image area.")
    identical: bool = Field(description="Both images decode to the same pixels.")


class Alignment(Record):
    """How the source was brought onto the edited image before they were compared."""

    method: Literal["none", "resize", "shift", "affine", "crop", "failed"]
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]] = Field(
        description="Maps (x, y, 1) in pixels of the edited image to pixels of the source."
    )
    shift_pixels: float = Field(ge=0, description="Mean displacement beyond a plain resize, in edited pixels.")
    scale: float = Field(gt=0, description="Magnification beyond a plain resize; 1 is none.")
    rotation_degrees: float
    gain: tuple[float, float, float] = Field(description="Per-channel R, G, B gain that matches source to edited.")
    bias: tuple[float, float, float] = Field(description="Per-channel offset added after the gain, 0..255 units.")
    overlap: float = Field(ge=0, le=1, description="Share of the edited image that the source covers.")
    confidence: float = Field(ge=0, le=1, description="Correlation of the two pictures after alignment, floored at 0.")


Box = tuple[int, int, int, int]


class RunLengthMask(Record):
    """COCO compressed run-length encoding, column-major, `size` = [height, width] of the edited image."""

    size: tuple[int, int]
    counts: str


class Region(Record):
    """One connected edited region."""

    box: Box = Field(description="Half-open x0, y0, x1, y1 in pixels of the edited image.")
    area_fraction: float = Field(ge=0, le=1)
    confidence: float = Field(ge=0, le=1)
    mask: RunLengthMask


class Reliability(Record):
    """How far a model that answers in words stood behind its answer."""

    off_scale: float = Field(ge=0, le=1, description="Probability of an answer that is none of the level words.")
    entropy: float = Field(ge=0, le=1, description="Of the distribution, as a share of the largest possible.")


class Score(Record):
    """One dimension's score. `value` is null when the tool cannot know; `reason` then says why."""

    value: float | None
    spread: float | None = Field(default=None, ge=0, description="Half the width of the 80 % interval.")
    level: str | None = None
    low: float
    high: float
    direction: Literal["higher is better"] = "higher is better"
    reason: str | None = Field(default=None, description="Why the value is null, or what it rests on.")
    code: str | None = Field(default=None, description="Stable code of the reason: E_MASK_EMPTY, N_NO_PROMPT ...")
    distribution: tuple[float, ...] | None = Field(
        default=None, description="Probability of each level, worst first, of a model that answers in level words."
    )
    reliability: Reliability | None = None


class Scores(Record):
    """The five scores."""

    overall: Score
    prompt_completion: Score
    harmony: Score
    local_naturalness: Score
    preservation: Score

    def of(self, dimension: Dimension) -> Score:
        """The score of one dimension."""
        score: Score = getattr(self, dimension.value)
        return score


Severity = Literal["slight", "moderate", "severe"]


class Finding(Record):
    """One checkable observation: what, how bad, where, and the number it rests on."""

    kind: str = Field(description="exposure, colour, noise, sharpness, seam, texture_loss, blocking, ... or drift_*")
    severity: Severity
    box: Box | None = Field(description="Where, half-open x0, y0, x1, y1; null for the whole picture.")
    value: float = Field(description="The measured value.")
    unit: str = Field(description="The unit of the value.")
    text: str = Field(description="One plain sentence.")


class Fault(Record):
    """How bad the learned judge thinks one fault of the edited region is: an estimate, not a measurement."""

    kind: str = Field(description="exposure, colour, noise, sharpness, seam, texture_loss, smear, blocking, ...")
    severity: float = Field(ge=0, le=1, description="Learned estimate; 1 is the worst that training made.")
    level: Severity


class Heat(Record):
    """A coarse map of where the learned judge sees artefacts, over the square of the picture that it looked at."""

    box: Box = Field(
        description="The square, half-open x0, y0, x1, y1 in pixels of the edited image; may reach beyond it."
    )
    size: tuple[int, int] = Field(description="Rows and columns.")
    values: str = Field(
        description="Base64 of rows x columns bytes, row by row; 0..255 is a probability of 0..1 of an artefact."
    )


class CrossCheck(Record):
    """What a second model says of the same pair, which it judged on its own."""

    model: ModelInfo = Field(description="The second model.")
    kind: Kind = Field(description="What it takes the change to be.")
    scores: Scores
    disagreements: tuple[Dimension, ...] = Field(
        description="Dimensions both models scored, where neither value lies within the other's spread."
    )


_KEY = "Hash of all that decides the record, in a batch (`resume.key` lists it); null if a file cannot be read."


class Assessment(Record):
    """What piqa says of a pair."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    status: Literal["ok"] = "ok"
    id: PathText
    key: str | None = Field(default=None, description=_KEY)
    pair: PairInfo
    model: ModelInfo
    edit: Edit
    alignment: Alignment
    regions: tuple[Region, ...]
    scores: Scores
    fusion: str = Field(description="How the overall score was made from the others.")
    findings: tuple[Finding, ...]
    faults: tuple[Fault, ...] = Field(default=(), description="Worst first.")
    artefacts: Heat | None = None
    cross_check: CrossCheck | None = Field(default=None, description="A second model's judgement, if one was asked.")
    explanation: str | None
    warnings: tuple[str, ...]
    seconds: float = Field(ge=0, description="Model time of this pair, decoding apart.")


class ErrorInfo(Record):
    """Why a pair could not be assessed."""

    code: str
    message: PathText
    file: PathText | None = None
    expected: PathText | None = None
    found: PathText | None = None
    hint: PathText | None = None


class Failure(Record):
    """A pair that could not be assessed. Never a made-up number."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    status: Literal["error"] = "error"
    id: PathText
    key: str | None = Field(default=None, description=_KEY)
    pair: Pair
    error: ErrorInfo


_LEVELS: tuple[tuple[float, Severity], ...] = ((0.65, "severe"), (0.35, "moderate"))  # from this severity on


def fault(kind: str, severity: float) -> Fault:
    """A `Fault`, its severity clamped to 0..1 and the level word filled in.

    Raises:
        ValueError: the severity is not finite.
    """
    if not math.isfinite(severity):
        raise ValueError(f"the severity of {kind} is not finite: {severity}")
    clamped = min(1.0, max(0.0, severity))
    return Fault(
        kind=kind, severity=clamped, level=next((word for least, word in _LEVELS if clamped >= least), "slight")
    )


Outcome = Assessment | Failure
"""What comes out for every pair that goes in; told apart by `status`."""


def score(
    dimension: Dimension,
    value: float | None,
    spread: float | None = None,
    *,
    reason: str | None = None,
    code: str | None = None,
    distribution: tuple[float, ...] | None = None,
    reliability: Reliability | None = None,
) -> Score:
    """A `Score` on its dimension's scale: the value clamped to it, the level word filled in.

    Raises:
        ValueError: the value is not finite, or is null without a reason.
    """
    scale = SCALES[dimension]
    if value is None:
        if reason is None:
            raise ValueError(f"a null {dimension.value} needs a reason")
        return Score(value=None, low=scale.low, high=scale.high, reason=reason, code=code)
    if not abs(value) < float("inf"):
        raise ValueError(f"{dimension.value} is not finite: {value}")
    clamped = min(scale.high, max(scale.low, value))
    return Score(
        value=clamped,
        spread=spread,
        level=scale.level(clamped),
        low=scale.low,
        high=scale.high,
        reason=reason,
        code=code,
        distribution=distribution,
        reliability=reliability,
    )
