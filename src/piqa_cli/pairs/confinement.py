"""`--root`: what a manifest, a label file or a request may name lies under one folder, wherever links lead.

A URL never does. A path is followed to its end when its pair is read, just before it is opened, and again by nobody:
who may write into the folder can put a link in the place of a file in between. Nor is a hard link anything but a file
of the folder it is in. Where others may write, do what the system offers for that: a container, a mount, a user of its
own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from piqa_cli.errors import InputError
from piqa_cli.failures import refuse
from piqa_cli.remote import is_remote, needs_network, refuse_offline
from piqa_cli.schema import Failure, Pair

P = TypeVar("P", bound=Pair)


def confine(items: Iterable[P | Failure], root: str | None, *, offline: bool) -> Iterator[P | Failure]:
    """The items in their order; a pair that may not be read is a failure in its place.

    It may not if a path of it leads out of a folder (E_OUTSIDE), or offline, if it is a URL of the network (E_OFFLINE).

    Args:
        items: pairs, and what passes.
        root: the folder, of which nothing is within if it is not there; None: paths may lead anywhere.
        offline: whether the network is not to be used.
    """
    real = None if root is None else os.path.realpath(root)
    return (_confined(item, root or "", real, offline) for item in items)


def _confined(item: P | Failure, root: str, real: str | None, offline: bool) -> P | Failure:
    if isinstance(item, Failure):
        return item
    for role, path in (("source", item.source), ("edited", item.edited), ("mask", item.mask)):
        if path is None:
            continue
        error = refuse_offline(path) if offline and needs_network(path) else None
        if real is not None and not _is_within(path, real):
            error = _outside(role, path, root)
        if error is not None:
            pair = Pair(**{name: getattr(item, name) for name in Pair.model_fields})
            return refuse(pair, error)
    return item


def _is_within(path: str, real: str) -> bool:
    if is_remote(path):
        return False
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
