"""A path, or "-" -> a readable stream of bytes; and what its first bytes say it is, or an error that says why not."""

from __future__ import annotations

import io
import os
import stat
from typing import BinaryIO

from PIL import UnidentifiedImageError

from piqa_cli.errors import InputError, UsageError
from piqa_cli.remote import is_remote, read

_HEAD_BYTES = 64
_STDIN_CHUNK = 1 << 20

# (offset, bytes, name): how a file is named when no decoder takes it. The first match counts.
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
)
_BRANDS = (
    (b"avif", "AVIF"),
    (b"avis", "AVIF"),
    (b"heic", "HEIC"),
    (b"heix", "HEIC"),
    (b"hevc", "HEIC"),
    (b"hei", "HEIC"),
)
_NOT_IMAGES = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the real file with `git lfs pull`"),
    (b"<!doctype html", "an HTML page", "the download probably failed: fetch the image again"),
    (b"<html", "an HTML page", "the download probably failed: fetch the image again"),
    (b"<svg", "an SVG drawing", "render it to PNG first"),
    (b"<?xml", "an XML file", "if it is an SVG drawing, render it to PNG first"),
    (b"%pdf", "a PDF", "render the page to PNG first"),
    (b"pk\x03\x04", "a ZIP archive", "unpack it first"),
)
_FILE_KINDS = (
    (stat.S_ISDIR, "a folder", "name the image file itself; `piqa batch` takes folders"),
    (stat.S_ISFIFO, "a pipe", "use - to read an image from standard input"),
    (stat.S_ISCHR, "a device", "use - to read an image from standard input"),
    (stat.S_ISBLK, "a device", "name an image file"),
    (stat.S_ISSOCK, "a socket", "name an image file"),
)
EXPECTED = "an image: JPEG, PNG, WebP, AVIF, TIFF, BMP or GIF"


def shown(path: str) -> str:
    """A path as messages quote it."""
    return "standard input" if path == "-" else repr(path)


def open_file(path: str, limit: int) -> BinaryIO:
    """Opens a regular file, or what a URL names, for reading.

    Raises:
        InputError: E_NOT_FOUND, E_NOT_A_FILE, E_PERMISSION, or E_TOO_LARGE, more than `limit` bytes; of a URL what
            `remote.read` raises.
    """
    if is_remote(path):
        return io.BytesIO(read(path))
    try:
        status = os.stat(path)
        kind = next(((name, hint) for test, name, hint in _FILE_KINDS if test(status.st_mode)), None)
        if kind is None and status.st_size > limit:
            raise _too_long(shown(path), path, limit, f"{status.st_size:,} bytes", "name one image")
        if kind is None:
            return open(path, "rb")  # closed by open_image
    except PermissionError as error:
        hint = "allow reading it (chmod +r), and its folders (chmod +x)"
        code, found = "E_PERMISSION", "permission denied"
        raise InputError(
            f"{shown(path)} may not be read", code=code, file=path, expected="a readable file", found=found, hint=hint
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte, or text that no file name can hold
        found = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "check the spelling and the folder you run piqa in"
        raise InputError(
            f"{shown(path)} was not found",
            code="E_NOT_FOUND",
            file=path,
            expected="an image file",
            found=found,
            hint=hint,
        ) from error
    # A pipe or a device could block for ever, so none is ever opened.
    raise InputError(
        f"{shown(path)} is {kind[0]}",
        code="E_NOT_A_FILE",
        file=path,
        expected="an image file",
        found=kind[0],
        hint=kind[1],
    )


def read_stdin(stdin: BinaryIO | None, limit: int) -> BinaryIO:
    """Reads a stream to its end into memory.

    Raises:
        InputError: E_TOO_LARGE, more than `limit` bytes.
        UsageError: there is no stream.
    """
    if stdin is None:
        raise UsageError("'-' stands for standard input, but none is open here", file="-", hint="name a file instead")
    data = io.BytesIO()
    while chunk := stdin.read(_STDIN_CHUNK):
        data.write(chunk)
        if data.tell() > limit:
            raise _too_long("standard input", "-", limit, "more", "send one image")
    return data


def _too_long(name: str, path: str, limit: int, found: str, hint: str) -> InputError:
    return InputError(
        f"{name} holds more bytes than an image of the allowed size",
        code="E_TOO_LARGE",
        file=path,
        expected=f"at most {limit:,} bytes",
        found=found,
        hint=f"{hint}, or raise the limit with --max-pixels",
    )


def signature(head: bytes) -> str | None:
    """The format that a file's first bytes announce ("JPEG", "HEIC" ...), or None."""
    if head[4:8] == b"ftyp":
        # The major brand, then the compatible ones: "mif1" stands for both AVIF and HEIC.
        return next((name for brand, name in _BRANDS if brand in head[8:]), None)
    name = next((name for offset, magic, name in _SIGNATURES if head[offset:].startswith(magic)), None)
    return None if name == "BMP" and _is_text(head) else name


def read_head(stream: BinaryIO) -> bytes:
    """The first bytes of a stream, which is left rewound."""
    stream.seek(0)
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    return head


def unreadable(path: str, error: OSError) -> InputError:
    """What a file amounts to that can be opened, but not read: on a failing disk, or none that holds bytes."""
    return InputError(
        f"{shown(path)} cannot be read",
        code="E_DECODE",
        file=path,
        expected=EXPECTED,
        found=error.strerror or type(error).__name__,
        hint="copy the file again, or check the disk it is on",
    )


def undecodable(path: str, name: str | None, stream: BinaryIO, error: BaseException) -> InputError:
    """What a decoder's complaint amounts to: E_DECODE for a file of the named format, E_NOT_AN_IMAGE for None."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):  # its own text is the name of a Python object
        reason = "its header cannot be read"
    if name is not None:
        found = f"a damaged or incomplete {name} file ({reason})"
        hint = "copy, download or export the file again"
        return InputError(
            f"{shown(path)} cannot be decoded",
            code="E_DECODE",
            file=path,
            expected=f"a complete {name} file",
            found=found,
            hint=hint,
        )
    head = read_head(stream)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found, hint = next(
        ((what, do) for magic, what, do in _NOT_IMAGES if start.startswith(magic)),
        ("text" if _is_text(head) else "bytes of no known image format", "name an image file"),
    )
    return InputError(
        f"{shown(path)} is not an image that piqa reads",
        code="E_NOT_AN_IMAGE",
        file=path,
        expected=EXPECTED,
        found=found,
        hint=hint,
    )


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "replace").rstrip("\ufffd")  # the last character may be cut
    return bool(text) and all(character.isprintable() or character.isspace() for character in text)
