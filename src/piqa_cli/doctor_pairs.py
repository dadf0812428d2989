"""The pairs that `doctor` shows a judge: the package's example, and what is made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piqa_cli.images import LoadedImage, LoadedPair, load_pair
from piqa_cli.schema import Pair

PROMPT = "Remove the spoon"
OTHER_PROMPT = "Turn the cup bright green"
"""What the example's edit did, and what it did not do, of things that are both in the photo."""

_EXAMPLES = Path(__file__).parent / "examples"


def example(*, masked: bool = False, prompt: str = PROMPT) -> LoadedPair:
    """The example pair of the package: a spoon removed, the patch middling. 600 x 400 pixels, so not square."""
    mask = str(_EXAMPLES / "mask.png") if masked else None
    source, edited = (str(_EXAMPLES / name) for name in ("source.jpg", "edited.jpg"))
    return load_pair(Pair(id="example", source=source, edited=edited, mask=mask, prompt=prompt))


def with_edited(pair: LoadedPair, pixels: NDArray[np.uint8]) -> LoadedPair:
    """The pair with other pixels, of the same size, as its edited picture."""
    return replace(pair, edited=replace(pair.edited, pixels=pixels))


def corner(pair: LoadedPair, height: int, width: int) -> LoadedPair:
    """The upper left corner of a pair without a mask, as if its files were that small."""

    def cut(image: LoadedImage) -> LoadedImage:
        info = image.info.model_copy(update={"height": height, "width": width})
        return replace(image, pixels=np.ascontiguousarray(image.pixels[:height, :width]), info=info)

    source, edited = cut(pair.source), cut(pair.edited)
    info = pair.info.model_copy(update={"source": source.info, "edited": edited.info})
    return replace(pair, source=source, edited=edited, info=info)


def mirrored(pair: LoadedPair) -> LoadedPair:
    """The pair as a mirror shows it, left for right; its mask too."""

    def turn(pixels: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(pixels[:, ::-1])

    source, edited = (replace(image, pixels=turn(image.pixels)) for image in (pair.source, pair.edited))
    return replace(pair, source=source, edited=edited, mask=None if pair.mask is None else turn(pair.mask))
