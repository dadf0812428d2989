"""The large multimodal assessor: any image-text-to-text model behind the `Assessor` protocol.

What pixels decide is left to the compact assessor, which looks at every pair too: whether anything was edited at all,
how source and edited lie on each other, the region where the model cannot ground, the measured findings and the
estimated faults. The model answers the five questions. Where no question makes sense (nothing was edited, another
picture, a mask without content) the scores are null by the compact assessor's rules and with its reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from piqa_cli.assessor import Assessor, Grounding, Judgement
from piqa_cli.devices import memory_errors
from piqa_cli.errors import InputError, UsageError
from piqa_cli.images import LoadedPair
from piqa_cli.lmm.boxes import parse_boxes
from piqa_cli.lmm.explanations import Case, Explanation, compact_text, explain_cases, facts
from piqa_cli.lmm.greedy import Reply, write
from piqa_cli.lmm.grounding import EDITED, LmmGrounding, place, size_of
from piqa_cli.lmm.judgement import judge
from piqa_cli.lmm.levels import LevelScore, score_levels, spell
from piqa_cli.lmm.prefix import ask
from piqa_cli.lmm.prompts import PROMPT_VERSION, WHERE, Conversation, compare, instruction
from piqa_cli.lmm.rendering import render
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.lmm.views import region_view, view
from piqa_cli.schema import Dimension, Kind, ModelInfo

if TYPE_CHECKING:
    from piqa_cli.lmm.loading import Vlm

_WHAT_HELPS = "a smaller --batch-size, --quantize, or --device cpu"
_BOX_TOKENS = 96  # a box is about 30 tokens, in a code block with a label 50


class LmmAssessor:
    """An image-text-to-text model behind the `Assessor` protocol.

    Args:
        vlm: the model as loaded.
        compact: the compact assessor, on any device.
        settings: of which `grounding` and `explain_below` are used here.

    Raises:
        UsageError: the model is to ground, and its family cannot.
        ModelError: the checkpoint has no usable chat template, or its tokenizer cannot tell the level words apart.
    """

    def __init__(self, vlm: Vlm, compact: Assessor, settings: LmmSettings) -> None:
        if settings.grounding == "model" and not vlm.family.grounds:
            raise UsageError(
                f"models of the kind {vlm.family.model_type} cannot say where something is",
                expected="--grounding auto, compact or mask",
                found="--grounding model",
            )
        self.vlm, self.compact, self.settings = vlm, compact, settings
        self._spellings = {d: spell(vlm.processor.tokenizer, d, vlm.info.name) for d in Dimension}
        self._special = frozenset(map(str, vlm.processor.tokenizer.get_added_vocab()))
        render(vlm, Conversation(("",)))

    @property
    def info(self) -> ModelInfo:
        """The model's; its version also names what else decides a score: prompts and whose region counts."""
        own = self.vlm.info
        version = f"{own.version} (prompts {PROMPT_VERSION}, grounding {self.settings.grounding})"
        return own.model_copy(update={"version": version})

    @property
    def beside(self) -> tuple[ModelInfo, ...]:
        """The compact model, which decides a part of every record (`resume.key`)."""
        return (self.compact.info,)

    @property
    def precision(self) -> str:
        """fp32, or half where rounding lets a batch move the numbers."""
        return "fp32" if self.vlm.info.precision == "fp32" else "half"

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        """Stage 1: the compact assessor's, with the model's own boxes as the regions where these count."""
        mode = self.settings.grounding
        for pair in pairs:
            if mode == "mask" and pair.mask is None:
                raise InputError(
                    "there is no mask to take the region from",
                    code="E_NOT_FOUND",
                    file=pair.pair.edited,
                    expected="a mask with every pair, for --grounding mask",
                    found="none",
                    hint="give the pair a mask, or choose --grounding auto",
                )
        seen = [pair if mode in ("auto", "mask") else replace(pair, mask=None) for pair in pairs]
        found = self.compact.ground(seen)
        own = [
            LmmGrounding(**grounding.as_fields(), compact=grounding, pair=pair)
            for pair, grounding in zip(seen, found, strict=True)
        ]
        asked = [index for index, one in enumerate(own) if self._asks_where(one)]
        with memory_errors(_WHAT_HELPS):
            replies = self._where([seen[index] for index in asked])
        for index, reply in zip(asked, replies, strict=True):
            own[index] = self._placed(own[index], reply)
        return list(own)

    def _asks_where(self, grounding: LmmGrounding) -> bool:
        if self.settings.grounding == "model":
            return grounding.edit.kind in EDITED
        free = self.settings.grounding == "auto" and grounding.pair.mask is None
        return free and self.vlm.family.grounds and grounding.edit.kind is Kind.LOCAL

    def _where(self, pairs: Sequence[LoadedPair]) -> list[Reply]:
        asked = [
            compare(view(pair.source.pixels), view(pair.edited.pixels), None, self._instruction(pair)) for pair in pairs
        ]
        return write(self.vlm, asked, WHERE, _BOX_TOKENS) if asked else []

    def _placed(self, grounding: LmmGrounding, reply: Reply) -> LmmGrounding:
        pair = grounding.pair
        shown = view(pair.edited.pixels)
        seen = reply.seen[1] if reply.seen else (shown.height, shown.width)  # of source and edited, the second
        parsed = parse_boxes(reply.text, self.vlm.family.box_frame, size_of(pair), seen)
        return place(grounding, parsed, reply.confidence)

    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        """Stage 2: five questions on one reading of the pictures."""
        own = own_groundings(groundings)
        seen = [grounding.pair for grounding in own]
        judged = self.compact.score(seen, [grounding.compact for grounding in own])
        asked = [i for i, one in enumerate(own) if one.edit.kind is not Kind.DIFFERENT and not one.pair.identical]
        answers: dict[int, dict[Dimension, LevelScore]] = {index: {} for index in range(len(own))}
        if asked:
            with memory_errors(_WHAT_HELPS):
                spellings = self._spellings.values()
                told = ask(self.vlm, [self._shown(own[i]) for i in asked], [one.question for one in spellings])
                for spelling, answer in zip(spellings, told, strict=True):
                    for index, scored in zip(asked, score_levels(spelling, answer), strict=True):
                        answers[index][spelling.dimension] = scored
        return [judge(*row) for row in zip(own, judged, answers.values(), strict=True)]

    def explain(
        self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding], judgements: Sequence[Judgement]
    ) -> list[Explanation]:
        """Stage 3: the model's text where there is an edit to speak of, None from `explain_below` on."""
        cases = self._cases(groundings, judgements)
        told = [self._without_the_model(case) for case in cases]
        asked = [index for index, one in enumerate(told) if one is None]
        if asked:
            with memory_errors(_WHAT_HELPS):
                for index, text in zip(asked, explain_cases(self.vlm, [cases[i] for i in asked]), strict=True):
                    told[index] = text
        return [one for one in told if one is not None]

    def _cases(self, groundings: Sequence[Grounding], judgements: Sequence[Judgement]) -> list[Case]:
        return [
            Case(one.pair, one, judgement, self._shown(one, facts(one, judgement, size_of(one.pair))))
            for one, judgement in zip(own_groundings(groundings), judgements, strict=True)
        ]

    def _without_the_model(self, case: Case) -> Explanation | None:
        overall = case.judgement.scores.overall.value
        least = self.settings.explain_below
        if least is not None and overall is not None and overall >= least:
            return Explanation(None)
        if case.grounding.edit.kind not in EDITED or overall is None:
            return Explanation(compact_text(case))
        return None

    def _shown(self, grounding: LmmGrounding, known: Sequence[str] = ()) -> Conversation:
        pair = grounding.pair
        boxes = [region.box for region in grounding.regions]
        crop = region_view(pair.edited.pixels, boxes, size_of(pair))
        pictures = view(pair.source.pixels), view(pair.edited.pixels), crop
        return compare(*pictures, self._instruction(pair), known)

    def _instruction(self, pair: LoadedPair) -> str:
        return instruction(pair.info.prompt, self._special)


def own_groundings(groundings: Sequence[Grounding]) -> list[LmmGrounding]:
    """The groundings, as those that stage 1 of this assessor gave.

    Raises:
        TypeError: another assessor made them.
    """
    own = [grounding for grounding in groundings if isinstance(grounding, LmmGrounding)]
    if len(own) != len(groundings):
        raise TypeError("the large multimodal assessor scores its own groundings")
    return own
