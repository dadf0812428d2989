"""Pairs through Ray Data, outcomes back in input order; the records are those of a run on one machine.

```
pairs -> blocks of pairs -> Ray Data -> a pool of actors (`work.Worker`) -> blocks of records -> (here) journal, order
```

Only paths and records travel. An actor reads the pictures itself, ahead of its model in threads as `pipeline` does:
decoded pictures are a thousand times larger than a record, and would have to be copied twice to be decoded elsewhere.

Blocks come back in any order. What comes before its turn goes into the journal at once, and is read from there when its
turn has come; so a finished record outlives this process, and waiting for a slow block costs no memory. A worker that
dies is started again and its blocks are given out once more; pairs that are still missing at the end are then tried one
by one, and one whose worker dies each time is a failure. A second answer for one pair is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from piqa_cli.resume import FileHashes, FinishedRows, Known
from piqa_cli.scaling.cluster import Answered
from piqa_cli.scaling.work import Asked
from piqa_cli.schema import ErrorInfo, Failure, Outcome, Pair
from piqa_cli.writers import parse_record

_BATCHES = 2  # of the model in a block: fewer cost time at its ends, more are lost with a worker and come later
_ROUNDS = 4  # blocks of a worker at least, so that all end at about the same time


class Judges(Protocol):
    """A cluster that judges; a `Session`."""

    def judge(self, blocks: Sequence[Sequence[Asked]]) -> Iterator[Answered]:
        """What it says of blocks, as it comes."""
        ...


class Keeper(Protocol):
    """Keeps records whose turn has not come."""

    def early(self, outcome: Outcome) -> Callable[[], Outcome]:
        """Keep a record; what is given back gives it back."""
        ...


def judge_pairs(
    pairs: Iterable[Pair | Failure],
    session: Judges,
    workers: int,
    batch_size: int,
    keeper: Keeper,
    hashes: FileHashes,
    finished: FinishedRows | None = None,
) -> Iterator[Outcome | Known]:
    """One outcome a pair, in input order, by a cluster.

    Args:
        pairs: gone through to their end, and held, before anything starts.
        session: what judges blocks of pairs.
        workers: how many workers it has.
        batch_size: of their models.
        keeper: of records that come before their turn.
        hashes: told what the workers hashed.
        finished: the records there are.

    Raises:
        PiqaError: the model or its device cannot be had, or the cluster is lost.
    """
    order = _Order(keeper, hashes, finished)
    asked = order.ask(pairs)
    yield from order.ready()
    size = max(1, min(_BATCHES * batch_size, -(-len(asked) // (_ROUNDS * workers))))
    for answered in session.judge([asked[at : at + size] for at in range(0, len(asked), size)]):
        yield from order.take(answered)
    left = order.missing(asked)
    for answered in session.judge([[one] for one in left]):
        yield from order.take(answered)
    for one in order.missing(left):
        yield from order.give_up(one)


class _Order:
    """What has come, and whose turn it is."""

    def __init__(self, keeper: Keeper, hashes: FileHashes, finished: FinishedRows | None) -> None:
        self._keeper = keeper
        self._hashes = hashes
        self._finished = finished
        self._pairs: dict[int, Asked] = {}  # asked and not answered yet
        self._early: dict[int, Callable[[], Outcome | Known]] = {}
        self._next = 0

    def ask(self, pairs: Iterable[Pair | Failure]) -> list[Asked]:
        """The pairs to be judged; failures to form one keep their place."""
        asked = []
        for place, item in enumerate(pairs):
            if isinstance(item, Failure):
                self._early[place] = _constant(item)
            else:
                self._pairs[place] = one = self._asked(place, item)
                asked.append(one)
        return asked

    def missing(self, asked: Iterable[Asked]) -> list[Asked]:
        """Those of the pairs that have no answer."""
        return [one for one in asked if one.place in self._pairs]

    def take(self, answered: Answered) -> Iterator[Outcome | Known]:
        """Everything whose turn has come with these answers; the rest is kept."""
        self._hashes.add(answered.hashes)
        for answer in answered.answers:
            asked = self._pairs.pop(answer.place, None)
            if asked is None:
                continue  # a second answer: its block was given out again although it was done
            if answer.record is None:
                self._early[answer.place] = _constant(self._known(asked))
                continue
            outcome = parse_record(answer.record)
            if answer.place == self._next:
                self._next += 1
                yield outcome
                yield from self.ready()
            else:
                self._early[answer.place] = self._keeper.early(outcome)
        yield from self.ready()

    def ready(self) -> Iterator[Outcome | Known]:
        """What has come and whose turn it is."""
        while self._next in self._early:
            self._next += 1
            yield self._early.pop(self._next - 1)()

    def give_up(self, asked: Asked) -> Iterator[Outcome | Known]:
        """The failure of a pair whose worker died each time, and what waited for it."""
        error = ErrorInfo(
            code="E_WORKER",
            message="the process that judged this pair died, each time",
            file=asked.pair.edited,
            hint="it may have run out of memory: see the system's log, and try it with `piqa assess`",
        )
        del self._pairs[asked.place]
        self._early[asked.place] = _constant(Failure(id=asked.pair.id, pair=asked.pair, error=error))
        yield from self.ready()

    def _asked(self, place: int, pair: Pair) -> Asked:
        line = None if self._finished is None else self._finished.line_of(pair.id)
        if self._finished is None or line is None:
            return Asked(place, pair)
        return Asked(place, pair, self._finished.key_of(line), self._finished.failed(line))

    def _known(self, asked: Asked) -> Known:
        line = None if self._finished is None else self._finished.line_of(asked.pair.id)
        if line is None:
            raise LookupError(f"a worker knows a record of {asked.pair.id!r} that is not there")
        return Known(asked.pair, line, asked.failed)


def _constant(item: Outcome | Known) -> Callable[[], Outcome | Known]:
    return lambda: item
