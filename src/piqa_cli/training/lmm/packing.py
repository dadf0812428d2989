"""Dialogues -> one forward pass: a conversation's pictures are read once, and every turn follows them alone.

The turns of a conversation stand one behind the other in a row; the attention mask lets each see the conversation and
itself, and its positions count on from the conversation's end. So a model learns what it will be asked on the prefix's
cache (`lmm.prefix`), at the price of one reading. An architecture that makes its own masks has a row a turn instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from piqa_cli.lmm.prefix import first_positions, route_of
from piqa_cli.lmm.rendering import Prompt, render
from piqa_cli.training.lmm.dialogues import Dialogue, Rated, Written, level_targets, level_tokens

if TYPE_CHECKING:
    from piqa_cli.lmm.loading import Vlm

Batch = dict[str, Tensor]
_IGNORED = -100  # cross-entropy's own "do not count"
_HIDDEN = torch.finfo(torch.float32).min


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn as tokens; `label`: what should follow each of them, `_IGNORED` where nothing is asked for."""

    ids: list[int]
    label: list[int]


def pack(vlm: Vlm, dialogues: Sequence[Dialogue]) -> Batch:
    """The model's inputs, and what it should say.

    All dialogues have the same kinds of turns in the same order; a row is a dialogue, or, of an architecture that takes
    no mask of who sees whom, a turn of one. Beside the inputs of the model's `forward`: `labels`, rows x columns, the
    token that should follow, -100 where none is asked for; `columns`, those at which something is; `level_columns`, one
    for each turn that is rated; `level_tokens` and `level_targets`, the words' first tokens (turns x levels) and their
    probabilities (rows x turns x levels, NaN: not known, or not of this row), padded with -1 and 0.

    Raises:
        ModelError: the tokenizer cannot tell level words apart.
    """
    return _packed(vlm, dialogues) if route_of(vlm).packed else _one_by_one(vlm, dialogues)


def _packed(vlm: Vlm, dialogues: Sequence[Dialogue]) -> Batch:
    tokenizer = vlm.processor.tokenizer
    prompts = [render(vlm, dialogue.conversation) for dialogue in dialogues]
    trunk = _trunk(vlm, dialogues, [prompt.head for prompt in prompts])
    length = trunk["input_ids"].shape[1]
    slots = list(zip(*(dialogue.turns for dialogue in dialogues), strict=True))
    turns = [_slot(tokenizer, prompts, slot) for slot in slots]
    widths = [max(len(turn.ids) for turn in slot) for slot in turns]
    segment = torch.repeat_interleave(torch.arange(len(turns) + 1), torch.tensor([length, *widths]))
    ends = torch.tensor([length, *widths]).cumsum(0)[1:] - 1  # a rated turn has one width: its question
    labels = torch.cat([torch.full((len(dialogues), length), _IGNORED), *map(_labels, turns, widths)], 1)
    asked = (labels != _IGNORED).any(0)
    rated = [(slot, end) for slot, end in zip(slots, ends.tolist(), strict=True) if isinstance(slot[0], Rated)]
    level_columns = torch.tensor([end for _, end in rated], dtype=torch.long)
    asked[level_columns] = True
    return {
        **_inputs(trunk, turns, widths, segment, tokenizer.pad_token_id or 0),
        "labels": labels,
        "columns": torch.nonzero(asked).flatten(),
        "level_columns": level_columns,
        **_levels(tokenizer, vlm.info.name, [slot for slot, _ in rated], len(dialogues)),
    }


def _one_by_one(vlm: Vlm, dialogues: Sequence[Dialogue]) -> Batch:
    """A row a turn, dialogue by dialogue: pictures, question and the answer behind them, on the architecture's masks.

    Questions end at one column, since they are padded on the left. That is where every rating is told.
    """
    tokenizer, count = vlm.processor.tokenizer, len(dialogues[0].turns)
    rows = [(dialogue, turn) for dialogue in dialogues for turn in dialogue.turns]
    prompts = [render(vlm, dialogue.conversation) for dialogue, _ in rows]
    texts = [prompt.joined(turn.question) for prompt, (_, turn) in zip(prompts, rows, strict=True)]
    trunk = _trunk(vlm, [dialogue for dialogue, _ in rows], texts)
    length = trunk["input_ids"].shape[1]
    answers = [_answer(tokenizer, turn) for _, turn in rows]
    width = max(max(map(len, answers)) - 1, 0)
    labels = torch.full((len(rows), length + width), _IGNORED)
    for row, answer in enumerate(answers):
        labels[row, length - 1 : length - 1 + len(answer)] = torch.tensor(answer, dtype=torch.long)
    slots = list(zip(*(dialogue.turns for dialogue in dialogues), strict=True))
    rated = [place for place, slot in enumerate(slots) if isinstance(slot[0], Rated)]
    levels = _levels(tokenizer, vlm.info.name, [slots[place] for place in rated], len(dialogues))
    own = torch.tensor(rated)[None, :, None] == (torch.arange(len(rows)) % count)[:, None, None]
    targets = levels["level_targets"].repeat_interleave(count, 0)
    asked = (labels != _IGNORED).any(0)
    asked[length - 1] = True
    return {
        **_followed(vlm, trunk, answers, width),
        "labels": labels,
        "columns": torch.nonzero(asked).flatten(),
        "level_columns": torch.full((len(rated),), length - 1),
        "level_tokens": levels["level_tokens"],
        "level_targets": torch.where(own, targets, torch.nan),
    }


def _answer(tokenizer: Any, turn: Written | Rated) -> list[int]:
    """The tokens that should be said, with the end; none where a word is asked for (`level_targets` has that)."""
    if isinstance(turn, Rated):
        return []
    return [*tokenizer(turn.answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def _followed(vlm: Vlm, trunk: Batch, answers: Sequence[Sequence[int]], width: int) -> Batch:
    """The trunk's inputs with the answers behind it, padded on the right; all but an answer's last token is read."""
    pad = vlm.processor.tokenizer.pad_token_id or 0
    behind = torch.full((len(answers), width), pad)
    for row, answer in enumerate(answers):
        behind[row, : max(len(answer) - 1, 0)] = torch.tensor(answer[:-1], dtype=torch.long)
    read = torch.arange(width) < torch.tensor([[max(len(answer) - 1, 0)] for answer in answers])
    positions = trunk["position_ids"]
    following = (_next_position(positions) + torch.arange(width)).expand(*positions.shape[:-1], -1)
    extended = {
        "input_ids": torch.cat([trunk["input_ids"], behind], 1),
        "attention_mask": torch.cat([trunk["attention_mask"], read.to(trunk["attention_mask"])], 1),
        "position_ids": torch.cat([positions, following], -1),
    }
    for name, value in (("token_type_ids", route_of(vlm).answer_type), ("mm_token_type_ids", 0)):
        if name in trunk:
            extended[name] = torch.nn.functional.pad(trunk[name], (0, width), value=value)
    return trunk | extended


def _trunk(vlm: Vlm, dialogues: Sequence[Dialogue], texts: Sequence[str]) -> Batch:
    """Texts with the pictures of their conversations, left-padded, with the positions of their tokens."""
    inputs: Any = vlm.processor(
        text=list(texts),
        images=[dialogue.conversation.pictures for dialogue in dialogues],
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_tensors="pt",
    )
    batch = {name: value for name, value in inputs.items() if name != "labels"}
    return batch | {"position_ids": first_positions(vlm, batch)}


def _slot(tokenizer: Any, prompts: Sequence[Prompt], slot: Sequence[Written | Rated]) -> list[_Turn]:
    """The turns of one place in all dialogues."""
    made = []
    for prompt, turn in zip(prompts, slot, strict=True):
        question, answer = prompt.suffix(tokenizer, turn.question), _answer(tokenizer, turn)
        if not answer:
            made.append(_Turn(question, [_IGNORED] * len(question)))
            continue
        made.append(_Turn(question + answer[:-1], [_IGNORED] * (len(question) - 1) + answer))
    return made


def _labels(turns: Sequence[_Turn], width: int) -> Tensor:
    return torch.tensor([turn.label + [_IGNORED] * (width - len(turn.label)) for turn in turns])


def _inputs(trunk: Batch, turns: Sequence[Sequence[_Turn]], widths: Sequence[int], segment: Tensor, pad: int) -> Batch:
    """The trunk's inputs with the turns behind it: tokens, types, positions, and who sees whom."""
    rows = len(trunk["input_ids"])
    padded = [
        torch.tensor([turn.ids + [pad] * (width - len(turn.ids)) for turn in slot])
        for slot, width in zip(turns, widths, strict=True)
    ]
    positions = trunk["position_ids"]
    following = _next_position(positions)
    counted = [(following + torch.arange(width)).expand(*positions.shape[:-1], -1) for width in widths]
    extended = {
        "input_ids": torch.cat([trunk["input_ids"], *padded], 1),
        "position_ids": torch.cat([positions, *counted], -1),
    }
    if "mm_token_type_ids" in trunk:
        extended["mm_token_type_ids"] = torch.nn.functional.pad(trunk["mm_token_type_ids"], (0, sum(widths)))
    real = torch.nn.functional.pad(trunk["attention_mask"], (0, sum(widths)), value=1).bool()
    causal = torch.ones(len(segment), len(segment), dtype=torch.bool).tril()
    same = (segment[:, None] == segment[None, :]) | (segment[None, :] == 0)
    # What a padding token sees matters to nobody, but it has to see something.
    seen = (causal & same)[None] & real[:, None, :] | torch.eye(len(segment), dtype=torch.bool)[None]
    mask = torch.where(seen, 0.0, _HIDDEN)[:, None]
    return {**trunk, **extended, "attention_mask": mask.expand(rows, 1, -1, -1)}


def _next_position(positions: Tensor) -> Tensor:
    """The position behind the last, of one axis or three: rows x 1, or 1 x rows x 1."""
    return positions.amax(-1, keepdim=True).amax(0, keepdim=True) + 1 if positions.ndim == 3 else positions[:, -1:] + 1


def _levels(tokenizer: Any, model: str, slots: Sequence[Sequence[Any]], rows: int) -> Batch:
    """What the rated turns should say."""
    words = [level_tokens(tokenizer, slot[0].dimension, model) for slot in slots]
    most = max(map(len, words), default=0)
    tokens = torch.full((len(slots), most), -1)
    targets = torch.zeros(rows, len(slots), most)
    for place, (slot, ids) in enumerate(zip(slots, words, strict=True)):
        tokens[place, : len(ids)] = torch.tensor(ids)
        values, deviations = ([getattr(turn, name) for turn in slot] for name in ("value", "deviation"))
        targets[:, place, : len(ids)] = level_targets(slot[0].dimension, values, deviations)
    return {"level_tokens": tokens, "level_targets": targets}
