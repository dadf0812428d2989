"""Losses of the three stages. All give a scalar; logits in, never probabilities."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def change_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Focal-weighted cross-entropy everywhere, and soft Dice where something was edited.

    Dice gives no gradient on an empty mask, so unedited pairs rest on the cross-entropy alone.

    Args:
        logits: N x 1 x h x w.
        target: the same, 0..1.
        weight: the same, 0 where the truth is not known.
    """
    logits = logits.float()
    probability = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    focal = cross * (0.25 + 0.75 * (target - probability).abs().detach()) * weight
    overlap = (probability * target * weight).sum((1, 2, 3))
    total = ((probability + target) * weight).sum((1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    whole = (weight.amin((1, 2, 3)) > 0) & (target.sum((1, 2, 3)) > 0)
    return 2 * focal.sum() / weight.sum().clamp_min(1) + 0.5 * (dice * whole).sum() / whole.sum().clamp_min(1)


def soft_levels(values: Tensor, bins: int, low: float = 1.0, high: float = 5.0) -> Tensor:
    """Two-point distributions with the given means: N in low..high -> N x bins (NaN values give uniform rows)."""
    step = (high - low) / (bins - 1)
    position = ((torch.nan_to_num(values, nan=low) - low) / step).clamp(0, bins - 1)
    lower = position.floor().clamp(max=bins - 2)
    upper_share = position - lower
    target = torch.zeros(len(values), bins, device=values.device)
    rows = torch.arange(len(values), device=values.device)
    target[rows, lower.long()] = 1 - upper_share
    target[rows, lower.long() + 1] = upper_share
    return target


def level_loss(logits: Tensor, values: Tensor, weight: Tensor) -> Tensor:
    """Squared earth mover's distance to the two-point target plus cross-entropy; NaN values do not count.

    The distance (Hou et al. 2016) knows that 4 is nearer to 5 than 2 is; the entropy term keeps the spread honest.
    `weight`: N, of each value.
    """
    known = ~torch.isnan(values)
    if not bool(known.any()):
        return logits.sum() * 0
    logits, weight = logits[known].float(), weight[known]
    target = soft_levels(values[known], logits.shape[1])
    distance = (logits.softmax(1).cumsum(1) - target.cumsum(1)).square().sum(1)
    cross = -(target * logits.log_softmax(1)).sum(1)
    return ((distance + 0.1 * cross) * weight).sum() / weight.sum()


def moments(logits: Tensor, low: float = 1.0, high: float = 5.0) -> tuple[Tensor, Tensor]:
    """Mean and variance of distributions over evenly spaced levels: ... x bins -> ..., ...; a level of -inf is none."""
    levels = torch.linspace(low, high, logits.shape[-1], device=logits.device)
    p = logits.float().softmax(-1)
    mean = (p * levels).sum(-1)
    return mean, (p * levels.square()).sum(-1) - mean.square()


def beats(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], least: float = 1e-4) -> Tensor:
    """Probability that the first is preferred to the second, both (mean, variance) of opinion (Thurstone 1927).

    `least`: variance of the difference that is there anyway.
    """
    (a, va), (b, vb) = first, second
    z = (a - b) / (va + vb + least).sqrt()
    chance: Tensor = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    return chance


def fidelity_loss(better: Tensor, worse: Tensor) -> Tensor:
    """Thurstone's probability that `better` beats `worse`, scored by fidelity (Tsai et al. 2007): 1 - sqrt(p).

    Both are N x bins logits of the same photo and mask at two severities.
    """
    return (1 - (beats(moments(better), moments(worse)) + 1e-6).sqrt()).mean()


def steady_loss(a: Tensor, b: Tensor) -> Tensor:
    """Two views that must get the same score (a re-encoding, the other fault's severity): N x bins logits each."""
    return F.smooth_l1_loss(moments(a)[0], moments(b)[0], beta=0.25)
