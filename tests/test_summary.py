"""The end of a batch in words, and what the tally keeps for it."""

from __future__ import annotations

import pytest

from piqa_cli.cli.gates import NAMED, Gate, Tally
from piqa_cli.cli.summary import Summary
from piqa_cli.schema import Dimension, Outcome, score
from records import HOSTILE, ORDINARY, UNREADABLE

GATE = Gate("overall", "overall", 3.0)


def overall(name: str, value: float) -> Outcome:
    scores = ORDINARY.scores.model_copy(update={"overall": score(Dimension.OVERALL, value)})
    return ORDINARY.model_copy(update={"id": name, "scores": scores})


def tally(outcomes: list[Outcome], gates: tuple[Gate, ...] = (GATE,)) -> Tally:
    made = Tally(gates)
    for outcome in outcomes:
        made.add(outcome)
    return made


def test_the_lowest_pairs_of_a_gate_are_named_those_without_a_score_first() -> None:
    outcomes = [overall(f"p{n}", 1 + 0.05 * ((7 * n) % 30)) for n in range(30)]
    found = tally([*outcomes, UNREADABLE, HOSTILE, overall("fine", 4.0)]).lowest(GATE)
    assert found[:2] == [("broken", None), (HOSTILE.id, None)]
    assert [value for _, value in found[2:]] == pytest.approx([1 + 0.05 * n for n in range(NAMED - 2)])


def test_the_summary_has_counts_rate_verdicts_and_scores_within_sixty_columns_but_for_names() -> None:
    outcomes = [overall(f"p{n}", 2 + 0.5 * n) for n in range(5)]
    lines = list(Summary.of(tally([*outcomes, UNREADABLE]), 200.0, "r.jsonl", 6).lines())
    assert lines[0] == "5 of 6 pairs assessed in 3 min 20 s (0.0 a second), 1 failed (E_DECODE 1)"
    assert lines[1].startswith("  gate overall >= 3 failed for 3 of 6 pairs (first: 2.00 for p0)")
    assert lines[2] == "    lowest: broken -, p0 2.00, p1 2.50"
    assert lines[4].split() == ["overall", "3.0", "2.2", "3.8", "5"]
    assert lines[-1] == "  results in r.jsonl"
    assert max(map(len, lines[2:])) <= 60


def test_scores_of_a_resumed_run_without_gates_are_said_to_be_of_this_run() -> None:
    made = tally([overall("a", 3.0), overall("b", 4.0)], ())
    made.before += 1
    made.add_assessed_before()
    assert any(line.split()[:3] == ["of", "this", "run"] for line in Summary.of(made, 1.0, None, 0).lines())


def test_a_single_pair_has_no_table_of_scores() -> None:
    lines = list(Summary.of(tally([overall("a", 3.5)]), 1.0, None, 0).lines())
    assert lines == [
        "1 of 1 pair assessed in 1.0 s, none failed",
        "  gate overall >= 3 held",
        "  results on standard output",
    ]
