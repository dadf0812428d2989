"""Two to four plain sentences from evidence: where, what stands out, what drifted, what could not be judged.

The scores lead and the findings support them. A low score without a matching finding is said to be the learned
judge's; a finding beside a high score is said to stand against it. Beside a score below "good" the learned judge's
main fault of that dimension is named, with the measurement that bears it out if there is one; beside good scores
none is. Every number in the text is a region's area or a finding's value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from piqa_cli.compact.findings import dimension_of
from piqa_cli.regions import describe, locate, place
from piqa_cli.schema import Alignment, Dimension, Edit, Fault, Finding, Kind, Region, Score, Scores, Severity

_LOW, _HIGH = 2.5, 3.5  # the ends of "fair" on the 1..5 scales

_ALIGNED = {
    "shift": "With the source shifted into place, ",
    "affine": "With the source moved into place, ",
    "crop": "With the source cropped to match, ",
}

_UNKNOWN = {
    Dimension.OVERALL: "the overall quality",
    Dimension.COMPLETION: "whether the prompt was carried out",
    Dimension.HARMONY: "harmony",
    Dimension.NATURALNESS: "naturalness",
    Dimension.PRESERVATION: "preservation",
}

_REASONS = {
    "N_NO_PROMPT": "no prompt was given",
    "N_UNVERIFIABLE": "this needs a model that understands the picture",
    "N_NO_EDIT": "nothing was edited",
    "N_DIFFERENT_PICTURE": "the two pictures do not show the same scene",
    "E_MASK_EMPTY": "the mask is empty",
    "E_MASK_FULL": "the mask covers the whole picture",
}

FAULT_NAMES: dict[str, tuple[Dimension, str]] = {
    "exposure": (Dimension.HARMONY, "a mismatch in brightness"),
    "colour": (Dimension.HARMONY, "a colour cast"),
    "noise": (Dimension.HARMONY, "a mismatch in grain"),
    "sharpness": (Dimension.HARMONY, "a mismatch in sharpness"),
    "seam": (Dimension.HARMONY, "a visible seam"),
    "texture_loss": (Dimension.NATURALNESS, "missing fine texture"),
    "smear": (Dimension.NATURALNESS, "smeared texture"),
    "blocking": (Dimension.NATURALNESS, "a block grid"),
    "warp": (Dimension.NATURALNESS, "bent shapes"),
    "ghost": (Dimension.NATURALNESS, "a ghost of what was there before"),
    "repetition": (Dimension.NATURALNESS, "a repeated pattern"),
    "garbled": (Dimension.NATURALNESS, "garbled structure"),
}
"""Kind of fault -> the dimension that it costs, and what sentences call it."""

_MEASURED_AS = {"ghost": "ghosting"}  # faults whose finding has another name

_DONE = {
    "not done": "The prompt does not seem to have been carried out",
    "partly done": "The prompt seems to have been carried out in part",
    "done": "The prompt seems to have been carried out",
}


def explain(
    edit: Edit,
    regions: Sequence[Region],
    scores: Scores,
    findings: Sequence[Finding],
    size: tuple[int, int],
    alignment: Alignment,
    *,
    faults: Sequence[Fault] = (),
) -> str:
    """The explanation of one pair, two to four sentences.

    Args:
        edit: whether and how the picture was edited.
        regions: the edited regions, largest first.
        scores: the five scores; the text never contradicts them.
        findings: most severe first, as `findings.find` gives them.
        size: (height, width) of the edited image.
        alignment: how the source was brought onto the edited image.
        faults: worst first; kinds that are not known are passed over.
    """
    sentences = [_where(edit, regions, scores, size, alignment)]
    if edit.kind is Kind.DIFFERENT:
        sentences.append("What was edited, and how well, cannot be judged without a common picture")
        return _join(sentences)
    inside = [f for f in findings if dimension_of(f.kind) is not Dimension.PRESERVATION]
    outside = [f for f in findings if dimension_of(f.kind) is Dimension.PRESERVATION]
    seen = faults if edit.kind is not Kind.NONE else ()
    quality = _quality(scores, inside, seen, whole=edit.kind is Kind.GLOBAL or not regions)
    rest = "" if edit.identical else _rest(scores.preservation, outside, whole=not regions)
    sentences += [s for s in (quality, rest, _open(scores)) if s]
    if len(sentences) == 1:
        sentences.append("No single measurement stands out")
    return _join(sentences)


def _join(sentences: Sequence[str]) -> str:
    return " ".join(f"{sentence}." for sentence in sentences)


def _where(edit: Edit, regions: Sequence[Region], scores: Scores, size: tuple[int, int], alignment: Alignment) -> str:
    if edit.kind is Kind.DIFFERENT:
        return "The edited file shows a different picture: the source could not be brought onto it"
    if edit.identical:
        return "Both files hold the same pixels: nothing was edited"
    text = _ALIGNED.get(alignment.method, "") + _change(edit, regions, scores, size)
    return text[0].upper() + text[1:]


def _change(edit: Edit, regions: Sequence[Region], scores: Scores, size: tuple[int, int]) -> str:
    if edit.kind is Kind.NONE:
        return "no edit was found: the files differ only as a re-encoding or a resize makes them differ"
    if not regions and scores.harmony.code == "E_MASK_EMPTY":
        return "the picture was changed, but the mask marks no region"
    if edit.kind is Kind.GLOBAL:
        part = f"; the region judged is {_placed(regions[0], size)}" if regions else ""
        return f"the whole picture was changed rather than one part{part}"
    if not regions:
        return "the picture was changed, but no region could be outlined"
    which = {1: "the edited region", 2: "the larger of two edited regions"}.get(
        len(regions), "the largest of several edited regions"
    )
    return f"{which} is {_placed(regions[0], size)}"


def _placed(region: Region, size: tuple[int, int]) -> str:
    """In the form `in the upper left, 12 % of the image`."""
    return locate(region.box, size) + describe(region, size).removeprefix(place(region.box, size))


def _quality(scores: Scores, findings: Sequence[Finding], faults: Sequence[Fault], *, whole: bool) -> str:
    """Harmony and naturalness with what supports or opposes them; empty where neither is known."""
    known = [
        (name, dimension, scores.of(dimension))
        for name, dimension in (("harmony", Dimension.HARMONY), ("naturalness", Dimension.NATURALNESS))
        if scores.of(dimension).value is not None
    ]
    if not known:
        return _clause(findings[0], capital=True) if findings else ""
    known.sort(key=lambda item: _value(item[2]))
    _, dimension, worst = known[0]
    rated = _rated(known)
    if _value(worst) < _HIGH:
        return _supported(rated, known[0], _main_fault(faults, dimension, findings), findings)
    if findings:
        return f"{rated}, although {_clause(findings[0])}"
    if len(known) == 2 and not whole:
        return "The edit blends into the scene and looks natural: no single measurement stands out"
    return f"{rated}; no single measurement stands out"


def _main_fault(faults: Sequence[Fault], dimension: Dimension, findings: Sequence[Finding]) -> Fault | None:
    """The worst fault of a dimension, unless it is a slight estimate alone: that is right too seldom to be told."""
    main = next((f for f in faults if f.kind in FAULT_NAMES and FAULT_NAMES[f.kind][0] is dimension), None)
    if main is None or main.level != "slight":
        return main
    kind = _MEASURED_AS.get(main.kind, main.kind)
    return main if any(finding.kind == kind for finding in findings) else None


def _supported(rated: str, worst: tuple[str, Dimension, Score], main: Fault | None, findings: Sequence[Finding]) -> str:
    """The ratings, and what stands behind the worse of them, which is below "good"; `main` is its main fault."""
    name, dimension, score = worst
    own = [f for f in findings if dimension_of(f.kind) is dimension]
    low = _value(score) < _LOW
    stated = own if low else findings
    measured = [f for f in own if main and f.kind == _MEASURED_AS.get(main.kind, main.kind)]
    if main and measured:  # one statement: the measurement says how severe the fault is
        beside = f"; {_clause(stated[0])}" if stated[0] is not measured[0] else ""
        return f"{rated}; the main fault is {_words(main.kind, measured[0].severity)}: {_clause(measured[0])}{beside}"
    fault = f"{_words(main.kind, main.level)} as the main fault" if main else ""
    if low and not own:
        named = f" and names {fault}" if fault else ""
        aside = f"; {_clause(findings[0])}" if findings else ""
        judged = f"The learned judge rates {name} {score.level}{named}"
        return f"{judged}, although no single measurement stands out for it{aside}"
    said = _clause(stated[0]) if stated else "no single measurement stands out"
    if fault:
        return f"{rated}; the learned judge names {fault}, and {said}"
    return f"{rated}{':' if low else ';'} {said}"


def _words(kind: str, severity: Severity) -> str:
    return f"{FAULT_NAMES[kind][1]} ({severity})"


def _rated(known: Sequence[tuple[str, Dimension, Score]]) -> str:
    words = [f"{name} is rated {score.level}" for name, _, score in known]
    if len(known) == 2 and known[0][2].level == known[1][2].level:
        words = [f"harmony and naturalness are rated {known[0][2].level}"]
    text = " and ".join(words)
    return text[0].upper() + text[1:]


def _rest(score: Score, findings: Sequence[Finding], *, whole: bool) -> str:
    """What became of the rest of the picture; empty where preservation is not known and nothing was measured."""
    if score.value is None:
        return _clause(findings[0], capital=True) if findings else ""
    if findings:
        if score.value < _HIGH:
            return f"Preservation is rated {score.level}: {_clause(findings[0])}"
        return f"Preservation is rated {score.level}, although {_clause(findings[0])}"
    where = "" if whole else " outside the region"
    if score.value < _LOW:
        return f"The learned judge rates preservation {score.level}, although no single measurement{where} stands out"
    if score.value >= _HIGH:
        return "No drift was measured" if whole else "No drift was measured in the rest of the picture"
    return f"Preservation is rated {score.level}; no single measurement{where} stands out"


def _open(scores: Scores) -> str:
    """The prompt's verdict and what is not known, in one sentence; empty where all is said."""
    completion = scores.prompt_completion
    parts = [] if completion.level is None else [_DONE[completion.level]]
    unknown: dict[str, list[str]] = {}
    for dimension, name in _UNKNOWN.items():
        score = scores.of(dimension)
        if score.value is None:
            unknown.setdefault(_reason(score), []).append(name)
    for reason, names in unknown.items():
        listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
        parts.append(f"{listed} could not be judged: {reason}")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def _reason(score: Score) -> str:
    """The stable code's words, else the score's own reason as a fragment without sentence ends or numbers."""
    if score.code in _REASONS:
        return _REASONS[score.code]
    text = re.sub(r"[.;:!?]+(\s|$)", ", ", score.reason or "").strip(" ,")
    return "the evidence does not suffice" if not text or re.search(r"\d", text) else text


def _clause(finding: Finding, *, capital: bool = False) -> str:
    text = finding.text.rstrip(".")
    return text if capital else text[0].lower() + text[1:]


def _value(score: Score) -> float:
    return 0.0 if score.value is None else score.value


@dataclass(frozen=True, slots=True)
class _Claim:
    """Words that only fit scores of at least (sign 1) or at most (sign -1) `bound`."""

    dimension: Dimension
    pattern: str
    sign: int
    bound: float


_NAMES = {Dimension.HARMONY: "harmony", Dimension.NATURALNESS: "naturalness", Dimension.PRESERVATION: "preservation"}


def _fault_named(dimension: Dimension) -> str:
    """A pattern for a fault of this dimension that is called the main one."""
    words = "|".join(re.escape(words) for of, words in FAULT_NAMES.values() if of is dimension)
    return rf"\bmain fault is ({words})|\bnames ({words}) [^.]*main fault"


_CLAIMS: tuple[_Claim, ...] = (
    _Claim(Dimension.HARMONY, _fault_named(Dimension.HARMONY), -1, 3.5),
    _Claim(Dimension.NATURALNESS, _fault_named(Dimension.NATURALNESS), -1, 3.5),
    _Claim(Dimension.HARMONY, r"\b(blends? in|fits? (in )?well|seamless|harmonious)", 1, 3.0),
    _Claim(Dimension.HARMONY, r"\b(does not fit|clashes|looks pasted|out of place)", -1, 3.5),
    _Claim(Dimension.NATURALNESS, r"\b(looks? natural|free of artefacts|no artefact|realistic)", 1, 3.0),
    _Claim(Dimension.NATURALNESS, r"\b(looks? (fake|unnatural|artificial)|full of artefacts)", -1, 3.5),
    _Claim(Dimension.PRESERVATION, r"\b(no drift|rest [^.]*(unchanged|untouched|preserved))", 1, 3.0),
    _Claim(Dimension.COMPLETION, r"\bprompt (does not seem|was not|is not)", -1, 2.0),
    _Claim(Dimension.COMPLETION, r"\bprompt (seems to have been|was|is) (fully )?carried out(?! in part)", 1, 2.0),
)


def contradictions(text: str, scores: Scores) -> tuple[str, ...]:
    """Claims in an explanation, by any model, that the scores do not bear out; empty when there is none.

    Looks for set phrases of praise and blame, and for "harmony is rated good" with another level word than the
    score's. It cannot see a contradiction put into other words.
    """
    found = []
    for claim in _CLAIMS:
        match = re.search(claim.pattern, text, re.IGNORECASE)
        value = scores.of(claim.dimension).value
        if match and value is not None and claim.sign * value < claim.sign * claim.bound:
            found.append(f"{match.group(0)!r} with {claim.dimension.value} {value:.1f}")
    for dimension, name in _NAMES.items():
        score = scores.of(dimension)
        pattern = rf"\b{name}(?: and \w+)? (?:is|are) rated (\w+)|rates {name} (\w+)"
        for level in re.findall(pattern, text, re.IGNORECASE):
            word = "".join(level)
            if word != score.level:
                found.append(f"{name} called {word}, scored {score.level}")
    return tuple(found)
