"""Label files in EPAIQA-15K's format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piqa_cli.errors import InputError, UsageError
from piqa_cli.pairs import InputKind, PairQuery, find_pairs
from piqa_cli.pairs.epaiqa import LabelledPair, clean_prompt, parse_labels, read_labels, split_of
from piqa_cli.schema import Dimension, Failure, Pair

PUBLIC = Path(__file__).parents[2] / "shared" / "epaiqa" / "scored_img.json"


def row(**changes: object) -> dict[str, object]:
    return {
        "source_img_name": "1.jpg",
        "edited_img_name": "1_red.png",
        "prompt": "Make it red.",
        "overall_score": 3.5,
        "prompt_completion": 3,
        "harmony_score": 4.0,
        "local_naturalness": 2.25,
    } | changes


def label_file(tmp_path: Path, rows: object) -> str:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def images(tmp_path: Path, *names: str) -> str:
    for name in names:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(tmp_path / "images")


def test_a_row_becomes_a_pair_with_ratings_on_their_dimensions(tmp_path: Path) -> None:
    folder = images(tmp_path, "deep/down/1.jpg", "edits/1_red.png")
    (labelled,) = read_labels(label_file(tmp_path, [row()]), folder)
    assert isinstance(labelled, LabelledPair)
    assert labelled.pair == Pair(
        id="1_red",
        source=str(Path(folder, "deep/down/1.jpg")),
        edited=str(Path(folder, "edits/1_red.png")),
        prompt="Make it red.",
    )
    assert labelled.source_name == "1.jpg"
    assert [labelled.rating(dimension) for dimension in Dimension] == [3.5, 3.0, 4.0, 2.25, None]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"Change the sky."', "Change the sky."),
        ('"Change the outfit."\n\n', "Change the outfit."),
        ("change Kayak to A canoe ", "change Kayak to A canoe"),
        ('Highlight the sign for "Bliss Rd."', 'Highlight the sign for "Bliss Rd."'),
        ('"Make the "WHITE" text red."', 'Make the "WHITE" text red.'),
        ('"Hello" to "Bye"', '"Hello" to "Bye"'),
        ('""Twice.""', "Twice."),
        ('"Left over.', "Left over."),
        ('Left over."', "Left over."),
        ('"', ""),
        ('""', ""),
        ("", ""),
    ],
)
def test_stray_quotes_go_and_quotations_stay(written: str, meant: str) -> None:
    assert clean_prompt(written) == meant


@given(st.text(alphabet='ab ".', max_size=12))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean_prompt(clean_prompt(text)) == clean_prompt(text)


def test_missing_images_and_bad_rows_are_failures_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = images(tmp_path, "1.jpg", "1_red.png", "2.jpg")
    rows = [
        row(edited_img_name="2_blue.png", source_img_name="2.jpg"),
        "text",
        row(source_img_name=""),
        row(edited_img_name=7),
        row(prompt_completion=4),
        row(overall_score=True),
        row(harmony_score=float("nan")),
        row(prompt=1),
        row(),
        row(),
    ]
    items = list(read_labels(label_file(tmp_path, rows), folder))
    codes = [item.error.code if isinstance(item, Failure) else "" for item in items]
    assert codes == ["E_NOT_FOUND", *["E_LABELS"] * 7, "", "E_DUPLICATE"]
    missing = items[0]
    assert isinstance(missing, Failure)
    assert (missing.id, missing.error.file, missing.pair.edited) == ("2_blue", "2_blue.png", "2_blue.png")
    scale = items[4]
    assert isinstance(scale, Failure)
    assert (scale.id, scale.error.expected, scale.error.found) == ("row 5", "prompt_completion within 1..3", "4")


def test_a_dimension_that_was_not_rated_is_left_out(tmp_path: Path) -> None:
    (label,) = parse_labels(label_file(tmp_path, [row(overall_score=None, prompt=None)]))
    assert not isinstance(label, Failure)
    assert label.rating(Dimension.OVERALL) is None
    assert label.rating(Dimension.HARMONY) == 4.0
    assert label.prompt is None


def test_a_name_in_two_folders_goes_to_the_one_of_its_role_or_to_none(tmp_path: Path) -> None:
    folder = images(tmp_path, "Source/1.jpg", "Edited/1.jpg", "a/2.jpg", "b/2.jpg", "Edited/2_x.png", "c/2_x.png")
    rows = [
        row(source_img_name="1.jpg", edited_img_name="1.jpg"),
        row(source_img_name="2.jpg", edited_img_name="2_x.png"),
        row(source_img_name="b/2.jpg", edited_img_name="c/2_x.png"),
    ]
    first, second, third = read_labels(label_file(tmp_path, rows), folder)
    assert isinstance(first, LabelledPair)
    assert (first.pair.source, first.pair.edited) == (
        str(Path(folder, "Source/1.jpg")),
        str(Path(folder, "Edited/1.jpg")),
    )
    assert isinstance(second, Failure)
    assert second.error.code == "E_DUPLICATE"
    assert isinstance(third, LabelledPair)
    assert third.pair.edited == str(Path(folder, "c/2_x.png"))


def test_quotes_that_one_side_lost_do_not_hide_an_image(tmp_path: Path) -> None:
    folder = images(tmp_path, "1.jpg", "1_say_hi.png")
    (labelled,) = read_labels(label_file(tmp_path, [row(edited_img_name='1_say_"hi".png')]), folder)
    assert isinstance(labelled, LabelledPair)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "3", "[" * 100_000, "\ufeff{}"])
def test_a_file_that_is_no_list_of_labels_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        parse_labels(str(path))
    assert error.value.code == "E_LABELS"


def test_a_missing_label_file_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as file:
        parse_labels(str(tmp_path / "no.json"))
    assert file.value.code == "E_NOT_FOUND"
    with pytest.raises(InputError) as folder:
        list(read_labels(label_file(tmp_path, [row()]), str(tmp_path / "no")))
    assert folder.value.code == "E_NOT_FOUND"


def test_a_label_file_is_an_input_of_pairs_and_needs_its_folder(tmp_path: Path) -> None:
    labels, folder = label_file(tmp_path, [row(), row(edited_img_name="x.png")]), images(tmp_path, "1.jpg", "1_red.png")
    for query in (PairQuery(input=labels, image_dir=folder), PairQuery(labels=labels, image_dir=folder)):
        found = find_pairs(query)
        assert found.kind is InputKind.LABELS
        assert [type(item) for item in found] == [Pair, Failure]
    with pytest.raises(UsageError):
        find_pairs(PairQuery(input=labels))
    with pytest.raises(InputError, match="no pairs"):
        find_pairs(PairQuery(input=label_file(tmp_path, []), image_dir=folder))


def test_all_edits_of_a_photo_are_on_one_side_and_the_share_is_kept() -> None:
    sides = [split_of(f"{number}.jpg", test_share=0.25) for number in range(4000)]
    assert sides == [split_of(f"{number}.jpg", test_share=0.25) for number in range(4000)]
    assert 0.22 < sides.count("test") / 4000 < 0.28
    assert sides != [split_of(f"{number}.jpg", test_share=0.25, seed=1) for number in range(4000)]
    assert {split_of("a", test_share=0.0), split_of("b", test_share=1.0)} == {"train", "test"}


@given(st.text(max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_test_part_holds_the_smaller_one(name: str, one: float, other: float) -> None:
    if split_of(name, test_share=min(one, other)) == "test":
        assert split_of(name, test_share=max(one, other)) == "test"


@pytest.mark.skipif(not PUBLIC.exists(), reason="the public ratings are not beside this checkout")
def test_the_public_ratings_are_read_in_full() -> None:
    labels = parse_labels(str(PUBLIC))
    assert len(labels) == 6730
    assert not any(isinstance(label, Failure) for label in labels)
    prompts = [label.prompt or "" for label in labels if not isinstance(label, Failure)]
    assert all(prompts)
    assert not any(prompt.startswith('"') or prompt != prompt.strip() for prompt in prompts)
    overall = [label.rating(Dimension.OVERALL) or 0.0 for label in labels if not isinstance(label, Failure)]
    assert sum(overall) / 6730 == pytest.approx(2.746, abs=5e-4)
