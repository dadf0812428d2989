"""Things known of edited images, found by the image's name: as a path, an id or a stem tells it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from typing import Generic, TypeVar

from piqa_cli.pairs.epaiqa import match_key

T = TypeVar("T")


class Names(Generic[T]):
    """Things by the name of an edited file: found by a path, else by an id, else by the stem of either.

    Quotes and Unicode forms do not count (`match_key`). A name that says a folder matches only a path in it.
    """

    def __init__(self, named: Iterable[tuple[str, T]]) -> None:
        self._by_name = defaultdict[str, list[tuple[str, T]]](list)
        self._by_stem = defaultdict[str, list[tuple[str, T]]](list)
        for name, thing in named:
            key = match_key(name)
            self._by_name[_base(key)].append((key, thing))
            self._by_stem[_base(os.path.splitext(key)[0])].append((os.path.splitext(key)[0], thing))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._by_name)

    def find(self, path: str, identifier: str) -> T | None:
        """What belongs to the edited image of this path and id; None where nothing or more than one thing fits."""
        path, identifier = match_key(path), match_key(identifier)
        for table, name in (
            (self._by_name, path),
            (self._by_name, identifier),
            (self._by_stem, identifier),
            (self._by_stem, os.path.splitext(path)[0]),
        ):
            fits = [thing for key, thing in table.get(_base(name), ()) if f"/{name}".endswith(f"/{key}")]
            if len(fits) == 1:
                return fits[0]
        return None


def _base(name: str) -> str:
    return name.rsplit("/", 1)[-1]
