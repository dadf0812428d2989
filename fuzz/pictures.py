"""Image files: decoded as another decoder does, or refused."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fuzz.checks import WrongAnswerError, same
from piqa_cli.errors import InputError
from piqa_cli.images import ImagePolicy, LoadedImage, load_image

WORDS = (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"\xff\xd8", b"\xff\xc0", b"\xff\xc2",
         b"\xff\xda", b"\xff\xe1", b"\xff\xe2", b"Exif\0\0II*\0", b"ICC_PROFILE\0\1\1", b"VP8X", b"VP8L", b"ALPH",
         b"ANIM", b"ftypavif", b"II*\0", b"MM\0*", b"GIF89a", b"NETSCAPE2.0", b"BM", b"\xff" * 4,
         b"\0" * 8)  # fmt: skip
POLICY = ImagePolicy(max_pixels=4_000_000)
_NEAR = 3.0
"""Mean difference of two decoders' pixels, in 255ths, that rounding of colours and fractions accounts for."""
_COMPARED = ("JPEG", "PNG", "BMP", "WEBP")


def photo(width: int = 72, height: int = 48) -> NDArray[np.uint8]:
    """A small scene with edges and grain, height x width x 3."""
    random = np.random.default_rng(0)
    coarse = random.integers(30, 220, (4, 6, 3)).astype(np.float32)
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.circle(scene, (width // 2, height // 2), height // 4, (200.0, 30.0, 60.0), -1)
    return np.asarray(np.clip(scene + random.normal(0, 4, scene.shape), 0, 255), np.uint8)


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    """A picture as a file's bytes."""
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


@cache
def variants() -> dict[str, bytes]:
    """Good files by name and suffix: every format, and every mode that is read in a way of its own."""
    rgb = Image.fromarray(photo())
    grey, exif = rgb.convert("L"), Image.Exif()
    exif[0x0112] = 6
    alpha = rgb.copy()
    alpha.putalpha(grey)
    clear = rgb.quantize(16)
    clear.info["transparency"] = 3
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [rgb, rgb.rotate(90, expand=False), rgb.rotate(180)]
    moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    return {
        "rgb.jpg": encode(rgb, "JPEG", quality=95),
        "progressive.jpg": encode(rgb, "JPEG", progressive=True),
        "grey.jpg": encode(grey, "JPEG"),
        "cmyk.jpg": encode(rgb.convert("CMYK"), "JPEG"),
        "turned.jpg": encode(rgb, "JPEG", exif=exif, icc_profile=srgb),
        "rgb.png": encode(rgb, "PNG"),
        "alpha.png": encode(alpha, "PNG"),
        "palette.png": encode(rgb.quantize(40), "PNG"),
        "clear.png": encode(clear, "PNG", transparency=3),
        "bits.png": encode(grey.convert("1"), "PNG"),
        "sixteen.png": encode(sixteen, "PNG"),
        "profile.png": encode(rgb, "PNG", icc_profile=srgb, exif=exif),
        "moving.png": encode(rgb, "PNG", **moving),
        "rgb.webp": encode(rgb, "WEBP", quality=90),
        "lossless.webp": encode(alpha, "WEBP", lossless=True),
        "moving.webp": encode(rgb, "WEBP", **moving),
        "rgb.avif": encode(rgb, "AVIF"),
        "rgb.tif": encode(rgb, "TIFF"),
        "lzw.tif": encode(rgb, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encode(rgb, "TIFF", compression="jpeg"),
        "pages.tif": encode(rgb, "TIFF", **moving),
        "sixteen.tif": encode(sixteen, "TIFF"),
        "float.tif": encode(Image.fromarray(np.asarray(grey).astype(np.float32) / 255), "TIFF"),
        "lab.tif": encode(_to_lab(rgb), "TIFF"),
        "rgb.bmp": encode(rgb, "BMP"),
        "palette.bmp": encode(rgb.quantize(40), "BMP"),
        "rgb.gif": encode(rgb, "GIF"),
        "moving.gif": encode(rgb, "GIF", **moving),
        "rgb.ppm": encode(rgb, "PPM"),
        "rgb.jp2": encode(rgb, "JPEG2000"),
    }


def _to_lab(rgb: Image.Image) -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(rgb, Image.new("LAB", rgb.size))


def seeds() -> Sequence[bytes]:
    """All the good files."""
    return list(variants().values())


def read_image(data: bytes) -> bool:
    """An image: refused, or pixels of the size that is told, the same twice, and as OpenCV decodes them."""
    try:
        loaded = load_image("-", POLICY, stdin=io.BytesIO(data))
    except InputError:
        return False
    again = load_image("-", POLICY, stdin=io.BytesIO(data))
    same(again.pixels.tobytes() == loaded.pixels.tobytes(), True, "read twice")
    same(again.warnings, loaded.warnings, "warnings")
    same(loaded.pixels.dtype, np.dtype(np.uint8), "type")
    same(loaded.info.width * loaded.info.height <= POLICY.max_pixels, True, "the limit")
    if not any(note.startswith("reduced") for note in loaded.info.notes):
        same(loaded.pixels.shape, (loaded.info.height, loaded.info.width, 3), "size")
    if loaded.info.format == "PNG":
        same(checksums_hold(data), True, "the checksums of the PNG")
    compare(data, loaded)
    return True


def checksums_hold(data: bytes) -> bool:
    """Whether every chunk of a PNG is what its checksum says."""
    at = 8
    while at + 12 <= len(data) and data[at + 4 : at + 8] != b"IEND":
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        at = end + 4
    return True


def compare(data: bytes, loaded: LoadedImage) -> bool:
    """Holds pixels against OpenCV's, where both mean the same; gives whether they could be compared.

    Raises:
        WrongAnswerError: they differ.
    """
    # With a profile, alpha, more bits, CMYK or EXIF the two mean different things by a file's pixels.
    if loaded.info.format not in _COMPARED or loaded.info.notes or loaded.warnings:
        return False
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if other is None or other.shape != loaded.pixels.shape:
        return False  # what OpenCV does not take, it says nothing about
    far = float(np.abs(other[..., ::-1].astype(np.int16) - loaded.pixels).mean())
    if far > _NEAR:
        raise WrongAnswerError(f"pixels differ from OpenCV's by {far:.1f} of 255 on average")
    return True
