"""The registry: which assessors there are, and how one is opened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from piqa_cli.errors import DeviceError, ModelError, UsageError
from piqa_cli.schema import ModelInfo

if TYPE_CHECKING:
    import torch

    from piqa_cli.assessor import Assessor

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be asked for by name; `weights` is its folder, `sha256` that of the weights file in it."""

    name: str
    version: str
    description: str
    parameters: int
    licence: str
    weights: Path
    sha256: str


MODELS: dict[str, ModelEntry] = {
    "compact": ModelEntry(
        name="compact",
        version="1.2",
        description="Siamese change network with a quality branch, trained by this project; two CPU cores suffice.",
        parameters=4537468,
        licence="Apache-2.0",
        weights=Path(__file__).parent / "compact" / "weights",
        sha256="e982139f94118e67ff82cf24ee3a4686dad7884ad07a1295c609e2eec54b6ee7",
    ),
}


def find_model(name: str) -> ModelEntry:
    """The entry of that name.

    Raises:
        ModelError: there is none.
    """
    if name not in MODELS:
        raise ModelError(
            f"there is no model called '{name}'",
            expected=f"one of {', '.join(MODELS)}, or a folder that `piqa train compact` wrote",
            found=name,
            hint="`piqa models list` shows what there is",
        )
    return MODELS[name]


def verify(name: str) -> str:
    """Checks a model's weights against the registry; gives their SHA-256.

    Raises:
        ModelError: the weights are missing, or not those the registry names (code E_MODEL_HASH).
    """
    entry = find_model(name)
    found = _sha256(entry.weights)
    if found != entry.sha256:
        raise ModelError(
            f"the weights of '{name}' are not the ones that were released",
            code="E_MODEL_HASH",
            file=str(entry.weights / _WEIGHTS),
            expected=entry.sha256,
            found=found,
            hint="install piqa-cli again",
        )
    return found


def open_assessor(
    model: str = "compact", *, device: str = "auto", dtype: str = "auto", offline: bool = False
) -> Assessor:
    """Loads a model once, ready to judge any number of pairs.

    Args:
        model: a name in `MODELS`, or a folder that `piqa train compact` wrote.
        device: auto (a GPU where there is one), cpu, cuda, cuda:N or mps.
        dtype: auto (fp32), fp32, bf16 or fp16.
        offline: never ask the network; the models known so far never do.

    Raises:
        ModelError: no such model, or its weights cannot be read.
        DeviceError: the device is not there.
        UsageError: the number format is unknown, or the device does not compute in it.
    """
    entry = MODELS.get(model)
    folder = entry.weights if entry else Path(model)
    if entry is None and not folder.is_dir():
        find_model(model)

    import torch

    from piqa_cli.compact.assessor import CompactAssessor
    from piqa_cli.compact.weights_file import load_model

    target = _device(device)
    network = load_model(folder)
    torch.nn.Module.to(network, target)
    info = ModelInfo(
        name=entry.name if entry else folder.resolve().name,
        version=entry.version if entry else _version(folder),
        weights_sha256=_sha256(folder),
    )
    return CompactAssessor(network, info, target, _dtype(dtype, target))


def _sha256(folder: Path) -> str:
    """SHA-256 of the weights file, as it stands in every record."""
    try:
        with (folder / _WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"cannot read the weights: {error.strerror}", file=str(folder / _WEIGHTS), hint="install piqa-cli again"
        ) from error


def _version(folder: Path) -> str:
    """A folder's own word on its version; `custom` where it has none."""
    version = json.loads((folder / "config.json").read_text("utf-8")).get("version", "custom")
    return str(version)


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device '{name}'", expected="auto, cpu, cuda, cuda:N or mps", found=name) from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= count.get(device.type, 0):
        raise DeviceError(
            f"the device '{name}' is not there",
            expected=f"one of {', '.join(kind for kind, n in count.items() if n)}",
            found=f"{count.get(device.type, 0)} {device.type} devices",
            hint="--device auto takes what there is",
        )
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    import torch

    names = {"auto": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name not in names:
        raise UsageError(f"unknown number format '{name}'", expected=", ".join(names), found=name)
    if name == "fp16" and device.type == "cpu":
        raise UsageError("processors do not compute in fp16", expected="fp32 or bf16", found=name)
    return names[name]
