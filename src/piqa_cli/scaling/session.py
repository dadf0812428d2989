"""A Ray cluster for as long as a batch lasts: the process that talks to it is started here, and ended in any case."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from piqa_cli.errors import DeviceError, UsageError
from piqa_cli.scaling.cluster import Answered, Errand, Share, Stopped, serve
from piqa_cli.scaling.work import Asked, thaw

_END_SECONDS = 10.0  # that the process has to take the cluster down
_LOOKS, _GONE = 50, 3  # so often at most it is looked whether the folder is gone, until it was so often in turn
_TERM_SECONDS = 2.0  # after an error or an interrupt


def check_ray() -> None:
    """Whether Ray Data is installed.

    Raises:
        UsageError: it is not.
    """
    if any(find_spec(name) is None for name in ("ray", "pyarrow", "pandas")):
        raise UsageError("--engine ray needs Ray Data", hint="pip install 'piqa-cli[ray]'")


class Session:
    """The cluster, seen from the command.

    Attributes:
        share: how it is divided.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        answer = self._receive()
        if not isinstance(answer, Share):
            raise TypeError(f"expected the cluster's share, found {type(answer).__name__}")
        self.share = answer

    def judge(self, blocks: Sequence[Sequence[Asked]]) -> Iterator[Answered]:
        """What the cluster says of blocks, as it comes; see `cluster.judge_blocks`.

        Raises:
            PiqaError: as there, or the process has died (E_DEVICE).
        """
        if not blocks:
            return
        try:
            self._connection.send(blocks)
        except OSError:  # it has died, and may have said why
            self._receive()
        while isinstance(answer := self._receive(), Answered) and answer.answers:
            yield answer

    def _receive(self) -> Share | Answered:
        try:
            answer: Share | Answered | Stopped = self._connection.recv()
        except (EOFError, OSError) as error:
            raise DeviceError(
                "the process that talks to the Ray cluster has died",
                hint="is there memory enough for the workers? --ray-workers makes them fewer; --debug tells more",
            ) from error
        if isinstance(answer, Stopped):
            raise thaw(answer.error)
        return answer


@contextmanager
def opened(errand: Errand) -> Iterator[Session]:
    """A session with the cluster that the errand names; one that is started for it is gone at the end.

    Raises:
        DeviceError: it cannot be had.
        UsageError: it has not what was asked for.
    """
    # Sockets lie in it, whose names may not be long: the system's folder for temporary files, and a short name.
    folder = None if errand.address is not None else tempfile.mkdtemp(prefix="ray")
    where = multiprocessing.get_context("spawn")
    ours, theirs = where.Pipe()
    process = where.Process(target=serve, args=(theirs, replace(errand, folder=folder)), name="piqa-ray")
    _start_deaf(process)
    theirs.close()
    try:
        yield Session(ours)
        with suppress(OSError):  # it has died, after the last answer
            ours.send(None)
        process.join(_END_SECONDS)
    finally:
        ours.close()
        _end(process)
        if folder is not None:
            _remove(folder)


def _start_deaf(process: BaseProcess) -> None:
    """A terminal's Ctrl-C goes to every process of the command; only this one is to hear it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        process.start()
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(process: BaseProcess) -> None:
    """With SIGTERM Ray takes the cluster down; what is left of the process's group, some for a minute, is killed."""
    if process.is_alive():
        process.terminate()
        process.join(_TERM_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    if process.pid is not None and hasattr(os, "killpg"):
        with suppress(OSError):  # mostly there is no such group any more
            os.killpg(process.pid, signal.SIGKILL)


def _remove(folder: str) -> None:
    """Processes of the cluster may still be on their way out, and write their last words."""
    gone = 0
    for _ in range(_LOOKS):
        shutil.rmtree(folder, ignore_errors=True)
        gone = 0 if os.path.exists(folder) else gone + 1
        if gone == _GONE:
            return
        time.sleep(0.1)
