"""Colours and words of the drawing; the report's page has the same ones."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from piqa_cli.schema import Kind

Colour = tuple[int, int, int]

# Okabe and Ito's colours, told apart with any kind of colour vision; the numbers say the same again.
COLOURS: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
# Black over purple and orange to yellow, lighter at every step, so that lightness alone tells the order
# (after matplotlib's inferno): probabilities 0, 1/8 ... 1.
HEAT_COLOURS: Final[tuple[Colour, ...]] = (
    (0, 0, 0),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)
KINDS: Final[dict[Kind, str]] = {
    Kind.LOCAL: "local edit",
    Kind.GLOBAL: "change of the whole picture",
    Kind.NONE: "no change",
    Kind.DIFFERENT: "a different picture",
}
BACKGROUND: Final[Colour] = (24, 24, 24)
TEXT: Final[Colour] = (240, 240, 240)
FAINT: Final[Colour] = (170, 170, 170)
TRACK: Final[Colour] = (62, 62, 62)  # of a score's bar; the interval on it is lighter, and the value TEXT
INTERVAL: Final[Colour] = (125, 125, 125)


def colour_of(number: int) -> Colour:
    """The colour of the region with this number, counted from 1."""
    return COLOURS[(number - 1) % len(COLOURS)]


def ramp(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """The map's colours: any shape of probabilities in 0..1 to that shape x 3, in 0..255."""
    steps = np.linspace(0, 1, len(HEAT_COLOURS))
    return np.stack([np.interp(probability, steps, channel) for channel in zip(*HEAT_COLOURS, strict=True)], axis=-1)
