"""`piqa serve` through the executable, with the stand-in model: the client of the documentation, ends of all kinds."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import COMMAND, Pictures, RunPiqa, environment

SERVE = (*COMMAND, "serve", "--stdio")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and closed pipes are POSIX's here")


@pytest.fixture
def server(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, ready."""
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(SERVE, env=environment(home, stand_in=True), cwd=home, **streams)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith(b"piqa: ready: fake ")
    yield process
    process.kill()
    process.communicate()


def request(files: Pictures, **fields: object) -> dict[str, object]:
    return {"id": "a", "source": str(files.source), "edited": str(files.edited)} | fields


def ask(server: subprocess.Popen[bytes], line: dict[str, object] | bytes) -> Any:
    """The answer to one line."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(line + b"\n" if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


def test_the_client_of_the_documentation_gets_every_answer_in_order(
    home: Path, files: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "serve.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "client"}
    exec(code, names)
    for name, value in environment(home, stand_in=True).items():
        monkeypatch.setenv(name, value)
    wrong: dict[int, dict[str, object]] = {3: {"edited": str(files.mask.parent / "none.png")}, 5: {"typo": 1}}
    requests = [request(files, id=number, prompt="p" * 5000, **wrong.get(number, {})) for number in range(60)]
    records = list(names["judge"](requests, (*SERVE, "--quiet")))  # ends with an error unless the status is 0
    assert [record["id"] for record in records] == [str(number) for number in range(60)]
    failed = {record["id"]: record["error"]["code"] for record in records if record["status"] == "error"}
    assert failed == {"3": "E_NOT_FOUND", "5": "E_REQUEST_FIELD"}
    with pytest.raises(RuntimeError, match="status 2"):
        list(names["judge"]([], (*COMMAND, "serve")))


@posix
def test_errors_are_records_and_an_interrupt_ends_it_with_whole_lines(
    server: subprocess.Popen[bytes], files: Pictures
) -> None:
    assert ask(server, b"not json")["error"]["code"] == "E_REQUEST_JSON"
    assert ask(server, b'{"id": "' + b"x" * (3 << 20) + b'"}')["error"]["code"] == "E_REQUEST_LENGTH"
    assert ask(server, request(files))["status"] == "ok"
    threading.Event().wait(0.3)  # until the answer is counted
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=30)
    assert (server.returncode, out) == (143, b"")
    assert err.decode().splitlines() == ["piqa: terminated after 3 answers"]


@posix
def test_a_client_that_has_gone_ends_it_quietly(server: subprocess.Popen[bytes], files: Pictures) -> None:
    assert ask(server, request(files))["status"] == "ok"
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdout.close()
    server.stdin.write(b"{}\n")
    server.stdin.flush()
    assert server.wait(30) == 141
    assert server.stderr is not None
    assert server.stderr.read() == b""


def test_the_root_is_where_paths_start_and_must_be_a_folder(quick_piqa: RunPiqa, files: Pictures) -> None:
    inside = {"id": "in", "source": files.source.name, "edited": files.edited.name}
    lines = "\n".join(json.dumps(row) for row in (inside, inside | {"mask": "../../etc/passwd"})).encode()
    done = quick_piqa("serve", "--stdio", "--root", files.source.parent, stdin=lines)
    assert [row.get("error", {}).get("code") for row in done.rows()] == [None, "E_OUTSIDE"]
    assert done.status == 0
    assert done.err.splitlines()[-1] == "piqa: standard input has ended; 2 answers given"
    missing = quick_piqa("serve", "--stdio", "--root", "nowhere")
    assert (missing.status, missing.out) == (2, b"")
