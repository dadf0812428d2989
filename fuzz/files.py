"""A folder of hostile image files, made by a program: damaged, lying about themselves, or no files at all."""

from __future__ import annotations

import gzip
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from fuzz.pictures import encode, photo, variants

Must = Literal["be refused", "be read", "either"]
_CUTS = (0.02, 0.1, 0.3, 0.6, 0.9)
_FLIPS = 6


@dataclass(frozen=True, slots=True)
class HostileFile:
    """A file by name, what must become of it, and how it is made: of bytes, or by a function of its path."""

    name: str
    must: Must
    make: bytes | Callable[[Path], object]

    def write(self, folder: Path) -> Path:
        """Makes the file."""
        path = folder / self.name
        if isinstance(self.make, bytes):
            path.write_bytes(self.make)
        else:
            self.make(path)
        return path


@cache
def hostile_files() -> tuple[HostileFile, ...]:
    """All of them, in a fixed order."""
    good = variants()
    return (
        *_damaged(good),
        *_disguised(good),
        *(HostileFile(f"bomb-{name}", "either", data) for name, data in _bombs().items()),
        *(HostileFile(f"liar-{name}", "either", data) for name, data in _liars(good).items()),
        *(HostileFile(f"none-{name}", must, data) for name, (must, data) in _not_images().items()),
        *(_special() if os.name == "posix" else ()),
    )


def _damaged(good: dict[str, bytes]) -> Iterator[HostileFile]:
    draw = random.Random(0)
    for name, data in good.items():
        for part in _CUTS:
            yield HostileFile(f"cut-{part:g}-{name}", "either", data[: int(len(data) * part)])
        for number in range(_FLIPS):
            broken = bytearray(data)
            span = min(len(data), 64) if number % 2 else len(data)
            for _ in range(1 + 4 * (number // 4)):
                broken[draw.randrange(span)] ^= 1 << draw.randrange(8)
            yield HostileFile(f"flipped-{number}-{name}", "either", bytes(broken))
        middle = len(data) // 2
        yield HostileFile(f"zeroed-{name}", "either", data[: middle - 100] + bytes(200) + data[middle + 100 :])
        yield HostileFile(f"trailing-{name}", "either", data + draw.randbytes(5000))


def _disguised(good: dict[str, bytes]) -> Iterator[HostileFile]:
    """Good files whose names say something else: they are what they hold."""
    for name, other in (
        ("rgb.png", "jpg"),
        ("rgb.jpg", "png"),
        ("rgb.gif", "tif"),
        ("rgb.bmp", "avif"),
        ("rgb.webp", "gif"),
    ):
        yield HostileFile(f"disguised-{name}.{other}", "be read", good[name])


def chunk(name: bytes, data: bytes, length: int | None = None) -> bytes:
    """A chunk of a PNG; `length` may lie."""
    size = len(data) if length is None else length
    return struct.pack(">I", size) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, kind: int = 2, bits: int = 8, data: bytes | None = None) -> bytes:
    """A PNG with these chunks before its pixels, which are black unless told otherwise."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    if data is None:
        data = zlib.compress((b"\0" + bytes(width * (3 if kind == 2 else 1))) * height)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _bombs() -> dict[str, bytes]:
    """Little files that would be large."""
    zeros = zlib.compress(bytes(100 << 20), 1)
    ragged = Image.fromarray(photo(64, 64))
    return {
        "60k.png": png(60_000, 60_000, data=zlib.compress(b"\0")),
        "2g.png": png(2**31 - 1, 2**31 - 1, data=zlib.compress(b"\0")),
        "wide.png": png(2**31 - 1, 1, data=zlib.compress(b"\0")),
        "real.png": png(11_500, 11_500, kind=0, data=zlib.compress((b"\0" + bytes(11_500)) * 11_500, 1)),
        "limit.png": png(10_900, 11_000, kind=0, data=zlib.compress((b"\0" + bytes(10_900)) * 11_000, 1)),
        "more-pixels-than-told.png": png(64, 64, data=zeros),
        "ztxt.png": png(64, 64, chunk(b"zTXt", b"Comment\0\0" + zeros)),
        "ztxt-many.png": png(64, 64, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20), 9))] * 200),
        "itxt.png": png(64, 64, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros)),
        "iccp.png": png(64, 64, chunk(b"iCCP", b"icc\0\0" + zeros)),
        "text.png": png(64, 64, chunk(b"tEXt", b"a\0" + b"x" * (8 << 20))),
        "exif.png": png(64, 64, chunk(b"eXIf", b"II*\0" + struct.pack("<I", 8) + bytes(8 << 20))),
        "65k.jpg": _sized_jpeg(65_535, 65_535),
        "big.gif": b"GIF89a"
        + struct.pack("<HH", 65_535, 65_535)
        + b"\xf7\0\0"
        + bytes(768)
        + b"\x2c"
        + bytes(9)
        + b"\x02\0;",
        "frames.gif": encode(ragged, "GIF", save_all=True, append_images=[ragged.rotate(n) for n in range(300)]),
        "big.bmp": _bmp(60_000, 60_000),
        "deep.bmp": _bmp(2**31 - 1, -(2**31)),
        "big.tif": _tiff([(256, 4, 1, 60_000), (257, 4, 1, 60_000), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]),
        "strips.tif": _tiff([(256, 4, 1, 64), (257, 4, 1, 64), (262, 3, 1, 1), (273, 4, 2**31, 8), (279, 4, 2**31, 8)]),
        "tag.tif": _tiff([(256, 4, 1, 64), (257, 4, 1, 64), (700, 1, 2**32 - 1, 8), (273, 4, 1, 8)]),
        "16k.webp": _webp_canvas(1 << 24, 1 << 24),
        "16383.webp": _webp_canvas(16_383, 16_383),
        "big.ppm": b"P6 60000 60000 255\n",
        "digits.ppm": b"P6 " + b"9" * 100_000 + b" 64 255\n",
        "gzip.png": gzip.compress(bytes(50 << 20)),
    }


def _sized_jpeg(width: int, height: int) -> bytes:
    data = bytearray(encode(Image.fromarray(photo()), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def _tiff(tags: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + bytes(64)


def _webp_canvas(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _liars(good: dict[str, bytes]) -> dict[str, bytes]:
    """Headers, profiles and EXIF data that say what is not so."""
    jpeg, scene = good["rgb.jpg"], Image.fromarray(photo())
    loop = struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    exifs = {
        "exif-loop": b"II*\0" + struct.pack("<I", 8) + loop,
        "exif-count": b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 2**32 - 1, 6),
        "exif-offset": b"MM\0*" + struct.pack(">I", 2**32 - 1),
        "exif-tags": b"II*\0" + struct.pack("<IH", 8, 65_535),
        "exif-turn-99": b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, 99),
        "exif-text": b"II*\0" + struct.pack("<IHHHI4s", 8, 1, 0x0112, 2, 4, b"six\0"),
        "exif-noise": random.Random(1).randbytes(60_000),
        "exif-empty": b"",
    }
    profiles = {
        "icc-noise": random.Random(2).randbytes(60_000),
        "icc-short": b"\0" * 127,
        "icc-length": struct.pack(">I", 2**32 - 1) + bytes(124) + struct.pack(">I", 2**32 - 1),
        "icc-many-tags": _profile(struct.pack(">I", 100) + (b"rTRC" + struct.pack(">II", 132, 2**31)) * 100),
        "icc-curve": _profile(
            struct.pack(">I4sII", 1, b"rTRC", 144, 12) + b"curv\0\0\0\0" + struct.pack(">I", 2**32 - 1)
        ),
        "icc-name": _profile(
            struct.pack(">I4sII", 1, b"desc", 144, 40) + b"desc\0\0\0\0" + struct.pack(">I", 2**31) + b"\x1b[31m"
        ),
    }
    made = {f"{name}.jpg": encode(scene, "JPEG", exif=b"Exif\0\0" + data) for name, data in exifs.items()}
    made |= {f"{name}.png": png(64, 64, chunk(b"eXIf", data)) for name, data in exifs.items()}
    made |= {f"{name}.jpg": encode(scene, "JPEG", icc_profile=data) for name, data in profiles.items()}
    made |= {f"{name}.tif": encode(scene, "TIFF", icc_profile=data) for name, data in profiles.items()}
    made |= {f"{name}.webp": encode(scene, "WEBP", icc_profile=data) for name, data in profiles.items()}
    return made | {
        "length.png": png(64, 64, chunk(b"teST", b"abc", length=2**32 - 1)),
        "negative.png": png(64, 64, chunk(b"teST", b"abc", length=2**31)),
        "checksum.png": png(64, 64)[:-30] + b"\0" * 30,
        "no-size.png": png(0, 64, data=zlib.compress(b"\0")),
        "17-bits.png": png(64, 64, bits=17),
        "kind-5.png": png(64, 64, kind=5),
        "no-palette.png": png(64, 64, kind=3),
        "short-palette.png": png(
            64, 64, chunk(b"PLTE", b"\1\2\3"), kind=3, data=zlib.compress((b"\0" + b"\xff" * 64) * 64)
        ),
        "two-headers.png": png(64, 64, chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))),
        "frames-2g.png": png(64, 64, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        "pages-loop.tif": _tiff([(256, 4, 1, 64), (257, 4, 1, 64), (262, 3, 1, 1), (273, 4, 1, 8)], following=8),
        "samples.tif": _tiff([(256, 4, 1, 64), (257, 4, 1, 64), (277, 3, 1, 65_535), (262, 3, 1, 2), (273, 4, 1, 8)]),
        "upside-down.bmp": _bmp(64, -64) + bytes(64 * 64 * 3),
        "segments.jpg": jpeg[:2] + (b"\xff\xe1\xff\xff" + bytes(65_533)) * 300 + jpeg[2:],
        "restart.jpg": jpeg[:300] + b"\xff\xd0" * 5000 + jpeg[300:],
        "two-pictures.jpg": jpeg + jpeg,
        "scans.jpg": good["progressive.jpg"][:-2] + _last_scan(good["progressive.jpg"]) * 500 + b"\xff\xd9",
        "box.avif": good["rgb.avif"].replace(b"ispe", b"ispe\xff\xff\xff\xff"),
        "size.avif": good["rgb.avif"].replace(struct.pack(">II", 72, 48), struct.pack(">II", 65_536, 65_536)),
        "endless.gif": good["rgb.gif"][:-1] + b"\x21\xfe" + b"\xffx" * 10_000,
        "half-float.tif": encode(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "TIFF"),
        "infinite.tif": encode(Image.fromarray(np.full((64, 64), np.inf, np.float32)), "TIFF"),
    }


def _last_scan(data: bytes) -> bytes:
    return data[data.rindex(b"\xff\xda") : -2]


def _profile(tags: bytes) -> bytes:
    head = struct.pack(">I4s4s4s4s4s", 128 + len(tags), b"\0\0\0\0", b"\x04\0\0\0", b"mntr", b"RGB ", b"XYZ ")
    return (head + bytes(12) + b"acsp").ljust(128, b"\0") + tags


def _not_images() -> dict[str, tuple[Must, bytes]]:
    entities = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
    texts = {
        "empty.png": b"",
        "byte.png": b"\x89",
        "newline.jpg": b"\n",
        "laughs.svg.png": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a0 "ha">' + entities + b"]><svg>&a9;</svg>",
        "page.png": b"<!DOCTYPE html><script>alert(1)</script>",
        "script.png": b"#!/bin/sh\ntouch pwned\n",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(pwned) (w) file closefile\n",
        "pdf.png": b"%PDF-1.7\n1 0 obj << /JS (app.alert(1)) >>",
        "pickle.png": b"\x80\x04cposix\nsystem\n(S'touch pwned'\ntR.",
        "zip.png": b"PK\3\4" + bytes(100),
        "elf.png": b"\x7fELF" + bytes(100),
        "lfs.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "wmf.png": b"\xd7\xcd\xc6\x9a" + bytes(100),
        "ico.png": b"\0\0\1\0\1\0" + bytes(100),
        "fli.png": struct.pack("<IHHHHHH", 200, 0xAF11, 1, 64, 64, 8, 3) + bytes(200),
        "mpo.jpg": b"\xff\xd8\xff\xe2" + struct.pack(">H", 20) + b"MPF\0II*\0\xff\xff\xff\xff" + bytes(8),
    }
    noise = {f"noise-{n}.png": random.Random(n).randbytes(10 ** (1 + n % 5)) for n in range(10)}
    return {name: ("be refused", data) for name, data in (texts | noise).items()}


def _special() -> Iterator[HostileFile]:
    """What is at a path without being a file, or not as it seems."""
    rgb = encode(Image.fromarray(photo()), "PNG")
    yield HostileFile("special-folder.png", "be refused", lambda path: path.mkdir())
    yield HostileFile("special-pipe.png", "be refused", os.mkfifo)
    yield HostileFile("special-socket.png", "be refused", _bind)
    for device in ("zero", "null", "random", "full", "tty"):
        yield HostileFile(f"special-{device}.png", "be refused", _link_to(f"/dev/{device}"))
    yield HostileFile("special-loop.png", "be refused", lambda path: path.symlink_to(path.name))
    yield HostileFile("special-dangling.png", "be refused", _link_to("nowhere.png"))
    yield HostileFile("special-through-a-file.png", "be refused", _link_to("none-empty.png/x.png"))
    yield HostileFile("special-proc.png", "be refused", _link_to("/proc/self/mem"))
    yield HostileFile("special-sparse.png", "be refused", lambda path: _sparse(path, rgb))
    yield HostileFile("special-sparse.tif", "be refused", lambda path: _sparse(path, b"II*\0\xff\xff\xff\x7f"))
    yield HostileFile("special-zeros.bmp", "be refused", lambda path: _sparse(path, b"BM\0\0"))
    yield HostileFile("special-\x1b[31mred\x1b[0m.png", "be read", rgb)
    yield HostileFile("special-[bold]\u202egnp.png", "be read", rgb)
    yield HostileFile("special-two\nlines.png", "be read", rgb)
    yield HostileFile("special-=cmd|'calc'!A0.png", "be read", rgb)
    yield HostileFile(os.fsdecode(b"special-\xff\xfe.png"), "be read", rgb)
    yield HostileFile("special-" + "x" * 240 + ".png", "be read", rgb)
    yield HostileFile("special-empty-link.png", "be refused", _link_to("/dev/fd/"))
    if os.geteuid() != 0:
        yield HostileFile("special-unreadable.png", "be refused", _unreadable)


def _link_to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"secret")
    path.chmod(0)


def _bind(path: Path) -> None:
    """A socket; its path must be short, so it is bound by its name alone."""
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def _sparse(path: Path, head: bytes) -> None:
    """A file of 8 GB that takes no room."""
    path.write_bytes(head)
    os.truncate(path, 8 << 30)
