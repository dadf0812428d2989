"""The pictures are read once; every question is asked on the keys and values that this left behind.

A batch of conversations with pictures of unequal size is one left-padded batch. Positions are passed explicitly,
counted from each row's first real token, so that a row's answer does not depend on its neighbours. The questions are
the same for all rows, so they need no padding of their own.

How a question is put to an architecture is a row of `ROUTES`. One that is not listed takes the slow and safe way: a
whole forward pass a question.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

from piqa_cli.lmm.prompts import Conversation
from piqa_cli.lmm.rendering import render

if TYPE_CHECKING:
    from piqa_cli.lmm.loading import Vlm


@dataclass(frozen=True, slots=True)
class Route:
    """How an architecture is asked.

    cached: questions go on the prefix's cache; else each is a forward pass of its own.
    start: the position of the first token.
    packed: takes a mask of who sees whom, so that it can be trained on several questions at once (`training.lmm`).
    answer_type: the `token_type_ids` of what it writes, where its processor gives such.
    """

    cached: bool = True
    start: int = 0
    packed: bool = True
    answer_type: int = 0


ROUTES: Final[dict[str, Route]] = {
    "qwen2_vl": Route(),
    "qwen2_5_vl": Route(),
    "qwen3_vl": Route(),
    "llava": Route(),
    "llava_onevision": Route(),
    "idefics3": Route(),
    "smolvlm": Route(),
    "internvl": Route(),
    "gemma3": Route(packed=False),  # its pictures' tokens see each other, and some layers only their neighbourhood
    # Attention within the prompt goes both ways: the pictures' keys depend on the question.
    "paligemma": Route(cached=False, start=1, packed=False, answer_type=1),
}
_UNLISTED: Final = Route(cached=False, packed=False)

_FORKABLE = (DynamicLayer, DynamicSlidingWindowLayer)  # `update` makes new tensors and leaves the old ones alone


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and after which first tokens of an answer the next token's probabilities are wanted too."""

    text: str
    openings: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Log-probabilities of the next token, rows x vocabulary, float32: of the answer's first (`opening` ()) and on."""

    after: Mapping[tuple[int, ...], Tensor]

    @property
    def first(self) -> Tensor:
        """Those of the first token."""
        return self.after[()]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What a model has read of a batch, ready to read on.

    mask: rows x tokens, 1 for a token and 0 for padding. position: rows, of the next token. next: rows x vocabulary,
    float32 log-probabilities of the next token. grids: rows of (pictures x 3) patch grids where the processor has them.
    """

    cache: Cache
    mask: Tensor
    position: Tensor
    next: Tensor
    grids: tuple[Tensor, ...] = ()


def route_of(vlm: Vlm) -> Route:
    """The row of `ROUTES` for this model's architecture."""
    return ROUTES.get(vlm.family.model_type, _UNLISTED)


def ask(vlm: Vlm, conversations: Sequence[Conversation], questions: Sequence[Question]) -> list[Answer]:
    """One answer a question, each for all conversations in their order.

    Raises:
        ModelError: the checkpoint has no chat template, or one that loses text.
    """
    return [
        Answer({(): state.next, **_openings(vlm, state, question.openings)})
        for question, state in zip(questions, states(vlm, conversations, [q.text for q in questions]), strict=True)
    ]


@torch.inference_mode()
def states(vlm: Vlm, conversations: Sequence[Conversation], questions: Sequence[str]) -> Iterator[State]:
    """For each question in turn, what the model has read when it is about to answer."""
    route = route_of(vlm)
    if not route.cached:
        for question in questions:
            yield read(vlm, conversations, [render(vlm, c).joined(question) for c in conversations])
        return
    prompts = [render(vlm, conversation) for conversation in conversations]
    prefix = read(vlm, conversations, [prompt.head for prompt in prompts])
    for question in questions:
        ids = torch.tensor([prompts[0].suffix(vlm.processor.tokenizer, question)], device=prefix.mask.device)
        yield extend(vlm, prefix, ids.expand(len(prompts), -1))[0]


@torch.inference_mode()
def read(vlm: Vlm, conversations: Sequence[Conversation], texts: Sequence[str]) -> State:
    """A forward pass over texts with pictures, left-padded to one length."""
    model = vlm.model
    inputs = vlm.processor(
        text=list(texts),
        images=[conversation.pictures for conversation in conversations],
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_tensors="pt",
    ).to(vlm.device, dtype=model.dtype)
    inputs.pop("labels", None)
    positions = first_positions(vlm, inputs)
    last = positions.amax((0, 2)) if positions.ndim == 3 else positions[:, -1]
    out = model(**inputs, position_ids=positions, use_cache=True, logits_to_keep=1)
    counts = [len(conversation.pictures) for conversation in conversations]
    grids = inputs["image_grid_thw"].cpu().split(counts) if "image_grid_thw" in inputs else ()
    told = _log_probabilities(out.logits)[:, -1]
    return State(out.past_key_values, inputs["attention_mask"], last + 1, told, tuple(grids))


def first_positions(vlm: Vlm, inputs: Mapping[str, Tensor]) -> Tensor:
    """The positions of a processor's left-padded tokens, counted from each row's first real one.

    Returns:
        rows x tokens; 3 x rows x tokens where the architecture lays them on three axes, on which a picture takes as
        many as its longer side has patches.
    """
    mask, rope = inputs["attention_mask"], _rope(vlm.model)
    if rope is None:
        return (mask.cumsum(-1) - 1).clamp(min=0) + route_of(vlm).start
    named = ("input_ids", "image_grid_thw", "attention_mask", "mm_token_type_ids")
    positions: Tensor = rope.get_rope_index(**{name: inputs[name] for name in named})[0]
    return positions


@torch.inference_mode()
def extend(vlm: Vlm, state: State, ids: Tensor, *, every: bool = False) -> tuple[State, Tensor]:
    """Reads on: rows x n token ids after what was read. The given state stays as it is.

    Returns:
        The new state, and log-probabilities, rows x k x vocabulary float32: of the token after each of the n if
        `every`, else after the last alone.
    """
    ids = ids.to(state.mask.device)  # of a model spread over several GPUs, what it wrote lies on the last
    count = ids.shape[1]
    mask = torch.cat([state.mask, state.mask.new_ones(ids.shape)], 1)
    positions = state.position[:, None] + torch.arange(count, device=ids.device)
    if _rope(vlm.model) is not None:
        positions = positions.expand(3, -1, -1)
    cache = _fork(state.cache)
    out = vlm.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=count if every else 1,
    )
    told = _log_probabilities(out.logits)
    return State(out.past_key_values, mask, state.position + count, told[:, -1], state.grids), told


def _openings(vlm: Vlm, state: State, openings: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Tensor]:
    """The next token's log-probabilities after each opening and, on the way, after the openings that begin it."""
    found: dict[tuple[int, ...], Tensor] = {}
    for opening in sorted(set(openings), key=len, reverse=True):
        if opening in found:
            continue
        ids = torch.tensor([opening], device=state.mask.device).expand(len(state.mask), -1)
        _, told = extend(vlm, state, ids, every=True)
        found |= {opening[: k + 1]: told[:, k] for k in range(len(opening))}
    return found


def _rope(model: Any) -> Any:
    """The module that lays positions on three axes, where the architecture does so."""
    return next((module for module in model.modules() if hasattr(module, "get_rope_index")), None)


def _fork(cache: Cache) -> Cache:
    """A cache that can be written without changing this one; it shares the tensors where that is safe."""
    if any(type(layer) not in _FORKABLE for layer in cache.layers):
        return copy.deepcopy(cache)
    fork = copy.copy(cache)
    fork.layers = [copy.copy(layer) for layer in cache.layers]
    return fork


def _log_probabilities(logits: Tensor) -> Tensor:
    return logits.float().log_softmax(-1)
