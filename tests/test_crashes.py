"""A batch stopped by force: killed, interrupted, out of disk space. `--resume` then loses and doubles nothing."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import warm
from conftest import COMMAND, RunPiqa, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, limits and mounts are POSIX's here")
KILLS = 50
PAIRS = 24


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a file, `seconds` apart; the last line may be torn."""
    rows = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        if line.endswith(b"\n"):
            rows.append(json.loads(line))
            rows[-1].pop("seconds", None)
    return rows


@pytest.fixture(scope="module")
def many(make_batch: Callable[[int], Path]) -> Path:
    """Pairs of which three cannot be read and two have no partner, so that every resume has something to retry."""
    folder = make_batch(PAIRS)
    for name in ("p1", "p5", "p9"):
        (folder / "edited" / f"{name}.png").write_bytes(b"junk")
    (folder / "source" / "lone.png").write_bytes((folder / "source" / "p0.png").read_bytes())
    (folder / "edited" / "other.png").write_bytes((folder / "edited" / "p0.png").read_bytes())
    old = time.time() - 3600
    for path in folder.glob("*/*"):
        os.utime(path, (old, old))  # a file that has only just changed is read again by each run
    return folder


@pytest.fixture(scope="module")
def expected(quick_piqa: RunPiqa, many: Path) -> list[dict[str, Any]]:
    """The rows of a run that nothing stops."""
    target = many / "uninterrupted.jsonl"
    assert quick_piqa("batch", many, "--output", target, "--quiet").status == 6
    rows = rows_of(target)
    assert len(rows) == PAIRS + 2
    return rows


def test_fifty_kills_at_random_moments_lose_nothing_and_double_nothing(
    many: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    where = warm.context()
    target = tmp_path / "rows.jsonl"
    arguments = ["batch", str(many), "--output", str(target), "--resume", "--batch-size", "2", "--quiet"]
    generator = random.Random(20)
    for _ in range(2):  # the first one waits for the imports
        target.unlink(missing_ok=True)
        begun = time.monotonic()
        warm.start(where, arguments, tmp_path, "seconds=0.01").join(60)
        longest = time.monotonic() - begun
        assert rows_of(target) == expected
    kills = 0
    while kills < KILLS:
        before = {row["id"] for row in rows_of(target) if row["status"] == "ok"}
        process = warm.start(where, arguments, tmp_path, "seconds=0.01")
        process.join(generator.uniform(0, longest))
        process.kill()
        process.join(60)
        rows = rows_of(target)
        assert before <= {row["id"] for row in rows if row["status"] == "ok"}, "a finished pair was lost"
        assert all(row in expected for row in rows)
        if process.exitcode == -signal.SIGKILL:
            kills += 1
        else:
            assert process.exitcode == 6
            assert rows == expected
            target.unlink()
    warm.start(where, arguments, tmp_path).join(60)
    assert rows_of(target) == expected
    assert {path.name for path in tmp_path.iterdir()} <= {"rows.jsonl", "rows.jsonl.hashes"}, "no leftovers"


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interrupt_tells_the_command_that_goes_on_and_it_does(
    home: Path,
    many: Path,
    expected: list[dict[str, Any]],
    tmp_path: Path,
    number: signal.Signals,
    status: int,
    word: str,
) -> None:
    target = tmp_path / "it's.jsonl"
    target.write_text("old results\n")
    slow = environment(home, stand_in=True, extra={"PIQA_STAND_IN": "seconds=0.2"})
    command = [*COMMAND, "batch", str(many), "--batch-size", "1", "--overwrite", "-o", str(target)]
    process = subprocess.Popen(command, env=slow, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while target.read_bytes().count(b'"status"') < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    told = err.decode().splitlines()
    assert f"piqa: {word} after " in told[-2]
    assert told[-1].startswith("  to go on: piqa batch ")
    assert 3 <= len(rows_of(target)) < PAIRS
    words = shlex.split(told[-1].removeprefix("  to go on: "))
    assert "--resume" in words
    assert "--overwrite" not in words
    kept = target.read_bytes()
    quick = environment(home, stand_in=True)
    done = subprocess.run([*COMMAND, *words[1:]], env=quick, cwd=home, capture_output=True, check=False)
    assert done.returncode == 6
    assert target.read_bytes().startswith(kept), "what was done is not done again"
    assert rows_of(target) == expected


def test_a_full_file_system_loses_nothing(
    home: Path, many: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A real one: a small tmpfs in a name space of its own, which is made larger after the first run."""
    script = """
        mount -t tmpfs -o size=48k tmpfs disk || exit 99
        "$@"; echo $? > first_status
        cp disk/rows.jsonl first.jsonl
        mount -o remount,size=4m disk
        "$@" --resume; echo $? > second_status
        cp disk/rows.jsonl second.jsonl
    """
    (tmp_path / "disk").mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    command += [*COMMAND, "batch", str(many), "--output", "disk/rows.jsonl", "--batch-size", "1"]
    env = environment(home, stand_in=True)
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    if not (tmp_path / "first_status").exists():
        pytest.skip(f"no file system can be mounted here: {done.stderr[-200:]}")
    assert (tmp_path / "first_status").read_text() == "1\n"
    assert "No space left" in done.stderr
    assert "--resume" in done.stderr
    assert 3 < len(rows_of(tmp_path / "first.jsonl")) < PAIRS
    assert (tmp_path / "first.jsonl").read_bytes().endswith(b"\n"), "the row that had no room is taken back"
    assert (tmp_path / "second_status").read_text() == "6\n"
    assert rows_of(tmp_path / "second.jsonl") == expected


def test_no_room_for_putting_the_rows_in_order_leaves_them_all(
    home: Path, many: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    target = tmp_path / "rows.jsonl"
    lines = (many / "uninterrupted.jsonl").read_bytes().splitlines(keepends=True)
    target.write_bytes(b"".join(reversed(lines)))
    process = subprocess.run(
        [*COMMAND, "batch", many, "--output", target, "--resume"],
        env=environment(home, stand_in=True),
        preexec_fn=lambda: _limit_file_size(target.stat().st_size // 2),
        capture_output=True,
        check=False,
    )
    assert process.returncode == 1
    assert b"File too large" in process.stderr
    assert target.read_bytes() == b"".join(reversed(lines))
    assert not (tmp_path / "rows.jsonl.part").exists()
    roomy = environment(home, stand_in=True)
    subprocess.run([*COMMAND, "batch", many, "-o", target, "--resume"], env=roomy, capture_output=True, check=False)
    assert rows_of(target) == expected
    assert target.read_bytes() == b"".join(lines), "put in order, and none made anew"


def _limit_file_size(size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _obey_permissions() -> None:
    """In a child: root, too, is then held to what a folder's mode says."""
    import ctypes

    pr_capbset_drop, cap_dac_override = 24, 1
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes this right from root")
def test_a_folder_that_cannot_be_written_to_is_one_clear_line_and_changes_nothing(
    home: Path, many: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    held = (many / "uninterrupted.jsonl").read_bytes()
    (folder / "held.jsonl").write_bytes(held)
    folder.chmod(0o500)
    try:
        for name, option in (("new.jsonl", "--resume"), ("held.jsonl", "--resume"), ("held.jsonl", "--overwrite")):
            done = subprocess.run(
                [*COMMAND, "batch", many, "--output", folder / name, option],
                env=environment(home, stand_in=True),
                preexec_fn=_obey_permissions,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            assert done.stderr.splitlines()[0].startswith(f"piqa: error: {folder / name}")
            assert "Permission denied" in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        folder.chmod(0o700)
    assert [path.name for path in folder.iterdir()] == ["held.jsonl"]
    assert (folder / "held.jsonl").read_bytes() == held


def test_a_second_writer_is_refused_until_the_first_is_gone_even_if_it_was_killed(
    home: Path, many: Path, quick_piqa: RunPiqa, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    target = tmp_path / "rows.jsonl"
    slow = environment(home, stand_in=True, extra={"PIQA_STAND_IN": "seconds=0.3"})
    first = subprocess.Popen(
        [*COMMAND, "batch", many, "--batch-size", "1", "-o", target], env=slow, cwd=home, stderr=subprocess.DEVNULL
    )
    while not rows_of(target):
        assert first.poll() is None
        time.sleep(0.01)
    for option in ("--resume", "--overwrite"):
        refused = quick_piqa("batch", many, "-o", target, option)
        assert refused.status == 1
        assert "another piqa is writing these results" in refused.err
    first.kill()
    first.wait(60)
    assert quick_piqa("batch", many, "-o", target, "--resume").status == 6
    assert rows_of(target) == expected
