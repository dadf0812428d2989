"""What a run writes besides its results: JUnit XML and overlays, through the executable with the stand-in model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from conftest import Finished, Pictures, RunPiqa
from fakes import FakeAssessor
from piqa_cli.pipeline import assess_pair
from piqa_cli.report import OverlayFolder
from piqa_cli.schema import Pair


def verdicts(path: Path) -> dict[str | None, list[str]]:
    """Name of each test case -> tags of what is wrong with it."""
    cases = ElementTree.parse(path).getroot().iter("testcase")
    return {case.get("name"): [child.tag for child in case if child.tag != "properties"] for case in cases}


@pytest.fixture(scope="module")
def folder(make_batch: Callable[[int], Path]) -> Path:
    """Three pairs, of which `p1` is not readable and `p2` unedited."""
    made = make_batch(3)
    (made / "edited" / "p1.png").write_bytes(b"junk")
    (made / "edited" / "p2.png").write_bytes((made / "source" / "p2.png").read_bytes())
    return made


@pytest.fixture(scope="module")
def ran(quick_piqa: RunPiqa, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """A batch with everything on the side."""
    out = tmp_path_factory.mktemp("out")
    asked = ("--junit", "j.xml", "--overlay-dir", "drawn", "--fail-under", "harmony=1", "-o", "r.jsonl")
    return quick_piqa("batch", folder, *asked, cwd=out), out


def test_a_batch_writes_a_test_case_a_pair(ran: tuple[Finished, Path]) -> None:
    done, out = ran
    assert done.status == 6
    assert "JUnit XML in j.xml" in done.err
    assert verdicts(out / "j.xml") == {"p0": [], "p1": ["error"], "p2": ["failure"]}


def test_a_batch_draws_every_pair_that_it_could_read(ran: tuple[Finished, Path]) -> None:
    done, out = ran
    assert "2 overlays drawn in drawn" in done.err
    assert sorted(path.name for path in (out / "drawn").iterdir()) == ["p0.png", "p2.png"]
    with Image.open(out / "drawn" / "p0.png") as drawn:
        assert drawn.width > 500


def test_a_resumed_batch_has_all_pairs_again_but_draws_only_what_is_missing(
    ran: tuple[Finished, Path], quick_piqa: RunPiqa, folder: Path
) -> None:
    _, out = ran
    (out / "drawn" / "p2.png").unlink()
    before = (out / "drawn" / "p0.png").stat().st_mtime_ns
    asked = ("--junit", "again.xml", "--overlay-dir", "drawn", "--fail-under", "harmony=1", "-o", "r.jsonl", "--resume")
    done = quick_piqa("batch", folder, *asked, cwd=out)
    assert "1 overlay drawn in drawn" in done.err
    assert verdicts(out / "again.xml") == verdicts(out / "j.xml")
    assert (out / "drawn" / "p0.png").stat().st_mtime_ns == before


def test_a_single_pair_that_cannot_be_read_is_an_error_in_the_junit_file(
    quick_piqa: RunPiqa, files: Pictures, tmp_path: Path
) -> None:
    done = quick_piqa("assess", files.source, "missing.png", "--junit", tmp_path / "j.xml", "--format", "table")
    assert done.status == 3
    assert verdicts(tmp_path / "j.xml") == {"missing.png": ["error"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--junit", "j.txt"), ".xml"),
        (("--junit", "no/such/j.xml"), "no/such"),
        (("--overlay-dir", "file"), "is a file"),
    ],
)
def test_targets_that_cannot_be_are_refused_before_any_work(
    quick_piqa: RunPiqa, folder: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "file").touch()
    done = quick_piqa("batch", folder, *arguments, cwd=tmp_path)
    assert (done.status, done.out) == (2, b"")
    assert words in done.err


def test_names_of_drawings_do_not_collide_and_stay_within_the_folder(files: Pictures, tmp_path: Path) -> None:
    names = ["a/b", "a_b", "A_B", "../a", "", "漢字", "x" * 300, "x" * 301, "caf\udce9"]
    _, record = assess_pair(Pair(id="p", source=str(files.source), edited=str(files.edited)), FakeAssessor())
    with OverlayFolder(str(tmp_path / "drawn")) as folder:
        for name in names:
            folder.add(record.model_copy(update={"id": name}))
        folder.finish()
    assert (folder.drawn, folder.missing) == (len(names), [])
    found = [path.name for path in (tmp_path / "drawn").iterdir()]
    assert len({name.casefold() for name in found}) == len(names)
    assert {"a_b.png", "漢字.png"} <= set(found)
    assert all(not name.startswith((".", "-")) for name in found)
    assert [path.name for path in tmp_path.iterdir()] == ["drawn"]


def test_a_picture_that_changed_since_is_not_drawn_on(files: Pictures, tmp_path: Path) -> None:
    edited = tmp_path / "edited.png"
    edited.write_bytes(files.edited.read_bytes())
    _, record = assess_pair(Pair(id="p", source=str(files.source), edited=str(edited)), FakeAssessor())
    Image.new("RGB", (64, 64)).save(edited)
    with OverlayFolder(str(tmp_path / "drawn")) as folder:
        folder.add(record)
        edited.touch()
        folder.finish()
    assert folder.missing == ["p: a file has changed since it was judged"]
