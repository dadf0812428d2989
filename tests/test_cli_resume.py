"""`piqa batch --resume` and `--overwrite` through the executable, with the stand-in model."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import RunPiqa

GOOD = "p2"


@pytest.fixture
def batch(make_batch: Callable[[int], Path]) -> Path:
    """Four pairs that changed long ago; `p1` cannot be read, and one source has no partner."""
    folder = make_batch(4)
    (folder / "edited" / "p1.png").write_bytes(b"junk")
    shutil.copy(folder / "source" / "p0.png", folder / "source" / "lone.png")
    for path in folder.glob("*/*"):
        os.utime(path, (time.time() - 3600,) * 2)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the rows go."""
    return tmp_path / "rows.jsonl"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_finished_run_is_gone_through_without_a_change_and_ends_alike(
    quick_piqa: RunPiqa, batch: Path, target: Path, tmp_path: Path
) -> None:
    gate = ("--fail-under", "overall=1", "--summary", tmp_path / "s.json")
    first = quick_piqa("batch", batch, "-o", target, *gate)
    rows, summary = target.read_bytes(), json.loads((tmp_path / "s.json").read_text())
    again = quick_piqa("batch", batch, "-o", target, "--resume", *gate)
    assert first.status == again.status == 6
    assert target.read_bytes() == rows
    resumed = json.loads((tmp_path / "s.json").read_text())
    assert (summary.pop("before"), resumed.pop("before")) == (0, 3)
    summary.pop("seconds"), resumed.pop("seconds")
    assert resumed == summary
    assert "3 of the pairs in earlier runs" in again.err
    assert "p1" in again.err


def test_resume_starts_where_there_is_nothing_yet(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    assert quick_piqa("batch", batch, "-o", target, "--resume").status == 6
    assert [row["id"] for row in rows_of(target)] == ["p0", "p1", "p2", "p3", "lone.png"]


def test_rows_that_went_through_a_pipe_can_be_gone_on_from(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    out = quick_piqa("batch", batch).out
    target.write_bytes(b"".join(out.splitlines(keepends=True)[:3]))
    done = quick_piqa("batch", batch, "-o", target, "--resume")
    assert "2 of the pairs in earlier runs" in done.err
    strip = [json.loads(line) | {"seconds": 0} for line in out.splitlines()]
    assert [row | {"seconds": 0} for row in rows_of(target)] == strip


def test_only_what_changed_is_assessed_again(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    quick_piqa("batch", batch, "-o", target)
    before = rows_of(target)
    shutil.copy(batch / "edited" / "p3.png", batch / "edited" / f"{GOOD}.png")
    shutil.copy(batch / "edited" / "p0.png", batch / "edited" / "p1.png")
    done = quick_piqa("batch", batch, "-o", target, "--resume", "--on-unpaired", "ignore")
    assert done.status == 0
    after = rows_of(target)
    assert [row["id"] for row in after] == ["p0", "p1", "p2", "p3", "lone.png"]
    assert "1 record of pairs that are not in this input" in done.err
    changed = [new["id"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["p1", GOOD], "the one that could not be read, and the one with other bytes"
    assert {row["id"] for row in after if row["status"] == "ok"} == {"p0", "p1", "p2", "p3"}


@pytest.mark.parametrize(
    "options",
    [("--no-explain",), ("--max-pixels", "90000"), ("--frame", "1"), ("--invert-mask",), ("--model", "other")],
    ids=" ".join,
)
def test_other_settings_make_all_records_anew(
    quick_piqa: RunPiqa, batch: Path, target: Path, options: tuple[str, ...]
) -> None:
    quick_piqa("batch", batch, "-o", target)
    before = {row["key"] for row in rows_of(target)}
    done = quick_piqa("batch", batch, "-o", target, "--resume", *options)
    assert "earlier runs" not in done.err
    rows = rows_of(target)
    assert [row["id"] for row in rows] == ["p0", "p1", "p2", "p3", "lone.png"]
    assert {row["key"] for row in rows if row["key"]}.isdisjoint(before)


def test_settings_that_decide_no_record_change_nothing(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    quick_piqa("batch", batch, "-o", target)
    before = target.read_bytes()
    done = quick_piqa(
        *("batch", batch, "-o", target, "--resume", "--workers", "1", "--batch-size", "1", "--fail-under", "overall=5")
    )
    assert "3 of the pairs in earlier runs" in done.err
    assert target.read_bytes() == before


def test_another_prompt_is_another_record(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    manifest = batch / "list.jsonl"
    row = {"source": "source/p0.png", "edited": "edited/p0.png"}
    for prompt in ("red", "blue"):
        manifest.write_text(json.dumps(row | {"prompt": prompt}))
        assert quick_piqa("batch", manifest, "-o", target, "--resume").status == 0
        assert [one["pair"]["prompt"] for one in rows_of(target)] == [prompt]


def test_moved_pictures_are_known_by_their_content(
    quick_piqa: RunPiqa, batch: Path, target: Path, tmp_path: Path
) -> None:
    quick_piqa("batch", batch, "-o", target)
    before = rows_of(target)
    moved = tmp_path / "moved"
    shutil.move(batch, moved)
    done = quick_piqa("batch", moved, "-o", target, "--resume")
    assert "3 of the pairs in earlier runs" in done.err
    after = rows_of(target)
    assert [row["seconds"] for row in after if "seconds" in row] == [
        row["seconds"] for row in before if "seconds" in row
    ]
    assert after[0]["pair"]["edited"]["path"] == str(moved / "edited" / "p0.png")
    assert str(batch) not in target.read_text()


def test_a_part_of_the_input_costs_no_other_record(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    quick_piqa("batch", batch, "-o", target)
    before = target.read_bytes()
    assert quick_piqa("batch", batch, "-o", target, "--resume", "--limit", "1").status == 0
    assert target.read_bytes() == before


def test_failures_are_not_tried_again_if_that_is_asked(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    failing = {"PIQA_STAND_IN": "oom"}
    assert quick_piqa("batch", batch, "-o", target, env=failing).status == 6
    kept = quick_piqa("batch", batch, "-o", target, "--resume", "--no-retry-failed")
    assert kept.status == 6
    assert {row["status"] for row in rows_of(target)} == {"error"}
    assert "E_OOM" in kept.err
    assert quick_piqa("batch", batch, "-o", target, "--resume").status == 6
    assert [row["status"] for row in rows_of(target)] == ["ok", "error", "ok", "ok", "error"]


def test_an_output_that_holds_something_needs_a_word_on_what_to_do(
    quick_piqa: RunPiqa, batch: Path, tmp_path: Path
) -> None:
    for name in ("rows.jsonl", "rows.json", "rows.csv", "rows.csv.jsonl"):
        (tmp_path / name).write_text("earlier\n")
        target = tmp_path / name.removesuffix(".jsonl") if name == "rows.csv.jsonl" else tmp_path / name
        refused = quick_piqa("batch", batch, "-o", target)
        assert refused.status == 2
        assert "--resume" in refused.err
        assert "--overwrite" in refused.err
        assert (tmp_path / name).read_text() == "earlier\n"
        (tmp_path / name).unlink()
    (tmp_path / "empty.jsonl").touch()
    assert quick_piqa("batch", batch, "-o", tmp_path / "empty.jsonl").status == 6


def test_overwrite_makes_all_records_anew(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    target.write_text("earlier\n")
    done = quick_piqa("batch", batch, "-o", target, "--overwrite")
    assert "earlier runs" not in done.err
    assert len(rows_of(target)) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--resume", "--overwrite", "-o", "rows.jsonl"), "--overwrite"),
        (("--resume",), "standard output"),
        (("--resume", "-o", "rows.json"), "jsonl, csv, parquet"),
        (("--resume", "-o", os.devnull, "-f", "jsonl"), os.devnull),
        (("-f", "parquet"), "--output FILE.parquet"),
        (("--resume", "-o", "lone.csv"), "lone.csv.jsonl"),
    ],
    ids=str,
)
def test_what_cannot_be_gone_on_from_is_said(
    quick_piqa: RunPiqa, batch: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "lone.csv").write_text("a,b\n")
    refused = quick_piqa("batch", batch, *arguments, cwd=tmp_path)
    assert (refused.status, refused.out) == (2, b"")
    assert words in refused.err
    assert (tmp_path / "lone.csv").read_text() == "a,b\n"


def test_what_is_no_file_of_results_is_not_touched(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    target.write_text('{"a": 1}\nsomething else\n')
    refused = quick_piqa("batch", batch, "-o", target, "--resume")
    assert refused.status == 3
    assert "line 1 is not a piqa result" in refused.err
    assert target.read_text() == '{"a": 1}\nsomething else\n'


def test_records_of_an_older_schema_are_made_anew(quick_piqa: RunPiqa, batch: Path, target: Path) -> None:
    quick_piqa("batch", batch, "-o", target)
    rows = [row | {"schema_version": "1.2"} for row in rows_of(target)]
    target.write_text("".join(json.dumps({name: row[name] for name in row if name != "key"}) + "\n" for row in rows))
    assert "earlier runs" not in quick_piqa("batch", batch, "-o", target, "--resume").err
    assert {row["schema_version"] for row in rows_of(target)} == {"1.3"}


def test_a_device_or_a_pipe_takes_rows_without_files_beside_it(quick_piqa: RunPiqa, batch: Path) -> None:
    before = set(Path(os.devnull).parent.iterdir())
    assert quick_piqa("batch", batch, "-o", os.devnull, "-f", "csv").status == 6
    assert {path.name for path in set(Path(os.devnull).parent.iterdir()) - before if "null" in path.name} == set()


# --- tables ---------------------------------------------------------------------------------------


def test_a_csv_is_made_of_the_rows_beside_it_when_all_are_there(
    quick_piqa: RunPiqa, batch: Path, tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    journal = tmp_path / "rows.csv.jsonl"
    assert quick_piqa("batch", batch, "-o", target).status == 6
    whole = target.read_text()
    assert [row["id"] for row in csv.DictReader(whole.splitlines())] == [row["id"] for row in rows_of(journal)]
    assert [row["key"] or None for row in csv.DictReader(whole.splitlines())] == [
        row["key"] for row in rows_of(journal)
    ]
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]))
    again = quick_piqa("batch", batch, "-o", target, "--resume")
    assert "1 of the pairs in earlier runs" in again.err
    seconds = {"seconds": "-"}
    assert [row | seconds for row in csv.DictReader(target.read_text().splitlines())] == [
        row | seconds for row in csv.DictReader(whole.splitlines())
    ]


def test_parquet_holds_what_csv_holds_with_types(quick_piqa: RunPiqa, batch: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    name = os.fsdecode(b"caf\xe9.png")
    for role in ("source", "edited"):
        shutil.copy(batch / role / "p0.png", batch / role / name)
    assert quick_piqa("batch", batch, "-o", tmp_path / "rows.parquet").status == 6
    assert quick_piqa("batch", batch, "-o", tmp_path / "rows.csv").status == 6
    table = parquet.read_table(tmp_path / "rows.parquet")
    rows = list(csv.DictReader((tmp_path / "rows.csv").open(newline="")))
    assert table.column_names == list(rows[0])
    for column in ("id", "key", "edited", "kind", "error_code", "explanation"):
        assert [value or "" for value in table[column].to_pylist()] == [row[column] for row in rows]
    assert [str(value).lower() for value in table["identical"].to_pylist() if value is not None] == [
        row["identical"] for row in rows if row["identical"]
    ]
    types = {str(table.schema.field(name).type) for name in ("overall", "source_width", "is_edited", "id")}
    assert types == {"double", "int64", "bool", "string"}


def test_parquet_without_pyarrow_is_one_clear_line_before_any_work(
    quick_piqa: RunPiqa, batch: Path, tmp_path: Path
) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not here')")
    # `python -m` looks in the current folder before it looks at what is installed; a variable of Python's own asks for
    # a process that has imported nothing yet.
    done = quick_piqa("batch", batch, "-o", "rows.parquet", cwd=tmp_path, env={"PYTHONHASHSEED": "0"})
    assert done.status == 2
    assert "piqa-cli[parquet]" in done.err
    assert not (tmp_path / "rows.parquet.jsonl").exists()
