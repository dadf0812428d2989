"""Label files checked, counted, split, converted, and described by template."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conftest import save_pair
from piqa_cli.compact.explain import FAULT_NAMES, contradictions
from piqa_cli.dataset.checking import KINDS, CheckReport, check_labels
from piqa_cli.dataset.conversion import (
    detect_form,
    label_objects,
    labels_of_manifest,
    labels_of_opinions,
    manifest_rows,
    manifest_text,
)
from piqa_cli.dataset.describe import describe, describe_all
from piqa_cli.dataset.labels import LabelRow, labels_text, open_labels
from piqa_cli.dataset.ratings import read_opinions
from piqa_cli.dataset.splitting import Part, check_parts, split_rows, write_splits
from piqa_cli.dataset.statistics import Statistics, describe_ratings
from piqa_cli.errors import InputError, OutputError, UsageError
from piqa_cli.evaluation.explanations import faults_named, place_named
from piqa_cli.pairs.annotations import Annotation, annotation_line, by_edited_image, read_annotations
from piqa_cli.pairs.columns import ratings_of
from piqa_cli.pairs.epaiqa import Label
from piqa_cli.pairs.manifest import read_manifest
from piqa_cli.schema import Dimension, Failure, Pair, RunLengthMask, Scores, score
from test_epaiqa import PUBLIC, row

needs_public = pytest.mark.skipif(not PUBLIC.exists(), reason="the public ratings are not beside this checkout")
PARTS = (Part("train", 0.8), Part("val", 0.1), Part("test", 0.1))


def label_file(tmp_path: Path, rows: object, name: str = "labels.json") -> str:
    path = tmp_path / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def many(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Rows of so many edits, each of its own photo, rated at random."""
    draw = random.Random(seed)
    return [
        row(
            source_img_name=f"{number}.jpg",
            edited_img_name=f"{number}_make_it_red.png",
            overall_score=round(draw.uniform(1, 5), 3),
            prompt_completion=draw.choice([1, 2, 3, 3]),
        )
        for number in range(count)
    ]


FULL = Annotation(
    "ü\udce9.png", ((0, 0, 9, 8),), RunLengthMask(size=(8, 9), counts="0P2"), "seam", "So it is.", (8, 9), template=True
)


def kinds(report: CheckReport) -> Counter[str]:
    return Counter(remark.kind for remark in report.remarks)


# Checking


def test_every_kind_of_remark_is_made_on_a_file_that_has_it_all(tmp_path: Path) -> None:
    good = row(edited_img_name="1_make_it_red.png")
    rows = [
        good,
        good | {"overall_score": 2},  # the same edited image
        good | {"edited_img_name": '1_make_"it"_red.png'},  # the same name but for quotes
        row(overall_score=9),
        row(edited_img_name="1.jpg"),
        row(edited_img_name="1_x.png", prompt='""'),
        row(edited_img_name="1_a_vintage_outfit.png", prompt="change Man to a vintage outfMan"),
        row(edited_img_name="1_make_it_red_edited.png", prompt='"Make it red."', harmony_score=None),
        row(edited_img_name="1_make_it_blue.png"),
        row(edited_img_name="1_twice_make_it_red.png"),
    ]
    images = tmp_path / "images"
    for folder in ("a", "b"):
        (images / folder).mkdir(parents=True)
        (images / folder / "1_twice_make_it_red.png").touch()
    (images / "1.jpg").write_bytes(b"not a picture")
    rows[5]["source_img_name"] = "gone.jpg"
    files = save_pair(tmp_path)
    files.edited.rename(images / "1_make_it_red.png")
    (images / "stranger.png").touch()
    notes = tmp_path / "annotations.jsonl"
    names_ = ("1_make_it_red.png", "unknown.png", 3, "1_make_it_red.png")
    notes.write_text("".join(json.dumps({"edited_img_name": name}) + "\n" for name in names_), "utf-8")
    report = check_labels(label_file(tmp_path, rows), str(images), str(notes), decode=True)
    found = kinds(report)
    assert found.keys() == KINDS.keys()
    assert (found["duplicate"], found["annotation"], found["missing_image"]) == (2, 3, 5)
    assert (report.rows, report.usable, report.sources) == (10, 7, 2)
    assert {remark.row for remark in report.remarks if remark.kind == "older_wording"} >= {9}
    assert {remark.row for remark in report.remarks if remark.kind == "mangled_prompt"} == {7}
    assert report.errors + report.warnings + report.notes == len(report.remarks)
    assert report.errors == 1 + 2 + 5 + 1 + 1 + 3


def test_a_sound_file_with_its_images_has_no_remark(tmp_path: Path) -> None:
    files = save_pair(tmp_path, name="1_")
    rows = [row(source_img_name=files.source.name, edited_img_name=files.edited.name, prompt="an edited one")]
    files.mask.unlink()
    report = check_labels(label_file(tmp_path, rows), str(tmp_path), decode=True)
    assert report == CheckReport(1, 1, 1, 0, 0, 0, ())


@pytest.mark.parametrize(
    ("prompt", "name", "older"),
    [
        ("change Sign to a sparrow", "1_a_sparrow.png", False),
        ("change Bridge to a viaduct", "1_a_viaduct_edited.png", False),
        ("Make the dog's coat red.", "1_Make_the_dogs_coat_red.png", False),
        ("Make the dog’s coat red.", "1_Make_the_dog's_coat_red.png", False),
        ("Make the gun of wood.", "1_Make_the_gun_in_the_image_of_wood.png", True),
        ("Make it red.", "1.png", False),
    ],
)
def test_a_name_that_repeats_an_older_prompt_is_told(tmp_path: Path, prompt: str, name: str, older: bool) -> None:
    report = check_labels(label_file(tmp_path, [row(prompt=prompt, edited_img_name=name)]))
    assert ("older_wording" in kinds(report)) is older


@pytest.mark.parametrize("rows", [[], [1, "x", None], [row(overall_score="5")]], ids=["empty", "no objects", "bad"])
def test_a_file_without_a_row_that_can_be_used_is_refused(tmp_path: Path, rows: object) -> None:
    with pytest.raises(InputError, match="no row that can be used") as error:
        open_labels(label_file(tmp_path, rows))
    assert (error.value.code, error.value.exit_status) == ("E_LABELS", 3)
    report = check_labels(label_file(tmp_path, rows))
    assert (report.usable, report.errors) == (0, report.rows)


def test_the_page_explains_every_kind_of_remark_and_every_field_of_an_annotation() -> None:
    page = (Path(__file__).parents[1] / "docs" / "dataset.md").read_text("utf-8")
    for kind, (severity, meaning) in KINDS.items():
        assert f"| `{kind}` | {severity} | {meaning}" in page
    fields = page.partition("## Annotations")[2]
    line = json.loads(annotation_line(FULL, ""))
    assert all(f"`{name}`" in fields for name in line)


# Statistics


@needs_public
def test_the_figures_of_the_public_ratings_come_out_to_three_decimals() -> None:
    found = describe_ratings(open_labels(str(PUBLIC)).labels)
    assert (found.edits, found.sources, found.most_edits_of_a_source) == (6730, 6730, 1)
    marginals = {m.dimension: (round(m.mean, 3), round(m.sd, 3)) for m in found.marginals}
    assert marginals == {
        Dimension.OVERALL: (2.746, 1.258),
        Dimension.COMPLETION: (2.240, 0.940),
        Dimension.HARMONY: (3.167, 0.864),
        Dimension.NATURALNESS: (3.215, 0.834),
    }
    percentiles = {m.dimension: [round(value, 2) for value in m.percentiles] for m in found.marginals}
    assert percentiles[Dimension.OVERALL] == [1.0, 1.5, 3.0, 4.0, 4.5]
    assert percentiles[Dimension.HARMONY] == [1.6, 2.6, 3.25, 3.83, 4.4]
    assert percentiles[Dimension.NATURALNESS] == [1.67, 2.6, 3.33, 3.83, 4.4]
    shares = [round(100 * level.share, 1) for level in found.marginals[1].levels]
    assert shares == [35.1, 5.9, 59.0]
    assert [round(c.srcc, 3) for c in found.correlations] == [0.844, 0.562, 0.604, 0.266, 0.320, 0.840]
    assert [round(c.done_srcc, 3) for c in found.correlations[1:3]] == [0.786, 0.781]
    assert [round(b.overall_mean, 2) for b in found.by_completion] == [1.36, 1.78, 3.67]
    failed, _, done = found.by_completion
    assert [round(x, 2) for x in (failed.harmony_mean, failed.naturalness_mean)] == [2.90, 2.91]
    assert [round(x, 2) for x in (done.harmony_mean, done.naturalness_mean)] == [3.37, 3.45]


@needs_public
def test_what_is_known_to_be_wrong_with_the_public_ratings_is_found() -> None:
    report = check_labels(str(PUBLIC))
    assert (report.rows, report.usable, report.sources) == (6730, 6730, 6730)
    assert kinds(report)["stray_quotes"] == 561
    assert kinds(report)["mangled_prompt"] == 97


@needs_public
def test_the_public_ratings_are_divided_alike_in_every_stratum() -> None:
    rows = open_labels(str(PUBLIC)).rows
    train, val, test = split_rows(rows, PARTS, 0)
    assert [len(part) for part in (train, val, test)] == [5384, 673, 673]
    shapes = [_shape(part) for part in (train, val, test)]
    assert max(abs(a - b) for other in shapes[1:] for a, b in zip(shapes[0], other, strict=True)) < 0.02


def _shape(rows: list[LabelRow]) -> list[float]:
    """Shares of the completion levels, and of overall up to each step of half a point."""
    completion = [row.label.rating(Dimension.COMPLETION) for row in rows]
    overall = [row.label.rating(Dimension.OVERALL) or 0.0 for row in rows]
    shares = [completion.count(level) / len(rows) for level in (1, 2, 3)]
    return shares + [sum(value <= 1 + step / 2 for value in overall) / len(rows) for step in range(8)]


def test_statistics_agree_with_scipy_on_ties(tmp_path: Path) -> None:
    rows = many(60)
    for number, one in enumerate(rows):
        one["harmony_score"] = 1 + number % 4
    found = describe_ratings(open_labels(label_file(tmp_path, rows)).labels)
    overall = np.array([one["overall_score"] for one in rows], float)
    harmony = np.array([one["harmony_score"] for one in rows], float)
    assert found.correlations[1].srcc == pytest.approx(stats.spearmanr(overall, harmony).statistic)
    assert found.marginals[0].sd == pytest.approx(np.std(overall, ddof=1))
    assert sum(level.count for level in found.marginals[2].levels) == 60


def test_what_one_edit_or_constants_or_no_ratings_leave_undefined_is_nan(tmp_path: Path) -> None:
    one = describe_ratings(open_labels(label_file(tmp_path, [row()])).labels)
    assert math.isnan(one.marginals[0].sd)
    assert math.isnan(one.correlations[0].srcc)
    constant = describe_ratings(open_labels(label_file(tmp_path, many(5))).labels)
    assert math.isnan(constant.correlations[-1].srcc)  # harmony and naturalness are the same in all rows
    unrated = row(overall_score=None, prompt_completion=None, harmony_score=None, local_naturalness=None)
    nothing = describe_ratings(open_labels(label_file(tmp_path, [unrated])).labels)
    assert [m.count for m in nothing.marginals] == [0] * 4
    assert all(math.isnan(m.mean) for m in nothing.marginals)
    assert isinstance(nothing, Statistics)


def test_annotated_regions_are_counted(tmp_path: Path) -> None:
    annotations = [
        Annotation("1_red.png", ((0, 0, 50, 50), (0, 0, 10, 50)), fault="blur", size=(50, 100)),
        Annotation("2.png", explanation="It is fine."),
        Annotation("3.png", explanation="Made up.", template=True),
        Annotation("4.png", ((0, 0, 9, 9),)),
    ]
    found = describe_ratings(open_labels(label_file(tmp_path, [row()])).labels, annotations).regions
    assert found is not None
    assert (found.annotated, found.with_boxes, found.with_fault, found.explained) == (4, 2, 1, 1)
    assert found.box_area_quartiles == pytest.approx((0.2, 0.3, 0.4))


def test_plots_are_drawn_also_of_a_single_edit(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from piqa_cli.dataset.plots import save_plots

    labels = open_labels(label_file(tmp_path, [row()])).labels
    ratings = ratings_of(labels)
    paths = save_plots(ratings, describe_ratings(labels), str(tmp_path / "new" / "plots"))
    assert [Path(path).name for path in paths] == ["ratings.png", "correlations.png", "overall_by_completion.png"]
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in paths)
    with pytest.raises(OutputError):
        save_plots(ratings, describe_ratings(labels), str(tmp_path / "labels.json"))


# Splits


def names(rows: list[LabelRow]) -> set[str]:
    return {row.label.edited_name for row in rows}


def test_splits_do_not_depend_on_the_order_of_the_rows_but_on_the_seed(tmp_path: Path) -> None:
    rows = many(200)
    first = split_rows(open_labels(label_file(tmp_path, rows)).rows, PARTS, 3)
    again = split_rows(open_labels(label_file(tmp_path, rows[::-1])).rows, PARTS, 3)
    other = split_rows(open_labels(label_file(tmp_path, rows)).rows, PARTS, 4)
    assert [names(part) for part in first] == [names(part) for part in again]
    assert names(first[2]) != names(other[2])
    assert [len(part) for part in first] == [160, 20, 20]


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=80), st.integers(0, 5))
def test_all_edits_of_a_photo_are_in_one_split_and_none_is_lost(photos: list[int], seed: int) -> None:
    rows = [
        LabelRow(number, Label(f"{photo}.jpg", f"{number}.png", None, ((Dimension.OVERALL, 1 + photo % 5),)), {})
        for number, photo in enumerate(photos)
    ]
    divided = split_rows(rows, PARTS, seed)
    sources = [{row.label.source_name for row in part} for part in divided]
    assert sum(map(len, sources)) == len(set.union(*sources))
    assert sorted(row.number for part in divided for row in part) == list(range(len(rows)))


def test_every_stratum_is_divided_in_the_wanted_shares(tmp_path: Path) -> None:
    rows = open_labels(label_file(tmp_path, many(1000))).rows
    divided = split_rows(rows, PARTS, 0)
    for level in (1, 2, 3):
        counts = [sum(row.label.rating(Dimension.COMPLETION) == level for row in part) for part in divided]
        for part, count in zip(PARTS, counts, strict=True):
            assert abs(count - part.share * sum(counts)) <= 2


def test_split_files_hold_the_rows_as_they_were_and_a_record_says_how(tmp_path: Path) -> None:
    rows = [one | {"tool": "an unknown column", "prompt": '"Make it red."'} for one in many(20)]
    rows.append(row(overall_score=7))
    path = label_file(tmp_path, rows)
    file = open_labels(path)
    out = tmp_path / "splits"
    record = write_splits(file, PARTS, str(out), 5, overwrite=False)
    written = [one for part in PARTS for one in json.loads((out / f"{part.name}.json").read_text())]
    assert sorted(map(json.dumps, written)) == sorted(map(json.dumps, rows[:-1]))
    told = json.loads((out / "split.json").read_text())
    assert (told["seed"], told["rows"], told["left_out"], told["input"]) == (5, 20, 1, "labels.json")
    assert told["input_sha256"] == record.input_sha256
    assert [part["share"] for part in told["parts"]] == [0.8, 0.1, 0.1]
    before = (out / "train.json").read_bytes()
    with pytest.raises(UsageError, match="exists"):
        write_splits(file, PARTS, str(out), 6, overwrite=False)
    assert (out / "train.json").read_bytes() == before
    write_splits(file, PARTS, str(out), 6, overwrite=True)
    assert (out / "train.json").read_bytes() != before
    assert {child.name for child in out.iterdir()} == {"train.json", "val.json", "test.json", "split.json"}


def test_a_split_never_overwrites_its_input(tmp_path: Path) -> None:
    path = label_file(tmp_path, many(10), "train.json")
    with pytest.raises(UsageError, match="also the input"):
        write_splits(open_labels(path), PARTS, str(tmp_path), 0, overwrite=True)
    assert len(json.loads(Path(path).read_text())) == 10


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [Part("a", 0.5), Part("b", 0.4)],
        [Part("a", 1.5), Part("b", -0.5)],
        [Part("a", math.nan)],
        [Part("a", 0.5), Part("A", 0.5)],
        [Part("../a", 1.0)],
        [Part("split", 1.0)],
        [Part("", 1.0)],
    ],
)
def test_shares_that_are_none_are_refused(parts: list[Part]) -> None:
    with pytest.raises(UsageError):
        check_parts(parts)


# Conversion


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_label_file_becomes_a_manifest_and_comes_back(tmp_path: Path, form: str) -> None:
    rows = [
        row(prompt='"Say "hi", now.\n"', overall_score=10 / 3),
        row(edited_img_name="1_ünï.png", harmony_score=None, prompt=""),
    ]
    file = open_labels(label_file(tmp_path, rows))
    made, missing = manifest_rows(file, None, "")
    assert not missing
    path = tmp_path / f"manifest.{form}"
    path.write_text(manifest_text(made, form), "utf-8")  # type: ignore[arg-type]
    back = labels_of_manifest(str(path))
    assert back.left_out == ()
    assert list(back.labels) == file.labels
    again = tmp_path / "again.json"
    again.write_text(labels_text(label_objects(back)))
    assert open_labels(str(again)).labels == file.labels


def test_a_manifest_names_the_images_that_were_found_relative_to_itself(tmp_path: Path) -> None:
    for name in ("images/1.jpg", "images/deep/1_red.png", "images/=2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    rows = [row(), row(edited_img_name="gone.png"), row(edited_img_name="=2.png"), "bad"]
    file = open_labels(label_file(tmp_path, rows))
    made, missing = manifest_rows(file, str(tmp_path / "images"), str(tmp_path / "images"))
    assert [one.source for one in made] == ["1.jpg", "1.jpg"]
    assert [one.edited for one in made] == ["deep/1_red.png", "./=2.png"]
    assert [failure.id for failure in missing] == ["gone"]
    path = tmp_path / "images" / "m.csv"
    path.write_text(manifest_text(made, "csv"), "utf-8")
    for item in read_manifest(str(path)):
        assert isinstance(item, Pair)
        assert Path(item.edited).is_file()


def test_opinions_become_labels_with_the_manifests_sources_and_prompts(tmp_path: Path) -> None:
    table = tmp_path / "mos.csv"
    lines = (
        "a,overall,2.5",
        "a,completion,1",
        "b.png,harmony_score,4",
        "c,naturalness,3",
        "d,overall,3",
        "a,preservation,4",
    )
    table.write_text("image,dimension,mean\n" + "\n".join(lines) + "\n")
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "id,source,edited,prompt\na,s.jpg,e/1.png,Do it\n,s.jpg,e/b.png,\n,t.jpg,e/c.png,x\nz,s.jpg,z.png,x\n,,,bad\n"
    )
    assert detect_form(str(table)) == "opinions"
    made = labels_of_opinions(read_opinions(str(table)), str(table), str(manifest))
    assert [(one.source_name, one.edited_name, one.prompt) for one in made.labels] == [
        ("s.jpg", "e/1.png", "Do it"),
        ("s.jpg", "e/b.png", None),
        ("t.jpg", "e/c.png", "x"),
    ]
    assert made.labels[0].rating(Dimension.OVERALL) == 2.5
    assert made.labels[0].rating(Dimension.COMPLETION) == 1
    assert [failure.id for failure in made.left_out] == ["z", "line 6", "d"]


def test_a_manifest_with_ratings_off_their_scale_leaves_those_rows_out(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(
        '{"source": "a", "edited": "b.png", "overall_score": 3}\n'
        '{"source": "a", "edited": "c.png", "overall_score": 7}\n'
        '{"source": "a", "edited": "d.png", "overall_score": "good"}\n'
        '{"source": "a", "edited": "e.png", "overall_score": NaN}\n'
    )
    made = labels_of_manifest(str(path))
    assert [label.rating(Dimension.OVERALL) for label in made.labels] == [3]
    assert [failure.id for failure in made.left_out] == ["line 2", "line 3", "line 4"]


# Annotations and explanation targets


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('"width": 9', "width and height"),
        ('"width": 0, "height": 9', "width and height"),
        ('"width": 9.0, "height": 9', "width and height"),
        ('"width": 9, "height": 9, "boxes": [[0, 0, 5, 10]]', "within 9 x 9"),
        ('"width": 9, "height": 9, "mask": {"size": [8, 9], "counts": "0P2"}', "those of the mask"),
        ('"mask": {"size": [8, 9], "counts": "0P2"}, "boxes": [[0, 0, 9, 9]]', "within 9 x 8"),
        ('"mask": {"size": [-8, 9], "counts": "0P2"}', "whole pixels"),
        ('"origin": "a machine"', "written, template"),
    ],
)
def test_sizes_and_origins_that_do_not_fit_are_told_with_their_line(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'\n{{"edited_img_name": "ok.png"}}\n{{"edited_img_name": "a", {line}}}\n', "utf-8")
    first, second = read_annotations(str(path))
    assert first == Annotation("ok.png")
    assert isinstance(second, Failure)
    assert second.id == "line 3"
    assert words in str(second.error.found)


def test_annotations_come_back_from_their_lines_and_masks_from_other_folders(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + annotation_line(FULL, str(tmp_path)).encode())
    assert list(read_annotations(str(path))) == [FULL]
    path.write_text('{"edited_img_name": "a.png", "mask": "m/a.png", "width": 4, "height": 3}\n')
    (given_,) = read_annotations(str(path))
    (tmp_path / "deep").mkdir()
    other = tmp_path / "deep" / "b.jsonl"
    assert isinstance(given_, Annotation)
    other.write_text(annotation_line(given_, str(other.parent)))
    (moved,) = read_annotations(str(other))
    assert isinstance(moved, Annotation)
    assert Path(str(moved.mask)).resolve() == (tmp_path / "m" / "a.png").resolve()
    assert moved.size == (3, 4)


def test_two_annotations_of_one_image_are_refused() -> None:
    with pytest.raises(InputError) as error:
        by_edited_image([Annotation('a "b".png'), Annotation("a b.png")])
    assert error.value.code == "E_DUPLICATE"


def rated(**values: float) -> Label:
    ratings = tuple(
        (dimension, values[dimension.name.lower()]) for dimension in Dimension if dimension.name.lower() in values
    )
    return Label("1.jpg", "1_red.png", "Make it red.", ratings)


def test_a_target_says_where_whether_how_well_and_what_is_wrong() -> None:
    annotation = Annotation("1_red.png", ((0, 0, 10, 10),), fault="Texture loss", size=(100, 100))
    text = describe(rated(overall=1.9, completion=3, harmony=1.8, naturalness=3.1), annotation)
    assert "in the upper left and is small." in text
    assert text.count(".") == 5
    assert "done" in text or "carried out" in text
    assert "main fault is missing fine texture." in text
    assert "rated poor, held back mostly by " in text
    assert "because the edit was not done" in describe(rated(overall=1.2, completion=1), annotation)


@pytest.mark.parametrize("kind", FAULT_NAMES)
def test_a_target_is_faithful_as_evaluate_reads_it(kind: str) -> None:
    annotation = Annotation("1_red.png", ((0, 0, 40, 40),), fault=kind, size=(100, 100))
    for seed in range(4):
        text = describe(rated(overall=2, completion=2, harmony=2, naturalness=2), annotation, seed=seed)
        assert faults_named(text)[:1] == (kind,)
        assert place_named(text) == "upper left"


def test_a_label_without_ratings_and_boxes_has_no_target() -> None:
    (told,) = describe_all([rated()], [])
    assert told == Annotation("1_red.png", template=True)


def test_what_people_wrote_stays_and_templates_fill_the_rest() -> None:
    written = Annotation("1_red.png", explanation="As a person saw it.")
    other = Annotation("other.png", explanation="Of no label.")
    old = Annotation("1_red.png", explanation="Old.", template=True)
    label = rated(overall=4.0, harmony=4.0, naturalness=4.0)
    assert describe_all([label], [written, other]) == [written, other]
    (made,) = describe_all([label], [old])
    assert made.template
    assert made.explanation not in {None, "Old."}
    assert describe_all([label], [old]) == [made]


def test_wordings_differ_between_edits_and_seeds() -> None:
    label = rated(overall=2.0, completion=2, harmony=2.0, naturalness=3.0)
    assert len({describe(label, Annotation("x"), seed=seed) for seed in range(40)}) > 8


scale5 = st.floats(1, 5)


@settings(deadline=None)
@given(scale5, st.floats(1, 3), scale5, scale5, st.integers(0, 50))
def test_a_target_never_contradicts_its_scores(o: float, c: float, h: float, n: float, seed: int) -> None:
    label = rated(overall=o, completion=c, harmony=h, naturalness=n)
    unknown = score(Dimension.PRESERVATION, None, reason="not rated")
    scores = Scores(
        overall=score(Dimension.OVERALL, o),
        prompt_completion=score(Dimension.COMPLETION, c),
        harmony=score(Dimension.HARMONY, h),
        local_naturalness=score(Dimension.NATURALNESS, n),
        preservation=unknown,
    )
    text = describe(label, Annotation("x"), seed=seed)
    assert contradictions(text, scores) == ()
    assert f"rated {scores.overall.level}" in text
