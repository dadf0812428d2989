"""Threads that work on tasks from the main thread, which an interrupt may leave at any step.

As in `prefetch`, the main thread meets only `SimpleQueue`, which is written in C: Python's own pools hold locks that
an interrupt can leave locked, and then closing them would wait for ever.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

_JOIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class _Broken:
    """What a task raised."""

    error: Exception


@dataclass(frozen=True, slots=True, eq=False)
class Task(Generic[T]):
    """Work that was given to a crew."""

    work: Callable[[], T]
    _box: queue.SimpleQueue[T | _Broken] = field(default_factory=queue.SimpleQueue)

    def run(self) -> None:
        """Does the work and keeps what comes of it."""
        try:
            self._box.put(self.work())
        except Exception as error:  # noqa: BLE001 - raised again by result(), in the caller's thread
            self._box.put(_Broken(error))

    def result(self) -> T:
        """What came of it, once; waits until it is done.

        Raises:
            Exception: whatever the work raised.
        """
        answer = self._box.get()
        if isinstance(answer, _Broken):
            raise answer.error
        return answer


class Crew(Generic[T]):
    """So many daemon threads, started with the first task."""

    def __init__(self, workers: int, name: str) -> None:
        self._workers = workers
        self._name = name
        self._tasks: queue.SimpleQueue[Task[T] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def give(self, work: Callable[[], T]) -> Task[T]:
        """Hands the work to the next free thread."""
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
                for number in range(self._workers)
            ]
            for thread in self._threads:
                thread.start()
        task = Task(work)
        self._tasks.put(task)
        return task

    def close(self) -> None:
        """Ends the threads; work that is under way is waited for, a little, and work that has not begun is left."""
        self._closed = True
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            if thread.is_alive():  # an interrupt may have come before it was started
                thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None and not self._closed:
            task.run()
            del task  # do not hold the pictures while waiting
