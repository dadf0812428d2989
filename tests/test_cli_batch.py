"""`piqa batch` through the executable: forms of input, rows, gates and exit statuses, with the stand-in model."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Finished, RunPiqa


@pytest.fixture(scope="module")
def good(make_batch: Callable[[int], Path]) -> Path:
    """Three pairs in order."""
    return make_batch(3)


@pytest.fixture(scope="module")
def mixed(make_batch: Callable[[int], Path]) -> Path:
    """Four pairs, of which `p1` is not readable, an edited file and a source without partners, and a text file."""
    folder = make_batch(4)
    (folder / "edited" / "p1.png").write_bytes(b"junk")
    (folder / "edited" / "lone.png").write_bytes((folder / "edited" / "p0.png").read_bytes())
    (folder / "source" / "only.png").write_bytes((folder / "source" / "p0.png").read_bytes())
    (folder / "edited" / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def mixed_run(quick_piqa: RunPiqa, mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """The mixed folder with a gate that all assessed pairs pass, and its summary."""
    summary = tmp_path_factory.mktemp("summary") / "summary.json"
    return quick_piqa("batch", mixed, "--fail-under", "overall=1", "--summary", summary), summary


def statuses(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["id"]: row["status"] for row in rows}


def test_a_bad_pair_is_a_row_and_the_rest_goes_on_in_order(mixed_run: tuple[Finished, Path]) -> None:
    done, _ = mixed_run
    rows = done.rows()
    assert [row["id"] for row in rows] == ["lone", "p0", "p1", "p2", "p3", "only.png"]
    assert [row["status"] for row in rows] == ["error", "ok", "error", "ok", "ok", "error"]
    assert rows[2]["error"]["code"] == "E_NOT_AN_IMAGE"
    assert rows[0]["error"]["code"] == rows[5]["error"]["code"] == "E_UNPAIRED"


def test_some_failures_are_6_even_when_a_gate_fails_too(mixed_run: tuple[Finished, Path]) -> None:
    done, _ = mixed_run
    assert done.status == 6
    assert "3 of 6 pairs assessed" in done.err
    assert "3 failed (E_NOT_AN_IMAGE 1, E_UNPAIRED 2)" in done.err
    assert "gate overall >= 1 failed for 3 of 6 pairs" in done.err, "a failed pair never passes"
    assert "results on standard output" in done.err


def test_the_summary_tells_both(mixed_run: tuple[Finished, Path]) -> None:
    summary = json.loads(mixed_run[1].read_text())
    assert summary["failures"] == {"E_NOT_AN_IMAGE": 1, "E_UNPAIRED": 2}
    (gate,) = summary["gates"]
    assert (gate["dimension"], gate["minimum"], gate["below"]) == ("overall", 1.0, 3)
    assert gate["lowest"] == [{"id": name, "value": None} for name in ("lone", "p1", "only.png")]
    overall = summary["scores"][0]
    assert (overall["dimension"], overall["count"]) == ("overall", 3)
    assert overall["low10"] < overall["median"] < overall["high90"]
    assert (summary["assessed"], summary["failed"], summary["exit_status"]) == (3, 3, 6)


def test_unpaired_files_can_be_refused_or_passed_over(quick_piqa: RunPiqa, mixed: Path) -> None:
    refused = quick_piqa("batch", mixed, "--on-unpaired", "error")
    assert (refused.status, refused.out) == (3, b"")
    passed = quick_piqa("batch", mixed, "--on-unpaired", "ignore", "--max-errors", "25%", "-v")
    assert passed.status == 0
    assert [row["id"] for row in passed.rows()] == ["p0", "p1", "p2", "p3"]
    assert "3 files passed over" in passed.err


def test_tolerated_errors_leave_the_verdict_to_the_gates(quick_piqa: RunPiqa, mixed: Path) -> None:
    assert quick_piqa("batch", mixed, "--max-errors", "3").status == 0
    assert quick_piqa("batch", mixed, "--max-errors", "3", "--fail-under", "overall=1").status == 10
    assert quick_piqa("batch", mixed, "--max-errors", "2").status == 6


def test_a_gate_that_no_pair_misses_is_0_and_one_that_some_miss_is_10(quick_piqa: RunPiqa, good: Path) -> None:
    held = quick_piqa("batch", good, "--fail-under", "overall=1")
    assert held.status == 0
    assert "gate overall >= 1 held" in held.err
    assert quick_piqa("batch", good, "--fail-under", "overall=5").status == 10


def test_a_dry_run_lists_a_manifest_that_batch_takes(quick_piqa: RunPiqa, good: Path) -> None:
    listed = quick_piqa("batch", good, "--dry-run", "--model", "missing")
    assert listed.status == 0
    assert "nothing was assessed" in listed.err
    assert [row["id"] for row in listed.rows()] == ["p0", "p1", "p2"]
    done = quick_piqa("batch", "-", stdin=listed.out)
    assert statuses(done.rows()) == {"p0": "ok", "p1": "ok", "p2": "ok"}


def test_a_dry_run_tells_what_cannot_be_paired(quick_piqa: RunPiqa, mixed: Path) -> None:
    listed = quick_piqa("batch", mixed, "--dry-run")
    assert listed.status == 6
    assert len(listed.rows()) == 4
    assert "lone" in listed.err
    assert "expected a source whose name begins" in listed.err
    assert "only.png" in listed.err


def test_a_dry_run_without_a_single_pair_is_3_as_the_run_would_be(quick_piqa: RunPiqa) -> None:
    assert quick_piqa("batch", "-", "--dry-run").status == 3
    assert quick_piqa("batch", "-", "--dry-run", stdin=b"not json\n").status == 3


def test_limit_takes_the_first_pairs(quick_piqa: RunPiqa, good: Path) -> None:
    done = quick_piqa("batch", good, "--limit", "2", "--workers", "1", "--batch-size", "1")
    assert [row["id"] for row in done.rows()] == ["p0", "p1"]


def test_folders_can_be_given_apart(quick_piqa: RunPiqa, good: Path) -> None:
    done = quick_piqa("batch", "--source-dir", good / "source", "--edited-dir", good / "edited", "--match", "relpath")
    assert done.status == 0
    assert len(done.rows()) == 3


def test_a_manifest_names_files_beside_itself(quick_piqa: RunPiqa, good: Path, tmp_path: Path) -> None:
    manifest = good / "list.csv"
    manifest.write_text('source,edited,prompt\nsource/p0.png,edited/p0.png,"a, ""b"""\nsource/p1.png,,x\n')
    target = tmp_path / "rows.csv"
    done = quick_piqa("batch", "--manifest", manifest, "--output", target)
    assert (done.status, done.out) == (6, b"")
    rows = list(csv.DictReader(target.open(newline="")))
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert rows[0]["prompt"] == 'a, "b"'
    assert str(target) in done.err


def test_a_label_file_takes_its_images_from_a_folder(quick_piqa: RunPiqa, good: Path, tmp_path: Path) -> None:
    row = {"source_img_name": "p0.png", "edited_img_name": "p0.png", "prompt": "make it red"}
    (tmp_path / "labels.json").write_text(json.dumps([row]))
    done = quick_piqa("batch", "labels.json", "--image-dir", good, cwd=tmp_path)
    assert done.status == 0, done.err
    assert done.rows()[0]["pair"]["prompt"] == "make it red"
    assert quick_piqa("batch", "labels.json", cwd=tmp_path).status == 2


def test_json_is_an_array_and_the_table_a_line_per_pair(quick_piqa: RunPiqa, good: Path, tmp_path: Path) -> None:
    assert quick_piqa("batch", good, "-o", tmp_path / "rows.json").status == 0
    assert statuses(json.loads((tmp_path / "rows.json").read_text())) == {"p0": "ok", "p1": "ok", "p2": "ok"}
    table = quick_piqa("batch", good, "--format", "table").out.decode()
    assert [line.split()[0] for line in table.splitlines()] == ["pair", "p0", "p1", "p2"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "--manifest"),
        (("x", "--manifest", "y"), 2, "INPUT and --manifest"),
        (("--source-dir", "x"), 2, "--edited-dir"),
        (("nowhere",), 3, "nowhere"),
        (("empty",), 3, "empty"),
        (("broken.csv",), 3, "broken.csv"),
        (("-",), 3, "no pairs"),
        (("empty", "--max-errors", "some"), 2, "--max-errors"),
        (("empty", "--workers", "0"), 2, "--workers"),
        (("empty", "--batch-size", "big"), 2, "batch-size"),
        (("empty", "--limit", "0"), 2, "--limit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_input_that_cannot_be_used_has_its_status_and_one_clear_line(
    quick_piqa: RunPiqa, tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n")
    done = quick_piqa("batch", *arguments, cwd=tmp_path)
    assert (done.status, done.out) == (status, b"")
    assert words in done.err
    assert "Traceback" not in done.err


def test_a_batch_without_a_single_pair_is_3(quick_piqa: RunPiqa) -> None:
    done = quick_piqa("batch", "-", stdin=b'{"source": "a.png"}\nnot json\n')
    assert done.status == 3
    assert [row["error"]["code"] for row in done.rows()] == ["E_MANIFEST", "E_MANIFEST"]


@pytest.mark.parametrize(("option", "value", "status"), [("--model", "missing", 4), ("--device", "cuda:7", 5)])
def test_a_model_or_device_that_cannot_be_had_leaves_the_output_alone(
    quick_piqa: RunPiqa, good: Path, tmp_path: Path, option: str, value: str, status: int
) -> None:
    target = tmp_path / "rows.jsonl"
    target.write_text("earlier\n")
    assert quick_piqa("batch", good, "-o", target, "--overwrite", option, value).status == status
    assert target.read_text() == "earlier\n"


def test_the_output_never_overwrites_an_input(quick_piqa: RunPiqa, good: Path) -> None:
    manifest = good / "pairs.jsonl"
    manifest.write_text('{"source": "source/p0.png", "edited": "edited/p0.png"}\n')
    image = good / "edited" / "p0.png"
    for target in (manifest, image):
        before = target.read_bytes()
        done = quick_piqa("batch", manifest, "--output", target, "--format", "jsonl", "--overwrite")
        assert done.status == 2
        assert "overwritten" in done.err
        assert target.read_bytes() == before


def test_out_of_memory_is_a_row_of_its_pair(quick_piqa: RunPiqa, good: Path) -> None:
    done = quick_piqa("batch", good, env={"PIQA_STAND_IN": "oom"})
    assert done.status == 6
    assert {row["error"]["code"] for row in done.rows()} == {"E_OOM"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_of_any_bytes_survive_the_way_through_a_batch(
    quick_piqa: RunPiqa, make_batch: Callable[[int], Path]
) -> None:
    folder = make_batch(1)
    name = b"-caf\xe9 \n[red]'\".png"
    for role in ("source", "edited"):
        (folder / role / "p0.png").rename(os.fsdecode(os.path.join(os.fsencode(folder / role), name)))
    done = quick_piqa("batch", folder)
    assert done.status == 0, done.err
    (row,) = done.rows()
    assert os.fsencode(row["pair"]["edited"]["path"]).endswith(name)
    assert quick_piqa("batch", "-", stdin=quick_piqa("batch", folder, "--dry-run").out).status == 0
