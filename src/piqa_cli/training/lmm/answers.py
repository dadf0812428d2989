"""How far a model's answers are from those it should have given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from piqa_cli.training.lmm.peers import ALONE, Peers
from piqa_cli.training.losses import beats, moments

Batch = dict[str, Tensor]
OURS = ("labels", "columns", "level_columns", "level_tokens", "level_targets")
"""Entries of a packed batch that are not the model's inputs."""
_LEAST_VARIANCE = 1e-2  # of a preference, in levels: two ratings a tenth of a level apart are no certain order


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """A loss summed over `count` answers; both are tensors without axes."""

    total: Tensor
    count: Tensor


def answer_sums(model: Any, batch: Batch, **options: Any) -> tuple[dict[str, Sum], Any]:
    """The losses of a packed batch, those that it has a truth for, and the model's output.

    written: cross-entropy, summed over the tokens of written answers; a row counts once. levels: divergence
    (Kullback-Leibler) from the wanted distribution over the level words at the first token of each rated answer; over
    the whole vocabulary, so that the model learns to answer with one of them.

    Args:
        model: an image-text-to-text model of transformers.
        batch: as `packing.pack` makes it.
        options: passed on to the model's `forward`.
    """
    columns = batch["columns"]
    inputs = {name: value for name, value in batch.items() if name not in OURS}
    out = model(**inputs, logits_to_keep=columns, use_cache=False, **options)
    sums = {}
    labels = batch["labels"][:, columns]
    if bool((labels >= 0).any()):
        told = out.logits.float().log_softmax(-1)
        total = F.nll_loss(told.flatten(0, 1), labels.flatten(), reduction="sum")
        sums["written"] = Sum(total, (batch["labels"] >= 0).any(1).sum())
    if len(batch["level_columns"]):
        sums["levels"] = _level_sum(level_logs(out, batch), batch["level_targets"])
    return sums, out


def answer_losses(model: Any, batch: Batch, *, peers: Peers = ALONE, **options: Any) -> tuple[dict[str, Tensor], Any]:
    """The means of `answer_sums` over the answers of all processes: averaged gradients are those of one whole batch."""
    sums, out = answer_sums(model, batch, **options)
    return {name: peers.mean(one.total, one.count) for name, one in sums.items()}, out


def level_logs(out: Any, batch: Batch) -> Tensor:
    """Log-probabilities of the level words among all words: rows x turns x levels, -inf where a scale has fewer."""
    place = torch.searchsorted(batch["columns"], batch["level_columns"])
    tokens = batch["level_tokens"]
    told: Tensor = out.logits[:, place].float().log_softmax(-1)
    return told.gather(-1, tokens.clamp_min(0).expand(len(told), -1, -1)).masked_fill(tokens < 0, -torch.inf)


def level_moments(logs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance in levels from the worst, 0, of log-probabilities as `level_logs` gives them."""
    return moments(logs, 0, logs.shape[-1] - 1)


def _level_sum(logs: Tensor, targets: Tensor) -> Sum:
    known = ~torch.isnan(targets).any(-1)
    wanted = torch.nan_to_num(targets)
    # A level that a scale does not have is neither told nor wanted, and 0 x infinity is no number.
    divergence = torch.xlogy(wanted, wanted) - wanted * logs.nan_to_num(neginf=0)
    return Sum((divergence.sum(-1) * known).sum(), known.sum())


def order_loss(out: Any, batch: Batch, peers: Peers = ALONE) -> Tensor:
    """Fidelity (Tsai et al. 2007) of who is preferred to whom, over all pairs of rows of all processes; 0 without any.

    Told and wanted distributions are compared alike, after Thurstone. So a wanted order counts as far as it is certain.
    """
    told = peers.gather(torch.stack(level_moments(level_logs(out, batch)), -1))  # rows x turns x 2
    wanted = peers.gather(torch.stack(level_moments(batch["level_targets"].log()), -1))
    first, second = torch.triu_indices(len(told), len(told), 1, device=told.device)
    truth, guess = (_preferred(one[first], one[second]) for one in (wanted, told))
    known = ~torch.isnan(truth)
    truth, guess = truth[known], guess[known].clamp(1e-6, 1 - 1e-6)
    # Roots apart: that of a product with a truth of 0 has no gradient.
    each = 1 - truth.sqrt() * guess.sqrt() - (1 - truth).sqrt() * (1 - guess).sqrt()
    return peers.whole(each.sum() / known.sum().clamp_min(1))


def _preferred(first: Tensor, second: Tensor) -> Tensor:
    """Probability that the first is preferred: ... x (mean, variance) twice -> ..."""
    return beats((first[..., 0], first[..., 1]), (second[..., 0], second[..., 1]), _LEAST_VARIANCE)
