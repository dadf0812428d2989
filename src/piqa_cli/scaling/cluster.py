"""What talks to Ray: in a process of its own, so that whatever Ray does to a process is not done to the command's.

Ray writes to both standard streams from C++ and from threads, takes over signals, and ends its process when a thread is
still in it while it shuts down, as after an interrupt. All of that stays in here. `session` is the other side.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from piqa_cli.errors import DeviceError, PiqaError, UsageError
from piqa_cli.scaling.work import Answer, Asked, Job, Worker, answers_of, freeze, to_block

_STORE_BYTES = 256 << 20  # lists of paths and records, never pictures
_RETRIES = 2  # of a block whose worker died; its pairs are then tried one by one (`running`)
_KNOCK_SECONDS = 10.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}


@dataclass(frozen=True, slots=True)
class Errand:
    """What is asked of the cluster.

    Args:
        job: how pairs are judged.
        address: of the cluster, HOST:PORT or "auto"; None starts one on this machine.
        workers: how many; None: as many as there is room for.
        gpus: of each; None: one where there are any.
        folder: where a cluster that is started keeps its files.
        debug: let Ray write to standard error.
    """

    job: Job
    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    folder: str | None = None
    debug: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """How the cluster is divided: so many workers, and what each of them has."""

    workers: int
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a block: answers, and lines to be remembered of hashes. No answers: all blocks are through."""

    answers: list[Answer]
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why nothing more will come: an error as `work.freeze` writes it."""

    error: str


def serve(connection: Connection, errand: Errand) -> None:
    """The process: tells the `Share`, then judges lists of blocks until it is given None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what an interrupt means
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # and ends, if it must, this process with all that Ray has started
    _keep_silent(errand.debug)
    try:
        _start(errand)
        share = divide(errand.workers, errand.gpus)
        connection.send(share)
        while (blocks := connection.recv()) is not None:
            for answered in judge_blocks(blocks, errand.job, share):
                connection.send(answered)
            connection.send(Answered([], b""))
    except (PiqaError, Exception) as error:  # noqa: BLE001 - raised again by the other side
        connection.send(Stopped(freeze(error)))
    finally:
        import ray

        ray.shutdown()


def divide(workers: int | None, gpus: float | None) -> Share:
    """What each worker gets of the cluster that is joined.

    Args:
        workers: how many; by default as many as the GPUs suffice for, without GPUs one a processor.
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
    most = int(min(all_gpus / gpus + 1e-6, cpus) if gpus else cpus)
    count = max(1, min(workers or most, most))
    return Share(count, 1.0 if gpus else max(1.0, cpus // count), gpus)


def judge_blocks(blocks: Sequence[Sequence[Asked]], job: Job, share: Share) -> Iterator[Answered]:
    """What workers say of blocks of pairs, as it comes; a block that no worker lived through is left out.

    Raises:
        PiqaError: what a worker says that concerns every pair, or the cluster is lost (E_DEVICE).
    """
    if not blocks:
        return
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    try:
        stream: Any = ray.data.from_arrow([to_block(block) for block in blocks]).map_batches(
            Worker,
            fn_constructor_args=(job,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(share.workers, len(blocks))),
            num_cpus=share.cpus,
            num_gpus=share.gpus or None,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        for block in stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield Answered(*answers_of(block))
    except RayError as error:
        raise DeviceError(
            "the Ray cluster failed",
            found=_reason(error),
            hint="is piqa-cli installed on all of its machines? What is done is kept: --resume goes on",
        ) from error


def _start(errand: Errand) -> None:
    """Joins the cluster, or starts one.

    Raises:
        DeviceError: it cannot be reached or started.
    """
    os.environ.update(_QUIET)
    import ray

    quiet = not errand.debug
    level = logging.CRITICAL if quiet else logging.INFO
    try:
        if errand.address is not None:
            _knock(errand.address)
            ray.init(address=errand.address, log_to_driver=not quiet, logging_level=level)
        else:
            os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # workers import what this process can
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                log_to_driver=not quiet,
                logging_level=level,
                _temp_dir=errand.folder,
            )
    except Exception as error:
        here = errand.address is None
        raise DeviceError(
            "the Ray cluster cannot be had",
            expected="one that starts here" if here else "one that answers",
            found=_reason(error),
            hint="--debug shows what Ray says" if here else "check --ray-address and RAY_ADDRESS",
        ) from error


def _knock(address: str) -> None:
    """Whether somebody listens there: Ray itself waits for minutes.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in address:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()


def _reason(error: Exception) -> str:
    """The last line of what Ray says: it begins with whose fault it was, in colours, and ends with what it was."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return lines[-1].strip()[:300] if lines else type(error).__name__


def _keep_silent(debug: bool) -> None:
    """Nothing of this process is data; with --debug it may be read on standard error."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(2 if debug else null, 1)
    if not debug:
        os.dup2(null, 2)
