"""`piqa train lmm`: from a base model and rated pairs to an adapter that assesses; each stage from the one before."""

from __future__ import annotations

import functools
import importlib.util
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
from piqa_cli.training.lmm.best import Watch
from piqa_cli.training.lmm.card import RunRecord, StageRecord
from piqa_cli.training.lmm.figures import Journal, open_journal
from piqa_cli.training.lmm.folder import begin_stage, export, exported_name, note_stage, open_run
from piqa_cli.training.lmm.learner import Learner
from piqa_cli.training.lmm.peers import Peers, find_peers
from piqa_cli.training.lmm.settings import LmmTrainSettings, Precision
from piqa_cli.training.lmm.stages import FULL_RATE, STAGES, Stage
from piqa_cli.training.lmm.tuning import Tuned, figures_of, tune
from piqa_cli.training.loop import Hooks, Plan, finished_steps, fit
from piqa_cli.training.material import read_material

_WHAT_HELPS = "a smaller --batch-size, --checkpointing, a smaller --rank, or --dtype bf16"
_VALIDATIONS = 10  # a stage
_LOGGED = 10  # steps between two lines about the losses


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
    if peers.count > 1:
        report(f"{peers.count} processes share every batch")
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
    journal = open_journal(Path(settings.out), report, writes=peers.first)
    try:
        return Job(settings, record, tuned, learner, peers, journal).run(warn)
    finally:
        journal.close()


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


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run at work."""

    settings: LmmTrainSettings
    record: RunRecord
    tuned: Tuned
    learner: Learner
    peers: Peers
    journal: Journal

    @property
    def out(self) -> Path:
        """The folder of the run."""
        return Path(self.settings.out)

    def run(self, warn: Callable[[str], None]) -> Path:
        """All chosen stages, each from the best weights of the one before."""
        target = None
        last = max(number for number, stage in enumerate(STAGES) if stage.name in self.settings.stages)
        for stage in STAGES[: last + 1]:
            if stage.name not in self.settings.stages:
                if self._best(stage).is_file():
                    self.tuned.load_weights(self._best(stage))
            elif not self.learner.usable(stage):
                warn(f"the {stage.name} stage is passed over: {self._why_not(stage)}")
            else:
                self._train(stage)
                target = self._export()
        if target is None:
            raise UsageError(
                "there is nothing to train",
                file=self.settings.data,
                expected="pairs with ratings for score, with regions for ground, with explanations for explain",
                found=f"none for {' and '.join(self.settings.stages)}",
            )
        self.journal.report(f"{target} is ready: its README.md says how to assess with it")
        return target

    def _why_not(self, stage: Stage) -> str:
        family = self.learner.vlm.family
        if stage.name == "ground" and not family.grounds:
            return f"models of the kind {family.model_type} write no boxes"
        return "no training pair has what it needs"

    def _train(self, stage: Stage) -> None:
        settings, first = self.settings, self.peers.first
        size = settings.batch_size or stage.batch_size
        rate = settings.learning_rate or stage.learning_rate * (FULL_RATE if settings.full else 1)
        plan = Plan(stage.name, settings.steps or stage.steps, rate, log_every=_LOGGED)
        record = StageRecord(stage.name, plan.steps, size * self.peers.count, rate, len(self.learner.usable(stage)))
        begin_stage(self.out, self.record, record, writes=first)
        with memory_errors(_WHAT_HELPS):
            self._fit(stage, plan, size)
            self.peers.wait()
            self.tuned.load_weights(self._best(stage))
            after = self.learner.validate(size)
        if first:
            before, best_step = self.journal.found(stage.name, 0), int(figures_of(self._best(stage))["step"])
            note_stage(self.out, self.record, replace(record, before=before, after=after, best_step=best_step))

    def _fit(self, stage: Stage, plan: Plan, size: int) -> None:
        finished = finished_steps(self.out / f"{stage.name}.safetensors")
        every = self.settings.validate_every or max(1, plan.steps // _VALIDATIONS)
        watch = Watch(stage, plan.steps, every, size, self._best(stage), self.tuned, self.learner, self.journal)
        if finished == 0:
            watch.begin()
        self.peers.wait()
        if finished < plan.steps:
            record = functools.partial(self.journal.scalars, stage.name)
            hooks = Hooks(self.peers.average, watch, record, writes=self.peers.first)
            batches = self.learner.batches(stage, size)
            self.learner.vlm.model.train()
            fit(plan, self.tuned.weights, self.learner.losses, batches, self.out, self.journal.report, hooks)

    def _best(self, stage: Stage) -> Path:
        return self.out / f"{stage.name}-best.safetensors"

    def _export(self) -> Path:
        if self.peers.first:
            size = min(len(self.learner.material.validation), self.settings.validation_pairs)
            export(self.tuned, self.out, self._base, self.record, size)
        self.peers.wait()
        return self.out / exported_name(self.record)

    def _base(self) -> Path:
        """Where the base's own files lie."""
        prepare(is_offline(self.settings.offline))
        return locate(
            self.settings.base,
            self.settings.revision,
            offline=self.settings.offline,
            trusted=self.settings.trust_remote_code,
        ).folder
