"""Where a model computes and in which number format: names on the command line to what torch takes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from piqa_cli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch


FORMATS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Names of number formats, and torch's."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_NEVER = 2**31 - 1  # bytes; the largest that mallopt takes


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU where there is one.

    Raises:
        UsageError: there is no such kind of device.
        DeviceError: the device is not there.
    """
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


def find_dtype(name: str, device: torch.device, *, auto: str = "fp32") -> torch.dtype:
    """The number format of that name; `auto` is the caller's choice for this device.

    Raises:
        UsageError: the format is unknown, or the device does not compute in it.
    """
    import torch

    if name not in {"auto", *FORMATS}:
        raise UsageError(f"unknown number format '{name}'", expected=", ".join(("auto", *FORMATS)), found=name)
    if name == "fp16" and device.type == "cpu":
        raise UsageError("processors do not compute in fp16", expected="fp32 or bf16", found=name)
    format_: torch.dtype = getattr(torch, FORMATS[auto if name == "auto" else name])
    return format_


def name_of(dtype: torch.dtype) -> str:
    """The name of a number format, as `find_dtype` takes it and as it stands in a record."""
    return next(name for name, own in FORMATS.items() if str(dtype) == f"torch.{own}")


def computes_in_bf16() -> bool:
    """Whether this machine's processor computes in bfloat16 itself; where it does not, bfloat16 only costs time."""
    import torch

    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Tells the C library to keep what is freed for the next pair, instead of giving it back to the system.

    A network frees and asks for the same hundreds of megabytes with every batch; to have them mapped and zeroed anew
    took a tenth of a batch's time (`docs/performance.md`). For programs that own their process; does nothing where
    the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _NEVER)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)


@contextlib.contextmanager
def memory_errors(hint: str) -> Iterator[None]:
    """Out of memory, on any device, as the DeviceError (E_OOM) that makes the pipeline halve the batch.

    `hint` says what else would help.
    """
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DeviceError("out of memory", code="E_OOM", hint=hint) from error
    except RuntimeError as error:
        told = str(error).lower()
        if not any(words in told for words in ("out of memory", "not enough memory", "can't allocate memory")):
            raise
        raise DeviceError("out of memory", code="E_OOM", hint=hint) from error
