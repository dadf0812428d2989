"""A model that a server answers for, by the OpenAI chat protocol: `--model openai:NAME --base-url URL`.

Only what the user named is contacted: the server of --base-url (or of OPENAI_BASE_URL), and without one OpenAI's own,
which the name `openai:` asks for. It is sent the pictures of a pair at a bounded size, the prompt, and, for an
explanation, the scores and measurements; never a file's name. With --offline only a server on this machine is allowed.

The pixels' part (region, measurements) is the compact assessor's, here. One request a dimension asks for one level
word; the score is the expectation over the level words among the alternatives that the server reports for it.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from PIL import Image

from piqa_cli.assessor import Assessor, Grounding, Judgement
from piqa_cli.errors import ReplyError, UsageError
from piqa_cli.images import LoadedPair
from piqa_cli.lmm.addresses import server_url, shown_url
from piqa_cli.lmm.assessor import LmmAssessor, own_groundings
from piqa_cli.lmm.chat import PATIENT, ChatServer, Limits, Request
from piqa_cli.lmm.chat import Reply as ChatReply
from piqa_cli.lmm.explanations import (
    MAX_TOKENS,
    Case,
    Explanation,
    compact_text,
    complaints,
    stand_in,
    tidy,
    with_complaint,
)
from piqa_cli.lmm.greedy import Reply
from piqa_cli.lmm.grounding import LmmGrounding
from piqa_cli.lmm.judgement import judge, sensible
from piqa_cli.lmm.levels import LevelScore, level_score
from piqa_cli.lmm.prompts import PROMPT_VERSION, QUESTIONS, TELL, Conversation
from piqa_cli.lmm.settings import SERVED, LmmSettings
from piqa_cli.schema import Dimension, Kind, ModelInfo, score

_WORD_TOKENS: Final = 4  # a level word, and a quotation mark or line break that may come before it
_JPEG: Final = 95  # with full colour: its own traces must not look like an edit's
_MARKS: Final = " \t\r\n\u2581\u0120\u010a\"'`*_.,:;!()[]"  # \u2581, \u0120, \u010a: spaces of raw vocabularies
_SHORTEST_OPENING: Final = 2  # letters; a single one opens too much else
_NO_LEVEL: Final = "the model's likeliest answers are none of the levels"


def open_served(settings: LmmSettings, compact: Assessor, limits: Limits = PATIENT) -> ServedAssessor:
    """The assessor of a served model. Nothing is sent before the first pair.

    Args:
        settings: `model` is `openai:NAME`; of the rest `base_url`, `offline`, `grounding`, `explain_below` are used.
        compact: the compact assessor, which grounds and measures.
        limits: how patient to be with the server.

    Raises:
        UsageError: the `openai` package is not installed, the address is none or not allowed, or the model is to
            ground, which the protocol has no form for.
        ModelError: OpenAI's own server, and no key.
    """
    if settings.grounding == "model":
        raise UsageError(
            "a served model cannot say where something is",
            expected="--grounding auto, compact or mask",
            found="--grounding model",
        )
    name = settings.model.removeprefix(SERVED)
    if not name:
        raise UsageError(
            "the served model has no name", expected=f"{SERVED}NAME, as the server calls it", found=settings.model
        )
    server = ChatServer(name, server_url(settings.base_url, offline=settings.offline), limits)
    return ServedAssessor(server, compact, settings)


class ServedAssessor(LmmAssessor):
    """A served model behind the `Assessor` protocol; everything but the answers themselves as for a loaded one.

    Args:
        server: who is asked.
        compact: the compact assessor, on any device.
        settings: of which `grounding` and `explain_below` are used here.
    """

    def __init__(self, server: ChatServer, compact: Assessor, settings: LmmSettings) -> None:
        self.server, self.compact, self.settings = server, compact, settings
        self._special = frozenset()  # a server's template keeps a user's text apart from control tokens

    @property
    def info(self) -> ModelInfo:
        """The name asked for, where, and what else decides a score; nobody here knows the weights."""
        where = shown_url(self.server.url)
        version = f"served by {where} (prompts {PROMPT_VERSION}, grounding {self.settings.grounding})"
        return ModelInfo(name=self.settings.model, version=version, weights_sha256="unknown")

    @property
    def precision(self) -> str:
        """A server makes its own batches, so its numbers may move a little."""
        return "served"

    def _asks_where(self, grounding: LmmGrounding) -> bool:
        return False

    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        """Stage 2: a request for each dimension of each pair whose question makes sense, all of them concurrently.

        Raises:
            ReplyError: the reply to one of them is missing or makes no sense. What the others said is kept for when
                the pairs come again one by one.
            ModelError: the server cannot be used at all.
        """
        own = own_groundings(groundings)
        judged = self.compact.score([one.pair for one in own], [one.compact for one in own])
        asked: list[tuple[int, Dimension]] = []
        requests = []
        for index, (one, compact) in enumerate(zip(own, judged, strict=True)):
            shown = contents(self._shown(one)) if (dimensions := _asked_about(one, compact)) else ()
            for dimension in dimensions:
                asked.append((index, dimension))
                requests.append(Request((*shown, _text(QUESTIONS[dimension].text)), _WORD_TOKENS, scored=True))
        answers: list[dict[Dimension, LevelScore | None]] = [{} for _ in own]
        for (index, dimension), reply in zip(asked, self.server.ask(requests), strict=True):
            if isinstance(reply, ReplyError):
                raise reply
            answers[index][dimension] = read_level(dimension, reply)
        return [_judged(*row) for row in zip(own, judged, answers, strict=True)]

    def explain(
        self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding], judgements: Sequence[Judgement]
    ) -> list[Explanation]:
        """Stage 3: as for a loaded model; a server that does not answer costs the text, not the scores."""
        cases = self._cases(groundings, judgements)
        told = [self._without_the_model(case) for case in cases]
        left = [index for index, one in enumerate(told) if one is None]
        first = self._write([cases[index] for index in left])
        again = {index: with_complaint(cases[index], one[1]) for index, one in zip(left, first, strict=True) if one[1]}
        second = dict(zip(again, self._write(list(again.values())), strict=True))
        for index, one in zip(left, first, strict=True):
            text, wrong, unanswered = second.get(index, one)
            case = cases[index]
            if unanswered:
                told[index] = Explanation(compact_text(case), (unanswered,))
            else:
                told[index] = stand_in(case, wrong) if wrong else Explanation(text)
        return [one for one in told if one is not None]

    def _write(self, cases: Sequence[Case]) -> list[tuple[str, tuple[str, ...], str]]:
        """Texts, each with what is wrong with it, or without an answer the warning that says so."""
        requests = [Request((*contents(case.conversation), _text(TELL)), MAX_TOKENS) for case in cases]
        told: list[tuple[str, tuple[str, ...], str]] = []
        for case, reply in zip(cases, self.server.ask(requests), strict=True):
            if isinstance(reply, ReplyError):
                why = f"{reply.message}, {reply.found}" if reply.found else reply.message
                told.append(("", (), f"explanation: none came ({why}); this one is made from measurements"))
                continue
            text = tidy(Reply(reply.text, confidence=1.0, ended=not reply.cut))
            told.append((text, complaints(text, case), ""))
        return told


def contents(conversation: Conversation) -> tuple[Mapping[str, Any], ...]:
    """A conversation's parts as the protocol has them; pictures as JPEG in data URLs."""
    return tuple(_text(part) if isinstance(part, str) else _picture(part) for part in conversation.parts)


def _text(text: str) -> Mapping[str, Any]:
    return {"type": "text", "text": text}


def _picture(picture: Image.Image) -> Mapping[str, Any]:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=_JPEG, subsampling=0)
    url = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}


def read_level(dimension: Dimension, reply: ChatReply) -> LevelScore | None:
    """The score that the alternatives of the reply's first word give; None where no level is among them.

    Before the word a model may write a line break or a quotation mark: the first position with letters counts. There,
    all spellings of a level are added up, as for a loaded model; so is a token that opens the word of one level only,
    since the rest of a word in several tokens was not asked for. What is not a level, and all that is not among the
    alternatives, is off the scale.
    """
    words = QUESTIONS[dimension].words
    top = next((top for top in reply.tokens if _bare(max(top, key=lambda token: top[token]))), {})
    masses = [0.0] * len(words)
    for token, logprob in top.items():
        level = _level(_bare(token), words)
        if level is not None:
            masses[level] += math.exp(logprob)
    total = sum(masses)
    if total <= 0:
        return None
    return level_score(dimension, torch.tensor(masses, dtype=torch.float64) / total, min(1.0, total))


def _bare(token: str) -> str:
    return token.strip(_MARKS).casefold()


def _level(token: str, words: Sequence[str]) -> int | None:
    """The level, worst first, that a bare token writes or begins."""
    if token in words:
        return words.index(token)
    opened = [level for level, word in enumerate(words) if word.startswith(token)]
    return opened[0] if len(token) >= _SHORTEST_OPENING and len(opened) == 1 else None


def _asked_about(grounding: LmmGrounding, compact: Judgement) -> tuple[Dimension, ...]:
    """The dimensions that the judgement would use; a request costs, so none is made for the others."""
    if grounding.edit.kind is Kind.DIFFERENT or grounding.pair.identical:
        return ()
    return sensible(grounding, compact)


def _judged(grounding: LmmGrounding, compact: Judgement, answers: Mapping[Dimension, LevelScore | None]) -> Judgement:
    """As for a loaded model; where the reply names no level the score is null: the compact one must not stand in."""
    judgement = judge(grounding, compact, {d: answer for d, answer in answers.items() if answer is not None})
    null = {
        dimension.value: score(dimension, None, reason=_NO_LEVEL, code=ReplyError.default_code)
        for dimension, answer in answers.items()
        if answer is None
    }
    return replace(judgement, scores=judgement.scores.model_copy(update=null))
