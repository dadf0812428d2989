"""A conversation as one text, the way the checkpoint wants it, split where the question stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from piqa_cli.errors import ModelError
from piqa_cli.lmm.prompts import Conversation

if TYPE_CHECKING:
    from piqa_cli.lmm.loading import Vlm

_MARKER = "[[question]]"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation: the text before the question, and what the chat template puts after it."""

    head: str
    tail: str

    def joined(self, question: str) -> str:
        """The whole text with a question in its place."""
        return f"{self.head}{question}{self.tail}"

    def suffix(self, tokenizer: Any, question: str) -> list[int]:
        """The tokens of question and tail as they are when the whole text is tokenised at once.

        Where the joint is no border of tokens, those of question and tail by themselves.
        """
        head = tokenizer(self.head, add_special_tokens=False)["input_ids"]
        whole: list[int] = tokenizer(self.joined(question), add_special_tokens=False)["input_ids"]
        if whole[: len(head)] == head:
            return whole[len(head) :]
        alone: list[int] = tokenizer(f"{question}{self.tail}", add_special_tokens=False)["input_ids"]
        return alone


def render(vlm: Vlm, conversation: Conversation) -> Prompt:
    """A conversation as the checkpoint's chat template writes it, or as plain text behind the pictures' tokens.

    Raises:
        ModelError: there is no chat template, or it loses the text.
    """
    processor, tokenizer = vlm.processor, vlm.processor.tokenizer
    if not vlm.family.chat:
        texts = " ".join(part for part in conversation.parts if isinstance(part, str))
        return Prompt(f"{processor.image_token * len(conversation.pictures)}{texts} ", "")
    template = getattr(processor, "chat_template", None) or tokenizer.chat_template
    if not template:
        raise ModelError(
            f"'{vlm.info.name}' has no chat template, so it is not known how it is to be asked",
            expected="a model tuned to follow instructions",
            found="a checkpoint without chat_template",
        )
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
        for part in (*conversation.parts, _MARKER)
    ]
    rendered = processor.apply_chat_template(
        [{"role": "user", "content": content}], chat_template=template, add_generation_prompt=True, tokenize=False
    )
    head, marker, tail = rendered.rpartition(_MARKER)
    if not marker:
        raise ModelError(f"the chat template of '{vlm.info.name}' does not pass on the text of a user")
    bos = tokenizer.bos_token
    if bos and not head.startswith(bos) and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]:
        head = bos + head  # what the tokenizer would add itself; piqa adds it once, here
    return Prompt(head, tail)
