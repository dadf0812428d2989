"""The whole drawing, and the file it goes to."""

from __future__ import annotations

import io
import math
import os

from PIL import Image

from piqa_cli.errors import OutputError
from piqa_cli.images import LoadedPair
from piqa_cli.overlay.legend import draw_legend
from piqa_cli.overlay.lettering import Lettering
from piqa_cli.overlay.palette import BACKGROUND
from piqa_cli.overlay.panels import draw_panels, lay_out
from piqa_cli.schema import Assessment

MAX_WIDTH = 1600
"""Of the drawing, in pixels."""
MAX_BYTES = 1_000_000
"""Of its file: a larger one is drawn again, smaller, down to `LEAST_WIDTH`."""
LEAST_WIDTH = 800
_MIN_WIDTH = 480  # or the legend could not be read
_LETTERS = (13, 22)  # smallest and largest size
_ATTEMPTS = 3
_QUALITY = 90  # of formats that lose something


def draw_overlay(loaded: LoadedPair, assessment: Assessment, *, max_width: int = MAX_WIDTH) -> Image.Image:
    """The drawing, RGB, at most `max_width` pixels wide.

    Source, edited image and, where the record has one, the map of artefacts, each in its own aspect and under a
    title; very wide pictures one below the other. On the edited image every region's outline and box with its number.
    Below: prompt, kind of edit, the scores with their intervals, what the colours mean.
    """
    source, edited = loaded.source.pixels.shape, loaded.edited.pixels.shape
    shown = 1 if assessment.artefacts is None else 2  # how often the edited image is
    layout = lay_out((source[1], source[0]), (edited[1], edited[0]), shown, max_width)
    letters = Lettering(max(_LETTERS[0], min(_LETTERS[1], layout.width // 64)))
    panels = draw_panels(loaded, assessment, layout, letters)
    legend = draw_legend(assessment, max(_MIN_WIDTH, panels.width), letters)
    drawing = Image.new("RGB", (legend.width, panels.height + legend.height), BACKGROUND)
    drawing.paste(panels, (0, 0))
    drawing.paste(legend, (0, panels.height))
    return drawing


def save_overlay(loaded: LoadedPair, assessment: Assessment, path: str) -> None:
    """Draw and write to a file, in the format its suffix names; a file is there whole or not at all.

    Raises:
        OutputError: the suffix is no image format that can be written, or the file cannot be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    file_format = Image.registered_extensions().get(suffix)
    if file_format is None or file_format not in Image.SAVE:
        raise OutputError(
            "cannot write the overlay: unknown image format",
            file=path,
            expected="a name that ends in .png, .jpg or .webp",
            found=suffix or "no suffix",
            hint="use .png",
        )
    part = f"{path}.part"
    try:
        data = _encoded(loaded, assessment, file_format)
        with open(part, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError as error:
        if os.path.lexists(part):
            os.remove(part)
        raise OutputError(
            f"cannot write the overlay: {error.strerror or error}",
            file=path,
            expected="a place that can be written to",
            found=error.strerror or str(error),
            hint="choose another --overlay",
        ) from error


def _encoded(loaded: LoadedPair, assessment: Assessment, file_format: str) -> bytes:
    """The file's bytes, at most `MAX_BYTES` of them unless the drawing would become too small to read."""
    width, data = MAX_WIDTH, b""
    for _ in range(_ATTEMPTS):
        drawing = draw_overlay(loaded, assessment, max_width=width)
        buffer = io.BytesIO()
        drawing.save(buffer, file_format, quality=_QUALITY)
        data = buffer.getvalue()
        if len(data) <= MAX_BYTES or width <= LEAST_WIDTH:
            break
        width = max(LEAST_WIDTH, int(0.96 * drawing.width * math.sqrt(MAX_BYTES / len(data))))
    return data
