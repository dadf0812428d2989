"""`piqa assess` through the executable: inputs, formats, gates and exit statuses, with the stand-in model."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
from pathlib import Path

import pytest

from conftest import Finished, Pictures, RunPiqa


@pytest.fixture(scope="module")
def plain(quick_piqa: RunPiqa, files: Pictures) -> Finished:
    """One run without options, its output piped."""
    return quick_piqa("assess", files.source, files.edited)


def test_a_pipe_gets_one_json_record_and_standard_error_stays_empty(plain: Finished, files: Pictures) -> None:
    assert plain.status == 0
    assert plain.err == ""
    record = plain.json()
    assert (record["status"], record["schema_version"]) == ("ok", "1.3")
    assert record["pair"]["source"]["path"] == str(files.source)
    assert record["explanation"]


def test_jsonl_is_one_line(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, "--format", "jsonl", "--no-explain")
    (record,) = done.rows()
    assert record["explanation"] is None


def test_the_suffix_of_the_output_chooses_the_format(quick_piqa: RunPiqa, files: Pictures, tmp_path: Path) -> None:
    target = tmp_path / "result.csv"
    done = quick_piqa("assess", files.source, files.edited, "-o", target)
    assert (done.status, done.out) == (0, b"")
    (row,) = csv.DictReader(io.StringIO(target.read_text()))
    assert row["status"] == "ok"


def test_format_beats_the_suffix(quick_piqa: RunPiqa, files: Pictures, tmp_path: Path) -> None:
    target = tmp_path / "result.csv"
    quick_piqa("assess", files.source, files.edited, "-o", target, "--format", "table")
    assert "overall" in target.read_text()
    assert "schema_version" not in target.read_text()


@pytest.mark.parametrize("role", ["source", "edited", "mask"])
def test_a_dash_reads_the_image_from_standard_input(quick_piqa: RunPiqa, files: Pictures, role: str) -> None:
    paths = {"source": str(files.source), "edited": str(files.edited), "mask": str(files.mask)}
    data = Path(paths[role]).read_bytes()
    paths[role] = "-"
    done = quick_piqa("assess", paths["source"], paths["edited"], "--mask", paths["mask"], stdin=data)
    assert done.status == 0, done.err
    assert done.json()["pair"][role]["width"] == 160


def test_what_is_wrong_with_standard_input_is_said_of_it(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, "-", stdin=b"")
    assert done.status == 3
    assert done.err.startswith("piqa: error: standard input is empty")
    assert "in front of the pipe" in done.err


def test_a_name_that_looks_like_an_option_is_told_to_go_after_the_dashes(quick_piqa: RunPiqa) -> None:
    done = quick_piqa("assess", "-dash.png", "edited.png")
    assert done.status == 2
    assert "goes after `--`" in done.err


def test_standard_input_can_be_only_one_of_them(quick_piqa: RunPiqa) -> None:
    assert quick_piqa("assess", "-", "-").status == 2


def test_a_prompt_can_come_from_a_file(quick_piqa: RunPiqa, files: Pictures, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("\ufeffErsetze den Löffel\n", "utf-8")
    done = quick_piqa("assess", files.source, files.edited, "--prompt", "@prompt.txt", cwd=tmp_path)
    assert done.json()["pair"]["prompt"] == "Ersetze den Löffel"


def test_a_doubled_at_sign_begins_a_literal_prompt(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, "--prompt", "@@home [bold]")
    assert done.json()["pair"]["prompt"] == "@home [bold]"


def test_a_missing_prompt_file_is_a_missing_input(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, "--prompt", "@nothing.txt")
    assert done.status == 3
    assert "nothing.txt" in done.err


NAMES = ["line\nbreak.png", "quo\"te's.png", "-dash.png", b"latin-\xe9.png", "[bold]ünïcode 漢字.png", " space .png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse some of these names")
@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_any_name_a_file_can_have_is_read(
    quick_piqa: RunPiqa, files: Pictures, tmp_path: Path, name: str | bytes
) -> None:
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    shutil.copy(os.fsencode(files.edited), path)
    done = quick_piqa("assess", "--format", "json", "--", files.source, os.fsencode(name), cwd=tmp_path)
    assert done.status == 0, done.err
    assert os.fsencode(done.json()["pair"]["edited"]["path"]) == os.fsencode(name)


def test_a_name_never_reaches_the_terminal_raw(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, "no\x1b[31msuch\n.png")
    assert done.status == 3
    assert "\x1b" not in done.err
    assert r"no\x1b[31msuch\n.png" in done.err


def test_an_unreadable_image_is_an_error_record_and_3(quick_piqa: RunPiqa, files: Pictures, tmp_path: Path) -> None:
    (tmp_path / "junk.png").write_bytes(b"junk")
    done = quick_piqa("assess", files.source, "junk.png", cwd=tmp_path)
    assert done.status == 3
    assert (done.json()["status"], done.json()["error"]["file"]) == ("error", "junk.png")
    assert done.err.startswith("piqa: error: ")
    assert "Traceback" not in done.err


def test_the_table_of_an_unreadable_image_is_empty(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, "nothing.png", "--format", "table")
    assert (done.status, done.out) == (3, b"")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--model", "missing"), 4, "piqa models list"),
        (("--device", "cuda:7"), 5, "cuda:7"),
        (("--device", "gpu"), 2, "cuda:N"),
        (("--format", "xml"), 2, "--format"),
        (("--nonsense",), 2, "--nonsense"),
        (("--fail-under", "overall=6"), 2, "1 to 5"),
        (("--fail-under", "completion=4"), 2, "1 to 3"),
        (("--fail-under", "beauty=3"), 2, "harmony"),
        (("--output", "nowhere/result.json"), 2, "nowhere"),
        (("--output", "result.xyz"), 2, ".jsonl"),
        (("--output", "result.parquet"), 2, "Parquet"),
        (("--overlay", "overlay.gif"), 2, ".png"),
        (("--max-pixels", "2000"), 3, "piqa: error"),
        (("--max-pixels", "1000"), 2, "1024"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_goes_wrong_has_its_status_and_one_clear_line(
    quick_piqa: RunPiqa, files: Pictures, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = quick_piqa("assess", files.source, files.edited, *arguments)
    assert done.status == status
    assert words in done.err
    assert "Traceback" not in done.err
    assert done.status == 3 or done.out == b""


def test_running_out_of_memory_with_one_pair_is_5(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, env={"PIQA_STAND_IN": "oom"})
    assert done.status == 5
    assert done.json()["error"]["code"] == "E_OOM"


def test_a_bug_is_1_and_shows_its_traceback_only_when_asked(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, env={"PIQA_STAND_IN": "bug"})
    assert done.status == 1
    assert "internal error: RuntimeError: a bug" in done.err
    assert "Traceback" not in done.err
    done = quick_piqa("--debug", "assess", files.source, files.edited, env={"PIQA_STAND_IN": "bug"})
    assert done.status == 1
    assert "Traceback" in done.err


def test_a_gate_holds_when_the_score_equals_it(quick_piqa: RunPiqa, files: Pictures, plain: Finished) -> None:
    value = plain.json()["scores"]["overall"]["value"]
    done = quick_piqa("assess", files.source, files.edited, "--fail-under", f"overall={value!r}")
    assert done.status == 0
    assert "held" in done.err


def test_a_gate_that_does_not_hold_is_10_and_the_record_is_written(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, "--fail-under", "harmony=5", "--fail-under", "overall=1")
    assert done.status == 10
    assert done.json()["status"] == "ok"
    assert "gate harmony >= 5 failed: " in done.err
    assert "of 1 pair" not in done.err
    assert "gate overall >= 1 held" in done.err


def test_a_null_score_never_passes_a_gate(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, "--fail-under", "completion=1")
    assert done.status == 10
    assert "no prompt was given" in done.err


def test_quiet_says_nothing_but_errors(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, "--fail-under", "harmony=5", "-q")
    assert (done.status, done.err) == (10, "")


def test_the_output_never_overwrites_an_input(quick_piqa: RunPiqa, files: Pictures, tmp_path: Path) -> None:
    copy = tmp_path / "edited.png"
    shutil.copy(files.edited, copy)
    (tmp_path / "link.json").symlink_to(copy)
    for option, target in (("--output", "link.json"), ("--overlay", "edited.png")):
        done = quick_piqa("assess", files.source, copy, option, target, cwd=tmp_path)
        assert done.status == 2
        assert "overwritten" in done.err
    assert copy.read_bytes() == files.edited.read_bytes()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_overlay_that_cannot_be_written_does_not_cost_the_record(
    quick_piqa: RunPiqa, files: Pictures, tmp_path: Path
) -> None:
    (tmp_path / "where.png.part").symlink_to("/dev/full")  # what it is written to before it gets its name
    done = quick_piqa("assess", files.source, files.edited, "--overlay", "where.png", cwd=tmp_path)
    assert done.status == 1
    assert done.json()["status"] == "ok"
    assert "where.png: cannot write the overlay: No space left" in done.err


def test_nothing_is_written_when_the_model_cannot_be_had(quick_piqa: RunPiqa, files: Pictures, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("earlier")
    assert quick_piqa("assess", files.source, files.edited, "-o", target, "--model", "missing").status == 4
    assert target.read_text() == "earlier"


def test_an_inverted_mask_and_a_frame_are_passed_on(quick_piqa: RunPiqa, files: Pictures) -> None:
    done = quick_piqa("assess", files.source, files.edited, "--mask", files.mask, "--invert-mask", "--frame", "0")
    assert done.status == 0
    assert done.json()["pair"]["mask"]["width"] == 160
