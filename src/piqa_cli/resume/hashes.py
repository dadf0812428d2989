"""Content hashes of files, each file read once: remembered by path, size, time of change and inode.

The memory is a text file beside the results, `RESULTS.hashes`. It saves time and nothing else: without it, or with a
part of it, the files are read again. A line is the digest of a file's path, size, mtime and inode, and the SHA-256 of
its bytes. Of a URL it is what the server gives as an ETag, a checksum or a generation, in the place of the last three;
where it gives none, the file is read anew by each run.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections import deque
from contextlib import suppress
from functools import lru_cache

from piqa_cli.errors import PiqaError
from piqa_cli.remote import held, is_remote, read, tag

SUFFIX = ".hashes"
"""Of the file that remembers, behind the name of the results."""

_DIGEST, _SHA256 = 32, 64  # hexadecimal digits
_LINE = _DIGEST + 1 + _SHA256
_SETTLED_SECONDS = 2.0
"""A file changed less than this ago may change again without a new time of change (clocks of file systems tick slowly)
and is not remembered."""
_RECENT = 4096  # files whose hash is at hand within a run: sources with many edits, and the second look after decoding

Stamp = tuple[int, int, int]  # size in bytes, mtime in nanoseconds, inode


class FileHashes:
    """SHA-256 of files; safe to ask from several threads.

    Args:
        path: the file that remembers them; None: nothing is remembered beyond the run.
        recall: read it (about 200 bytes of memory a file); False for a run that has nothing to go on from.
    """

    def __init__(self, path: str | None = None, *, recall: bool = False) -> None:
        self.path = path
        self._known = _read(path) if recall and path is not None else {}
        self._folder = os.path.join(os.getcwd(), "")
        # Both are written in C: an interrupt can leave no lock of theirs behind (see `prefetch`).
        self._new: deque[bytes] = deque()
        self._recent = lru_cache(_RECENT)(self._find)

    def of(self, path: str) -> str | None:
        """The hash of a file's bytes, 64 hexadecimal digits; None if it cannot be read, or is no regular file."""
        if is_remote(path):
            return self._of_remote(path)
        try:
            stamp = _stamp(os.stat(path))
            return None if stamp is None else self._recent(path, stamp)
        except (OSError, ValueError):  # ValueError: text that no file name can hold
            return None

    def drain(self) -> bytes:
        """What was hashed since the last time, for `add` of another one."""
        return b"".join(self._new.popleft() for _ in range(len(self._new)))

    def add(self, lines: bytes) -> None:
        """Take over what another one hashed, to be saved with the rest."""
        if lines:
            self._new.append(lines)

    def save(self) -> None:
        """Remember what was hashed since the last time. A full disk costs the memory, not the run."""
        if self.path is None or not self._new:
            return
        lines = self.drain()
        with suppress(OSError), open(self.path, "ab") as file:
            file.write(lines)

    def _of_remote(self, url: str) -> str | None:
        """By what the server says changes with the bytes, if it says anything; else the file is read every time."""
        try:
            tagged = tag(url)
            name = None if tagged is None else _digest(f"{url}\0{tagged}")
            known = None if name is None else self._known.get(name)
            if known is None:
                fresh = not held(url)
                known = hashlib.sha256(read(url)).hexdigest()
                if (
                    name is not None and fresh and self.path is not None and tag(url) == tagged
                ):  # or it changed while it was read
                    self._known[name] = known
                    self._new.append(f"{name.hex()} {known}\n".encode("ascii"))
            return known
        except PiqaError:
            return None

    def _find(self, path: str, stamp: Stamp) -> str:
        name = self._name(path, stamp)
        return self._known.get(name) or self._hash(path, stamp, name)

    def _name(self, path: str, stamp: Stamp) -> bytes:
        where = path if os.path.isabs(path) else self._folder + path
        text = f"{where}\0{stamp[0]}\0{stamp[1]}\0{stamp[2]}"
        return _digest(text)

    def _hash(self, path: str, stamp: Stamp, name: bytes) -> str:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            unchanged = _stamp(os.fstat(file.fileno())) == stamp
        if unchanged and time.time() - stamp[1] / 1e9 > _SETTLED_SECONDS and self.path is not None:
            self._new.append(f"{name.hex()} {found}\n".encode("ascii"))
        return found


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=_DIGEST // 2).digest()


def _stamp(status: os.stat_result) -> Stamp | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _read(path: str) -> dict[bytes, str]:
    """What is remembered; torn lines are passed over."""
    known = {}
    with suppress(OSError), open(path, "rb") as file:
        for line in file:
            if len(line) == _LINE + 1 and line[_DIGEST] == ord(" "):
                with suppress(ValueError):  # other bytes than hexadecimal digits
                    known[bytes.fromhex(line[:_DIGEST].decode("ascii"))] = line[_DIGEST + 1 : _LINE].decode("ascii")
    return known
