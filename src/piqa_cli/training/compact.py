"""`piqa train compact`: from photos, rated edits and teachers to the weights that are shipped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from piqa_cli import __version__
from piqa_cli.compact.config import CompactConfig
from piqa_cli.compact.network import CompactModel
from piqa_cli.compact.weights_file import save_model
from piqa_cli.devices import computes_in_bf16
from piqa_cli.errors import UsageError
from piqa_cli.training.cases import clean_start, single_thread
from piqa_cli.training.loop import Plan, finished_steps, fit
from piqa_cli.training.settings import TrainSettings
from piqa_cli.training.stages import STAGES, Task


def train(settings: TrainSettings, report: Callable[[str], None] = print) -> bool:
    """Runs the stages in order, each from the checkpoint of the one before; True when all are finished.

    `settings.out` receives a checkpoint per stage, `log.jsonl`, `run.json` (settings, seed, data hash) and,
    after every stage, `model/` that `piqa assess --model` can open, with the record of the run in it.

    Raises:
        UsageError: the output folder holds a run and neither resume nor overwrite was asked for.
        InputError: photos, pairs or teachers are missing or malformed.
    """
    out = Path(settings.out)
    _prepare(out, settings)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    model = CompactModel(_config(out))
    deadline = None if settings.minutes is None else time.monotonic() + 60 * settings.minutes
    for number, stage in enumerate(STAGES):
        torch.manual_seed(settings.seed + number)  # a stage run alone draws what it draws in the whole run
        plan = Plan(
            stage.name, settings.steps or stage.steps, stage.learning_rate, slow=stage.slow, restarts=stage.restarts,
            deadline=deadline,
        )  # fmt: skip
        checkpoint = out / f"{stage.name}.safetensors"
        chosen = stage.name in settings.stages
        if chosen and finished_steps(checkpoint) < plan.steps:
            data = stage.open_data(model, settings)
            model.train()
            task = stage.open_task(model, settings)
            batches = _batches(data, settings.batch_size or stage.batch_size, stage.workers)
            finished = fit(plan, task.parameters_of(), _Step(task), batches, out, report)
        else:
            _restore(model, checkpoint)
            finished = True
        if not chosen:
            continue
        if finished and stage.finish is not None:
            stage.finish(model, settings)
        save_model(model, out / "model")
        shutil.copy(out / "run.json", out / "model")
        if not finished:
            return False
    return True


def _config(out: Path) -> CompactConfig:
    """The network's shape, with what an earlier call has fitted: temperatures are in no checkpoint."""
    config, fitted = CompactConfig(), out / "model" / "config.json"
    if fitted.is_file():
        known = json.loads(fitted.read_text(encoding="utf-8"))
        config.temperatures, config.widening = known["temperatures"], known["widening"]
    return config


def _restore(model: CompactModel, checkpoint: Path) -> None:
    """What a stage learnt before, where it ran before."""
    if checkpoint.is_file():
        weights = {k.removeprefix("model."): v for k, v in load_file(checkpoint).items() if k.startswith("model.")}
        prefix = "quality." if checkpoint.stem in ("score", "explain") else ""
        known = model.state_dict()
        model.load_state_dict({f"{prefix}{k}": v for k, v in weights.items() if f"{prefix}{k}" in known}, strict=False)


def _prepare(out: Path, settings: TrainSettings) -> None:
    out.mkdir(parents=True, exist_ok=True)
    record = out / "run.json"
    if record.exists() and settings.overwrite:
        for file in [*out.glob("*.safetensors"), out / "log.jsonl", record]:
            file.unlink(missing_ok=True)
    if record.exists() and not settings.resume:
        raise UsageError(
            "the output folder holds a training run", file=str(out), hint="--resume goes on, --overwrite begins anew"
        )
    folders = {name: _name(getattr(settings, name)) for name in ("photos", "pairs", "teachers", "out")}
    described = {"piqa": __version__, "torch": torch.__version__, **asdict(settings), **folders}
    described["data_sha256"] = _data_hash(settings)
    before = json.loads(record.read_text(encoding="utf-8")).get("stages", []) if record.exists() else []
    described["stages"] = [stage.name for stage in STAGES if stage.name in {*before, *settings.stages}]
    record.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def _name(folder: str | None) -> str | None:
    """The last part of a path: what the data is called, not where this machine keeps it."""
    return None if folder is None else Path(folder).resolve().name


def _data_hash(settings: TrainSettings) -> str:
    """SHA-256 over names and sizes of all training files: tells two data sets apart without reading gigabytes."""
    digest = hashlib.sha256()
    for folder in (settings.photos, settings.pairs, settings.teachers):
        for file in sorted(p for p in Path(folder).rglob("*") if p.is_file()) if folder else ():
            digest.update(f"{file.relative_to(str(folder))}\0{file.stat().st_size}\n".encode())
    return digest.hexdigest()


def _autocast() -> contextlib.AbstractContextManager[object]:
    """bfloat16 where the processor computes in it, else plain float32."""
    return torch.autocast("cpu", torch.bfloat16) if computes_in_bf16() else contextlib.nullcontext()


@dataclass(frozen=True, slots=True)
class _Step:
    """A task's losses, computed in the fastest number format that is safe."""

    task: Task

    def __call__(self, batch: dict[str, Tensor], /) -> dict[str, Tensor]:
        with _autocast():
            return self.task.losses(batch)


def _batches(
    data: Dataset[dict[str, Tensor]], size: int, workers: int
) -> Callable[[int, int], Iterator[dict[str, Tensor]]]:
    """Batches of the steps asked for; item i of the data always is the same, whatever the number of workers."""

    def iterate(first: int, last: int) -> Iterator[dict[str, Tensor]]:
        yield from DataLoader(
            data,
            batch_size=size,
            sampler=range(first * size, last * size),
            num_workers=workers,
            multiprocessing_context=clean_start() if workers else None,  # OpenCV's threads are the ones meant there
            worker_init_fn=single_thread,
            prefetch_factor=6 if workers else None,
        )

    return iterate
