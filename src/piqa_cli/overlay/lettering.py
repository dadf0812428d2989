"""Text on the drawing: in a font that has its characters, cut or wrapped to a width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from PIL import ImageDraw, ImageFont

from piqa_cli.overlay.palette import Colour
from piqa_cli.writers.terminal import visible

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

# Pillow brings a Latin font; what it lacks is looked for in fonts that systems have, by the names of their files.
FALLBACKS: Final[tuple[str, ...]] = (
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "malgun.ttf",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "DejaVuSans.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "Nirmala.ttf",
)
_ABSENT = "\uffff"  # a character that no font has: drawn as the box that stands for any such
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Lettering:
    """Text of one size, in pixels. Control characters are spelt out."""

    size: int

    @property
    def line(self) -> int:
        """From one line to the next."""
        return round(self.size * 1.45)

    def width(self, text: str) -> int:
        """How wide the text would be."""
        left, _, right, _ = _font_for(text, self.size).getbbox(text)
        return round(right - left)

    def write(self, draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, colour: Colour) -> int:
        """Writes a line with its top left corner at (x, y); gives where it ends."""
        draw.text(place, text, fill=colour, font=_font_for(text, self.size))
        return place[0] + self.width(text)

    def cut(self, text: str, room: int, *, keep_end: bool = False) -> str:
        """The text on one line of at most `room` pixels: its beginning, or its end, and an ellipsis."""
        text = visible(text)
        if self.width(text) <= room:
            return text
        least, most = 0, len(text)  # characters that fit
        while least < most:
            middle = (least + most + 1) // 2
            if self.width(_shortened(text, middle, keep_end)) <= room:
                least = middle
            else:
                most = middle - 1
        return _shortened(text, least, keep_end)

    def wrap(self, text: str, room: int, lines: int) -> list[str]:
        """The text on at most so many lines, at spaces where there are some; the last ends in an ellipsis if cut."""
        rest = visible(" ".join(text.split()))
        found: list[str] = []
        while rest and len(found) < lines - 1 and self.width(rest) > room:
            fitting = self.cut(rest, room).removesuffix(_ELLIPSIS)
            at = fitting.rfind(" ")
            if at <= 0:  # a single long word, or a script without spaces
                at = max(1, len(fitting))
            found.append(rest[:at].rstrip())
            rest = rest[at:].lstrip()
        return [*found, self.cut(rest, room)] if rest else found


def _shortened(text: str, count: int, keep_end: bool) -> str:
    kept = text[len(text) - count :] if keep_end else text[:count]
    return _ELLIPSIS + kept.lstrip() if keep_end else kept.rstrip() + _ELLIPSIS


def _font_for(text: str, size: int) -> Font:
    """The first font with all characters of the text, or that lacks the fewest: these are drawn as boxes."""
    own: Font = ImageFont.load_default(size)
    absent = _absent(own, text)
    if not absent:
        return own
    fonts = [own, *(font for name in FALLBACKS if (font := _system_font(name, size)) is not None)]
    return min(fonts, key=lambda font: len(_absent(font, text)))


def _absent(font: Font, text: str) -> set[str]:
    empty = bytes(font.getmask(_ABSENT))
    return {char for char in set(text) if not char.isspace() and bytes(font.getmask(char)) == empty}


@lru_cache(maxsize=64)
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None
