from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from conftest import RunPiqa
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.synthesis import PhotoLibrary, Split
from piqa_cli.synthesis.painter import (
    AUTOENCODER,
    PAINTER,
    WEIGHTS,
    Autoencoder,
    Painter,
    autoencoder,
    ladder,
    open_autoencoder,
    open_ladder,
    painted,
    round_trip,
)
from piqa_cli.synthesis.pixels import noise_field
from piqa_cli.training.painters import RUNGS, PainterSettings, train


def landscape(seed: int, height: int = 160, width: int = 192) -> NDArray[np.uint8]:
    """Soft hills in colour with some texture."""
    rng = np.random.default_rng(seed)
    hills = sum(
        noise_field(rng, (height, width), wave, 3) * strength for wave, strength in ((50, 35), (12, 12), (3, 6))
    )
    return np.clip(rng.uniform(60, 190, 3) + hills, 0, 255).astype(np.uint8)


def hole_in(height: int, width: int, side: int = 44) -> NDArray[np.bool_]:
    hole = np.zeros((height, width), bool)
    hole[height // 3 : height // 3 + side, width // 3 : width // 3 + side] = True
    return hole


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(landscape(number)).save(folder / f"drawn_{number}.png")
    return folder


@pytest.mark.parametrize("size", [(160, 192), (97, 131), (40, 260)])
def test_the_painter_changes_all_of_the_hole_and_nothing_else(size: tuple[int, int]) -> None:
    picture, hole = landscape(1, *size), hole_in(*size, side=20)
    for rung in range(len(ladder())):
        made = painted(picture, hole, rung)
        assert made.shape == picture.shape
        assert np.array_equal(made[~hole], picture[~hole])
        assert np.mean((made != picture).any(2)[hole]) > 0.8


def test_what_is_in_the_hole_does_not_matter() -> None:
    picture, hole = landscape(2), hole_in(160, 192)
    other = np.where(hole[..., None], np.uint8(255), picture)
    assert np.array_equal(painted(picture, hole, -1), painted(other, hole, -1))


def test_without_a_hole_nothing_is_painted() -> None:
    picture = landscape(3)
    assert np.array_equal(painted(picture, np.zeros(picture.shape[:2], bool), 0), picture)


def test_later_painters_of_the_ladder_paint_better() -> None:
    errors = np.zeros(len(ladder()))
    for seed in range(12):
        picture, hole = landscape(100 + seed), hole_in(160, 192)
        for rung in range(len(errors)):
            errors[rung] += np.abs(painted(picture, hole, rung).astype(int) - picture)[hole].mean() / 12
    assert errors[0] == errors.max()
    assert errors[-1] < 0.8 * errors[0]
    assert min(errors[2:]) < min(errors[:2])


def test_painting_is_the_same_with_one_thread_and_with_two() -> None:
    picture, hole = landscape(4), hole_in(160, 192)
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append((painted(picture, hole, -1), round_trip(picture, np.random.default_rng(0), 0.1)))
    finally:
        torch.set_num_threads(before)
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(*made, strict=True))


@pytest.mark.parametrize("size", [(160, 192), (97, 131)])
def test_the_round_trip_keeps_the_picture_and_loses_detail(size: tuple[int, int]) -> None:
    picture = landscape(5, *size)
    made = round_trip(picture, np.random.default_rng(0), 0.05)
    assert made.shape == picture.shape
    assert 0.5 < np.abs(made.astype(int) - picture).mean() < 16
    assert np.array_equal(made, round_trip(picture, np.random.default_rng(0), 0.05))


def test_the_networks_are_small() -> None:
    assert 100_000 < sum(weight.numel() for weight in Painter().parameters()) < 200_000
    assert sum(weight.numel() for weight in Autoencoder().parameters()) < 150_000
    assert sum((WEIGHTS / name).stat().st_size for name in (PAINTER, AUTOENCODER)) < 1.5e6
    assert ladder() is ladder()
    assert autoencoder() is autoencoder()


def test_training_writes_files_that_open_and_that_the_seed_determines(photos: Path, tmp_path: Path) -> None:
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        settings = PainterSettings(str(photos), str(tmp_path / name), None, 3, seed, batch_size=2, size=64)
        train(settings, lambda line: None)
        painters = open_ladder(tmp_path / name / "weights" / PAINTER)
        assert len(painters) == len(RUNGS)
        results.append(
            [painters[-1].paint.weight, next(open_autoencoder(tmp_path / name / "weights" / AUTOENCODER).parameters())]
        )
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(results[0], results[2], strict=True))


def test_another_run_does_not_go_on_in_the_folder_of_one(photos: Path, tmp_path: Path) -> None:
    settings = PainterSettings(str(photos), str(tmp_path / "out"), None, 1, 0, batch_size=1, size=64)
    train(settings, lambda line: None)
    train(settings, lambda line: None)
    with pytest.raises(UsageError, match="another run"):
        train(PainterSettings(str(photos), str(tmp_path / "out"), None, 1, 5), lambda line: None)


def test_the_command_trains_and_names_no_folder_of_this_machine(piqa: RunPiqa, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = piqa("train", "painters", "--photos", photos, "--out", out, "--steps", "3")
    assert done.status == 0, done.err
    record = json.loads((out / "weights" / "run.json").read_text("utf-8"))
    assert record["steps"] == {"painter": 3, "autoencoder": 3}
    assert str(tmp_path) not in json.dumps(record)
    assert len(open_ladder(out / "weights" / PAINTER)) == len(RUNGS)


def test_a_missing_or_foreign_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        open_ladder(tmp_path / PAINTER)
    with pytest.raises(ModelError, match="do not fit"):
        open_autoencoder(WEIGHTS / PAINTER)


def test_importing_the_synthesis_loads_no_torch() -> None:
    code = "import sys, piqa_cli.synthesis; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_only_photos_of_the_train_split_are_learnt_from(
    photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Split] = []
    names = PhotoLibrary.names

    def noted(library: PhotoLibrary, split: Split) -> tuple[str, ...]:
        asked.append(split)
        return names(library, split)

    monkeypatch.setattr(PhotoLibrary, "names", noted)
    settings = PainterSettings(str(photos), str(tmp_path / "out"), None, 1, 0, batch_size=1, size=64)
    train(settings, lambda line: None)
    assert set(asked) == {"train"}
