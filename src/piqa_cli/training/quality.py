"""The score stage: order from synthetic severity, the scale from rated real edits.

The encoder and the change decoder stand still here, so every real edit is grounded once, by the network
itself, and the quality branch meets the regions that it will meet at work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from piqa_cli.compact.framing import Crop, crop_region, open_frame
from piqa_cli.compact.grounding import ground_frame
from piqa_cli.compact.network import FAULTS, CompactModel, Judged, drift
from piqa_cli.synthesis import PhotoLibrary, Sample, make_severity_pair
from piqa_cli.training.data import reencoded, to_tensor
from piqa_cli.training.edits import RatedEdit, load_mask, load_rgb
from piqa_cli.training.losses import fidelity_loss, level_loss, steady_loss

U8 = NDArray[np.uint8]
Batch = dict[str, Tensor]
_SYNTHETIC_SIDE = 320
_REAL_PER_ITEM = 6


@dataclass(frozen=True, slots=True, eq=False)
class RatedCrop:
    """A rated edit as the quality branch sees it: crop, pooled drift (3C and 15 numbers), and the ratings."""

    crop: Crop
    change: NDArray[np.float32]
    pixels: NDArray[np.float32]
    ratings: tuple[float, float, float]  # harmony, naturalness, preservation


@torch.inference_mode()
def rated_crops(model: CompactModel, edits: Sequence[RatedEdit]) -> list[RatedCrop]:
    """Grounds every edit with the network as it is; a known mask stands for half of those that have one."""
    model.train(False)
    answer = []
    for index, edit in enumerate(edits):
        source, edited = load_rgb(edit.source), load_rgb(edit.edited)
        frame = open_frame(
            source, edited, source_size=(source.shape[0], source.shape[1]),
            edited_size=(edited.shape[0], edited.shape[1]), exclude=None,
        )  # fmt: skip
        known = None
        if edit.mask is not None and index % 2:
            known = load_mask(edit.mask, frame.size)
        mask, (change, pixels) = ground_frame(model, frame, known)
        crop = crop_region(frame, mask, model.config.crop_side)
        answer.append(
            RatedCrop(crop, change[0].numpy(), pixels[0].numpy(), (edit.harmony, edit.naturalness, edit.preserved))
        )
    return answer


class QualityItems(Dataset[Batch]):
    """Six rated real edits and a pair of synthetic ones (better, worse) per item."""

    def __init__(self, library: PhotoLibrary, rated: Sequence[RatedCrop], side: int, seed: int) -> None:
        self.library, self.rated, self.side, self.seed = library, rated, side, seed

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.seed, 7, index))
        real = [self._real(self.rated[int(rng.integers(len(self.rated)))], rng) for _ in range(_REAL_PER_ITEM)]
        samples = make_severity_pair(self.library, self.seed * 1_000_003 + index, _SYNTHETIC_SIDE, "train")
        made = [_synthetic(sample, self.side) for sample in samples]
        return {key: torch.stack([item[key] for item in real]) for key in real[0]} | {
            f"made_{key}": torch.stack([item[key] for item in made]) for key in made[0]
        }

    def _real(self, item: RatedCrop, rng: np.random.Generator) -> Batch:
        source, edited, mask = item.crop.source, item.crop.edited, item.crop.mask
        if rng.random() < 0.5:
            source, edited, mask = source[:, ::-1], edited[:, ::-1], mask[:, ::-1]
        # A re-encoding of the file must not move the scores; the rating stays the same.
        if rng.random() < 0.3:
            edited = reencoded(np.ascontiguousarray(edited), rng)
        return _crop_tensors(source, edited, mask, item.crop.area) | {
            "change": torch.tensor(item.change),
            "pixels": torch.tensor(item.pixels),
            "ratings": torch.tensor(item.ratings),
        }


def _crop_tensors(source: U8, edited: U8, mask: NDArray[np.float32], area: float) -> Batch:
    return {
        "source": to_tensor(source),
        "edited": to_tensor(edited),
        "mask": torch.from_numpy(np.array(mask, np.float32))[None],
        "area": torch.tensor([area], dtype=torch.float32),
    }


def _synthetic(sample: Sample, side: int) -> Batch:
    """The sample's crop for harmony and naturalness, and the whole of it, smaller, for preservation."""
    size = (sample.edited.shape[0], sample.edited.shape[1])
    frame = open_frame(sample.source, sample.edited, source_size=size, edited_size=size, exclude=None)
    crop = crop_region(frame, sample.mask, side)
    faults = dict(sample.faults)
    return _crop_tensors(crop.source, crop.edited, crop.mask, crop.area) | {
        "whole_source": to_tensor(frame.source),
        "whole_edited": to_tensor(frame.edited),
        "whole_mask": torch.from_numpy(np.array(sample.mask, np.float32))[None],
        "faults": torch.tensor([faults.get(fault, 0.0) for fault in FAULTS]),
        "severities": torch.tensor([sample.harmony_severity, sample.naturalness_severity, sample.drift_severity]),
    }


def _rgb(pictures: Tensor) -> Tensor:
    return pictures.float().div(255).contiguous(memory_format=torch.channels_last)


class QualityTask:
    """Trains the quality branch alone."""

    def __init__(self, model: CompactModel) -> None:
        self.model = model
        for part in (model.encoder, model.decoder):
            part.eval().requires_grad_(False)

    def parameters_of(self) -> nn.Module:
        """The quality branch."""
        quality: nn.Module = self.model.quality
        return quality

    def losses(self, batch: Batch) -> Batch:
        """The items of `QualityItems`, batched: N x 6 of what is real, N x 2 of what was made."""
        flat = {key: value.flatten(0, 1) for key, value in batch.items()}
        real, made = self._judge(flat)
        heads = (real.harmony, real.naturalness, real.preservation)
        ratings = flat["ratings"]
        losses = {
            f"level_{name}": level_loss(logits, ratings[:, k])
            for k, (name, logits) in enumerate(zip(("h", "n", "p"), heads, strict=True))
        }
        losses["order_real"] = 3 * torch.stack([_order(h, -ratings[:, k], 0.4) for k, h in enumerate(heads)]).mean()
        losses |= _severity_losses(made, flat["made_severities"])
        losses["faults"] = F.binary_cross_entropy_with_logits(made.faults.float(), flat["made_faults"])
        # Where the edit is worst is not known, only how bad it is: spread over the region.
        target = F.adaptive_avg_pool2d(flat["made_mask"], (made.artefacts.shape[-2], made.artefacts.shape[-1]))
        target = target * flat["made_severities"][:, 1, None, None, None]
        losses["artefacts"] = 0.3 * F.binary_cross_entropy_with_logits(made.artefacts.float(), target)
        return losses

    def _judge(self, flat: Batch) -> tuple[Judged, Judged]:
        """Real and made edits in one pass, so that normalisation sees what it will see of both."""
        joined = {key: torch.cat([flat[key], flat[f"made_{key}"]]) for key in ("source", "edited", "mask", "area")}
        change, pixels = self._outside(flat)
        outside = torch.cat([flat["change"], change]), torch.cat([flat["pixels"], pixels])
        source, edited = _rgb(joined["source"]), _rgb(joined["edited"])
        judged = self.model.judge(source, edited, joined["mask"], joined["area"], outside)
        count = len(flat["source"])
        return _rows(judged, slice(None, count)), _rows(judged, slice(count, None))

    @torch.no_grad()
    def _outside(self, flat: Batch) -> tuple[Tensor, Tensor]:
        grounded, evidence = self.model.ground(_rgb(flat["made_whole_source"]), _rgb(flat["made_whole_edited"]))
        return drift(grounded, evidence, F.avg_pool2d(flat["made_whole_mask"], 2))


def _rows(judged: Judged, rows: slice) -> Judged:
    return Judged(**{field.name: getattr(judged, field.name)[rows] for field in fields(Judged)})


def _severity_losses(made: Judged, severities: Tensor) -> Batch:
    """Rows come as (better, worse) of one edit: severity decides the order, and only of what it harms."""
    losses: Batch = {}
    for k, (name, logits) in enumerate((("h", made.harmony), ("n", made.naturalness))):
        pair, amounts = logits.view(-1, 2, logits.shape[1]), severities[:, k].view(-1, 2)
        harmed = amounts[:, 1] - amounts[:, 0] > 0.05
        if bool(harmed.any()):
            losses[f"order_{name}"] = 2 * fidelity_loss(pair[harmed, 0], pair[harmed, 1])
        if bool((~harmed).any()):
            losses[f"steady_{name}"] = 0.3 * steady_loss(pair[~harmed, 0], pair[~harmed, 1])
    losses["order_p"] = 0.5 * _order(made.preservation, severities[:, 2], 0.25)
    return losses


def _order(logits: Tensor, badness: Tensor, margin: float) -> Tensor:
    """Fidelity ranking over all pairs of a batch whose badness (N) differs by more than the margin."""
    better, worse = torch.nonzero(badness[None, :] - badness[:, None] > margin, as_tuple=True)
    return fidelity_loss(logits[better], logits[worse]) if len(better) else logits.sum() * 0


@torch.inference_mode()
def calibrate(model: CompactModel, rated: Sequence[RatedCrop]) -> tuple[float, float, float]:
    """Temperatures at which the 80 % intervals hold 80 % of held-out ratings: harmony, naturalness, preservation."""
    model.train(False)
    rows: list[list[Tensor]] = [[], [], []]
    for item in rated:
        tensors = _crop_tensors(item.crop.source, item.crop.edited, item.crop.mask, item.crop.area)
        judged = model.judge(
            _rgb(tensors["source"][None]), _rgb(tensors["edited"][None]), tensors["mask"][None],
            tensors["area"][None], (torch.tensor(item.change)[None], torch.tensor(item.pixels)[None]),
        )  # fmt: skip
        for row, logits in zip(rows, (judged.harmony, judged.naturalness, judged.preservation), strict=True):
            row.append(logits.float())
    ratings = torch.tensor([item.ratings for item in rated])
    found = [_temperature(torch.cat(row), ratings[:, k]) for k, row in enumerate(rows)]
    return found[0], found[1], found[2]


def _temperature(logits: Tensor, truth: Tensor) -> float:
    levels = torch.linspace(1, 5, logits.shape[1])

    def coverage(temperature: float) -> float:
        p = (logits / temperature).softmax(1)
        mean = (p * levels).sum(1)
        spread = 1.2816 * ((p * levels.square()).sum(1) - mean.square()).clamp_min(0).sqrt()
        return float(((truth - mean).abs() <= spread).float().mean())

    candidates: list[float] = np.geomspace(0.2, 5, 81).tolist()
    return min(candidates, key=lambda t: abs(coverage(t) - 0.8))
