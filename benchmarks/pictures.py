"""Pictures that the benchmarks make, all from the bundled example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from piqa_cli.schema import Pair

EXAMPLES = Path(__file__).parents[1] / "src" / "piqa_cli" / "examples"
LONG_SIDE = 512


def example() -> tuple[Image.Image, Image.Image]:
    """The bundled example: source and edited, RGB, 600 x 400."""
    with Image.open(EXAMPLES / "source.jpg") as source, Image.open(EXAMPLES / "edited.jpg") as edited:
        return source.convert("RGB"), edited.convert("RGB")


def fit(image: Image.Image, long_side: int = LONG_SIDE) -> Image.Image:
    """The image reduced so that its longer side is at most `long_side`."""
    ratio = long_side / max(image.size)
    if ratio >= 1:
        return image
    return image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BICUBIC)


def write_pair(folder: Path, name: str, size: tuple[int, int], seed: int = 0) -> Pair:
    """The example at `size` (width, height) with grain of its own, as JPEG: grain makes decoding cost what it does."""
    grain = np.random.default_rng(seed).normal(0, 3, (size[1], size[0], 1))
    paths = []
    for kind, image in zip(("source", "edited"), example(), strict=True):
        pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) + grain
        path = folder / kind / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=92)
        paths.append(str(path))
    return Pair(id=name, source=paths[0], edited=paths[1], prompt="Remove the spoon")
