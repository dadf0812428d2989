"""Pictures for tests: drawn here, written in every format, colour mode and broken form that piqa has to expect.

Nothing comes from a photo. `photo` gives an array, `edit` changes a part of it, `save` writes it by the name's
suffix; `BROKEN` lists files that must be refused, and with which code.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
_FORMATS = {".jpg": "JPEG", ".tif": "TIFF", ".jp2": "JPEG2000", ".ppm": "PPM", ".pgm": "PPM"}
_QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 90, "speed": 9},
}
ORIENTATION = 0x0112


def photo(width: int = 96, height: int = 64, seed: int = 0) -> Pixels:
    """A scene-like picture, height x width x 3: a graded sky, a few discs and boxes, fine grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    top, bottom = rng.uniform(60, 200, (2, 3)).astype(np.float32)
    scene = top + (bottom - top) * (y / height)[..., None] + 12 * np.sin(x / width * 9)[..., None]
    for _ in range(5):
        colour = rng.uniform(20, 235, 3)
        centre_x, centre_y, size = (
            rng.uniform(0, width),
            rng.uniform(0, height),
            rng.uniform(0.08, 0.22) * min(width, height),
        )
        inside = (x - centre_x) ** 2 + (y - centre_y) ** 2 < size**2
        if rng.random() < 0.5:
            inside = (abs(x - centre_x) < size) & (abs(y - centre_y) < 0.7 * size)
        scene[inside] = colour
    scene += 2 * rng.standard_normal((height, width, 1), dtype=np.float32)
    pixels: Pixels = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
    return pixels


def edit(
    pixels: Pixels, box: tuple[int, int, int, int] | None = None, seed: int = 1
) -> tuple[Pixels, NDArray[np.bool_]]:
    """A copy with a disc of other content inside the half-open box, and the mask of what changed."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box or (width // 4, height // 4, width // 2, height // 2)
    y, x = np.mgrid[0:height, 0:width]
    mask = ((x + 0.5 - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y + 0.5 - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 0.25
    other = np.roll(photo(width, height, seed), 3, axis=2)
    edited = pixels.copy()
    edited[mask] = np.where(abs(other[mask].astype(int) - pixels[mask]) < 24, 255 - pixels[mask], other[mask])
    return edited, mask


def mask_image(mask: NDArray[np.bool_]) -> Pixels:
    """A boolean mask as a grey picture: white where True."""
    return np.where(mask, 255, 0).astype(np.uint8)


def save(path: Path, pixels: NDArray[Any] | Image.Image, **options: Any) -> str:
    """Writes a picture in the format of the suffix; `options` go to Pillow. Returns the path as text."""
    path.write_bytes(encode(pixels, path.suffix, **options))
    return str(path)


def encode(pixels: NDArray[Any] | Image.Image, suffix: str = ".png", **options: Any) -> bytes:
    """The file as bytes. JPEG and friends at high quality unless told otherwise; WebP lossless."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    name = _FORMATS.get(suffix, suffix.lstrip(".").upper())
    defaults = _QUALITY.get(name, {})
    stream = io.BytesIO()
    image.save(stream, name, **(defaults | options))
    return stream.getvalue()


def turned(pixels: Pixels, orientation: int) -> tuple[Pixels, Image.Exif]:
    """The pixels as a camera stores them, with the EXIF data that turns them back into `pixels`."""
    undo: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: np.rot90(p, -1),
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return np.ascontiguousarray(undo[orientation](pixels)), exif


def png16(samples: NDArray[np.uint16]) -> bytes:
    """A 16-bit PNG, height x width x (1 grey, 2 grey and alpha, 3 RGB, 4 RGBA), which Pillow itself cannot write."""
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks)


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and which holds hardly any data: a decompression bomb in little."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", zlib.compress(b"\0"))
        + _png_chunk(b"IEND", b"")
    )


def tiff16(samples: NDArray[np.uint16]) -> bytes:
    """An uncompressed little-endian 16-bit RGB TIFF, which Pillow itself cannot write."""
    height, width, channels = samples.shape
    data = samples.astype("<u2").tobytes()
    bits_at = 8 + 2 + 9 * 12 + 4
    tags = (
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, bits_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, bits_at + 2 * channels),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
    )
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    return head + struct.pack(f"<{channels}H", *[16] * channels) + data


def animation(count: int = 3, suffix: str = ".gif", **options: Any) -> bytes:
    """An animated GIF, WebP, PNG or multi-page TIFF; frame i is a flat grey of 40 + 60 i."""
    frames = [Image.new("RGB", (64, 48), (40 + 60 * i,) * 3) for i in range(count)]
    return encode(frames[0], suffix, save_all=True, append_images=frames[1:], **options)


def rgb_profile(name: str = "Swapped", *, gamma: float = 2.2, swapped: bool = True) -> bytes:
    """A minimal ICC v2 RGB profile: sRGB's primaries, red and green exchanged if asked for, and a plain gamma."""
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    red, green = (green, red) if swapped else (red, green)
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0"
    matrix = [(tag, _xyz(value)) for tag, value in ((b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue))]
    return _profile(b"RGB ", name, [*matrix, (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve)])


def grey_profile(name: str = "Linear grey", *, gamma: float = 1.0) -> bytes:
    """A minimal ICC v2 grey profile with a plain gamma."""
    return _profile(b"GRAY", name, [(b"kTRC", b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0")])


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(part * 65536)) for part in value)


def _profile(space: bytes, name: str, tags: list[tuple[bytes, bytes]]) -> bytes:
    text = name.encode("ascii") + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = [(b"desc", description), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", _xyz((0.9642, 1.0, 0.8249))), *tags]
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags:
        padded = data + bytes(-len(data) % 4)
        table += tag + struct.pack(">II", offset + len(body), len(data))
        body += padded
    header = struct.pack(">I", offset + len(body)) + bytes(4) + bytes.fromhex("02100000") + b"mntr" + space + b"XYZ "
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz((0.9642, 1.0, 0.8249))[8:]
    return header.ljust(128, b"\0") + table + body


def truncated(data: bytes, part: float = 0.6) -> bytes:
    """The first part of a file, as an interrupted download leaves it."""
    return data[: int(len(data) * part)]


# What a file that is no image holds, and the code it must be refused with.
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "E_EMPTY_FILE"),
    "text": ("Just some words, with an umlaut: ä.\n".encode() * 9, "E_NOT_AN_IMAGE"),
    "text that begins like a bitmap": (b"BMW and other names\n" * 9, "E_NOT_AN_IMAGE"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "E_NOT_AN_IMAGE"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "E_NOT_AN_IMAGE"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "E_NOT_AN_IMAGE"),
    "pdf": (b"%PDF-1.7\n\x00\x01", "E_NOT_AN_IMAGE"),
    "noise": (bytes(range(1, 256)) * 4, "E_NOT_AN_IMAGE"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n", "E_NOT_AN_IMAGE"),
    "png signature alone": (b"\x89PNG\r\n\x1a\n", "E_DECODE"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "E_PLUGIN"),
    "heif, generic brand": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(64), "E_PLUGIN"),
    "jxl codestream": (b"\xff\x0a" + bytes(64), "E_PLUGIN"),
    "jxl container": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64), "E_PLUGIN"),
    "bomb": (png_of_size(60_000, 60_000), "E_TOO_LARGE"),
    "too large": (png_of_size(12_000, 12_000), "E_TOO_LARGE"),
    "one pixel": (encode(np.zeros((1, 1, 3), np.uint8)), "E_TOO_SMALL"),
    "one row": (encode(np.zeros((1, 640, 3), np.uint8)), "E_TOO_SMALL"),
}
