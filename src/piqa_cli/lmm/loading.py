"""From a name to a model in memory: located, checked, measured against the memory there is, then loaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piqa_cli.devices import find_device, find_dtype, name_of
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.adapters import Adapter, attach, check_base, read_adapter
from piqa_cli.lmm.checkpoint import Checkpoint, fingerprint, read_checkpoint
from piqa_cli.lmm.families import Family, find_family
from piqa_cli.lmm.hub import Offer, is_offline, locate, prepare
from piqa_cli.lmm.memory import Size, free, need, require, size_of_count, size_of_tensors
from piqa_cli.lmm.processors import load_processor
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.schema import ModelInfo

if TYPE_CHECKING:
    import torch

__all__ = ["Vlm", "load_processor", "load_vlm"]


@dataclass(frozen=True, slots=True, eq=False)
class Vlm:
    """A model that is ready to answer.

    Args:
        model: the transformers model, in evaluation mode, without gradients.
        processor: makes its input; pads on the left.
        family: its architecture.
        device: where its input goes.
        info: as it stands in every record.
    """

    model: Any
    processor: Any
    family: Family
    device: torch.device
    info: ModelInfo


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where and how the weights will lie; `spread` over all CUDA devices."""

    device: torch.device
    precision: str
    spread: bool


def load_vlm(settings: LmmSettings) -> Vlm:
    """Loads an image-text-to-text model, with its adapter if one is named.

    Raises:
        UsageError: options that do not go together, or an extra that is not installed.
        ModelError: the model cannot be had, is not one of these, or does not fit (see `locate`, `find_family`,
            `require`).
        DeviceError: the device is not there.
    """
    _check_extras(settings)
    prepare(is_offline(settings.offline))
    device = find_device(settings.device)
    adapter = None if settings.adapter is None else read_adapter(Path(settings.adapter))

    def admit(offer: Offer) -> None:
        find_family(offer.model_type, offer.name, has_code=offer.has_code, trusted=settings.trust_remote_code)
        if offer.parameters is not None:
            _plan(settings, size_of_count(offer.parameters), device)

    located = locate(
        settings.model,
        settings.revision,
        offline=settings.offline,
        trusted=settings.trust_remote_code,
        admit=admit,
    )
    checkpoint = read_checkpoint(located.folder)
    family = find_family(
        checkpoint.model_type, settings.model, has_code=checkpoint.has_code, trusted=settings.trust_remote_code
    )
    if checkpoint.quantized and settings.quantize is not None:
        raise UsageError(f"'{settings.model}' is stored in a quantized format already", hint="leave --quantize out")
    weights_sha256 = fingerprint(checkpoint)
    if adapter is not None:
        check_base(adapter, located.name, weights_sha256)
    plan = _plan(settings, size_of_tensors(checkpoint.tensors, quantized=checkpoint.quantized), device)
    processor = load_processor(located.folder, family, trusted=settings.trust_remote_code)
    model = _load_model(checkpoint, settings, plan)
    if adapter is not None:
        model = attach(model, adapter, merge=settings.quantize is None and not checkpoint.quantized)
    model.eval().requires_grad_(False)
    info = ModelInfo(
        name=located.name,
        version=located.version,
        weights_sha256=weights_sha256,
        precision=settings.quantize or plan.precision,
        **_adapter_fields(adapter),
    )
    return Vlm(model, processor, family, model.device, info)


def _adapter_fields(adapter: Adapter | None) -> dict[str, str]:
    if adapter is None:
        return {}
    return {"adapter": adapter.folder.resolve().name, "adapter_sha256": adapter.sha256}


def _check_extras(settings: LmmSettings) -> None:
    """Raises UsageError, before anything is read, if an option needs a package that is not there."""
    if settings.quantize is not None:
        absent = [name for name in ("bitsandbytes", "accelerate") if importlib.util.find_spec(name) is None]
        if absent:
            raise UsageError(
                f"--quantize {settings.quantize} needs {' and '.join(absent)}",
                hint="pip install 'piqa-cli[quantize]'",
            )


def _plan(settings: LmmSettings, size: Size, device: torch.device) -> _Plan:
    """Where the weights go: one device, or all CUDA devices where one is too small and none was named.

    Raises:
        ModelError: they fit nowhere (E_MODEL_MEMORY).
    """
    import torch

    precision = _precision(settings, device)
    gpus = torch.cuda.device_count() if device.type == "cuda" and settings.device in {"auto", "cuda"} else 1
    room = free(device)
    spread = (
        gpus > 1
        and room is not None
        and need(size, precision, settings.quantize) > room
        and importlib.util.find_spec("accelerate") is not None
    )
    if spread:
        room = free(device, every_gpu=True)
    where = f"{gpus} GPUs" if spread else str(device)
    require(settings.model, size, precision, settings.quantize, room, where)
    return _Plan(device, precision, spread)


def _precision(settings: LmmSettings, device: torch.device) -> str:
    """The number format by name: fp32, bf16 or fp16."""
    import torch

    auto = "fp32"
    if device.type == "cuda":
        auto = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return name_of(find_dtype(settings.dtype, device, auto=auto))


def _load_model(checkpoint: Checkpoint, settings: LmmSettings, plan: _Plan) -> Any:
    """The model on its device.

    Raises:
        ModelError: the weights cannot be read, leave layers without values, or do not fit after all.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    options: dict[str, Any] = {"dtype": find_dtype(plan.precision, plan.device)}
    if settings.quantize is not None:
        options["quantization_config"] = _quantization(settings.quantize, options["dtype"])
    if plan.spread:
        options["device_map"] = "auto"
    elif settings.quantize is not None or checkpoint.quantized:
        options["device_map"] = {"": plan.device}
    try:
        with _quiet():
            loader: Any = AutoModelForImageTextToText
            model, report = loader.from_pretrained(
                checkpoint.folder,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=settings.trust_remote_code,
                output_loading_info=True,
                **options,
            )
            if "device_map" not in options:
                model = model.to(plan.device)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ModelError(
            f"'{settings.model}' does not fit into the memory of {plan.device}",
            code="E_MODEL_MEMORY",
            hint="a smaller --dtype, --quantize 4bit, or a smaller model (docs/models.md)",
        ) from error
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot load the model: {error}", file=str(checkpoint.folder)) from error
    lacking = sorted(report["missing_keys"])
    if lacking:  # transformers would fill them with random numbers, and the model would answer all the same
        raise ModelError(
            "the weights do not fill the model",
            file=str(checkpoint.folder),
            expected=f"all tensors of a {checkpoint.model_type} model",
            found=f"{len(lacking)} missing: {lacking[:3]}",
        )
    return model


def _quantization(bits: str, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and remarks of transformers while the model loads; afterwards as it was."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
