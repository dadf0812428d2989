"""One writer at a time for a file of results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from piqa_cli.errors import OutputError
from piqa_cli.writers import cannot_write

SUFFIX = ".lock"


@contextmanager
def only_writer(path: str) -> Iterator[None]:
    """Holds `path` + ".lock" for as long as the results are written.

    The system holds the lock, not the file's being there: a process that is killed leaves the file behind, and nobody
    is locked out. (Only where a file system has no locks does the file itself stand for one.)

    Raises:
        OutputError: another process holds it, or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path + SUFFIX, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            "another piqa is writing these results",
            file=path,
            expected="one writer at a time",
            found=f"a lock on {path + SUFFIX}",
            hint="wait for it to end, or choose another --output (with shards, one for each)",
        ) from error
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file; it does no harm there either
            os.unlink(lock.lock_file)  # while it is held: who opened it meanwhile finds it gone, and tries again
        lock.release()
