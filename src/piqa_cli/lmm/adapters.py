"""LoRA adapters: put onto an explicit base, and only onto the one that they were trained on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.checkpoint import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    Tensor,
    fingerprint,
    read_checkpoint,
    read_header,
    refuse_pickles,
    sha256_of,
)
from piqa_cli.lmm.hub import is_hub_id

BASE_FILE: Final = "piqa_base.json"
"""Beside an adapter: the name and the fingerprint of the model it was trained on."""

_PREFIX: Final = "base_model.model."
_INSERTED: Final = (".lora_", ".base_layer")
_FACTOR: Final = re.compile(r"\.lora_(?:embedding_)?[AB]\b")
_MAGNITUDE: Final = "lora_magnitude_vector"


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter folder as it was read; `base` is what it names as its base, `base_sha256` that one's fingerprint."""

    folder: Path
    base: str | None
    base_sha256: str | None
    tensors: tuple[Tensor, ...]
    sha256: str


def read_adapter(folder: Path) -> Adapter:
    """Reads the settings and the header of an adapter.

    Raises:
        UsageError: peft is not installed.
        ModelError: it is not an adapter (E_MODEL_MISSING, E_MODEL_PICKLE), or cannot be read.
    """
    if importlib.util.find_spec("peft") is None:
        raise UsageError("--adapter needs peft", hint="pip install 'piqa-cli[lmm]'")
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"no {ADAPTER_CONFIG} in the adapter's folder",
            code="E_MODEL_MISSING",
            file=str(folder),
            expected=f"{ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}, as peft writes them",
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        refuse_pickles(str(folder), [path.name for path in folder.iterdir()])
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text("utf-8"))
        kept = json.loads((folder / BASE_FILE).read_text("utf-8")) if (folder / BASE_FILE).is_file() else {}
        base, base_sha256 = config.get("base_model_name_or_path"), kept.get("weights_sha256")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"cannot read the adapter's settings: {error}", file=str(folder)) from error
    digest = hashlib.sha256((folder / ADAPTER_CONFIG).read_bytes())
    digest.update(sha256_of(folder / ADAPTER_WEIGHTS).encode())
    tensors = tuple(read_header(folder / ADAPTER_WEIGHTS))
    return Adapter(folder, base or None, base_sha256, tensors, digest.hexdigest())


def parts_that_work(files: Sequence[Path]) -> dict[str, bool]:
    """For each part that the adapter touches, whether it does anything: A x B is zero where either factor is.

    DoRA's magnitudes are left out: beside factors of zero they are those of the base.

    Raises:
        ModelError: a file is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    nonzero: dict[str, list[bool]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - the handle is no mapping and cannot be iterated
                    if _MAGNITUDE in name:
                        continue
                    part = _FACTOR.sub("", name)
                    nonzero.setdefault(part, []).append(bool(tensors.get_tensor(name).any()))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"cannot read the adapter: {error}", file=str(file)) from error
    return {part: all(factors) for part, factors in nonzero.items()}


def write_base(folder: Path, name: str, weights_sha256: str) -> None:
    """Notes beside an adapter which model it was trained on; training calls this."""
    (folder / BASE_FILE).write_text(json.dumps({"model": name, "weights_sha256": weights_sha256}) + "\n", "utf-8")


def check_base(adapter: Adapter, name: str, weights_sha256: str) -> None:
    """Refuses an adapter that names another base.

    A fingerprint decides where the adapter has one, or names a folder that is still there. Else two hub ids must be the
    same. A folder that is gone says nothing, since folders move; the shapes of the tensors have to do (`attach`).

    Args:
        adapter: as read.
        name: the base as it is called in records.
        weights_sha256: its fingerprint.

    Raises:
        ModelError: with code E_MODEL_ADAPTER.
    """
    recorded = adapter.base_sha256
    if recorded is None and adapter.base is not None and (Path(adapter.base) / CONFIG).is_file():
        recorded = fingerprint(read_checkpoint(Path(adapter.base)))
    if recorded is not None:
        same = recorded == weights_sha256
    else:
        ids = adapter.base is not None and is_hub_id(adapter.base) and is_hub_id(name)
        same = not ids or adapter.base == name
    if not same:
        raise ModelError(
            "the adapter was trained on another model",
            code="E_MODEL_ADAPTER",
            file=str(adapter.folder),
            expected=f"--model {adapter.base}" if adapter.base else f"a model with fingerprint {recorded}",
            found=f"--model {name}, fingerprint {weights_sha256[:12]}",
        )


def attach(model: Any, adapter: Adapter, *, merge: bool) -> Any:
    """The model with the adapter in it, of the same class as before.

    Args:
        model: the base, a transformers model.
        adapter: what to put onto it.
        merge: add the adapter to the weights, which costs nothing later; quantized weights keep it beside them.

    Raises:
        ModelError: the adapter's tensors have no place in this model (E_MODEL_ADAPTER).
    """
    from peft import PeftModel

    check_tensors(model, adapter)
    try:
        adapted = PeftModel.from_pretrained(model, str(adapter.folder), is_trainable=False)
        return adapted.merge_and_unload(safe_merge=True) if merge else adapted.get_base_model()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(
            f"cannot load the adapter: {error}", code="E_MODEL_ADAPTER", file=str(adapter.folder)
        ) from error


def check_tensors(model: Any, adapter: Adapter) -> None:
    """Every tensor of the adapter must belong to a layer of the model, and fit it.

    Raises:
        ModelError: with code E_MODEL_ADAPTER.
    """
    modules = dict(model.named_modules())
    misfits = [tensor.name for tensor in adapter.tensors if not _fits(modules, tensor)]
    if misfits or not adapter.tensors:
        raise ModelError(
            "the adapter does not fit the model",
            code="E_MODEL_ADAPTER",
            file=str(adapter.folder),
            expected=f"the base it was trained on: {adapter.base or 'not stated'}",
            found=f"{len(misfits)} of {len(adapter.tensors)} tensors have no layer of their size: {misfits[:2]}",
        )


def _fits(modules: dict[str, Any], tensor: Tensor) -> bool:
    path = tensor.name.removeprefix(_PREFIX)
    for mark in _INSERTED:
        path, found, _ = path.partition(mark)
        if found:
            break
    else:
        path = path.rpartition(".")[0]
    module = modules.get(path)
    if module is None:
        return False
    inner, outer = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if ".lora_A" in tensor.name and inner is not None:
        return bool(tensor.shape[1] == inner)
    if ".lora_B" in tensor.name and outer is not None:
        return bool(tensor.shape[0] == outer)
    return True
