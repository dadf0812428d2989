"""Where a report's pictures are kept: within the page as data URIs, or in a folder beside it; each only once."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from threading import Lock
from typing import Final

from piqa_cli.errors import OutputError

# Named by their content: a report that is written anew cannot change the pictures of the old page before it is there.
_NAME: Final = re.compile(r"[0-9a-f]{24}\.webp(\.part)?")


class PictureStore(ABC):
    """Takes pictures, from several threads at once, and gives each a place in the page's list."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._lock = Lock()

    def put(self, picture: bytes) -> int:
        """The picture's place in the list; the same picture has one place.

        Raises:
            OutputError: it cannot be written.
        """
        digest = hashlib.sha256(picture).digest()[:12]
        with self._lock:
            if digest in self._places:
                return self._places[digest]
            self._keep(digest.hex(), picture)
            return self._places.setdefault(digest, len(self._places))

    @property
    @abstractmethod
    def sources(self) -> list[str]:
        """What the page's images have as their source, by place; a name in the folder or a data URI."""

    @abstractmethod
    def _keep(self, name: str, picture: bytes) -> None: ...


class EmbeddedPictures(PictureStore):
    """In the page itself."""

    def __init__(self) -> None:
        super().__init__()
        self._uris: list[str] = []

    @property
    def sources(self) -> list[str]:
        """Data URIs."""
        return self._uris

    def _keep(self, name: str, picture: bytes) -> None:
        self._uris.append("data:image/webp;base64," + base64.b64encode(picture).decode("ascii"))


class PictureFolder(PictureStore):
    """In a folder, which is made with the first picture."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._made: list[str] = []  # what was not there before
        self._given_up = False

    @property
    def sources(self) -> list[str]:
        """Names in the folder."""
        return [digest.hex() + ".webp" for digest in self._places]

    def _keep(self, name: str, picture: bytes) -> None:
        path = os.path.join(self._folder, name + ".webp")
        if self._given_up:  # by the main thread, while this one was at work
            return
        try:
            os.makedirs(self._folder, exist_ok=True)
            if not os.path.exists(path):
                self._made.append(path)
                write_whole(path, picture)
        except OSError as error:
            raise cannot_write(path, error) from error

    def discard(self) -> None:
        """Takes away what this report has added to the folder."""
        self._given_up = True
        remove_pictures(self._folder, only={os.path.basename(path) for path in self._made})


def remove_pictures(folder: str, *, only: set[str] | None = None, but: set[str] | None = None) -> None:
    """Removes a report's pictures from a folder, and the folder if nothing else is in it; other files stay.

    Args:
        folder: may be missing.
        only: names to remove; all that are a report's pictures by default.
        but: names to keep.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if _NAME.fullmatch(name) and (only is None or name in only) and (but is None or name not in but):
            with suppress(OSError):
                os.remove(os.path.join(folder, name))
    with suppress(OSError):  # fails while anything is in it
        os.rmdir(folder)


def write_whole(path: str, data: bytes) -> None:
    """Writes a file that is there whole or not at all.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    part = f"{path}.part"
    try:
        with open(part, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.remove(part)
        raise


def cannot_write(path: str, error: OSError) -> OutputError:
    """The error that a part of the report cannot be written."""
    return OutputError(
        f"cannot write the report: {error.strerror or error}",
        file=path,
        expected="a place that can be written to",
        found=error.strerror or str(error),
        hint="make room, or choose another place; `piqa report` makes the page again from the records",
    )
