"""Make the example pair in src/piqa_cli/examples from the CC0 photo `coffee.png`.

The edit is an honest middling one, made with the package's own synthesis: the spoon is removed by the `inpaint`
family (classical, not a generative model), which smears the saucer and the rim of the cup, and the `exposure`
family leaves the patch lit otherwise than its surroundings. Run it as

    python scripts/make_example.py path/to/coffee.png

The photo is part of scikit-image (`skimage/data/coffee.png` in its wheel); its checksum is verified.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.synthesis import find_family
from piqa_cli.synthesis.canvas import Canvas

PHOTO_SHA256 = "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"
OUTPUT = Path(__file__).parents[1] / "src" / "piqa_cli" / "examples"

# The spoon in the 600 x 400 photo, (x, y): its bowl as an ellipse, its handle and the handle's end as a polygon.
BOWL_CENTRE, BOWL_AXES, BOWL_ANGLE = (366, 284), (43, 47), 20.0
HANDLE = (
    (356, 246),
    (376, 246),
    (392, 218),
    (424, 96),
    (428, 74),
    (414, 63),
    (396, 68),
    (404, 92),
    (402, 150),
    (378, 216),
)
SEED = 4
SMEAR, LIGHT = 0.8, 0.35  # severities: visible beside the original, not silly


def spoon_mask(size: tuple[int, int]) -> NDArray[np.uint8]:
    """The edited region, height x width, 255 inside."""
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, BOWL_CENTRE, BOWL_AXES, BOWL_ANGLE, 0, 360, 255, -1)
    cv2.fillPoly(mask, [np.array(HANDLE, np.int32)], 255)
    return mask


def remove_spoon(photo: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo (height x width x RGB) with the masked region inpainted and wrongly lit."""
    region = mask > 0
    canvas = Canvas(
        picture=photo,
        base=photo,
        mask=region,
        inner=region,
        donor=photo,
        grain=np.zeros(photo.shape, np.float32),
        severity=SMEAR,
        feather=2.0,
    )
    removed = find_family("inpaint").apply(np.random.default_rng(SEED), canvas)
    lit = replace(canvas, base=removed, severity=LIGHT)
    return find_family("exposure").apply(np.random.default_rng(SEED), lit)


def main() -> None:
    """Write source.jpg, edited.jpg and mask.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, help="coffee.png")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write to")
    options = parser.parse_args()
    found = hashlib.sha256(options.photo.read_bytes()).hexdigest()
    if found != PHOTO_SHA256:
        parser.error(f"{options.photo}: expected the photo with SHA-256 {PHOTO_SHA256}, found {found}")
    photo = np.asarray(Image.open(options.photo).convert("RGB"))
    mask = spoon_mask(photo.shape[:2])
    options.output.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(options.output / "source.jpg", quality=92, subsampling=0)
    Image.fromarray(remove_spoon(photo, mask)).save(options.output / "edited.jpg", quality=90)
    Image.fromarray(mask).save(options.output / "mask.png", optimize=True)


if __name__ == "__main__":
    main()
