"""What a worker of a cluster does: open the model once, then judge blocks of pairs as a batch on one machine does.

A block is a small table with a row a pair: its place in the input, the pair as JSON, and the key and the state of the
record it has already. The answer has a row for each of them: its place, and the record as JSON, or "" if the record
that it has still holds. JSON, since text of Arrow holds no bytes of a path that are not UTF-8, and ours is pure ASCII.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from piqa_cli import errors
from piqa_cli.assessor import Assessor, models_of
from piqa_cli.devices import keep_freed_memory
from piqa_cli.errors import PiqaError
from piqa_cli.images import DEFAULT_POLICY, ImagePolicy
from piqa_cli.pipeline import resume_pairs
from piqa_cli.resume import FileHashes, Known, Memory, Recipe
from piqa_cli.schema import Outcome, Pair
from piqa_cli.writers import to_json

if TYPE_CHECKING:
    import pyarrow as pa

STOPPED = -1
"""In the place of a pair's place: what concerns every pair alike, and ends the run."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker needs to know; it is sent to each.

    Args:
        open: opens the model.
        recipe: how records are made; the models in it are filled in by the worker.
        policy: how images are read.
        workers: decoding threads of a worker.
        batch_size: most pairs given to the model at once.
        explain: whether a text is asked for.
        retry_failed: pairs that failed are tried again.
        hashes: the file that remembers hashes, where a worker can read it.
        folder: what relative paths refer to, where a worker has it.
    """

    open: Callable[[], Assessor]
    recipe: Recipe
    policy: ImagePolicy = DEFAULT_POLICY
    workers: int = 2
    batch_size: int = 8
    explain: bool = True
    retry_failed: bool = True
    hashes: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A pair to judge, where it stands in the input, and the record that there is of it."""

    place: int
    pair: Pair
    key: str | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the pair at a place: a record as JSON; None if the one that there is still holds."""

    place: int
    record: bytes | None


def to_block(asked: Sequence[Asked]) -> pa.Table:
    """Pairs as they are sent."""
    import pyarrow as pa

    return pa.table(
        {
            "place": pa.array([one.place for one in asked], pa.int64()),
            "pair": [json.dumps(one.pair.model_dump()) for one in asked],
            "key": [one.key or "" for one in asked],
            "failed": [one.failed for one in asked],
        }
    )


def from_block(block: pa.Table) -> list[Asked]:
    """What `to_block` was given."""
    return [
        Asked(row["place"], Pair(**json.loads(row["pair"])), row["key"] or None, row["failed"])
        for row in block.to_pylist()
    ]


def answers_of(block: pa.Table) -> tuple[list[Answer], bytes]:
    """What a worker sent back: its answers, and what is to be remembered of hashes.

    Raises:
        PiqaError: what stopped it, and concerns every pair.
        RuntimeError: a fault of ours did.
    """
    answers = []
    for row in block.to_pylist():
        if row["place"] == STOPPED:
            raise thaw(row["record"].decode())
        answers.append(Answer(row["place"], row["record"] or None))
    return answers, b"".join(block["hashes"].to_pylist())


class Worker:
    """Judges blocks. Errors do not leave it: they come back as answers, so what Ray sees fail is a lost process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._assessor: Assessor | None = None
        self._recipe = job.recipe
        self._hashes = FileHashes()

    def __call__(self, block: pa.Table) -> pa.Table:
        """The answers to a block."""
        try:
            places, records = self._judge(from_block(block))
        except Exception as error:  # noqa: BLE001 - raised again where the command runs
            places, records = [STOPPED], [freeze(error)]
        return self._reply(places, records)

    def _judge(self, asked: list[Asked]) -> tuple[list[int], list[str]]:
        job, assessor = self._job, self._opened()
        memory = Memory(self._recipe, self._hashes, _Told(asked), retry_failed=job.retry_failed)
        outcomes = resume_pairs(
            [one.pair for one in asked],
            assessor,
            memory,
            policy=job.policy,
            workers=job.workers,
            batch_size=job.batch_size,
            explain=job.explain,
        )
        return [one.place for one in asked], [_as_text(outcome) for outcome in outcomes]

    def _opened(self) -> Assessor:
        if self._assessor is None:
            job = self._job
            with suppress(OSError, TypeError):  # a machine of the cluster that has no such folder
                os.chdir(job.folder)  # type: ignore[arg-type]  # None is a TypeError
            keep_freed_memory()
            self._assessor = job.open()
            self._recipe = replace(job.recipe, models=models_of(self._assessor))
            self._hashes = FileHashes(job.hashes, recall=True)
        return self._assessor

    def _reply(self, places: list[int], records: list[str]) -> pa.Table:
        import pyarrow as pa

        hashes = [self._hashes.drain(), *[b""] * (len(places) - 1)]
        return pa.table(
            {
                "place": pa.array(places, pa.int64()),
                "record": pa.array([record.encode("ascii") for record in records], pa.large_binary()),
                "hashes": pa.array(hashes, pa.large_binary()),
            }
        )


class _Told:
    """The records that there are of a block's pairs, as the block tells them; a line is a place in the block."""

    def __init__(self, asked: list[Asked]) -> None:
        self._asked = asked
        self._lines = {one.pair.id: line for line, one in enumerate(asked)}

    def line_of(self, identifier: str) -> int | None:
        return self._lines.get(identifier)

    def key_of(self, line: int) -> str | None:
        return self._asked[line].key

    def failed(self, line: int) -> bool:
        return self._asked[line].failed


def _as_text(outcome: Outcome | Known) -> str:
    return "" if isinstance(outcome, Known) else to_json(outcome)


_PARTS = ("message", "code", "file", "expected", "found", "hint")


def freeze(error: Exception) -> str:
    """An error as text, for another process to raise."""
    if isinstance(error, PiqaError):
        return json.dumps({"kind": type(error).__name__, **{part: getattr(error, part) for part in _PARTS}})
    return json.dumps({"text": f"{type(error).__name__}: {error}", "where": traceback.format_exc()})


def thaw(text: str) -> Exception:
    """The error that `freeze` was given; one that is none of ours as a RuntimeError that tells where it was raised."""
    told: dict[str, Any] = json.loads(text)
    kind = getattr(errors, told.pop("kind", ""), None)
    if kind is None:
        fault = RuntimeError(told["text"])
        fault.add_note(f"in another process:\n{told['where']}")
        return fault
    error: PiqaError = kind(told.pop("message"), **told)
    return error
