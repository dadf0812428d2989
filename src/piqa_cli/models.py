"""The registry: which assessors there are, and how one is opened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from piqa_cli.devices import computes_in_bf16, find_device, find_dtype, name_of
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.cache import model_type_of
from piqa_cli.lmm.hub import is_hub_id, is_offline, prepare
from piqa_cli.lmm.settings import Grounding, LmmSettings, Precision, Quantization
from piqa_cli.schema import ModelInfo

if TYPE_CHECKING:
    from piqa_cli.assessor import Assessor
    from piqa_cli.compact.assessor import CompactAssessor

_WEIGHTS = "model.safetensors"
_COMPACT_TYPE = "piqa_compact"  # in config.json; `compact.config` has it too, and imports transformers


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
        version="1.3",
        description="Siamese change network with a quality branch, trained by this project; two CPU cores suffice.",
        parameters=4537468,
        licence="Apache-2.0",
        weights=Path(__file__).parent / "compact" / "weights",
        sha256="31851e3c36a973e309b77f1cb1145f09785de6bbb9ab999634a7cdf8b2493004",
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
            expected=f"one of {', '.join(MODELS)}, a folder with a model, a hub id (OWNER/NAME) or openai:NAME",
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
    model: str = "compact",
    *,
    device: str = "auto",
    dtype: Precision = "auto",
    offline: bool = False,
    revision: str | None = None,
    adapter: str | None = None,
    quantize: Quantization | None = None,
    trust_remote_code: bool = False,
    grounding: Grounding = "auto",
    explain_below: float | None = None,
    base_url: str | None = None,
    cross_check: bool = False,
) -> Assessor:
    """Loads a model once, ready to judge any number of pairs.

    Args:
        model: a name in `MODELS`; a folder, of `piqa train compact` or of an image-text-to-text model; the hub id of
            such a model (`owner/name`); or `openai:NAME`, which a server answers for.
        device: auto (a GPU where there is one), cpu, cuda, cuda:N or mps.
        dtype: auto (fp32; bf16 for image-text-to-text models on CUDA), fp32, bf16 or fp16.
        offline: never ask the network.
        revision: of a hub model: branch, tag or commit.
        adapter: folder of a LoRA adapter for the image-text-to-text model.
        quantize: its linear layers in 8bit or 4bit (needs bitsandbytes).
        trust_remote_code: run Python files that come with it.
        grounding: whose region counts, see `LmmSettings`; this and the next are nothing to the compact assessor.
        explain_below: in batches, explain only pairs whose overall score is below this.
        base_url: of the server that answers for an `openai:` model.
        cross_check: have the compact assessor judge every pair too; the records tell where they disagree.

    Raises:
        ModelError: no such model, or it cannot be read, used here or held in memory.
        DeviceError: the device is not there.
        UsageError: options that do not go together, or that need an extra which is not installed.
    """
    settings = LmmSettings(
        model=model,
        revision=revision,
        adapter=adapter,
        quantize=quantize,
        dtype=dtype,
        device=device,
        offline=offline,
        trust_remote_code=trust_remote_code,
        grounding=grounding,
        explain_below=explain_below,
        base_url=base_url,
        cross_check=cross_check,
    )
    prepare(is_offline(offline))
    if model in MODELS:
        return _open_compact(settings, MODELS[model].weights, MODELS[model])
    folder = Path(model)
    if folder.is_dir():
        if model_type_of(folder) == _COMPACT_TYPE:
            return _open_compact(settings, folder, None)
    elif not settings.served and not is_hub_id(model):
        find_model(model)
    return _open_lmm(settings)


def _open_compact(settings: LmmSettings, folder: Path, entry: ModelEntry | None) -> Assessor:
    """The compact assessor of a folder.

    Raises:
        UsageError: an option was given that says nothing to it.
    """
    for option in ("revision", "adapter", "quantize"):
        if getattr(settings, option) is not None:
            raise UsageError(
                f"--{option} goes with an image-text-to-text model",
                found=f"--model {settings.model}",
                hint="docs/models.md lists such models",
            )
    if settings.cross_check:
        raise UsageError("--cross-check compares another model with the compact one", found=f"--model {settings.model}")
    return _compact(folder, settings.device, settings.dtype, entry)


def _open_lmm(settings: LmmSettings) -> Assessor:
    """A local or a served image-text-to-text model; with the compact one beside it for the regions."""
    from piqa_cli.lmm.cross_check import CrossCheckAssessor

    judge: Assessor
    if settings.served:
        from piqa_cli.lmm.served import open_served

        compact = _beside(settings)
        judge = open_served(settings, compact)
    else:
        from piqa_cli.lmm.assessor import LmmAssessor
        from piqa_cli.lmm.loading import load_vlm

        vlm = load_vlm(settings)  # first: whatever is wrong is most likely wrong here
        compact = _beside(settings)
        judge = LmmAssessor(vlm, compact, settings)
    return CrossCheckAssessor(judge, compact) if settings.cross_check else judge


def _beside(settings: LmmSettings) -> CompactAssessor:
    """The compact assessor as it stands beside another: on the same device, in its own number format."""
    return _compact(MODELS["compact"].weights, settings.device, "auto", MODELS["compact"])


def _compact(folder: Path, device: str, dtype: str, entry: ModelEntry | None) -> CompactAssessor:
    import torch

    from piqa_cli.compact.assessor import CompactAssessor
    from piqa_cli.compact.weights_file import load_model

    target = find_device(device)
    auto = "bf16" if target.type == "cpu" and computes_in_bf16() else "fp32"
    chosen = find_dtype(dtype, target, auto=auto)
    network = load_model(folder)
    torch.nn.Module.to(network, target)
    info = ModelInfo(
        name=entry.name if entry else folder.resolve().name,
        version=entry.version if entry else _version(folder),
        weights_sha256=_sha256(folder),
        precision=name_of(chosen),
    )
    return CompactAssessor(network, info, target, chosen)


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
