"""A Ray cluster: started on this machine, or joined; silent, and gone without a trace at the end."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO

from piqa_cli.errors import DeviceError, UsageError

_STORE_BYTES = 256 << 20  # lists of paths and records, never pictures
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # of its C++ parts, which write to standard error whatever Python does
}


@dataclass(frozen=True, slots=True)
class Share:
    """How the cluster is divided: so many workers, and what each of them has."""

    workers: int
    cpus: float
    gpus: float


def check_ray() -> None:
    """Whether Ray Data is installed.

    Raises:
        UsageError: it is not.
    """
    if any(find_spec(name) is None for name in ("ray", "pyarrow", "pandas")):
        raise UsageError("--engine ray needs Ray Data", hint="pip install 'piqa-cli[ray]'")


@contextmanager
def joined(address: str | None, *, keep_logs: bool = False) -> Iterator[None]:
    """The cluster at an address, or one on this machine that ends with the block. One that is joined already stays.

    Args:
        address: HOST:PORT, or "auto" for the one that this machine belongs to; None starts one.
        keep_logs: leave the folder with Ray's logs.

    Raises:
        DeviceError: it cannot be reached or started.
    """
    os.environ.update(_QUIET)
    import ray

    if ray.is_initialized():
        yield
        return
    folder = None if address is not None else tempfile.mkdtemp(prefix="ray")
    handlers: dict[signal.Signals, object] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        try:
            with _silence():
                _start(address, folder)
        except Exception as error:
            raise DeviceError(
                "the Ray cluster cannot be had",
                expected="one that answers" if address else "one that starts here",
                found=" ".join(str(error).split())[:300] or type(error).__name__,
                hint="check --ray-address and RAY_ADDRESS" if address else "its logs may tell more: --debug keeps them",
            ) from error
        finally:
            _restore(handlers)
        yield
    finally:
        with _silence():
            ray.shutdown()
        _restore(handlers)
        if folder is not None and not keep_logs:
            shutil.rmtree(folder, ignore_errors=True)


def divide(workers: int | None, gpus: float | None) -> Share:
    """What each worker gets of the cluster that is joined.

    Args:
        workers: how many; by default as many as the GPUs suffice for, without GPUs one for every two processors.
        gpus: of each worker, may be a fraction; by default one where the cluster has any, else none.

    Raises:
        UsageError: the cluster has no such GPU.
    """
    import ray

    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, all_gpus = there.get("CPU", 1.0), there.get("GPU", 0.0)
    if gpus is None:
        gpus = 1.0 if all_gpus else 0.0
    if gpus > all_gpus:
        raise UsageError(
            f"--gpus-per-worker: no worker can have {gpus:g} GPUs",
            expected=f"at most the {all_gpus:g} of the cluster",
            found=f"{gpus:g}",
            hint="0 computes on processors",
        )
    most = int(min(all_gpus / gpus + 1e-6, cpus) if gpus else max(1.0, cpus))
    count = max(1, min(workers or most, most))
    return Share(count, max(1.0, cpus // count) if not gpus else 1.0, gpus)


def _start(address: str | None, folder: str | None) -> None:
    import ray

    if address is not None:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        return
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        _temp_dir=folder,
    )


def _restore(handlers: Mapping[signal.Signals, object]) -> None:
    """Ray puts its own in their place."""
    for number, handler in handlers.items():
        if callable(handler) or isinstance(handler, signal.Handlers | int):
            with suppress(ValueError):  # not the main thread, where Ray has put none either
                signal.signal(number, handler)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing that this process writes to standard output or error in the block is seen, not even by its C++ parts."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        kept = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(null)
            os.close(kept)
