"""Holes in place of edits: what everybody takes for ruined, and what no collection of real edits contains."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from piqa_cli.compact.measured import crop_numbers
from piqa_cli.training.cases import Cases, middle_of

U8 = NDArray[np.uint8]
WORST = 1.0
_PLAIN = ((0, 0, 0), (255, 255, 255), (128, 128, 128))


def dig(edited: U8, mask: U8, rng: np.random.Generator) -> U8:
    """The picture with its region painted over in one colour: black, white, grey or any.

    Args:
        edited: S x S x 3 uint8.
        mask: S x S uint8; from 128 it counts as edited.
        rng: chooses the colour.
    """
    which = int(rng.integers(len(_PLAIN) + 1))
    colour = np.array(_PLAIN[which]) if which < len(_PLAIN) else rng.integers(0, 256, 3)
    return np.where(mask[..., None] >= 128, colour, edited).astype(np.uint8)


def with_holes(cases: Cases, count: int, side: int, seed: int) -> Cases:
    """The edits, and behind them `count` of them once more with a hole each, harmony and naturalness rated worst.

    Args:
        cases: the edits. What changed in the whole picture stays as it was in those painted over, and unrated.
        count: how many get a hole; each at most once.
        side: of the crops that the network judges, the middle of `cases`' own.
        seed: of the choice and the colours.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(cases))[:count]
    part = Cases(**{field.name: getattr(cases, field.name)[chosen] for field in fields(Cases)})
    edited = np.stack([dig(*pictures, rng) for pictures in zip(part.edited, part.mask, strict=True)])
    middle = middle_of(edited.shape[1], side)
    judged = [pictures[:, middle, middle] for pictures in (part.source, edited, part.mask)]
    measured = np.stack(
        [
            crop_numbers(source, hole, mask.astype(np.float32) / np.float32(255))
            for source, hole, mask in zip(*judged, strict=True)
        ]
    )
    ratings = np.full_like(part.ratings, np.nan)
    ratings[:, :2] = WORST
    holes = replace(part, edited=edited, measured=measured, ratings=ratings, faults=np.full_like(part.faults, np.nan))
    both = {field.name: [getattr(lot, field.name) for lot in (cases, holes)] for field in fields(Cases)}
    return Cases(**{name: np.concatenate(arrays) for name, arrays in both.items()})
