"""Manifests: rows of source, edited, prompt, mask and id, from a file or a stream, as pairs.

Rows are read one at a time, so a million of them take little more memory than one (at most 64 bytes a row are
kept, to notice duplicates). A bad row is a `Failure` with its line number, and the rest goes on.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BytesIO
from itertools import chain
from typing import BinaryIO

from piqa_cli.errors import InputError
from piqa_cli.failures import refuse
from piqa_cli.pairs.rows import ACCEPTED, REQUIRED, Row, csv_rows, json_rows, not_a_manifest, read_lines, row_error
from piqa_cli.remote import MAX_LIST_BYTES, folder_of, is_remote, join, needs_network, read, refuse_offline
from piqa_cli.schema import Failure, Pair


def read_manifest(path: str, root: str | None = None, *, offline: bool = False) -> Iterator[Pair | Failure]:
    """The rows of a manifest file.

    `.jsonl`, `.ndjson` and `.csv` say what they are; other names are told by their first character. The header of
    a CSV names its columns in any order and case; comma, semicolon and tab are understood. Empty lines are passed
    over, other columns ignored. Text is UTF-8, with or without a byte-order mark.

    Args:
        path: the manifest.
        root: the folder that relative paths refer to; the manifest's own by default. Either may be a URL.
        offline: a manifest that needs the network is refused; its pairs are `confine`'s business.

    Raises:
        InputError: the file cannot be read, or is no manifest (E_MANIFEST).
    """
    return (item for _, item in read_manifest_rows(path, root, offline=offline))


def read_manifest_rows(
    path: str, root: str | None = None, *, offline: bool = False
) -> Iterator[tuple[Row, Pair | Failure]]:
    """As `read_manifest`, each pair with the row that it was made from: its cells as written, and further columns.

    Raises:
        InputError: as `read_manifest`.
    """
    if offline and needs_network(path):
        raise refuse_offline(path)
    away = is_remote(path)
    try:
        stream: BinaryIO = BytesIO(read(path, MAX_LIST_BYTES)) if away else open(path, "rb")  # noqa: SIM115 closed below
    except OSError as error:
        raise _unreadable(path, error) from error
    with stream:
        try:
            if root is None:
                root = folder_of(path) if away else os.path.dirname(path)
            yield from _read(stream, path, root, _suffix(path))
        except OSError as error:
            raise _unreadable(path, error) from error


def read_stream(stream: BinaryIO, root: str | None = None) -> Iterator[Pair | Failure]:
    """The rows of a JSON-lines stream, each as soon as its line is there.

    Args:
        stream: standard input.
        root: the folder that relative paths refer to; the current one by default.

    Raises:
        InputError: the stream is not UTF-8 text (E_MANIFEST).
    """
    return (item for _, item in _read(stream, "standard input", root or "", ".jsonl"))


def _read(stream: BinaryIO, name: str, root: str, suffix: str) -> Iterator[tuple[Row, Pair | Failure]]:
    lines = read_lines(stream, not_a_manifest(name))
    if suffix not in {".csv", ".jsonl", ".ndjson"}:
        first = next((line for line in lines if line.text is None or line.text.strip()), None)
        if first is None:
            return
        lines = chain([first], lines)
        suffix = ".jsonl" if (first.text or "").lstrip().startswith("{") else ".csv"
    check = _Checker(name, root)
    for row in csv_rows(lines, name) if suffix == ".csv" else json_rows(lines, name):
        yield row, check.pair(row)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


class DigestSet:
    """Which texts were seen, at 16 to 32 bytes each: an open-addressing table of 64-bit digests.

    Two of a million different texts share a digest with a probability of 3e-8.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, text: str) -> bool:
        """Remember a text; False if it was there."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if not self._insert(int.from_bytes(digest, "little") or 1):  # 0 marks a free place
            return False
        self._count += 1
        if 2 * self._count > len(self._table):
            old, self._table = self._table, array("Q", bytes(16 * len(self._table)))
            for value in old:
                if value:
                    self._insert(value)
        return True

    def _insert(self, value: int) -> bool:
        last = len(self._table) - 1
        place = value & last
        while self._table[place]:
            if self._table[place] == value:
                return False
            place = (place + 1) & last
        self._table[place] = value
        return True


@dataclass(slots=True)
class _Checker:
    """Rows to pairs: complete, openable, each only once."""

    name: str
    root: str
    ids: DigestSet = field(default_factory=DigestSet)
    pairs: DigestSet = field(default_factory=DigestSet)

    def pair(self, row: Row) -> Pair | Failure:
        """The pair of a row, or why there is none."""
        try:
            self._complete(row)
            pair = Pair(
                id=row.id or os.path.splitext(row.edited or "")[0],
                source=self._path(row.source or ""),
                edited=self._path(row.edited or ""),
                mask=None if row.mask is None else self._path(row.mask),
                prompt=row.prompt,
            )
            new = self.pairs.add("\0".join((pair.source, pair.edited, pair.mask or "", pair.prompt or "")))
            if row.id is None and not new:  # with an id of its own a repetition is meant, and can be told apart
                found = "the same source, edited, mask and prompt again"
                raise self._repeated(f"line {row.number} repeats an earlier pair", found)
            if self.ids.add(pair.id):
                return pair
            if row.id is not None:
                raise self._repeated(f"line {row.number} repeats an earlier id", f"the id {row.id!r} again")
            return pair.model_copy(update={"id": f"{pair.id}#{row.number}"})
        except InputError as error:
            known = row.id is not None and error.code != "E_DUPLICATE"
            return refuse(
                Pair(
                    id=(row.id or "") if known else f"line {row.number}",
                    source=row.source or "",
                    edited=row.edited or "",
                    mask=row.mask,
                    prompt=row.prompt,
                ),
                error,
            )

    def _complete(self, row: Row) -> None:
        if row.problem is not None:
            raise row.problem
        for column, cell in (("source", row.source), ("edited", row.edited), ("mask", row.mask)):
            if cell is None and column in REQUIRED:
                raise row_error(self.name, row.number, f"nothing as {column}", f"give the path of the {column} image")
            if cell is not None and not _openable(cell):
                raise row_error(
                    self.name, row.number, f"{column} {cell!r}", "give a path that the file system can hold"
                )

    def _path(self, cell: str) -> str:
        if is_remote(cell) or is_remote(self.root):
            return join(self.root, cell)
        path = os.path.join(self.root, cell)
        return "./-" if path == "-" else path  # a file of that name; "-" alone would be standard input

    def _repeated(self, what: str, found: str) -> InputError:
        return InputError(
            what,
            code="E_DUPLICATE",
            file=self.name,
            expected="each id once, and each pair once or under ids of its own",
            found=found,
            hint="remove the row, or give it an id of its own",
        )


def _openable(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _unreadable(path: str, error: OSError) -> InputError:
    code = "E_NOT_FOUND" if isinstance(error, FileNotFoundError) else "E_MANIFEST"
    if isinstance(error, PermissionError):
        code = "E_PERMISSION"
    reason = error.strerror or type(error).__name__
    return InputError(
        "the manifest cannot be read",
        code=code,
        file=path,
        expected=ACCEPTED,
        found=reason.lower(),
        hint="check the path",
    )
