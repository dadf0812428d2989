"""Everything that an evaluation says, made from labels, joined records and annotations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from piqa_cli.errors import InputError
from piqa_cli.evaluation import explanations, grounding
from piqa_cli.evaluation.baselines import Rows, blind, from_ratings, parts_of
from piqa_cli.evaluation.explanations import ExplanationReport, Told
from piqa_cli.evaluation.grounding import GroundingReport, Overlap
from piqa_cli.evaluation.joining import Case, Joined, edited_path
from piqa_cli.evaluation.reliability import Reliability, reliability
from piqa_cli.evaluation.scores import (
    SUBSETS,
    Resampling,
    ScoreRow,
    System,
    score_rows,
    system_of,
)
from piqa_cli.evaluation.significance import Difference, compare
from piqa_cli.pairs.annotations import Annotation, by_edited_image
from piqa_cli.pairs.columns import Ratings, ratings_of
from piqa_cli.pairs.epaiqa import Label, Split, match_key, split_of
from piqa_cli.pairs.names import Names
from piqa_cli.pairs.truth import true_regions
from piqa_cli.schema import Failure

Baselines = Literal["none", "blind", "all"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Records under the name that tables call them by, joined with the labels."""

    name: str
    joined: Joined


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be measured of one edit, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Details:
    """What one subject's records say beyond numbers on the rated dimensions; None where nothing is annotated."""

    name: str
    reliability: tuple[Reliability, ...]
    grounding: GroundingReport | None
    explanations: ExplanationReport
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures, the subjects that they are of, and the labels and annotations that could not be read."""

    split: Split | None
    labels: int
    how: Resampling
    subjects: tuple[Subject, ...]
    rows: tuple[ScoreRow, ...]
    details: tuple[Details, ...]
    differences: tuple[Difference, ...]
    refused: tuple[Failure, ...]


def evaluate(
    labels: Sequence[Label],
    subjects: Sequence[Subject],
    *,
    split: Split | None = None,
    annotations: Iterable[Annotation] = (),
    baselines: Baselines = "blind",
    how: Resampling = Resampling(),  # noqa: B008 - frozen
    refused: Sequence[Failure] = (),
) -> Evaluation:
    """Measures records against labels.

    Each subject is measured on the edits that it has a record of, the baselines on those of the first (without subjects
    on all of the split).

    Args:
        labels: all labels, of both splits.
        subjects: none, one, or two to compare.
        split: what the subjects were joined with.
        annotations: what is known beyond ratings.
        baselines: which to measure beside them.
        how: of the intervals, and of the comparison.
        refused: rows of the files that could not be used.

    Raises:
        InputError: there is no label of this split (E_UNPAIRED), or two annotations name one image (E_DUPLICATE).
    """
    rows: list[ScoreRow] = []
    for subject in subjects:
        cases = subject.joined.matched
        failed = np.array([isinstance(case.outcome, Failure) for case in cases])
        rows += score_rows(_ratings(cases), system_of(subject.name, cases), failed, how)
    wanted = _wanted(labels, subjects, split)
    ratings = ratings_of([labels[index] for index in wanted])
    for system in _baselines(labels, wanted, split, baselines):
        chosen = SUBSETS if system.kind == "blind" else SUBSETS[:2]
        rows += score_rows(ratings, system, np.zeros(wanted.size, bool), how, chosen)
    names = Names(by_edited_image(annotations).items())
    return Evaluation(
        split,
        len(wanted) if not subjects else len(subjects[0].joined.cases),
        how,
        tuple(subjects),
        tuple(rows),
        tuple(_details(subject, names, how) for subject in subjects),
        _differences(subjects, how),
        tuple(refused),
    )


def _ratings(cases: Sequence[Case]) -> Ratings:
    return ratings_of([case.label for case in cases])


def _wanted(labels: Sequence[Label], subjects: Sequence[Subject], split: Split | None) -> Rows:
    """Indices of the labels that the baselines predict."""
    if subjects:
        measured = {match_key(case.label.edited_name) for case in subjects[0].joined.matched}
        return np.flatnonzero([match_key(label.edited_name) in measured for label in labels])
    wanted = np.flatnonzero([split in {None, split_of(label.source_name)} for label in labels])
    if wanted.size == 0:
        raise InputError("there are no labels", code="E_UNPAIRED", expected="labels of this split", found="none")
    return wanted


def _baselines(labels: Sequence[Label], wanted: Rows, split: Split | None, which: Baselines) -> Iterator[System]:
    parts = parts_of(labels, wanted, split)
    if which != "none":
        yield from blind(labels, wanted, parts)
    if which == "all":
        yield from from_ratings(labels, wanted, parts)


def _details(subject: Subject, names: Names[Annotation], how: Resampling) -> Details:
    overlaps: list[Overlap] = []
    told: list[Told] = []
    problems: list[Problem] = []
    without = 0
    for case in subject.joined.matched:
        if case.assessment is None:
            continue
        annotation = names.find(edited_path(case.assessment), case.assessment.id)
        truth = None
        try:
            truth = None if annotation is None else true_regions(annotation, case.assessment.pair.edited)
            if truth is not None:
                overlaps.append(grounding.overlap_of(case.assessment, truth, case.label.source_name))
        except InputError as error:
            problems.append(Problem(case.label.edited_name, error.message))
        one = explanations.check(
            case.assessment, annotation, () if truth is None else truth.boxes, case.label.source_name
        )
        without += one is None
        told += [] if one is None else [one]
    return Details(
        subject.name,
        reliability(subject.name, subject.joined.matched),
        grounding.summarise(overlaps, how) if overlaps else None,
        explanations.summarise(told, without, how),
        tuple(problems),
    )


def _differences(subjects: Sequence[Subject], how: Resampling) -> tuple[Difference, ...]:
    """The first subject against the second, on the edits that both have a record of."""
    if len(subjects) != 2 or not how.resamples:
        return ()
    second = {match_key(case.label.edited_name): case for case in subjects[1].joined.matched}
    shared = [
        (case, second[key])
        for case in subjects[0].joined.matched
        if (key := match_key(case.label.edited_name)) in second
    ]
    if not shared:
        raise InputError(
            "the two result files have no edit in common",
            code="E_UNPAIRED",
            expected="some edits in both",
            found="none",
        )
    one, other = [case for case, _ in shared], [case for _, case in shared]
    return compare(_ratings(one), system_of(subjects[0].name, one), system_of(subjects[1].name, other), how)
