"""The stages of the compact assessor: what each learns from, what it trains, what it minimises.

encode   the encoder imitates two ImageNet networks on photos           (stage 0, before the paper's three)
ground   encoder and change decoder find the edit and its kind
score    the quality branch learns order from severity, and the scale from rated edits, real and made
explain  its last layers learn to name the main fault, how bad each is, and where
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from piqa_cli.compact.config import CompactConfig
from piqa_cli.compact.network import CompactModel
from piqa_cli.errors import UsageError
from piqa_cli.synthesis import FAMILIES
from piqa_cli.synthesis.photos import PhotoLibrary, split_of
from piqa_cli.training.cases import Cases, made_cases, rated_cases, real_cases
from piqa_cli.training.data import ChangePairs, PhotoCrops
from piqa_cli.training.edits import read_edits
from piqa_cli.training.fresh import FreshEdits
from piqa_cli.training.heads import settle_faults, settle_heads, sources_of
from piqa_cli.training.holes import with_holes
from piqa_cli.training.losses import change_loss
from piqa_cli.training.quality import Deck, Hands, QualityTask, calibrate
from piqa_cli.training.ratings import read_ratings, reproducible
from piqa_cli.training.settings import TrainSettings
from piqa_cli.training.teachers import Distillation

_MADE_EACH = 80  # synthetic edits of every family for the heads of the scores
_HOLES = 120  # real edits painted over, for the same heads


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
    slow: str = ""  # parameters under this name learn slowly
    restarts: tuple[int, ...] = ()  # see `loop.Plan`
    workers: int = 0  # processes that make items; none where they lie in memory


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
    """Every picture but the photos held out for the test, so that no figure is flattered by this stage."""
    photos = [p for p in sorted(Path(settings.photos).iterdir()) if p.suffix in (".jpg", ".png", ".webp")]
    files = [str(photo) for photo in photos if split_of(photo.name) != "test"]
    if settings.pairs is not None:
        for edit in read_edits(Path(settings.pairs)):
            files += [str(edit.source), str(edit.edited)]
    return PhotoCrops(sorted(set(files)), 192, settings.seed)


def _change_pairs(model: CompactModel, settings: TrainSettings) -> Dataset[dict[str, Tensor]]:
    edits = read_edits(Path(settings.pairs)) if settings.pairs else []
    kept = [edit for edit in edits if edit.split == "train"]
    return ChangePairs(PhotoLibrary(settings.photos), kept, settings.size, settings.seed, leave_out=settings.leave_out)


def _cases(settings: TrainSettings, name: str, make: Callable[[], Cases]) -> Cases:
    """Cases, made once a run: what the change decoder says of them no longer changes."""
    path = Path(settings.out) / f"cases-{name}.safetensors"
    if not path.is_file():
        make().save(path)
    return Cases.load(path)


def _real(model: CompactModel, settings: TrainSettings, split: Literal["train", "val"]) -> Cases | None:
    if settings.pairs is None:
        return None
    edits = [edit for edit in read_edits(Path(settings.pairs)) if edit.split == split]
    return _cases(settings, f"real-{split}", lambda: real_cases(model, edits))


def _rated(model: CompactModel, settings: TrainSettings, split: Literal["train", "val"]) -> Cases | None:
    rows = reproducible(
        [row for row in read_ratings((split,)) if row.family not in settings.leave_out], settings.photos
    )
    return _cases(settings, f"rated-{split}", lambda: rated_cases(model, settings.photos, rows)) if rows else None


def _deck(model: CompactModel, settings: TrainSettings) -> Deck:
    families = [family.name for family in FAMILIES if family.name not in settings.leave_out]
    each = min(_MADE_EACH, 2 * (settings.steps or _MADE_EACH))  # a run of a few steps needs only a few
    made = _cases(settings, "made", lambda: made_cases(model, settings.photos, families, each, settings.seed))
    return Deck(_real(model, settings, "train"), _rated(model, settings, "train"), made)


def _hands(model: CompactModel, settings: TrainSettings, stage: Literal["score", "explain"]) -> Hands:
    deck = Deck(_real(model, settings, "train"), _rated(model, settings, "train"))
    seed = settings.seed + (stage == "explain")
    fresh = FreshEdits(settings.photos, model.config.crop_side, seed, settings.leave_out)
    return Hands(deck, fresh, cast(CompactConfig, model.config), seed, stage)


def _score_hands(model: CompactModel, settings: TrainSettings) -> Dataset[dict[str, Tensor]]:
    return _hands(model, settings, "score")


def _explain_hands(model: CompactModel, settings: TrainSettings) -> Dataset[dict[str, Tensor]]:
    return _hands(model, settings, "explain")


def _settle_scores(model: CompactModel, settings: TrainSettings) -> None:
    """The heads anew; temperatures on the validation groups and photos, which no stage learnt from."""
    deck = _deck(model, settings)
    if deck.real is not None:
        deck = replace(deck, real=with_holes(deck.real, _HOLES, model.config.crop_side, settings.seed))
    settle_heads(model, sources_of(model, deck), settings.seed)
    held_out = [cases for cases in (_real(model, settings, "val"), _rated(model, settings, "val")) if cases is not None]
    model.config.temperatures, model.config.widening = map(list, calibrate(model, held_out))


def _settle_faults(model: CompactModel, settings: TrainSettings) -> None:
    deck = _deck(model, settings)
    settle_faults(model, [cases for cases in (deck.made, deck.rated) if cases is not None], settings.seed)


def _open_score(model: CompactModel, settings: TrainSettings) -> Task:
    return QualityTask(model, "score")


def _open_explain(model: CompactModel, settings: TrainSettings) -> Task:
    return QualityTask(model, "explain")


STAGES: tuple[Stage, ...] = (
    Stage("encode", 700, 32, 2e-3, _photo_crops, EncodeTask, workers=2),
    Stage("ground", 3300, 8, 1.2e-3, _change_pairs, GroundTask, restarts=(1800,), workers=2),
    Stage("score", 1000, 1, 1e-3, _score_hands, _open_score, _settle_scores, slow="encoder.", workers=2),
    Stage("explain", 300, 1, 2e-3, _explain_hands, _open_explain, _settle_faults, workers=2),
)
