"""Every sentence that a model is asked, and the words it may answer with.

A change to any of them changes scores, so it raises `PROMPT_VERSION`, which stands in every record.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piqa_cli.schema import SCALES, Dimension

if TYPE_CHECKING:
    from PIL import Image

PROMPT_VERSION = "1"

MAX_INSTRUCTION = 600  # characters of the edit prompt that are shown; longer ones are cut


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """One user turn: texts and upright sRGB pictures in the order in which they are read; the question follows."""

    parts: tuple[str | Image.Image, ...]

    @property
    def pictures(self) -> list[Image.Image]:
        """The pictures alone, in order."""
        return [part for part in self.parts if not isinstance(part, str)]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of one dimension, and its answers in the order of the scale's levels, worst first."""

    text: str
    words: tuple[str, ...]


_QUALITY = ("bad", "poor", "fair", "good", "excellent")
_ONE_OF_FIVE = "Answer with one word: Excellent, Good, Fair, Poor or Bad."

QUESTIONS: dict[Dimension, Asked] = {
    Dimension.OVERALL: Asked(
        "All in all, how good is the edited picture as the result of this edit? Weigh whether the instruction was "
        f"carried out, whether the edited part fits the scene, and whether it has visible faults. {_ONE_OF_FIVE}",
        _QUALITY,
    ),
    Dimension.COMPLETION: Asked(
        "Compare the two pictures. Was what the instruction asks for done in the edited picture? "
        "Answer with one word: Yes, Partly or No.",
        ("no", "partly", "yes"),
    ),
    Dimension.HARMONY: Asked(
        "How well does the edited part fit the scene around it in light, colour, perspective, sharpness and grain, "
        f"without a visible border? {_ONE_OF_FIVE}",
        _QUALITY,
    ),
    Dimension.NATURALNESS: Asked(
        "Look at the edited part by itself. How natural does it look, free of smeared texture, distorted shapes and "
        f"other traces of generation? {_ONE_OF_FIVE}",
        _QUALITY,
    ),
    Dimension.PRESERVATION: Asked(
        "Look at everything that was not to be edited. How well was it kept as it is in the original picture? "
        f"{_ONE_OF_FIVE}",
        _QUALITY,
    ),
}

WHERE = (
    "Which part of the edited picture, the second one, was changed? Answer with JSON only, the corners of its bounding "
    'box in the second picture: {"bbox_2d": [x0, y0, x1, y1]}'
)

TELL = (
    "Explain this assessment to the person who made the edit, in two or three plain sentences: where the edit is, what "
    "is good or bad about it, and why. Agree with the ratings above. Name no number that is not above."
)


def instruction(prompt: str | None, special: Collection[str]) -> str:
    """What the edit was asked to be, as a sentence.

    Args:
        prompt: the user's text, None or blank where it is not known.
        special: the tokenizer's control tokens; see `defuse`.
    """
    text = " ".join((prompt or "").split())
    if not text:
        return "The instruction for the edit is not known; assume that the edit does what was asked."
    if len(text) > MAX_INSTRUCTION:
        text = f"{text[: MAX_INSTRUCTION - 3]}..."
    return f'The instruction for the edit was: "{defuse(text, special)}".'


def defuse(text: str, special: Collection[str]) -> str:
    """The text without control tokens: `<image>` in a prompt is a word, not a picture.

    Their brackets are dropped, so nothing that is left is one of them.
    """
    brackets = re.compile(r"[^\w\s]")
    control = [token for token in special if brackets.search(token)]
    while found := [token for token in control if token in text]:
        for token in sorted(found, key=len, reverse=True):
            text = text.replace(token, brackets.sub(" ", token))
    return " ".join(text.split())


def compare(
    source: Image.Image, edited: Image.Image, crop: Image.Image | None, asked: str, facts: Sequence[str] = ()
) -> Conversation:
    """Source, edited and, where there is one, the enlarged region; `asked` comes from `instruction`.

    The instruction stands before the pictures, so that what follows them is the same for all pairs of a batch.
    """
    parts: list[str | Image.Image] = [
        f"A part of a picture was edited by a computer program. {asked} The original picture:",
        source,
        "The edited picture:",
        edited,
    ]
    if crop is not None:
        parts += ["The edited part of the edited picture with its surroundings, enlarged:", crop]
    if facts:
        parts.append("\n".join(("What is known about it:", *facts)))
    return Conversation(tuple(parts))


for _dimension, _asked in QUESTIONS.items():
    if len(_asked.words) != len(SCALES[_dimension].levels):
        raise ValueError(f"{_dimension}: a word for each level is needed, found {_asked.words}")
