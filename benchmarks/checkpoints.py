"""What the small Qwen checkpoints of the benchmarks and scripts have in common: words, chat and image processor."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from piqa_cli.lmm.prompts import QUESTIONS

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
IDS: dict[str, Any] = {
    "image_token_id": SPECIAL.index("<|image_pad|>"),
    "video_token_id": SPECIAL.index("<|video_pad|>"),
    "vision_start_token_id": SPECIAL.index("<|vision_start|>"),
    "vision_end_token_id": SPECIAL.index("<|vision_end|>"),
}
"""For the model's configuration."""
TEXT_IDS = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": SPECIAL.index("<|im_end|>")}
"""For its language part's."""
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(texts: Iterable[str] = (), size: int = 4000) -> Any:
    """Byte-level pairs that know the questions, their level words, and what else is given, in at most `size` tokens."""
    import transformers as hf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = [word for asked in QUESTIONS.values() for word in asked.words]
    forms = [f"{lead}{form}" for word in words for form in (word, word.capitalize()) for lead in ("", " ")]
    bare.train_from_iterator([*forms, *(asked.text for asked in QUESTIONS.values()), *texts] * 10, trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bare,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        additional_special_tokens=list(SPECIAL[1:]),
        chat_template=CHAT,
    )


def save_processor(folder: Path, tokenizer: Any, kind: str, **options: Any) -> None:
    """Writes the tokenizer, and the image processor of these options under the processor class `kind`."""
    import transformers as hf

    tokenizer.save_pretrained(folder)
    hf.Qwen2VLImageProcessorPil(temporal_patch_size=2, merge_size=2, **options).save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "processor_class": kind}), "utf-8")
