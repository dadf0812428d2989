"""Removal by a fill from elsewhere in the photo; worse: the fill loses its texture, as with large holes."""

from __future__ import annotations

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.exemplar import fill_hole
from piqa_cli.synthesis.pixels import U8, Rng, blur


def _fill(rng: Rng, canvas: Canvas) -> U8:
    sigma = float(rng.uniform(2.5, 6))
    content = fill_hole(rng, canvas.picture, canvas.mask)
    smooth = blur(content, sigma)
    return canvas.put(content + (smooth - content) * canvas.severity, feather=min(canvas.feather, 2))


FAMILY = Family("fill", _fill, faults=("texture_loss",), content=True)
