"""The other commands of the executable: help, version, schema, models, synth and train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import piqa_cli
from conftest import RunPiqa, draw_scene


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight photos."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        Image.fromarray(draw_scene(number, 200, 240)).save(folder / f"photo{number}.png")
    return folder


@pytest.mark.parametrize("arguments", [("--version",), ("batch", "--version"), ("--offline", "assess", "--version")])
def test_the_version_is_told_before_and_after_a_command(piqa: RunPiqa, arguments: tuple[str, ...]) -> None:
    done = piqa(*arguments)
    assert (done.status, done.out.decode()) == (0, f"piqa {piqa_cli.__version__}\n")


def test_help_is_data_and_lists_the_commands(piqa: RunPiqa) -> None:
    done = piqa("--help")
    assert (done.status, done.err) == (0, "")
    for name in ("assess", "batch", "serve", "train", "synth", "schema", "models", "dataset"):
        assert f" {name} " in done.out.decode()


@pytest.mark.parametrize("arguments", [("nonsense",), ("models", "nonsense"), ("models", "info"), ("--nonsense",)])
def test_a_wrong_command_is_2_and_points_to_the_help(piqa: RunPiqa, arguments: tuple[str, ...]) -> None:
    done = piqa(*arguments)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("piqa: error: ")
    assert "--help`" in done.err


def test_the_schema_describes_both_kinds_of_record(piqa: RunPiqa) -> None:
    schema = piqa("schema").json()
    definitions = schema["$defs"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {
        "Assessment",
        "CrossCheck",
        "Failure",
        "Fault",
        "Heat",
        "Reliability",
        "Score",
        "Region",
    } <= definitions.keys()
    assert schema["title"] == "piqa record, version 1.3"
    for name in ("Assessment", "Failure"):
        version = definitions[name]["properties"]["schema_version"]
        assert (version["default"], version["enum"]) == ("1.3", ["1.0", "1.1", "1.2", "1.3"])
    assert {"faults", "artefacts"} <= definitions["Assessment"]["properties"].keys()


def test_models_are_listed_and_described(piqa: RunPiqa) -> None:
    listed = piqa("models", "list").json()
    compact = next(entry for entry in listed if entry["name"] == "compact")
    assert piqa("models", "info", "compact").json() == compact
    assert "compact" in piqa("models", "list", "--format", "table").out.decode()


def test_the_shipped_weights_verify(piqa: RunPiqa) -> None:
    done = piqa("models", "verify")
    assert done.status == 0, done.err
    assert done.out.startswith(b"compact: ok, sha256 ")


def test_an_unknown_model_is_4(piqa: RunPiqa) -> None:
    for command in ("info", "verify"):
        done = piqa("models", command, "no-such-model")
        assert (done.status, done.out) == (4, b"")
        assert "no-such-model" in done.err


def test_synth_writes_a_folder_that_batch_takes_and_a_seed_decides_it(
    piqa: RunPiqa, photos: Path, tmp_path: Path
) -> None:
    options = ("--photos", photos, "--count", "3", "--size", "96", "--split", "all")
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        done = piqa("synth", name, *options, "--seed", seed, cwd=tmp_path)
        assert (done.status, done.out) == (0, b""), done.err
    first, same, other = ((tmp_path / name / "labels.jsonl").read_bytes() for name in "abc")
    assert first == same
    assert first != other
    listed = piqa("batch", tmp_path / "a" / "labels.jsonl", "--dry-run").rows()
    assert len(listed) == 3
    for row in listed:
        assert all(Path(row[role]).is_file() for role in ("source", "edited", "mask"))


def test_synth_can_make_one_family_only(piqa: RunPiqa, photos: Path, tmp_path: Path) -> None:
    options = ("--photos", photos, "--count", "2", "--size", "96", "--split", "all")
    done = piqa("synth", tmp_path / "seams", *options, "--family", "seam")
    assert done.status == 0, done.err
    rows = [json.loads(line) for line in (tmp_path / "seams" / "labels.jsonl").read_text().splitlines()]
    assert {row["family"] for row in rows} == {"seam"}


def test_synth_refuses_what_it_would_overwrite_or_cannot_find(piqa: RunPiqa, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert piqa("synth", tmp_path / "full", "--photos", photos).status == 2
    assert piqa("synth", tmp_path / "new", "--photos", tmp_path / "nothing").status == 3
    assert piqa("synth", tmp_path / "new", "--photos", photos, "--family", "magic").status == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--stages", "encode,dream"), 2, "encode,ground,score"),
        (("--stages", "score,score"), 2, "--stages"),
        (("--resume", "--overwrite"), 2, "--overwrite"),
        (("--steps", "0"), 2, "--steps"),
        (("--pairs", "nothing"), 3, "nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_training_refuses_what_it_cannot_do_before_it_starts(
    piqa: RunPiqa, photos: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = piqa("train", "compact", "--photos", photos, "--out", "out", *arguments, cwd=tmp_path)
    assert (done.status, done.out) == (status, b"")
    assert words in done.err
    assert not (tmp_path / "out").exists()
