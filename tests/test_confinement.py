"""`--root`: no path of a pair leads out of a folder, however it is written and wherever links go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pictures import photo, save
from piqa_cli.pairs import PairQuery, confine, find_pairs
from piqa_cli.schema import Failure, Pair

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX links")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two pictures; a secret one beside it, and one whose name begins as the folder's does."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in_too").mkdir()
    for name in ("in/a.png", "in/b.png", "secret.png", "in_too/c.png"):
        save(tmp_path / name, photo(40, 40))
    return tmp_path / "in"


def codes(root: Path, **paths: str) -> str | None:
    pair = Pair.model_validate({"id": "x", "source": str(root / "a.png"), "edited": str(root / "b.png")} | paths)
    (item,) = confine([pair], str(root), offline=False)
    assert isinstance(item, Failure) or item is pair
    return item.error.code if isinstance(item, Failure) else None


def test_files_within_pass_however_they_are_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(root) is None
    assert codes(root, edited=f"{root}/../in/./b.png", mask=f"{root}//a.png") is None
    assert codes(root, edited=f"{root}/missing/b.png") is None, "reading it says that it is not there"
    monkeypatch.chdir(root)
    assert [codes(Path("."), source="a.png", edited="b.png")] == [None]


@pytest.mark.parametrize("role", ["source", "edited", "mask"])
@pytest.mark.parametrize("path", ["../secret.png", "../in_too/c.png", "..", "/etc/passwd", "a\0.png", "\ud800.png"])
def test_paths_that_lead_out_are_failures(root: Path, role: str, path: str) -> None:
    assert codes(root, **{role: os.path.join(root, path)}) == "E_OUTSIDE"


@posix
def test_links_are_followed_to_their_end(root: Path) -> None:
    (root / "out.png").symlink_to(root.parent / "secret.png")
    (root / "twice.png").symlink_to("out.png")
    (root / "up").symlink_to("..")
    (root / "within.png").symlink_to("a.png")
    (root / "loop.png").symlink_to("loop.png")
    assert codes(root, edited=str(root / "out.png")) == "E_OUTSIDE"
    assert codes(root, edited=str(root / "twice.png")) == "E_OUTSIDE"
    assert codes(root, edited=str(root / "up" / "secret.png")) == "E_OUTSIDE"
    assert codes(root, edited=str(root / "up" / "in" / "a.png")) is None
    assert codes(root, edited=str(root / "within.png")) is None
    assert codes(root, edited=str(root / "loop.png" / ".." / ".." / "secret.png")) == "E_OUTSIDE"
    (root.parent / "door").symlink_to(root)  # a root that is itself a link
    assert codes(root.parent / "door", source=str(root / "a.png"), edited=str(root.parent / "door" / "b.png")) is None


def test_every_kind_of_input_is_confined_row_by_row(root: Path) -> None:
    rows = [{"source": "a.png", "edited": "b.png"}, {"source": "a.png", "edited": "../secret.png"}]
    (root / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "m.csv").write_text("source,edited\na.png,b.png\na.png,../secret.png\n")
    labels = [{"source_img_name": "a.png", "edited_img_name": name} for name in ("b.png", "secret.png")]
    (root / "l.json").write_text(json.dumps(labels))
    with (root / "m.jsonl").open("rb") as stream:
        for query in (
            PairQuery(input=str(root / "m.jsonl"), root=str(root)),
            PairQuery(input=str(root / "m.csv"), root=str(root)),
            PairQuery(input="-", stdin=stream, image_dir=str(root), root=str(root)),
            PairQuery(labels=str(root / "l.json"), image_dir=str(root.parent), root=str(root)),
        ):
            first, second = find_pairs(query)
            assert isinstance(first, Pair)
            assert isinstance(second, Failure)
            assert (second.error.code, second.pair.source != "") == ("E_OUTSIDE", True)
            assert second.error.file == second.pair.edited


@posix
def test_links_out_of_a_folder_of_pairs_are_failures(root: Path) -> None:
    (root / "source").mkdir()
    (root / "edited").mkdir()
    save(root / "source" / "p.png", photo(40, 40))
    save(root / "edited" / "p_1.png", photo(40, 40))
    (root / "edited" / "p_2.png").symlink_to(root.parent / "secret.png")
    found = list(find_pairs(PairQuery(input=str(root), root=str(root))))
    assert [item.error.code if isinstance(item, Failure) else item.id for item in found] == ["p_1", "E_OUTSIDE"]


@pytest.mark.parametrize("url", ["https://host/a.png", "file:///etc/passwd", "memory://a.png"])
def test_a_url_lies_under_no_folder(root: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert codes(root, edited=url) == "E_OUTSIDE"


def test_offline_only_urls_that_need_the_network_are_failures() -> None:
    pairs = [Pair(id=url, source="a.png", edited=url) for url in ("https://host/a.png", "memory://a.png", "b.png")]
    found = list(confine(pairs, None, offline=True))
    assert [item.error.code if isinstance(item, Failure) else None for item in found] == ["E_OFFLINE", None, None]
