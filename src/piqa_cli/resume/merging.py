"""Records of several files as those of one: the parts that shards write, each pair once.

Only an index is held, about 250 bytes a record; the records stay where they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import BinaryIO, NamedTuple

from piqa_cli.errors import InputError
from piqa_cli.resume.finished import FinishedRows, digest
from piqa_cli.resume.hashes import SUFFIX as HASHES
from piqa_cli.schema import Outcome, Pair
from piqa_cli.writers import cannot_read, parse_record


class Place(NamedTuple):
    """Where a record is: which file, which line of it; `failed`: its pair could not be assessed."""

    part: int
    line: int
    failed: bool


class MergedRows:
    """The index of several files of records.

    Of several records of one pair an assessment counts before a failure, and else the last one. Records of one pair
    have one id, and one key or the same paths.

    Args:
        paths: the files, JSONL that piqa wrote.
        on_warning: told in a sentence of a torn last line, as a killed run leaves it.

    Attributes:
        repeated: records that another one of the same pair was taken for.
        changed: of these, how many had another key: other settings, model or file contents.

    Raises:
        InputError: a file cannot be read or holds no records (E_RESULTS), or one id stands for two pairs (E_DUPLICATE).
    """

    def __init__(self, paths: Sequence[str], on_warning: Callable[[str], None]) -> None:
        self.repeated = self.changed = 0
        self._stack = ExitStack()
        self._parts = [FinishedRows(path, on_warning) for path in paths]
        self._files: list[BinaryIO] = []
        self._places: dict[bytes, Place] = {}
        self._orders: list[list[bytes]] = []
        with self._stack:  # closed at once if a file cannot be opened or does not fit the others
            for path in paths:
                try:
                    self._files.append(self._stack.enter_context(open(path, "rb")))  # noqa: SIM115 - the stack closes it
                except OSError as error:
                    raise cannot_read(path, error) from error
            for number in range(len(paths)):
                self._add(number)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> MergedRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return len(self._places)

    def of(self, identifier: str) -> Place | None:
        """The place of a pair's record; None if there is none."""
        return self._places.get(digest(identifier))

    def in_turn(self) -> Iterator[Place]:
        """File by file, each in its own order."""
        return iter(self._places.values())

    def as_shards(self) -> Iterator[Place]:
        """One record of each file in turn: the order of an input of which the files are the shards 1/N to N/N.

        Raises:
            InputError: they cannot be those of a whole input (E_RESULTS).
        """
        sizes = [len(order) for order in self._orders]
        if self.repeated or any(not 0 <= sizes[0] - size <= 1 for size in sizes) or sizes != sorted(sizes)[::-1]:
            raise InputError(
                "the files are not the shards of one input, all finished and in their order",
                code="E_RESULTS",
                expected="different pairs, and as many in each file, or one more in the first ones",
                found=f"{' + '.join(map(str, sizes))} records, {self.repeated} of them repeated",
                hint="name the input with --pairs to have its order, or leave --shards out",
            )
        for turn in range(sizes[0] if sizes else 0):
            yield from (self._places[order[turn]] for order in self._orders if turn < len(order))

    def bytes_of(self, place: Place) -> bytes:
        """The record as a line of JSONL."""
        part, file = self._parts[place.part], self._files[place.part]
        start = part.starts[place.line]
        if file.tell() != start:
            file.seek(start)
        line = file.read(part.starts[place.line + 1] - start)
        return line if line.endswith(b"\n") else line + b"\n"

    def read(self, place: Place) -> Outcome:
        """The record."""
        return parse_record(self.bytes_of(place))

    def join_hashes(self, path: str) -> None:
        """What is remembered of files beside the parts, joined: going on from the merged records reads none again."""
        for part in self._parts:
            with suppress(OSError), open(part.path + HASHES, "rb") as old, open(path, "ab") as new:
                shutil.copyfileobj(old, new)

    def _add(self, number: int) -> None:
        part = self._parts[number]
        order = []
        for name, line in part.lines():
            place = Place(number, line, part.failed(line))
            order.append(name)
            before = self._places.get(name)
            if before is not None:
                self._check(before, place)
                self.repeated += 1
            if before is None or before.failed or not place.failed:
                self._places[name] = place
        self._orders.append(order)

    def _check(self, one: Place, other: Place) -> None:
        """Whether two records of one id are of one pair.

        Raises:
            InputError: they are not (E_DUPLICATE).
        """
        keys = [self._parts[place.part].key_of(place.line) for place in (one, other)]
        if keys[0] == keys[1] is not None:
            return
        first, second = self.read(one), self.read(other)
        if _paths(first) != _paths(second):
            raise InputError(
                f"the id {first.id!r} stands for two pairs",
                code="E_DUPLICATE",
                file=self._parts[other.part].path,
                expected="one pair an id in all files",
                found=f"{_paths(first)[1]!r} in {self._parts[one.part].path!r}, {_paths(second)[1]!r} here",
                hint="give the pairs ids of their own, as a manifest can",
            )
        self.changed += None not in keys


def _paths(record: Outcome) -> tuple[str, str, str | None]:
    found = record.pair
    if isinstance(found, Pair):
        return found.source, found.edited, found.mask
    return found.source.path, found.edited.path, found.mask.path if found.mask else None
