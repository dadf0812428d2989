"""The pictures of the drawing: source, edited image with its regions, map of artefacts; each with its title."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from piqa_cli.images import LoadedPair
from piqa_cli.overlay.lettering import Lettering
from piqa_cli.overlay.palette import BACKGROUND, FAINT, TEXT, colour_of, ramp
from piqa_cli.regions import decode_heat, decode_mask, sample_mask
from piqa_cli.schema import Assessment, Heat, Region

GAP = 8
_MAX_HEIGHT = 1200  # of the pictures together
_SMALL_PANEL, _SMALL_STACKED = 320, 960  # narrower pictures are enlarged to this; so are those in a stack
_STACKED_FROM = 2.2  # width / height of both pictures, from which they stand one below the other
_INDENT = 6  # of titles
_LINE = 2  # of outlines and boxes
_DARKENED = 0.45  # of the picture's lightness under the map
_BLACK: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """How large the pictures are and where they go.

    Attributes:
        source: width and height of the source's panel.
        edited: width and height of the others.
        stacked: one below the other, not side by side.
        width: of all of it.
    """

    source: tuple[int, int]
    edited: tuple[int, int]
    stacked: bool
    width: int


def lay_out(source: tuple[int, int], edited: tuple[int, int], shown: int, max_width: int) -> Layout:
    """Side by side, or one below the other where both pictures are very wide, as large as there is room.

    Args:
        source: width and height of the source.
        edited: those of the edited image.
        shown: how often the edited image is shown: once, or again under the map.
        max_width: of all of it.
    """
    width, height = edited
    wide = source[0] * height / source[1]  # the source's width at the edited image's height
    high = source[1] * width / source[0]
    stacked = min(width / height, source[0] / source[1]) >= _STACKED_FROM
    if stacked:
        scale = min(max_width / width, _MAX_HEIGHT / (shown * height + high))
    else:
        scale = min((max_width - shown * GAP) / (shown * width + wide), _MAX_HEIGHT / height)
    scale = min(scale, max(1.0, (_SMALL_STACKED if stacked else _SMALL_PANEL) / width))
    first = _size(width, high, scale) if stacked else _size(wide, height, scale)
    other = _size(width, height, scale)
    return Layout(first, other, stacked, other[0] if stacked else first[0] + shown * (GAP + other[0]))


def draw_panels(loaded: LoadedPair, assessment: Assessment, layout: Layout, letters: Lettering) -> Image.Image:
    """The pictures with their titles, RGB."""
    full = loaded.info.edited.width, loaded.info.edited.height
    source = _resized(loaded.source.pixels, layout.source)
    edited = _resized(loaded.edited.pixels, layout.edited)
    panels = [("source", loaded.pair.source, source), (_title(assessment), loaded.pair.edited, edited)]
    if assessment.artefacts is not None:
        panels.append(("artefacts", "", _heat_panel(edited, assessment.artefacts, full)))
    for number, region in reversed(list(enumerate(assessment.regions, start=1))):  # the largest on top
        _draw_region(edited, region, number, full, letters)
    return _arranged([_titled(*panel, letters) for panel in panels], stacked=layout.stacked)


def _title(assessment: Assessment) -> str:
    count = len(assessment.regions)
    return f"edited, {count} region{'' if count == 1 else 's'}" if count else "edited"


def _titled(title: str, path: str, picture: Image.Image, letters: Lettering) -> Image.Image:
    """The picture under its title and, as far as there is room, the file's name."""
    panel = Image.new("RGB", (picture.width, picture.height + letters.line), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    x = letters.write(draw, (_INDENT, 2), letters.cut(title, picture.width - _INDENT), TEXT) + letters.size
    room = picture.width - x
    if path and room > 4 * letters.size:
        letters.write(draw, (x, 2), letters.cut(os.path.basename(path), room, keep_end=True), FAINT)
    panel.paste(picture, (0, letters.line))
    return panel


def _arranged(panels: list[Image.Image], *, stacked: bool) -> Image.Image:
    gaps = (len(panels) - 1) * GAP
    widths, heights = [panel.width for panel in panels], [panel.height for panel in panels]
    size = (max(widths), sum(heights) + gaps) if stacked else (sum(widths) + gaps, max(heights))
    drawing = Image.new("RGB", size, BACKGROUND)
    x = y = 0
    for panel in panels:
        drawing.paste(panel, (x, y))
        x, y = (x, y + panel.height + GAP) if stacked else (x + panel.width + GAP, y)
    return drawing


def _size(width: float, height: float, scale: float) -> tuple[int, int]:
    return max(1, int(width * scale)), max(1, round(height * scale))


def _heat_panel(picture: Image.Image, heat: Heat, full: tuple[int, int]) -> Image.Image:
    """The picture in dark grey under the map; a frame around what the map covers. `full` as for `_draw_region`."""
    probability = _spread_out(heat, picture.size, full)
    grey = _DARKENED * np.asarray(picture.convert("L"), np.float32)[..., None]
    # Screened, not mixed: whatever the picture shows, a higher probability is lighter.
    lit = 255 - (255 - grey) * (255 - ramp(probability)) / 255
    panel = Image.fromarray(np.rint(lit).astype(np.uint8))
    x0, y0, x1, y1 = (
        round(edge * panel.size[axis] / full[axis]) for edge, axis in zip(heat.box, (0, 1, 0, 1), strict=True)
    )
    ImageDraw.Draw(panel).rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=FAINT)
    return panel


def _spread_out(heat: Heat, size: tuple[int, int], full: tuple[int, int]) -> NDArray[np.float32]:
    """The map's probabilities at the pixels of a panel of `size` (width, height), interpolated; 0 beyond its box."""
    cells = Image.fromarray(decode_heat(heat))
    x0, y0, x1, y1 = heat.box
    across, down = cells.width / (x1 - x0), cells.height / (y1 - y0)  # cells a pixel of the edited image
    affine = (full[0] / size[0] * across, 0, -x0 * across, 0, full[1] / size[1] * down, -y0 * down)
    return np.asarray(cells.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def _draw_region(panel: Image.Image, region: Region, number: int, full: tuple[int, int], letters: Lettering) -> None:
    """Outline, box and number of one region. `full` is (width, height) of the image the region is given in."""
    colour = colour_of(number)
    inside = sample_mask(decode_mask(region.mask), panel.size)
    around = ~inside & ~_eroded(~inside, 1, beyond=True)
    for ink, pixels in ((_BLACK, around), (colour, inside & ~_eroded(inside, _LINE, beyond=False))):
        panel.paste(ink, (0, 0), Image.fromarray(pixels.astype(np.uint8) * 255))

    draw = ImageDraw.Draw(panel)
    x0, y0, x1, y1 = (
        round(edge * panel.size[axis] / full[axis]) for edge, axis in zip(region.box, (0, 1, 0, 1), strict=True)
    )
    corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
    draw.rectangle(_grown(corners), outline=_BLACK)  # seen on any background
    draw.rectangle(corners, outline=colour, width=_LINE)
    text = str(number)
    width, height = letters.width(text) + 8, letters.size + 4
    x, y = max(0, min(x0, panel.width - width)), y0 - height if y0 >= height else y0
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour, outline=_BLACK)
    letters.write(draw, (x + 4, y + 1), text, _BLACK)


def _eroded(mask: NDArray[np.bool_], by: int, *, beyond: bool) -> NDArray[np.bool_]:
    """What has only mask within `by` pixels along either axis; `beyond` the border of the picture there is some."""
    padded = np.pad(mask, by, constant_values=beyond)
    kept = mask.copy()
    for shift in range(2 * by + 1):
        kept &= padded[shift : shift + mask.shape[0], by:-by]
        kept &= padded[by:-by, shift : shift + mask.shape[1]]
    return kept


def _grown(corners: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1
