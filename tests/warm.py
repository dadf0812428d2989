"""`piqa` in processes that start at once: forked from one that has everything imported.

Real processes, with files and streams of their own, which can really be killed; only the seconds of imports before each
are saved. What such a process cannot show is what importing itself does: that `--help` loads nothing heavy, what
PYTHON... variables change, or those of the hub's library, which it reads when it is imported.
"""

from __future__ import annotations

import importlib
import io
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Self

import piqa_cli

TESTS = Path(__file__).parent
STAND_IN = str(TESTS / "stand_in")
SECONDS = 100
_ONE_AT_A_TIME = threading.Lock()  # starting a process asks after all others, and only one may hear that one has ended
_ROOTS = (str(TESTS), str(Path(piqa_cli.__file__).parents[1]), str(TESTS.parent))
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_IMPORTED = (
    "warm",
    "fakes",
    "filelock",
    "piqa_cli.cli.app",
    "piqa_cli.models",
    "piqa_cli.pipeline",
    "piqa_cli.pairs",
    "piqa_cli.overlay",
    "piqa_cli.doctor",
    "piqa_cli.compact.assessor",
    "piqa_cli.lmm.assessor",
    "piqa_cli.lmm.loading",
    "piqa_cli.report.page",
    "piqa_cli.evaluation.baselines",
    "transformers.models.auto.modeling_auto",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "matplotlib.figure",
)


def context() -> ForkServerContext:
    """Where such processes come from; the first call starts the one with the imports, and does not wait for them."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(_IMPORTED))
    kept = dict(os.environ)
    paths = [*_ROOTS, *filter(None, [kept.get("PYTHONPATH")])]
    try:
        os.environ.update(_THREADS, HF_HUB_OFFLINE="1", PYTHONPATH=os.pathsep.join(paths))
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(kept)
    return found


def start(where: ForkServerContext, arguments: Sequence[str], folder: Path, wishes: str = "") -> ForkServerProcess:
    """`piqa` with these arguments and the stand-in model, in this folder, as a process of its own."""
    process = where.Process(target=_run_stand_in, args=(list(arguments), str(folder), wishes), daemon=True)
    process.start()
    return process


def run(
    arguments: Sequence[str], *, folder: Path, env: Mapping[str, str], streams: Sequence[int], stand_in: bool = False
) -> int:
    """Runs `piqa` to its end on these three file descriptors; gives its exit status, -N if signal N ended it.

    Raises:
        subprocess.TimeoutExpired: it takes longer than `SECONDS`; it is killed.
    """
    with _ONE_AT_A_TIME:
        given = tuple(map(DupFd, streams))
        process = context().Process(target=_run, args=(list(arguments), str(folder), dict(env), given, stand_in))
        process.start()
    ended = wait([process.sentinel], SECONDS)
    if not ended:
        process.kill()
        wait([process.sentinel])
    with _ONE_AT_A_TIME:
        status = process.exitcode
    if not ended or status is None:
        raise subprocess.TimeoutExpired(["piqa", *arguments], SECONDS)
    return status


def capture(
    arguments: Sequence[str], *, folder: Path, env: Mapping[str, str], stdin: bytes, stand_in: bool
) -> tuple[int, bytes, bytes]:
    """Exit status, standard output and standard error of a run."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        streams = [file.fileno() for file in (given, out, err)]
        status = run(arguments, folder=folder, env=env, streams=streams, stand_in=stand_in)
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read()


class Door:
    """A socket by which a small program stands in for `piqa` in shell scripts: what it is called with runs warm.

    The program, made by `write_client`, passes on its arguments, folder, environment and open streams, and ends with
    the status that comes back. `change` may put other arguments in their place. `log` has the arguments and status of
    each run, in the order in which they ended.
    """

    def __init__(self, folder: Path, change: Callable[[list[str]], list[str]] = list) -> None:
        self.log: list[tuple[list[str], int]] = []
        self._change = change
        self._address = str(folder / "door")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._address)
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def write_client(self, path: Path) -> None:
        """Makes the program; without Python's site packages it starts in some hundredths of a second."""
        path.write_text(f"#!{sys.executable} -SE\n{_CLIENT.replace('ADDRESS', repr(self._address))}", "utf-8")
        path.chmod(0o755)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head, streams, *_ = socket.recv_fds(connection, 8, 3)
            size = int.from_bytes(head, "big")
            data = b""
            while len(data) < size:
                data += connection.recv(size - len(data))
            asked: dict[str, Any] = json.loads(data)
            try:
                arguments, folder = self._change(asked["arguments"]), Path(asked["folder"])
                status = run(arguments, folder=folder, env=asked["env"], streams=streams)
            finally:
                for stream in streams:
                    os.close(stream)
            self.log.append((arguments, status))
            connection.sendall(bytes([status % 256]))


_CLIENT = """
import json, os, socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect(ADDRESS)
data = json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "env": dict(os.environ)}).encode()
socket.send_fds(door, [len(data).to_bytes(8, "big")], [0, 1, 2])
door.sendall(data)
for stream in (0, 1, 2):
    os.close(stream)
sys.exit((door.recv(1) or b"\\xff")[0])
"""


def _run_stand_in(arguments: list[str], folder: str, wishes: str) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.environ["PIQA_STAND_IN"] = wishes
    _run(arguments, folder, dict(os.environ), (null, null, null), True)


def _run(arguments: list[str], folder: str, env: dict[str, str], streams: Sequence[int | Any], stand_in: bool) -> None:
    """In the new process: takes its place in folder, environment and streams, and becomes `piqa`."""
    for number, stream in enumerate(streams):
        os.dup2(stream if isinstance(stream, int) else stream.detach(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path.insert(0, folder)  # as `python -m` has it
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), "utf-8", write_through=number == 2)
        for number in (1, 2)
    )
    multiprocessing.set_forkserver_preload(["piqa_cli.training.cases"])  # it has no part in the one it came from
    if stand_in:
        sys.path.insert(0, STAND_IN)
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")  # puts the stand-in in the place of the models
    from piqa_cli.cli import main

    sys.argv = ["piqa", *arguments]
    main()
