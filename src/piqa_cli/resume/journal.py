"""The JSONL file of a batch: each record appended when it is done, and in the input's order when all are.

A record is with the system as soon as it is written, so a killed process loses none; every `SYNC_SECONDS` the file is
also forced to the disk, so a power failure loses little. While a resumed run goes on, new records stand behind the old
ones. When the input has come to its end, and only if the order then is not the input's, the file is written anew beside
the old one and takes its place in one step.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain

from piqa_cli.resume.finished import FinishedRows
from piqa_cli.resume.hashes import FileHashes
from piqa_cli.resume.memory import Known
from piqa_cli.schema import Assessment, Outcome, Pair, PairInfo
from piqa_cli.writers import cannot_write, open_writer, parse_record, replacement, to_json

SYNC_SECONDS = 5.0
"""With the first record after so many seconds the file is forced to the disk, and at the end."""

_CHUNK = 1 << 20


class Journal:
    """Where a batch's records go. A context manager that closes the file.

    Args:
        path: the file; created, or emptied if there is no `before`.
        before: the records to go on from. Its torn last line is cut off.
        hashes: saved whenever the records are.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: str, before: FinishedRows | None = None, hashes: FileHashes | None = None) -> None:
        self.path = path
        self._before = before
        self._hashes = hashes or FileHashes()
        self._starts = array("Q", [0]) if before is None else before.starts
        self._met = bytearray(len(before or ()))  # lines of pairs that this input has
        self._order = array("Q")  # lines in the input's order
        self._early: dict[str, int] = {}  # id -> line of records whose turn in that order has not come
        self._at = 0  # where the reading of earlier records stands
        try:
            self._file = open(path, "wb" if before is None else "r+b", buffering=0)  # noqa: SIM115 - closed by close()
            self._reading = open(path, "rb", buffering=_CHUNK)  # noqa: SIM115 - closed by close()
            self._file.truncate(self._starts[-1])
            self._file.seek(0, os.SEEK_END)
            if before is not None and before.unended:
                self._starts[-1] += self._file.write(b"\n")
        except OSError as error:
            raise cannot_write(path, error) from error
        self._writer = open_writer("jsonl", self._file)
        self._synced = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def rows(self) -> int:
        """How many pairs of this input have a record in the file."""
        return len(self._order)

    def write(self, outcome: Outcome) -> None:
        """Append a record, unless it is the one there was: a pair that failed again in the same way.

        Raises:
            OutputError: it cannot be written; the records before it are intact.
        """
        line = self._early.pop(outcome.id, None)
        self._order.append(self._append(outcome) if line is None else line)

    def write_early(self, outcome: Outcome) -> int:
        """Append a record whose turn has not come: `write` takes it when it has. Gives its line, for `read_line`.

        Raises:
            OutputError: as `write`.
        """
        self._early[outcome.id] = line = self._append(outcome)
        return line

    def keep(self, known: Known) -> None:
        """Take over the record of a pair. If its files have other paths now, a copy with these is appended.

        Raises:
            OutputError: as `write`.
        """
        line = self._bytes_of(known.line)
        if _names(known.pair, line):
            self._met[known.line] = True
            self._order.append(known.line)
            return
        record = parse_record(line)
        self.write(_renamed(record, known.pair))

    def read(self, known: Known) -> Outcome:
        """The record of a pair."""
        return self.read_line(known.line)

    def read_line(self, line: int) -> Outcome:
        """The record in a line."""
        return parse_record(self._bytes_of(line))

    def settle(self) -> int:
        """Brings the file into the order of the input, which has come to its end, and closes it.

        Each pair of the input then has one record. Records of pairs that the input does not have follow behind, in the
        order they had: what was paid for is not thrown away.

        Returns:
            How many these are.

        Raises:
            OutputError: there is no room; the file is as it was, with records that were replaced still in it.
        """
        others = [line for line in range(len(self._met)) if not self._met[line] and self._counts(line)]
        self.close()
        ranges = list(_ranges(chain(self._order, others)))
        if ranges not in ([], [(0, len(self._starts) - 1)]):
            with replacement(self.path) as new, open(self.path, "rb") as old:
                for first, last in ranges:
                    old.seek(self._starts[first])
                    left = self._starts[last] - self._starts[first]
                    while left and (data := old.read(min(left, _CHUNK))):
                        left -= new.write(data)
        return len(others)

    def close(self) -> None:
        """Force everything to the disk and close the file. A second call does nothing.

        Raises:
            OutputError: some file systems report a full disk only now.
        """
        if self._file.closed:
            return
        try:
            self._sync()
            self._file.close()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        finally:
            self._reading.close()
            self._file.close()

    def _append(self, outcome: Outcome) -> int:
        line = None if self._before is None else self._before.line_of(outcome.id)
        if line is not None:
            self._met[line] = True
            if outcome.status == "error" and self._bytes_of(line) == to_json(outcome).encode() + b"\n":
                return line
        self._writer.write(outcome)
        self._starts.append(self._file.tell())
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self._sync()
        return len(self._starts) - 2

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._hashes.save()
        self._synced = time.monotonic()

    def _counts(self, line: int) -> bool:
        return self._before is not None and self._before.counts(line)

    def _bytes_of(self, line: int) -> bytes:
        start, end = self._starts[line], self._starts[line + 1]
        if start != self._at:  # a seek throws away what was read ahead, and most lines are asked for in their order
            self._reading.seek(start)
        self._at = end
        return self._reading.read(end - start)


def _names(pair: Pair, line: bytes) -> bool:
    """Whether the record names the pair's files as they are named now."""
    # Quotes within texts are escaped in JSON, so such a piece can only be what it looks like. Parsing takes 30 times
    # as long, and is left to lines that something else has written.
    looked_for = [b'"%b": {"path": %b, "width": ' % part for part in _paths(pair)]
    if all(piece in line for piece in looked_for) and (pair.mask is not None or b'"mask": null, ' in line):
        return True
    found = parse_record(line).pair
    return found == pair if isinstance(found, Pair) else _paths(found) == _paths(pair)


def _paths(pair: Pair | PairInfo) -> list[tuple[bytes, bytes]]:
    """Role and path, as JSON has them, of the files that there are."""
    found = []
    for role in ("source", "edited", "mask"):
        file = getattr(pair, role)
        if file is not None:
            found.append((role.encode(), json.dumps(file if isinstance(pair, Pair) else file.path).encode()))
    return found


def _renamed(record: Outcome, pair: Pair) -> Outcome:
    if not isinstance(record, Assessment):
        return record.model_copy(update={"pair": pair})
    found = record.pair
    info = found.model_copy(
        update={
            "source": found.source.model_copy(update={"path": pair.source}),
            "edited": found.edited.model_copy(update={"path": pair.edited}),
            "mask": found.mask.model_copy(update={"path": pair.mask}) if found.mask else None,
        }
    )
    return record.model_copy(update={"pair": info})


def _ranges(lines: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Lines as (first, last + 1) of those that follow each other."""
    first = last = -1
    for line in lines:
        if line != last:
            if last > first:
                yield first, last
            first = line
        last = line + 1
    if last > first:
        yield first, last
