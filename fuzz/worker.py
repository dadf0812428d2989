"""Cases in a process of their own: what ends it, takes too long or takes too much memory is a finding, not the end."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

from fuzz.checks import WrongAnswerError

CASE_SECONDS = 20.0
"""A case that takes longer hangs."""
CASE_BYTES = 2 << 30
"""A case may take so much memory beyond what the process has: four of the largest picture that is read."""

Kind = Literal["accepted", "refused", "crash", "hang", "wrong", "memory"]
FAULTS: tuple[Kind, ...] = ("crash", "hang", "wrong", "memory")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a case came to, in how many seconds, with how many bytes at the most; `detail` says why it is a fault."""

    kind: Kind
    seconds: float
    peak: int = 0
    detail: str = ""


class Worker:
    """Runs functions on cases, one at a time; a context manager. Needs Linux or another POSIX system.

    Args:
        functions: by name; each takes a case and gives whether it was accepted.
    """

    def __init__(self, functions: dict[str, Callable[[bytes], bool]]) -> None:
        self._functions = functions
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, name: str, case: bytes) -> Verdict:
        """The verdict on a case."""
        if self._pipe is None:
            self._start()
        pipe, started = self._pipe, time.monotonic()
        if pipe is None:
            raise RuntimeError("the worker did not start")
        pipe.send((name, case))
        try:
            if not pipe.poll(CASE_SECONDS):
                self._end()
                return Verdict("hang", CASE_SECONDS, detail=f"no answer in {CASE_SECONDS:.0f} s")
            verdict: Verdict = pipe.recv()
        except (EOFError, ConnectionResetError):
            code = self._end()
            return Verdict("crash", time.monotonic() - started, detail=f"the process ended with {code}")
        return verdict

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")  # a fresh one costs a second of imports
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._functions), daemon=True)
        self._process.start()
        theirs.close()

    def _end(self) -> int | None:
        if self._process is None or self._pipe is None:
            return None
        self._pipe.close()
        self._process.join(0.2)
        self._process.kill()
        self._process.join()
        code, self._process, self._pipe = self._process.exitcode, None, None
        return code


def _serve(pipe: Connection, functions: dict[str, Callable[[bytes], bool]]) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # libjpeg and libtiff of OpenCV speak their mind there
    base = _address_space()
    if base:
        resource.setrlimit(resource.RLIMIT_AS, (base + 2 * CASE_BYTES, base + 2 * CASE_BYTES))
    while True:
        try:
            name, case = pipe.recv()
        except EOFError:
            return
        pipe.send(_judge(functions[name], case))


def _judge(function: Callable[[bytes], bool], case: bytes) -> Verdict:
    before, started = _reset_peak(), time.monotonic()
    kind: Kind
    try:
        kind, detail = "accepted" if function(case) else "refused", ""
    except WrongAnswerError as error:
        kind, detail = "wrong", str(error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is no PiqaError, and so a fault
        kind, detail = "crash", "".join(traceback.format_exception(error)[-4:])
    peak = _peak() - before
    if kind in {"accepted", "refused"} and peak > CASE_BYTES:
        kind, detail = "memory", f"{peak >> 20} MB"
    return Verdict(kind, time.monotonic() - started, peak, detail)


def _address_space() -> int:
    return _status("VmSize")


def _reset_peak() -> int:
    """Makes the peak of the process start anew, and gives what it has now. Linux only; 0 elsewhere."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _status(name: str) -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(name + ":")), 0)
    except OSError:
        return 0
