"""A model's own explanation, held against the scores and regions it was given; the compact one where it does not fit.

The text is generated greedily with the region, the ratings and the measurements in its context. What is then looked
for is what can be looked for: words of praise or blame, level words, places and numbers that the record does not bear
out. A text that fails is asked for once more, with the complaint; a second failure is not printed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from piqa_cli.assessor import Explanation, Grounding, Judgement
from piqa_cli.compact.explain import contradictions
from piqa_cli.compact.explain import explain as explain_compactly
from piqa_cli.images import LoadedPair
from piqa_cli.lmm.greedy import Reply, write
from piqa_cli.lmm.grounding import size_of
from piqa_cli.lmm.prompts import TELL, Conversation
from piqa_cli.regions import describe
from piqa_cli.schema import SCALES, Dimension, Region, Scores

if TYPE_CHECKING:
    from piqa_cli.lmm.loading import Vlm

__all__ = [
    "Case",
    "Explanation",
    "compact_text",
    "complaints",
    "explain_cases",
    "facts",
    "stand_in",
    "stated",
    "tidy",
    "with_complaint",
]

MAX_TOKENS = 160
MAX_SENTENCES = 4
MAX_CHARACTERS = 900
_MOST_FINDINGS = 4

_NAMES = {
    Dimension.OVERALL: "overall quality",
    Dimension.COMPLETION: "completion of the instruction",
    Dimension.HARMONY: "harmony",
    Dimension.NATURALNESS: "naturalness",
    Dimension.PRESERVATION: "preservation",
}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """All that an explanation is made from and held against."""

    pair: LoadedPair
    grounding: Grounding
    judgement: Judgement
    conversation: Conversation

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the edited image."""
        return size_of(self.pair)


def facts(grounding: Grounding, judgement: Judgement, size: tuple[int, int]) -> tuple[str, ...]:
    """Region, ratings and measurements as lines of text."""
    measured = (f"- Measured: {finding.text}" for finding in judgement.findings[:_MOST_FINDINGS])
    return *stated(grounding.regions, judgement.scores, size), *measured


def stated(regions: Sequence[Region], scores: Scores, size: tuple[int, int]) -> tuple[str, ...]:
    """The first region and the ratings that are known as lines of text."""
    where = [f"- The edited part: {describe(region, size)}." for region in regions[:1]]
    ratings = [
        f"- {name[0].upper()}{name[1:]}: {score.level} ({score.value:.1f} of {score.high:g})."
        for dimension, name in _NAMES.items()
        if (score := scores.of(dimension)).value is not None
    ]
    return *where, *ratings


def explain_cases(vlm: Vlm, cases: Sequence[Case]) -> list[Explanation]:
    """One explanation a case: the model's first text, its second, or the compact assessor's with a warning."""
    told = _texts(vlm, cases)
    again = [index for index, (_, wrong) in enumerate(told) if wrong]
    if again:
        retold = _texts(vlm, [with_complaint(cases[index], told[index][1]) for index in again])
        told = [retold[again.index(index)] if index in again else one for index, one in enumerate(told)]
    return [
        Explanation(text) if not wrong else stand_in(case, wrong)
        for case, (text, wrong) in zip(cases, told, strict=True)
    ]


def compact_text(case: Case) -> str:
    """The explanation that the measurements and these scores give by rule."""
    grounding, judgement = case.grounding, case.judgement
    told = grounding.edit, grounding.regions, judgement.scores, judgement.findings
    return explain_compactly(*told, case.size, grounding.alignment, faults=judgement.faults)


def _texts(vlm: Vlm, cases: Sequence[Case]) -> list[tuple[str, tuple[str, ...]]]:
    """Texts, each with what is wrong with it."""
    told = []
    for case, reply in zip(cases, write(vlm, [case.conversation for case in cases], TELL, MAX_TOKENS), strict=True):
        text = tidy(reply)
        told.append((text, complaints(text, case)))
    return told


def with_complaint(case: Case, wrong: Sequence[str]) -> Case:
    """The case as it is put to the model once more, with what was wrong with the first text."""
    said = f"An earlier explanation was refused: {'; '.join(wrong)}. Write one without that."
    return replace(case, conversation=Conversation((*case.conversation.parts, said)))


def stand_in(case: Case, wrong: Sequence[str]) -> Explanation:
    """The compact assessor's text, with a warning that says why it is not the model's."""
    warning = f"explanation: the model's own was refused twice ({'; '.join(wrong)}); this one is made from measurements"
    return Explanation(compact_text(case), (warning,))


def tidy(reply: Reply) -> str:
    """Whole sentences on one line, at most `MAX_SENTENCES` of them; what the limit cut off is left out."""
    text = " ".join("".join(c if c.isprintable() else " " for c in reply.text).replace("**", "").split())
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text[:MAX_CHARACTERS])
    if sentences and not re.search(r"[.!?][\"')\]]?$", sentences[-1]):
        sentences.pop()
    return " ".join(sentences[:MAX_SENTENCES])


def complaints(text: str, case: Case) -> tuple[str, ...]:
    """What in a text the record does not bear out, each as a clause; empty where nothing was found."""
    if len(re.findall(r"[A-Za-z]{2,}", text)) < 5:
        return ("it was no whole sentence",)
    scores, edit = case.judgement.scores, case.grounding.edit
    wrong = [f"it says {clash}" for clash in contradictions(text, scores)]
    wrong += _levels(text, scores)
    wrong += _places(text, case.grounding.regions, case.size)
    if edit.edited and re.search(r"\b(nothing (was|has been)|no part (was|has been)) (edited|changed)\b", text, re.I):
        wrong.append("it says that nothing was edited")
    known = set(_numbers(" ".join(facts(case.grounding, case.judgement, case.size))))
    known |= set(_numbers(case.pair.info.prompt or ""))
    known |= {f"{scale.high:g}" for scale in SCALES.values()}
    made_up = [number for number in _numbers(text) if number not in known]
    if made_up:
        wrong.append(f"it names {made_up[0]}, a number that was not given")
    return tuple(dict.fromkeys(wrong))


_SPOKEN = {
    Dimension.OVERALL: r"overall(?: quality)?",
    Dimension.HARMONY: "harmony",
    Dimension.NATURALNESS: "naturalness",
    Dimension.PRESERVATION: "preservation",
}
_LINK = r"(?:\s+(?:is|was|of|the|edit|rating|score|rated|seems|looks|as|a|very|only|just))*\s*:?\s*"


def _levels(text: str, scores: Scores) -> list[str]:
    """Level words beside a dimension's name that are not its level."""
    wrong = []
    for dimension, name in _SPOKEN.items():
        score = scores.of(dimension)
        words = "|".join(SCALES[dimension].levels)
        for word in re.findall(rf"\b{name}\b{_LINK}\b({words})\b", text, re.IGNORECASE):
            if score.level is not None and word.lower() != score.level:
                wrong.append(f"it calls {_NAMES[dimension]} {word.lower()}, which is rated {score.level}")
    return wrong


_SIDES = (  # words for a side, the axis, and whether the side is the lower half of it
    (r"upper|top", 1, True),
    (r"lower|bottom", 1, False),
    (r"left", 0, True),
    (r"right", 0, False),
)
_ABOUT_THE_EDIT = re.compile(
    r"\b(edit(ed)?|change(d)?|region) (part |region |area |object )?(is|was|lies|sits|at|in|on)\b", re.I
)


def _places(text: str, regions: Sequence[Region], size: tuple[int, int]) -> list[str]:
    """Sentences that put the edit on a side of the picture where no region reaches."""
    if not regions:
        return []
    wrong = []
    for sentence in re.split(r"(?<=[.!?;])\s+", text):
        if not _ABOUT_THE_EDIT.search(sentence):
            continue
        for words, axis, first_half in _SIDES:
            match = re.search(rf"\b({words})\b", sentence, re.IGNORECASE)
            if match and not any(_reaches(region, axis, first_half, size) for region in regions):
                wrong.append(f"it puts the edit at the {match.group(0).lower()}, where it is not")
    return wrong


def _reaches(region: Region, axis: int, first_half: bool, size: tuple[int, int]) -> bool:
    middle = size[1 - axis] / 2
    return region.box[axis] < middle if first_half else region.box[axis + 2] > middle


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)
