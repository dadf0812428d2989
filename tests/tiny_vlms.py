"""Tiny random checkpoints of the ten architectures that piqa promises to load, made on the spot, offline.

They go through the real files: `config.json`, `model.safetensors`, tokenizer, image processor and chat template, as a
hub checkpoint has them. The weights are random, but large enough that every token and every pixel moves the answer:
with the libraries' own initialisation a wrong mask would hide below any tolerance.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

Config = dict[str, Any]

_WORDS = (
    "good",
    "fair",
    "poor",
    "bad",
    "Good",
    "Fair",
    "Poor",
    "Bad",
    "yes",
    "no",
    "Yes",
    "No",
    "edit",
    "image",
    "the",
)
_CORPUS = [f"{word} {word}\n{word}" for word in _WORDS]  # "excellent" and "partly" are left out: several tokens each
_ALPHABET = pre_tokenizers.ByteLevel.alphabet()
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SMALL_VISION: Config = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_SIGLIP: Config = {**_SMALL_VISION, "image_size": 56, "patch_size": 14, "vision_use_head": False}


def _tokenizer(special: Sequence[str], *, image: str | None, end: str = "<|im_end|>", **named: Any) -> Any:
    """A byte-level BPE tokenizer of about 350 tokens; `image` is what the chat template writes for a picture."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    size = len(_ALPHABET) + len(special) + 60
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(special), initial_alphabet=_ALPHABET, show_progress=False
    )
    bare.train_from_iterator(_CORPUS * 20, trainer)
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=bare, padding_side="left", eos_token=end, **named)
    if image is not None:
        tokenizer.chat_template = _CHAT.replace("IMAGE", image).replace("<|im_end|>", end)
    return tokenizer


def _text(tokenizer: Any, **more: Any) -> Config:
    common = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    cache = {"num_key_value_heads": 2, "max_position_embeddings": 4096, "tie_word_embeddings": False}
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}
    return {**common, **cache, **ids, "vocab_size": len(tokenizer), **more}


def _save(folder: Path, config: Any, *parts: Any, processor: Config | None = None) -> None:
    """Random weights, and the parts of the processor; `processor` is the content of a file written by hand."""
    torch.manual_seed(0)
    model = hf.AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                embedding = "embed" in name and "patch" not in name
                fan_in = parameter.shape[1:].numel()
                parameter.normal_(std=1.0 if embedding else fan_in**-0.5)
    model.save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)
    if processor is not None:
        (folder / "processor_config.json").write_text(json.dumps(processor), "utf-8")


def _qwen(folder: Path, config: Any, processor: str, vision: Config, text: Config) -> None:
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
               "<|image_pad|>", "<|video_pad|>")  # fmt: skip
    tokenizer = _tokenizer(
        special,
        image="<|vision_start|><|image_pad|><|vision_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(special[1:]),
    )
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0, **text.pop("rope", {})}
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    tokens = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    shared = {"num_heads": 2, "spatial_merge_size": 2, "temporal_patch_size": 2, "depth": 2, "patch_size": 14}
    made = config(
        text_config=_text(tokenizer, rope_parameters=rope, **text),
        vision_config={**shared, **vision},
        **dict(zip(names, tokenizer.convert_tokens_to_ids(list(tokens)), strict=True)),
    )
    patch = made.vision_config.patch_size
    images = hf.Qwen2VLImageProcessorPil(
        patch_size=patch, temporal_patch_size=2, merge_size=2, min_pixels=56 * 56, max_pixels=112 * 112
    )
    _save(folder, made, tokenizer, images)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "processor_class": processor}), "utf-8")


def _qwen2_vl(folder: Path) -> None:
    vision = {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
    _qwen(folder, hf.Qwen2VLConfig, "Qwen2VLProcessor", vision, {})


def _qwen2_5_vl(folder: Path) -> None:
    vision = {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "window_size": 56}
    _qwen(folder, hf.Qwen2_5_VLConfig, "Qwen2_5_VLProcessor", {**vision, "fullatt_block_indexes": [1]}, {})


def _qwen3_vl(folder: Path) -> None:
    vision = {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "patch_size": 16}
    vision |= {"num_position_embeddings": 64}
    text = {"head_dim": 16, "rope": {"mrope_interleaved": True}}
    _qwen(folder, hf.Qwen3VLConfig, "Qwen3VLProcessor", {**vision, "deepstack_visual_indexes": [0, 1]}, text)


def _llava(folder: Path) -> None:
    special = ("<pad>", "<s>", "<|im_start|>", "<|im_end|>", "<image>")
    tokenizer = _tokenizer(
        special, image="<image>", pad_token="<pad>", bos_token="<s>", additional_special_tokens=list(special[2:])
    )
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    processor = hf.LlavaProcessor(
        images, tokenizer, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    vision = {**_SMALL_VISION, "model_type": "clip_vision_model", "num_hidden_layers": 3, "image_size": 56}
    config = hf.LlavaConfig(
        vision_config={**vision, "patch_size": 14, "projection_dim": 32},
        text_config=_text(tokenizer, model_type="llama"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    _save(folder, config, processor)


def _llava_onevision(folder: Path) -> None:
    special = ("<pad>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
    tokenizer = _tokenizer(special, image="<image>", pad_token="<pad>", additional_special_tokens=list(special[1:]))
    grid = [[56, 56], [56, 112], [112, 56], [112, 112]]
    images = hf.LlavaOnevisionImageProcessorPil(size={"height": 56, "width": 56}, image_grid_pinpoints=grid)
    config = hf.LlavaOnevisionConfig(
        text_config=_text(tokenizer, model_type="qwen2"),
        vision_config={**_SIGLIP, "model_type": "siglip_vision_model"},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
    )
    own = {"processor_class": "LlavaOnevisionProcessor", "num_image_tokens": 16}
    own |= {"vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9"}
    _save(folder, config, tokenizer, images, processor=own)


def _idefics(folder: Path, *, smol: bool) -> None:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    special = ("<pad>", "<s>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>",
               "<global-img>", *tiles)  # fmt: skip
    tokenizer = _tokenizer(
        special,
        image="<image>",
        end="<end_of_utterance>",
        pad_token="<pad>",
        bos_token="<s>",
        additional_special_tokens=list(special[2:]),
    )
    kind = hf.SmolVLMImageProcessorPil if smol else hf.Idefics3ImageProcessorPil
    images = kind(size={"longest_edge": 128}, max_image_size={"longest_edge": 64}, do_image_splitting=True)
    config = (hf.SmolVLMConfig if smol else hf.Idefics3Config)(
        vision_config={**_SMALL_VISION, "image_size": 64, "patch_size": 8},
        text_config=_text(tokenizer, model_type="llama"),
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    if smol:
        own = {"processor_class": "SmolVLMProcessor", "image_seq_len": 16}
        _save(folder, config, tokenizer, images, processor=own)
    else:
        _save(folder, config, hf.Idefics3Processor(images, tokenizer, image_seq_len=16))


def _internvl(folder: Path) -> None:
    special = ("<pad>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    named = ("start_image_token", "end_image_token", "context_image_token", "video_token")
    tokenizer = _tokenizer(
        special,
        image="<IMG_CONTEXT>\n",
        pad_token="<pad>",
        extra_special_tokens=dict(zip(named, special[3:], strict=True)),
    )
    images = hf.GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, crop_to_patches=False)
    config = hf.InternVLConfig(
        text_config=_text(tokenizer, model_type="qwen2"),
        vision_config={**_SMALL_VISION, "image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        downsample_ratio=0.5,
        image_seq_length=4,
    )
    own = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    _save(folder, config, tokenizer, images, processor=own)


def _gemma3(folder: Path) -> None:
    special = ("<pad>", "<eos>", "<bos>", "<|im_start|>", "<|im_end|>", "<start_of_image>", "<end_of_image>",
               "<image_soft_token>")  # fmt: skip
    named = {"boi_token": special[5], "eoi_token": special[6], "image_token": special[7]}
    tokenizer = _tokenizer(
        special, image="<start_of_image>", pad_token="<pad>", bos_token="<bos>", extra_special_tokens=named
    )
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    images = hf.Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
    text = _text(tokenizer, head_dim=16, layer_types=["sliding_attention", "full_attention"], sliding_window=64)
    config = hf.Gemma3Config(
        text_config=text,
        vision_config={**_SIGLIP},
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    _save(folder, config, hf.Gemma3Processor(images, tokenizer, image_seq_length=4))


def _paligemma(folder: Path) -> None:
    special = ("<pad>", "<eos>", "<bos>", "<unk>")
    tokenizer = _tokenizer(special, image=None, end="<eos>", pad_token="<pad>", bos_token="<bos>", unk_token="<unk>")
    images: Any = hf.SiglipImageProcessorPil(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(images, tokenizer)  # adds <image>, <loc....> and <seg...> to the tokenizer
    config = hf.PaliGemmaConfig(
        text_config=_text(tokenizer, model_type="gemma", head_dim=16, hidden_size=32, intermediate_size=64),
        vision_config={**_SIGLIP, "model_type": "siglip_vision_model"},
        image_token_index=processor.image_token_id,
        projection_dim=32,
        hidden_size=32,
    )
    _save(folder, config, processor)


_MAKERS: dict[str, Callable[[Path], None]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "llava": _llava,
    "llava_onevision": _llava_onevision,
    "idefics3": functools.partial(_idefics, smol=False),
    "smolvlm": functools.partial(_idefics, smol=True),
    "internvl": _internvl,
    "gemma3": _gemma3,
    "paligemma": _paligemma,
}
KINDS = tuple(_MAKERS)


def build(kind: str, folder: Path) -> Path:
    """Writes a checkpoint of one architecture to `folder / kind`, and gives that folder."""
    target = folder / kind
    target.mkdir(parents=True, exist_ok=True)
    _MAKERS[kind](target)
    return target


@functools.cache
def _scratch() -> Path:
    scratch = tempfile.TemporaryDirectory(prefix="tiny_vlms")
    atexit.register(scratch.cleanup)
    return Path(scratch.name)


@functools.cache
def checkpoint(kind: str) -> Path:
    """The checkpoint of one architecture, built once in this process and removed at its end. Not to be changed."""
    return build(kind, _scratch())
