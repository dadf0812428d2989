"""Weights on disk: half-precision safetensors with the configuration beside them, loaded strictly."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from piqa_cli.compact.config import CompactConfig
from piqa_cli.compact.network import CompactModel
from piqa_cli.errors import ModelError

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_model(model: CompactModel, folder: Path) -> None:
    """Writes configuration and weights; floating-point tensors in half precision, which no score notices."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(model.config.to_diff_dict(), indent=2, sort_keys=True) + "\n", "utf-8")


def load_model(folder: Path) -> CompactModel:
    """The network in evaluation mode, float32, its batch normalisations folded into the convolutions.

    Raises:
        ModelError: see `read_model`.
    """
    return quickened(read_model(folder))


def read_model(folder: Path) -> CompactModel:
    """The network as it was saved, float32: what training goes on with.

    Raises:
        ModelError: files missing, unreadable, or not of this network.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(
                f"no {name} in the model folder",
                file=str(folder),
                expected=f"{CONFIG} and {WEIGHTS}, as `piqa train compact` writes them",
            )
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"{CONFIG} is not a JSON object")
        if config.get("model_type") != CompactConfig.model_type:
            raise ModelError(
                "not a compact model",
                file=str(folder),
                expected=CompactConfig.model_type,
                found=str(config.get("model_type")),
            )
        model = CompactModel(CompactConfig(**{k: v for k, v in config.items() if k != "model_type"}))
        tensors = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except (SafetensorError, ValueError, TypeError, RuntimeError, OSError) as error:  # RuntimeError: also too deep
        raise ModelError(f"cannot read the model: {error}", file=str(folder)) from error
    lacking = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lacking or unexpected:
        raise ModelError(
            "the weights do not fit the network",
            file=str(folder / WEIGHTS),
            expected="the tensors of this version of the network",
            found=f"{len(lacking)} missing, {len(unexpected)} unknown: {(lacking + unexpected)[:3]}",
        )
    return model


def quickened(model: CompactModel) -> CompactModel:
    """The network made ready to answer: evaluation mode, normalisations folded in, the fastest layout."""
    model.train(False)
    _fold(model)
    for weight in model.parameters():
        if weight.ndim == 4:  # the layout in which processors convolve fastest
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return model


def hold_in(dtype: torch.dtype, model: CompactModel) -> None:
    """Holds what convolutions and linear layers multiply by in the format in which they compute.

    Autocast would convert it in every pass, to the same numbers.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)


def _fold(module: nn.Module) -> None:
    """Replaces every convolution followed by a batch normalisation by one convolution: same function, less time."""
    for child in module.children():
        if isinstance(child, nn.Sequential) and len(child) >= 2 and isinstance(child[1], nn.BatchNorm2d):
            convolution = child[0]
            if isinstance(convolution, nn.Conv2d):
                child[0] = fuse_conv_bn_eval(convolution, child[1])
                child[1] = nn.Identity()
        _fold(child)
