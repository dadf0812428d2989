"""Whether explanations are true: the right region, the right fault, no quarrel with the scores.

What a text claims is read off set phrases: those of piqa's own explanations, and common ones of large models. A claim
put into other words is not seen and counts as not made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from piqa_cli.compact.explain import contradictions
from piqa_cli.evaluation.means import Mean, mean_of
from piqa_cli.evaluation.scores import Resampling
from piqa_cli.evaluation.wording import bleu4, rouge_l
from piqa_cli.pairs.annotations import Annotation
from piqa_cli.regions import PLACES, place
from piqa_cli.schema import Assessment, Box

FAULT_WORDS: dict[str, str] = {
    "exposure": r"brightness|exposure|(under|over)-?exposed|too (bright|dark)|brighter|darker",
    "colour": r"colou?r (cast|mismatch|shift|tint)|tint(ed)?|mismatch in colou?r",
    "noise": r"grain(y|s)?|noise|noisy",
    "sharpness": r"sharpness|too sharp|sharper|blurr(y|ed)|out of focus",
    "seam": r"seams?|(visible|hard) (edges?|borders?)",
    "texture_loss": r"(missing|lost|loss of|lacks?|lacking) (fine |the )?texture|texture loss|over-?smoothed|plastic",
    "smear": r"smear(s|ed|ing)?",
    "blocking": r"block grid|blocking|blocky|blockiness|compression art[ei]facts?",
    "warp": r"bent|warp(s|ed|ing)?|distort(ed|ions?)|deformed",
    "ghost": r"ghost(s|ing)?|remnants?|residue",
    "repetition": r"repeat(s|ed|ing)?|repetitions?|repetitive|duplicated|tiling",
    "garbled": r"garbled|nonsensical|illegible",
}
_MAIN = re.compile(r"main fault is ([^:;.]+)|names ([^;.]+?) as the main fault", re.IGNORECASE)
_DENIED = re.compile(r"\b(no|not|without|free of|never)\b[\w\s]{0,24}$", re.IGNORECASE)
_SYNONYMS = (  # other words for the places of `regions.place`
    (r"\bcent(er|ral)\b|\bmiddle(?! edge|, full)\b", "centre"),
    (r"\btop(?! edge)\b", "upper"),
    (r"\bbottom(?! edge)\b", "lower"),
    (r"\b(left|right)[ -]hand\b", r"\1"),
    (r"\b(upper|lower)[- ](left|right|centre)\b", r"\1 \2"),
    (r"\bcentre (left|right)\b", r"\1"),
)
_PLACE = re.compile("|".join(rf"\b{re.escape(words)}\b" for words in sorted(PLACES, key=len, reverse=True)))


@dataclass(frozen=True, slots=True)
class Told:
    """One explanation against what is known; None where the truth is not known.

    `region` and `fault` are whether it names the right one, `agrees` whether it fits the record's scores, `recorded`
    whether the record's own main fault is the right one.
    """

    source: str
    text: str
    reference: str | None
    region: bool | None
    fault: bool | None
    recorded: bool | None
    agrees: bool

    @property
    def faithful(self) -> bool | None:
        """All that can be known is right; None if neither region nor fault can be."""
        known = [one for one in (self.region, self.fault) if one is not None]
        return all(known) and self.agrees if known else None


@dataclass(frozen=True, slots=True)
class ExplanationReport:
    """Figures of the explanations; `without` counts the assessments that have none."""

    figures: tuple[Mean, ...]
    without: int


def check(assessment: Assessment, annotation: Annotation | None, boxes: Sequence[Box], source: str) -> Told | None:
    """One record's explanation; None if it has none.

    Args:
        assessment: the record.
        annotation: what is known of the edit, if anything is.
        boxes: the true regions, none if they are not known; the largest must be named.
        source: the photo's name.
    """
    text = assessment.explanation
    if text is None:
        return None
    region = None
    if boxes:
        size = (assessment.pair.edited.height, assessment.pair.edited.width)
        largest = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        region = place_named(text) == place(largest, size)
    fault = recorded = None
    if annotation is not None and (wanted := annotation.fault_kind) is not None:
        fault = faults_named(text)[:1] == (wanted,)
        recorded = assessment.faults[0].kind == wanted if assessment.faults else False
    agrees = not contradictions(text, assessment.scores)
    reference = None if annotation is None else annotation.explanation
    return Told(source, text, reference, region, fault, recorded, agrees)


def place_named(text: str) -> str | None:
    """The first place that a text names, in the words of `regions.place`."""
    text = text.lower()
    for pattern, words in _SYNONYMS:
        text = re.sub(pattern, words, text)
    match = _PLACE.search(text)
    return match.group(0) if match else None


def faults_named(text: str) -> tuple[str, ...]:
    """The kinds of fault that a text names and does not deny: one that it calls the main one, then in its order."""
    main = [span for match in _MAIN.finditer(text) for span in match.groups() if span]
    return tuple(dict.fromkeys([*(kind for span in main for kind in _kinds(span)), *_kinds(text)]))


def _kinds(text: str) -> list[str]:
    found = [
        (match.start(), kind)
        for kind, words in FAULT_WORDS.items()
        for match in re.finditer(rf"\b(?:{words})\b", text, re.IGNORECASE)
        if not _DENIED.search(text[: match.start()])
    ]
    return [kind for _, kind in sorted(found)]


def summarise(told: Sequence[Told], without: int, how: Resampling) -> ExplanationReport:
    """Shares of explanations that are right, and their likeness to references."""
    sources = [one.source for one in told]
    shares = (
        ("faithful", [one.faithful for one in told]),
        ("right region", [one.region for one in told]),
        ("right fault", [one.fault for one in told]),
        ("right fault in the record", [one.recorded for one in told]),
        ("agrees with the scores", [one.agrees for one in told]),
    )
    figures = [mean_of(name, [_share(one) for one in column], sources, how) for name, column in shares]
    compared = [(one, one.reference) for one in told if one.reference is not None]
    texts, references = [one.text for one, _ in compared], [reference for _, reference in compared]
    likeness = [rouge_l(text, reference) for text, reference in zip(texts, references, strict=True)]
    figures.append(Mean("BLEU-4", len(texts), bleu4(texts, references)))
    figures.append(mean_of("ROUGE-L", likeness, [one.source for one, _ in compared], how))
    return ExplanationReport(tuple(figures), without)


def _share(value: bool | None) -> float:
    return float("nan") if value is None else float(value)
