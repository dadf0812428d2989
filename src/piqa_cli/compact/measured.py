"""What is measured of a crop, as numbers that the quality branch reads beside what it sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from piqa_cli.compact.features import measure

NUMBERS = (
    "exposure", "colour", "noise", "sharpness", "seam", "texture_loss", "blocking", "ghosting", "repetition", "kept",
    "change", "rest_change", "fill", "fill_source", "drift_structure", "drift_colour", "drift_sharpness",
)  # fmt: skip
"""Fields of `features.Measurements`, in the order in which the network reads them."""


def crop_numbers(
    source: NDArray[np.uint8], edited: NDArray[np.uint8], mask: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`NUMBERS` of a crop, NaN where there was too little to measure.

    Args:
        source: S x S x 3 uint8 sRGB.
        edited: the same.
        mask: S x S in 0..1; from one half it counts as edited.
    """
    valid = np.ones(mask.shape, np.bool_)
    found = measure(np.ascontiguousarray(edited), np.ascontiguousarray(source), mask >= 0.5, valid)
    numbers = [found.number(name) for name in NUMBERS]
    return np.array([np.nan if number is None else number for number in numbers], np.float32)
