"""What was found, drawn: source and edited side by side, the regions outlined and numbered, the scores below.

Where the record has a map of artefacts, a third panel shows it over the edited image.
"""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from piqa_cli.errors import OutputError
from piqa_cli.images import LoadedPair
from piqa_cli.regions import decode_heat, decode_mask, sample_mask
from piqa_cli.schema import Assessment, Dimension, Heat, Kind, Region

MAX_WIDTH = 1600  # of the whole drawing, in pixels
MAX_HEIGHT = 1600  # of the pictures in it
_SMALL_PANEL = 320  # narrower pictures are enlarged to this
_MIN_WIDTH = 400  # of the drawing, or the legend could not be read
_GAP = 8
_LINE = 2  # of outlines and boxes

# Okabe and Ito's colours, told apart with any kind of colour vision; the numbers say the same again.
COLOURS: Final[tuple[tuple[int, int, int], ...]] = (
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
KINDS: Final[dict[Kind, str]] = {
    Kind.LOCAL: "local edit",
    Kind.GLOBAL: "change of the whole picture",
    Kind.NONE: "no change",
    Kind.DIFFERENT: "a different picture",
}
# Black over purple and orange to yellow, lighter at every step, so that lightness alone tells the order
# (after matplotlib's inferno): probabilities 0, 1/8 ... 1.
HEAT_COLOURS: Final[tuple[tuple[int, int, int], ...]] = (
    (0, 0, 0),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)
_DARKENED = 0.45  # of the picture's lightness under the map
_HEAT_WORDS = "right: artefacts, purple unlikely, yellow likely"
_BACKGROUND = (24, 24, 24)
_TEXT = (240, 240, 240)
_FAINT = (170, 170, 170)

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def draw_overlay(loaded: LoadedPair, assessment: Assessment) -> Image.Image:
    """The drawing, RGB, at most `MAX_WIDTH` pixels wide and little more than `MAX_HEIGHT` high.

    Left the source, then the edited image, at one height each in its own aspect; on the edited image every
    region's outline and box with its number; right of it, where the record has one, the map of artefacts; below,
    the kind of edit and the five scores.
    """
    height, width = loaded.edited.pixels.shape[:2]
    source_height, source_width = loaded.source.pixels.shape[:2]
    beside = source_width * height / source_height  # the source's width at the edited image's height
    heat = assessment.artefacts
    shown = 1 if heat is None else 2  # how often the edited image is
    room = (MAX_WIDTH - shown * _GAP) / (shown * width + beside)
    scale = min(room, MAX_HEIGHT / height, max(1.0, _SMALL_PANEL / width))
    panel_height = max(1, round(height * scale))
    full = loaded.info.edited.width, loaded.info.edited.height
    edited = _resized(loaded.edited.pixels, width * scale, panel_height)
    panels = [_resized(loaded.source.pixels, beside * scale, panel_height), edited]
    if heat is not None:
        panels.append(_heat_panel(edited, heat, full))
    for number, region in reversed(list(enumerate(assessment.regions, start=1))):  # the largest on top
        _draw_region(edited, region, number, full)
    return _composed(panels, assessment)


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


def _composed(panels: list[Image.Image], assessment: Assessment) -> Image.Image:
    """The panels, all of one height, side by side over the legend."""
    pictures = sum(panel.width for panel in panels)
    font_size = max(12, min(20, pictures // 45))
    legend = _legend(assessment, max(_MIN_WIDTH, pictures + (len(panels) - 1) * _GAP), font_size)
    drawing = Image.new("RGB", (legend.width, panels[0].height + legend.height), _BACKGROUND)
    x = 0
    for panel in panels:
        drawing.paste(panel, (x, 0))
        x += panel.width + _GAP
    drawing.paste(legend, (0, panels[0].height))
    return drawing


def _heat_panel(picture: Image.Image, heat: Heat, full: tuple[int, int]) -> Image.Image:
    """The picture in dark grey under the map; a frame around what the map covers. `full` as for `_draw_region`."""
    probability = _spread_out(heat, picture.size, full)
    grey = _DARKENED * np.asarray(picture.convert("L"), np.float32)[..., None]
    steps = np.linspace(0, 1, len(HEAT_COLOURS))
    ramp = np.stack([np.interp(probability, steps, channel) for channel in zip(*HEAT_COLOURS, strict=True)], axis=-1)
    # Screened, not mixed: whatever the picture shows, a higher probability is lighter.
    lit = 255 - (255 - grey) * (255 - ramp) / 255
    panel = Image.fromarray(np.rint(lit).astype(np.uint8))
    x0, y0, x1, y1 = (
        round(edge * panel.size[axis] / full[axis]) for edge, axis in zip(heat.box, (0, 1, 0, 1), strict=True)
    )
    ImageDraw.Draw(panel).rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=_FAINT)
    return panel


def _spread_out(heat: Heat, size: tuple[int, int], full: tuple[int, int]) -> NDArray[np.float32]:
    """The map's probabilities at the pixels of a panel of `size` (width, height), interpolated; 0 beyond its box."""
    cells = Image.fromarray(decode_heat(heat))
    x0, y0, x1, y1 = heat.box
    across, down = cells.width / (x1 - x0), cells.height / (y1 - y0)  # cells a pixel of the edited image
    affine = (full[0] / size[0] * across, 0, -x0 * across, 0, full[1] / size[1] * down, -y0 * down)
    return np.asarray(cells.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))


def _resized(pixels: NDArray[np.uint8], width: float, height: int) -> Image.Image:
    return Image.fromarray(pixels).resize((max(1, int(width)), height), Image.Resampling.LANCZOS)


def _draw_region(panel: Image.Image, region: Region, number: int, full: tuple[int, int]) -> None:
    """Outline, box and number of one region. `full` is (width, height) of the image the region is given in."""
    colour = COLOURS[(number - 1) % len(COLOURS)]
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
    small = sample_mask(mask, size)
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
    if assessment.artefacts is not None:
        entries.append((_HEAT_WORDS, _FAINT))

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
    kind = KINDS[assessment.edit.kind]
    return f"{kind}, {100 * assessment.edit.area_fraction:.1f} %" if assessment.regions else kind


def _grown(corners: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _extent(font: _Font, text: str) -> tuple[int, int]:
    """Width and height of a line of text."""
    left, _, right, bottom = font.getbbox(text)
    return round(right - left), round(bottom)
