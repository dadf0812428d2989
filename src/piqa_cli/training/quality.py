"""The score and explain stages: order and faults from made edits, the scale from ratings of real and of made ones.

What the quality branch reads of the change decoder is computed once, before the first step (`cases`), so that both
stages meet the regions that they will meet at work, and neither can undo what grounding has learnt. Made edits come
without end (`fresh`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from piqa_cli.compact.config import CompactConfig
from piqa_cli.compact.measured import crop_numbers
from piqa_cli.compact.network import MEASURED, CompactModel, Judged, pooled_size, zone_features
from piqa_cli.training.cases import WIDER, Cases, middle_of
from piqa_cli.training.data import U8, reencoded, to_tensor
from piqa_cli.training.fresh import FreshEdit, FreshEdits
from piqa_cli.training.holes import WORST, dig
from piqa_cli.training.losses import fidelity_loss, level_loss, moments, steady_loss

Batch = dict[str, Tensor]
Stage = Literal["score", "explain"]
HANDS = {"score": (8, 2, 7), "explain": (4, 0, 10)}  # rated real edits, rated made ones, fresh ones in two versions
TOLD_APART = 0.4  # ratings closer than this are not put in order
WORSE = 0.15  # nor severities of two edits closer than this
_SWAPPED, _SWAPPED_BELOW, _UNTOUCHED = 0.1, 3.4, 4.5
_RUINED = 0.06
_SURE_OF_MADE = 0.2  # weight of a made edit's rating: what it costs there says less of real edits
_FEWEST = 20  # ratings from which a spread can be told
_NAMED = 0.15  # severity from which a fault has to be named


@dataclass(frozen=True, slots=True)
class Deck:
    """What scores are learnt from, `made` as neighbouring rows (better, worse); None: that source has no part in it."""

    real: Cases | None = None
    rated: Cases | None = None
    made: Cases | None = None


class Hands(Dataset[Batch]):
    """Hands of edits: item i is a pure function of seed and i.

    Every array of a hand has a row an edit. `source`, `edited`: 3 x S x S uint8; `mask`: 1 x S x S; `area`: 1; the
    rest as in `Cases`, `inside` and `outside` NaN for fresh edits. `sure`: 1 for real edits, less for made ones, whose
    ratings say less of real ones.
    """

    def __init__(
        self, deck: Deck, fresh: FreshEdits | None, config: CompactConfig, seed: int, stage: Stage = "score"
    ) -> None:
        self.real, self.rated, self.fresh = deck.real, deck.rated, fresh
        self.side, self.seed, self.stage, self.counts = config.crop_side, seed, stage, HANDS[stage]
        self.pooled = pooled_size(config)

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.seed, 7, index))
        rows = []
        for cases, count in ((self.real, self.counts[0]), (self.rated, self.counts[1])):
            if cases is not None:
                rows += [self._row(cases, i, rng) for i in rng.integers(len(cases), size=count).tolist()]
        if self.fresh is not None:
            for number in range(self.counts[2]):
                draws = int(rng.integers(2**31))
                rows += [
                    self._fresh_row(edit, np.random.default_rng(draws))
                    for edit in self.fresh[self.counts[2] * index + number]
                ]
        return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}

    def _row(self, cases: Cases, index: int, rng: np.random.Generator) -> Batch:
        source, edited, mask = self._window((cases.source[index], cases.edited[index], cases.mask[index]), rng)
        names = ("area", "measured", "inside", "outside", "severities", "faults", "family")
        known = {name: np.array(getattr(cases, name)[index]) for name in names}
        ratings = cases.ratings[index].copy()
        real = cases.family[index] < 0
        if real and rng.random() < _RUINED:
            edited = dig(edited, mask, rng)
            ratings[:], known["faults"][:] = (WORST, WORST, np.nan), np.nan
            known["measured"] = crop_numbers(source, edited, mask.astype(np.float32) / np.float32(255))
        elif real and ratings[1] < _SWAPPED_BELOW and rng.random() < _SWAPPED:
            # The photo as an edit of the edit: as large a change, yet nothing wrong with it.
            source, edited = edited, source
            ratings[:] = (_UNTOUCHED, _UNTOUCHED, np.nan)
        elif rng.random() < 0.3:  # a re-encoding must not move the scores
            edited = reencoded(np.ascontiguousarray(edited), rng)
        return _item(source, edited, mask, **known, ratings=ratings, sure=np.float32(1 if real else _SURE_OF_MADE))

    def _fresh_row(self, edit: FreshEdit, rng: np.random.Generator) -> Batch:
        crop = edit.crop
        source, edited, mask = self._window((crop.source, crop.edited, np.rint(255 * crop.mask).astype(np.uint8)), rng)
        unknown = np.full(self.pooled, np.nan, np.float32)
        measured = unknown[:MEASURED]
        if self.stage == "explain":
            measured = crop_numbers(source, edited, mask.astype(np.float32) / np.float32(255))
        return _item(
            source, edited, mask, area=np.float32(crop.area), measured=measured, inside=unknown, outside=unknown,
            severities=np.array(edit.severities, np.float32), faults=np.array(edit.faults, np.float32),
            family=np.int64(edit.family), ratings=unknown[:3], sure=np.float32(0),
        )  # fmt: skip

    def _window(self, pictures: tuple[U8, U8, U8], rng: np.random.Generator) -> list[U8]:
        wide = pictures[0].shape[0]
        side = int(rng.uniform(0.92 / WIDER, 1.0) * wide)
        y, x = (int(v) for v in rng.integers(0, wide - side + 1, size=2))
        flip = rng.random() < 0.5

        def seen(picture: U8) -> U8:
            part = cv2.resize(picture[y : y + side, x : x + side], (self.side, self.side), interpolation=cv2.INTER_AREA)
            return np.ascontiguousarray(part[:, ::-1] if flip else part, np.uint8)

        return [seen(picture) for picture in pictures]


def _item(source: U8, edited: U8, mask: U8, **known: NDArray[np.generic] | np.generic) -> Batch:
    """A row of a hand; numbers get a place of their own."""
    pictures = {"source": to_tensor(source), "edited": to_tensor(edited)}
    numbers = {name: torch.from_numpy(np.array(value)) for name, value in known.items()}
    numbers["area"] = numbers["area"][None]
    return pictures | {"mask": torch.from_numpy(np.array(mask, np.float32) / 255)[None]} | numbers


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
        judged = self._judged(flat)
        named = {"faults": fault_loss(judged.faults, flat["faults"]), "artefacts": 0.3 * _artefact_loss(judged, flat)}
        return named if self.stage == "explain" else named | _score_losses(judged, flat)

    def _judged(self, flat: Batch) -> Judged:
        """The network's answers: preservation where the whole picture is known, the rest from the crop."""
        quality = self.model.quality
        seen, small = quality.look(_rgb(flat["source"]), _rgb(flat["edited"]), flat["mask"])
        zones = zone_features(seen, small)
        evidence = quality.evidence(seen)
        # Until the tower is trained nothing measured is told, so that it learns to see for itself.
        faults = (
            quality.faults(zone_features(evidence, small))
            if self.stage == "score"
            else quality.name(evidence, small, flat["measured"])
        )

        known = _known(flat)
        summed = torch.cat([flat[name][known] for name in ("inside", "outside", "area")], 1)
        return Judged(
            harmony=quality.harmony.seen(zones),
            naturalness=quality.naturalness.seen(zones),
            preservation=quality.preservation(summed),
            faults=faults,
            artefacts=quality.artefact(evidence),
        )


def _rgb(pictures: Tensor) -> Tensor:
    return pictures.float().div(255).contiguous(memory_format=torch.channels_last)


def _score_losses(judged: Judged, flat: Batch) -> Batch:
    losses: Batch = {}
    everything = torch.arange(len(flat["family"]))
    heads = (("harmony", everything), ("naturalness", everything), ("preservation", _known(flat)))
    for k, (name, rows) in enumerate(heads):
        logits, ratings, badness = getattr(judged, name), flat["ratings"][rows, k], flat["severities"][rows, k]
        made, rated = flat["family"][rows] >= 0, ~torch.isnan(ratings)
        losses[f"level_{name}"] = level_loss(logits, ratings, flat["sure"][rows])
        # What a rater makes of a made edit does not carry over to real ones, nor back: each is ordered among its own
        # kind. Fresh edits are ordered by severity, whatever else is in the picture.
        alike = made[:, None] == made[None, :]
        losses[f"order_{name}"] = 2 * order_loss(logits, -ratings, alike, TOLD_APART)
        fresh = made & ~rated
        losses[f"severity_{name}"] = 3 * order_loss(logits, badness, fresh[:, None] & fresh[None, :], WORSE)
        losses[f"steady_{name}"] = 0.3 * _steady(logits, badness, _twins(fresh))
    return losses


def _known(flat: Batch) -> Tensor:
    """The rows of which it is known what changed in the whole picture."""
    return torch.nonzero(~torch.isnan(flat["inside"]).any(1)).flatten()


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


def fault_loss(logits: Tensor, faults: Tensor) -> Tensor:
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
    return severity + 0.5 * (which * sure).sum() / sure.sum().clamp_min(1)


def _artefact_loss(judged: Judged, flat: Batch) -> Tensor:
    """Where an edit is worst is not known, only how bad it is: spread over the region."""
    size = judged.artefacts.shape[-2], judged.artefacts.shape[-1]
    by_rating = ((4.6 - flat["ratings"][:, 1]) / 3.6).clamp(0, 1)
    badness = torch.where(flat["family"] >= 0, flat["severities"][:, :2].amax(1), by_rating)
    target = F.adaptive_avg_pool2d(flat["mask"], size) * torch.nan_to_num(badness)[:, None, None, None]
    return F.binary_cross_entropy_with_logits(judged.artefacts.float(), target)


def case_batches(model: CompactModel, cases: Cases, size: int = 32) -> Iterator[tuple[Tensor, ...]]:
    """Cases as they are, as `CompactModel.judge` takes them: source, edited, mask, area, measured, inside, outside."""
    middle = middle_of(cases.source.shape[1], model.config.crop_side)
    for start in range(0, len(cases), size):
        rows = slice(start, start + size)
        pictures = [
            _rgb(torch.from_numpy(array[rows, middle, middle]).permute(0, 3, 1, 2))
            for array in (cases.source, cases.edited)
        ]
        mask = torch.from_numpy(cases.mask[rows, middle, middle]).float().div(255)[:, None]
        known = [torch.from_numpy(getattr(cases, name)[rows]) for name in ("measured", "inside", "outside")]
        yield *pictures, mask, torch.from_numpy(cases.area[rows])[:, None], *known


@torch.inference_mode()
def judge_cases(model: CompactModel, cases: Cases) -> Judged:
    """The network's answers for cases as they are, without random windows."""
    model.train(False)
    parts = [
        model.judge(source, edited, mask, area, measured, (inside, outside))
        for source, edited, mask, area, measured, inside, outside in case_batches(model, cases)
    ]
    return Judged(**{f.name: torch.cat([getattr(part, f.name) for part in parts]).float() for f in fields(Judged)})


Three = tuple[float, float, float]


def calibrate(model: CompactModel, held_out: list[Cases]) -> tuple[Three, Three]:
    """Temperatures and widenings of harmony, naturalness and preservation, on ratings that no stage learnt from.

    At the temperature the 80 % intervals hold 80 % of all of them. Real and made edits are judged unlike well, so the
    spreads are then widened until they hold 80 % of the worse judged lot. What hardly anybody rated stays as it is.
    """
    judged = [judge_cases(model, cases) for cases in held_out]
    ratings = [torch.from_numpy(cases.ratings) for cases in held_out]
    temperatures, widenings = [], []
    for k, name in enumerate(("harmony", "naturalness", "preservation")):
        lots = [(getattr(part, name), truth[:, k]) for part, truth in zip(judged, ratings, strict=True)]
        if sum(int((~torch.isnan(truth)).sum()) for _, truth in lots) < _FEWEST:
            temperatures.append(model.config.temperatures[k])
            widenings.append(model.config.widening[k])
            continue
        temperature = _temperature(torch.cat([logits for logits, _ in lots]), torch.cat([truth for _, truth in lots]))
        temperatures.append(temperature)
        widenings.append(max(1.0, *(_widening(logits / temperature, truth) for logits, truth in lots)))
    return (temperatures[0], temperatures[1], temperatures[2]), (widenings[0], widenings[1], widenings[2])


def _widening(logits: Tensor, truth: Tensor) -> float:
    """By how much 80 % intervals have to be wider to hold 80 % of the truths."""
    known = ~torch.isnan(truth)
    mean, variance = moments(logits[known])
    return float(((truth[known] - mean).abs() / (1.2816 * variance.clamp_min(1e-6).sqrt())).quantile(0.8))


def _temperature(logits: Tensor, truth: Tensor) -> float:
    known = ~torch.isnan(truth)
    logits, truth = logits[known], truth[known]

    def coverage(temperature: float) -> float:
        mean, variance = moments(logits / temperature)
        return float(((truth - mean).abs() <= 1.2816 * variance.clamp_min(0).sqrt()).float().mean())

    candidates: list[float] = np.geomspace(0.2, 5, 81).tolist()
    return min(candidates, key=lambda t: abs(coverage(t) - 0.8))
