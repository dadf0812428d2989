"""Quality gates: `--fail-under DIM=VALUE` and `--max-errors N|P%`."""

from __future__ import annotations

import heapq
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piqa_cli.cli.streams import printable
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.schema import Outcome

# Short name on the command line -> dimension in the records (both are accepted).
DIMENSIONS = {
    "overall": "overall",
    "completion": "prompt_completion",
    "harmony": "harmony",
    "naturalness": "local_naturalness",
    "preservation": "preservation",
}

# Failures to form a pair at all; a batch of nothing else is a failed input, not a batch with some failures.
PAIRING_CODES = frozenset({"E_UNPAIRED", "E_DUPLICATE", "E_MANIFEST", "E_LABELS"})


@dataclass(frozen=True, slots=True)
class Gate:
    """A dimension and the least value that passes; a null score or a failed pair never does."""

    name: str
    dimension: str
    minimum: float

    def passes(self, outcome: Outcome) -> bool:
        """Whether the pair's score is known and at least the minimum."""
        value = self.value(outcome)
        return value is not None and value >= self.minimum

    def value(self, outcome: Outcome) -> float | None:
        """The pair's score in this dimension, None when it is null or the pair failed."""
        if outcome.status == "error":
            return None
        from piqa_cli.schema import Dimension

        return outcome.scores.of(Dimension(self.dimension)).value

    def __str__(self) -> str:
        return f"{self.name} >= {self.minimum:g}"


def parse_gate(text: str) -> Gate:
    """`harmony=3.5` as a Gate.

    Raises:
        UsageError: not DIM=VALUE, an unknown dimension, or not a number.
    """
    name, equals, number = text.partition("=")
    name = name.strip().lower().replace("-", "_")
    dimension = DIMENSIONS.get(name, name)
    known = ", ".join(DIMENSIONS)
    if not equals or dimension not in DIMENSIONS.values():
        raise UsageError(
            f"--fail-under: expected DIM=VALUE with DIM one of {known}; found '{printable(text)}'",
            hint="for example --fail-under overall=3.5",
        )
    try:
        minimum = float(number)
    except ValueError:
        minimum = math.nan
    if not math.isfinite(minimum):
        raise UsageError(
            f"--fail-under {name}: expected a number after '=', found '{printable(number)}'",
            hint=f"for example --fail-under {name}=3.5",
        )
    return Gate(name, dimension, minimum)


def check_scales(gates: tuple[Gate, ...]) -> None:
    """Refuses a gate that every score, or none, would pass.

    Raises:
        UsageError: the minimum is off the dimension's scale.
    """
    if not gates:
        return
    from piqa_cli.schema import SCALES, Dimension

    for gate in gates:
        scale = SCALES[Dimension(gate.dimension)]
        if not scale.low <= gate.minimum <= scale.high:
            raise UsageError(
                f"--fail-under {gate.name}={gate.minimum:g}: off the scale of {gate.dimension}",
                hint=f"give a value from {scale.low:g} to {scale.high:g}",
            )


@dataclass(frozen=True, slots=True)
class ErrorAllowance:
    """How many failed pairs are tolerated: a count, or a share of all pairs."""

    count: int = 0
    percent: float | None = None

    def tolerates(self, failed: int, total: int) -> bool:
        """Whether `failed` of `total` pairs is within the allowance (inclusive)."""
        if self.percent is None:
            return failed <= self.count
        return failed * 100 <= self.percent * total


NO_ERRORS = ErrorAllowance()


def parse_allowance(text: str) -> ErrorAllowance:
    """`5` or `2%` as an ErrorAllowance.

    Raises:
        UsageError: neither a whole number nor a percentage from 0 to 100.
    """
    number = text.strip()
    try:
        if number.endswith("%"):
            percent = float(number[:-1])
            if 0 <= percent <= 100:
                return ErrorAllowance(percent=percent)
        elif int(number) >= 0:
            return ErrorAllowance(count=int(number))
    except ValueError:
        pass
    raise UsageError(
        f"--max-errors: expected a number of pairs or a percentage, found '{printable(text)}'",
        hint="for example --max-errors 5 or --max-errors 2%",
    )


NAMED = 10
"""Pairs a gate that are named: those with the lowest scores."""


class Tally:
    """Counts outcomes as they pass: done, failed by code, and below each gate; `before`: by an earlier run.

    `values` has the scores of each dimension, 8 bytes a score; those of earlier runs only where a gate asked for them.
    """

    def __init__(self, gates: tuple[Gate, ...]) -> None:
        self.gates = gates
        self.done = 0
        self.before = 0
        self.paired = 0
        self.failures: dict[str, int] = {}
        self.below: dict[Gate, int] = dict.fromkeys(gates, 0)
        self.first_below: dict[Gate, str] = {}
        self.values = {dimension: array("d") for dimension in DIMENSIONS.values()}
        self._lowest: dict[Gate, list[tuple[float, int, str]]] = {gate: [] for gate in gates}

    @property
    def failed(self) -> int:
        """Pairs that could not be assessed."""
        return sum(self.failures.values())

    @property
    def gates_hold(self) -> bool:
        """Whether every pair so far passed every gate."""
        return not any(self.below.values())

    def add_assessed_before(self) -> None:
        """Counts a pair that an earlier run assessed; only where there is no gate to ask its scores for."""
        self.done += 1
        self.paired += 1

    def add(self, outcome: Outcome) -> None:
        """Counts one outcome."""
        self.done += 1
        self.paired += outcome.status == "ok" or outcome.error.code not in PAIRING_CODES
        if outcome.status == "error":
            self.failures[outcome.error.code] = self.failures.get(outcome.error.code, 0) + 1
        else:
            for dimension, values in self.values.items():
                value = getattr(outcome.scores, dimension).value
                if value is not None:
                    values.append(value)
        for gate in self.gates:
            if not gate.passes(outcome):
                self.below[gate] += 1
                self._remember(gate, outcome)
                self.first_below.setdefault(gate, f"{_shown(gate, outcome)} for {printable(outcome.id)}")

    def lowest(self, gate: Gate) -> list[tuple[str, float | None]]:
        """Ids and scores of at most `NAMED` pairs that did not pass: no score first, then the lowest."""
        found = sorted(self._lowest[gate], reverse=True)  # kept negated, so that the heap's first is the highest
        return [(name, None if value == math.inf else -value) for value, _, name in found]

    def _remember(self, gate: Gate, outcome: Outcome) -> None:
        value = gate.value(outcome)
        entry = (math.inf if value is None else -value, -self.done, outcome.id)
        heap = self._lowest[gate]
        if len(heap) < NAMED:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def verdicts(self) -> list[str]:
        """One clause per gate: held, or how many pairs did not pass and which was the first."""
        clauses = []
        for gate, count in self.below.items():
            if count == 0:
                clauses.append(f"gate {gate} held")
            elif self.done == 1:
                clauses.append(f"gate {gate} failed: {self.first_below[gate]}")
            else:
                pairs = f"{count} of {self.done} pair{'s' if self.done != 1 else ''}"
                clauses.append(f"gate {gate} failed for {pairs} (first: {self.first_below[gate]})")
        return clauses


def _shown(gate: Gate, outcome: Outcome) -> str:
    if outcome.status == "error":
        return f"not assessed, {outcome.error.code},"
    score = getattr(outcome.scores, gate.dimension)
    return f"{score.value:.2f}" if score.value is not None else f"no score ({score.reason})"
