"""Bytes of an image file -> a Pillow image, safely: what may be opened, what may go wrong, what Pillow mutters.

Nothing here sets a global of Pillow: limits are checked on the header, before any pixel is decoded.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO

# Each import registers its decoder; Image.init() would do so too, with thirty formats that are not wanted.
from PIL import AvifImagePlugin as _avif  # noqa: F401
from PIL import BmpImagePlugin as _bmp  # noqa: F401
from PIL import ExifTags, Image, features
from PIL import GifImagePlugin as _gif  # noqa: F401
from PIL import Jpeg2KImagePlugin as _jpeg2000  # noqa: F401
from PIL import JpegImagePlugin as _jpeg  # noqa: F401
from PIL import PngImagePlugin as _png  # noqa: F401
from PIL import PpmImagePlugin as _ppm  # noqa: F401
from PIL import WebPImagePlugin as _webp  # noqa: F401
from PIL.TiffImagePlugin import TiffImageFile

from piqa_cli.errors import InputError
from piqa_cli.images.files import EXPECTED, open_file, read_head, read_stdin, shown, signature, undecodable, unreadable
from piqa_cli.images.murmurs import MURMURS

# EPS, PDF, WMF and the like are left out on purpose: they run interpreters on untrusted files.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "HEIF", "JXL")

# Signature name, Pillow's format, the module that registers it, the package that holds the module.
_PLUGINS = (
    ("HEIC", "HEIF", "pillow_heif.HeifImagePlugin", "pillow-heif"),
    ("JPEG XL", "JXL", "pillow_jxl", "pillow-jxl-plugin"),
    ("AVIF", "AVIF", "pillow_avif", "pillow-avif-plugin"),
)
_LEAST_LIMIT = 1 << 28  # bytes of a file, however few pixels are allowed: it may be an animation
_ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
# What decoders were seen to raise on damaged files; DecompressionBombError is not an OSError.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    AssertionError,  # Pillow, of a palette that a PNG does not have
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, slots=True, eq=False)
class ImageFile:
    """An image whose header was read and accepted; its pixels are not decoded yet.

    `size` is (width, height) as stored, before EXIF rotation. `warnings` grows with what decoding brings up.
    """

    path: str
    stream: BinaryIO
    format: str
    size: tuple[int, int]
    frame: int | None
    warnings: list[str]

    def decode(self, draft: int = 1) -> DecodedImage:
        """Decodes all pixels; may be called again.

        Args:
            draft: 1, 2, 4 or 8: JPEG's scaled decoding, each side divided by it and rounded up; 1 for other formats.

        Raises:
            InputError: E_DECODE, E_NOT_AN_IMAGE or E_TOO_LARGE.
        """
        with self.guard():
            if self.format == "PNG":  # its checksums; Pillow passes over those of pixels while it decodes
                _open(self.stream).verify()
            image = _open(self.stream)
            if self.frame:
                image.seek(self.frame)
            layout = _stored_layout(image)
            # Pillow turns TIFF upright by itself while loading; what it did is known only before.
            turned = image.tag_v2.get(ExifTags.Base.Orientation) if isinstance(image, TiffImageFile) else 1
            turned = turned if turned in _ROTATIONS else 1
            if draft > 1:
                image.draft(image.mode, (self.size[0] // draft, self.size[1] // draft))
            image.load()
            return DecodedImage(image, layout, image.info.get("icc_profile"), turned, self._orientation(image))

    def guard(self) -> AbstractContextManager[None]:
        """A block in which decoding, or converting what was decoded, may go wrong; see `guarded`."""
        return guarded(self.path, self.stream, self.warnings, announced=self.format)

    def _orientation(self, image: Image.Image) -> int:
        try:
            value = image.getexif().get(ExifTags.Base.Orientation)
            return value if value in _ROTATIONS else 1
        except DECODER_ERRORS as error:
            self.warnings.append(f"EXIF data is broken ({type(error).__name__}): taken as upright")
            return 1


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """Pixels in the mode of the file. `layout` is Pillow's name of how samples lie in the file ("RGB;16B").

    `orientation` is the EXIF value 1..8 still to be applied, `turned` one that the decoder applied itself.
    """

    image: Image.Image
    layout: str
    profile: bytes | None
    turned: int
    orientation: int

    def upright(self, picture: Image.Image, notes: list[str]) -> Image.Image:
        """These pixels, or a conversion of them, turned as the EXIF data asks; a note says so."""
        asked = max(self.turned, self.orientation)
        if asked > 1:
            notes.append(f"exif rotation {asked}")
        method = _ROTATIONS.get(self.orientation)
        return picture if method is None else picture.transpose(method)

    @property
    def sideways(self) -> bool:
        """Whether turning it upright swaps width and height of `ImageFile.size`."""
        return self.orientation in _SIDEWAYS


@contextmanager
def guarded(path: str, stream: BinaryIO, notices: list[str], *, announced: str | None = None) -> Iterator[None]:
    """Turns whatever a decoder raises in the block into an InputError; Pillow's warnings go to `notices`.

    `announced` is the format that the header showed, once it was read.

    Raises:
        InputError: E_TOO_LARGE, E_NOT_AN_IMAGE or E_DECODE.
    """
    with MURMURS.listen() as heard:
        try:
            yield
        except Image.DecompressionBombError as error:
            raise InputError(
                f"{shown(path)} has more pixels than can be decoded safely",
                code="E_TOO_LARGE",
                file=path,
                expected=f"at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels",
                found=_announced_pixels(error),
                hint="reduce the image before you assess it",
            ) from error
        except DECODER_ERRORS as error:
            raise undecodable(path, announced or signature(read_head(stream)), stream, error) from error
        finally:
            notices.extend(text for text in dict.fromkeys(heard) if text not in notices)


def _announced_pixels(error: Image.DecompressionBombError) -> str:
    count = re.search(r"\d+", str(error))
    return f"{int(count.group()):,} pixels by its header" if count else "more by its header"


@contextmanager
def open_image(path: str, *, max_pixels: int, frame: int = 0, stdin: BinaryIO | None = None) -> Iterator[ImageFile]:
    """Opens an image, reads its header and checks it; the file is closed at the end of the block.

    Args:
        path: a regular file, or "-" for `stdin`.
        max_pixels: width times height allowed.
        frame: which frame or page of an animation or a multi-page file; still images ignore it.
        stdin: the stream that "-" stands for.

    Raises:
        InputError: E_NOT_FOUND, E_NOT_A_FILE, E_PERMISSION, E_EMPTY_FILE, E_NOT_AN_IMAGE, E_DECODE, E_TOO_LARGE
            or E_PLUGIN.
        UsageError: "-" without a stream.
    """
    most = 8 * max_pixels  # bytes: what the deepest samples take without any compression
    stream = read_stdin(stdin, most) if path == "-" else open_file(path, max(most, _LEAST_LIMIT))
    with stream:
        try:
            head = read_head(stream)
        except OSError as error:
            raise unreadable(path, error) from error
        if not head:
            found, hint = "no bytes at all", "write or download the file again"
            if path == "-":
                hint = "check the command in front of the pipe"
            raise InputError(
                f"{shown(path)} is empty", code="E_EMPTY_FILE", file=path, expected=EXPECTED, found=found, hint=hint
            )
        _register_plugin(path, signature(head))
        yield _read_header(path, stream, max_pixels, frame)


def _read_header(path: str, stream: BinaryIO, max_pixels: int, frame: int) -> ImageFile:
    notices: list[str] = []
    with guarded(path, stream, notices):
        image = _open(stream)
        _check_pixels(path, image.size, max_pixels)
        chosen = None
        if image.format != "MPO" and getattr(image, "is_animated", False):  # MPO: a photo and its previews
            notices.append(_select_frame(path, image, frame))
            _check_pixels(path, image.size, max_pixels)  # pages of one file may differ in size
            chosen = frame
    name = "JPEG" if image.format == "MPO" else image.format or "unknown"
    return ImageFile(path, stream, name, image.size, chosen, notices)


def _open(stream: BinaryIO) -> Image.Image:
    stream.seek(0)
    return Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])


def _stored_layout(image: Image.Image) -> str:
    tile = getattr(image, "tile", None)
    if not tile:
        return ""
    arguments = tile[0][3]
    layout = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return layout if isinstance(layout, str) else ""


def _register_plugin(path: str, name: str | None) -> None:
    for known, pillow_format, module, package in _PLUGINS:
        decodable = pillow_format in Image.OPEN and (pillow_format != "AVIF" or features.check("avif"))
        if known != name or decodable:
            continue
        try:
            import_module(module)
        except ImportError as error:
            raise InputError(
                f"{shown(path)} is {known}, which Pillow cannot decode without a plug-in",
                code="E_PLUGIN",
                file=path,
                expected=EXPECTED,
                found=known,
                hint=f"install the plug-in (`pip install {package}`) or convert the file to PNG",
            ) from error


def _check_pixels(path: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise InputError(
            f"{shown(path)} has too many pixels",
            code="E_TOO_LARGE",
            file=path,
            expected=f"at most {max_pixels:,} pixels",
            found=f"{width} x {height} = {width * height:,} pixels",
            hint="reduce the image, or raise the limit with --max-pixels",
        )


def _select_frame(path: str, image: Image.Image, frame: int) -> str:
    count = int(getattr(image, "n_frames", 1))
    if not 0 <= frame < count:
        raise InputError(
            f"{shown(path)} has no frame {frame}",
            code="E_DECODE",
            file=path,
            expected=f"a frame from 0 to {count - 1}",
            found=f"{count} frames",
            hint=f"choose one with --frame 0 ... --frame {count - 1}",
        )
    if frame:
        image.seek(frame)
    return f"holds {count} frames; only frame {frame} is used (--frame chooses another)"
