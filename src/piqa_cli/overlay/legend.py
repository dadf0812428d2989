"""What stands below the pictures: prompt, kind of edit, scores with their intervals, regions, the map's scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from piqa_cli.overlay.lettering import Lettering
from piqa_cli.overlay.palette import (
    BACKGROUND,
    FAINT,
    INTERVAL,
    KINDS,
    TEXT,
    TRACK,
    colour_of,
    ramp,
)
from piqa_cli.regions import place
from piqa_cli.schema import SCALES, Assessment, Box, Dimension, Score

_NAMES: Final[dict[Dimension, str]] = {
    Dimension.OVERALL: "overall",
    Dimension.COMPLETION: "prompt completion",
    Dimension.HARMONY: "harmony",
    Dimension.NATURALNESS: "local naturalness",
    Dimension.PRESERVATION: "preservation",
}
_PROMPT_LINES = 2
_SHOWN_REGIONS = 4
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_TWO_COLUMNS = 52  # letter sizes from which scores and regions stand side by side


@dataclass(slots=True)
class _Pen:
    """Where the next line goes, within left and right."""

    draw: ImageDraw.ImageDraw
    letters: Lettering
    left: int
    right: int
    y: int

    @property
    def room(self) -> int:
        return self.right - self.left

    def line(self, text: str, colour: tuple[int, int, int] = TEXT) -> None:
        self.letters.write(self.draw, (self.left, self.y), self.letters.cut(text, self.room), colour)
        self.y += self.letters.line


def draw_legend(assessment: Assessment, width: int, letters: Lettering) -> Image.Image:
    """The strip below the pictures, RGB, `width` wide and as high as it needs."""
    measured = _written(assessment, Image.new("RGB", (width, 1)), letters)
    strip = Image.new("RGB", (width, measured), BACKGROUND)
    _written(assessment, strip, letters)
    return strip


def _written(assessment: Assessment, strip: Image.Image, letters: Lettering) -> int:
    """Writes all of it; gives the height that it takes, also where the strip is lower."""
    pad = letters.size // 2
    draw = ImageDraw.Draw(strip)
    pen = _Pen(draw, letters, pad, strip.width - pad, pad)
    if assessment.pair.prompt:
        for line in letters.wrap(f"prompt: {assessment.pair.prompt}", pen.room, _PROMPT_LINES):
            pen.line(line)
    pen.line(_headline(assessment))
    pen.y += pad
    if strip.width < _TWO_COLUMNS * letters.size:
        _scores(pen, assessment)
        pen.y += pad
        _keys(pen, assessment)
        bottom = pen.y
    else:
        middle = strip.width // 2
        beside = _Pen(draw, letters, middle + pad, pen.right, pen.y)
        pen.right = middle - pad
        _scores(pen, assessment)
        _keys(beside, assessment)
        bottom = max(pen.y, beside.y)
    last = _Pen(draw, letters, pad, strip.width - pad, bottom + pad // 2)
    last.line(f"{assessment.model.name} {assessment.model.version}; bars and ± span the 80 % interval", FAINT)
    return last.y + pad // 2


def _headline(assessment: Assessment) -> str:
    area = f", {100 * assessment.edit.area_fraction:.1f} % of the image" if assessment.regions else ""
    named = [f"{fault.kind} ({fault.level})" for fault in assessment.faults if fault.level != "slight"]
    return KINDS[assessment.edit.kind] + area + (f"; main fault: {named[0]}" if named else "")


def _scores(pen: _Pen, assessment: Assessment) -> None:
    """A line a dimension: name, value with spread, the bar, the level's word."""
    letters, gap = pen.letters, pen.letters.size
    names = max(letters.width(name) for name in _NAMES.values())
    values = letters.width("5.0/5 ±1.0")
    words = max(letters.width(level) for scale in SCALES.values() for level in scale.levels)
    start = pen.left + names + gap + values + gap
    bar = min(12 * letters.size, pen.right - start - gap - words)
    for dimension, name in _NAMES.items():
        score = assessment.scores.of(dimension)
        letters.write(pen.draw, (pen.left, pen.y), letters.cut(name, names), TEXT)
        x = pen.left + names + gap
        if score.value is None:
            reason = f"not scored: {score.reason}"
            letters.write(pen.draw, (x, pen.y), letters.cut(reason, pen.right - x), FAINT)
        else:
            spread = "" if score.spread is None else f" ±{score.spread:.1f}"
            letters.write(pen.draw, (x, pen.y), f"{score.value:.1f}/{score.high:g}{spread}", TEXT)
            level = letters.cut(score.level or "", pen.right - start)
            if bar >= 4 * letters.size:
                _bar(pen, start, bar, score, score.value)
                letters.write(pen.draw, (start + bar + gap, pen.y), level, TEXT)
            else:
                letters.write(pen.draw, (start, pen.y), level, TEXT)
        pen.y += letters.line


def _bar(pen: _Pen, start: int, width: int, score: Score, value: float) -> None:
    """The scale as a dark track, the interval on it lighter, the value white, a notch at every level."""
    size = pen.letters.size
    middle = pen.y + round(0.62 * size)
    half = max(2, size // 5)

    def at(point: float) -> int:
        share = (min(score.high, max(score.low, point)) - score.low) / (score.high - score.low)
        return start + round(share * width)

    pen.draw.rectangle((start, middle - half, start + width, middle + half), fill=TRACK)
    if score.spread is not None:
        pen.draw.rectangle(
            (at(value - score.spread), middle - half, at(value + score.spread), middle + half), fill=INTERVAL
        )
    for level in range(round(score.low), round(score.high) + 1):
        pen.draw.line((at(level), middle + half + 1, at(level), middle + half + 2), fill=FAINT)
    tick = max(1, size // 8)
    pen.draw.rectangle((at(value) - tick, middle - 2 * half, at(value) + tick, middle + 2 * half), fill=TEXT)


def _keys(pen: _Pen, assessment: Assessment) -> None:
    """What the colours mean: each region's, and the steps of the map."""
    size = (assessment.pair.edited.height, assessment.pair.edited.width)
    letters = pen.letters
    for number, region in enumerate(assessment.regions[:_SHOWN_REGIONS], start=1):
        side = letters.size + 4
        pen.draw.rectangle(
            (pen.left, pen.y, pen.left + max(side, letters.width(str(number)) + 8), pen.y + side),
            fill=colour_of(number),
        )
        letters.write(pen.draw, (pen.left + 4, pen.y + 1), str(number), (0, 0, 0))
        x = pen.left + max(side, letters.width(str(number)) + 8) + letters.size // 2
        text = f"{place(region.box, size)}, {100 * region.area_fraction:.1f} %, confidence {region.confidence:.2f}"
        letters.write(pen.draw, (x, pen.y), letters.cut(text, pen.right - x), TEXT)
        pen.y += letters.line
    rest = len(assessment.regions) - _SHOWN_REGIONS
    if rest > 0:
        pen.line(f"and {rest} smaller", FAINT)
    if not assessment.regions:
        pen.line("no region outlined", FAINT)
    if assessment.artefacts is not None:
        _heat_scale(pen, covered=_covers(assessment.artefacts.box, size))


def _heat_scale(pen: _Pen, *, covered: bool) -> None:
    letters = pen.letters
    pen.y += letters.size // 2
    pen.line("probability of an artefact" + ("" if covered else "; framed: where it was looked for"))
    width = min(pen.room, 18 * letters.size)
    for x, colour in enumerate(ramp(np.linspace(0, 1, width))):
        pen.draw.line((pen.left + x, pen.y, pen.left + x, pen.y + letters.size), fill=tuple(map(round, colour)))
    pen.draw.rectangle((pen.left, pen.y, pen.left + width - 1, pen.y + letters.size), outline=FAINT)
    pen.y += letters.size + 4
    for tick in _TICKS:
        text = f"{tick:g}"
        room = letters.width(text)
        x = pen.left + min(max(0, round(tick * width) - room // 2), width - room)
        letters.write(pen.draw, (x, pen.y), text, FAINT)
    pen.y += letters.line


def _covers(box: Box, size: tuple[int, int]) -> bool:
    """Whether the map reaches over the whole picture of `size` (height, width)."""
    return box[0] <= 0 and box[1] <= 0 and box[2] >= size[1] and box[3] >= size[0]
