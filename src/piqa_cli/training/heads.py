"""The heads of the score and explain stages, settled at their end: on the features of whole cases, in seconds.

What ranks real edits is learnt best from few numbers, what sees faults from pixels; so the tower is trained end to end
first, and then the heads anew upon it, with more of everything that keeps them from learning the cases by heart.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from piqa_cli.compact.network import CompactModel, spread_out, zone_features
from piqa_cli.training.cases import Cases
from piqa_cli.training.loop import Plan
from piqa_cli.training.losses import level_loss, moments
from piqa_cli.training.quality import TOLD_APART, WORSE, Deck, case_batches, fault_loss, order_loss

_STEPS, _REAL, _MADE = 200, 64, 24  # rows of a step: of real edits, of made ones
_FAULT_STEPS, _FAULTY = 1000, 128
_RATE, _DECAY = 2e-3, 0.1
_TUNINGS, _TUNING_STEPS, _TUNING_RATE = 12, 25, 5e-4  # rounds, each judged on the ratings held out


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the heads read of N cases: N x 5C, N x (2 (3C + 15) + 1), N x MEASURED; truths as in `Cases`."""

    seen: Tensor
    summed: Tensor
    measured: Tensor
    ratings: Tensor
    severities: Tensor

    def __len__(self) -> int:
        return len(self.seen)


@torch.inference_mode()
def features_of(model: CompactModel, cases: Cases) -> Features:
    """The features of cases as they are, without random windows."""
    model.train(False)
    seen, summed = [], []
    for source, edited, mask, area, _, inside, outside in case_batches(model, cases):
        tower, small = model.quality.look(source, edited, mask)
        seen.append(zone_features(tower, small))
        summed.append(torch.cat([inside, outside, area], 1))
    rest = (torch.from_numpy(array) for array in (cases.measured, cases.ratings, cases.severities))
    return Features(torch.cat(seen), torch.cat(summed), *rest)


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """What the heads learn from, `made` as neighbouring rows (better, worse); None: that source has no part in it."""

    real: Features | None = None
    rated: Features | None = None
    made: Features | None = None


def sources_of(model: CompactModel, deck: Deck) -> Sources:
    """The features of a deck's cases."""
    lots = (deck.real, deck.rated, deck.made)
    return Sources(*(None if cases is None else features_of(model, cases) for cases in lots))


def settle_heads(model: CompactModel, sources: Sources, seed: int) -> None:
    """Trains harmony, naturalness and preservation anew on frozen features, from all the sources that there are."""
    learnt = ((_real_loss, sources.real), (_rated_loss, sources.rated), (_made_loss, sources.made))
    lots = [(loss, features) for loss, features in learnt if features is not None]
    heads = nn.ModuleList([model.quality.harmony, model.quality.naturalness, model.quality.preservation])

    def total() -> Tensor:
        return torch.stack([loss(model, features) for loss, features in lots]).sum()

    _settle(heads, total, Plan("heads", _STEPS, _RATE, warmup=0), seed)
    model.train(False)


@torch.inference_mode()
def level_means(model: CompactModel, features: Features) -> Tensor:
    """What the heads make of N cases: N x 3 values of harmony, naturalness and preservation."""
    model.train(False)
    return torch.stack([moments(logits)[0] for logits in _levels(model, features, torch.arange(len(features)))], 1)


@torch.inference_mode()
def _evidence_of(model: CompactModel, cases: Cases) -> Tensor:
    """What the fault head reads of N cases: N x 5C."""
    model.train(False)
    zones = []
    for source, edited, mask, *_ in case_batches(model, cases):
        tower, small = model.quality.look(source, edited, mask)
        zones.append(zone_features(model.quality.evidence(tower), small))
    return torch.cat(zones)


def settle_faults(model: CompactModel, lots: Sequence[Cases], seed: int) -> None:
    """Trains the parts that name faults anew on frozen features of made edits, whose faults are all known."""
    evidence = torch.cat([_evidence_of(model, cases) for cases in lots]).clone()
    measured = torch.cat([torch.from_numpy(cases.measured) for cases in lots])
    truth = torch.cat([torch.from_numpy(cases.faults) for cases in lots])
    quality = model.quality
    named = nn.ModuleList([quality.faults, quality.measured_faults])

    def loss() -> Tensor:
        rows = torch.randint(len(truth), (_FAULTY,))
        logits: Tensor = quality.faults(evidence[rows]) + quality.measured_faults(spread_out(measured[rows]))
        return fault_loss(logits, truth[rows])

    _settle(named, loss, Plan("faults", _FAULT_STEPS, _RATE, warmup=0), seed)
    model.train(False)


def tune_heads(model: CompactModel, learnt: Features, held_out: Features, seed: int) -> None:
    """Trains the heads of what was rated on, from where they are; the state that errs least on `held_out` stays."""
    quality = model.quality
    heads = (quality.harmony, quality.naturalness, quality.preservation)
    rated = [k for k in range(len(heads)) if bool((~torch.isnan(learnt.ratings[:, k])).any())]
    tuned = nn.ModuleList([heads[k] for k in rated])
    best, kept = _error(model, held_out, rated), copy.deepcopy(tuned.state_dict())
    torch.manual_seed(seed)
    for _ in range(_TUNINGS):
        _train(tuned, lambda: _real_loss(model, learnt), Plan("heads", _TUNING_STEPS, _TUNING_RATE, warmup=0))
        error = _error(model, held_out, rated)
        if error < best:
            best, kept = error, copy.deepcopy(tuned.state_dict())
    tuned.load_state_dict(kept)
    model.train(False)


@torch.inference_mode()
def _error(model: CompactModel, features: Features, rated: Sequence[int]) -> float:
    model.train(False)
    levels = _levels(model, features, torch.arange(len(features)))
    sure = torch.ones(len(features))
    return sum(float(level_loss(levels[k], features.ratings[:, k], sure)) for k in rated)


def _settle(heads: nn.ModuleList, loss: Callable[[], Tensor], plan: Plan, seed: int) -> None:
    """Trains heads from nothing."""
    torch.manual_seed(seed)
    for module in heads.modules():
        if isinstance(module, nn.Linear | nn.BatchNorm1d):
            module.reset_parameters()
    _train(heads, loss, plan)


def _train(heads: nn.ModuleList, loss: Callable[[], Tensor], plan: Plan) -> None:
    heads.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(heads.parameters(), plan.learning_rate, weight_decay=_DECAY)
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step)
        optimiser.zero_grad(set_to_none=True)
        loss().backward()
        optimiser.step()


def _levels(model: CompactModel, features: Features, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    answer: tuple[Tensor, Tensor, Tensor] = model.quality.levels(
        features.seen[rows], features.summed[rows], features.measured[rows]
    )
    return answer


def _real_loss(model: CompactModel, real: Features) -> Tensor:
    """Levels, and the order of every two edits."""
    rows = torch.randint(len(real), (_REAL,))
    everything = torch.ones(_REAL, _REAL, dtype=torch.bool)
    losses = []
    for k, logits in enumerate(_levels(model, real, rows)):
        ratings = real.ratings[rows, k]
        losses += [
            level_loss(logits, ratings, torch.ones(_REAL)),
            2 * order_loss(logits, -ratings, everything, TOLD_APART),
        ]
    return torch.stack(losses).sum()


def _rated_loss(model: CompactModel, rated: Features) -> Tensor:
    rows = torch.randint(len(rated), (_MADE,))
    levels = _levels(model, rated, rows)
    losses = [level_loss(logits, rated.ratings[rows, k], torch.ones(_MADE)) for k, logits in enumerate(levels)]
    return 0.25 * torch.stack(losses).sum()


def _made_loss(model: CompactModel, made: Features) -> Tensor:
    """Better before worse of one edit, whose versions are neighbouring rows.

    Not of different edits: asked to follow severity across them, the heads rank real edits worse (docs/compact.md).
    """
    better = 2 * torch.randint(len(made) // 2, (_MADE,))
    rows = torch.stack([better, better + 1], 1).flatten()
    versions = torch.block_diag(*[torch.ones(2, 2)] * _MADE).bool()
    levels = _levels(model, made, rows)[:2]
    losses = [order_loss(logits, made.severities[rows, k], versions, WORSE) for k, logits in enumerate(levels)]
    return 2 * torch.stack(losses).sum()
