"""`piqa train compact --data`: what judges learns on from other people's ratings, what sees stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from conftest import RunPiqa
from piqa_cli import open_assessor
from piqa_cli.compact.weights_file import read_model
from piqa_cli.errors import InputError, UsageError
from piqa_cli.models import MODELS
from piqa_cli.training.own_ratings import TuneSettings, tune
from rated_edits import write_edits

SHIPPED = MODELS["compact"].weights


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 edits of 30 photos."""
    return write_edits(tmp_path_factory.mktemp("rated") / "edits", photos=30)


@pytest.fixture(scope="module")
def tuned(warmed: None, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on them; one picture is torn."""
    (data / "edited" / "s3_0.png").write_bytes(b"torn")
    out = tmp_path_factory.mktemp("tuned")
    told: list[str] = []
    tune(TuneSettings(str(data), str(out), SHIPPED, threads=1), told.append, told.append)
    assert any("1 of" in line and "cannot be read" in line for line in told)
    return out


def test_it_errs_less_on_the_edits_held_out_and_says_so(tuned: Path) -> None:
    record = json.loads((tuned / "run.json").read_text("utf-8"))
    figures = {figure["dimension"]: figure for figure in record["figures"]}
    assert sorted(figures) == ["harmony", "local_naturalness"]  # nobody rated preservation
    for figure in figures.values():
        assert figure["edits"] >= 2
        assert figure["rmse_after"] < figure["rmse_before"]


def test_only_the_heads_of_what_was_rated_learn(tuned: Path) -> None:
    before, after = (read_model(folder).state_dict() for folder in (SHIPPED, tuned / "model"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(("quality.harmony.", "quality.naturalness.")) for name in moved)


def test_the_tuned_model_assesses(tuned: Path, data: Path, piqa: RunPiqa) -> None:
    worst = min(json.loads((data / "labels.json").read_text("utf-8")), key=lambda row: float(row["harmony_score"]))
    pair = (data / "source" / worst["source_img_name"], data / "edited" / worst["edited_img_name"])
    done = piqa("assess", *pair, "--model", tuned / "model")
    assert done.status == 0
    assert done.json()["scores"]["harmony"]["value"] is not None
    assert open_assessor(str(tuned / "model"), device="cpu").info.name == "model"


def test_a_folder_with_a_run_is_kept(tuned: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="holds a training run"):
        tune(TuneSettings(str(data), str(tuned), SHIPPED), print, print)


def test_ratings_of_nothing_that_it_tells_are_refused(data: Path, tmp_path: Path) -> None:
    rows = json.loads((data / "labels.json").read_text("utf-8"))
    kept = ("source_img_name", "edited_img_name", "prompt", "overall_score")
    labels = tmp_path / "overall.json"
    labels.write_text(json.dumps([{key: row[key] for key in kept} for row in rows]), "utf-8")
    settings = TuneSettings(str(data), str(tmp_path / "out"), SHIPPED, labels=str(labels))
    with pytest.raises(InputError, match="nobody rated") as caught:
        tune(settings, print, print)
    assert caught.value.found == "overall"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--photos", ".", "--data", "."), "--photos does not go with --data"),
        (("--photos", ".", "--base", "."), "--base does not go with --photos"),
        ((), "needs --photos, or --data"),
        (("--data", "nowhere"), "there is no folder"),
    ],
)
def test_options_that_do_not_go_together(piqa: RunPiqa, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    done = piqa("train", "compact", "--out", tmp_path / "out", *options)
    assert done.status in {2, 3}
    assert told in " ".join(done.err.split())
