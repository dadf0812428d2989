"""Bytes to a stream or a file, so that what stands in a file is whole rows whatever goes wrong."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from typing import IO, Any

from piqa_cli.errors import OutputError

Stream = IO[bytes] | IO[str]

_STANDARD_STREAMS = (1, 2)


class Sink:
    """Writes rows to a stream or a file: all of a row or, where it is a file, none of it.

    Goes below Python's buffers: after a failed write nothing may linger there and be written later.

    Args:
        target: a path, created or overwritten and closed with the sink; or an open stream, left open.

    Raises:
        OutputError: the path cannot be opened.
    """

    def __init__(self, target: str | Stream) -> None:
        self._owned = isinstance(target, str)
        self.stream: Stream
        if isinstance(target, str):
            self.name = target
            try:
                self.stream = open(target, "wb", buffering=0)  # noqa: SIM115 - closed by close()
            except OSError as error:
                raise cannot_write(self.name, error) from error
        else:
            name = getattr(target, "name", None)
            self.name = name if isinstance(name, str) and not name.startswith("<") else "standard output"
            self.stream = target
        self._raw, self._is_text = _below_buffers(self.stream)
        self._fd = _regular_file(self._raw)
        self._end = 0 if self._fd is None else os.lseek(self._fd, 0, os.SEEK_END)
        # What others write to a standard stream must not be cut off, so there the tail waits for close().
        self._tail_in_place = self._fd is not None and self._fd not in _STANDARD_STREAMS
        self._tail = b""
        self._failed = False
        self._closed = False

    def write(self, text: str, *, tail: str = "", encoding: str = "utf-8") -> None:
        """Append text. `tail` ends the output if nothing comes after it; the next write replaces it.

        Raises:
            OutputError: it could not be written; the file ends with the row before.
            BrokenPipeError: the reader went away.
        """
        data = text.encode(encoding, "backslashreplace")  # bytes of a path that are not UTF-8: \\udce9
        old_tail, self._tail = self._tail, tail.encode(encoding)
        try:
            if self._tail_in_place:
                self._truncate()
                self._write_all(data + self._tail)
            else:
                self._write_all(data)
        except BaseException as error:
            self._failed, self._tail = True, old_tail
            self._roll_back()
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                raise cannot_write(self.name, error) from error
            raise
        self._end += len(data)

    def close(self) -> None:
        """Write the tail and close what the sink opened; quiet about errors if a write failed before.

        Raises:
            OutputError, BrokenPipeError: as `write`.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._tail and not self._tail_in_place:
                self._write_all(self._tail)
        except OSError as error:
            if not self._failed:
                self._failed = True
                if isinstance(error, BrokenPipeError):
                    raise
                raise cannot_write(self.name, error) from error
        finally:
            if self._owned:
                self._close_file()

    def _close_file(self) -> None:
        try:
            self.stream.close()
        except OSError as error:  # some file systems report a full disk only now
            if not self._failed:
                raise cannot_write(self.name, error) from error

    def _write_all(self, data: bytes) -> None:
        if self._is_text:
            self._raw.write(data.decode())
            self._raw.flush()
            return
        view = memoryview(data)
        while view:
            count = self._raw.write(view)
            if count is None:  # a pipe set to non-blocking is full
                time.sleep(0.01)
            else:
                view = view[count:]
        self._raw.flush()

    def _truncate(self) -> None:
        if self._fd is not None:
            os.ftruncate(self._fd, self._end)
            os.lseek(self._fd, self._end, os.SEEK_SET)

    def _roll_back(self) -> None:
        try:
            self._truncate()
            if self._tail_in_place and self._tail:
                self._write_all(self._tail)
        except OSError:
            pass  # the error that brought us here is the one to report


def write_text(path: str, text: str) -> None:
    """A whole file, in UTF-8; one that is there is overwritten.

    Raises:
        OutputError: it cannot be written.
    """
    sink = Sink(path)
    try:
        sink.write(text)
    finally:
        sink.close()


def _below_buffers(stream: Stream) -> tuple[Any, bool]:
    """The stream to write to under Python's buffers, and whether it only takes text (a `StringIO`)."""
    stream.flush()
    buffer = getattr(stream, "buffer", None)
    if buffer is None and isinstance(stream, io.TextIOBase):
        return stream, True
    raw = getattr(buffer or stream, "raw", None)
    return raw or buffer or stream, False


def _regular_file(raw: Any) -> int | None:
    """The descriptor, if it is a file on disk, which can be cut back to its last whole row."""
    try:
        descriptor: int = raw.fileno()
    except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
        return None
    return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def cannot_write(name: str, error: OSError) -> OutputError:
    """What a failed write amounts to, with what helps."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return OutputError(
        f"cannot write results: {error.strerror or error}",
        file=name,
        expected="a place that can be written to",
        found=error.strerror or str(error),
        hint="make room and run again; the rows written so far are whole" if full else "choose another --output",
    )
