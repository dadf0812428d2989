"""The edit families, one a file, in one list."""

from __future__ import annotations

from piqa_cli.synthesis.canvas import Family
from piqa_cli.synthesis.families import (
    blocking,
    colour,
    copy_move,
    exposure,
    fill,
    garble,
    ghost,
    inpaint,
    noise,
    paint,
    paste,
    recolour,
    regenerate,
    repetition,
    seam,
    sharpness,
    smear,
    warp,
)  # fmt: skip

FAMILIES: tuple[Family, ...] = (
    paste.FAMILY,
    copy_move.FAMILY,
    fill.FAMILY,
    inpaint.FAMILY,
    paint.FAMILY,
    regenerate.FAMILY,
    recolour.FAMILY,
    exposure.FAMILY,
    colour.FAMILY,
    noise.FAMILY,
    sharpness.FAMILY,
    seam.FAMILY,
    smear.FAMILY,
    blocking.FAMILY,
    warp.FAMILY,
    ghost.FAMILY,
    repetition.FAMILY,
    garble.FAMILY,
)

CONTENT_FAMILIES: tuple[Family, ...] = tuple(family for family in FAMILIES if family.content)


def find_family(name: str) -> Family:
    """The family of that name.

    Raises:
        KeyError: there is none.
    """
    for family in FAMILIES:
        if family.name == name:
            return family
    raise KeyError(f"{name!r} is not an edit family; there are: {', '.join(family.name for family in FAMILIES)}")
