"""Loading pairs ahead of the model: bounded, in threads, in input order.

An interrupt (Ctrl-C, SIGTERM) raises in the main thread between any two steps of Python code. `threading`'s locks that
are written in Python can then stay locked for ever, and closing would wait for them; so the main thread only meets
`SimpleQueue`, which is written in C.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from piqa_cli.images import LoadedPair
from piqa_cli.schema import Pair

_THREAD_PREFIX = "piqa-decode"
_JOIN_SECONDS = 1.0

P = TypeVar("P")
"""What needs no loading and passes in its place: failures to form a pair, pairs that are finished."""


@dataclass(frozen=True, slots=True, eq=False)
class _Broken:
    """What the iterable of pairs, or `load`, raised."""

    error: BaseException


@dataclass(slots=True, eq=False)
class _Slot(Generic[P]):
    """The place of one item; filled once, in any thread."""

    box: queue.SimpleQueue[LoadedPair | P | _Broken] = field(default_factory=queue.SimpleQueue)

    def ready(self) -> bool:
        return not self.box.empty()


@dataclass(frozen=True, slots=True)
class _Task(Generic[P]):
    pair: Pair
    slot: _Slot[P]


class Prefetch(Generic[P]):
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
        self, pairs: Iterable[Pair | P], load: Callable[[Pair], LoadedPair | P], workers: int, ahead: int
    ) -> None:
        self._pairs = pairs
        self._load = load
        self._stopped = False
        self._tickets: queue.SimpleQueue[None] = queue.SimpleQueue()  # one per pair that may be read ahead
        self._ahead = 0
        self._allow(ahead)
        self._tasks: queue.SimpleQueue[_Task[P] | None] = queue.SimpleQueue()
        self._slots: queue.SimpleQueue[_Slot[P] | None] = queue.SimpleQueue()  # in input order; None ends the input
        self._head: _Slot[P] | None = None  # fetched from _slots, but not ready when last looked at
        self._ended = False
        self._threads: list[threading.Thread] = []
        self._workers = workers

    def take(self, limit: int) -> list[LoadedPair | P]:
        """The next items that are ready, at least one and at most `limit`; empty at the end.

        Raises:
            Exception: whatever the iterable of pairs, or `load`, raised at this place.
        """
        if not self._threads:
            self._start()
        group: list[LoadedPair | P] = []
        while len(group) < limit and (slot := self._next(wait=not group)) is not None:
            answer = slot.box.get()  # waits; only the first one can be unfinished
            if isinstance(answer, _Broken):
                if group:  # first let out what came before it
                    slot.box.put(answer)
                    self._head = slot
                    break
                self._ended = True
                raise answer.error
            self._tickets.put(None)
            group.append(answer)
            if not isinstance(group[0], LoadedPair):
                break  # what passes with nothing before it need not wait
        return group

    def reach(self, batch: int) -> None:
        """From now on read far enough ahead for batches of this size; never less far than before."""
        self._allow(self._workers + batch)

    def close(self) -> None:
        """Stop reading and decoding. A thread inside a decoder ends when that picture is done."""
        self._stopped = True
        self._tickets.put(None)
        for _ in range(self._workers):
            self._tasks.put(None)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads[::-1]:
            if thread.is_alive():  # an interrupt may have come before it was started
                feeder = thread is self._threads[0]  # which may be blocked in the producer
                thread.join(0.05 if feeder else max(0.0, deadline - time.monotonic()))

    def _allow(self, ahead: int) -> None:
        for _ in range(ahead - self._ahead):
            self._tickets.put(None)
        self._ahead = max(ahead, self._ahead)

    def _next(self, wait: bool) -> _Slot[P] | None:
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
        if not wait and not slot.ready():
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
        iterator: Iterator[Pair | P] = iter(())
        try:
            iterator = iter(self._pairs)
            while True:
                self._tickets.get()
                if self._stopped:
                    return
                item = next(iterator, None)
                if item is None:
                    return
                slot = _Slot[P]()
                self._slots.put(slot)
                if isinstance(item, Pair):
                    self._tasks.put(_Task(item, slot))
                else:
                    slot.box.put(item)
        except BaseException as error:  # noqa: BLE001 - raised again by take(), in the caller's thread
            broken = _Slot[P]()
            broken.box.put(_Broken(error))
            self._slots.put(broken)
        finally:
            self._slots.put(None)
            if close := getattr(iterator, "close", None):
                close()  # a generator holding a manifest open

    def _decode(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._stopped:
                return
            try:
                task.slot.box.put(self._load(task.pair))
            except BaseException as error:  # noqa: BLE001 - raised again by take(), in the caller's thread
                task.slot.box.put(_Broken(error))
            del task  # do not hold the picture while waiting
