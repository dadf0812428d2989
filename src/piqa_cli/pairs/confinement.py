"""`--root`: what a manifest, a label file or a request may name lies under one folder, wherever links lead.

A path is followed to its end when its pair is read, just before it is opened, and again by nobody: who may write into
the folder can put a link in the place of a file in between. Nor is a hard link anything but a file of the folder it is
in. Where others may write, do what the system offers for that: a container, a mount, a user of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from piqa_cli.errors import InputError
from piqa_cli.failures import refuse
from piqa_cli.schema import Failure, Pair

P = TypeVar("P", bound=Pair)


def confine(items: Iterable[P | Failure], root: str) -> Iterator[P | Failure]:
    """The items in their order; a pair with a path that leads out of a folder is a failure (E_OUTSIDE) in its place.

    Args:
        items: pairs, and what passes.
        root: the folder; of one that is not there nothing is within.
    """
    real = os.path.realpath(root)
    return (_confined(item, root, real) for item in items)


def _confined(item: P | Failure, root: str, real: str) -> P | Failure:
    if isinstance(item, Failure):
        return item
    for role, path in (("source", item.source), ("edited", item.edited), ("mask", item.mask)):
        if path is not None and not _is_within(path, real):
            pair = Pair(**{name: getattr(item, name) for name in Pair.model_fields})
            return refuse(pair, _outside(role, path, root))
    return item


def _is_within(path: str, real: str) -> bool:
    try:
        return os.path.commonpath([real, os.path.realpath(path)]) == real
    except (OSError, ValueError):  # text that no path can be, another drive: reading it will say so, or never happens
        return False


def _outside(role: str, path: str, root: str) -> InputError:
    return InputError(
        f"the {role} is not under the folder that files may be read from",
        code="E_OUTSIDE",
        file=path,
        expected=f"a path that stays under {root!r}, links followed",
        found="one that leads out of it",
        hint="move the file there, or give another --root",
    )
