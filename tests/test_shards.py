"""`--shard`, by hand or from the environment, and `piqa merge`, which joins what shards wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import RunPiqa
from piqa_cli.cli.run import Run
from piqa_cli.cli.shards import choose_shard, named_for
from piqa_cli.errors import InputError, PiqaError, UsageError
from piqa_cli.pairs import PairQuery, Shard, find_pairs
from piqa_cli.resume import MergedRows
from piqa_cli.schema import ErrorInfo, Failure, Outcome, Pair
from piqa_cli.writers import read_results, to_json
from records import ORDINARY


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows without what differs from run to run."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row.pop("seconds", None)
    return rows


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eleven rows, one of them no pair."""
    rows = [f'{{"source": "s{i}.png", "edited": "e{i}.png"}}' for i in range(11)]
    rows[4] = "nonsense"
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows))
    return tmp_path / "pairs.jsonl"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 20])
@pytest.mark.parametrize("limit", [None, 7])
def test_shards_share_every_row_of_the_input_between_them(manifest: Path, count: int, limit: int | None) -> None:
    whole = [item.id for item in find_pairs(PairQuery(input=str(manifest), limit=limit))]
    parts = [
        [item.id for item in find_pairs(PairQuery(input=str(manifest), limit=limit, shard=Shard(i, count)))]
        for i in range(1, count + 1)
    ]
    assert len(whole) == (limit or 11)
    assert parts == [whole[i::count] for i in range(count)]


def test_a_shard_of_a_folder_knows_how_many_pairs_it_has(make_batch: Callable[[int], Path]) -> None:
    folder = str(make_batch(5))
    found = [find_pairs(PairQuery(input=folder, shard=Shard(i, 3))) for i in (1, 2, 3)]
    assert [part.total for part in found] == [2, 2, 1] == [len(list(part)) for part in found]


@pytest.mark.parametrize("text", ["0/3", "4/3", "2", "a/b", "1/0", "-1/3", "1/3/5", "", "1.5/2"])
def test_a_shard_that_there_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="I from 1 to N"):
        choose_shard(Run(), text, {})


def test_the_environment_decides_where_nothing_else_does_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run()
    environ = {"RANK": "2", "WORLD_SIZE": "4"}
    assert choose_shard(run, None, environ) == Shard(3, 4)
    assert "shard 3/4, by RANK=2 and WORLD_SIZE=4" in capsys.readouterr().err
    assert run.implied == ("--shard=3/4",), "the command that goes on may be given where nothing is set"
    assert choose_shard(Run(), "1/1", environ) == Shard(1, 1)
    assert choose_shard(Run(), None, {"RANK": "2"}) is None
    assert choose_shard(Run(), None, {"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("rank", "world"), [("4", "4"), ("-1", "4"), ("x", "4"), ("0", "many")])
def test_an_environment_that_names_no_shard_is_refused(rank: str, world: str) -> None:
    with pytest.raises(UsageError, match="names no shard"):
        choose_shard(Run(), None, {"RANK": rank, "WORLD_SIZE": world})


def test_the_number_in_a_name_sorts_and_one_name_for_all_is_refused() -> None:
    assert named_for(Shard(3, 16), "--output", "part-{shard}.jsonl") == "part-03.jsonl"
    assert named_for(None, "--output", "part-{shard}.jsonl") == "part-{shard}.jsonl"
    assert named_for(Shard(3, 16), "--output", "mine.jsonl") == "mine.jsonl"
    assert named_for(Shard(3, 16), "--output", "-", alone=False) == "-"
    with pytest.raises(UsageError, match=r"all 16 shards would write 'all\.jsonl'"):
        named_for(Shard(3, 16), "--output", "all.jsonl", alone=False)


def test_shards_merge_into_the_file_that_one_run_writes(
    quick_piqa: RunPiqa, make_batch: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = make_batch(5)
    (folder / "edited" / "p1.png").write_bytes(b"junk")
    shutil.copy(folder / "source" / "p0.png", folder / "source" / "lone.png")
    assert quick_piqa("batch", folder, "-o", tmp_path / "whole.jsonl").status == 6
    output = str(tmp_path / "part-{shard}.jsonl")
    first = quick_piqa("batch", folder, "-o", output, "--shard", "1/2", "--summary", str(tmp_path / "{shard}.json"))
    second = quick_piqa("batch", folder, "-o", output, env={"RANK": "1", "WORLD_SIZE": "2"})
    assert (first.status, second.status) == (0, 6)
    assert json.loads((tmp_path / "1.json").read_text())["pairs"] == 3
    parts = [tmp_path / "part-1.jsonl", tmp_path / "part-2.jsonl"]
    for order in (("--pairs", folder), ("--shards",)):
        target = tmp_path / f"{order[0]}.csv"
        done = quick_piqa("merge", *parts, *order, "-o", target, "--fail-under", "overall=1", "--max-errors", "2")
        assert done.status == 10, "the pairs that failed pass no gate"
        assert rows_of(tmp_path / f"{order[0]}.csv.jsonl") == rows_of(tmp_path / "whole.jsonl")
        assert len(target.read_text().splitlines()) == 7
    again = quick_piqa("batch", folder, "-o", tmp_path / "--shards.csv", "--resume", "--no-retry-failed")
    assert "5 of the pairs in earlier runs" in again.err, "what is merged can be gone on from"
    lacking = quick_piqa("merge", parts[1], parts[1], "--pairs", folder, "--max-errors", "4")
    assert lacking.status == 6
    assert "no record of 3 pairs: p0, p2, p4" in lacking.err
    assert [row["id"] for row in lacking.rows()] == ["p1", "p3", "lone.png"]
    refused = quick_piqa("merge", *parts, "-o", tmp_path / "whole.jsonl")
    assert refused.status == 2
    assert "--overwrite" in refused.err


def test_a_shard_without_pairs_ends_well_and_two_shards_of_a_node_cannot_share_a_file(
    quick_piqa: RunPiqa, make_batch: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = make_batch(1)
    empty = quick_piqa("batch", folder, "-o", tmp_path / "empty.jsonl", "--shard", "2/2")
    assert empty.status == 0
    assert (tmp_path / "empty.jsonl").read_bytes() == b""
    both = quick_piqa("batch", folder, "-o", tmp_path / "r.jsonl", env={"RANK": "0", "WORLD_SIZE": "2"})
    assert both.status == 2
    assert "{shard}" in both.err


def failed(name: str, **more: Any) -> Failure:
    pair = Pair(id=name, source=f"{name}.png", edited=f"{name}_e.png")
    return Failure(id=name, pair=pair, error=ErrorInfo(code="E_DECODE", message="cannot be decoded"), **more)


def assessed(name: str, key: str, seconds: float = 1.0, edited: str | None = None) -> Outcome:
    record = ORDINARY
    paths = record.pair.model_copy(
        update={
            "source": record.pair.source.model_copy(update={"path": f"{name}.png"}),
            "edited": record.pair.edited.model_copy(update={"path": edited or f"{name}_e.png"}),
            "mask": None,
        }
    )
    return record.model_copy(update={"id": name, "key": key * 32, "pair": paths, "seconds": seconds})


@pytest.fixture
def merged(tmp_path: Path) -> Callable[..., MergedRows]:
    def write(*parts: Sequence[Outcome]) -> MergedRows:
        paths = [tmp_path / f"{number}.jsonl" for number in range(len(parts))]
        for path, records in zip(paths, parts, strict=True):
            path.write_text("".join(f"{to_json(record)}\n" for record in records))
            assert list(read_results(str(path))) == list(records)
        return MergedRows([str(path) for path in paths], pytest.fail)

    return write


def test_of_several_records_of_a_pair_an_assessment_counts_and_else_the_last(
    merged: Callable[..., MergedRows],
) -> None:
    parts = (
        [assessed("a", "1"), failed("b"), failed("c")],
        [failed("a"), assessed("b", "2"), failed("c", key="3" * 32)],
    )
    with merged(*parts, [assessed("b", "4")]) as rows:
        found = [rows.read(place) for place in rows.in_turn()]
        assert [(record.id, record.key) for record in found] == [("a", "1" * 32), ("b", "4" * 32), ("c", "3" * 32)]
        assert (rows.repeated, rows.changed) == (4, 1)


def test_a_data_set_that_was_moved_is_the_same_pairs_and_another_of_the_same_names_is_refused(
    merged: Callable[..., MergedRows],
) -> None:
    with merged([assessed("a", "1")], [assessed("a", "1", edited="elsewhere/a.png")]) as rows:
        assert len(rows) == 1
    with pytest.raises(PiqaError, match="'a' stands for two pairs") as caught:
        merged([assessed("a", "1")], [assessed("a", "2", edited="elsewhere/a.png")])
    assert caught.value.code == "E_DUPLICATE"


@pytest.mark.parametrize(
    "names", [(["a"], ["b", "c"]), (["a", "b", "c"], ["d"]), (["a", "b"], ["c"], ["d", "e"]), (["a"], ["a"])]
)
def test_files_that_are_not_all_shards_of_an_input_are_not_put_in_its_order(
    merged: Callable[..., MergedRows], names: tuple[list[str], ...]
) -> None:
    rows = merged(*([failed(name) for name in part] for part in names))
    with rows, pytest.raises(InputError, match="not the shards of one input"):
        list(rows.as_shards())
