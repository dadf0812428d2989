"""The pictures read once for five questions, against a forward pass for each.

    python -m benchmarks.lmm_prefix                 a random Qwen2.5-VL of 200 million parameters, on the CPU
    python -m benchmarks.lmm_prefix --checkpoint F  any image-text-to-text model, by folder or hub id

The weights decide nothing here: time and the agreement of both ways depend on the shapes alone. Three pictures a pair
(source, edited, enlarged region), as the assessor shows them; the pair is drawn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import common, pictures
from benchmarks.checkpoints import IDS, TEXT_IDS, make_tokenizer, save_processor
from piqa_cli.images import load_pair
from piqa_cli.lmm.levels import score_levels, spell
from piqa_cli.lmm.loading import Vlm, load_vlm
from piqa_cli.lmm.prefix import ask
from piqa_cli.lmm.prompts import Conversation, compare, instruction
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.lmm.views import region_view, view
from piqa_cli.schema import Dimension

SIDE = 512
SIZES: dict[str, dict[str, Any]] = {  # of the language part and of the vision part
    "200M": {
        "text": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 12, "num_attention_heads": 14},
        "vision": {"hidden_size": 384, "intermediate_size": 1536, "depth": 8, "num_heads": 6},
    },
    "tiny": {
        "text": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
        "vision": {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2},
    },
}


def write_checkpoint(folder: Path, size: str) -> None:
    """A random Qwen2.5-VL whose tokenizer knows the level words and the words of the questions."""
    import transformers as hf

    tokenizer = make_tokenizer()
    text = SIZES[size]["text"]
    half = text["hidden_size"] // text["num_attention_heads"] // 2
    section = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    config = hf.Qwen2_5_VLConfig(
        text_config={
            **text,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "mrope_section": section, "rope_theta": 1e6},
            **TEXT_IDS,
        },
        vision_config={
            **SIZES[size]["vision"],
            "out_hidden_size": text["hidden_size"],
            "fullatt_block_indexes": [SIZES[size]["vision"]["depth"] - 1],
        },
        **IDS,
    )
    torch.manual_seed(0)
    model = hf.AutoModelForImageTextToText.from_config(config)
    torch.nn.init.normal_(model.lm_head.weight, std=0.1)  # or all words would be equally likely
    model.save_pretrained(folder)
    save_processor(folder, tokenizer, "Qwen2_5_VLProcessor", patch_size=14)


def conversations(folder: Path, count: int) -> list[Conversation]:
    """Drawn pairs of 512 pixels, each with an enlarged region."""
    made = []
    for number in range(count):
        pair = load_pair(pictures.write_pair(folder, f"{number}", (SIDE, SIDE), seed=number))
        edited = pair.edited.pixels
        size = (edited.shape[0], edited.shape[1])
        crop = region_view(edited, [(SIDE // 4, SIDE // 4, SIDE // 2, SIDE // 2)], size)
        made.append(compare(view(pair.source.pixels), view(edited), crop, instruction("Make the object red.", ())))
    return made


def measure(vlm: Vlm, batch: list[Conversation], rounds: int) -> list[common.Row]:
    """Both ways for one batch: seconds, how much faster, and the largest difference of a score."""
    spellings = [spell(vlm.processor.tokenizer, dimension, vlm.info.name) for dimension in Dimension]
    apart = replace(vlm, family=replace(vlm.family, model_type="unlisted"))  # an unlisted one is asked separately

    def judge(model: Vlm) -> list[float]:
        answers = ask(model, batch, [spelling.question for spelling in spellings])
        told = zip(spellings, answers, strict=True)
        return [found.value for spelling, answer in told for found in score_levels(spelling, answer)]

    tasks: list[tuple[str, Callable[[], object]]] = [
        ("once", lambda: judge(vlm)),
        ("apart", lambda: judge(apart)),
    ]
    taken = common.interleaved(tasks, rounds=rounds)
    differ = max(abs(a - b) for a, b in zip(judge(vlm), judge(apart), strict=True))
    once, apart_seconds = taken["once"], taken["apart"]
    return [(len(batch), once, apart_seconds, apart_seconds / once, len(batch) / once, differ)]


def main() -> None:
    """Print the table."""
    parser = common.parser(__doc__, data=False)
    parser.add_argument("--checkpoint", help="a folder or hub id instead of the random model")
    parser.add_argument("--size", choices=tuple(SIZES), default="200M", help="of the random model")
    parser.add_argument("--device", default="cpu")
    parser.set_defaults(dtype="fp32")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4], help="pairs at a time")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if given.checkpoint is None:
            write_checkpoint(folder / "model", given.size)
        name = given.checkpoint or str(folder / "model")
        vlm = load_vlm(LmmSettings(model=name, device=given.device, dtype=given.dtype))
        count = sum(parameter.numel() for parameter in vlm.model.parameters())
        rows = [
            row
            for size in given.batches
            for row in measure(vlm, conversations(folder / f"pairs{size}", size), given.rounds)
        ]
    what = f"{vlm.family.model_type}, {count / 1e6:.0f} M parameters, {given.dtype} on {given.device}"
    title = f"Five questions, pictures read once or five times: {what}, {torch.get_num_threads()} threads"
    columns = ("pairs", "once, s", "five times, s", "ratio", "pairs a second", "largest difference of a score")
    common.publish([common.Table(title, columns, tuple(rows))], given.json)


if __name__ == "__main__":
    main()
