"""What decides a record's key, hashes of files, the index of finished rows, and the journal they are appended to."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import save_pair
from fakes import FAKE_MODEL, FakeAssessor
from piqa_cli import assess, open_assessor, pipeline
from piqa_cli.assessor import models_of
from piqa_cli.cli.config import KEYS
from piqa_cli.compact.assessor import CompactAssessor
from piqa_cli.errors import InputError, OutputError
from piqa_cli.images import DEFAULT_POLICY, ImagePolicy, load_pair
from piqa_cli.lmm.cross_check import CrossCheckAssessor
from piqa_cli.resume import FileHashes, FinishedRows, Journal, Known, Memory, Recipe, only_writer
from piqa_cli.resume import key as keys
from piqa_cli.schema import Assessment, ModelInfo, Outcome, Pair
from piqa_cli.writers import read_results, replacement, to_json
from records import ORDINARY, UNREADABLE

RECIPE = Recipe((FAKE_MODEL,), DEFAULT_POLICY)
KEY = "0123456789abcdef" * 2
EXAMPLES = Path(pipeline.__file__).parent / "examples"
GOLDEN = Path(__file__).parent / "golden" / "processing.json"


def settled(path: Path) -> Path:
    """The file as it is an hour after its last change."""
    os.utime(path, (time.time() - 3600,) * 2)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A pair with a mask and a prompt."""
    files = save_pair(tmp_path)
    for path in (files.source, files.edited, files.mask):
        settled(path)
    return Pair(id="x", source=str(files.source), edited=str(files.edited), mask=str(files.mask), prompt="make it red")


def key_of(pair: Pair, recipe: Recipe = RECIPE) -> str | None:
    return Memory(recipe, FileHashes()).key_of(pair)


# --- the key --------------------------------------------------------------------------------------


def other(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.25
        case tuple():
            return (*value[1:], 7)
        case str():
            return value + "x"
        case _:
            return "x"


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ImagePolicy)])
def test_every_limit_and_conversion_of_images_is_in_the_key(pair: Pair, name: str) -> None:
    changed = dataclasses.replace(DEFAULT_POLICY, **{name: other(getattr(DEFAULT_POLICY, name))})
    assert key_of(pair, dataclasses.replace(RECIPE, policy=changed)) != key_of(pair)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Recipe) if f.name not in {"models", "policy"}])
def test_every_setting_of_the_recipe_is_in_the_key(pair: Pair, name: str) -> None:
    changed = dataclasses.replace(RECIPE, **{name: other(getattr(RECIPE, name))})
    assert key_of(pair, changed) != key_of(pair)


@pytest.mark.parametrize("name", ModelInfo.model_fields)
def test_every_word_on_a_model_is_in_the_key_also_of_one_that_stands_beside(pair: Pair, name: str) -> None:
    changed = FAKE_MODEL.model_copy(update={name: other(getattr(FAKE_MODEL, name))})
    assert key_of(pair, dataclasses.replace(RECIPE, models=(changed,))) != key_of(pair)
    beside = [key_of(pair, dataclasses.replace(RECIPE, models=(FAKE_MODEL, one))) for one in (FAKE_MODEL, changed)]
    assert len({key_of(pair), *beside}) == 3


@pytest.mark.parametrize("constant", ["PROCESSING_VERSION", "SCHEMA_VERSION"])
def test_the_versions_of_code_and_schema_are_in_the_key(
    pair: Pair, constant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(pair)
    monkeypatch.setattr(keys, constant, "next")
    assert key_of(pair) != before


@pytest.mark.parametrize("role", ["source", "edited", "mask"])
def test_one_other_byte_of_any_file_is_another_key(pair: Pair, role: str) -> None:
    before = key_of(pair)
    path = Path(getattr(pair, role))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert key_of(pair) != before


def test_prompt_and_mask_and_the_part_a_file_plays_are_in_the_key(pair: Pair) -> None:
    variants: list[dict[str, str | None]] = [
        {},
        {"prompt": "make it blue"},
        {"prompt": ""},
        {"prompt": None},
        {"mask": None},
        {"mask": pair.edited},
        {"source": pair.edited, "edited": pair.source},
    ]
    assert len({key_of(pair.model_copy(update=variant)) for variant in variants}) == len(variants)


def test_names_and_places_of_files_are_not_in_the_key(pair: Pair, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    update = {"id": "y"}
    for role in ("source", "edited", "mask"):
        update[role] = str(moved / f"other_{role}.bin")
        os.link(getattr(pair, role), update[role])
    assert key_of(pair.model_copy(update=update)) == key_of(pair)


def test_a_pair_with_a_file_that_cannot_be_read_has_no_key(pair: Pair, tmp_path: Path) -> None:
    for path in (str(tmp_path / "none.png"), str(tmp_path), "a\0b", "\ud800", os.devnull, "-"):
        for role in ("source", "edited", "mask"):
            assert key_of(pair.model_copy(update={role: path})) is None


IN_RECIPE = {
    "model", "revision", "adapter", "base_url", "dtype", "grounding",  # in the models' info
    "cross_check", "quantize", "trust_remote_code", "explain", "explain_below", "max_pixels", "frame", "invert_mask",
}  # fmt: skip
IN_NO_RECORD = {
    "device", "offline", "seed", "quiet", "verbose", "debug", "progress", "format", "fail_under", "max_errors", "match",
    "on_unpaired", "workers", "batch_size",
}  # fmt: skip


def test_of_every_setting_somebody_has_said_whether_it_decides_a_record() -> None:
    assert set(KEYS) == IN_RECIPE | IN_NO_RECORD


def test_a_model_that_checks_another_is_one_of_the_models() -> None:
    first = FakeAssessor(info=FAKE_MODEL.model_copy(update={"name": "first"}))
    both = CrossCheckAssessor(first, FakeAssessor())
    assert [model.name for model in models_of(both)] == ["first", "fake"]


def numbers_and_words(value: Any) -> tuple[list[float], Any]:
    """The numbers of a record, and the record with 0 in their places."""
    numbers: list[float] = []

    def walk(one: Any) -> Any:
        if isinstance(one, float):
            numbers.append(one)
            return 0.0
        if isinstance(one, dict):
            return {name: walk(inner) for name, inner in one.items()}
        return [walk(inner) for inner in one] if isinstance(one, list) else one

    return numbers, walk(value)


def processed() -> dict[str, Any]:
    """The bundled example's record, less what names machines, and masks and maps."""
    judge = open_assessor(dtype="fp32")
    assert isinstance(judge, CompactAssessor)
    record = assess(EXAMPLES / "source.jpg", EXAMPLES / "edited.jpg", "Remove the spoon", assessor=judge)
    kept = record.model_dump(mode="json", exclude={"id", "key", "seconds", "artefacts", "schema_version"})
    kept["pair"]["source"]["path"] = kept["pair"]["edited"]["path"] = ""
    for region in kept["regions"]:
        del region["mask"]
    return kept | {"processing_version": keys.PROCESSING_VERSION}


def test_a_record_that_changes_needs_another_processing_version() -> None:
    numbers, words = numbers_and_words(json.loads(GOLDEN.read_text("utf-8")))
    found_numbers, found_words = numbers_and_words(processed())
    help_ = "raise PROCESSING_VERSION in resume/key.py, then write the new record to tests/golden/processing.json"
    assert found_words == words, help_
    np.testing.assert_allclose(found_numbers, numbers, atol=0.01, rtol=0.01, err_msg=help_)


# --- hashes of files ------------------------------------------------------------------------------


def test_a_hash_is_remembered_until_size_time_or_inode_change(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.bin", str(tmp_path / "m.hashes")
    file.write_bytes(b"one")
    settled(file)
    first = FileHashes(memory)
    before = first.of(str(file))
    first.save()

    class Unreadable(FileHashes):
        def _hash(self, *_: object) -> str:
            return "read"

    assert Unreadable(memory, recall=True).of(str(file)) == before
    assert Unreadable(memory, recall=False).of(str(file)) == "read"
    for change in ("size", "mtime", "inode"):
        status = file.stat()
        if change == "size":
            file.write_bytes(b"four")
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif change == "mtime":
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
        else:
            (tmp_path / "b.bin").write_bytes(b"4444")
            (tmp_path / "b.bin").replace(file)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert Unreadable(memory, recall=True).of(str(file)) == "read", change
        again = FileHashes(memory, recall=True)
        again.of(str(file))
        again.save()


def test_a_file_that_has_only_just_changed_is_not_remembered(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.bin", tmp_path / "m.hashes"
    file.write_bytes(b"one")
    hashes = FileHashes(str(memory))
    assert hashes.of(str(file)) is not None
    hashes.save()
    assert not memory.exists()


def test_a_torn_or_foreign_memory_is_passed_over(tmp_path: Path) -> None:
    file, memory = settled_file(tmp_path), tmp_path / "m.hashes"
    hashes = FileHashes(str(memory))
    right = hashes.of(str(file))
    hashes.save()
    line = memory.read_bytes()
    memory.write_bytes(line[:40] + b"\n\xff\xff junk\n" + line[:97])
    assert FileHashes(str(memory), recall=True).of(str(file)) == right


def settled_file(folder: Path) -> Path:
    file = folder / "a.bin"
    file.write_bytes(b"one")
    return settled(file)


# --- the index ------------------------------------------------------------------------------------


def record(name: str, key: str | None = KEY) -> Assessment:
    return ORDINARY.model_copy(update={"id": name, "key": key})


def lines(*outcomes: Outcome) -> bytes:
    return b"".join(to_json(one).encode() + b"\n" for one in outcomes)


def index(path: Path) -> tuple[FinishedRows, list[str]]:
    warnings: list[str] = []
    return FinishedRows(str(path), warnings.append), warnings


def test_rows_are_found_by_id_also_where_another_program_has_written_them(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    names = ["plain", 'quo"te\\', "caf\udce9", "漢", ""]
    path.write_bytes(lines(*map(record, names)))
    compact = tmp_path / "c.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    compact.write_text("".join(json.dumps(dict(sorted(row.items())), separators=(",", ":")) + "\n" for row in rows))
    for file in (path, compact):
        found, warnings = index(file)
        assert [found.line_of(name) for name in names] == [0, 1, 2, 3, 4]
        assert {found.key_of(line) for line in range(5)} == {KEY}
        assert found.line_of("absent") is None
        assert warnings == []


def test_the_last_of_several_records_of_a_pair_counts_as_after_joining_files(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines(UNREADABLE, record("a"), record(UNREADABLE.id, None), record("a", "f" * 32)))
    found, _ = index(path)
    assert (found.line_of("a"), found.line_of(UNREADABLE.id)) == (3, 2)
    assert (found.key_of(3), found.key_of(2)) == ("f" * 32, None)
    assert [found.counts(line) for line in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("cut", [1, 2, 30, 500, -2, -3])
def test_a_torn_last_line_is_told_and_left_out(tmp_path: Path, cut: int) -> None:
    whole, last = lines(record("a")), lines(record("b"))
    path = tmp_path / "r.jsonl"
    path.write_bytes(whole + last[:cut])
    found, warnings = index(path)
    assert (len(found), found.starts[-1], found.unended) == (1, len(whole), False)
    assert len(warnings) == 1
    assert "line 2 is torn" in warnings[0]


def test_zeros_that_a_power_failure_left_are_not_a_row(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    last = lines(record("b"))
    path.write_bytes(lines(record("a")) + last[:400] + bytes(100))
    assert len(index(path)[0]) == 1
    path.write_bytes(lines(record("a")) + last[:400] + bytes(100) + last[500:])
    with pytest.raises(InputError, match="line 2 is not a piqa result"):
        index(path)


def test_a_line_that_is_no_record_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"a": 1}\n' + lines(record("a")))
    with pytest.raises(InputError, match="line 1 is not a piqa result"):
        index(path)


# --- the journal ----------------------------------------------------------------------------------


def as_pair(one: Assessment) -> Pair:
    return Pair(id=one.id, source=one.pair.source.path, edited=one.pair.edited.path, prompt=one.pair.prompt)


def test_rows_come_into_the_order_of_the_input_and_what_it_has_not_stays_behind(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    old = [record(name) for name in ("gone", "c", "a", "also gone")]
    path.write_bytes(lines(UNREADABLE, *old) + b'{"torn')
    mode = path.stat().st_mode
    new, retried = record("b"), record(UNREADABLE.id)
    with Journal(str(path), index(path)[0]) as journal:
        journal.keep(Known(as_pair(old[2]), 3, False))
        journal.write(new)
        journal.write(retried)
        journal.keep(Known(as_pair(old[1]), 2, False))
        assert [one.id for one in read_results(str(path))] == [
            UNREADABLE.id,
            "gone",
            "c",
            "a",
            "also gone",
            "b",
            retried.id,
        ]
        assert journal.settle() == 2
    assert path.read_bytes() == lines(old[2], new, retried, old[1], old[0], old[3])
    assert path.stat().st_mode == mode


def test_a_file_in_order_is_not_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines(record("a"), UNREADABLE)[:-1])
    inode = path.stat().st_ino
    with Journal(str(path), index(path)[0]) as journal:
        journal.keep(Known(as_pair(record("a")), 0, False))
        journal.write(UNREADABLE)  # failed again in the same way
        journal.write(record("b"))
        journal.settle()
    assert path.read_bytes() == lines(record("a"), UNREADABLE, record("b"))
    assert path.stat().st_ino == inode


def test_a_record_of_files_that_were_moved_gets_their_new_paths(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines(record("a")))
    moved = as_pair(record("a")).model_copy(update={"source": "new/s.jpg", "edited": "caf\udce9.png"})
    with Journal(str(path), index(path)[0]) as journal:
        journal.keep(Known(moved, 0, False))
        assert journal.settle() == 0
    (found,) = read_results(str(path))
    assert isinstance(found, Assessment)
    assert (found.pair.source.path, found.pair.edited.path) == ("new/s.jpg", "caf\udce9.png")
    assert found.scores == ORDINARY.scores


def test_the_disk_is_forced_to_keep_rows_at_intervals_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, synced = [100.0], []
    monkeypatch.setattr("piqa_cli.resume.journal.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("piqa_cli.resume.journal.os.fsync", lambda _: synced.append(clock[0]))
    with Journal(str(tmp_path / "r.jsonl")) as journal:
        for clock[0] in (100, 104.9, 105, 106, 109.9, 110.5, 112):
            journal.write(record(str(clock[0])))
        assert synced == [105, 110.5]
    assert synced == [105, 110.5, 112]


def fill(path: Path, error: BaseException) -> None:
    with replacement(str(path)) as file:
        file.write(b"new")
        raise error


def test_a_replacement_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("old")
    for error, seen in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), OutputError)):
        with pytest.raises(seen):
            fill(path, error)
        assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    with replacement(str(tmp_path / "link.csv")) as file:
        file.write(b"new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


def test_the_lock_is_had_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = str(tmp_path / "r.jsonl")
    with only_writer(path), pytest.raises(OutputError, match="another piqa"), only_writer(path):
        pass
    with only_writer(path):
        pass
    assert list(tmp_path.iterdir()) == []


# --- the flow -------------------------------------------------------------------------------------


def test_a_known_pair_is_neither_decoded_nor_read_again(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.jsonl"
    hashes = FileHashes(f"{path}.hashes")
    with Journal(str(path), None, hashes) as journal:
        for item in pipeline.resume_pairs([pair], FakeAssessor(), Memory(RECIPE, hashes)):
            assert not isinstance(item, Known)
            journal.write(item)
    again = Memory(RECIPE, FileHashes(f"{path}.hashes", recall=True), index(path)[0])
    monkeypatch.setattr(pipeline, "load_pair", lambda *_, **__: pytest.fail("decoded"))
    monkeypatch.setattr(FileHashes, "_hash", lambda *_: pytest.fail("read"))
    assert list(pipeline.resume_pairs([pair], FakeAssessor(), again)) == [Known(pair, 0, False)]


def test_a_file_that_changes_while_it_is_read_gets_no_key(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    load = load_pair

    def slow(*arguments: Any, **options: Any) -> Any:
        Path(pair.mask or "").write_bytes(Path(pair.mask or "").read_bytes() + b"x")
        return load(*arguments, **options)

    def only() -> Outcome | Known:
        (found,) = pipeline.resume_pairs([pair], FakeAssessor(), Memory(RECIPE, FileHashes()))
        return found

    before = only()
    assert isinstance(before, Assessment)
    assert before.key == key_of(pair)
    monkeypatch.setattr(pipeline, "load_pair", slow)
    after = only()
    assert isinstance(after, Assessment)
    assert after.key is None
