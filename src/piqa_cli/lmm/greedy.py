"""What a model writes by itself: the likeliest token each time, for a batch at once, up to a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from piqa_cli.lmm.prefix import State, extend, states
from piqa_cli.lmm.prompts import Conversation

if TYPE_CHECKING:
    from piqa_cli.lmm.loading import Vlm


@dataclass(frozen=True, slots=True)
class Reply:
    """What was written, without control tokens.

    confidence: the tokens' mean probability (geometric), 0..1. ended: by itself, not by the limit. seen: (height,
    width) of each picture as the processor resized it, in pixels, where it tells.
    """

    text: str
    confidence: float
    ended: bool
    seen: tuple[tuple[int, int], ...] = ()


@torch.inference_mode()
def write(vlm: Vlm, conversations: Sequence[Conversation], question: str, limit: int) -> list[Reply]:
    """One reply a conversation, of at most `limit` tokens.

    Raises:
        ModelError: the checkpoint cannot be asked; see `prefix.render`.
    """
    (state,) = states(vlm, conversations, [question])
    first, stops = state, _stops(vlm)
    written: list[list[int]] = [[] for _ in conversations]
    sums = [0.0 for _ in conversations]
    open_rows = set(range(len(conversations)))
    for number in range(limit):
        best, tokens = state.next.max(-1)
        for row, (token, chance) in enumerate(zip(tokens.tolist(), best.tolist(), strict=True)):
            if row in open_rows:
                written[row].append(token)
                sums[row] += chance
        open_rows -= {row for row in open_rows if written[row][-1] in stops}
        if not open_rows or number == limit - 1:
            break
        # Rows that have ended are fed on; no other row sees what they say.
        state, _ = extend(vlm, state, tokens[:, None])
    tokenizer = vlm.processor.tokenizer
    return [
        Reply(
            text=str(tokenizer.decode(tokens, skip_special_tokens=True)).strip(),
            confidence=min(1.0, math.exp(total / len(tokens))),
            ended=row not in open_rows,
            seen=_seen(vlm, first, row),
        )
        for row, (tokens, total) in enumerate(zip(written, sums, strict=True))
    ]


def _stops(vlm: Vlm) -> frozenset[int]:
    """Tokens that end a reply."""
    named = [vlm.processor.tokenizer.eos_token_id]
    configured = getattr(vlm.model.generation_config, "eos_token_id", None)
    named += configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in named if token is not None)


def _seen(vlm: Vlm, state: State, row: int) -> tuple[tuple[int, int], ...]:
    if not state.grids:
        return ()
    patch = vlm.processor.image_processor.patch_size
    return tuple((height * patch, width * patch) for _, height, width in state.grids[row].tolist())
