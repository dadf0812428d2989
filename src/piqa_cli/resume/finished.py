"""Which records a JSONL file of results holds: an index of its lines by the pairs' ids.

The index takes about 250 bytes a record. The records themselves stay on disk.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b
from operator import itemgetter
from typing import BinaryIO, get_args

from piqa_cli.resume.key import KEY_LENGTH
from piqa_cli.schema import Failure, SchemaVersion
from piqa_cli.writers import cannot_read, not_a_record, parse_record, record_lines

# How a line begins that piqa wrote for an assessed pair. To parse all of it would take ten times as long, and it is as
# piqa wrote it: rows are appended whole, and only the last one can be torn.
_HEAD = re.compile(
    rb'\{"schema_version": "([\d.]+)", "status": "ok", "id": ("(?:[^"\\]|\\.)*"), "key": (?:"([0-9a-f]{%d})"|null), '
    % KEY_LENGTH
)
_VERSIONS = frozenset(version.encode() for version in get_args(SchemaVersion))
_KEY_BYTES = KEY_LENGTH // 2
_NO_KEY = bytes(_KEY_BYTES)
_OK, _FAILED, _SUPERSEDED = 0, 1, 2


class FinishedRows:
    """The index of a file. Of several records with one id the last counts.

    Args:
        path: the file.
        on_warning: told in a sentence of a torn last line, as a killed run leaves it.

    Attributes:
        starts: where each line begins, in bytes, and at last where the whole lines end; what is behind is torn.
        unended: the last line is whole, and only its end of line is lacking.

    Raises:
        InputError: the file cannot be read, or a whole line is not a record (E_RESULTS).
    """

    def __init__(self, path: str, on_warning: Callable[[str], None]) -> None:
        self.path = path
        self.starts = array("Q", [0])
        self.unended = False
        self._states = bytearray()
        self._keys = bytearray()
        self._lines: dict[bytes, int] = {}
        try:
            with open(path, "rb") as file:
                self._index(file, on_warning)
        except OSError as error:
            raise cannot_read(path, error) from error

    def __len__(self) -> int:
        return len(self._states)

    def line_of(self, identifier: str) -> int | None:
        """The line of a pair's record, counted from 0; None if there is none."""
        return self._lines.get(digest(identifier))

    def lines(self) -> Iterator[tuple[bytes, int]]:
        """The `digest` of every id and the line of its record, in the order of the lines."""
        return iter(sorted(self._lines.items(), key=itemgetter(1)))

    def key_of(self, line: int) -> str | None:
        """The key of a line's record; None if it has none."""
        stored = bytes(self._keys[line * _KEY_BYTES : (line + 1) * _KEY_BYTES])
        return None if stored == _NO_KEY else stored.hex()

    def failed(self, line: int) -> bool:
        """Whether the record is of a pair that failed."""
        return self._states[line] == _FAILED

    def counts(self, line: int) -> bool:
        """Whether no later line has taken its place."""
        return self._states[line] != _SUPERSEDED

    def _index(self, file: BinaryIO, on_warning: Callable[[str], None]) -> None:
        for line in record_lines(file, self.path):
            try:
                self._add(line)
            except ValueError as error:
                if line.endswith(b"\n"):
                    raise not_a_record(self.path, len(self) + 1, error) from error
                on_warning(f"{self.path}: line {len(self) + 1} is torn and was dropped")
                return
            self.starts.append(self.starts[-1] + len(line))
            self.unended = not line.endswith(b"\n")

    def _add(self, line: bytes) -> None:
        if not line.strip():
            self._states.append(_SUPERSEDED)
            self._keys += _NO_KEY
            return
        identifier, key, state = _read(line)
        before = self._lines.get(digest(identifier))
        if before is not None:
            self._states[before] = _SUPERSEDED
        self._lines[digest(identifier)] = len(self)
        self._states.append(state)
        self._keys += bytes.fromhex(key) if key else _NO_KEY


def _read(line: bytes) -> tuple[str, str | None, int]:
    """Id, key and state of a line.

    Raises:
        ValueError: it is not a record, or torn.
    """
    head = _HEAD.match(line)
    # A power failure can leave zeros where a page was not written any more.
    if head and line.endswith(b"}\n") and head[1] in _VERSIONS and b"\0" not in line:
        return json.loads(head[2]), head[3].decode() if head[3] else None, _OK
    record = parse_record(line)
    return record.id, record.key, _FAILED if isinstance(record, Failure) else _OK


def digest(identifier: str) -> bytes:
    """What the index knows an id by."""
    return blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=16).digest()
