"""The report without a browser: what the page holds, how large it gets, what is missing, what stays on the disk."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Pictures, RunPiqa, draw_scene, save_pair
from fakes import FakeAssessor
from piqa_cli.errors import OutputError
from piqa_cli.pipeline import assess_pair
from piqa_cli.regions import encode_mask
from piqa_cli.report import EMBED_LIMIT, ReportWriter
from piqa_cli.report.content import to_block
from piqa_cli.report.crew import Crew
from piqa_cli.report.pictures import PictureLimits, draw_preview, outline
from piqa_cli.report.writing import EMBEDDED
from piqa_cli.schema import Assessment, ImageInfo, Outcome, Pair, Region, RunLengthMask
from piqa_cli.writers import to_json
from records import CHECKED, ORDINARY, RECORDS, UNREADABLE

SCRIPT = "</script><img src=x onerror=alert(1)>\u2028<!--<script>"


class Page(HTMLParser):
    """A page as a browser's parser sees it: elements with their attributes, and the text of each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._within: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = self.inline.get(tag)
        if self._within is not None:
            self._within.append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = None

    def handle_data(self, data: str) -> None:
        if self._within is not None:
            self._within[-1] += data

    @property
    def data(self) -> Any:
        return json.loads(self.inline["script"][0])


def write(path: Path, *outcomes: Outcome, expected: int | None = None, **rest: Any) -> Page:
    """Writes a report of the outcomes and parses it."""
    with ReportWriter(str(path), expected=expected or len(outcomes), title=rest.pop("title", "t"), **rest) as report:
        for outcome in outcomes:
            report.add(outcome)
        report.save()
    return Page(path.read_text("utf-8"))


def assessed(files: Pictures, name: str = "p") -> Assessment:
    """A record of pictures that are there."""
    pair = Pair(id=name, source=str(files.source), edited=str(files.edited))
    return assess_pair(pair, FakeAssessor())[1]


def picture(page: Page, row: int = 0, which: int = 1) -> Image.Image:
    """A picture that the page holds: 0 is the source, 1 the edited image."""
    uri = page.data["pictures"][page.data["rows"][row]["pictures"][which]]
    head, _, text = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_text_of_records_cannot_leave_the_data_block(tmp_path: Path) -> None:
    hostile = ORDINARY.model_copy(
        update={
            "id": SCRIPT,
            "explanation": SCRIPT,
            "warnings": (SCRIPT,),
            "pair": ORDINARY.pair.model_copy(update={"prompt": SCRIPT}),
            "model": ORDINARY.model.model_copy(update={"name": SCRIPT}),
        }
    )
    failed = UNREADABLE.model_copy(
        update={"error": UNREADABLE.error.model_copy(update={"code": SCRIPT, "hint": SCRIPT})}
    )
    page = write(tmp_path / "r.html", hostile, failed, title=SCRIPT, images="none", settings=((SCRIPT, SCRIPT),))
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert "img" not in {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    seen = SCRIPT.replace("\u2028", r"\u2028")  # spelt out: it cannot be seen
    assert page.inline["title"] == [seen]
    row = page.data["rows"][0]
    assert (row["id"], row["prompt"], row["explanation"], row["warnings"]) == (seen, seen, seen, [seen])
    assert page.data["rows"][1]["error"]["hint"] == seen


@pytest.mark.parametrize("value", [SCRIPT, "\u2029", "\udcff", float("nan"), float("inf"), "]]>&amp;", {"<": "&"}])
def test_a_data_block_is_ascii_without_markup_and_json_all_the_same(value: object) -> None:
    text = to_block([value])
    assert text.isascii()
    assert not set("<>&") & set(text)
    back = json.loads(text)
    assert back == [None if isinstance(value, float) else value]


def test_only_the_pages_own_style_and_script_may_run_and_nothing_is_loaded(tmp_path: Path) -> None:
    page = write(tmp_path / "r.html", *RECORDS, images="none")
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for name, text in (("script-src", page.inline["script"][1]), ("style-src", page.inline["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    outside = [attributes for _, attributes in page.elements if {"src", "href"} & attributes.keys()]
    assert outside == []


def test_every_record_is_a_row_in_input_order_with_its_scores_and_reasons(tmp_path: Path) -> None:
    page = write(tmp_path / "r.html", *RECORDS, CHECKED, images="none")
    rows = page.data["rows"]
    assert [row["id"] for row in rows] == ["street_1", "broken", "=cmd|' /C calc'!A0", r"-x\udcff", "street_2"]
    assert [score.get("value") for score in rows[0]["scores"]] == [3.62, 2.8, 3.25, 2.1, 4.9]
    assert rows[2]["scores"][0] == {"reason": "nothing was edited", "code": "N_NO_EDIT"}
    assert rows[1]["error"]["expected"] == "a complete PNG"
    assert rows[4]["check"]["disagreements"] == [False, False, True, False, False]
    assert rows[4]["scores"][2]["distribution"] == [0.05, 0.2, 0.25, 0.4, 0.1]
    assert rows[0]["heat"]["values"] == "AECA/wB/"
    assert [region["box"] for region in rows[0]["regions"]] == [[40, 60, 240, 220], [500, 400, 560, 470]]
    assert r"\u202e" in rows[2]["prompt"], "what turns the direction of writing is spelt out"


def test_pictures_within_the_page_are_bounded_in_pixels_and_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2400, 3), np.uint8)
    for name in ("source", "edited"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    files = Pictures(tmp_path / "source.png", tmp_path / "edited.png", tmp_path / "none")
    page = write(tmp_path / "r.html", assessed(files))
    uris = page.data["pictures"]
    assert len(uris) == 1, "source and edited are alike: the picture is there once"
    assert 0.4 * EMBEDDED.size < len(uris[0]) * 3 / 4 <= EMBEDDED.size + 100
    with picture(page) as shown:
        assert max(shown.size) <= EMBEDDED.side
        assert shown.width / shown.height == pytest.approx(1.6, rel=0.01)
    assert page.data["rows"][0]["frame"] == [960, 600]


def test_a_small_picture_is_not_enlarged_and_looks_like_the_file(files: Pictures, tmp_path: Path) -> None:
    page = write(tmp_path / "r.html", assessed(files))
    with picture(page) as shown, Image.open(files.edited) as edited:
        assert shown.size == edited.size
        assert np.abs(np.asarray(shown, np.int16) - np.asarray(edited)).mean() < 8


def test_a_large_run_has_its_pictures_beside_the_page_each_once(files: Pictures, tmp_path: Path) -> None:
    page = write(tmp_path / "a b#.html", *[assessed(files)] * 3, expected=EMBED_LIMIT + 1)
    folder = tmp_path / "a b#_files"
    assert page.data["folder"] == "a%20b%23_files/"
    assert sorted(page.data["pictures"]) == sorted(path.name for path in folder.iterdir())
    assert len(page.data["pictures"]) == 2
    assert page.data["rows"][0]["pictures"] == page.data["rows"][2]["pictures"]


@pytest.mark.parametrize(("expected", "beside"), [(EMBED_LIMIT, False), (EMBED_LIMIT + 1, True), (None, True)])
def test_the_number_of_pairs_decides_where_the_pictures_are(tmp_path: Path, expected: int | None, beside: bool) -> None:
    with ReportWriter(str(tmp_path / "r.html"), expected=expected, title="t") as report:
        assert (report.images == "folder") == beside


def test_a_new_report_takes_away_old_pictures_and_no_other_file(tmp_path: Path) -> None:
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
    first, second = (assessed(save_pair(tmp_path / str(seed), seed)) for seed in (0, 1))
    write(tmp_path / "r.html", first, images="folder")
    folder = tmp_path / "r_files"
    before = {path.name for path in folder.iterdir()}
    (folder / "mine.webp").touch()
    page = write(tmp_path / "r.html", second, images="folder")
    assert {path.name for path in folder.iterdir()} == {*page.data["pictures"], "mine.webp"}
    assert not before & set(page.data["pictures"])
    (folder / "mine.webp").unlink()
    write(tmp_path / "r.html", second, images="embed")
    assert not folder.exists()


def test_pictures_that_cannot_be_read_now_are_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    records = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        records.append(assessed(save_pair(tmp_path / str(number), number), str(number)))
    (tmp_path / "0" / "edited.png").unlink()
    (tmp_path / "1" / "edited.png").write_bytes(b"no longer a picture")
    Image.new("RGB", (300, 200)).save(tmp_path / "2" / "source.png")
    piped = records[3].pair.model_copy(update={"source": records[3].pair.source.model_copy(update={"path": "-"})})
    records[3] = records[3].model_copy(update={"pair": piped})
    page = write(tmp_path / "r.html", *records, UNREADABLE)
    rows = page.data["rows"]
    assert [[place is None for place in row["pictures"]] for row in rows] == [
        [False, True], [False, True], [True, False], [True, False], [True, True]
    ]  # fmt: skip
    words = [row["missing"][0] for row in rows]
    assert "was not found" in words[0]
    assert "is not an image" in words[1]
    assert "160 x 128" in words[2]
    assert "300 x 200" in words[2]
    assert words[3] == "source: came from standard input"
    assert len(rows[4]["missing"]) == 2


def test_a_failed_pair_shows_the_picture_that_can_be_read(files: Pictures, tmp_path: Path) -> None:
    pair = UNREADABLE.pair.model_copy(update={"source": str(files.source)})
    page = write(tmp_path / "r.html", UNREADABLE.model_copy(update={"pair": pair}))
    with picture(page, which=0) as shown:
        assert shown.size == (160, 128)
    assert page.data["rows"][0]["pictures"][1] is None


def test_the_source_is_shown_where_the_record_says_it_lies(tmp_path: Path) -> None:
    wide = draw_scene(3, 300, 400)
    Image.fromarray(wide).save(tmp_path / "source.png")
    Image.fromarray(wide[40:240, 100:400]).save(tmp_path / "edited.png")  # 50 columns further right than the source
    record = assessed(Pictures(tmp_path / "source.png", tmp_path / "edited.png", tmp_path / "none"))
    moved = record.alignment.model_copy(update={"method": "shift", "matrix": ((1.0, 0, 150.0), (0, 1.0, 40.0))})
    preview = draw_preview(record.model_copy(update={"alignment": moved}), PictureLimits(960, 200_000))
    assert preview.registered
    assert preview.source is not None
    with Image.open(io.BytesIO(preview.source)) as seen:
        pixels = np.asarray(seen, np.int16)
    assert np.abs(pixels[:, :240] - wide[40:240, 150:390]).mean() < 8
    assert np.abs(pixels[:, 260:] - 128).max() < 12, "where the source shows nothing the picture is grey"


@pytest.mark.parametrize(
    "matrix", [((float("nan"), 0, 0), (0, 1, 0)), ((0, 0, 0), (0, 0, 0)), ((1e9, 0, 0), (0, 1e9, 0))]
)
def test_a_registration_that_is_none_shows_the_source_as_it_is(files: Pictures, matrix: Any) -> None:
    record = assessed(files)
    broken = record.model_copy(update={"alignment": record.alignment.model_copy(update={"matrix": matrix})})
    preview = draw_preview(broken, PictureLimits(960, 200_000))
    assert not preview.registered
    assert preview.source is not None


def region(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Region:
    height, width = mask.shape
    return Region(box=(0, 0, width, height), area_fraction=0.5, confidence=1, mask=encode_mask(mask))


def test_an_outline_runs_along_the_border_of_the_mask_in_pixels_of_the_frame() -> None:
    mask = np.zeros((400, 800), bool)
    mask[100:300, 200:600] = True
    mask[150:250, 300:400] = False
    path = outline(region(mask), (400, 200))
    outer, inner = (np.array(re.findall(r"-?\d+", part), int).reshape(-1, 2).cumsum(0) for part in path[1:].split("M"))
    assert outer.min(0) == pytest.approx((100, 50), abs=1)
    assert outer.max(0) == pytest.approx((300, 150), abs=1)
    assert inner.min(0) == pytest.approx((150, 75), abs=1.5)
    assert path.endswith("z")


def test_a_single_pixel_is_a_dot() -> None:
    mask = np.zeros((30, 40), bool)
    mask[20, 10] = True
    assert outline(region(mask), (40, 30)) == "M10 20l0 0z"


def test_an_outline_stays_short_however_ragged_the_mask() -> None:
    ragged = np.random.default_rng(0).random((600, 800)) < 0.5
    ragged[200:400, 300:500] = True
    path = outline(region(ragged), (800, 600))
    points = len(re.findall(r"-?\d+", path)) / 2
    assert 4 <= points <= 600


@pytest.mark.parametrize(
    "rle", [RunLengthMask(size=(10, 10), counts="~"), RunLengthMask(size=(1 << 20, 1 << 20), counts="0")]
)
def test_a_mask_that_is_none_has_no_outline(rle: RunLengthMask) -> None:
    assert outline(ORDINARY.regions[0].model_copy(update={"mask": rle}), (40, 30)) == ""


def crowd(count: int) -> list[Outcome]:
    """Records with regions and a heat map of the usual size, in three kinds of scores."""
    mask = np.zeros((480, 640), bool)
    mask[100:300, 200:400] = True
    heat = {"box": (0, 0, 480, 480), "size": (32, 32), "values": base64.b64encode(bytes(1024)).decode()}
    base = ORDINARY.model_copy(
        update={
            "regions": (region(mask),),
            "artefacts": ORDINARY.artefacts and ORDINARY.artefacts.model_copy(update=heat),
            "pair": ORDINARY.pair.model_copy(
                update={"edited": ImageInfo(path="e.png", width=640, height=480, format="PNG")}
            ),
        }
    )
    scores = [
        base.scores.model_copy(update={"overall": base.scores.overall.model_copy(update={"value": 1.5 + step / 10})})
        for step in range(30)
    ]
    return [
        UNREADABLE.model_copy(update={"id": f"pair {number}"})
        if number % 100 == 99
        else base.model_copy(update={"id": f"pair {number}", "scores": scores[number * 7 % 30]})
        for number in range(count)
    ]


@pytest.mark.slow
def test_ten_thousand_pairs_make_a_page_of_bounded_size_in_bounded_time(tmp_path: Path) -> None:
    outcomes = crowd(10_000)
    start = time.process_time()
    page = write(tmp_path / "r.html", *outcomes, images="none")
    assert time.process_time() - start < 90
    assert (tmp_path / "r.html").stat().st_size < 45_000_000
    assert len(page.data["rows"]) == 10_000


def test_a_crew_does_tasks_beside_each_other_and_raises_where_the_result_is_asked_for() -> None:
    crew: Crew[int] = Crew(2, "test")
    both = threading.Barrier(2, timeout=20)
    tasks = [crew.give(both.wait), crew.give(both.wait), crew.give(lambda: 1 // 0), crew.give(lambda: 7)]
    assert sorted(task.result() for task in tasks[:2]) == [0, 1]
    with pytest.raises(ZeroDivisionError):
        tasks[2].result()
    assert tasks[3].result() == 7
    crew.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-")]


def test_a_crew_that_is_closed_leaves_what_has_not_begun() -> None:
    crew: Crew[None] = Crew(1, "test")
    begun, go = threading.Event(), threading.Event()
    later: list[int] = []

    def hold() -> None:
        begun.set()
        go.wait(20)

    crew.give(hold)
    for number in range(50):
        crew.give(partial(later.append, number))
    assert begun.wait(20)
    threading.Timer(0.2, go.set).start()
    crew.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-")]
    assert later == []


def test_a_report_that_is_given_up_leaves_nothing_and_spares_the_old_one(files: Pictures, tmp_path: Path) -> None:
    with ReportWriter(str(tmp_path / "r.html"), expected=None, title="t") as report:
        for _ in range(20):
            report.add(assessed(files))
        assert (tmp_path / "r_files").exists()
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "r.html", assessed(files), images="folder")
    before = sorted(path.name for path in (tmp_path / "r_files").iterdir())
    with ReportWriter(str(tmp_path / "r.html"), expected=None, title="t") as report:
        report.add(assessed(files))
    assert sorted(path.name for path in (tmp_path / "r_files").iterdir()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_leaves_the_old_page(files: Pictures, tmp_path: Path) -> None:
    (tmp_path / "r.html").write_text("old")
    (tmp_path / "r.html.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left") as caught:
        write(tmp_path / "r.html", assessed(files), images="folder")
    assert caught.value.file == str(tmp_path / "r.html")
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert (tmp_path / "r.html").read_text() == "old"


def test_pictures_that_cannot_be_written_stop_the_report_only_when_it_is_saved(files: Pictures, tmp_path: Path) -> None:
    (tmp_path / "r_files").touch()  # a file where the folder should be
    with ReportWriter(str(tmp_path / "r.html"), expected=None, title="t") as report:
        for _ in range(30):
            report.add(assessed(files))
        with pytest.raises(OutputError, match="cannot write the report"):
            report.save()
    assert [path.name for path in tmp_path.iterdir()] == ["r_files"]


@pytest.fixture
def results(files: Pictures, tmp_path: Path) -> Path:
    """Two records of the drawn pair by a path relative to its folder, and a failure; the last line is torn."""
    record = assessed(files)
    sides = {
        role: getattr(record.pair, role).model_copy(update={"path": f"{role}.png"}) for role in ("source", "edited")
    }
    record = record.model_copy(update={"pair": record.pair.model_copy(update=sides)})
    path = tmp_path / "results.jsonl"
    lines = [to_json(one) + "\n" for one in (record, CHECKED, UNREADABLE)]
    path.write_text("".join(lines) + '{"torn', "utf-8")
    return path


def test_the_command_makes_a_page_of_records_where_pictures_have_moved(
    piqa: RunPiqa, results: Path, files: Pictures, tmp_path: Path
) -> None:
    page = tmp_path / "r.html"
    done = piqa("report", results, "-o", page)
    assert done.status == 0, done.err
    assert "6 pictures not in the report" in done.err
    assert "line 4 is torn" in done.err
    assert Page(page.read_text("utf-8")).inline["title"] == ["piqa: results.jsonl"]
    done = piqa("report", results, "-o", page, "--root", files.source.parent, "--title", "<b>mine")
    assert done.status == 0, done.err
    parsed = Page(page.read_text("utf-8"))
    assert parsed.inline["title"] == ["<b>mine"]
    with picture(parsed) as shown:
        assert shown.size == (160, 128)
    assert done.out == b""


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("results.jsonl", "-o", "r.txt"), 2, ".html"),
        (("results.jsonl", "-o", "-"), 2, ".html"),
        (("results.jsonl", "-o", "no/r.html"), 2, "no folder"),
        (("results.jsonl", "-o", "r.html", "--root", "nowhere"), 2, "nowhere"),
        (("results.html", "-o", "results.html"), 2, "would be overwritten"),
        (("absent.jsonl", "-o", "r.html"), 3, "E_NOT_FOUND"),
        (("empty.jsonl", "-o", "r.html"), 3, "no record"),
        (("wrong.jsonl", "-o", "r.html"), 3, "line 1 is not a piqa result"),
    ],
)
def test_what_cannot_be_a_report_is_refused_and_nothing_is_written(
    piqa: RunPiqa, results: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "wrong.jsonl").write_text("{}\n{}\n")
    (tmp_path / "results.html").write_bytes(results.read_bytes())
    before = sorted(tmp_path.iterdir())
    done = piqa("report", *arguments, cwd=tmp_path)
    assert done.status == status, done.err
    assert words in done.err
    assert sorted(tmp_path.iterdir()) == before


def test_without_jinja2_every_command_says_how_to_get_it(
    piqa: RunPiqa, results: Path, files: Pictures, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import sys; sys.modules['jinja2'] = None\n")
    path = os.pathsep.join(filter(None, (str(tmp_path / "site"), os.environ.get("PYTHONPATH"))))
    for arguments in (
        ("report", results, "-o", tmp_path / "r.html"),
        ("assess", files.source, files.edited, "--report", tmp_path / "r.html"),
        ("batch", files.source.parent, "--report", tmp_path / "r.html"),
    ):
        done = piqa(*arguments, env={"PYTHONPATH": path})
        assert done.status == 2, done.err
        assert "pip install 'piqa-cli[report]'" in done.err


def test_a_batch_shows_its_records_and_settings_in_a_report(
    quick_piqa: RunPiqa, make_batch: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = make_batch(3)
    (folder / "edited" / "p1.png").write_bytes(b"")
    page = tmp_path / "r.html"
    done = quick_piqa("batch", folder, "-o", tmp_path / "r.jsonl", "--report", page, "--fail-under", "overall=1")
    assert done.status == 6, done.err
    assert f"report in {page}" in done.err
    text = page.read_text("utf-8")
    rows = Page(text).data["rows"]
    assert [row["id"] for row in rows] == ["p0", "p1", "p2"]
    assert rows[1]["error"]["code"] == "E_EMPTY_FILE"
    assert [row["pictures"][1] is None for row in rows] == [False, True, False]
    assert "<dt>gate</dt><dd>overall &gt;= 1</dd>" in text


def test_a_report_that_cannot_be_written_costs_neither_records_nor_summary(
    quick_piqa: RunPiqa, make_batch: Callable[[int], Path], tmp_path: Path
) -> None:
    (tmp_path / "r.html.part").mkdir()
    where = tmp_path / "r.jsonl", tmp_path / "s.json"
    done = quick_piqa("batch", make_batch(2), "-o", where[0], "--summary", where[1], "--report", tmp_path / "r.html")
    assert done.status == 1, done.err
    assert "cannot write the report" in done.err
    assert len(where[0].read_text().splitlines()) == 2
    assert json.loads(where[1].read_text())["assessed"] == 2


def test_a_single_pair_is_shown_from_memory_even_from_standard_input(
    quick_piqa: RunPiqa, files: Pictures, tmp_path: Path
) -> None:
    page = tmp_path / "r.html"
    done = quick_piqa("assess", "-", files.edited, "--report", page, stdin=files.source.read_bytes())
    assert done.status == 0, done.err
    parsed = Page(page.read_text("utf-8"))
    assert parsed.data["rows"][0].get("missing") is None
    with picture(parsed, which=0) as shown:
        assert shown.size == (160, 128)
