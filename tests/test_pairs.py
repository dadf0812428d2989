"""Pairs from folders and the choice of what an input is."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piqa_cli.errors import InputError, UsageError
from piqa_cli.pairs import FoundPairs, InputKind, PairQuery, detect, find_pairs
from piqa_cli.pairs.folders import ImageFile, list_images, match_names, name_files
from piqa_cli.schema import Failure, Pair

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
needs_raw_names = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only on Linux")


def touch(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def told(found: FoundPairs, root: Path) -> list[str]:
    """Each row as "source > edited [/ mask]", or its code and file, relative to the root."""

    def short(path: str | None) -> str:
        return os.path.relpath(path, root).replace(os.sep, "/") if path else ""

    return [
        f"{row.error.code} {short(row.error.file)}"
        if isinstance(row, Failure)
        else f"{short(row.source)} > {short(row.edited)}" + (f" / {short(row.mask)}" if row.mask else "")
        for row in found
    ]


def test_an_edit_goes_to_the_longest_source_name_that_ends_at_a_separator(tmp_path: Path) -> None:
    touch(tmp_path / "source", ["cat.jpg", "cat_1.jpg", "dog.png"])
    touch(
        tmp_path / "edited",
        ["cat.webp", "cat_1.png", "cat_1_red.png", "cat_12.png", "cat-a.png", "cat b.png", "cat.c.png", "dog(1).PNG"],
    )
    assert told(find_pairs(PairQuery(input=str(tmp_path))), tmp_path) == [
        "source/cat.jpg > edited/cat b.png",
        "source/cat.jpg > edited/cat-a.png",
        "source/cat.jpg > edited/cat.c.png",
        "source/cat.jpg > edited/cat.webp",
        "source/cat_1.jpg > edited/cat_1.png",
        "source/cat.jpg > edited/cat_12.png",
        "source/cat_1.jpg > edited/cat_1_red.png",
        "source/dog.png > edited/dog(1).PNG",
    ]


def test_what_has_no_partner_is_reported_and_never_paired_by_position(tmp_path: Path) -> None:
    touch(tmp_path / "source", ["a.jpg", "c.jpg"])
    touch(tmp_path / "edited", ["a.png", "category.png"])
    touch(tmp_path / "mask", ["a.png", "z.png"])
    found = find_pairs(PairQuery(input=str(tmp_path)))
    assert found.total == 4
    assert told(found, tmp_path) == [
        "source/a.jpg > edited/a.png / mask/a.png",
        "E_UNPAIRED edited/category.png",
        "E_UNPAIRED source/c.jpg",
        "E_UNPAIRED mask/z.png",
    ]


def test_unpaired_files_can_be_passed_over_or_refused(tmp_path: Path) -> None:
    touch(tmp_path / "source", ["a.jpg", "c.jpg"])
    touch(tmp_path / "edited", ["a.png", "b.png", "notes.txt"])
    ignored = find_pairs(PairQuery(input=str(tmp_path), on_unpaired="ignore"))
    assert ignored.total == 1
    assert [Path(path).name for path in ignored.skipped] == ["notes.txt", "b.png", "c.jpg"]
    assert told(ignored, tmp_path) == ["source/a.jpg > edited/a.png"]
    with pytest.raises(InputError, match="2 files cannot be paired") as refused:
        find_pairs(PairQuery(input=str(tmp_path), on_unpaired="error"))
    assert refused.value.code == "E_UNPAIRED"
    assert refused.value.file == str(tmp_path / "edited" / "b.png")


def test_passing_over_everything_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, ["source/a.jpg", "edited/b.png"])
    with pytest.raises(InputError, match="no pairs"):
        find_pairs(PairQuery(input=str(tmp_path), on_unpaired="ignore"))


def test_error_mode_gives_all_pairs_when_all_have_partners(tmp_path: Path) -> None:
    touch(tmp_path, ["source/a.jpg", "edited/a_1.png", "edited/a_2.png"])
    found = find_pairs(PairQuery(input=str(tmp_path), on_unpaired="error"))
    assert told(found, tmp_path) == ["source/a.jpg > edited/a_1.png", "source/a.jpg > edited/a_2.png"]


@pytest.mark.parametrize("policy", ["warn", "ignore"])
def test_two_sources_of_one_name_are_a_duplicate_and_neither_is_chosen(tmp_path: Path, policy: str) -> None:
    touch(tmp_path, ["source/x.jpg", "source/x.png", "source/y.jpg", "edited/x_1.png", "edited/y.png"])
    query = PairQuery(input=str(tmp_path), on_unpaired="warn" if policy == "warn" else "ignore")
    rows = list(find_pairs(query))
    assert isinstance(rows[0], Failure)
    assert rows[0].error.code == "E_DUPLICATE"
    assert rows[0].pair.source == ""
    assert "'x.jpg', 'x.png'" in (rows[0].error.found or "")
    assert isinstance(rows[1], Pair)


def test_two_masks_of_one_edit_are_a_duplicate(tmp_path: Path) -> None:
    touch(tmp_path, ["source/x.jpg", "edited/x.png", "masks/x.png", "masks/x_mask.png"])
    assert told(find_pairs(PairQuery(input=str(tmp_path))), tmp_path) == ["E_DUPLICATE edited/x.png"]


def test_a_mask_named_as_the_source_serves_all_its_edits_and_a_nearer_one_wins(tmp_path: Path) -> None:
    touch(tmp_path, ["source/cat.jpg", "edited/cat_1.png", "edited/cat_2.png", "edited/cat_2_red.png"])
    touch(tmp_path / "masks", ["cat_mask.png", "cat_2.png"])
    assert told(find_pairs(PairQuery(input=str(tmp_path))), tmp_path) == [
        "source/cat.jpg > edited/cat_1.png / masks/cat_mask.png",
        "source/cat.jpg > edited/cat_2.png / masks/cat_2.png",
        "source/cat.jpg > edited/cat_2_red.png / masks/cat_2.png",
    ]


def test_a_mask_of_a_shorter_named_source_is_not_borrowed(tmp_path: Path) -> None:
    touch(tmp_path, ["source/cat.jpg", "source/cat_1.jpg", "edited/cat_1_red.png", "edited/cat.png", "mask/cat.png"])
    assert told(find_pairs(PairQuery(input=str(tmp_path))), tmp_path) == [
        "source/cat.jpg > edited/cat.png / mask/cat.png",
        "source/cat_1.jpg > edited/cat_1_red.png",
    ]


def test_one_folder_of_named_files_is_paired_within_each_folder(tmp_path: Path) -> None:
    touch(tmp_path, ["cat_source.jpg", "cat_edited.png", "cat_edited_2.png", "cat_mask.png", "open_source_edited.png"])
    touch(tmp_path, ["open_source_source.png", "one/source.jpg", "one/edited.png", "one/mask.png"])
    touch(tmp_path, ["two/Source.JPG", "two/red-Edited.png", "two/stray.png", "three/edited.png"])
    found = find_pairs(PairQuery(input=str(tmp_path)))
    assert found.kind is InputKind.NAMED
    assert told(found, tmp_path) == [
        "cat_source.jpg > cat_edited.png / cat_mask.png",
        "cat_source.jpg > cat_edited_2.png / cat_mask.png",
        "one/source.jpg > one/edited.png / one/mask.png",
        "open_source_source.png > open_source_edited.png",
        "E_UNPAIRED three/edited.png",
        "two/Source.JPG > two/red-Edited.png",
        "E_UNPAIRED two/stray.png",
    ]


def test_folders_given_one_by_one_may_lie_inside_each_other(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "out/a_1.png", "m/a.png"])
    query = PairQuery(source_dir=str(tmp_path), edited_dir=str(tmp_path / "out"), mask_dir=str(tmp_path / "m"))
    assert told(find_pairs(query), tmp_path) == ["a.jpg > out/a_1.png / m/a.png"]


def test_the_same_folder_twice_is_a_usage_error(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg"])
    with pytest.raises(UsageError, match="twice"):
        find_pairs(PairQuery(source_dir=str(tmp_path), edited_dir=f"{tmp_path}/."))


def test_equal_names_in_different_folders_need_matching_by_path(tmp_path: Path) -> None:
    touch(tmp_path, ["source/a/1.jpg", "source/b/1.jpg", "edited/a/1_x.png", "edited/b/1.png", "edited/c/1.png"])
    by_stem = told(find_pairs(PairQuery(input=str(tmp_path))), tmp_path)
    assert by_stem == ["E_DUPLICATE edited/a/1_x.png", "E_DUPLICATE edited/b/1.png", "E_DUPLICATE edited/c/1.png"]
    assert told(find_pairs(PairQuery(input=str(tmp_path), match="relpath")), tmp_path) == [
        "source/a/1.jpg > edited/a/1_x.png",
        "source/b/1.jpg > edited/b/1.png",
        "E_UNPAIRED edited/c/1.png",
    ]


def test_matching_by_stem_looks_through_subfolders(tmp_path: Path) -> None:
    touch(tmp_path, ["source/photos/cat.jpg", "edited/tool_a/cat.png", "edited/tool_b/cat.png"])
    rows = list(find_pairs(PairQuery(input=str(tmp_path))))
    assert [row.id for row in rows] == ["tool_a/cat", "tool_b/cat"]
    assert all(isinstance(row, Pair) for row in rows)


def test_ids_are_unique_even_where_stems_are_not(tmp_path: Path) -> None:
    touch(tmp_path, ["source/x.jpg", "edited/x.jpg", "edited/x.png", "edited/x.png.jpg", "edited/x_1.png"])
    rows = list(find_pairs(PairQuery(input=str(tmp_path))))
    assert [row.id for row in rows] == ["x.jpg", "x.png", "x.png.jpg", "x_1"]


def test_other_and_hidden_files_are_counted_not_paired(tmp_path: Path) -> None:
    touch(tmp_path, ["source/a.jpg", "source/.a.png", "edited/a.png", "edited/a.txt", "edited/.cache/a.png"])
    found = find_pairs(PairQuery(input=str(tmp_path)))
    assert (found.total, found.hidden, [Path(path).name for path in found.skipped]) == (1, 2, ["a.txt"])


def test_names_that_only_a_plug_in_can_read_are_still_paired(tmp_path: Path) -> None:
    touch(tmp_path, ["source/a.heic", "edited/a.jxl"])
    assert told(find_pairs(PairQuery(input=str(tmp_path))), tmp_path) == ["source/a.heic > edited/a.jxl"]


def test_one_letter_written_in_two_unicode_forms_is_one_name(tmp_path: Path) -> None:
    touch(tmp_path, ["source/caf\u00e9.jpg", "edited/cafe\u0301_1.png", "source/cafe.jpg"])
    rows = told(find_pairs(PairQuery(input=str(tmp_path))), tmp_path)
    assert rows == ["source/caf\u00e9.jpg > edited/cafe\u0301_1.png", "E_UNPAIRED source/cafe.jpg"]


@needs_raw_names
def test_names_that_are_not_utf8_are_paired_and_keep_their_bytes(tmp_path: Path) -> None:
    for name in (
        b"source/caf\xe9.jpg",
        b"source/caf.jpg",
        b"edited/caf\xe9 1.png",
        b"edited/a\nb 'q'.png",
        b"source/a\nb 'q'.jpg",
    ):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    rows = list(find_pairs(PairQuery(input=str(tmp_path))))
    assert [isinstance(row, Pair) for row in rows] == [True, True, False]
    assert os.fsencode(rows[1].edited if isinstance(rows[1], Pair) else "").endswith(b"caf\xe9 1.png")
    assert os.fsencode(rows[1].source if isinstance(rows[1], Pair) else "").endswith(b"caf\xe9.jpg")


@needs_links
def test_loops_of_links_end_and_no_folder_is_read_twice(tmp_path: Path) -> None:
    touch(tmp_path, ["source/a.jpg", "edited/deep/a.png", "elsewhere/b.png", "source/b.jpg"])
    (tmp_path / "edited" / "again").symlink_to(tmp_path / "edited")
    (tmp_path / "edited" / "alias").symlink_to(tmp_path / "edited" / "deep")
    (tmp_path / "edited" / "more").symlink_to(tmp_path / "elsewhere")
    assert told(find_pairs(PairQuery(input=str(tmp_path))), tmp_path) == [
        "source/a.jpg > edited/deep/a.png",
        "source/b.jpg > edited/more/b.png",
    ]


@needs_links
def test_a_link_to_nothing_is_listed_so_that_loading_reports_it(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg"])
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert [image.relative for image in list_images(str(tmp_path)).images] == ["a.jpg", "gone.png"]


def test_a_subfolder_that_cannot_be_read_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, ["source/a.jpg", "edited/a.png", "edited/shut/b.png"])
    scandir = os.scandir

    def guarded(path: str) -> object:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = find_pairs(PairQuery(input=str(tmp_path)))
    assert found.total == 2
    assert told(found, tmp_path) == ["source/a.jpg > edited/a.png", "E_PERMISSION edited/shut"]


def test_a_limit_counts_rows(tmp_path: Path) -> None:
    touch(tmp_path, ["source/a.jpg", "edited/a.png", "edited/b.png", "edited/c.png"])
    found = find_pairs(PairQuery(input=str(tmp_path), limit=2))
    assert found.total == 2
    assert told(found, tmp_path) == ["source/a.jpg > edited/a.png", "E_UNPAIRED edited/b.png"]


words = st.lists(st.sampled_from(["a", "b", "1", "22", "é"]), min_size=1, max_size=4)
names = st.tuples(words, st.sampled_from("_- .")).map(lambda parts: parts[1].join(parts[0]))


@given(st.lists(names, unique=True, max_size=8), st.lists(names, unique=True, max_size=8))
def test_matching_is_by_longest_name_whatever_else_is_there(sources: list[str], edited: list[str]) -> None:
    def files(stems: list[str], suffix: str) -> list[ImageFile]:
        return [ImageFile("", stem + suffix) for stem in stems]

    matching = match_names(name_files(files(sources, ".jpg"), "stem"), name_files(files(edited, ".png"), "stem"), [])
    used = set()
    for match in matching.matches:
        stem = match.edited.stem
        fits = [name for name in sources if stem == name or (stem.startswith(name) and stem[len(name)] in "_- .")]
        assert [source.stem for source in match.sources] == sorted(fits, key=len)[-1:]
        used |= {source.stem for source in match.sources}
    assert {source.stem for source in matching.lone_sources} == set(sources) - used
    assert len(matching.matches) == len(edited)


@pytest.mark.parametrize("ending", ["\udce9", "\u0323", "\u0bcd"])
def test_accents_and_undecodable_bytes_do_not_separate_words(ending: str) -> None:
    source, edited = ImageFile("", "caq.jpg"), ImageFile("", f"caq{ending}_1.png")
    matching = match_names(name_files([source], "stem"), name_files([edited], "stem"), [])
    assert matching.matches[0].sources == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("m.csv", InputKind.MANIFEST),
        ("m.JSONL", InputKind.MANIFEST),
        ("m.ndjson", InputKind.MANIFEST),
        ("labels.json", InputKind.LABELS),
    ],
)
def test_files_are_told_by_their_suffix(tmp_path: Path, name: str, kind: InputKind) -> None:
    touch(tmp_path, [name])
    assert detect(str(tmp_path / name)) is kind


def test_folders_are_told_by_what_they_hold(tmp_path: Path) -> None:
    touch(tmp_path, ["a/source/x.jpg", "a/edited/x.jpg", "b/source/x.jpg"])
    assert detect(str(tmp_path / "a")) is InputKind.FOLDERS
    assert detect(str(tmp_path / "b")) is InputKind.NAMED
    assert detect("-") is InputKind.STREAM


def test_an_input_of_no_kind_says_what_was_found_and_what_is_accepted(tmp_path: Path) -> None:
    touch(tmp_path, ["one.jpg", "notes.txt", "set/one.jpg", "set/two.jpg", "set/read.md", "void/read.md"])
    with pytest.raises(UsageError, match="one image") as image:
        detect(str(tmp_path / "one.jpg"))
    assert "piqa assess" in (image.value.hint or "")
    with pytest.raises(InputError) as text:
        detect(str(tmp_path / "notes.txt"))
    assert ".txt" in (text.value.found or "")
    with pytest.raises(InputError) as missing:
        detect(str(tmp_path / "nowhere"))
    assert missing.value.code == "E_NOT_FOUND"
    for name in ("set", "void"):
        with pytest.raises(InputError, match="no pairs") as folder:
            find_pairs(PairQuery(input=str(tmp_path / name)))
        assert "NAME_source" in (folder.value.expected or "")
        assert ".md" in (folder.value.found or "")


def test_empty_and_missing_folders_are_errors_before_anything_starts(tmp_path: Path) -> None:
    touch(tmp_path, ["source/a.jpg"])
    (tmp_path / "edited").mkdir()
    with pytest.raises(InputError, match="no pairs") as empty:
        find_pairs(PairQuery(input=str(tmp_path)))
    assert empty.value.file == str(tmp_path / "edited")
    with pytest.raises(InputError) as missing:
        find_pairs(PairQuery(source_dir=str(tmp_path / "source"), edited_dir=str(tmp_path / "no")))
    assert missing.value.code == "E_NOT_FOUND"


@pytest.mark.parametrize(
    "query",
    [
        PairQuery(),
        PairQuery(input="a", manifest="b"),
        PairQuery(input="a", source_dir="b", edited_dir="c"),
        PairQuery(source_dir="a"),
        PairQuery(edited_dir="a"),
        PairQuery(input="a", mask_dir="b"),
        PairQuery(labels="a.json"),
        PairQuery(source_dir="a", edited_dir="b", image_dir="c"),
        PairQuery(input="-"),
        PairQuery(manifest="-"),
        PairQuery(input="a", limit=0),
    ],
)
def test_parts_that_do_not_fit_together_are_usage_errors(query: PairQuery) -> None:
    with pytest.raises(UsageError):
        query.check()


def test_a_stream_is_read_only_as_far_as_it_is_asked(tmp_path: Path) -> None:
    stream = io.BytesIO(b'{"source": "a", "edited": "b"}\n{"source": "c", "edited": "d"}\n')
    found = find_pairs(PairQuery(input="-", stdin=stream))
    assert (found.kind, found.total, stream.tell()) == (InputKind.STREAM, None, 0)
    first = next(found)
    assert isinstance(first, Pair)
    assert (first.source, first.edited) == ("a", "b")
    assert stream.tell() == 31
