"""What a batch came to: a paragraph on standard error, and the same as JSON for `--summary`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from piqa_cli.cli.gates import Tally
from piqa_cli.cli.streams import printable
from piqa_cli.errors import OutputError


@dataclass(frozen=True, slots=True)
class GateSummary:
    """One `--fail-under`: how many pairs did not pass."""

    dimension: str
    minimum: float
    below: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a finished batch."""

    pairs: int
    before: int  # of these: by an earlier run, whose records were kept
    assessed: int
    failed: int
    failures: dict[str, int]  # code -> count
    gates: tuple[GateSummary, ...]
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
            gates=tuple(GateSummary(gate.dimension, gate.minimum, below) for gate, below in tally.below.items()),
            seconds=round(seconds, 3),
            output=None if output == "-" else output,
            exit_status=exit_status,
            verdicts=tuple(tally.verdicts()),
        )

    def paragraph(self) -> str:
        """For people."""
        codes = ", ".join(f"{code} {count}" for code, count in self.failures.items())
        failed = f"{self.failed} failed ({codes})" if self.failed else "none failed"
        before = f", {self.before} of the pairs in earlier runs" if self.before else ""
        parts = [f"{self.assessed} of {plural(self.pairs, 'pair')} assessed in {self.seconds:.1f} s{before}, {failed}"]
        parts += self.verdicts
        parts.append("results on standard output" if self.output is None else f"results in {printable(self.output)}")
        return "; ".join(parts)

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
