"""Which weights learn: an adapter in the language part or all of that, and other parts where they are unfrozen."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from piqa_cli.errors import ModelError
from piqa_cli.lmm.loading import Vlm
from piqa_cli.training.lmm.settings import LmmTrainSettings

Part = Literal["language", "vision", "projector"]

PART_NAMES: Final[dict[Part, str]] = {
    "projector": r"(^|\.)(multi_modal_projector|mm_projector|connector|merger|deepstack_merger_list)(\.|$)",
    "vision": r"(^|\.)(visual|vision_tower|vision_model)(\.|$)",
    "language": r"(^|\.)(language_model|text_model|lm_head)(\.|$)",
}
"""What the parts are called in the architectures of `families.FAMILIES`; the first that matches a module's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A model made ready to learn.

    Args:
        vlm: the model, with the adapter's layers in it.
        adapted: peft's wrapper around it; None where all weights of the language part learn.
        weights: those that learn, float32, by their names with `/` for `.`.
    """

    vlm: Vlm
    adapted: Any
    weights: nn.ParameterDict

    def save_weights(self, file: Path, **figures: float) -> None:
        """Writes the weights that learn, with figures about them; replaced atomically."""
        tensors = {name: weight.detach().contiguous() for name, weight in self.weights.items()}
        temporary = file.with_suffix(".tmp")
        save_file(tensors, temporary, metadata={name: repr(value) for name, value in figures.items()})
        temporary.replace(file)

    def load_weights(self, file: Path) -> None:
        """Takes what `save_weights` wrote.

        Raises:
            ModelError: the file is damaged or belongs to other weights.
        """
        try:
            self.weights.load_state_dict(load_file(file))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"the weights do not fit the model: {error}", file=str(file), hint="start with --overwrite"
            ) from error


def figures_of(file: Path) -> dict[str, float]:
    """The figures that stand in a file of `Tuned.save_weights`; none where there is no file.

    Raises:
        ModelError: it is damaged.
    """
    if not file.is_file():
        return {}
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: float(value) for name, value in (opened.metadata() or {}).items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"cannot read the weights: {error}", file=str(file), hint="start with --overwrite") from error


def part_of(name: str) -> Part | None:
    """The part of the model that a module or parameter of this name belongs to."""
    return next((part for part, pattern in PART_NAMES.items() if re.search(pattern, name)), None)


def tune(vlm: Vlm, settings: LmmTrainSettings) -> Tuned:
    """Puts an adapter into the language part, or unfreezes it; unfreezes other parts by choice. Changes the model.

    Raises:
        ModelError: the architecture's parts are not known by their names.
    """
    torch.manual_seed(settings.seed)  # of the adapter's first weights
    names = [
        name
        for name, module in vlm.model.named_modules()
        if part_of(name) == "language" and isinstance(module, nn.Linear) and not name.endswith("lm_head")
    ]
    unfrozen = _leaves(vlm.model, settings.unfreeze)
    if not names or any(not any(part_of(name) == part for name in unfrozen) for part in settings.unfreeze):
        raise ModelError(
            f"the parts of a {vlm.family.model_type} model are not known by their names",
            code="E_MODEL_ARCHITECTURE",
            expected=", ".join(f"{part}: {pattern}" for part, pattern in PART_NAMES.items()),
            found=", ".join(name for name, _ in vlm.model.named_children()),
        )
    if settings.full:
        for name, parameter in vlm.model.named_parameters():
            parameter.requires_grad_(part_of(name) in {None, "language", *settings.unfreeze})
        return Tuned(vlm, None, _learning(vlm.model))
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        lora_dropout=0.0,
        target_modules=names,
        modules_to_save=unfrozen or None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that is going out of use
        adapted = get_peft_model(vlm.model, config)
    adapted.peft_config["default"].base_model_name_or_path = vlm.info.name  # peft puts in where the folder lies here
    return Tuned(vlm, adapted, _learning(vlm.model))


def _leaves(model: nn.Module, parts: tuple[str, ...]) -> list[str]:
    """The modules of these parts that hold weights themselves."""
    return [
        name
        for name, module in model.named_modules()
        if part_of(name) in parts and not list(module.children()) and list(module.parameters(recurse=False))
    ]


def _learning(model: nn.Module) -> nn.ParameterDict:
    """The parameters that require gradients, made float32: half precision loses small steps."""
    kept = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            kept[name.replace(".", "/")] = parameter
    return nn.ParameterDict(kept)
