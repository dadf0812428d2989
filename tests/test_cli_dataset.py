"""`piqa dataset` as a person runs it: exit statuses, streams, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import RunPiqa
from piqa_cli.cli.files import check_plots
from piqa_cli.errors import UsageError
from test_epaiqa import row

RATINGS = "rater,image,dimension,value\n" + "".join(
    f"r{rater},i{image},harmony,{1 + (image + rater % 2) % 4}\n" for rater in range(7) for image in range(6)
)


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = [
        row(source_img_name=f"{n}.jpg", edited_img_name=f"{n}_make_it_red.png", prompt_completion=1 + n % 3)
        for n in range(30)
    ]
    return write(tmp_path / "labels.json", rows)


def test_a_sound_file_is_0_errors_are_3_and_strict_warnings_too(piqa: RunPiqa, labels: Path, tmp_path: Path) -> None:
    assert piqa("dataset", "validate", labels, "--strict").status == 0
    bad = write(tmp_path / "bad.json", [*json.loads(labels.read_text()), row(overall_score=9), row(prompt='"x"')])
    done = piqa("dataset", "validate", bad)
    assert done.status == 3, done.err
    report = done.json()
    assert (report["remarks"][0]["kind"], report["remarks"][0]["row"]) == ("unreadable_row", 31)
    assert (report["rows"], report["usable"], report["errors"], report["warnings"]) == (32, 31, 1, 0)
    warned = write(tmp_path / "warned.json", [row(prompt="")])
    assert piqa("dataset", "validate", warned).status == 0
    assert piqa("dataset", "validate", warned, "--strict").status == 3


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", "\ufeff[", "nonsense"])
@pytest.mark.parametrize("name", ["stats", "describe"])
def test_what_cannot_be_used_is_3_and_nothing_is_written(piqa: RunPiqa, tmp_path: Path, text: str, name: str) -> None:
    path = write(tmp_path / "labels.json", text)
    done = piqa("dataset", name, path)
    assert (done.status, done.out) == (3, b"")
    assert "labels.json" in done.err


def test_a_missing_file_is_3(piqa: RunPiqa, tmp_path: Path) -> None:
    for arguments in (("validate",), ("stats",), ("mos",), ("convert", "--to", "labels"), ("describe",)):
        done = piqa("dataset", *arguments, tmp_path / "no.json")
        assert (done.status, done.out) == (3, b""), done.err
        assert "E_NOT_FOUND" in done.err


def test_control_characters_in_names_never_reach_the_terminal(piqa: RunPiqa, tmp_path: Path) -> None:
    name = "1_\x1b[31mred\x07.png"
    path = write(
        tmp_path / "labels.json", [row(edited_img_name=name), row(edited_img_name=name), row(prompt="\x1b[2J")]
    )
    done = piqa("dataset", "validate", path, "--format", "table")
    raw = "rater,image,dimension,value\n\x1b[31mr,[bold]i,harmony,3\n"
    ratings = write(tmp_path / "ratings.csv", raw)
    told = piqa("dataset", "mos", ratings, "--format", "table")
    refused = piqa("dataset", "mos", write(tmp_path / "x.csv", raw + "\x1b[31mr,[bold]i,harmony,3\n"))
    for one, status in ((done, 3), (told, 0), (refused, 3)):
        assert one.status == status, one.err
        assert b"\x1b[31m" not in one.out
        assert "\x1b" not in one.err
    assert b"x1b" in done.out


def test_stats_are_json_for_a_pipe_and_undefined_figures_are_null(piqa: RunPiqa, labels: Path) -> None:
    found = piqa("dataset", "stats", labels).json()
    assert (found["edits"], found["sources"]) == (30, 30)
    assert found["correlations"][0]["srcc"] is None  # overall is the same in all rows
    assert b"prompt_completion" in piqa("dataset", "stats", labels, "--format", "table").out


def test_stats_draw_plots(piqa: RunPiqa, labels: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = piqa("dataset", "stats", labels, "--plots", tmp_path / "plots")
    assert done.status == 0, done.err
    assert len(list((tmp_path / "plots").glob("*.png"))) == 3


def test_plots_without_the_extra_are_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("piqa_cli.cli.files.find_spec", lambda name: None)
    check_plots(None)
    with pytest.raises(UsageError, match="needs matplotlib") as error:
        check_plots(str(tmp_path))
    assert error.value.hint == "pip install 'piqa-cli[plots]'"


def test_split_writes_once_and_again_only_if_told(piqa: RunPiqa, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "splits"
    record = piqa("dataset", "split", labels, out, "--seed", "7").json()
    assert record == json.loads((out / "split.json").read_text())
    assert (record["seed"], [part["rows"] for part in record["parts"]]) == (7, [24, 3, 3])
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert piqa("dataset", "split", labels, out).status == 2
    assert piqa("dataset", "split", labels, out, "--overwrite", "--seed", "7").status == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("shares", ["", "a", "a=", "a=x", "a=0.5", "a=0.5,a=0.5", "../a=1", "a=nan"])
def test_shares_that_make_no_sense_are_2(piqa: RunPiqa, labels: Path, tmp_path: Path, shares: str) -> None:
    done = piqa("dataset", "split", labels, tmp_path / "out", "--shares", shares)
    assert done.status == 2, done.err
    assert not (tmp_path / "out").exists()


def test_a_label_file_goes_to_a_manifest_and_back(piqa: RunPiqa, labels: Path, tmp_path: Path) -> None:
    for name in ("m.csv", "m.jsonl"):
        manifest = tmp_path / name
        assert piqa("dataset", "convert", labels, "--to", "manifest", "--output", manifest).status == 0
        back = piqa("dataset", "convert", manifest, "--to", "labels")
        assert back.status == 0, back.err
        assert back.json() == json.loads(labels.read_text())
    listed = piqa("batch", "--manifest", tmp_path / "m.csv", "--dry-run")
    assert len(listed.rows()) == 30, listed.err


def test_conversions_that_make_no_sense_are_2(piqa: RunPiqa, labels: Path, tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.csv", "source,edited\na.png,b.png\n")
    for arguments in (
        (manifest, "--to", "manifest"),
        (manifest, "--to", "labels", "--manifest", manifest),
        (manifest, "--to", "labels", "--from", "opinions"),
        (labels, "--to", "labels", "--image-dir", tmp_path),
        (labels, "--to", "labels", "--output", labels),
    ):
        done = piqa("dataset", "convert", *arguments)
        assert (done.status, done.out) == (2, b""), done.err
    empty = write(tmp_path / "e.csv", "source,edited\n")
    assert piqa("dataset", "convert", empty, "--to", "labels").status == 3


def test_raw_ratings_become_opinions_and_then_labels(piqa: RunPiqa, tmp_path: Path) -> None:
    ratings, opinions = write(tmp_path / "ratings.csv", RATINGS), tmp_path / "mos.csv"
    report = piqa("dataset", "mos", ratings, "--output", opinions).json()
    assert report["agreement"][0]["raters"] == 7
    assert 0 < report["agreement"][0]["ceiling"]["plcc"] < 1
    assert len(report["raters"]) == 7
    assert opinions.read_text().startswith("image,dimension,mean,sd,raters,ci_low,ci_high\ni0,harmony,")
    assert piqa("dataset", "mos", ratings, "--output", "-").out.decode() == opinions.read_text()
    manifest = write(tmp_path / "m.csv", "id,source,edited\n" + "".join(f"i{n},s{n}.jpg,e{n}.png\n" for n in range(6)))
    made = piqa("dataset", "convert", opinions, "--to", "labels", "--manifest", manifest)
    assert made.status == 0, made.err
    assert [sorted(one) for one in made.json()] == [
        ["edited_img_name", "harmony_score", "prompt", "source_img_name"]
    ] * 6


@pytest.mark.parametrize(
    "text", ["r,i,harmony,3\n", "r,i,harmony,3\nr,j,harmony,4\n", "r,i,harmony,3\ns,i,harmony,3\n"]
)
def test_ratings_too_few_to_agree_are_reported_with_nulls(piqa: RunPiqa, tmp_path: Path, text: str) -> None:
    done = piqa("dataset", "mos", write(tmp_path / "r.csv", "rater,image,dimension,value\n" + text))
    assert done.status == 0, done.err
    assert done.json()["agreement"][0]["ceiling"] == {"srcc": None, "plcc": None}
    assert "cannot reject" in done.err


def test_targets_are_annotations_that_can_be_read_back(piqa: RunPiqa, labels: Path, tmp_path: Path) -> None:
    notes = write(tmp_path / "a.jsonl", '{"edited_img_name": "0_make_it_red.png", "explanation": "As I saw it."}\n')
    targets = tmp_path / "targets.jsonl"
    done = piqa("dataset", "describe", labels, "--annotations", notes, "--output", targets)
    assert done.status == 0, done.err
    first, second, *_ = (json.loads(line) for line in targets.read_text().splitlines())
    assert first == {
        "edited_img_name": "0_make_it_red.png", "explanation": "As I saw it.", "origin": "written"
    }  # fmt: skip
    assert second["origin"] == "template"
    assert piqa("dataset", "validate", labels, "--annotations", targets, "--strict").status == 0
    again = piqa("dataset", "describe", labels, "--annotations", targets)
    assert again.out.decode() == targets.read_text()
    assert piqa("dataset", "describe", labels, "--annotations", notes, "--output", notes).status == 2
