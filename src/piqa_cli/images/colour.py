"""Pixels of any Pillow mode -> 8-bit sRGB: sample depth, palette, ICC profile, alpha. Every conversion is recorded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_STRIP_ROWS = 256  # wide samples are scaled strip by strip, so that no float copy of a whole picture exists

# Full range of the samples by the name of their layout in the file; the first name contained counts.
_STORED_RANGES = ((";12", 4095.0), (";16S", 32767.0), (";16BS", 32767.0), (";16", 65535.0))
# Float and 32-bit files do not say their range: the smallest of these that holds the maximum is taken, and warned of.
_ASSUMED_RANGES = {"F": (1.0, 255.0, 65535.0), "I": (255.0, 65535.0, 2147483647.0)}

_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
# A profile that moves no colour of an even lattice by more than this many of 255 levels is sRGB by another name.
_SAME_AS_SRGB = 2

_MODE_NAMES = {"1": "1-bit", "P": "palette", "PA": "palette", "L": "grey", "LA": "grey", "CMYK": "cmyk", "LAB": "lab"}
_EIGHT_BIT_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "LAB")


@dataclass(slots=True)
class Conversions:
    """What was done to a picture on the way to 8-bit sRGB, in order, and what its owner should know."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def to_eight_bits(image: Image.Image, layout: str, done: Conversions) -> Image.Image:
    """A decoded image of any mode -> L, LA, RGB, RGBA, CMYK or LAB with 8 bits per sample.

    Args:
        image: decoded, any mode.
        layout: `DecodedImage.layout`.
        done: receives notes and warnings.
    """
    if image.mode in _WIDE_MODES:
        return _scale_samples(image, layout, done)
    if ";16" in layout:
        done.notes.append("16-bit samples to 8-bit")  # Pillow keeps the high byte of colour samples
    if image.mode in ("1", "P", "PA"):
        done.notes.append(f"{_MODE_NAMES[image.mode]} to 8-bit")
    if image.mode in ("1", "P", "PA", "L", "RGB") and image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in _EIGHT_BIT_MODES else image.convert("RGB")


def to_srgb(
    image: Image.Image, profile: bytes | None, background: tuple[int, int, int], done: Conversions
) -> Image.Image:
    """L, LA, RGB, RGBA, CMYK or LAB at 8 bits -> RGB in sRGB, alpha composited on the background.

    Args:
        image: as `to_eight_bits` returns it.
        profile: the embedded ICC profile; a broken or unfitting one is a warning, never a failure.
        background: sRGB, 0..255 each.
        done: receives notes and warnings.
    """
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    opaque = {"LA": "L", "RGBA": "RGB"}.get(image.mode)
    colours = image.convert(opaque) if opaque else image
    picture = _apply_profile(colours, profile, done) if profile else None
    if picture is None and colours.mode == "LAB":
        picture = _lab_to_srgb(colours)
    elif picture is None:
        picture = colours.convert("RGB")
    if image.mode in _MODE_NAMES:
        done.notes.append(f"{_MODE_NAMES[image.mode]} to rgb")
    if alpha is None or alpha.getextrema()[0] == 255:
        return picture
    name = "#{:02x}{:02x}{:02x}".format(*background)
    done.notes.append(f"alpha on {name}")
    done.warnings.append(f"is partly transparent: composited on {name}, colours hidden by alpha are not judged")
    return Image.composite(picture, Image.new("RGB", picture.size, background), alpha)


def mask_levels(image: Image.Image, layout: str, done: Conversions) -> Image.Image:
    """A decoded mask of any mode -> L, white = edited. Colour profiles are ignored: a mask holds data, not colour.

    A mask with one flat colour and a varying alpha is its alpha (opaque = edited); elsewhere transparent
    parts count as black.
    """
    eight = to_eight_bits(image, layout, done)
    if eight.mode not in ("LA", "RGBA"):
        return (_lab_to_srgb(eight) if eight.mode == "LAB" else eight).convert("L")
    alpha = eight.getchannel("A")
    grey = eight.convert("RGB").convert("L")
    low, high = alpha.getextrema()
    if low == 255:
        return grey
    flat = all(len(set(band.getextrema())) == 1 for band in eight.split()[:-1])
    if low != high and flat:
        done.notes.append("mask from alpha, opaque = edited")
        return alpha
    done.notes.append("transparent parts of the mask taken as black")
    return Image.composite(grey, Image.new("L", grey.size, 0), alpha)


def _apply_profile(image: Image.Image, profile: bytes, done: Conversions) -> Image.Image | None:
    """L, RGB, CMYK or LAB -> RGB in sRGB through its ICC profile; None, with a warning, where that cannot be done."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        name = "".join(c for c in ImageCms.getProfileDescription(source) if c.isprintable()).strip()[:60] or "unnamed"
        mode = _PROFILE_MODES.get(space)
        if mode is None or (mode != image.mode and (mode, image.mode) != ("RGB", "L")):
            done.warnings.append(f"icc profile {name!r} is for {space}, not for {image.mode} pixels: ignored")
            return None
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
        if mode == "RGB" and _keeps_colours(transform):
            return image.convert("RGB")
        picture = ImageCms.applyTransform(image.convert(mode), transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        done.warnings.append(f"icc profile is broken ({reason}): colours taken as sRGB")
        return None
    done.notes.append(f"icc {name} to sRGB")
    return picture


def _keeps_colours(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform from RGB to sRGB does next to nothing; skipping it is exact and saves time."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(lattice), transform))
    return int(np.abs(moved.astype(np.int16) - lattice).max()) <= _SAME_AS_SRGB


def _lab_to_srgb(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    picture = Image.new("RGB", image.size)
    ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image, picture)
    return picture


def _scale_samples(image: Image.Image, layout: str, done: Conversions) -> Image.Image:
    """I;16, I or F -> L by the full range of the samples, where Pillow's own convert() would clip at 255."""
    full = next((value for name, value in _STORED_RANGES if name in layout), None)
    if full is None and image.mode.startswith("I;16"):
        full = 65535.0
    if full is None:
        full = _assumed_range(image, done)
    width, height = image.size
    grey = np.empty((height, width), dtype=np.uint8)
    broken = 0
    for row, strip in _strips(image):
        finite = np.isfinite(strip)
        broken += strip.size - int(np.count_nonzero(finite))
        scaled = np.where(finite, strip, 0).astype(np.float32) * np.float32(255.0 / full)
        grey[row : row + len(strip)] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    if broken:
        done.warnings.append(f"{broken} samples are not finite numbers: taken as 0")
    kind = "float" if image.mode == "F" else "32-bit" if full > 65535 else "12-bit" if full == 4095 else "16-bit"
    done.notes.append(f"{kind} samples 0..{full:.0f} to 8-bit")
    return Image.fromarray(grey)


def _assumed_range(image: Image.Image, done: Conversions) -> float:
    top = max(float(np.max(strip, where=np.isfinite(strip), initial=0)) for _, strip in _strips(image))
    full = next((value for value in _ASSUMED_RANGES[image.mode] if top <= value), top)
    kind = "floating-point" if image.mode == "F" else "32-bit"
    done.warnings.append(f"{kind} samples do not say their range: taken as 0..{full:.0f} (maximum {top:g})")
    return full


def _strips(image: Image.Image) -> Iterator[tuple[int, NDArray[Any]]]:
    width, height = image.size
    for row in range(0, height, _STRIP_ROWS):
        yield row, np.asarray(image.crop((0, row, width, min(height, row + _STRIP_ROWS))))
