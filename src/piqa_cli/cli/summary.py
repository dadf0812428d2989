"""What a batch came to: a few lines on standard error, and the same as JSON for `--summary`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from piqa_cli.cli.gates import DIMENSIONS, Gate, Tally
from piqa_cli.cli.streams import printable
from piqa_cli.errors import OutputError

_TOLD = 3
"""Pairs a gate named on standard error; the JSON has more."""
_NAME = 28  # characters of such a name
_SHORT = {dimension: name for name, dimension in DIMENSIONS.items()}


@dataclass(frozen=True, slots=True)
class LowScore:
    """A pair that did not pass a gate; `value` null: it has no score, or was not assessed."""

    id: str
    value: float | None


@dataclass(frozen=True, slots=True)
class GateSummary:
    """One `--fail-under`: how many pairs did not pass, and the lowest of them."""

    dimension: str
    minimum: float
    below: int
    lowest: tuple[LowScore, ...]


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """One dimension over the pairs that have a score in it; 10 and 90 are percentiles."""

    dimension: str
    count: int
    mean: float
    median: float
    low10: float
    high90: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a finished batch."""

    pairs: int
    before: int  # of these: by an earlier run, whose records were kept
    assessed: int
    failed: int
    failures: dict[str, int]  # code -> count
    gates: tuple[GateSummary, ...]
    scores: tuple[ScoreSummary, ...]
    seconds: float
    output: str | None  # None: standard output
    exit_status: int
    verdicts: tuple[str, ...]

    @classmethod
    def of(cls, tally: Tally, seconds: float, output: str | None, exit_status: int) -> Summary:
        """The summary of all outcomes that the tally has seen."""
        return cls(
            pairs=tally.done,
            before=tally.before,
            assessed=tally.done - tally.failed,
            failed=tally.failed,
            failures=dict(sorted(tally.failures.items())),
            gates=tuple(_gate(tally, gate) for gate in tally.gates),
            scores=tuple(_scores(name, values) for name, values in tally.values.items() if len(values)),
            seconds=round(seconds, 3),
            output=None if output == "-" else output,
            exit_status=exit_status,
            verdicts=tuple(tally.verdicts()),
        )

    def lines(self) -> Iterator[str]:
        """For people: the counts, then a line for each thing that there is to tell."""
        codes = ", ".join(f"{code} {count}" for code, count in self.failures.items())
        failed = f"{self.failed} failed ({codes})" if self.failed else "none failed"
        before = f", {self.before} of the pairs in earlier runs" if self.before else ""
        rate = (self.pairs - self.before) / self.seconds if self.seconds else 0.0
        told = f" ({rate:.1f} a second)" if self.pairs - self.before > 1 else ""
        time = f"{_clock(self.seconds)}{told}"
        yield f"{self.assessed} of {plural(self.pairs, 'pair')} assessed in {time}{before}, {failed}"
        for verdict, gate in zip(self.verdicts, self.gates, strict=True):
            yield f"  {verdict}"
            if gate.below > 1:
                yield f"    lowest: {', '.join(map(_named, gate.lowest[:_TOLD]))}{', ...' * (gate.below > _TOLD)}"
        most = max((score.count for score in self.scores), default=0)
        if most > 1:
            what = "of this run" if self.before and not self.gates else "score"
            yield f"  {what:<14}{'median':>7}{'10 %':>7}{'90 %':>7}{'pairs':>8}"
            for score in self.scores:
                cells = "".join(f"{value:7.1f}" for value in (score.median, score.low10, score.high90))
                yield f"  {_SHORT[score.dimension]:<14}{cells}{score.count:8}"
        yield "  results on standard output" if self.output is None else f"  results in {printable(self.output)}"

    def write(self, path: str) -> None:
        """As JSON to a file.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            with open(path, "w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=2)
                file.write("\n")
        except OSError as error:
            raise OutputError(f"the summary cannot be written: {error.strerror}", file=path) from error


def plural(count: int, word: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def _gate(tally: Tally, gate: Gate) -> GateSummary:
    lowest = tuple(LowScore(name, value) for name, value in tally.lowest(gate))
    return GateSummary(gate.dimension, gate.minimum, tally.below[gate], lowest)


def _scores(dimension: str, values: Sequence[float]) -> ScoreSummary:
    import numpy as np

    found = np.asarray(values)
    numbers = (found.mean(), *np.percentile(found, (50, 10, 90)))
    return ScoreSummary(dimension, len(values), *(round(float(number), 4) for number in numbers))


def _named(low: LowScore) -> str:
    name = printable(low.id)
    shown = name if len(name) <= _NAME else "..." + name[3 - _NAME :]
    return f"{shown} {'-' if low.value is None else format(low.value, '.2f')}"


def _clock(seconds: float) -> str:
    """`8.2 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
