"""What differs between architectures, as one table, and which architectures can be loaded at all.

A row's `box_frame` is the frame in which a family writes the boxes of what it grounds:

- `thousandths`: 0..1000 of the width and of the height of the image, whatever its size;
- `pixels`: of the image as the processor resized it, which only the processor's output tells;
- `none`: nothing it writes is taken for a box.

Where the frames are from; none has been checked with a real checkpoint:

- qwen2_vl: "normalized within [0, 1000)", Wang et al., arXiv 2409.12191; a maintainer in QwenLM/Qwen3-VL, issue 866.
- qwen2_5_vl: absolute, of the image after the processor, maintainers in QwenLM/Qwen3-VL, issues 676 and 866.
- qwen3_vl: relative, 0..1000, as users report and a maintainer agrees in QwenLM/Qwen3-VL, issue 1486; also issue 2020.
- qwen3_vl_moe: not confirmed by itself; issue 2020 is about one of its checkpoints.
- internvl: rounded thousandths of each side, the project's manual (internvl.readthedocs.io, chat data format) and
  OpenGVLab/InternVL, issue 285.
- the others: not looked for, `none` is the cautious choice. paligemma writes location tokens, for single pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from piqa_cli.errors import ModelError

BoxFrame = Literal["thousandths", "pixels", "none"]


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture, by the `model_type` of its configuration.

    Args:
        model_type: as `config.json` has it.
        box_frame: how its boxes are to be read.
        chat: whether its prompts are conversations; else they are plain text behind the images' own tokens.
        needs: packages, beyond the `lmm` extra's own, without which its processor does not load.
    """

    model_type: str
    box_frame: BoxFrame = "none"
    chat: bool = True
    needs: tuple[str, ...] = ()

    @property
    def grounds(self) -> bool:
        """Whether it can say where something is."""
        return self.box_frame != "none"


FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        Family("qwen2_vl", "thousandths"),
        Family("qwen2_5_vl", "pixels"),
        Family("qwen3_vl", "thousandths"),
        Family("qwen3_vl_moe", "thousandths"),
        Family("internvl", "thousandths"),
        Family("llava"),
        Family("llava_onevision"),
        Family("idefics3"),
        Family("smolvlm", needs=("num2words",)),
        Family("gemma3"),
        # Its task "detect THING" is about a single picture, which a difference of two is not.
        Family("paligemma", chat=False),
    )
}
"""The architectures whose behaviour is tested; any other image-text-to-text model gets a row of defaults."""


def find_family(model_type: str, where: str, *, has_code: bool, trusted: bool) -> Family:
    """The row of an architecture.

    Args:
        model_type: as `config.json` has it.
        where: the model's name, for messages.
        has_code: whether the checkpoint brings Python files of its own.
        trusted: whether these may be run.

    Raises:
        ModelError: transformers does not know it (E_MODEL_ARCHITECTURE), or it reads no images (E_MODEL_TEXT_ONLY).
    """
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    if model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or (has_code and trusted):
        return Family(model_type)
    expected = "an image-text-to-text model, such as " + ", ".join(FAMILIES)
    texts = (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )
    if any(model_type in names for names in texts):
        raise ModelError(
            f"'{where}' is a language model that sees no images",
            code="E_MODEL_TEXT_ONLY",
            expected=expected,
            found=model_type,
            hint="docs/models.md lists models that do",
        )
    if has_code:
        raise ModelError(
            f"'{where}' needs Python code that comes with it",
            code="E_MODEL_ARCHITECTURE",
            expected=expected,
            found=model_type,
            hint="read that code; --trust-remote-code then runs it",
        )
    known = model_type in CONFIG_MAPPING_NAMES
    raise ModelError(
        f"'{where}' is not an image-text-to-text model" if known else f"the architecture of '{where}' is unknown",
        code="E_MODEL_ARCHITECTURE",
        expected=expected,
        found=model_type or "a config.json without a model_type",
        hint="docs/models.md lists models that are"
        if known
        else "a newer transformers may know it: pip install -U transformers",
    )
