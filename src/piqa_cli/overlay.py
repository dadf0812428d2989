"""What was found, drawn: source and edited side by side, the regions outlined and numbered, the scores below."""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from piqa_cli.errors import OutputError
from piqa_cli.images import LoadedPair
from piqa_cli.regions import decode_mask
from piqa_cli.schema import Assessment, Dimension, Kind, Region

MAX_WIDTH = 1600  # of the whole drawing, in pixels
MAX_HEIGHT = 1600  # of the pictures in it
_SMALL_PANEL = 320  # narrower pictures are enlarged to this
_MIN_WIDTH = 400  # of the drawing, or the legend could not be read
_GAP = 8
_LINE = 2  # of outlines and boxes

# Okabe and Ito's colours, told apart with any kind of colour vision; the numbers say the same again.
_COLOURS: Final[tuple[tuple[int, int, int], ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_NAMES: Final[dict[Dimension, str]] = {
    Dimension.OVERALL: "overall",
    Dimension.COMPLETION: "completion",
    Dimension.HARMONY: "harmony",
    Dimension.NATURALNESS: "naturalness",
    Dimension.PRESERVATION: "preservation",
}
_KINDS: Final[dict[Kind, str]] = {
    Kind.LOCAL: "local edit",
    Kind.GLOBAL: "change of the whole picture",
    Kind.NONE: "no change",
    Kind.DIFFERENT: "a different picture",
}
_BACKGROUND = (24, 24, 24)
_TEXT = (240, 240, 240)
_FAINT = (170, 170, 170)

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def draw_overlay(loaded: LoadedPair, assessment: Assessment) -> Image.Image:
    """The drawing, RGB, at most `MAX_WIDTH` pixels wide and little more than `MAX_HEIGHT` high.

    Left the source, right the edited image, at one height each in its own aspect; on the edited image every
    region's outline and box with its number; below, the kind of edit and the five scores.
    """
    height, width = loaded.edited.pixels.shape[:2]
    source_height, source_width = loaded.source.pixels.shape[:2]
    beside = source_width * height / source_height  # the source's width at the edited image's height
    scale = min((MAX_WIDTH - _GAP) / (width + beside), MAX_HEIGHT / height, max(1.0, _SMALL_PANEL / width))
    panel_height = max(1, round(height * scale))
    left = _resized(loaded.source.pixels, beside * scale, panel_height)
    right = _resized(loaded.edited.pixels, width * scale, panel_height)
    for number, region in reversed(list(enumerate(assessment.regions, start=1))):  # the largest on top
        _draw_region(right, region, number, (loaded.info.edited.width, loaded.info.edited.height))

    font_size = max(12, min(20, (left.width + right.width) // 45))
    legend = _legend(assessment, max(_MIN_WIDTH, left.width + _GAP + right.width), font_size)
    drawing = Image.new("RGB", (legend.width, panel_height + legend.height), _BACKGROUND)
    drawing.paste(left, (0, 0))
    drawing.paste(right, (left.width + _GAP, 0))
    drawing.paste(legend, (0, panel_height))
    return drawing


def save_overlay(loaded: LoadedPair, assessment: Assessment, path: str) -> None:
    """Draw and write to a file, in the format its suffix names; a file is there whole or not at all.

    Raises:
        OutputError: the suffix is no image format that can be written, or the file cannot be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    file_format = Image.registered_extensions().get(suffix)
    if file_format not in Image.SAVE:
        raise OutputError(
            "cannot write the overlay: unknown image format",
            file=path,
            expected="a name that ends in .png, .jpg or .webp",
            found=suffix or "no suffix",
            hint="use .png",
        )
    part = f"{path}.part"
    try:
        draw_overlay(loaded, assessment).save(part, file_format)
        os.replace(part, path)
    except OSError as error:
        if os.path.exists(part):
            os.remove(part)
        raise OutputError(
            f"cannot write the overlay: {error.strerror or error}",
            file=path,
            expected="a place that can be written to",
            found=error.strerror or str(error),
            hint="choose another --overlay",
        ) from error


def _resized(pixels: NDArray[np.uint8], width: float, height: int) -> Image.Image:
    return Image.fromarray(pixels).resize((max(1, int(width)), height), Image.Resampling.LANCZOS)


def _draw_region(panel: Image.Image, region: Region, number: int, full: tuple[int, int]) -> None:
    """Outline, box and number of one region. `full` is (width, height) of the image the region is given in."""
    colour = _COLOURS[(number - 1) % len(_COLOURS)]
    outline = _outline(decode_mask(region.mask), panel.size)
    panel.paste(colour, (0, 0), Image.fromarray(outline.astype(np.uint8) * 255))

    draw = ImageDraw.Draw(panel)
    x0, y0, x1, y1 = (
        round(edge * panel.size[axis] / full[axis]) for edge, axis in zip(region.box, (0, 1, 0, 1), strict=True)
    )
    corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
    draw.rectangle(_grown(corners), outline=(0, 0, 0))  # seen on any background
    draw.rectangle(corners, outline=colour, width=_LINE)
    font, text = _font(16), str(number)
    text_width, text_height = _extent(font, text)
    tag_x = min(x0, panel.width - text_width - 6)
    tag_y = y0 - text_height - 6 if y0 >= text_height + 6 else y0
    draw.rectangle((tag_x, tag_y, tag_x + text_width + 6, tag_y + text_height + 6), fill=colour, outline=(0, 0, 0))
    draw.text((tag_x + 3, tag_y + 3), text, fill=(0, 0, 0), font=font, anchor=None)


def _outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels of the mask's edge, on a panel of `size` (width, height); height x width."""
    rows = (np.arange(size[1]) + 0.5) * mask.shape[0] / size[1]
    columns = (np.arange(size[0]) + 0.5) * mask.shape[1] / size[0]
    small = mask[rows.astype(np.intp)[:, None], columns.astype(np.intp)]
    padded = np.pad(small, _LINE)  # the border of the picture counts as outside
    inside = np.ones_like(small)
    for shift in range(2 * _LINE + 1):
        inside &= padded[shift : shift + small.shape[0], _LINE:-_LINE]
        inside &= padded[_LINE:-_LINE, shift : shift + small.shape[1]]
    edge: NDArray[np.bool_] = small & ~inside
    return edge


def _legend(assessment: Assessment, width: int, font_size: int) -> Image.Image:
    """A strip: the kind of edit, then each score with spread and level, wrapped to the width."""
    font = _font(font_size)
    line_height = round(font_size * 1.5)
    entries: list[tuple[str, tuple[int, int, int]]] = [(_summary(assessment), _TEXT)]
    for dimension, name in _NAMES.items():
        score = assessment.scores.of(dimension)
        if score.value is None:
            entries.append((f"{name} not scored", _FAINT))
        else:
            spread = "" if score.spread is None else f" \N{PLUS-MINUS SIGN}{score.spread:.1f}"
            entries.append((f"{name} {score.value:.1f}/{score.high:g}{spread} {score.level}", _TEXT))

    x, y, places = _GAP, _GAP, []
    for text, colour in entries:
        text_width = _extent(font, text)[0]
        if x > _GAP and x + text_width > width - _GAP:
            x, y = _GAP, y + line_height
        places.append((x, y, text, colour))
        x += text_width + 3 * _GAP
    strip = Image.new("RGB", (width, y + line_height + _GAP // 2), _BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for x, y, text, colour in places:
        draw.text((x, y), text, fill=colour, font=font)
    return strip


def _summary(assessment: Assessment) -> str:
    kind = _KINDS[assessment.edit.kind]
    return f"{kind}, {100 * assessment.edit.area_fraction:.1f} %" if assessment.regions else kind


def _grown(corners: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _extent(font: _Font, text: str) -> tuple[int, int]:
    """Width and height of a line of text."""
    left, _, right, bottom = font.getbbox(text)
    return round(right - left), round(bottom)
