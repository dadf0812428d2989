"""Removal by a painting network of ours; worse: a network from earlier in its training, which smears more."""

from __future__ import annotations

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.exemplar import fill_hole
from piqa_cli.synthesis.pixels import F32, U8, Mask, Rng, to_float


def _paint(rng: Rng, canvas: Canvas) -> U8:
    feather = float(rng.uniform(1, 2.5))
    clean = fill_hole(rng, canvas.picture, canvas.mask)
    return canvas.put(_on_ladder(clean, canvas.picture, canvas.mask, canvas.severity), feather=feather)


def _on_ladder(clean: F32, picture: U8, hole: Mask, severity: float) -> F32:
    """Between the clean fill (0), the best network and, in even steps, the earliest one (1)."""
    from piqa_cli.synthesis.painter import ladder, painted  # loads torch

    place = severity * len(ladder())
    below = min(int(place), len(ladder()) - 1)
    share = place - below
    if share <= 0 and below == 0:
        return clean
    better = clean if below == 0 else to_float(painted(picture, hole, -below))
    return better if share <= 0 else better + share * (to_float(painted(picture, hole, -below - 1)) - better)


FAMILY = Family("paint", _paint, faults=("smear", "texture_loss"), content=True)
