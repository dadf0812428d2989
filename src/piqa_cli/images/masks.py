"""The edit mask: any image -> a boolean array at the edited picture's working size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.errors import InputError
from piqa_cli.images.colour import Conversions, mask_levels
from piqa_cli.images.decoding import ImageFile
from piqa_cli.images.files import shown
from piqa_cli.schema import ImageInfo

_MASK_ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class LoadedMask:
    """A mask at the size it was asked for.

    `mask` is boolean, True where edited; `info` has the file's own size; a warning may begin with "E_MASK_EMPTY:"
    or "E_MASK_FULL:".
    """

    mask: NDArray[np.bool_]
    info: ImageInfo
    warnings: tuple[str, ...]


def load_mask(
    file: ImageFile, edited: ImageInfo, size: tuple[int, int], *, threshold: float, invert: bool
) -> LoadedMask:
    """Decodes an edit mask of any format: white is edited.

    Args:
        file: the mask, opened.
        edited: the edited image that it belongs to.
        size: (height, width) of the mask returned.
        threshold: of the full range, in [0, 1); what is brighter is edited.
        invert: black is edited instead.

    Raises:
        InputError: E_DECODE, or E_MASK_SIZE for an aspect ratio that is not the edited image's.
    """
    done = Conversions()
    decoded = file.decode()
    with file.guard():
        levels = decoded.upright(mask_levels(decoded.image, decoded.layout, done), done.notes)
    info = ImageInfo(path=file.path, width=levels.width, height=levels.height, format=file.format, notes=())
    _check_mask_size(info, edited)
    if levels.size != (edited.width, edited.height):
        done.warnings.append(
            f"{levels.width} x {levels.height} resized to the edited image's {edited.width} x {edited.height}"
        )
    if levels.size != size[::-1]:
        levels = levels.resize(size[::-1], Image.Resampling.NEAREST)
    grey = np.asarray(levels)
    cut = threshold * 255
    if np.any((grey > 0) & (grey < 255)):
        done.notes.append(f"soft mask cut at {threshold:g} of its range")
    mask = (grey <= cut) if invert else (grey > cut)
    warnings = [f"mask: {text}" for text in (*file.warnings, *done.warnings)]
    if not mask.any():
        top = f"its brightest value is {int(grey.max())} of 255, the threshold {cut:g}"
        warnings.append(f"E_MASK_EMPTY: the mask marks nothing as edited ({top}; white is edited, --invert-mask swaps)")
    elif mask.all():
        warnings.append("E_MASK_FULL: the mask marks the whole image as edited (white is edited, --invert-mask swaps)")
    return LoadedMask(mask, info.model_copy(update={"notes": tuple(done.notes)}), tuple(warnings))


def _check_mask_size(mask: ImageInfo, edited: ImageInfo) -> None:
    ratio = (mask.width * edited.height) / (mask.height * edited.width)
    if abs(ratio - 1) > _MASK_ASPECT_TOLERANCE:
        raise InputError(
            f"the mask {shown(mask.path)} does not fit the edited image {shown(edited.path)}",
            code="E_MASK_SIZE",
            file=mask.path,
            expected=f"{edited.width} x {edited.height} pixels as the edited image, or the same aspect ratio",
            found=f"{mask.width} x {mask.height} pixels",
            hint="draw the mask on the edited image as a person sees it, after EXIF rotation",
        )
