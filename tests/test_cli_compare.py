"""`piqa compare`: joins, movements, significance, gates and formats; through the command line, in this process."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from piqa_cli.cli.app import app
from piqa_cli.cli.run import Run
from piqa_cli.evaluation.changes import compare_records
from piqa_cli.evaluation.reading import read_records
from piqa_cli.evaluation.scores import Resampling
from piqa_cli.schema import Assessment, Dimension, Outcome, score
from piqa_cli.writers import to_json
from records import CHECKED, HOSTILE, ORDINARY, RECORDS, UNPAIRED, UNREADABLE

Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def compare(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Runs `piqa compare` in a folder of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = app(["compare", *arguments], prog_name="piqa", obj=Run(), standalone_mode=False) or 0
        return (status, *capfd.readouterr())

    return run


def edit(name: str, **values: float | None) -> Assessment:
    """ORDINARY under another name, with these scores, each with a spread of 0.3."""
    changed = {
        dimension: score(
            Dimension(dimension), value, None if value is None else 0.3, reason="none" if value is None else None
        )
        for dimension, value in values.items()
    }
    source = ORDINARY.pair.source.model_copy(update={"path": f"photos/{name}.jpg"})
    return ORDINARY.model_copy(
        update={
            "id": name,
            "scores": ORDINARY.scores.model_copy(update=changed),
            "pair": ORDINARY.pair.model_copy(update={"source": source}),
        }
    )


def save(path: str, records: Iterable[Outcome], *, torn: str = "") -> None:
    Path(path).write_text("".join(to_json(record) + "\n" for record in records) + torn, "utf-8")


def failed(name: str) -> Outcome:
    return UNREADABLE.model_copy(update={"id": name})


def rows_of(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["dimension"]: row for row in found["dimensions"]}


def test_pairs_are_joined_by_id_in_any_order_and_what_moved_is_told(compare: Compare) -> None:
    save("old.jsonl", [edit("a", overall=3.0), edit("b", overall=3.0), edit("c", overall=3.0), edit("x")])
    save("new.jsonl", [edit("c", overall=3.2), edit("y"), edit("b", overall=2.0), edit("a", overall=3.00005)])
    status, out, err = compare("old.jsonl", "new.jsonl")
    found = json.loads(out)
    assert status == 0
    assert (found["pairs"], found["only_old"], found["only_new"]) == (3, ["x"], ["y"])
    assert found["moved"] == [{"id": "b", "dimension": "overall", "old": 3.0, "new": 2.0, "change": -1.0}]
    overall = rows_of(found)["overall"]
    assert (overall["count"], overall["better"], overall["worse"]) == (3, 0, 1)
    assert overall["change"] == pytest.approx((0.2 - 1.0) / 3)
    assert "1 pair only in old.jsonl; first 'x'" in err
    assert "not one model" not in err


def test_a_movement_within_either_spread_is_not_beyond_and_one_within_the_tolerance_is_none(compare: Compare) -> None:
    save("old.jsonl", [edit("a", overall=3.0), edit("b", overall=3.0), edit("c", overall=3.0)])
    save("new.jsonl", [edit("a", overall=3.3), edit("b", overall=3.31), edit("c", overall=3.00009)])
    _, out, _ = compare("old.jsonl", "new.jsonl", "--format", "csv")
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(out))}
    assert {name: row["overall_beyond"] for name, row in rows.items()} == {"a": "false", "b": "true", "c": "false"}
    assert rows["c"]["overall_change"] == "0"


def test_failures_that_are_new_fixed_or_the_same_are_kept_apart(compare: Compare) -> None:
    save("old.jsonl", [edit("a"), failed("b"), failed("c")])
    save("new.jsonl", [failed("a"), edit("b"), failed("c")])
    status, out, err = compare("old.jsonl", "new.jsonl", "--fail-if-worse", "failures=0")
    found = json.loads(out)
    assert found["newly_failing"] == [{"id": "a", "code": "E_DECODE"}]
    assert found["newly_fixed"] == [{"id": "b", "code": "E_DECODE"}]
    assert found["still_failing"] == 1
    assert rows_of(found)["overall"]["count"] == 0
    assert rows_of(found)["overall"]["change"] is None
    assert status == 10
    assert "gate newly failing pairs <= 0 failed: 1 pair" in err
    assert compare("old.jsonl", "new.jsonl", "--fail-if-worse", "failures=1")[0] == 0


def test_nulls_are_counted_as_gained_and_lost_and_are_in_no_mean(compare: Compare) -> None:
    save("old.jsonl", [edit("a", harmony=None), edit("b", harmony=2.0), edit("c", harmony=2.0)])
    save("new.jsonl", [edit("a", harmony=5.0), edit("b", harmony=None), edit("c", harmony=3.0)])
    harmony = rows_of(json.loads(compare("old.jsonl", "new.jsonl")[1]))["harmony"]
    assert (harmony["count"], harmony["gained"], harmony["lost"]) == (1, 1, 1)
    assert (harmony["old"], harmony["new"], harmony["change"]) == (2.0, 3.0, 1.0)


def many(shift: float, seed: int, count: int = 60) -> list[Outcome]:
    random = np.random.default_rng(seed)
    base = np.random.default_rng(99).normal(3, 0.5, count)
    values = np.clip(base + shift + random.normal(0, 0.1, count), 1, 5)
    return [edit(f"p{number}", overall=float(value)) for number, value in enumerate(values)]


def test_figures_are_those_of_scipy(compare: Compare) -> None:
    old, new = many(0, 1), many(-0.1, 2)
    save("old.jsonl", old)
    save("new.jsonl", new)
    found = rows_of(json.loads(compare("old.jsonl", "new.jsonl")[1]))
    steps = np.array([b.scores.overall.value - a.scores.overall.value for a, b in zip(old, new, strict=True)])  # type: ignore[union-attr, operator]
    overall = found["overall"]
    assert overall["change"] == pytest.approx(steps.mean())
    assert overall["p"] == pytest.approx(stats.wilcoxon(steps).pvalue)
    assert overall["p_holm"] == pytest.approx(min(1, 5 * overall["p"])), "five dimensions, this one the smallest"
    assert overall["significant"]
    half = 1.96 * steps.std() / math.sqrt(len(steps))
    assert (overall["low"], overall["high"]) == pytest.approx((steps.mean() - half, steps.mean() + half), abs=0.01)
    ranks = stats.rankdata(np.abs(steps))
    assert overall["effect"] == pytest.approx((ranks[steps > 0].sum() - ranks[steps < 0].sum()) / ranks.sum())
    unmoved = found["preservation"]
    assert (unmoved["p"], unmoved["effect"], unmoved["change"], unmoved["significant"]) == (1.0, 0.0, 0.0, False)


def test_intervals_draw_photos_and_not_edits(tmp_path: Path) -> None:
    """Ten edits of one photo that move together are one observation: the interval is wider than of ten photos."""
    widths = []
    for same in (False, True):
        sides = []
        for name, shift in (("old", 0.0), ("new", 1.0)):
            records = []
            for number in range(40):
                photo = number // 10 if same else number
                record = edit(f"p{number}", overall=3 + shift * ((number // 10) % 2))
                pair = record.pair.model_copy(
                    update={"source": record.pair.source.model_copy(update={"path": f"{photo}.jpg"})}
                )
                records.append(record.model_copy(update={"pair": pair}))
            save(str(tmp_path / name), records)
            sides.append(read_records(str(tmp_path / name), print))
        change = compare_records(sides[0], sides[1], Resampling(500, 0)).changes[0]
        widths.append(change.high - change.low)
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize(("bound", "status"), [("overall=0.05", 10), ("overall=0.2", 0), ("harmony=0", 0)])
def test_a_gate_holds_while_the_mean_falls_by_no_more(compare: Compare, bound: str, status: int) -> None:
    save("old.jsonl", many(0, 1))
    save("new.jsonl", many(-0.1, 2))
    found, _, err = compare("old.jsonl", "new.jsonl", "--fail-if-worse", bound)
    assert found == status
    assert ("failed: the mean fell by 0.0" in err) == (status == 10)


def test_a_gate_on_a_dimension_that_no_pair_has_twice_fails(compare: Compare) -> None:
    save("old.jsonl", [edit("a", harmony=None)])
    save("new.jsonl", [edit("a", harmony=4.0)])
    status, _, err = compare(
        "old.jsonl", "new.jsonl", "--fail-if-worse", "local_naturalness=1", "--fail-if-worse", "harmony=1"
    )
    assert status == 10
    assert "fall of harmony <= 1 failed: no pair has a score in both files" in err
    assert "fall of naturalness <= 1 held" in err


@pytest.mark.parametrize(
    "text", ["overall", "overal=1", "overall=x", "overall=-1", "overall=nan", "=1", "failures=inf"]
)
def test_a_gate_that_makes_no_sense_is_refused_before_anything_is_read(compare: Compare, text: str) -> None:
    status, out, err = compare("none.jsonl", "none.jsonl", "--fail-if-worse", text)
    assert (status, out) == (2, "")
    assert "--fail-if-worse" in err
    assert "none.jsonl" not in err


def test_other_judges_sources_and_prompts_are_warned_about(compare: Compare) -> None:
    other = edit("a")
    pair = other.pair.model_copy(
        update={"prompt": "another", "source": other.pair.source.model_copy(update={"path": "x/other.jpg"})}
    )
    save("old.jsonl", [edit("a"), edit("b")])
    save("new.jsonl", [other.model_copy(update={"pair": pair, "model": CHECKED.model}), edit("b")])
    _, out, err = compare("old.jsonl", "new.jsonl")
    assert "not one model judged: fake 1, weights 000000000000; owner/large" in err
    assert "1 pair with a source of another name" in err
    assert "1 pair with another prompt" in err
    assert set(json.loads(out)["new"]["judges"].values()) == {1}


def test_one_key_in_both_is_told(compare: Compare) -> None:
    save("old.jsonl", [edit("a").model_copy(update={"key": "a" * 32})])
    save("new.jsonl", [edit("a").model_copy(update={"key": "a" * 32})])
    assert "all pairs have the same key" in compare("old.jsonl", "new.jsonl")[2]


@pytest.mark.parametrize(
    ("new", "status", "words"),
    [
        ("", 3, "there is no record in it"),
        ("{}\n", 3, "line 1 is not a piqa result"),
        ("id,overall\na,3\n", 3, "line 1 is not a piqa result"),
        (to_json(edit("z")) + "\n", 3, "no pair is in both files; expected ids of old.jsonl, such as 'a'; found 'z'"),
        (to_json(edit("a")).replace("3.62", "NaN") + "\n", 3, "line 1 is not a piqa result"),
        (None, 3, "new.jsonl: cannot read results: No such file"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_was_expected(
    compare: Compare, new: str | None, status: int, words: str
) -> None:
    save("old.jsonl", [edit("a")])
    if new is not None:
        Path("new.jsonl").write_text(new)
    found, out, err = compare("old.jsonl", "new.jsonl")
    assert (found, out) == (status, "")
    assert words in err


def test_a_torn_last_line_and_repeated_ids_are_passed_over_with_a_warning(compare: Compare) -> None:
    save("old.jsonl", [edit("a", overall=1.0), edit("a", overall=4.0)])
    save("new.jsonl", [edit("a", overall=4.0)], torn='{"schema_version": "1.3", "sta')
    status, out, err = compare("old.jsonl", "new.jsonl")
    assert status == 0
    assert rows_of(json.loads(out))["overall"]["old"] == 4.0
    assert "line 2 is torn" in err
    assert "1 record passed over" in err


def test_hostile_names_cross_every_format(compare: Compare) -> None:
    save("old.jsonl", RECORDS)
    save("new.jsonl", [record.model_copy(update={"key": "b" * 32}) for record in (HOSTILE, UNPAIRED)])
    assert json.loads(compare("old.jsonl", "new.jsonl")[1])["pairs"] == 2
    out = compare("old.jsonl", "new.jsonl", "--format", "csv")[1]
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["id"] for row in rows] == ["'" + HOSTILE.id, "'-x\\udcff", "street_1", "broken"]
    assert [row["in"] for row in rows] == ["both", "both", "old", "old"]
    table = compare("old.jsonl", "new.jsonl", "--format", "table")[1]
    assert all(line.isprintable() for line in table.splitlines())


def test_a_table_lists_the_pairs_that_moved_furthest(compare: Compare) -> None:
    save("old.jsonl", [edit(f"p{n}", overall=3.0) for n in range(5)] + [edit("bad")])
    save("new.jsonl", [edit(f"p{n}", overall=3.0 + 0.4 * n) for n in range(5)] + [failed("bad")])
    out = compare("old.jsonl", "new.jsonl", "--format", "table", "--top", "2")[1]
    assert "moved beyond both spreads: 4 scores, the first 2" in out
    assert out.index("p4") < out.index("p3")
    assert "p2" not in out
    assert "newly failing: 1 pair" in out


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_table_leaves_out_columns_until_it_fits_the_terminal(tmp_path: Path, width: int) -> None:
    from piqa_cli.evaluation.change_tables import render

    save(str(tmp_path / "old"), many(0, 1))
    save(str(tmp_path / "new"), many(-0.8, 2))
    sides = [read_records(str(tmp_path / name), print) for name in ("old", "new")]
    text = render(compare_records(sides[0], sides[1], Resampling(50, 0)), "table", top=3, width=width)
    dimensions = text.partition("moved beyond")[0]
    assert max(map(len, dimensions.splitlines())) <= max(width, 53)
    assert "95 % interval" in dimensions
    assert ("effect" in dimensions) == (width >= 120)


def test_a_hundred_thousand_pairs_take_seconds(tmp_path: Path) -> None:
    """A twentieth of them here; processor time, since others may be at work on the machine."""
    for name in ("old", "new"):
        line = to_json(edit("NAME", overall=3.5))
        line = line.replace('"A seam', '"' + "x" * 3000 + " A seam")  # about what a record with a mask weighs
        (tmp_path / name).write_text("".join(line.replace("NAME", f"p{n}") + "\n" for n in range(5_000)))
    started = time.process_time()
    sides = [read_records(str(tmp_path / name), print) for name in ("old", "new")]
    compare_records(sides[0], sides[1], Resampling(1000, 0))
    assert time.process_time() - started < 2
