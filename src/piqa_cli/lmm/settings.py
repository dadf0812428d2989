"""What can be chosen about a large multimodal assessor, in one record that is made at the edge and passed down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from piqa_cli.errors import UsageError
from piqa_cli.schema import SCALES, Dimension

SERVED = "openai:"
"""A model's name that begins with this is one that a server answers for, by the OpenAI chat protocol."""

Grounding = Literal["auto", "model", "compact", "mask"]
Quantization = Literal["8bit", "4bit"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class LmmSettings:
    """One choice of model and how it is used.

    Args:
        model: a local folder, a hub id (`owner/name`), or `openai:NAME`.
        revision: branch, tag or commit of a hub model; its main branch if None.
        adapter: folder of a LoRA adapter to put onto the model.
        quantize: weights of the linear layers in 8 or 4 bits (bitsandbytes).
        dtype: auto is bf16 on CUDA (fp16 where it lacks bf16) and fp32 elsewhere.
        device: auto, cpu, cuda, cuda:N or mps.
        offline: never use the network.
        trust_remote_code: run Python files that the checkpoint brings.
        grounding: whose region counts: the model's own where its family can ground and else the compact assessor's
            (auto), the model's, the compact assessor's, or the mask that came with the pair.
        explain_below: in batches, explain only pairs whose overall score is below this, 1..5; all if None.
        base_url: where the server of an `openai:` model listens; the client's own default if None.
        cross_check: have the compact assessor judge too.

    Raises:
        UsageError: a value is not one of those, or does not go with this kind of model.
    """

    model: str
    revision: str | None = None
    adapter: str | None = None
    quantize: Quantization | None = None
    dtype: Precision = "auto"
    device: str = "auto"
    offline: bool = False
    trust_remote_code: bool = False
    grounding: Grounding = "auto"
    explain_below: float | None = None
    base_url: str | None = None
    cross_check: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be meant."""
        for option, value, choices in (
            ("quantize", self.quantize or "8bit", get_args(Quantization)),
            ("grounding", self.grounding, get_args(Grounding)),
            ("dtype", self.dtype, get_args(Precision)),
        ):
            if value not in choices:
                raise UsageError(f"unknown value of --{option}", expected=", ".join(choices), found=str(value))
        scale = SCALES[Dimension.OVERALL]
        if self.explain_below is not None and not scale.low <= self.explain_below <= scale.high:
            raise UsageError(
                "--explain-below is compared with the overall score",
                expected=f"{scale.low:g} to {scale.high:g}",
                found=f"{self.explain_below:g}",
            )
        if self.base_url is not None and not self.served:
            raise UsageError(
                "--base-url goes with a served model", expected=f"--model {SERVED}NAME", found=f"--model {self.model}"
            )
        if self.served and (given := [o for o in ("revision", "adapter", "quantize") if getattr(self, o) is not None]):
            raise UsageError(
                f"--{given[0]} does not go with a served model",
                found=f"--model {self.model}",
                hint="the server decides how the model is loaded",
            )

    @property
    def served(self) -> bool:
        """Whether a server answers for the model."""
        return self.model.startswith(SERVED)
