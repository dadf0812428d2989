"""How much memory a checkpoint needs, worked out before it is loaded, and what would fit where it does not.

    need = weights + 0.2 x (parameters x bytes of the number format) + 0.5 GiB

The weights are counted tensor by tensor where the headers are at hand, else by the number of parameters. The middle
term stands for one pair: the keys and values of three images and the questions (about 4,000 tokens) and what a layer
holds at once. It is an estimate that no real checkpoint has been held against. It
does not shrink with `--quantize`, since activations keep the number format. The constant is the runtime's own.
Whatever is free beyond that lets batches be larger.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piqa_cli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from piqa_cli.lmm.checkpoint import Tensor

GIB: Final = 1 << 30
BYTES: Final = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
# Of 4 bits: a scale for every 64 weights, itself in 8 bits (double quantization): 0.127 bits more.
QUANTIZED_BYTES: Final = {"8bit": 1.0, "4bit": 0.5159}
WORKING_SHARE: Final = 0.2
RUNTIME: Final = GIB // 2
LINEAR_SHARE: Final = 0.85
"""How much of a model is in quantizable layers, where only the number of parameters is known: embeddings are not."""

_WHOLE_NUMBERS: Final = ("I", "U", "B")  # safetensors' types that no number format changes: I8, U8, BOOL ...
_BF16: Final = "BF16"
_KEPT: Final = ("embed", "lm_head", "norm", "wte", "patch_embed")  # what bitsandbytes leaves alone, by name


@dataclass(frozen=True, slots=True)
class Size:
    """A model's parameters, in units; `linear` of them in layers that can be quantized.

    `stored` is its bytes as they are on disk, for weights that are not converted when loaded.
    """

    parameters: int
    linear: int
    stored: int | None = None


def size_of_tensors(tensors: Sequence[Tensor], *, quantized: bool = False) -> Size:
    """By the headers of a checkpoint; `quantized` if it is stored in a quantized format, which stays as it is."""
    floating = [tensor for tensor in tensors if not tensor.dtype.startswith(_WHOLE_NUMBERS) or tensor.dtype == _BF16]
    return Size(
        parameters=sum(tensor.elements for tensor in floating),
        linear=sum(tensor.elements for tensor in floating if _is_linear(tensor)),
        stored=sum(tensor.size for tensor in tensors) if quantized else None,
    )


def size_of_count(parameters: int) -> Size:
    """By the number of parameters alone."""
    return Size(parameters, int(parameters * LINEAR_SHARE))


def _is_linear(tensor: Tensor) -> bool:
    return len(tensor.shape) == 2 and not any(word in tensor.name for word in _KEPT)


def need(size: Size, dtype: str, quantize: str | None = None) -> int:
    """Bytes to load a model and judge one pair with it.

    Args:
        size: of the model.
        dtype: fp32, bf16 or fp16.
        quantize: 8bit, 4bit or None.
    """
    linear = QUANTIZED_BYTES[quantize] if quantize else BYTES[dtype]
    weights = size.linear * linear + (size.parameters - size.linear) * BYTES[dtype]
    if size.stored is not None:
        weights = size.stored
    return int(weights + WORKING_SHARE * size.parameters * BYTES[dtype]) + RUNTIME


def free(device: torch.device, *, every_gpu: bool = False) -> int | None:
    """Bytes that can still be had on the device; on all CUDA devices together if asked. None if it cannot be told."""
    import torch

    if device.type == "cuda":
        every = range(torch.cuda.device_count()) if every_gpu else [device]
        return sum(torch.cuda.mem_get_info(one)[0] for one in every)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return free_ram()


def free_ram(root: Path = Path("/")) -> int | None:
    """Bytes of memory that processes can still have, by the machine and by the container's limit."""
    limits = [_meminfo(root / "proc/meminfo"), _cgroup(root / "sys/fs/cgroup")]
    known = [limit for limit in limits if limit is not None]
    if known:
        return min(known)
    try:  # macOS lacks the second name; there the physical memory has to do
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _meminfo(file: Path) -> int | None:
    try:
        for line in file.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _cgroup(folder: Path) -> int | None:
    """What the control group leaves; file pages that the kernel would give back are not counted as used."""
    try:
        limit = int((folder / "memory.max").read_text("ascii"))  # "max" where there is none
        used = int((folder / "memory.current").read_text("ascii"))
        rows = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
        return limit - used + int(rows.get("inactive_file", 0)) + int(rows.get("active_file", 0))
    except (OSError, ValueError):
        return None


def require(where: str, size: Size, dtype: str, quantize: str | None, room: int | None, device: str) -> None:
    """Refuses a model that does not fit, and says what would.

    Args:
        where: the model's name.
        size: its parameters.
        dtype: the number format it would have.
        quantize: 8bit, 4bit or None.
        room: free bytes; None if unknown, which passes.
        device: cpu, cuda ..., for the message.

    Raises:
        ModelError: with code E_MODEL_MEMORY.
    """
    needed = need(size, dtype, quantize)
    if room is None or needed <= room:
        return
    raise ModelError(
        f"'{where}' does not fit into memory: {size.parameters / 1e9:.2g} billion parameters in {quantize or dtype}",
        code="E_MODEL_MEMORY",
        expected=f"{gib(needed)} free on {device}",
        found=gib(room),
        hint=_what_fits(size, dtype, quantize, room, device),
    )


def _what_fits(size: Size, dtype: str, quantize: str | None, room: int, device: str) -> str:
    half = "bf16" if dtype == "fp32" else dtype
    ways: list[tuple[str, str, str | None]] = []
    if dtype == "fp32" and quantize is None:
        ways.append(("--dtype bf16", half, None))
    if size.stored is None and device != "mps":
        ways += [(f"--dtype {half} --quantize {bits}", half, bits) for bits in QUANTIZED_BYTES if bits != quantize]
    needs = [(option, need(size, form, bits)) for option, form, bits in ways]
    fitting = [f"{option} ({gib(needed)})" for option, needed in needs if needed <= room]
    if fitting:
        return "would fit: " + ", ".join(fitting)
    most = max(0.0, (room - RUNTIME) / (BYTES["bf16"] * (1 + WORKING_SHARE)) / 1e9)
    return f"a model of at most {most:.1f} billion parameters would fit in bf16; see docs/models.md"


def gib(count: int) -> str:
    """Bytes in words: `7.4 GiB`."""
    return f"{count / GIB:.1f} GiB"
