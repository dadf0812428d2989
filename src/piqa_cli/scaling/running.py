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

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any, Protocol

from piqa_cli.errors import DeviceError
from piqa_cli.resume import FileHashes, FinishedRows, Known
from piqa_cli.scaling.cluster import Share
from piqa_cli.scaling.work import Answer, Asked, Job, Worker, answers_of, to_block
from piqa_cli.schema import ErrorInfo, Failure, Outcome, Pair
from piqa_cli.writers import parse_record

if TYPE_CHECKING:
    import pyarrow as pa

_BATCHES = 2  # of the model in a block: fewer cost time at its ends, more are lost with a worker and come later
_ROUNDS = 4  # blocks of a worker at least, so that all end at about the same time
_RETRIES = 2  # of a block whose worker died, before its pairs are tried one by one


class Keeper(Protocol):
    """Keeps records whose turn has not come."""

    def early(self, outcome: Outcome) -> Callable[[], Outcome]:
        """Keep a record; what is given back gives it back."""
        ...


def judge_pairs(
    pairs: Iterable[Pair | Failure],
    job: Job,
    share: Share,
    keeper: Keeper,
    hashes: FileHashes,
    finished: FinishedRows | None = None,
) -> Iterator[Outcome | Known]:
    """One outcome a pair, in input order, by the cluster that is joined (`cluster.joined`).

    Args:
        pairs: gone through to their end before anything starts; about 300 bytes of memory each.
        job: how to judge them.
        share: the cluster's division.
        keeper: of records that come before their turn.
        hashes: told what the workers hashed.
        finished: the records there are.

    Raises:
        PiqaError: the model or its device cannot be had, or the cluster is lost.
    """
    order = _Order(keeper, hashes, finished)
    asked = order.ask(pairs)
    with redirect_stdout(StringIO()):  # Ray tells of lost workers there; whoever writes records has opened it before
        yield from order.ready()
        size = max(1, min(_BATCHES * job.batch_size, -(-len(asked) // (_ROUNDS * share.workers))))
        for answers in _answers(
            [to_block(asked[at : at + size]) for at in range(0, len(asked), size)], job, share, order
        ):
            yield from order.take(answers)
        left = order.missing(asked)
        for answers in _answers([to_block([one]) for one in left], job, share, order):
            yield from order.take(answers)
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

    def remember(self, lines: bytes) -> None:
        """Take over what a worker hashed."""
        self._hashes.add(lines)

    def take(self, answers: Sequence[Answer]) -> Iterator[Outcome | Known]:
        """Everything whose turn has come with these answers; the rest is kept."""
        for answer in answers:
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


def _answers(blocks: list[pa.Table], job: Job, share: Share, order: _Order) -> Iterator[list[Answer]]:
    """What the cluster says of blocks, as it comes; blocks that it could not work through are left out.

    Raises:
        PiqaError: see `judge_pairs`.
    """
    if not blocks:
        return
    import ray.data
    from ray.exceptions import RayError

    _hush()
    workers = min(share.workers, len(blocks))
    try:
        stream: Any = ray.data.from_arrow(blocks).map_batches(
            Worker,
            fn_constructor_args=(job,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=share.cpus,
            num_gpus=share.gpus or None,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        for block in stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            answers, hashed = answers_of(block)
            order.remember(hashed)
            yield answers
    except RayError as error:
        raise DeviceError(
            "the Ray cluster failed",
            found=" ".join(str(error).split())[:300] or type(error).__name__,
            hint="is piqa-cli installed on all of its machines? What is done is kept: --resume goes on",
        ) from error


def _hush() -> None:
    """Ray Data says nothing of its own, and goes on where a block is lost."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
