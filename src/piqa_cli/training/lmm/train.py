"""`piqa train lmm`: from a base model and rated pairs to an adapter that assesses; each stage from the one before."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from piqa_cli.devices import find_device, memory_errors
from piqa_cli.errors import UsageError
from piqa_cli.lmm.hub import is_offline, locate, prepare
from piqa_cli.lmm.loading import load_vlm
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.schema import Dimension
from piqa_cli.training.lmm.folder import LOG, RunRecord, StageRecord, begin_stage, export, open_run
from piqa_cli.training.lmm.learner import Figures, Learner
from piqa_cli.training.lmm.material import read_material
from piqa_cli.training.lmm.peers import Peers, find_peers
from piqa_cli.training.lmm.settings import LmmTrainSettings, Precision
from piqa_cli.training.lmm.stages import FULL_RATE, STAGES, Stage
from piqa_cli.training.lmm.tuning import Tuned, figures_of, tune
from piqa_cli.training.loop import Hooks, Plan, finished_steps, fit

_WHAT_HELPS = "a smaller --batch-size, --checkpointing, a smaller --rank, or --dtype bf16"
_VALIDATIONS = 10  # a stage


def train(settings: LmmTrainSettings, report: Callable[[str], None], warn: Callable[[str], None]) -> Path:
    """Runs the chosen stages; gives the folder with the adapter, or with the model if all of it learnt.

    `settings.out` receives a checkpoint a stage (`NAME.safetensors`) and its best weights (`NAME-best.safetensors`),
    `log.jsonl`, `run.json`, TensorBoard's files where that is installed, and `adapter/` or `model/`.

    Raises:
        UsageError: options that do not go together, an extra that is missing, a run that cannot go on, nothing to
            learn.
        InputError: the data is missing or malformed.
        ModelError: the base cannot be had or trained.
        DeviceError: the device is not there, or out of memory.
    """
    _check(settings)
    peers, device = find_peers(settings.device)
    if not peers.first:
        report = warn = _silent
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    material = read_material(settings.data, settings.labels, settings.image_dir, settings.seed, warn)
    half = _half(settings, device)
    kept: Precision = "fp32" if settings.full or not half else "bf16"
    vlm = load_vlm(LmmSettings(
        model=settings.base, revision=settings.revision, dtype=kept, device=device, offline=settings.offline,
        trust_remote_code=settings.trust_remote_code,
    ))  # fmt: skip
    record = RunRecord(
        vlm.info.name, vlm.info.version, vlm.info.weights_sha256, material.sha256, settings.seed, settings.full,
        settings.unfreeze, settings.rank, "bf16" if half else "fp32",
    )  # fmt: skip
    open_run(Path(settings.out), record, settings, writes=False)
    peers.wait()
    open_run(Path(settings.out), record, replace(settings, resume=True), writes=peers.first)
    peers.wait()
    tuned = tune(vlm, settings)
    if settings.checkpointing:
        _save_memory(vlm.model)
    learner = Learner(vlm, material, peers, settings.seed, half, settings.validation_pairs)
    job = Job(settings, record, tuned, learner, peers, report, _board(Path(settings.out)) if peers.first else None)
    return job.run(warn)


def _silent(_: str) -> None:
    return None


def _check(settings: LmmTrainSettings) -> None:
    absent = [name for name in ("peft", "accelerate") if importlib.util.find_spec(name) is None]
    if absent:
        raise UsageError(f"training needs {' and '.join(absent)}", hint="pip install 'piqa-cli[lmm]'")
    if settings.dtype == "fp16":
        raise UsageError(
            "training in fp16 is not offered: it loses small gradients", expected="--dtype bf16 or fp32", found="fp16"
        )


def _half(settings: LmmTrainSettings, device: str) -> bool:
    """Whether to compute in bfloat16."""
    if settings.dtype != "auto":
        return settings.dtype == "bf16"
    return find_device(device).type == "cuda" and torch.cuda.is_bf16_supported()


def _save_memory(model: Any) -> None:
    try:
        model.activation_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise UsageError(f"this architecture cannot do with --checkpointing: {error}", hint="leave it out") from error


def _board(out: Path) -> Any:
    """TensorBoard's writer, where it is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"))


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run at work."""

    settings: LmmTrainSettings
    record: RunRecord
    tuned: Tuned
    learner: Learner
    peers: Peers
    report: Callable[[str], None]
    board: Any

    @property
    def out(self) -> Path:
        """The folder of the run."""
        return Path(self.settings.out)

    def run(self, warn: Callable[[str], None]) -> Path:
        """All chosen stages, each from the best checkpoint of the one before."""
        done: list[StageRecord] = []
        target = None
        last = max(number for number, stage in enumerate(STAGES) if stage.name in self.settings.stages)
        for stage in STAGES[: last + 1]:
            if stage.name not in self.settings.stages:
                if self._best(stage).is_file():
                    self.tuned.load_weights(self._best(stage))
            elif not self.learner.usable(stage):
                warn(f"the {stage.name} stage is passed over: {self._why_not(stage)}")
            else:
                done.append(self._train(stage))
                self.peers.wait()
                target = self._export(done)
        if target is None:
            raise UsageError(
                "there is nothing to train",
                file=self.settings.data,
                expected="pairs with ratings for score, with boxes for ground, with explanations for explain",
                found=f"none for {' and '.join(self.settings.stages)}",
            )
        self.report(f"{target} is ready: its README.md says how to assess with it")
        return target

    def _why_not(self, stage: Stage) -> str:
        family = self.learner.vlm.family
        if stage.name == "ground" and not family.grounds:
            return f"models of the kind {family.model_type} write no boxes"
        return "no training pair has what it needs"

    def _train(self, stage: Stage) -> StageRecord:
        settings, out = self.settings, self.out
        size = settings.batch_size or stage.batch_size
        rate = settings.learning_rate or stage.learning_rate * (FULL_RATE if settings.full else 1)
        plan = Plan(stage.name, settings.steps or stage.steps, rate, log_every=10)
        record = StageRecord(stage.name, plan.steps, size * self.peers.count, rate, len(self.learner.usable(stage)))
        begin_stage(out, self.record, record, writes=self.peers.first)
        with memory_errors(_WHAT_HELPS):
            self._fit(stage, plan, size)
            self.peers.wait()
            self.tuned.load_weights(self._best(stage))
            after = self.learner.validate(size)
        return replace(
            record,
            before=_logged(out / LOG, stage.name, 0),
            after=after,
            best_step=int(figures_of(self._best(stage))["step"]),
        )

    def _fit(self, stage: Stage, plan: Plan, size: int) -> None:
        checkpoint = self.out / f"{stage.name}.safetensors"
        finished, watch = finished_steps(checkpoint), _Watch(self, stage, plan, size)
        if finished == 0:
            watch.begin()
        self.peers.wait()
        if finished < plan.steps:
            self.learner.vlm.model.train()
            hooks = Hooks(self.peers.average, watch, watch.record, writes=self.peers.first)
            batches = self.learner.batches(stage, size)
            fit(plan, self.tuned.weights, self.learner.losses, batches, self.out, self.report, hooks)

    def _best(self, stage: Stage) -> Path:
        return self.out / f"{stage.name}-best.safetensors"

    def _export(self, done: list[StageRecord]) -> Path | None:
        target = self.out / ("model" if self.settings.full else "adapter")
        if self.peers.first:
            prepare(is_offline(self.settings.offline))
            base = locate(
                self.settings.base,
                self.settings.revision,
                offline=self.settings.offline,
                trusted=self.settings.trust_remote_code,
            )
            size = min(len(self.learner.material.validation), self.settings.validation_pairs)
            target = export(self.tuned, self.out, base.folder, self.record, done, size)
        self.peers.wait()
        return target


@dataclass(frozen=True, slots=True, eq=False)
class _Watch:
    """Validates a stage now and then, and keeps its best weights."""

    job: Job
    stage: Stage
    plan: Plan
    size: int

    def __call__(self, finished: int) -> None:
        """After so many steps."""
        every = self.job.settings.validate_every or max(1, self.plan.steps // _VALIDATIONS)
        if finished % every and finished < self.plan.steps:
            return
        figures = self.job.learner.validate(self.size)
        self._log(finished, figures)
        best = self.job.out / f"{self.stage.name}-best.safetensors"
        merit = _merit(self.stage, figures)
        before = figures_of(best)
        if self.job.peers.first and (not before or merit >= before["merit"]):
            self.job.tuned.save_weights(best, step=finished, merit=merit)

    def begin(self) -> None:
        """Before the first step: what the stage starts from."""
        if self.job.peers.first:
            (self.job.out / f"{self.stage.name}-best.safetensors").unlink(missing_ok=True)
        self._log(0, self.job.learner.validate(self.size))

    def record(self, step: int, values: dict[str, float]) -> None:
        """What is logged of a training step, for TensorBoard."""
        if self.job.board is not None:
            for name, value in values.items():
                self.job.board.add_scalar(f"{self.stage.name}/{name}", value, step)
            self.job.board.flush()

    def _log(self, finished: int, figures: Figures) -> None:
        if not self.job.peers.first:
            return
        named = {name: None if math.isnan(value) else round(value, 6) for name, value in figures.named().items()}
        line = {"stage": self.stage.name, "step": finished, "validation": named}
        with (self.job.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        told = " ".join(f"{name} {value:.4f}" for name, value in figures.named().items() if not math.isnan(value))
        self.job.report(f"{self.stage.name} {finished}/{self.plan.steps} validation: {told}")
        self.record(finished, {f"validation {name}": v for name, v in figures.named().items() if not math.isnan(v)})


def _merit(stage: Stage, figures: Figures) -> float:
    """What a checkpoint is chosen by, larger is better: rank correlation, or the stage's own loss, negated."""
    if stage.chosen_by == "srcc" and math.isfinite(figures.srcc):
        return figures.srcc
    return -dict(figures.losses).get(stage.name, math.inf) - (1e3 if stage.chosen_by == "srcc" else 0)


def _logged(log: Path, stage: str, step: int) -> Figures | None:
    """The figures of a validation as they stand in the log, where a resumed run finds those of its first part."""
    found = None
    for text in log.read_text("utf-8").splitlines():
        line = json.loads(text)
        if line["stage"] == stage and line["step"] == step and "validation" in line:
            found = line["validation"]
    if found is None:
        return None
    nan = math.nan
    losses = tuple(
        (n.removeprefix("loss "), nan if v is None else v) for n, v in found.items() if n.startswith("loss ")
    )
    ranks = tuple(
        (Dimension(n.removeprefix("srcc ")), nan if v is None else v) for n, v in found.items() if n.startswith("srcc ")
    )
    return Figures(losses, ranks)
