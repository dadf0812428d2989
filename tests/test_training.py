"""Losses say what they should, and a run that was interrupted ends like one that was not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from piqa_cli.errors import InputError, UsageError
from piqa_cli.training.compact import train
from piqa_cli.training.edits import RatedEdit, read_edits
from piqa_cli.training.loop import Plan, fit
from piqa_cli.training.losses import change_loss, fidelity_loss, level_loss, moments, soft_levels, steady_loss
from piqa_cli.training.settings import TrainSettings


def logits_for(values: list[float]) -> Tensor:
    return soft_levels(torch.tensor(values), 9).clamp_min(1e-6).log()


def test_soft_levels_have_the_mean_that_was_asked_for() -> None:
    values = torch.tensor([1.0, 2.3, 3.75, 5.0])
    torch.testing.assert_close(moments(soft_levels(values, 9).clamp_min(1e-9).log())[0], values, atol=1e-3, rtol=0)


def test_level_loss_grows_with_distance_and_skips_unknown_ratings() -> None:
    one = torch.ones(1)
    near, far = (level_loss(logits_for([v]), torch.tensor([4.0]), one) for v in (3.5, 1.5))
    assert near < far
    mixed = level_loss(logits_for([3.5, 1.0]), torch.tensor([4.0, float("nan")]), torch.ones(2))
    torch.testing.assert_close(mixed, near)
    assert level_loss(logits_for([3.0]), torch.tensor([float("nan")]), one) == 0


def test_level_loss_minds_a_doubtful_rating_less() -> None:
    logits, truth = logits_for([3.5, 1.5]), torch.tensor([4.0, 4.0])
    assert level_loss(logits, truth, torch.tensor([1.0, 0.1])) < level_loss(logits, truth, torch.ones(2))


def test_fidelity_loss_wants_the_better_one_higher() -> None:
    assert fidelity_loss(logits_for([4.0]), logits_for([2.0])) < 0.05
    assert fidelity_loss(logits_for([2.0]), logits_for([4.0])) > 0.5


def test_steady_loss_is_zero_for_equal_scores_only() -> None:
    assert steady_loss(logits_for([3.0]), logits_for([3.0])) < 1e-6
    assert steady_loss(logits_for([3.0]), logits_for([4.0])) > 0.3


def test_change_loss_pulls_on_empty_masks_and_ignores_unknown_pixels() -> None:
    logits = torch.full((1, 1, 4, 4), 2.0, requires_grad=True)
    empty, known = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    change_loss(logits, empty, known).backward()
    assert logits.grad is not None
    assert (logits.grad > 0).all()
    assert change_loss(logits, empty, torch.zeros(1, 1, 4, 4)) == 0


def batches(first: int, last: int) -> Iterator[dict[str, Tensor]]:
    for step in range(first, last):
        yield {"x": torch.randn(8, 3, generator=torch.Generator().manual_seed(step))}


def run(folder: Path, plan: Plan) -> nn.Linear:
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    module = nn.Linear(3, 1)

    def error(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"error": (module(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()}

    fit(plan, module, error, batches, folder, print)
    return module


def test_the_rate_climbs_again_after_a_restart_to_half_its_peak() -> None:
    plan = Plan("stage", 300, 0.8, restarts=(200,))
    rates = [plan.rate(step) for step in range(plan.steps)]
    assert max(rates[:200]) == pytest.approx(0.8, rel=0.01)
    assert max(rates[200:]) == pytest.approx(0.4, rel=0.01)
    assert rates[199] < 0.03
    assert rates[299] < 0.02
    cut = Plan("stage", 150, 0.8, restarts=(200,))  # a run too short for its restart ends as one without
    assert [cut.rate(step) for step in range(150)] == [Plan("stage", 150, 0.8).rate(step) for step in range(150)]
    assert rates[:200] == [Plan("stage", 200, 0.8).rate(step) for step in range(200)]


def test_interrupted_run_ends_with_the_weights_of_a_straight_one(tmp_path: Path) -> None:
    plan = Plan("stage", 60, 0.05)
    straight = run(tmp_path / "straight", plan)
    late = replace(plan, deadline=time.monotonic())  # stops with a checkpoint after its first step
    run(tmp_path / "broken", late)
    run(tmp_path / "broken", late)
    resumed = run(tmp_path / "broken", plan)
    torch.testing.assert_close(straight.weight, resumed.weight, atol=0, rtol=0)
    last = [json.loads(line) for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()][-1]
    assert last["step"] == 59
    assert last["error"] < 1


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few drawn photos, and a folder of rated edits made of them."""
    root = tmp_path_factory.mktemp("material")
    (root / "photos").mkdir()
    (root / "pairs").mkdir()
    rng = np.random.default_rng(0)
    rows, lines = ["id,overall,completion,harmony,naturalness,preserved,box,note"], []
    for index in range(24):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        photo = cv2.resize(coarse, (192, 144), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "photos" / f"p{index}.jpg"), photo)
        if index >= 12:
            continue
        edited, mask = photo.copy(), np.zeros((144, 192), np.uint8)
        edited[40:90, 60:120] = rng.integers(0, 256, 3)
        mask[40:90, 60:120] = 255
        for name, picture in (("source", photo), ("edited", edited), ("mask", mask)):
            cv2.imwrite(str(root / "pairs" / f"{index}_{name}.png"), picture)
        names = {name: f"{index}_{name}.png" for name in ("source", "edited", "mask")}
        lines.append(json.dumps({"id": f"e{index}", "group": f"g{index}", **names}))
        rows.append(f'e{index},3.1,,{1 + index / 4},2.5,4.5,"0.3,0.2,0.6,0.6",a flat patch')
    (root / "pairs" / "ratings.csv").write_text("\n".join(rows) + "\n")
    (root / "pairs" / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return root


def test_rated_edits_are_read_and_split_by_group(material: Path) -> None:
    edits = read_edits(material / "pairs")
    assert len(edits) == 12
    assert edits[4].harmony == 2.0
    assert np.isnan(edits[0].completion)
    assert edits[0].box == (0.3, 0.2, 0.6, 0.6)
    one = RatedEdit(**{**{f: getattr(edits[0], f) for f in edits[0].__slots__}, "id": "other"})
    assert one.split == edits[0].split


def test_missing_ratings_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the rated edits"):
        read_edits(tmp_path)


def settings(material: Path, out: Path) -> TrainSettings:
    return TrainSettings(
        photos=str(material / "photos"), pairs=str(material / "pairs"), out=str(out),
        stages=("ground", "score", "explain"), steps=2, batch_size=1, size=64, threads=1,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(400)  # three stages, each with worker processes of its own
@pytest.mark.usefixtures("warmed")
def test_training_writes_a_model_its_log_and_the_record_of_the_run(material: Path, tmp_path: Path) -> None:
    chosen = settings(material, tmp_path / "run")
    assert train(chosen, lambda line: None)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["seed"] == 0
    assert record["photos"] == "photos"  # not where this machine keeps them
    assert len(record["data_sha256"]) == 64
    assert {path.name for path in (tmp_path / "run" / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "run.json",
    }
    before = load_file(tmp_path / "run" / "model" / "model.safetensors")
    with pytest.raises(UsageError, match="holds a training run"):
        train(chosen, lambda line: None)
    assert train(replace(chosen, resume=True), lambda line: None)
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    names = {path.name for path in (tmp_path / "run").glob("cases-*")}
    # No ratings: they belong to pictures that were made from other photos.
    assert names == {f"cases-{name}.safetensors" for name in ("made", "real-train", "real-val")}
