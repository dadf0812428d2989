"""Loading pairs ahead of the model: bounded, in threads, in input order."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from piqa_cli.images import LoadedPair
from piqa_cli.schema import Failure, Pair

_THREAD_PREFIX = "piqa-decode"
_JOIN_SECONDS = 1.0

_Slot = Future[LoadedPair | Failure] | None  # in input order; None ends the input


@dataclass(frozen=True, slots=True)
class _Task:
    pair: Pair
    slot: Future[LoadedPair | Failure]


class Prefetch:
    """Reads pairs lazily and loads a bounded number ahead, in threads, handing them out in input order.

    The threads are daemons because the feeder may be waiting for a line that never comes; it must not
    keep the process alive after an interrupt. They start with the first `take`.

    Args:
        pairs: read in one thread, no further than needed; closed there if it is a generator.
        load: reads one pair, called in several threads at once.
        workers: loading threads.
        ahead: most items read but not yet taken.
    """

    def __init__(
        self, pairs: Iterable[Pair | Failure], load: Callable[[Pair], LoadedPair | Failure], workers: int, ahead: int
    ) -> None:
        self._pairs = pairs
        self._load = load
        self._stop = threading.Event()
        self._tickets = threading.Semaphore(ahead)  # one per pair read but not yet taken
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._slots: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        self._head: _Slot = None  # fetched from _slots, but not ready when last looked at
        self._ended = False
        self._threads: list[threading.Thread] = []
        self._workers = workers

    def take(self, limit: int) -> list[LoadedPair | Failure]:
        """The next items that are ready, at least one and at most `limit`; empty at the end.

        Raises:
            Exception: whatever the iterable of pairs, or `load`, raised at this place.
        """
        if not self._threads:
            self._start()
        group: list[LoadedPair | Failure] = []
        while len(group) < limit and (slot := self._next(wait=not group)) is not None:
            if (error := slot.exception()) is not None:  # waits; only the first one can be unfinished
                if group:  # first let out what came before it
                    self._head = slot
                    break
                self._ended = True
                raise error
            self._tickets.release()
            group.append(slot.result())
            if isinstance(group[0], Failure):
                break  # a failure with nothing before it need not wait
        return group

    def close(self) -> None:
        """Stop reading and decoding. A thread inside a decoder ends when that picture is done."""
        self._stop.set()
        self._tickets.release()
        for _ in range(self._workers):
            self._tasks.put(None)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads[1:]:
            thread.join(max(0.0, deadline - time.monotonic()))
        for thread in self._threads[:1]:
            thread.join(0.05)  # the feeder may be blocked in the producer

    def _next(self, wait: bool) -> Future[LoadedPair | Failure] | None:
        """The next slot, or None at the end; without `wait`, None also when it is not ready."""
        if self._ended:
            return None
        slot, self._head = self._head, None
        if slot is None:
            try:
                slot = self._slots.get(block=wait)
            except queue.Empty:
                return None
            if slot is None:
                self._ended = True
                return None
        if not wait and not slot.done():
            self._head = slot
            return None
        return slot

    def _start(self) -> None:
        targets = [self._feed, *[self._decode] * self._workers]
        self._threads = [
            threading.Thread(target=target, name=f"{_THREAD_PREFIX}-{i}", daemon=True)
            for i, target in enumerate(targets)
        ]
        for thread in self._threads:
            thread.start()

    def _feed(self) -> None:
        iterator: Iterator[Pair | Failure] = iter(())
        try:
            iterator = iter(self._pairs)
            while True:
                self._tickets.acquire()
                if self._stop.is_set():
                    return
                item = next(iterator, None)
                if item is None:
                    return
                slot: Future[LoadedPair | Failure] = Future()
                self._slots.put(slot)
                if isinstance(item, Failure):
                    slot.set_result(item)
                else:
                    self._tasks.put(_Task(item, slot))
        except BaseException as error:  # noqa: BLE001 - raised again by take(), in the caller's thread
            broken: Future[LoadedPair | Failure] = Future()
            broken.set_exception(error)
            self._slots.put(broken)
        finally:
            self._slots.put(None)
            if close := getattr(iterator, "close", None):
                close()  # a generator holding a manifest open

    def _decode(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._stop.is_set():
                return
            try:
                task.slot.set_result(self._load(task.pair))
            except BaseException as error:  # noqa: BLE001 - raised again by take(), in the caller's thread
                task.slot.set_exception(error)
            del task  # do not hold the picture while waiting
