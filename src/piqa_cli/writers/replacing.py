"""Files that change in one step: whoever looks sees the old one or the new one, whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from piqa_cli.writers.sink import cannot_write

SUFFIX = ".part"


@contextmanager
def replacement(path: str) -> Iterator[BinaryIO]:
    """A new file to write to; it takes the place of `path` when the block ends, and is forced to the disk before.

    It lies beside it as `path` + ".part", since only within a file system can a file take another's place in one step.
    After an error or an interrupt it is gone and `path` is as it was. One that a killed process left is written over:
    whoever calls this is the only writer (`resume.only_writer`).

    Raises:
        OutputError: it cannot be written.
    """
    target = os.path.realpath(path)  # or a link would be replaced by a file
    part = target + SUFFIX
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):
            shutil.copymode(target, part)
        os.replace(part, target)
        _sync_folder(os.path.dirname(target))
    except BaseException as error:
        with suppress(OSError):
            os.unlink(part)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def _sync_folder(folder: str) -> None:
    """Force the new name to the disk too; Windows cannot open a folder, and needs not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
