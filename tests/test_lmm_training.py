"""Packed dialogues ask as the assessor asks, and their losses want the right answers."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from PIL import Image

from piqa_cli.errors import ModelError
from piqa_cli.lmm.levels import spell
from piqa_cli.lmm.loading import Vlm, load_vlm
from piqa_cli.lmm.prefix import ROUTES, ask, extend, states
from piqa_cli.lmm.prompts import WHERE, compare
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.schema import Dimension
from piqa_cli.training.lmm.answers import OURS, answer_losses
from piqa_cli.training.lmm.dialogues import Dialogue, Rated, Written, level_targets, level_tokens
from piqa_cli.training.lmm.packing import pack
from tiny_vlms import KINDS, checkpoint

RATED = (Dimension.HARMONY, Dimension.COMPLETION)


@functools.cache
def tiny(kind: str) -> Vlm:
    """A tiny random model, through the real loader."""
    return load_vlm(LmmSettings(model=str(checkpoint(kind)), device="cpu", dtype="fp32", offline=True))


def picture(seed: int, width: int, height: int) -> Image.Image:
    """Noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def dialogues(*values: float) -> list[Dialogue]:
    """Two of unequal pictures and texts; each is asked for a box and two ratings."""
    shown = (
        compare(picture(0, 160, 120), picture(1, 160, 120), picture(2, 60, 60), "Make it red."),
        compare(picture(3, 90, 300), picture(4, 80, 260), picture(5, 64, 64), "An instruction that is a longer one."),
    )
    boxes = ("[1, 2, 3, 4]", "[10, 20, 30, 40]")
    return [
        Dialogue(conversation, (Written(WHERE, box), *(Rated(dimension, value) for dimension in RATED)))
        for conversation, box, value in zip(shown, boxes, values or (2.0, 2.0), strict=True)
    ]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if ROUTES[kind].packed])
def test_a_packed_question_is_answered_as_the_assessor_would_have_it_answered(kind: str) -> None:
    vlm, batch = tiny(kind), dialogues()
    packed = pack(vlm, batch)
    inputs = {name: value for name, value in packed.items() if name not in OURS}
    with torch.inference_mode():
        told = vlm.model(**inputs, use_cache=False).logits[:, packed["level_columns"]].log_softmax(-1)
    questions = [spell(vlm.processor.tokenizer, dimension, "tiny").question for dimension in RATED]
    answers = ask(vlm, [dialogue.conversation for dialogue in batch], questions)
    for place, answer in enumerate(answers):
        torch.testing.assert_close(told[:, place], answer.first, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not ROUTES[kind].packed])
def test_a_kind_that_makes_its_own_masks_has_a_row_a_question_and_is_asked_the_same(kind: str) -> None:
    vlm, batch = tiny(kind), dialogues()
    packed = pack(vlm, batch)
    turns = 1 + len(RATED)
    assert len(packed["input_ids"]) == turns * len(batch)
    inputs = {name: value for name, value in packed.items() if name not in OURS}
    with torch.inference_mode():
        told = vlm.model(**inputs, use_cache=False).logits.log_softmax(-1)
    shown, end = [dialogue.conversation for dialogue in batch], int(packed["level_columns"][0])
    questions = [spell(vlm.processor.tokenizer, dimension, "tiny").question for dimension in RATED]
    for place, answer in enumerate(ask(vlm, shown, questions)):
        torch.testing.assert_close(told[1 + place :: turns, end], answer.first, atol=1e-4, rtol=0)
    known = ~torch.isnan(packed["level_targets"]).any(-1)
    assert known.tolist() == 2 * [[False, False], [True, False], [False, True]]
    # The written answer is read as the model would read on what it wrote itself.
    (state,) = states(vlm, shown, [WHERE])
    for row, box in enumerate(("[1, 2, 3, 4]", "[10, 20, 30, 40]")):
        ids = vlm.processor.tokenizer(box, add_special_tokens=False)["input_ids"]
        _, wanted = extend(vlm, state, torch.tensor([ids]).expand(len(batch), -1), every=True)
        torch.testing.assert_close(told[turns * row, end + 1 : end + 1 + len(ids)], wanted[row], atol=1e-4, rtol=0)
        label = packed["labels"][turns * row]
        assert label[label >= 0].tolist() == [*ids, vlm.processor.tokenizer.eos_token_id]


def test_labels_stand_where_the_answer_is_to_be_said() -> None:
    vlm = tiny("qwen2_vl")
    tokenizer = vlm.processor.tokenizer
    packed = pack(vlm, dialogues())
    for row, box in enumerate(("[1, 2, 3, 4]", "[10, 20, 30, 40]")):
        wanted = tokenizer(box)["input_ids"] + [tokenizer.eos_token_id]
        label = packed["labels"][row]
        places = torch.nonzero(label >= 0).flatten()
        assert label[places].tolist() == wanted
        # Every token of the answer but the last is read in order to say the next.
        assert packed["input_ids"][row, places[1:]].tolist() == wanted[:-1]
    assert packed["columns"].tolist() == sorted({*packed["columns"].tolist()})


def test_losses_fall_when_the_right_things_become_likelier() -> None:
    vlm = tiny("qwen3_vl")
    packed = pack(vlm, dialogues(2.0, 3.0))
    model = copy.deepcopy(vlm.model).requires_grad_(True).train()
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    history = []
    for _ in range(3):
        losses, _ = answer_losses(model, packed)
        history.append({name: value.item() for name, value in losses.items()})
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    assert set(history[0]) == {"written", "levels"}
    assert all(history[-1][name] < history[0][name] for name in history[0])


def test_a_value_that_is_not_known_costs_nothing() -> None:
    vlm = tiny("qwen3_vl")
    with torch.inference_mode():
        both, only_first, none = (
            answer_losses(vlm.model, pack(vlm, dialogues(*values)))[0]["levels"]
            for values in ((2.0, 3.0), (2.0, float("nan")), (float("nan"), float("nan")))
        )
    assert none == 0
    assert only_first > 0
    assert both != only_first


def test_targets_have_the_mean_that_was_asked_for_on_their_own_scale() -> None:
    completion = level_targets(Dimension.COMPLETION, [1.5, 3.0])
    assert completion.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    assert torch.isnan(level_targets(Dimension.OVERALL, [float("nan")])).all()


def test_level_words_are_told_apart_by_their_first_tokens_or_not_learnt() -> None:
    tokenizer = tiny("qwen2_vl").processor.tokenizer
    assert len(set(level_tokens(tokenizer, Dimension.HARMONY, "tiny"))) == 5

    def same(text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [7, *map(ord, text)]}

    with pytest.raises(ModelError, match="begins two level words of harmony alike"):
        level_tokens(same, Dimension.HARMONY, "tiny")
