"""Examples as dialogues: what each stage asks about a pair, and what the right answer would have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from piqa_cli.errors import InputError
from piqa_cli.images import LoadedPair, load_pair
from piqa_cli.lmm.boxes import write_boxes
from piqa_cli.lmm.explanations import stated
from piqa_cli.lmm.grounding import size_of
from piqa_cli.lmm.prompts import TELL, WHERE, Conversation, compare, instruction
from piqa_cli.lmm.views import region_view, view
from piqa_cli.pairs.truth import true_regions
from piqa_cli.regions import describe, encode_mask, fill_boxes, locate, place
from piqa_cli.schema import Box, Dimension, Region, Score, Scores, score
from piqa_cli.training.lmm.dialogues import Dialogue, Rated, Written
from piqa_cli.training.material import Example

if TYPE_CHECKING:
    from piqa_cli.lmm.loading import Vlm

_JITTER = 0.05  # of a box's side, standard deviation of each bound: about what a model that grounds is off by
_TEMPLATE_NEEDS = (Dimension.HARMONY, Dimension.NATURALNESS)


@dataclass(frozen=True, slots=True, eq=False)
class Asker:
    """Makes dialogues for one model.

    Args:
        vlm: decides the frame of boxes, and which words are control tokens.
        dimensions: those that are asked for.
    """

    vlm: Vlm
    dimensions: tuple[Dimension, ...]

    def where(self, example: Example, rng: np.random.Generator) -> Dialogue:
        """Grounding: both pictures whole, and the boxes in the family's own frame, the largest first."""
        pair = load_pair(example.rated.pair)
        conversation, frame = self._shown(pair, ()), self.vlm.family.box_frame
        seen = self._seen(conversation) if frame == "pixels" else (0, 0)
        answer = write_boxes(_some(boxes_of(example, pair), pair), frame, size_of(pair), seen)
        return Dialogue(conversation, (Written(WHERE, answer),))

    def how_good(self, example: Example, rng: np.random.Generator) -> Dialogue:
        """Scoring: the region enlarged too, where one is known, found a little wrongly."""
        pair = load_pair(example.rated.pair)
        boxes = [_found(box, size_of(pair), rng) for box in boxes_of(example, pair)]
        turns = tuple(Rated(d, example.value(d), example.deviation(d)) for d in self.dimensions)
        return Dialogue(self._shown(pair, boxes), turns)

    def why(self, example: Example, rng: np.random.Generator) -> Dialogue:
        """Explaining: region and ratings in words, and the text that was written, else a plain one."""
        pair = load_pair(example.rated.pair)
        boxes, size, scores = boxes_of(example, pair), size_of(pair), scores_of(example)
        regions = tuple(_region(box, size) for box in boxes[:1])
        if example.known.explanation is not None:
            text = " ".join(example.known.explanation.split())
        else:
            text = _template(_region(_some(boxes, pair)[0], size), scores, size)
        return Dialogue(self._shown(pair, boxes, stated(regions, scores, size)), (Written(TELL, text),))

    def _shown(self, pair: LoadedPair, boxes: Sequence[Box], facts: Sequence[str] = ()) -> Conversation:
        special = frozenset(map(str, self.vlm.processor.tokenizer.get_added_vocab()))
        crop = region_view(pair.edited.pixels, boxes, size_of(pair))
        asked = instruction(pair.info.prompt, special)
        return compare(view(pair.source.pixels), view(pair.edited.pixels), crop, asked, facts)

    def _seen(self, conversation: Conversation) -> tuple[int, int]:
        """(height, width) of the edited picture as the processor resizes it."""
        images = self.vlm.processor.image_processor
        _, rows, columns = images(conversation.pictures[1], return_tensors="pt")["image_grid_thw"][0].tolist()
        return rows * images.patch_size, columns * images.patch_size


def has_region(example: Example) -> bool:
    """Whether the ground stage can use it: boxes, or a mask to take them from; not an edit that is none."""
    known = example.known
    return bool(known.boxes) or (known.boxes is None and known.mask is not None)


def has_ratings(example: Example) -> bool:
    """Whether the score stage can use it."""
    return bool(example.rated.ratings)


def has_reasons(example: Example) -> bool:
    """Whether the explain stage can use it: a text was written, or enough is known for the template."""
    rated = all(example.rated.rating(dimension) is not None for dimension in _TEMPLATE_NEEDS)
    return example.known.explanation is not None or (has_region(example) and rated)


def boxes_of(example: Example, pair: LoadedPair) -> list[Box]:
    """The true boxes in pixels of the edited image, the largest first; none where none are known.

    Raises:
        InputError: the annotation does not fit the picture (see `true_regions`).
    """
    truth = true_regions(example.known, pair.info.edited)
    boxes = () if truth is None else truth.boxes
    return sorted(boxes, key=lambda box: -(box[2] - box[0]) * (box[3] - box[1]))


def _some(boxes: list[Box], pair: LoadedPair) -> list[Box]:
    """The boxes.

    Raises:
        InputError: there are none: the annotation's mask is empty.
    """
    if boxes:
        return boxes
    raise InputError(
        "the true mask marks nothing as edited",
        code="E_MASK_EMPTY",
        file=pair.pair.edited,
        expected="a mask that is white where the image was edited",
        found="no white pixel",
        hint='an edit that is none has "boxes": []',
    )


def scores_of(example: Example) -> Scores:
    """The ratings as a record has them; null where it was not rated."""
    made: dict[str, Score] = {}
    for dimension in Dimension:
        value = example.rated.rating(dimension)
        made[dimension.value] = score(dimension, value, reason=None if value is not None else "it was not rated")
    return Scores(**made)


def _template(region: Region, scores: Scores, size: tuple[int, int]) -> str:
    """Where the edit is and how it was rated, in sentences that name nothing that was not measured."""
    amount = describe(region, size).removeprefix(place(region.box, size))
    harmony, naturalness = scores.harmony.level, scores.local_naturalness.level
    sentences = [
        f"The edited region is {locate(region.box, size)}{amount}",
        f"Harmony is rated {harmony}, and naturalness is rated {naturalness}",
    ]
    if scores.prompt_completion.level is not None:
        sentences.append(f"What the instruction asks for was {scores.prompt_completion.level}")
    if scores.overall.level is not None:
        sentences.append(f"All in all the edit is {scores.overall.level}")
    return " ".join(f"{sentence}." for sentence in sentences)


def _region(box: Box, size: tuple[int, int]) -> Region:
    mask = fill_boxes([box], size)
    return Region(box=box, area_fraction=float(mask.mean()), confidence=1, mask=encode_mask(mask))


def _found(box: Box, size: tuple[int, int], rng: np.random.Generator) -> Box:
    """A box as a model may find it: each bound a little off, inside the picture, never empty."""
    (x0, y0, x1, y1), (height, width) = box, size
    off = np.rint(rng.normal(0, _JITTER, 4) * (x1 - x0, y1 - y0, x1 - x0, y1 - y0)).astype(int).tolist()
    left, top = min(max(0, x0 + off[0]), width - 1), min(max(0, y0 + off[1]), height - 1)
    return left, top, min(width, max(left + 1, x1 + off[2])), min(height, max(top + 1, y1 + off[3]))
