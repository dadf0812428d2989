"""Explanation targets by template, where none were written: the ratings, boxes and main fault in sentences.

Every statement is a level word of a rating, the place of a box or the noted fault, so a target never says more than
people did. Each sentence has several wordings; the edited image's name and a seed choose, so that a model that learns
from them does not learn one text. Numbers are left to the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final

from piqa_cli.compact.explain import FAULT_NAMES
from piqa_cli.pairs.annotations import Annotation, by_edited_image
from piqa_cli.pairs.epaiqa import Label, match_key
from piqa_cli.regions import locate
from piqa_cli.schema import SCALES, Box, Dimension

_WHERE: Final = ("The edited part lies {}.", "The edit is {}.", "What was edited lies {}.")
_WHERES: Final = ("The edited parts lie {}.", "The edits are {}.")
_COMPLETION: Final[dict[str, tuple[str, ...]]] = {
    "not done": ("What the prompt asked for was not done.", "The prompt was not carried out."),
    "partly done": ("What the prompt asked for was done in part.", "The prompt was carried out in part."),
    "done": ("What the prompt asked for was done.", "The prompt was carried out."),
}
_HARMONY: Final = {
    "bad": ("clashes with its surroundings", "does not belong to its surroundings"),
    "poor": ("stands out from its surroundings", "does not fit its surroundings well"),
    "fair": ("fits its surroundings in part", "fits its surroundings only so far"),
    "good": ("fits its surroundings", "goes with its surroundings"),
    "excellent": ("fits its surroundings entirely", "is at one with its surroundings"),
}
_NATURALNESS: Final = {
    "bad": ("looks plainly artificial", "does not look real at all"),
    "poor": ("looks artificial", "does not look real"),
    "fair": ("looks real in part", "looks real only so far"),
    "good": ("looks real", "looks natural"),
    "excellent": ("looks entirely real", "looks entirely natural"),
}
_FAULT: Final = ("The main fault is {}.", "Its main fault is {}.")
_OVERALL: Final = ("Overall quality is rated {}", "On the whole the edit is rated {}")
_LIMITS: Final = {
    Dimension.HARMONY: ("its harmony with the surroundings", "how it fits its surroundings"),
    Dimension.NATURALNESS: ("its naturalness", "how real it looks"),
}
_GOOD = 3.5  # from here up a 1..5 score is "good"


def describe_all(labels: Sequence[Label], annotations: Sequence[Annotation], *, seed: int = 0) -> list[Annotation]:
    """One annotation a label, in their order, each with an explanation: the written one, else the template's.

    A label without rating, box and fault has no explanation. Annotations without a label come last, unchanged.

    Args:
        labels: rated edits.
        annotations: what is known of some of them.
        seed: other wordings for another seed.

    Raises:
        InputError: two annotations name one image (E_DUPLICATE).
    """
    known = by_edited_image(annotations)
    told = []
    for label in labels:
        annotation = known.pop(match_key(label.edited_name), None) or Annotation(label.edited_name)
        if annotation.explanation is None or annotation.template:
            text = describe(label, annotation, seed=seed) or None
            annotation = replace(annotation, explanation=text, template=True)
        told.append(annotation)
    return [*told, *known.values()]


def describe(label: Label, annotation: Annotation, *, seed: int = 0) -> str:
    """One to five sentences; "" where nothing is known.

    Args:
        label: the ratings.
        annotation: boxes and fault of the same edited image.
        seed: as above.
    """
    choose = _Choice(f"{seed}\0{label.edited_name}")
    levels = {dimension: SCALES[dimension].level(value) for dimension, value in label.ratings}
    completion = levels.get(Dimension.COMPLETION)
    sentences = [
        _where(annotation, choose),
        choose(_COMPLETION[completion]) if completion else "",
        _region(levels.get(Dimension.HARMONY), levels.get(Dimension.NATURALNESS), choose),
        _fault(annotation.fault_kind, choose),
        _overall(label, levels.get(Dimension.OVERALL), choose),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


class _Choice:
    """Chooses among wordings by a hash, each time anew."""

    def __init__(self, key: str) -> None:
        self._bytes = iter(sha256(key.encode("utf-8", "surrogatepass")).digest())

    def __call__(self, wordings: Sequence[str]) -> str:
        return wordings[next(self._bytes) % len(wordings)]


def _where(annotation: Annotation, choose: _Choice) -> str:
    if not annotation.boxes or annotation.size is None:
        return ""
    places = list(dict.fromkeys(locate(box, annotation.size) for box in annotation.boxes))
    if len(annotation.boxes) == 1:
        return choose(_WHERE).format(f"{places[0]}{_amount(annotation.boxes[0], annotation.size)}")
    return choose(_WHERES).format(_listed(places))


def _amount(box: Box, size: tuple[int, int]) -> str:
    """How large a box is, in words, for a model that cannot count pixels."""
    share = (box[2] - box[0]) * (box[3] - box[1]) / (size[0] * size[1])
    return " and is small" if share < 0.03 else " and takes up most of the picture" if share > 0.5 else ""


def _region(harmony: str | None, naturalness: str | None, choose: _Choice) -> str:
    clauses = [choose(_HARMONY[harmony])] if harmony else []
    clauses += [choose(_NATURALNESS[naturalness])] if naturalness else []
    if not clauses:
        return ""
    # "and" joins what points the same way, "but" what does not.
    apart = harmony and naturalness and (harmony in {"bad", "poor"}) != (naturalness in {"bad", "poor"})
    return f"The edited part {(' but ' if apart else ' and ').join(clauses)}."


def _fault(kind: str | None, choose: _Choice) -> str:
    if kind is None:
        return ""
    _, words = FAULT_NAMES.get(kind, (None, kind.replace("_", " ").rstrip(".")))
    return choose(_FAULT).format(words)


def _overall(label: Label, level: str | None, choose: _Choice) -> str:
    if level is None:
        return ""
    text = choose(_OVERALL).format(level)
    overall, completion = label.rating(Dimension.OVERALL), label.rating(Dimension.COMPLETION)
    if overall is None or overall >= _GOOD:
        return f"{text}."
    if completion is not None and SCALES[Dimension.COMPLETION].level(completion) == "not done":
        return f"{text}, because the edit was not done."
    rated = [(value, dimension) for dimension, value in label.ratings if dimension in _LIMITS]
    if len(rated) < 2 or min(rated)[0] >= _GOOD or rated[0][0] == rated[1][0]:
        return f"{text}."
    return f"{text}, held back mostly by {choose(_LIMITS[min(rated)[1]])}."


def _listed(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else f"{', '.join(places[:-1])} and {places[-1]}"
