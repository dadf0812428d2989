"""What the flow asks of a pair before anything is decoded: its key, and whether there is a record of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from piqa_cli.resume.hashes import FileHashes
from piqa_cli.resume.key import Recipe, key
from piqa_cli.schema import Pair


@dataclass(frozen=True, slots=True)
class Known:
    """A pair that has a record: in that line of the results, counted from 0; `failed`: it could not be assessed."""

    pair: Pair
    line: int
    failed: bool


class Finished(Protocol):
    """The records there are, as `FinishedRows` knows them."""

    def line_of(self, identifier: str) -> int | None:
        """The line of a pair's record; None if there is none."""
        ...

    def key_of(self, line: int) -> str | None:
        """The key of a line's record; None if it has none."""
        ...

    def failed(self, line: int) -> bool:
        """Whether the record is of a pair that failed."""
        ...


class Memory:
    """Keys of pairs and where their records are; asked from several threads, changed by none.

    Args:
        recipe: how this run makes records.
        hashes: of files.
        finished: the records there are; None if there are none.
        retry_failed: pairs that failed are tried again; False: only if their files, prompt or settings changed.
    """

    def __init__(
        self, recipe: Recipe, hashes: FileHashes, finished: Finished | None = None, *, retry_failed: bool = True
    ) -> None:
        self._recipe = recipe.digest()
        self._hashes = hashes
        self._finished = finished
        self._retry_failed = retry_failed

    def key_of(self, pair: Pair) -> str | None:
        """The key; None if one of its files cannot be read."""
        source, edited = self._hashes.of(pair.source), self._hashes.of(pair.edited)
        mask = None if pair.mask is None else self._hashes.of(pair.mask)
        if source is None or edited is None or (pair.mask is not None and mask is None):
            return None
        return key(self._recipe, source, edited, mask, pair.prompt)

    def recall(self, pair: Pair, its_key: str | None) -> Known | None:
        """The pair's record, if there is one that still holds."""
        if self._finished is None or its_key is None:
            return None
        line = self._finished.line_of(pair.id)
        if line is None or self._finished.key_of(line) != its_key:
            return None
        failed = self._finished.failed(line)
        return None if failed and self._retry_failed else Known(pair, line, failed)
