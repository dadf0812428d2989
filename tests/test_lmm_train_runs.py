"""Runs of `piqa train lmm` from outside: the executable, two processes, half precision, stage after stage."""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file

from conftest import Pictures, RunPiqa
from lmm_loads import load
from piqa_cli.schema import Dimension
from piqa_cli.training.lmm.figures import Figures
from piqa_cli.training.lmm.settings import STAGES, LmmTrainSettings
from piqa_cli.training.lmm.train import train
from rated_edits import write_edits
from tiny_vlms import checkpoint

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def silent(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_edits(tmp_path_factory.mktemp("rated") / "data", 12)


def flags(data: Path, out: Path, **more: Any) -> dict[str, Any]:
    few = {"steps": 2, "batch_size": 2, "learning_rate": 0.01, "validate_every": 2, "validation_pairs": 2, "rank": 4}
    base = str(checkpoint("qwen3_vl"))
    return {"base": base, "data": str(data), "out": str(out), "device": "cpu", "seed": 1, **few, **more}


def command(given: dict[str, Any]) -> list[str]:
    return ["train", "lmm", "--offline", *(f"--{name.replace('_', '-')}={value}" for name, value in given.items())]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_the_executable_trained_it_assesses_with(
    piqa: RunPiqa, files: Pictures, data: Path, tmp_path: Path
) -> None:
    given = flags(data, tmp_path / "run", stage="score")
    done = piqa(*command(given), env=OFFLINE)
    assert (done.status, done.out) == (0, b"")
    assert done.err.splitlines()[-1].endswith("adapter is ready: its README.md says how to assess with it")
    records = []
    for adapter in ((), ("--adapter", tmp_path / "run" / "adapter")):
        done = piqa(
            *("assess", files.source, files.edited, "--mask", files.mask, "--prompt", "Repaint the disc"),
            *("--model", given["base"], *adapter, "--device", "cpu", "--offline", "--no-explain", "--format", "json"),
            env=OFFLINE,
        )
        assert done.status == 0, done.err
        records.append(done.json())
    untaught, taught = records
    assert (untaught["model"]["adapter"], taught["model"]["adapter"]) == (None, "adapter")
    assert untaught["model"]["weights_sha256"] == taught["model"]["weights_sha256"]
    moved = [abs(taught["scores"][d.value]["value"] - untaught["scores"][d.value]["value"]) for d in Dimension]
    assert max(moved) > 1e-3


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (("--stage", "dream"), 2, "'dream' is not one of"),
        (("--unfreeze", "nose"), 2, "vision,projector"),
        (("--unfreeze", "vision,vision"), 2, "each once"),
        (("--resume", "--overwrite"), 2, "--overwrite"),
        (("--learning-rate", "0"), 2, "--learning-rate"),
        (("--data", "nothing"), 3, "nothing"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_it_starts(
    quick_piqa: RunPiqa, data: Path, tmp_path: Path, more: tuple[str, ...], status: int, words: str
) -> None:
    done = quick_piqa(*command(flags(data, tmp_path / "run")), *more)
    assert (done.status, done.out) == (status, b"")
    assert words in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_processes_learn_what_one_does_from_batches_twice_as_large(
    piqa: RunPiqa, data: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    train(LmmTrainSettings(**flags(data, tmp_path / "one", batch_size=4), offline=True), told.append, silent)
    arguments = command(flags(data, tmp_path / "two", batch_size=2))
    with socket.socket() as found, ThreadPoolExecutor(2) as threads:
        found.bind(("127.0.0.1", 0))
        # What torchrun, and `accelerate launch` but for --cpu, tell the processes that they start.
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1]), "WORLD_SIZE": "2"}
        found.close()
        ranks = ({"RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"} for rank in "01")
        both = list(threads.map(lambda rank: piqa(*arguments, env=OFFLINE | shared | rank), ranks))
    assert [done.status for done in both] == [0, 0], both
    assert "2 processes share every batch" in both[0].err
    assert not any("share every batch" in line for line in told)
    for stage in STAGES:
        ours, theirs = (load_file(tmp_path / name / f"{stage}.safetensors") for name in ("one", "two"))
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            if name.startswith("model."):
                torch.testing.assert_close(theirs[name], tensor, atol=1e-5, rtol=0, msg=f"{stage}: {name}")
        assert any(bool(tensor.any()) for name, tensor in ours.items() if "lora_B" in name)
    for line, other in zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True):
        assert flat(line) == pytest.approx(flat(other), abs=2e-4, nan_ok=True)


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def flat(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the log with the figures of a validation beside the others, and without its time."""
    figures = {name: float("nan") if value is None else value for name, value in line.get("validation", {}).items()}
    return {name: value for name, value in line.items() if name not in {"seconds", "validation"}} | figures


def test_half_precision_is_for_the_base_and_what_learns_stays_whole(data: Path, tmp_path: Path) -> None:
    given = flags(data, tmp_path / "run", dtype="bf16", unfreeze=("projector",), stages=("score",))
    folder = train(LmmTrainSettings(**given), silent, silent)
    assert {tensor.dtype for tensor in load_file(folder / "adapter_model.safetensors").values()} == {torch.float32}
    assert json.loads((folder / "run.json").read_text())["precision"] == "bf16"
    assert load(checkpoint("qwen3_vl"), adapter=str(folder)).info.adapter == "adapter"


def test_a_stage_that_is_run_by_itself_begins_where_the_one_before_ended(data: Path, tmp_path: Path) -> None:
    settings = LmmTrainSettings(**flags(data, tmp_path / "run", stages=("ground",)))
    train(settings, silent, silent)
    folder = train(replace(settings, stages=("score",), resume=True), silent, silent)
    noted = json.loads((folder / "run.json").read_text())["stages"]
    assert list(noted) == ["ground", "score"]
    assert noted["score"]["before"] == pytest.approx(noted["ground"]["after"], abs=1e-5)
    assert noted["ground"]["after"]["loss ground"] < noted["ground"]["before"]["loss ground"]
    card = (folder / "README.md").read_text()
    for stage in ("ground", "score"):
        assert f"| {stage} | 2 | 2 | 0.01 |" in card
        assert f"| {stage} stage: loss score | {noted[stage]['before']['loss score']:.4f} |" in card


class Board:
    """What TensorBoard's writer is told."""

    opened: ClassVar[list[Board]] = []

    def __init__(self, folder: str) -> None:
        self.folder, self.scalars, self.closed = folder, dict[tuple[str, int], float](), False
        self.opened.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name, step] = value

    def flush(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True


def test_tensorboard_is_told_what_the_log_is_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = ModuleType("torch.utils.tensorboard")
    installed.__dict__["SummaryWriter"] = Board
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", installed)
    monkeypatch.setattr(Board, "opened", [])
    train(LmmTrainSettings(**flags(data, tmp_path / "run", stages=("score",))), silent, silent)
    (board,) = Board.opened
    assert (board.folder, board.closed) == (str(tmp_path / "run" / "tensorboard"), True)
    lines = log(tmp_path / "run")
    measured = {line["step"]: line["validation"] for line in lines if "validation" in line}
    assert set(measured) == {0, 2}
    for step, figures in measured.items():
        for name, value in figures.items():
            told = board.scalars.get((f"score/validation {name}", step))
            assert told == (None if value is None else pytest.approx(value, abs=1e-6))
    learnt = {line["step"]: line for line in lines if "score" in line}
    for step, line in learnt.items():
        for name in ("score", "order", "rate"):
            assert board.scalars[f"score/{name}", step] == pytest.approx(line[name], abs=1e-4)


def test_figures_come_back_from_json_as_they_were() -> None:
    figures = Figures((("ground", 1.5),), ((Dimension.OVERALL, 0.25), (Dimension.HARMONY, float("nan"))))
    assert figures.srcc == 0.25
    back = Figures.from_named(json.loads(json.dumps(figures.rounded(), allow_nan=False)))
    assert back.rounded() == figures.rounded()
    assert (back.losses, back.ranks[0]) == (figures.losses, figures.ranks[0])
