"""Streams of the executable: closed pipes, full disks, terminals, Ctrl-C and SIGTERM, with the stand-in model."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import COMMAND, Pictures, RunPiqa, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, pipes and terminals are POSIX's here")


@pytest.fixture(scope="module")
def many(make_batch: Callable[[int], Path]) -> Path:
    """Enough pairs that a batch is not over before something happens to it."""
    return make_batch(12)


def start(home: Path, *arguments: str | Path, seconds: float = 0.3, **options: object) -> subprocess.Popen[bytes]:
    """`piqa` with a model that takes so long for a batch, both streams piped unless told otherwise."""
    streams: dict[str, object] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = environment(home, stand_in=True, extra={"PIQA_STAND_IN": f"seconds={seconds}"})
    return subprocess.Popen([*COMMAND, *arguments], env=env, cwd=home, **(streams | options))  # type: ignore[call-overload, no-any-return]


def test_a_closed_pipe_ends_the_batch_quietly(home: Path, many: Path) -> None:
    process = start(home, "batch", many, "--batch-size", "1", "--quiet", seconds=0.05)
    assert process.stdout is not None
    assert process.stderr is not None
    json.loads(process.stdout.readline())
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141


def test_a_closed_pipe_ends_help_and_schema_quietly(home: Path) -> None:
    for arguments in (("schema",), ("--version",)):
        read, write = os.pipe()
        os.close(read)
        process = start(home, *arguments, stdout=write)
        os.close(write)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (141, b"")


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interrupt_leaves_whole_rows_and_says_how_many(
    home: Path, many: Path, tmp_path: Path, number: signal.Signals, status: int, word: str
) -> None:
    target = tmp_path / "rows.json"
    process = start(home, "batch", many, "--batch-size", "1", "--output", target, "-f", "json")
    while not target.exists() or target.read_text().count('"status"') < 3:  # the last one may still be taken back
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == b""
    rows = json.loads(target.read_text())
    assert f"piqa: {word} after {len(rows)} rows written, kept in {target}" in err.decode()
    assert "Traceback" not in err.decode()
    assert 2 <= len(rows) < 12


def test_an_interrupt_while_python_still_loads_is_130_without_a_traceback(home: Path) -> None:
    code = (
        "import sys, signal, piqa_cli.cli as cli\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'piqa_cli.cli.app': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(home, False), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_an_interrupt_ends_a_batch_that_waits_for_standard_input(home: Path, pairs: bytes) -> None:
    process = start(home, "batch", "-", stdin=subprocess.PIPE, seconds=0)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pairs)
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["status"] == "ok", "the row comes before the stream ends"
    time.sleep(0.5)  # until the row is counted too, and the program waits for the next line
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().splitlines() == ["piqa: interrupted after 1 row written"]


def test_an_interrupt_leaves_no_half_report(home: Path, pairs: bytes, tmp_path: Path) -> None:
    process = start(home, "batch", "-", "--report", tmp_path / "r.html", stdin=subprocess.PIPE, seconds=0)
    assert process.stdin is not None
    process.stdin.write(pairs * 3)
    process.stdin.flush()
    while not list(tmp_path.glob("r_files/*.webp")):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def pairs(files: Pictures) -> bytes:
    """One line for `piqa batch -`."""
    return json.dumps({"source": str(files.source), "edited": str(files.edited)}).encode() + b"\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [("batch", "-"), ("schema",), ("--version",)], ids=" ".join)
def test_a_full_disk_behind_standard_output_is_one_clear_line(
    home: Path, pairs: bytes, arguments: tuple[str, ...]
) -> None:
    with open("/dev/full", "wb") as full:
        process = start(home, *arguments, stdin=subprocess.PIPE, stdout=full, seconds=0)
        _, err = process.communicate(pairs, timeout=60)
    assert process.returncode == 1
    assert "No space left" in err.decode()
    assert "standard output" in err.decode()
    assert "Traceback" not in err.decode()
    assert "Exception ignored" not in err.decode()


def test_a_full_disk_keeps_the_rows_written_valid(home: Path, many: Path, tmp_path: Path) -> None:
    import resource

    target = tmp_path / "rows.jsonl"
    process = start(
        home,
        *("batch", many, "--output", target, "--batch-size", "1"),
        seconds=0,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert str(target) in err.decode()
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert 0 < len(rows) < 12


def watch(home: Path, *arguments: str | Path, streams: tuple[str, ...], **extra: str) -> tuple[str, str]:
    """What `piqa` shows on a terminal of 100 columns, and what it writes to the stream that is not one."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    env = environment(home, stand_in=True, extra={"TERM": "xterm-256color", **extra})
    out_to, err_to = (theirs if name in streams else subprocess.PIPE for name in ("stdout", "stderr"))
    command = [*COMMAND, *arguments]
    process = subprocess.Popen(command, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=out_to, stderr=err_to)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
        while data := os.read(ours, 65536):
            shown += data
    out, err = process.communicate(timeout=60)
    os.close(ours)
    return shown.decode(), ((out or b"") + (err or b"")).decode()


def test_a_terminal_gets_a_table_in_colour(home: Path, files: Pictures) -> None:
    shown, err = watch(home, "assess", files.source, files.edited, streams=("stdout",))
    assert "local naturalness" in shown
    assert "\x1b[" in shown
    assert err == ""


@pytest.mark.parametrize("extra", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_terminal_that_wants_no_colour_gets_none(home: Path, files: Pictures, extra: dict[str, str]) -> None:
    shown, _ = watch(home, "assess", files.source, files.edited, streams=("stdout",), **extra)
    assert "local naturalness" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", shown)


def test_colour_can_be_forced_into_a_pipe(quick_piqa: RunPiqa, files: Pictures) -> None:
    arguments = ("assess", str(files.source), str(files.edited), "--format", "table")
    assert b"\x1b[" in quick_piqa(*arguments, env={"FORCE_COLOR": "1"}).out
    assert b"\x1b[" not in quick_piqa(*arguments).out


def test_the_progress_bar_is_for_a_terminal_on_standard_error_only(home: Path, many: Path) -> None:
    shown, out = watch(home, "batch", many, streams=("stderr",))
    assert "12/12" in shown
    assert re.search(r"\d/s|s each", shown), "the rate"
    assert " left" in shown
    assert "12 of 12 pairs assessed" in shown
    assert len(out.splitlines()) == 12
    shown, out = watch(home, "batch", many, "--no-progress", streams=("stderr",))
    assert "12/12" not in shown
    assert "\x1b" not in shown
    assert "12 of 12 pairs assessed" in shown


def test_streams_are_utf_8_whatever_the_locale(quick_piqa: RunPiqa, files: Pictures) -> None:
    arguments = ("assess", str(files.source), str(files.edited), "--format", "table", "--prompt", "漢字 é")
    done = quick_piqa(*arguments, env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.status == 0, done.err
    assert "→" in done.out.decode("utf-8") or "->" in done.out.decode("utf-8")
