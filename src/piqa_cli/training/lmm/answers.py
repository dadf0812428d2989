"""How far a model's answers are from those it should have given."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Batch = dict[str, Tensor]
OURS = ("labels", "columns", "level_columns", "level_tokens", "level_targets")
"""Entries of a packed batch that are not the model's inputs."""


def answer_losses(model: Any, batch: Batch, **options: Any) -> tuple[dict[str, Tensor], Any]:
    """The losses of a packed batch, those that it has a truth for, and the model's output.

    written: cross-entropy a row, summed over the tokens of its answers. levels: the same, to the two-point
    distribution over the level words at the first token of an answer; over the whole vocabulary, so that the model
    learns to answer with one of them.

    Args:
        model: an image-text-to-text model of transformers.
        batch: as `packing.pack` makes it.
        options: passed on to the model's `forward`.
    """
    columns = batch["columns"]
    inputs = {name: value for name, value in batch.items() if name not in OURS}
    out = model(**inputs, logits_to_keep=columns, use_cache=False, **options)
    told = out.logits.float().log_softmax(-1)  # rows x columns x vocabulary
    losses = {}
    labels = batch["labels"][:, columns]
    if bool((labels >= 0).any()):
        losses["written"] = F.nll_loss(told.flatten(0, 1), labels.flatten(), reduction="sum") / len(labels)
    if len(batch["level_columns"]):
        losses["levels"] = _level_loss(told, batch)
    return losses, out


def _level_loss(told: Tensor, batch: Batch) -> Tensor:
    place = torch.searchsorted(batch["columns"], batch["level_columns"])
    tokens = batch["level_tokens"].clamp_min(0)
    levels = told[:, place].gather(-1, tokens.expand(len(told), -1, -1))  # rows x turns x levels
    targets = batch["level_targets"]
    known = ~torch.isnan(targets).any(-1)
    each = -(torch.nan_to_num(targets) * levels).sum(-1)
    return (each * known).sum() / known.sum().clamp_min(1)
