"""The stages of the compact assessor: what each learns from, what it trains, what it minimises.

encode   the encoder imitates two ImageNet networks on photos           (stage 0, before the paper's three)
ground   encoder and change decoder find the edit and its kind
score    the quality branch learns order from severity, and the scale from rated real edits
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from piqa_cli.compact.network import CompactModel
from piqa_cli.errors import UsageError
from piqa_cli.synthesis.photos import PhotoLibrary
from piqa_cli.training.data import ChangePairs, PhotoCrops
from piqa_cli.training.edits import read_edits
from piqa_cli.training.losses import change_loss
from piqa_cli.training.quality import QualityItems, QualityTask, calibrate, rated_crops
from piqa_cli.training.settings import TrainSettings
from piqa_cli.training.teachers import Distillation


class Task(Protocol):
    """A stage at work: the parameters it trains, and the losses of a batch."""

    def parameters_of(self) -> nn.Module:
        """What is optimised and checkpointed."""
        ...

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses of one batch; their sum is minimised."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the table."""

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    open_data: Callable[[CompactModel, TrainSettings], Dataset[dict[str, Tensor]]]
    open_task: Callable[[CompactModel, TrainSettings], Task]
    finish: Callable[[CompactModel, TrainSettings], None] | None = None


def _required(value: str | None, flag: str, stage: str) -> Path:
    if value is None:
        raise UsageError(f"the {stage} stage needs {flag}", expected=f"{flag} DIR", found="nothing")
    return Path(value)


class EncodeTask:
    """Distillation of the encoder."""

    def __init__(self, model: CompactModel, settings: TrainSettings) -> None:
        self.encoder = model.encoder
        self.distillation = Distillation(_required(settings.teachers, "--teachers", "encode"), model.config.widths)
        self.module = nn.ModuleDict({"encoder": self.encoder, "adapters": self.distillation.adapters})

    def parameters_of(self) -> nn.Module:
        """The encoder and the linear layers that the comparison needs."""
        return self.module

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`picture`: N x 3 x S x S uint8."""
        rgb = batch["picture"].float().div(255).contiguous(memory_format=torch.channels_last)
        return {"distance": self.distillation(rgb, self.encoder(rgb))}


class GroundTask:
    """Where was edited, and what kind of change is it."""

    def __init__(self, model: CompactModel, settings: TrainSettings) -> None:
        self.model = model
        self.module = nn.ModuleDict({"encoder": model.encoder, "decoder": model.decoder})

    def parameters_of(self) -> nn.Module:
        """Encoder and change decoder."""
        return self.module

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The items of `ChangePairs`, batched."""
        pictures = [
            batch[key].float().div(255).contiguous(memory_format=torch.channels_last) for key in ("source", "edited")
        ]
        grounded = self.model(*pictures)
        mask, weight = batch["mask"].float(), batch["weight"].float()
        losses = {}
        for name, logits, share in (("mask", grounded.mask, 1.0), ("coarse", grounded.coarse, 0.3)):
            size = logits.shape[-2:]
            target, counted = F.adaptive_avg_pool2d(mask, size), (F.adaptive_avg_pool2d(weight, size) > 0.99).float()
            losses[name] = share * change_loss(logits, target, counted)
        kind = F.cross_entropy(grounded.kind.float(), batch["kind"], reduction="sum")
        losses["kind"] = 0.3 * kind / (batch["kind"] >= 0).sum().clamp_min(1)
        return losses


def _photo_crops(model: CompactModel, settings: TrainSettings) -> Dataset[dict[str, Tensor]]:
    files = [str(p) for p in sorted(Path(settings.photos).iterdir()) if p.suffix in (".jpg", ".png", ".webp")]
    if settings.pairs is not None:
        for edit in read_edits(Path(settings.pairs)):
            files += [str(edit.source), str(edit.edited)]
    return PhotoCrops(sorted(set(files)), 192, settings.seed)


def _change_pairs(model: CompactModel, settings: TrainSettings) -> Dataset[dict[str, Tensor]]:
    edits = read_edits(Path(settings.pairs)) if settings.pairs else []
    kept = [edit for edit in edits if edit.split == "train"]
    return ChangePairs(PhotoLibrary(settings.photos), kept, settings.size, settings.seed)


def _quality_items(model: CompactModel, settings: TrainSettings) -> Dataset[dict[str, Tensor]]:
    edits = read_edits(_required(settings.pairs, "--pairs", "score"))
    rated = rated_crops(model, [edit for edit in edits if edit.split == "train"])
    return QualityItems(PhotoLibrary(settings.photos), rated, model.config.crop_side, settings.seed)


def _fit_temperatures(model: CompactModel, settings: TrainSettings) -> None:
    """On the validation groups, which no stage learnt from."""
    edits = read_edits(_required(settings.pairs, "--pairs", "score"))
    model.config.temperatures = list(calibrate(model, rated_crops(model, [e for e in edits if e.split == "val"])))


STAGES: tuple[Stage, ...] = (
    Stage("encode", 1000, 32, 2e-3, _photo_crops, EncodeTask),
    Stage("ground", 3000, 8, 1.2e-3, _change_pairs, GroundTask),
    Stage("score", 800, 4, 2e-3, _quality_items, lambda model, _: QualityTask(model), _fit_temperatures),
)
