"""Where a batch's rows go: a stream, or a file that can be gone on from."""

from __future__ import annotations

import os
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piqa_cli.cli.files import STDIN, Format
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import printable
from piqa_cli.cli.summary import plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.resume import FileHashes, FinishedRows, Journal, Known
    from piqa_cli.schema import Outcome
    from piqa_cli.writers import TableFormat, Writer

JOURNALLED: tuple[Format, ...] = ("jsonl", "csv", "parquet")
"""Formats of files that a batch can go on from."""
TABLES: dict[Format, TableFormat] = {"csv": "csv", "parquet": "parquet"}
"""Those that are made of the journal when all rows are there."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked for: a format, a file (None: standard output), and what to do about what it holds."""

    form: Format
    path: str | None
    resume: bool = False
    overwrite: bool = False

    @property
    def journal(self) -> str | None:
        """The JSONL file that rows are appended to: the output itself, or beside a table; None: nothing to go on from.

        A pipe or a device (`/dev/null`) takes rows as they come, as standard output does.
        """
        if self.path is None or self.form not in JOURNALLED or _is_special(self.path):
            return None
        return self.path if self.form == "jsonl" else f"{self.path}.jsonl"

    @property
    def goes_on(self) -> bool:
        """Whether the output itself holds the rows to go on from."""
        return self.resume and self.path is not None and self.path == self.journal and _holds(self.path)

    def check(self) -> None:
        """Whether the options fit together and the format can be written.

        Raises:
            UsageError: they do not, or a package is not installed.
        """
        if self.resume and self.overwrite:
            raise UsageError("--resume keeps what the output holds, --overwrite does not", hint="give one of them")
        if self.resume and self.journal is None:
            raise UsageError(
                "--resume goes on from a file of results",
                expected=f"--output FILE in one of the formats {', '.join(JOURNALLED)}",
                found=f"format {self.form}, {'standard output' if self.path is None else printable(self.path)}",
            )
        if self.form in TABLES and self.journal is not None:
            from piqa_cli.writers import check_format

            check_format(TABLES[self.form])
        elif self.form == "parquet":
            raise UsageError("Parquet is written to a file", expected="--output FILE.parquet")

    def spare(self) -> None:
        """Refuses to write over results that nobody said may go.

        Raises:
            UsageError: as said.
        """
        held = [path for path in dict.fromkeys((self.path, self.journal)) if path is not None and _holds(path)]
        if self.overwrite or not held:
            return
        if not self.resume:
            raise UsageError(
                f"'{printable(held[0])}' already holds something",
                expected="--resume, to go on from it, or --overwrite, to lose it",
                found="neither",
                hint=None if self.journal else f"only {', '.join(JOURNALLED)} files can be gone on from",
            )
        if self.journal not in held:
            raise UsageError(
                f"--resume: there is no '{printable(str(self.journal))}' to go on from",
                hint=f"'{printable(held[0])}' was made without it: give another --output, or --overwrite",
            )


class Rows(ABC):
    """Takes the items of a batch one by one."""

    @abstractmethod
    def add(self, item: Outcome | Known) -> None:
        """Write a new record, or keep a known one.

        Raises:
            OutputError: it cannot be written.
            BrokenPipeError: the reader went away.
        """

    @abstractmethod
    def early(self, outcome: Outcome) -> Callable[[], Outcome]:
        """Keep a new record whose turn has not come; what is given back gives it back for `add`.

        Raises:
            OutputError: as `add`.
        """

    @abstractmethod
    def read(self, known: Known) -> Outcome:
        """The record of a pair that is known."""

    @abstractmethod
    def finish(self, run: Run) -> None:
        """The input has come to its end.

        Raises:
            OutputError: as `add`.
        """


class _Stream(Rows):
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def add(self, item: Outcome | Known) -> None:
        self._writer.write(self._new(item))

    def early(self, outcome: Outcome) -> Callable[[], Outcome]:
        return lambda: outcome

    def read(self, known: Known) -> Outcome:
        return self._new(known)

    def finish(self, run: Run) -> None:
        self._writer.close()

    def _new(self, item: Outcome | Known) -> Outcome:
        from piqa_cli.resume import Known

        if isinstance(item, Known):
            raise TypeError("a stream holds no records to know a pair by")
        return item


class _Journalled(Rows):
    def __init__(self, journal: Journal, target: Target) -> None:
        self._journal = journal
        self._target = target

    def add(self, item: Outcome | Known) -> None:
        from piqa_cli.resume import Known

        if isinstance(item, Known):
            self._journal.keep(item)
        else:
            self._journal.write(item)

    def early(self, outcome: Outcome) -> Callable[[], Outcome]:
        line = self._journal.write_early(outcome)
        return lambda: self._journal.read_line(line)

    def read(self, known: Known) -> Outcome:
        return self._journal.read(known)

    def finish(self, run: Run) -> None:
        others = self._journal.settle()
        if others:
            run.note(f"{plural(others, 'record')} of pairs that are not in this input kept at the end of the results")
        if self._target.form in TABLES and self._target.path is not None:
            from piqa_cli.writers import read_results, write_table

            write_table(read_results(self._journal.path), self._target.path, TABLES[self._target.form])


@dataclass(frozen=True, slots=True)
class Held:
    """The target while this process is its only writer: the records that it holds, and hashes of files."""

    target: Target
    finished: FinishedRows | None
    hashes: FileHashes

    @contextmanager
    def opened(self, run: Run) -> Iterator[Rows]:
        """The rows to write to. Only now the output changes.

        Raises:
            OutputError: it cannot be written.
        """
        from piqa_cli.resume import Journal
        from piqa_cli.writers import open_writer

        target = self.target
        if target.journal is not None:
            with Journal(target.journal, self.finished, self.hashes) as journal:
                run.go_on = _command(sys.argv[1:], run.implied)
                yield _Journalled(journal, target)
                run.go_on = None
        elif target.form != "parquet":
            with open_writer(target.form, sys.stdout if target.path is None else target.path) as writer:
                yield _Stream(writer)


@contextmanager
def hold(target: Target, run: Run) -> Iterator[Held]:
    """Keeps other writers away, and reads which records there are. Nothing is changed yet.

    Raises:
        OutputError: another process writes there, or nobody may.
        InputError: what is there are no results (E_RESULTS).
    """
    from piqa_cli.resume import HASHES, FileHashes, FinishedRows, only_writer

    journal = target.journal
    if journal is None:
        yield Held(target, None, FileHashes())
        return
    with only_writer(journal):
        there = _holds(journal)
        finished = FinishedRows(journal, run.warn) if target.resume and there else None
        yield Held(target, finished, FileHashes(f"{journal}{HASHES}", recall=there))


def _command(arguments: Sequence[str], implied: Sequence[str]) -> str:
    """The command line that goes on from here."""
    kept = [argument for argument in arguments if argument not in {"--overwrite", "--resume"}]
    end = kept.index("--") if "--" in kept else len(kept)
    line = shlex.join(["piqa", *kept[:end], *implied, "--resume", *kept[end:]])
    source = ", with the same lines on standard input" if STDIN in kept else ""
    return printable(line) + source


def _holds(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) > 0


def _is_special(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)
