"""The score and explain stages: order from synthetic severity, the scale from ratings of real and of made edits.

What the quality branch reads of the change decoder is computed once, before the first step (`cases`), so that both
stages meet the regions that they will meet at work, and neither can undo what grounding has learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from piqa_cli.compact.network import CompactModel, Judged
from piqa_cli.training.cases import WIDER, Cases
from piqa_cli.training.data import U8, reencoded, to_tensor
from piqa_cli.training.losses import fidelity_loss, level_loss, moments, steady_loss

Batch = dict[str, Tensor]
Stage = Literal["score", "explain"]
HANDS = {"score": (12, 2, 2), "explain": (4, 2, 6)}  # rated real edits, rated made ones, made ones in two versions
TOLD_APART = 0.4  # ratings closer than this are not put in order
WORSE = 0.15  # nor severities of two edits closer than this
_SWAPPED, _SWAPPED_BELOW, _UNTOUCHED = 0.1, 3.4, 4.5
_SURE_OF_MADE = 0.2  # weight of a made edit's rating: what it costs there says less of real edits
_NAMED = 0.15  # severity from which a fault has to be named


@dataclass(frozen=True, slots=True)
class Deck:
    """What hands are dealt from, `made` as neighbouring rows (better, worse); None: that source has no part in it."""

    real: Cases | None = None
    rated: Cases | None = None
    made: Cases | None = None


class Hands(Dataset[Batch]):
    """Hands of cases: item i is a pure function of seed and i.

    Every array of a hand has a row a case. `source`, `edited`: 3 x S x S uint8; `mask`: 1 x S x S; `area`: 1; the
    rest as in `Cases`. `sure`: 1 for real edits, less for made ones, whose ratings say less of real ones.
    """

    def __init__(self, deck: Deck, side: int, seed: int, stage: Stage = "score") -> None:
        self.deck, self.side, self.seed = deck, side, seed
        self.real, self.rated, self.twins = HANDS[stage]

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.seed, 7, index))
        rows = []
        for cases, count in ((self.deck.real, self.real), (self.deck.rated, self.rated)):
            if cases is not None:
                rows += [self._row(cases, i, rng) for i in rng.integers(len(cases), size=count).tolist()]
        if self.deck.made is not None:
            better = 2 * rng.integers(len(self.deck.made) // 2, size=self.twins)
            both = [row for first in better.tolist() for row in (first, first + 1)]
            rows += [self._row(self.deck.made, i, rng) for i in both]
        return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}

    def _row(self, cases: Cases, index: int, rng: np.random.Generator) -> Batch:
        source, edited, mask = self._window((cases.source[index], cases.edited[index], cases.mask[index]), rng)
        ratings = cases.ratings[index].copy()
        real = cases.family[index] < 0
        if real and ratings[1] < _SWAPPED_BELOW and rng.random() < _SWAPPED:
            # The photo as an edit of the edit: as large a change, yet nothing wrong with it.
            source, edited = edited, source
            ratings[:] = (_UNTOUCHED, _UNTOUCHED, np.nan)
        elif rng.random() < 0.3:  # a re-encoding must not move the scores
            edited = reencoded(np.ascontiguousarray(edited), rng)
        return {
            "source": to_tensor(source),
            "edited": to_tensor(edited),
            "mask": torch.from_numpy(np.array(mask, np.float32) / 255)[None],
            "area": torch.tensor([cases.area[index]]),
            "inside": torch.from_numpy(cases.inside[index]),
            "outside": torch.from_numpy(cases.outside[index]),
            "ratings": torch.from_numpy(ratings),
            "severities": torch.from_numpy(cases.severities[index]),
            "faults": torch.from_numpy(cases.faults[index]),
            "family": torch.tensor(cases.family[index]),
            "sure": torch.tensor(1.0 if real else _SURE_OF_MADE),
        }

    def _window(self, pictures: tuple[U8, U8, U8], rng: np.random.Generator) -> list[U8]:
        wide = pictures[0].shape[0]
        side = int(rng.uniform(0.92 / WIDER, 1.0) * wide)
        y, x = (int(v) for v in rng.integers(0, wide - side + 1, size=2))
        flip = rng.random() < 0.5

        def seen(picture: U8) -> U8:
            part = cv2.resize(picture[y : y + side, x : x + side], (self.side, self.side), interpolation=cv2.INTER_AREA)
            return np.ascontiguousarray(part[:, ::-1] if flip else part, np.uint8)

        return [seen(picture) for picture in pictures]


class QualityTask:
    """Trains the quality branch: all of it (score), or only the parts that name and place faults (explain)."""

    def __init__(self, model: CompactModel, stage: Stage) -> None:
        self.model, self.stage = model, stage
        self.quality: nn.Module = model.quality
        if stage == "score":
            model.quality.encoder.load_state_dict(model.encoder.state_dict())
            self.quality.train().requires_grad_(True)
        else:
            self.quality.eval().requires_grad_(False)
            for part in model.quality.explaining():
                part.train().requires_grad_(True)

    def parameters_of(self) -> nn.Module:
        """The quality branch."""
        return self.quality

    def losses(self, batch: Batch) -> Batch:
        """The items of `Hands`, batched: N x rows of everything."""
        flat = {key: value.flatten(0, 1) for key, value in batch.items()}
        summary = flat["inside"], flat["outside"]
        judged = self.model.judge(_rgb(flat["source"]), _rgb(flat["edited"]), flat["mask"], flat["area"], summary)
        named = {"faults": _fault_loss(judged.faults, flat["faults"]), "artefacts": 0.3 * _artefact_loss(judged, flat)}
        if self.stage == "explain":
            return named
        return _score_losses(judged, flat) | {key: 0.5 * value for key, value in named.items()}


def _rgb(pictures: Tensor) -> Tensor:
    return pictures.float().div(255).contiguous(memory_format=torch.channels_last)


def _score_losses(judged: Judged, flat: Batch) -> Batch:
    losses: Batch = {}
    real, unrated = flat["family"] < 0, torch.isnan(flat["ratings"][:, 0]) & (flat["family"] >= 0)
    twins = _twins(unrated)
    # What a rater makes of a made edit does not carry over to real ones, nor back: each is ordered among its own kind.
    alike = real[:, None] == real[None, :]
    heads = ((judged.harmony, "h"), (judged.naturalness, "n"), (judged.preservation, "p"))
    for k, (logits, name) in enumerate(heads):
        ratings, badness = flat["ratings"][:, k], flat["severities"][:, k]
        losses[f"level_{name}"] = level_loss(logits, ratings, flat["sure"])
        losses[f"order_{name}"] = 2 * order_loss(logits, -ratings, alike, TOLD_APART)
        # What else is in the picture weighs more with a rater than a fault's severity does, so that severity only
        # tells two versions of one edit apart.
        losses[f"twins_{name}"] = 2 * order_loss(logits, badness, twins, WORSE)
        losses[f"steady_{name}"] = 0.3 * _steady(logits, badness, twins)
    return losses


def _twins(unrated: Tensor) -> Tensor:
    """N x N, true for the two versions of one made edit, which lie one behind the other."""
    pairs = torch.nonzero(unrated).flatten().view(-1, 2)
    together = torch.zeros(len(unrated), len(unrated), dtype=torch.bool)
    together[pairs[:, 0], pairs[:, 1]] = together[pairs[:, 1], pairs[:, 0]] = True
    return together


def _steady(logits: Tensor, badness: Tensor, twins: Tensor) -> Tensor:
    """Two versions that differ in a fault of the other dimension only have one score."""
    a, b = torch.nonzero(twins & ((badness[:, None] - badness[None, :]).abs() < 0.05), as_tuple=True)
    return steady_loss(logits[a], logits[b]) if len(a) else logits.sum() * 0


def order_loss(logits: Tensor, badness: Tensor, comparable: Tensor, margin: float) -> Tensor:
    """Fidelity ranking over the comparable (N x N) pairs whose badness (N, NaN: unknown) differs by the margin."""
    apart = badness[None, :] - badness[:, None] > margin  # NaN compares false
    better, worse = torch.nonzero(apart & comparable, as_tuple=True)
    return fidelity_loss(logits[better], logits[worse]) if len(better) else logits.sum() * 0


def _fault_loss(logits: Tensor, faults: Tensor) -> Tensor:
    """Severity of each known fault, and which is the main one: N x 12 logits, N x 12 severities or NaN."""
    logits, known = logits.float(), ~torch.isnan(faults)
    amounts, all_known = torch.nan_to_num(faults), known.all(1)
    each = F.binary_cross_entropy_with_logits(logits, amounts, reduction="none").mean(1)
    main = amounts * (amounts >= amounts.amax(1, keepdim=True) - 1e-6) * (amounts >= _NAMED)
    has = main.sum(1) > 0
    share = main / main.sum(1, keepdim=True).clamp_min(1e-6)
    which = -(share * logits.log_softmax(1)).sum(1)
    # A recipe names all faults and how bad each is; a remark names what struck the judge, and nothing of the rest.
    sure = has * torch.where(all_known, 1.0, 0.2)
    severity = (each * all_known).sum() / all_known.sum().clamp_min(1)
    return severity + 0.3 * (which * sure).sum() / sure.sum().clamp_min(1)


def _artefact_loss(judged: Judged, flat: Batch) -> Tensor:
    """Where an edit is worst is not known, only how bad it is: spread over the region."""
    size = judged.artefacts.shape[-2], judged.artefacts.shape[-1]
    by_rating = ((4.6 - flat["ratings"][:, 1]) / 3.6).clamp(0, 1)
    badness = torch.where(flat["family"] >= 0, flat["severities"][:, :2].amax(1), by_rating)
    target = F.adaptive_avg_pool2d(flat["mask"], size) * torch.nan_to_num(badness)[:, None, None, None]
    return F.binary_cross_entropy_with_logits(judged.artefacts.float(), target)


def case_batches(model: CompactModel, cases: Cases, size: int = 32) -> Iterator[tuple[Tensor, ...]]:
    """Cases as they are, as `CompactModel.judge` takes them: source, edited, mask, area, inside, outside."""
    side = model.config.crop_side
    margin = (cases.source.shape[1] - side) // 2
    middle = slice(margin, margin + side)
    for start in range(0, len(cases), size):
        rows = slice(start, start + size)
        pictures = [
            _rgb(torch.from_numpy(array[rows, middle, middle]).permute(0, 3, 1, 2))
            for array in (cases.source, cases.edited)
        ]
        mask = torch.from_numpy(cases.mask[rows, middle, middle]).float().div(255)[:, None]
        area, inside, outside = (torch.from_numpy(array[rows]) for array in (cases.area, cases.inside, cases.outside))
        yield *pictures, mask, area[:, None], inside, outside


@torch.inference_mode()
def judge_cases(model: CompactModel, cases: Cases) -> Judged:
    """The network's answers for cases as they are, without random windows."""
    model.train(False)
    parts = [
        model.judge(source, edited, mask, area, (inside, outside))
        for source, edited, mask, area, inside, outside in case_batches(model, cases)
    ]
    return Judged(**{f.name: torch.cat([getattr(part, f.name) for part in parts]).float() for f in fields(Judged)})


def calibrate(model: CompactModel, held_out: list[Cases]) -> tuple[float, float, float]:
    """Temperatures at which the 80 % intervals hold 80 % of held-out ratings: harmony, naturalness, preservation."""
    judged = [judge_cases(model, cases) for cases in held_out]
    ratings = torch.cat([torch.from_numpy(cases.ratings) for cases in held_out])
    found = [
        _temperature(torch.cat([getattr(part, name) for part in judged]), ratings[:, k])
        for k, name in enumerate(("harmony", "naturalness", "preservation"))
    ]
    return found[0], found[1], found[2]


def _temperature(logits: Tensor, truth: Tensor) -> float:
    known = ~torch.isnan(truth)
    logits, truth = logits[known], truth[known]

    def coverage(temperature: float) -> float:
        mean, variance = moments(logits / temperature)
        return float(((truth - mean).abs() <= 1.2816 * variance.clamp_min(0).sqrt()).float().mean())

    candidates: list[float] = np.geomspace(0.2, 5, 81).tolist()
    return min(candidates, key=lambda t: abs(coverage(t) - 0.8))
