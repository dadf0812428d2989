"""Cases made of seeds by a seeded random generator: the same cases on every machine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 0.5, -1e-300, 1e308, 2**31, 2**63, 10**20, float("nan"), float("inf")),
    *("", "x", "\ud800", "=1+1", "\x1b[2J", "-", "..", "ok", "error"),
    *([], {}, [0, 0, 1, 1], [[]], {"size": [1, 1], "counts": "1"}),
)
_MOST_EDITS = 6
_MOST_BYTES = 1 << 16


def mutants(seeds: Sequence[bytes], words: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Cases without end: the seeds themselves first, then seeds with one to six things wrong with them.

    Args:
        seeds: what a reader accepts.
        words: pieces that mean something to it.
        seed: of the random generator.
    """
    yield from seeds
    draw = random.Random(seed)
    while True:
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.choice((1, 1, 1, 2, 3, _MOST_EDITS))):
            draw.choice(_EDITS)(data, draw, words or (b"\0",), seeds)
        yield bytes(data[:_MOST_BYTES])


def _flip(data: bytearray, draw: random.Random, *_: Sequence[bytes]) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _set(data: bytearray, draw: random.Random, *_: Sequence[bytes]) -> None:
    if data:
        data[draw.randrange(len(data))] = draw.randrange(256)


def _number(data: bytearray, draw: random.Random, *_: Sequence[bytes]) -> None:
    """A number of two or four bytes, either way round, at the edge of its range; most often near the head."""
    if len(data) >= 8:
        size = draw.choice((2, 4))
        at = draw.randrange(min(len(data) - 4, draw.choice((64, len(data) - 3))))
        data[at : at + size] = (draw.choice(_NUMBERS) % (1 << 8 * size)).to_bytes(size, draw.choice(("little", "big")))


def _cut(data: bytearray, draw: random.Random, *_: Sequence[bytes]) -> None:
    del data[draw.randrange(len(data) + 1) :]


def _remove(data: bytearray, draw: random.Random, *_: Sequence[bytes]) -> None:
    at = draw.randrange(len(data) + 1)
    del data[at : at + draw.randrange(1, 40)]


def _repeat(data: bytearray, draw: random.Random, *_: Sequence[bytes]) -> None:
    at = draw.randrange(len(data) + 1)
    piece = data[at : at + draw.randrange(1, 200)]
    data[at:at] = piece * draw.choice((1, 2, 30))


def _insert(data: bytearray, draw: random.Random, words: Sequence[bytes], _: Sequence[bytes]) -> None:
    at = draw.randrange(len(data) + 1)
    data[at:at] = draw.choice(words) * draw.choice((1, 1, 1, 2, 500))


def _overwrite(data: bytearray, draw: random.Random, words: Sequence[bytes], _: Sequence[bytes]) -> None:
    word, at = draw.choice(words), draw.randrange(len(data) + 1)
    data[at : at + len(word)] = word


def _noise(data: bytearray, draw: random.Random, *_: Sequence[bytes]) -> None:
    at = draw.randrange(len(data) + 1)
    data[at : at + draw.randrange(1, 40)] = draw.randbytes(draw.randrange(1, 40))


def _splice(data: bytearray, draw: random.Random, _: Sequence[bytes], seeds: Sequence[bytes]) -> None:
    other, at = draw.choice(seeds), draw.randrange(len(data) + 1)
    data[at:] = other[draw.randrange(len(other) + 1) :]


def _value(data: bytearray, draw: random.Random, *_: Sequence[bytes]) -> None:
    """One value of a line of JSON in the place of another: what is wrong then is the meaning, not the writing."""
    lines = bytes(data).split(b"\n")
    at = draw.randrange(len(lines))
    try:
        value = json.loads(lines[at])
        places = list(_places(value))
        if places:
            holder, key = draw.choice(places)
            holder[key] = draw.choice((*_VALUES, draw.choice(places)[0]))
            lines[at] = json.dumps(value).encode()
    except (ValueError, RecursionError):
        return
    data[:] = b"\n".join(lines)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place within a value, as what holds it and its key there."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner)


_EDITS: tuple[Callable[[bytearray, random.Random, Sequence[bytes], Sequence[bytes]], None], ...] = (
    _flip,
    _set,
    _number,
    _cut,
    _remove,
    _repeat,
    _insert,
    _overwrite,
    _noise,
    _splice,
    _value,
    _value,  # twice: without it most cases are no JSON any more
)
