"""Pair -> LoadedPair: both pictures and the mask as 8-bit sRGB arrays, upright, at a bounded size, or a clear error.

Sizes may differ between source and edited; bringing them into register is `align`'s work. Pictures of one
size go through exactly the same reduction, so that reducing never looks like an edit.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.errors import InputError, UsageError
from piqa_cli.images.colour import Conversions, to_eight_bits, to_srgb
from piqa_cli.images.decoding import ImageFile, open_image
from piqa_cli.images.files import shown
from piqa_cli.images.masks import LoadedMask, load_mask
from piqa_cli.images.reduction import Reduction, plan_pair, plan_reduction, reduce, resize_to_side
from piqa_cli.schema import ImageInfo, Pair, PairInfo

__all__ = [
    "DEFAULT_POLICY",
    "ImagePolicy",
    "LoadedImage",
    "LoadedPair",
    "load_image",
    "load_pair",
    "resize_to_side",
]

_STRIP_ROWS = 256
_COMPARED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """What is accepted, and how pictures are brought to one form.

    Raises:
        UsageError: a value outside its range.
    """

    max_pixels: int = 120_000_000  # refused above, before decoding; also against decompression bombs
    min_side: int = 32  # refused below: nothing can be judged there
    working_side: int = 2048  # sides over 3/2 of this are divided by whole numbers while decoding (bounded memory)
    background: tuple[int, int, int] = (255, 255, 255)  # sRGB; alpha is composited on it
    mask_threshold: float = 0.5  # of the full range; above it is edited
    invert_mask: bool = False  # black is edited
    frame: int = 0  # of animations and multi-page files
    max_aspect: float = 16.0  # longer side / shorter side; at 512 pixels a thinner picture has nothing left to judge

    def __post_init__(self) -> None:
        """Refuses values that no picture could satisfy."""
        if not 0 <= self.mask_threshold < 1:
            raise UsageError(
                "the mask threshold is out of range",
                expected="0 <= threshold < 1",
                found=str(self.mask_threshold),
                hint="0.5 splits the grey range in the middle; 0 takes all that is not black",
            )
        if self.frame < 0:
            raise UsageError("frames are counted from 0", expected="frame >= 0", found=str(self.frame))
        sides = 1 <= self.min_side <= self.working_side and self.max_pixels >= self.min_side**2
        if not sides or self.max_aspect < 1:
            raise UsageError(
                "the image size limits contradict each other",
                expected="1 <= min_side <= working_side, min_side x min_side <= max_pixels, max_aspect >= 1",
                found=f"min_side {self.min_side}, working_side {self.working_side}, max_pixels {self.max_pixels},"
                f" max_aspect {self.max_aspect}",
            )


DEFAULT_POLICY = ImagePolicy()


@dataclass(frozen=True, slots=True, eq=False)
class LoadedImage:
    """A decoded picture.

    `pixels` is height x width x 3, RGB, sRGB, 0..255, upright. `info` has the full size after EXIF rotation;
    `pixels` is smaller where the picture was reduced.
    """

    pixels: NDArray[np.uint8]
    info: ImageInfo
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPair:
    """A pair ready for an assessor.

    `mask` is boolean, height x width of `edited.pixels`, True where edited; None if no mask was given.
    `identical`: both pictures have one size and decode to the same pixels at that full size. `key` is what the record
    is known by again, where somebody asks for that. `explain`: a text is wanted, where the run makes texts.
    """

    pair: Pair
    source: LoadedImage
    edited: LoadedImage
    mask: NDArray[np.bool_] | None
    info: PairInfo
    identical: bool
    warnings: tuple[str, ...]
    key: str | None = None
    explain: bool = True


def load_pair(pair: Pair, policy: ImagePolicy = DEFAULT_POLICY, *, stdin: BinaryIO | None = None) -> LoadedPair:
    """Decodes source, edited and mask of a pair.

    Args:
        pair: paths; one of the three may be "-".
        policy: limits, background, mask threshold.
        stdin: the binary stream that "-" stands for; read once, to its end.

    Raises:
        InputError: a file is missing, unreadable, damaged, too large or too small, or the mask does not fit
            (see `errors.InputError` for the codes).
        UsageError: more than one "-", or "-" without `stdin`.
    """
    if [pair.source, pair.edited, pair.mask].count("-") > 1:
        raise UsageError(
            "standard input can be read only once",
            file="-",
            expected="one '-' among source, edited and mask",
            found="several",
            hint="write the others to files",
        )
    with ExitStack() as stack:

        def opened(path: str) -> ImageFile:
            return stack.enter_context(open_image(path, max_pixels=policy.max_pixels, frame=policy.frame, stdin=stdin))

        first, second = opened(pair.source), opened(pair.edited)
        third = None if pair.mask is None else opened(pair.mask)
        _check_sides(first, policy)
        _check_sides(second, policy)
        plan = plan_pair(first, second, policy.working_side)
        source, edited = _load(first, policy, plan[0]), _load(second, policy, plan[1])
        mask: LoadedMask | None = None
        if third is not None:
            size = (edited.pixels.shape[0], edited.pixels.shape[1])
            mask = load_mask(third, edited.info, size, threshold=policy.mask_threshold, invert=policy.invert_mask)
        identical = _identical(first, second, source, edited, policy)
    warnings = (
        *(f"source: {text}" for text in source.warnings),
        *(f"edited: {text}" for text in edited.warnings),
        *(mask.warnings if mask else ()),
    )
    info = PairInfo(source=source.info, edited=edited.info, mask=mask.info if mask else None, prompt=pair.prompt)
    return LoadedPair(pair, source, edited, mask.mask if mask else None, info, identical, warnings)


def load_image(path: str, policy: ImagePolicy = DEFAULT_POLICY, *, stdin: BinaryIO | None = None) -> LoadedImage:
    """Decodes one picture; see `load_pair` for arguments and errors."""
    with open_image(path, max_pixels=policy.max_pixels, frame=policy.frame, stdin=stdin) as file:
        _check_sides(file, policy)
        return _load(file, policy, plan_reduction(max(file.size), policy.working_side, draft=file.format == "JPEG"))


def _check_sides(file: ImageFile, policy: ImagePolicy) -> None:
    shorter, longer = sorted(file.size)
    if shorter < policy.min_side:
        what, least = "too small", f"at least {policy.min_side} x {policy.min_side} pixels"
        hint = "give the image in its original size"
    elif longer > policy.max_aspect * shorter:
        what, least = "too narrow", f"a longer side of at most {policy.max_aspect:g} times the shorter one"
        hint = "cut source and edited alike into shorter pieces"
    else:
        return
    found = f"{file.size[0]} x {file.size[1]} pixels"
    message = f"{shown(file.path)} is {what} to be judged"
    raise InputError(message, code="E_TOO_SMALL", file=file.path, expected=least, found=found, hint=hint)


def _load(file: ImageFile, policy: ImagePolicy, reduction: Reduction) -> LoadedImage:
    done = Conversions()
    picture, turned = _decode_srgb(file, policy, reduction, done)
    width, height = (file.size[1], file.size[0]) if turned else file.size
    if reduction != Reduction():
        done.notes.append(f"reduced to {picture.width} x {picture.height}")
    info = ImageInfo(path=file.path, width=width, height=height, format=file.format, notes=tuple(done.notes))
    # np.array, not asarray: a view of Pillow's bytes would be read-only, which torch warns about.
    return LoadedImage(np.array(picture), info, (*file.warnings, *done.warnings))


def _decode_srgb(
    file: ImageFile, policy: ImagePolicy, reduction: Reduction, done: Conversions
) -> tuple[Image.Image, bool]:
    """RGB in sRGB, upright and reduced; and whether EXIF rotation swapped the sides of `file.size`."""
    if file.frame is not None:
        done.notes.append(f"frame {file.frame}")
    decoded = file.decode(reduction.draft)
    with file.guard():
        picture = reduce(to_eight_bits(decoded.image, decoded.layout, done), reduction)
        picture = to_srgb(decoded.upright(picture, done.notes), decoded.profile, policy.background, done)
    return picture, decoded.sideways


def _identical(
    first: ImageFile, second: ImageFile, source: LoadedImage, edited: LoadedImage, policy: ImagePolicy
) -> bool:
    sizes = [(image.info.width, image.info.height) for image in (source, edited)]
    if sizes[0] != sizes[1] or not np.array_equal(source.pixels, edited.pixels):
        return False
    if source.pixels.shape[:2] == (source.info.height, source.info.width) or _same_bytes(first.stream, second.stream):
        return True
    # Equal after reducing is not equal: this rare case is worth a full decode of both, one after the other.
    return _digest(first, policy) == _digest(second, policy)


def _same_bytes(first: BinaryIO, second: BinaryIO) -> bool:
    first.seek(0)
    second.seek(0)
    while True:
        one, other = first.read(_COMPARED_BYTES), second.read(_COMPARED_BYTES)
        if one != other:
            return False
        if not one:
            return True


def _digest(file: ImageFile, policy: ImagePolicy) -> bytes:
    """A hash of the pixels at full size; converted in strips, so that only the file's own pixels are held whole."""
    decoded = file.decode()
    with file.guard():
        picture = decoded.upright(to_eight_bits(decoded.image, decoded.layout, Conversions()), [])
        digest = hashlib.blake2b()
        for top in range(0, picture.height, _STRIP_ROWS):
            strip = picture.crop((0, top, picture.width, min(picture.height, top + _STRIP_ROWS)))
            digest.update(to_srgb(strip, decoded.profile, policy.background, Conversions()).tobytes())
    return digest.digest()
