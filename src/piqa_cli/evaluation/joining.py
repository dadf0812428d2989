"""Result records and the labels they belong to, joined by the edited file's name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from piqa_cli.errors import InputError
from piqa_cli.pairs.epaiqa import Label, Split, split_of, twice
from piqa_cli.pairs.names import Names
from piqa_cli.schema import Assessment, Dimension, Failure, Outcome


@dataclass(frozen=True, slots=True)
class Case:
    """A rated edit and what came out for it; `outcome` is None where no record belongs to it."""

    label: Label
    outcome: Outcome | None = None

    @property
    def assessment(self) -> Assessment | None:
        """The record, if the pair could be assessed."""
        return self.outcome if isinstance(self.outcome, Assessment) else None

    def value(self, dimension: Dimension) -> float | None:
        """The score of a dimension; None if it is null, or there is no assessment."""
        return None if self.assessment is None else self.assessment.scores.of(dimension).value


@dataclass(frozen=True, slots=True)
class Joined:
    """All labels of the split with their outcomes, in the order of the labels, and what found no partner.

    `strangers` are ids of records that no label belongs to; `elsewhere` counts records of the other split.
    """

    cases: tuple[Case, ...]
    strangers: tuple[str, ...]
    elsewhere: int

    @property
    def matched(self) -> tuple[Case, ...]:
        """The cases that have a record, of whichever status."""
        return tuple(case for case in self.cases if case.outcome is not None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Edited names of the labels that no record belongs to."""
        return tuple(case.label.edited_name for case in self.cases if case.outcome is None)


def edited_path(record: Outcome) -> str:
    """The edited file's path as the record has it."""
    return record.pair.edited if isinstance(record, Failure) else record.pair.edited.path


def select(labels: Iterable[Label | Failure], split: Split | None) -> tuple[tuple[Label, ...], tuple[Failure, ...]]:
    """The labels of a split (all by default), and the rows that cannot be used.

    Raises:
        InputError: two rows rate one edited image (E_DUPLICATE): which of the ratings counts is not ours to say.
    """
    kept: list[Label] = []
    refused: list[Failure] = []
    for label in labels:
        if isinstance(label, Failure):
            if label.error.code == "E_DUPLICATE":
                raise twice("two labels name one edited image", label.pair.edited, "each edited image rated once")
            refused.append(label)
        elif split is None or split_of(label.source_name) == split:
            kept.append(label)
    return tuple(kept), tuple(refused)


def join(labels: Sequence[Label], records: Iterable[Outcome], split: Split | None = None) -> Joined:
    """Each label with its record.

    An assessment takes the place of a failure of the same edit: the pair was tried again.

    Args:
        labels: all labels, of both splits, each edited image once.
        records: in any order.
        split: only the labels of this split.

    Raises:
        InputError: two assessments name one edited image (E_DUPLICATE); nothing joins (E_UNPAIRED).
    """
    names = Names((label.edited_name, index) for index, label in enumerate(labels))
    found: dict[int, Outcome] = {}
    strangers: list[str] = []
    for record in records:
        index = names.find(edited_path(record), record.id)
        if index is None:
            strangers.append(record.id)
            continue
        before = found.get(index)
        if isinstance(before, Assessment) and isinstance(record, Assessment):
            raise twice("two records belong to one label", labels[index].edited_name, "each edited image assessed once")
        if not isinstance(before, Assessment):
            found[index] = record
    wanted = [index for index, label in enumerate(labels) if split in {None, split_of(label.source_name)}]
    joined = Joined(
        tuple(Case(labels[index], found.get(index)) for index in wanted),
        tuple(strangers),
        len(found) - sum(index in found for index in wanted),
    )
    if not joined.matched:
        raise _nothing_joins(joined, len(found))
    return joined


def _nothing_joins(joined: Joined, elsewhere: int) -> InputError:
    shown = ", ".join(repr(name) for name in joined.strangers[:3]) or "no records"
    if elsewhere:
        shown = f"{elsewhere} records, all of the other split"
    return InputError(
        "no record belongs to any label",
        code="E_UNPAIRED",
        expected=", ".join(repr(name) for name in joined.missing[:3]) or "labels of this split",
        found=shown,
        hint="records and labels are joined by the edited file's name; check that both are of the same data",
    )
