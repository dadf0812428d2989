"""What a folder with a checkpoint holds, read without torch: its architecture, its tensors, its fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from piqa_cli.errors import ModelError

CONFIG: Final = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SETTINGS_FILES: Final = (CONFIG, "preprocessor_config.json", "processor_config.json", "tokenizer.json",
                         "tokenizer_config.json", "chat_template.json", "chat_template.jinja")  # fmt: skip
"""The files beside the weights that decide what a model answers."""

_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_PLAIN_NAME: Final = re.compile(r"[\w.-]{1,200}\.safetensors", re.ASCII)  # no folder, nor a way out of this one
_SAMPLE: Final = 4096
_MOST_HEADER: Final = 100_000_000  # the format's own limit


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a safetensors file: its type as the format names it (BF16 ...), where its bytes lie."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Its bytes in the file."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A model folder as it was read; `quantized` if its weights are stored in a quantized format already."""

    folder: Path
    model_type: str
    has_code: bool
    quantized: bool
    tensors: tuple[Tensor, ...]


def read_config(folder: Path) -> dict[str, Any]:
    """The model's configuration as it stands in the file.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    if not (folder / CONFIG).is_file():
        is_adapter = (folder / ADAPTER_CONFIG).is_file()
        raise ModelError(
            f"no {CONFIG} in the model folder",
            code="E_MODEL_MISSING",
            file=str(folder),
            expected=f"{CONFIG} and {WEIGHTS}, as save_pretrained writes them",
            found="a LoRA adapter" if is_adapter else None,
            hint="give the adapter as --adapter, and its base as --model" if is_adapter else None,
        )
    return _read_json(folder / CONFIG)


def facts(config: dict[str, Any]) -> tuple[str, bool, bool]:
    """The architecture, whether the checkpoint brings code, whether its weights are quantized."""
    text = config.get("text_config")
    quantized = "quantization_config" in config or (isinstance(text, dict) and "quantization_config" in text)
    return str(config.get("model_type", "")), bool(config.get("auto_map")), quantized


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads configuration and headers; no weights.

    Raises:
        ModelError: files are missing (E_MODEL_MISSING), damaged, or pickles only (E_MODEL_PICKLE).
    """
    model_type, has_code, quantized = facts(read_config(folder))
    tensors = tuple(tensor for file in _weight_files(folder) for tensor in read_header(file))
    return Checkpoint(folder, model_type, has_code, quantized, tensors)


def refuse_pickles(where: str, names: Iterator[str] | list[str]) -> None:
    """Says why a checkpoint without safetensors is not loaded.

    Args:
        where: the folder or hub id.
        names: its files.

    Raises:
        ModelError: always; E_MODEL_PICKLE if there are weights in another format, else E_MODEL_MISSING.
    """
    pickles = [name for name in names if any(Path(name).match(pattern) for pattern in _PICKLES)]
    if pickles:
        raise ModelError(
            f"'{where}' has its weights in pickle files only, which can run any code when they are read",
            code="E_MODEL_PICKLE",
            expected=f"{WEIGHTS}, or shards with {INDEX}",
            found=", ".join(sorted(pickles)[:3]),
            hint="look for a revision with safetensors, or load and save it with save_pretrained where it is trusted",
        )
    raise ModelError(f"'{where}' has no weights", code="E_MODEL_MISSING", expected=f"{WEIGHTS}, or shards with {INDEX}")


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        refuse_pickles(str(folder), [path.name for path in folder.iterdir()])
    places = _read_json(folder / INDEX).get("weight_map")
    named = list(places.values()) if isinstance(places, dict) else []
    if strange := [name for name in named if not isinstance(name, str) or _PLAIN_NAME.fullmatch(name) is None]:
        raise ModelError(
            f"the weight_map of {INDEX} names what is no file of the model",
            file=str(folder),
            expected="names of .safetensors files in the same folder",
            found=repr(strange[0])[:80],
            hint="do not use this checkpoint unless you know why",
        )
    names = sorted(set(named))
    lacking = [name for name in names if not (folder / name).is_file()]
    if lacking or not names:
        raise ModelError(
            f"{len(lacking)} of the {len(names)} files with weights are missing",
            code="E_MODEL_MISSING",
            file=str(folder),
            expected=", ".join(lacking[:3]) or "file names in the weight_map of the index",
            hint="download or copy the checkpoint again",
        )
    return [folder / name for name in names]


def read_header(file: Path) -> list[Tensor]:
    """The tensors of a safetensors file, by its header.

    Raises:
        ModelError: it is not one, or is shorter than its header says.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > _MOST_HEADER:
                raise ValueError("its first eight bytes are not the length of a header")
            header = json.loads(stream.read(length))
            size = stream.seek(0, 2) - 8 - length
        found = [_tensor(file, name, entry, 8 + length) for name, entry in header.items() if name != "__metadata__"]
        if max((tensor.end for tensor in found), default=0) > size + 8 + length:
            raise ValueError(f"it ends after {size + 8 + length:,} bytes, before its last tensor")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ModelError(
            f"cannot read the weights: {error}",
            file=str(file),
            expected="a whole safetensors file",
            hint="download or copy the file again; a file of a few lines is a git-lfs pointer (`git lfs pull`)",
        ) from error
    return found


def _tensor(file: Path, name: str, entry: dict[str, Any], base: int) -> Tensor:
    start, end = map(int, entry["data_offsets"])
    shape = tuple(map(int, entry["shape"]))
    if not 0 <= start <= end or min(shape, default=0) < 0:
        raise ValueError(f"the tensor '{name[:80]}' has shape {shape} and lies at {start} to {end}")
    return Tensor(name, str(entry["dtype"]), shape, file, base + start, base + end)


def fingerprint(checkpoint: Checkpoint) -> str:
    """SHA-256 that tells checkpoints apart in about a second, whatever their size.

    It covers every tensor's name, type and shape, 4 KiB at its start, middle and end, and the whole of the files that
    decide how images and text are fed to it. Training moves practically all numbers of a tensor, so another training
    run has another fingerprint; the same weights in other shards have the same one. It does not prove that no single
    number was altered: `piqa models verify` reads every byte.
    """
    digest = hashlib.sha256()
    streams: dict[Path, BinaryIO] = {}
    try:
        for tensor in sorted(checkpoint.tensors, key=lambda tensor: tensor.name):
            digest.update(f"{tensor.name} {tensor.dtype} {tensor.shape}\n".encode())
            if tensor.file not in streams:
                streams[tensor.file] = tensor.file.open("rb")
            for start, length in _samples(tensor):
                streams[tensor.file].seek(start)
                digest.update(streams[tensor.file].read(length))
        for name in SETTINGS_FILES:
            if (checkpoint.folder / name).is_file():
                digest.update(f"{name}\n".encode() + (checkpoint.folder / name).read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read the model: {error.strerror}", file=str(checkpoint.folder)) from error
    finally:
        for stream in streams.values():
            stream.close()
    return digest.hexdigest()


def _samples(tensor: Tensor) -> list[tuple[int, int]]:
    if tensor.size <= 3 * _SAMPLE:
        return [(tensor.start, tensor.size)]
    middle = tensor.start + (tensor.size - _SAMPLE) // 2
    return [(start, _SAMPLE) for start in (tensor.start, middle, tensor.end - _SAMPLE)]


def sha256_of(file: Path) -> str:
    """SHA-256 of a whole file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the file: {error.strerror}", file=str(file)) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot read {file.name}: {error}", file=str(file), expected="a JSON object") from error
    if not isinstance(found, dict):
        raise ModelError(f"cannot read {file.name}", file=str(file), expected="a JSON object")
    return found
