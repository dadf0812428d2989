"""Inputs that a URL names: manifests and pictures, over HTTP from a server of this test and in fsspec's own memory."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from conftest import Pictures, RunPiqa
from fakes import FakeAssessor
from piqa_cli import remote
from piqa_cli.errors import InputError, UsageError
from piqa_cli.images import DEFAULT_POLICY
from piqa_cli.pairs import InputKind, PairQuery, detect, find_pairs
from piqa_cli.pipeline import resume_pairs
from piqa_cli.resume import FileHashes, Known, Memory, Recipe
from piqa_cli.schema import Failure, Outcome, Pair

fsspec = pytest.importorskip("fsspec")


class Shelf:
    """What a server has, and what it was asked for. Files of the names in `untagged` have no ETag."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.untagged: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    def fetched(self) -> list[str]:
        """The files that were read, since this was last asked."""
        names = [path for verb, path in self.asked if verb == "GET"]
        self.asked.clear()
        return names


class Handler(BaseHTTPRequestHandler):
    def __init__(self, shelf: Shelf, *rest: Any) -> None:
        self.shelf = shelf
        super().__init__(*rest)

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.shelf.asked.append((self.command, name))
        if name.startswith("slow") and self.command == "GET":
            time.sleep(1.5)
        if name.startswith("broken"):
            self.send_error(500)
            return
        data = self.shelf.files.get(name)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        if name not in self.shelf.untagged:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Shelf]]:
    pytest.importorskip("aiohttp")
    shelf = Shelf()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, shelf)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}", shelf
        http.shutdown()


@pytest.fixture
def shop(server: tuple[str, Shelf], files: Pictures) -> tuple[str, Shelf]:
    """The server with one pair and a manifest that names it, relative to itself."""
    base, shelf = server
    shelf.files = {"set/s.png": files.source.read_bytes(), "set/e.png": files.edited.read_bytes()}
    shelf.files["set/pairs.csv"] = b"source,edited,id\ns.png,e.png,one\n"
    shelf.untagged = set()
    shelf.asked.clear()
    return base, shelf


def judged(query: PairQuery, hashes: FileHashes | None = None) -> list[Outcome]:
    memory = Memory(Recipe((), DEFAULT_POLICY), hashes or FileHashes())
    return [item for item in resume_pairs(find_pairs(query), FakeAssessor(), memory) if not isinstance(item, Known)]


def test_a_manifest_and_its_pictures_over_http_give_the_records_of_the_same_files_here(
    shop: tuple[str, Shelf], files: Pictures, quick_piqa: RunPiqa, tmp_path: Path
) -> None:
    base, shelf = shop
    shelf.files["set/pairs.csv"] += b"nothing.png,e.png,two\n"
    there = quick_piqa("batch", f"{base}/set/pairs.csv")
    (tmp_path / "pairs.csv").write_text(f"source,edited,id\n{files.source},{files.edited},one\n")
    here = quick_piqa("batch", tmp_path / "pairs.csv").rows()[0]
    assert there.status == 6
    row, missing = there.rows()
    assert row["key"] == here["key"]
    assert row["scores"] == here["scores"]
    assert row["pair"]["edited"]["path"] == f"{base}/set/e.png"
    assert missing["error"]["code"] == "E_NOT_FOUND"
    offline = quick_piqa("batch", f"{base}/set/pairs.csv", "--offline")
    assert offline.status == 3
    assert "E_OFFLINE" in offline.err
    single = quick_piqa("assess", f"{base}/set/s.png", f"{base}/set/e.png", "--offline")
    assert single.status == 3
    assert "E_OFFLINE" in single.err
    away = quick_piqa("batch", tmp_path / "pairs.csv", "-o", "s3://bucket/rows.jsonl")
    assert away.status == 2
    assert "this machine" in away.err


def test_files_in_a_memory_file_system_are_read_also_offline(files: Pictures) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/set/a/s.png", files.source.read_bytes())
    memory.pipe("/set/e.png", files.edited.read_bytes())
    memory.pipe("/set/lists/m.jsonl", b'{"source": "../a/s.png", "edited": "memory://set/e.png"}\n')
    (outcome,) = judged(PairQuery(input="memory://set/lists/m.jsonl", offline=True))
    assert outcome.status == "ok"
    assert outcome.key is not None
    assert outcome.pair.source.path == "memory://set/a/s.png"


def test_a_pair_whose_url_needs_the_network_is_a_failure_offline(tmp_path: Path) -> None:
    rows = [
        {"source": "s3://bucket/s.png", "edited": "e.png"},
        {"source": "zip://s.png::https://host/a.zip", "edited": "e.png"},
        {"source": "file:///tmp/s.png", "edited": "e.png"},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = list(find_pairs(PairQuery(input=str(tmp_path / "m.jsonl"), offline=True)))
    assert [item.error.code if isinstance(item, Failure) else "" for item in found] == ["E_OFFLINE", "E_OFFLINE", ""]


def test_a_relative_path_in_a_list_is_below_the_folder_of_the_list_and_a_url_stays() -> None:
    assert remote.folder_of("https://host/a/list.csv?token=x/y") == "https://host/a"
    assert remote.join("s3://bucket/a", "b/c.png") == "s3://bucket/a/b/c.png"
    assert remote.join("s3://bucket/a", "../c.png") == "s3://bucket/c.png"
    assert remote.join("s3://bucket", "/c.png") == "s3://bucket/c.png"
    assert remote.join("/here", "gs://bucket/c.png") == "gs://bucket/c.png"
    assert not any(map(remote.is_remote, ("a/b.png", "C:/a.png", "C:\\a.png", "a::b.png", "-", "://x")))


def test_what_the_server_or_the_driver_lacks_is_said(shop: tuple[str, Shelf]) -> None:
    base, _ = shop
    with pytest.raises(InputError) as caught:
        remote.read(f"{base}/broken.png")
    assert caught.value.code == "E_REMOTE"
    with pytest.raises(InputError, match="no driver for nonsense://") as caught:
        remote.read("nonsense://a.png")
    assert caught.value.code == "E_PLUGIN"
    if find_spec("s3fs") is None:
        with pytest.raises(InputError) as caught:
            remote.read("s3://bucket/a.png")
        assert caught.value.hint == "pip install s3fs"
    with pytest.raises(UsageError, match="only a manifest"):
        detect("s3://bucket/folder/")
    assert detect("s3://bucket/list.csv") == InputKind.MANIFEST


def test_a_file_that_is_too_large_or_does_not_come_is_given_up(
    shop: tuple[str, Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, shelf = shop
    shelf.files["large.png"] = bytes(3 << 20)
    with pytest.raises(InputError) as caught:
        remote.read(f"{base}/large.png", limit=1 << 20)
    assert caught.value.code == "E_TOO_LARGE"
    shelf.files["slow.png"] = b"data"
    monkeypatch.setattr(remote, "TIMEOUT_SECONDS", 0.3)
    begun = time.monotonic()
    with remote.once():
        for _ in range(3):
            with pytest.raises(InputError, match="cannot be read") as caught:
                remote.read(f"{base}/slow.png")
    assert caught.value.code == "E_REMOTE"
    assert time.monotonic() - begun < 1.2, "within a pair, what failed is not tried again"


def test_each_file_of_a_pair_is_fetched_once(shop: tuple[str, Shelf], tmp_path: Path) -> None:
    base, shelf = shop
    shelf.untagged = {"set/s.png"}
    (outcome,) = judged(PairQuery(input=f"{base}/set/pairs.csv"), FileHashes(str(tmp_path / "h")))
    assert outcome.key is not None
    assert sorted(shelf.fetched()) == ["set/e.png", "set/pairs.csv", "set/s.png"]


def test_a_hash_is_remembered_by_the_etag_and_without_one_the_file_is_read_again(
    shop: tuple[str, Shelf], tmp_path: Path
) -> None:
    base, shelf = shop
    shelf.files |= {"tagged": b"1", "plain": b"1"}
    shelf.untagged = {"plain"}

    def hashed(name: str) -> str | None:
        hashes = FileHashes(str(tmp_path / "h"), recall=True)
        found = hashes.of(f"{base}/{name}")
        hashes.save()
        return found

    one, two = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()
    assert [hashed("tagged"), hashed("tagged"), hashed("plain"), hashed("plain")] == [one] * 4
    assert shelf.fetched() == ["tagged", "plain", "plain"]
    shelf.files |= {"tagged": b"2", "plain": b"2"}  # as long as before, and at once
    assert [hashed("tagged"), hashed("plain")] == [two, two]
    assert FileHashes().of(f"{base}/nothing") is None


def test_a_file_that_changes_while_its_pair_is_read_is_known_by_what_was_decoded(
    shop: tuple[str, Shelf], files: Pictures, tmp_path: Path
) -> None:
    base, shelf = shop
    pair = Pair(id="a", source=f"{base}/set/s.png", edited=f"{base}/set/e.png")
    memory = Memory(Recipe((), DEFAULT_POLICY), FileHashes(str(tmp_path / "h")))
    with remote.once():
        before = memory.key_of(pair)
        shelf.files["set/e.png"] = files.source.read_bytes()
        assert remote.read(pair.edited) == files.edited.read_bytes()
        assert memory.key_of(pair) == before
    assert memory.key_of(pair) != before
