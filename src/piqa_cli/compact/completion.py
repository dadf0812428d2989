"""Prompt completion as far as pixels can show it; null with a reason everywhere else.

Three things need no understanding of the picture: that nothing changed although an edit was asked for, that what
was to be removed is no longer there, and that a region took on the colour that was named. Whether "a dog"
appeared is beyond this model. The spreads hold 80 % of the residuals to the silver ratings
(`benchmarks/completion_accuracy.py`); the removals', 51 of 24 photos, is widened to what photos left out of the fit
asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.compact.features import Measurements
from piqa_cli.schema import Dimension, Edit, Kind, Score, score

SPREAD_UNCHANGED = 0.2
SPREAD_REMOVAL = 1.1
SPREAD_COLOUR = 0.5
_MIN_PIXELS = 64  # fewer have no colour to speak of

_REMOVAL = re.compile(
    r"\b(?:remov(?:e|es|ed|ing)|eras(?:e|ed|ing)|delet(?:e|ed|ing)|get(?:ting)? rid of|take (?:away|out)|clean up"
    r"|without|inpaint (?:away|out)|eliminate|clear away)\b",
    re.IGNORECASE,
)
_SEVERAL = re.compile(r"\bthen\b|(?:\.|;|,)\s*(?:and|also|add|make|change|replace|turn|put)\b|->.*->", re.IGNORECASE)
_RECOLOUR = re.compile(
    r"^\W*(?:please )?(?:make|turn|change|alter|modify|transform|paint|dye|tint|colou?r|recolou?r)\b|->", re.IGNORECASE
)
_FRUIT = re.compile(r"\b(?:apples?|lemons?|fruits?|oranges|(?:an|the) orange(?! \w))\b", re.IGNORECASE)
_MAX_WORDS = 4  # a longer description holds more than its colour


@dataclass(frozen=True, slots=True)
class _Colour:
    """A colour word as a part of CIE L*C*h: ranges of lightness, chroma and hue (degrees, may wrap through 0)."""

    words: tuple[str, ...]
    light: tuple[float, float]
    chroma: tuple[float, float]
    hue: tuple[float, float]


_ANY = (0.0, 360.0)
_COLOURS: tuple[_Colour, ...] = (
    _Colour(("black",), (0, 32), (0, 18), _ANY),
    _Colour(("white",), (68, 100), (0, 18), _ANY),
    _Colour(("grey", "gray"), (25, 80), (0, 14), _ANY),
    _Colour(("red", "crimson", "scarlet"), (12, 75), (22, 200), (350, 52)),
    _Colour(("orange",), (30, 90), (22, 200), (38, 80)),
    _Colour(("brown",), (10, 65), (8, 60), (25, 85)),
    _Colour(("yellow",), (45, 100), (22, 200), (68, 115)),
    _Colour(("golden", "gold"), (30, 100), (15, 200), (55, 105)),
    _Colour(("green",), (10, 95), (12, 200), (98, 185)),
    _Colour(("cyan", "turquoise", "teal"), (20, 95), (12, 200), (165, 240)),
    _Colour(("blue",), (8, 90), (10, 200), (220, 310)),
    _Colour(("purple", "violet"), (8, 85), (10, 200), (285, 345)),
    _Colour(("pink", "magenta"), (30, 95), (12, 200), (320, 30)),
)
_WORD = re.compile(r"\b(" + "|".join(word for colour in _COLOURS for word in colour.words) + r")\b", re.IGNORECASE)


def verify(
    prompt: str | None,
    edit: Edit,
    measurements: Measurements,
    edited: NDArray[np.uint8],
    source: NDArray[np.uint8],
    mask: NDArray[np.bool_],
) -> Score:
    """The prompt-completion score, 1..3, or null with the code N_NO_PROMPT or N_UNVERIFIABLE.

    Args:
        prompt: what was asked for; None or blank where nothing is known.
        edit: whether and how the picture was edited.
        measurements: of the pair in the working frame.
        edited: H x W x 3 uint8 sRGB.
        source: the same, brought onto the edited picture.
        mask: H x W bool, the edited region.
    """
    if prompt is None or not prompt.strip():
        return score(Dimension.COMPLETION, None, reason="no prompt was given", code="N_NO_PROMPT")
    if edit.kind is Kind.NONE or edit.identical:
        return score(Dimension.COMPLETION, 1.0, SPREAD_UNCHANGED, reason="an edit was asked for and nothing changed")
    if edit.kind is not Kind.DIFFERENT:
        if is_removal(prompt):
            return _removal(measurements) or _unverifiable("whether something was removed from so small a region")
        colour = named_colour(prompt)
        if colour is not None and edit.kind is Kind.LOCAL:
            judged = _recoloured(colour, edited, source, mask)
            if judged is not None:
                return judged
    return _unverifiable(f"whether {_quote(prompt)} was carried out")


def is_removal(prompt: str) -> bool:
    """Whether the prompt asks for one thing, and that is to take something away."""
    return bool(_REMOVAL.search(prompt)) and not _SEVERAL.search(prompt)


def asked_kinds(prompt: str | None) -> frozenset[str]:
    """Kinds of finding that are what the prompt asked for, and so no faults: a named colour, more light, a blur."""
    if prompt is None:
        return frozenset()
    kinds = {kind for kind, pattern in _ASKED if re.search(pattern, prompt, re.IGNORECASE)}
    return frozenset(kinds | ({"colour", "exposure"} if _WORD.search(prompt) else set()))


_ASKED = (
    ("exposure", r"\b(bright|dark|light|shadow|night|sunset|exposure|glow|snow)"),
    ("colour", r"\b(colou?r|tint|warm|cold|sepia|saturat|sunset|autumn|night)"),
    ("sharpness", r"\b(blur|sharp|bokeh|focus)"),
    ("noise", r"\b(nois|grain|denois)"),
    ("texture_loss", r"\b(smooth|blur|clean)"),
    ("repetition", r"\b(pattern|tiles?|stripe|checker|duplicate)"),
)


def named_colour(prompt: str) -> str | None:
    """The one colour word that decides whether the prompt was carried out, in lower case.

    None where there is no such word, or several, or where the colour is a detail of a longer description. After
    an arrow or "from X to Y" only the latter part counts.
    """
    short = len(re.findall(r"\w+", re.sub(r"\ba photo of\b", "", prompt, flags=re.IGNORECASE))) <= _MAX_WORDS
    if _SEVERAL.search(prompt) or _FRUIT.search(prompt) or not (short or _RECOLOUR.search(prompt)):
        return None
    target = re.split(r"->|\bto\b", prompt)[-1] if re.search(r"->|\bfrom\b.*\bto\b", prompt) else prompt
    words = {word.lower() for word in _WORD.findall(target)}
    return words.pop() if len(words) == 1 else None


def share_of_colour(colour: str, pixels: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    """Share 0..1 of the pixels (H x W x 3 uint8 sRGB) at `where` that a person would call by this colour word.

    Raises:
        ValueError: the word is not in the table.
    """
    row = next((row for row in _COLOURS if colour in row.words), None)
    if row is None:
        raise ValueError(f"no colour is called {colour!r}")
    soft = cv2.GaussianBlur(pixels, (0, 0), 1.5)
    lab = cv2.cvtColor(soft, cv2.COLOR_RGB2LAB)[where].astype(np.float32)
    light, a, b = lab[:, 0] * (100 / 255), lab[:, 1] - 128, lab[:, 2] - 128
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    first, last = row.hue
    turn = (hue >= first) & (hue <= last) if first <= last else (hue >= first) | (hue <= last)
    fits = (light >= row.light[0]) & (light <= row.light[1]) & (chroma >= row.chroma[0]) & (chroma <= row.chroma[1])
    return float(np.mean(turn & fits)) if lab.size else 0.0


def _recoloured(
    colour: str, edited: NDArray[np.uint8], source: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> Score | None:
    if np.count_nonzero(mask) < _MIN_PIXELS:
        return None
    now, before = share_of_colour(colour, edited, mask), share_of_colour(colour, source, mask)
    value = colour_value(now, before)
    reason = f"{100 * now:.0f} % of the region is {colour} now, {100 * before:.0f} % was; what is {colour} is not known"
    return score(Dimension.COMPLETION, value, SPREAD_COLOUR, reason=reason)


def colour_value(now: float, before: float) -> float:
    """1..3 from the shares of the region that have the named colour, now and in the source.

    A third of a generous mask is an object wholly recoloured. The ends are those of the ratings: where the colour
    did not come the judge still gave 2 on average (it saw a shade of it, or the object at least), where it did, 2.8.
    """
    if now < before - 0.05:
        return 1.5
    return 2.0 + 0.8 * float(np.clip((now - before) / 0.33, 0, 1))


def _removal(measurements: Measurements) -> Score | None:
    if measurements.kept is None:
        return None
    value = removal_value(measurements)
    ghost = measurements.ghosting or 0.0
    reason = f"{100 * measurements.kept:.0f} % of the region's structure is still what it was"
    if ghost > 0.2:
        reason += f", and a faint copy remains in {100 * ghost:.0f} %"
    return score(Dimension.COMPLETION, value, SPREAD_REMOVAL, reason=reason)


def removal_value(measurements: Measurements) -> float:
    """1..3: falls with structure that is still there, with edges where the surroundings have none, and with a ghost.

    Calm ground like its surroundings is what a removal leaves. The ends are those of a fit to the ratings.
    """
    kept = float(np.clip(((measurements.kept or 0.0) - 0.6) / 0.2, 0, 1))
    busy = float(np.clip((measurements.fill or 0.0) / 2.5, 0, 1))
    ghost = float(np.clip(((measurements.ghosting or 0.0) - 0.2) / 0.4, 0, 1))
    return 2.75 - max(1.0 * kept + 0.5 * busy, 0.75 * ghost)


def _unverifiable(what: str) -> Score:
    reason = f"compact cannot judge {what}; use a vision-language model"
    return score(Dimension.COMPLETION, None, reason=reason, code="N_UNVERIFIABLE")


def _quote(prompt: str) -> str:
    text = " ".join(prompt.split())
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"
