"""A vision-language model of 1.7 million parameters, made from nothing to try the whole path of large ones.

    python -m scripts.small_vlm --photos PHOTOS --out runs/small_vlm
    python -m benchmarks.small_vlm --data DATA --model runs/small_vlm/model

The first line makes it: a Qwen3-VL, real but for its size, with a tokenizer for the sentences of `lmm.prompts`; then
two stages, grounding and scoring, on synthetic edits whose answers are known. `--resume` goes on.
It is a test asset, and no judge of anybody's pictures: it has seen four kinds of faults at 112 pixels.

A transformer of this size does not learn by itself in an hour on a CPU to compare two pictures. So it is born with its
first layer looking, from every place of a picture, at that place in the picture before it, and taking the difference;
with biases beside which differences keep their strength; and every place of the edited picture is asked, while it
learns, what share of it was edited and how badly.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from benchmarks.checkpoints import IDS, TEXT_IDS, make_tokenizer, save_processor
from piqa_cli.compact.framing import bounds
from piqa_cli.lmm.loading import Vlm, load_vlm
from piqa_cli.lmm.prefix import first_positions
from piqa_cli.lmm.prompts import TELL, WHERE, compare, instruction
from piqa_cli.lmm.rendering import render
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.lmm.views import region_view, view
from piqa_cli.schema import Box, Dimension
from piqa_cli.synthesis import Canvas, PhotoLibrary, Split, find_family
from piqa_cli.synthesis.masks import draw_mask
from piqa_cli.training.lmm.answers import answer_losses
from piqa_cli.training.lmm.dialogues import Dialogue, Rated, Written
from piqa_cli.training.lmm.packing import pack
from piqa_cli.training.loop import Plan, fit

FAMILIES = ("exposure", "garble", "paste", "repetition")
LEAST_AREA, MOST_AREA = 0.04, 0.4  # of the picture; less is hardly more than two of the 49 places that it sees
LEAST_SEVERITY = 0.1
SIDE = 320  # of the pictures that the edits are made in
SHOWN = 112  # of what the model sees, in pixels
PATCH, MERGED = 8, 2
GRID = SHOWN // (PATCH * MERGED)
STEP = 20  # thousandths: how finely a box is written
IMAGE = IDS["image_token_id"]
BATCH = 16
U8 = NDArray[np.uint8]


# --- the model before it has learnt anything ---


def write_base(folder: Path) -> None:
    """Configuration, weights, tokenizer and processor, as a hub checkpoint has them."""
    import transformers as hf

    tokenizer = _tokenizer()
    text = {
        "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 4, "head_dim": 32, "vocab_size": len(tokenizer), "max_position_embeddings": 4096,
        # Turning fast enough that neighbouring places are told apart.
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 4.0, "mrope_section": [4, 6, 6], "mrope_interleaved": True,
        },
        "tie_word_embeddings": False, "attention_bias": True, **TEXT_IDS,
    }  # fmt: skip
    vision = {
        "hidden_size": 96, "intermediate_size": 288, "depth": 3, "num_heads": 3, "patch_size": PATCH,
        "spatial_merge_size": MERGED, "temporal_patch_size": 2, "out_hidden_size": 128,
        "num_position_embeddings": (SHOWN // PATCH) ** 2, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    config = hf.Qwen3VLConfig(text_config=text, vision_config=vision, **IDS)
    torch.manual_seed(0)
    hf.AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    area = SHOWN * SHOWN
    save_processor(folder, tokenizer, "Qwen3VLProcessor", patch_size=PATCH, min_pixels=area, max_pixels=area)


def _tokenizer() -> Any:
    """One token for every word of the prompts and every number of a box."""
    blank = Image.new("RGB", (SHOWN, SHOWN))
    shown = [part for part in compare(blank, blank, blank, instruction(None, ())).parts if isinstance(part, str)]
    boxes = [_written((n, n, n, n)) for n in range(0, 1001, STEP)]
    return make_tokenizer([WHERE, TELL, *shown, *boxes * 3, "user\nassistant\n"], 1500)


def _written(corners: Sequence[int]) -> str:
    return '{"bbox_2d": [' + ", ".join(map(str, corners)) + "]}"


@torch.no_grad()
def look_across(vlm: Vlm) -> None:
    """Sets the first layer to give each place of a picture its difference to that place in the picture before.

    Half of the heads look back by as many positions as lie between two pictures, the other half at themselves: a key
    is the query turned by that distance, so that their product is largest there. Both read the same values, and the
    output subtracts one from the other.
    """
    blank = Image.new("RGB", (SHOWN, SHOWN))
    conversation = compare(blank, blank, None, instruction(None, ()))
    inputs = vlm.processor(text=[render(vlm, conversation).head], images=[[blank, blank]], return_tensors="pt")
    first, second = first_positions(vlm, inputs)[0, 0, inputs["input_ids"][0] == IMAGE].view(2, -1)[:, 0].tolist()
    attention = vlm.model.model.language_model.layers[0].self_attn
    turning = vlm.model.model.language_model.rotary_emb.inv_freq
    size, heads = attention.head_dim, attention.q_proj.out_features // attention.head_dim
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        angle = (second - first if head < heads // 2 else 0) * turning
        attention.q_proj.weight[rows] *= 0.1
        attention.k_proj.weight[rows] *= 0.1
        attention.q_proj.bias[rows] = 3 * torch.cat([torch.ones_like(turning), torch.zeros_like(turning)])
        attention.k_proj.bias[rows] = 3 * torch.cat([angle.cos(), angle.sin()])
    attention.q_norm.weight.fill_(4.0)  # sharp enough to leave the neighbours out
    attention.k_norm.weight.fill_(3.0)
    half = heads // 2 * size
    attention.v_proj.weight.normal_(std=attention.v_proj.in_features**-0.5)
    attention.o_proj.weight.normal_(std=8 * half**-0.5)  # differences are small
    attention.v_proj.weight[half:] = attention.v_proj.weight[:half]
    attention.o_proj.weight[:, half:] = -attention.o_proj.weight[:, :half]
    attention.o_proj.weight[: attention.o_proj.out_features // 2] = 0  # where the picture itself stands


@torch.no_grad()
def keep_contrast(vlm: Vlm) -> None:
    """Lets the strength of what a place shows come through the normalisations on its way.

    A normalisation takes away how strong its input is, unless something constant stands beside it: here, biases. What a
    picture shows takes the first half of the width, so that the other half is free for differences (`look_across`).
    """
    vision = vlm.model.model.visual
    vision.patch_embed.proj.weight.normal_(std=0.03)
    vision.patch_embed.proj.bias.normal_()
    merger = vision.merger
    for layer in (merger.linear_fc1, merger.linear_fc2):
        layer.weight.normal_(std=layer.in_features**-0.5)
    merger.linear_fc2.bias.normal_(std=0.3)
    for tensor in (merger.linear_fc2.weight, merger.linear_fc2.bias):
        tensor[merger.linear_fc2.out_features // 2 :] = 0


# --- what it learns from ---


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Edits as the model sees them: N x S x S x 3 uint8 thrice, and what is known of them.

    crop: the enlarged region, found a little wrongly; `close` is false where it fills too much of the picture for that,
    and the crop is black. mask: N x S x S uint8, 0..255. box: N x 4, half-open, in pixels
    of the picture of `SIDE`. severities: N x 2, of harmony and naturalness, 0..1.
    """

    source: U8
    edited: U8
    crop: U8
    close: NDArray[np.bool_]
    mask: U8
    box: NDArray[np.int64]
    severities: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Writes the arrays."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Pool:
        """What `save` wrote."""
        with np.load(path) as found:
            return cls(**{field.name: found[field.name] for field in fields(cls)})


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """One fault put upon a region of a photo; outside `mask` nothing changes.

    source, edited: S x S x 3 uint8. mask: S x S. harmony, naturalness: severities 0..1.
    """

    source: U8
    edited: U8
    mask: NDArray[np.bool_]
    harmony: float
    naturalness: float
    photo: str


def edit(library: PhotoLibrary, number: int, split: Split) -> Edit:
    """The edit of that number; the families come in turn."""
    rng = np.random.default_rng((9, number))
    family = find_family(FAMILIES[number % len(FAMILIES)])
    photo = library.draw(rng, split, (SIDE, SIDE))
    mask = np.zeros((SIDE, SIDE), np.bool_)
    while not LEAST_AREA <= mask.mean() <= MOST_AREA:
        mask = draw_mask(rng, photo, area=float(np.exp(rng.uniform(np.log(LEAST_AREA), np.log(MOST_AREA)))))
    severity = float(rng.uniform(LEAST_SEVERITY, 1))
    grain = np.zeros((SIDE, SIDE, 3), np.float32)
    canvas = Canvas(photo.pixels, photo.pixels, mask, mask, photo.pixels, grain, severity, feather=2)
    edited = family.apply(rng, canvas)
    harmony, naturalness = (severity * harms for harms in (family.harms_harmony, family.harms_naturalness))
    return Edit(photo.pixels, edited, mask, harmony, naturalness, photo.name)


def make_pool(photos: str, count: int) -> Pool:
    """`count` edits of training photos, in as many processes as there are processors."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        rows = list(workers.map(_row, ((photos, number) for number in range(count)), chunksize=16))
    return Pool(*(np.stack(column) for column in zip(*rows, strict=True)))


def _row(job: tuple[str, int]) -> tuple[NDArray[Any], ...]:
    photos, number = job
    cv2.setNumThreads(1)
    sample = edit(_library(photos), number, "train")
    box, rng = bounds(sample.mask), np.random.default_rng(number)
    found = _found(box, rng)
    crop = region_view(sample.edited, [found], (SIDE, SIDE))
    pictures = [
        np.asarray(picture.resize((SHOWN, SHOWN), Image.Resampling.BICUBIC))
        for picture in (view(sample.source), view(sample.edited), crop or Image.new("RGB", (SHOWN, SHOWN)))
    ]
    mask = cv2.resize(sample.mask.astype(np.float32), (SHOWN, SHOWN), interpolation=cv2.INTER_AREA)
    severities = np.array([sample.harmony, sample.naturalness], np.float32)
    return *pictures, np.array(crop is not None), (255 * mask).astype(np.uint8), np.array(box), severities


_LIBRARIES: dict[str, PhotoLibrary] = {}


def _library(photos: str) -> PhotoLibrary:
    if photos not in _LIBRARIES:
        _LIBRARIES[photos] = PhotoLibrary(photos)
    return _LIBRARIES[photos]


def _found(box: Box, rng: np.random.Generator) -> Box:
    """A box as the model may find it: each side off by some percent."""
    x0, y0, x1, y1 = box
    off = [round(v) for v in rng.normal(0, 0.07, 4) * np.array([x1 - x0, y1 - y0] * 2)]
    left, top = x0 + off[0], y0 + off[1]
    right, bottom = max(x1 + off[2], left + 8), max(y1 + off[3], top + 8)
    return max(0, left), max(0, top), min(SIDE, right), min(SIDE, bottom)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One edit, turned and mirrored by chance."""

    source: Image.Image
    edited: Image.Image
    crop: Image.Image | None
    mask: U8
    box: Box
    severities: tuple[float, float]

    def where(self) -> Dialogue:
        """Grounding: the two pictures, and the box."""
        corners = [round(corner / SIDE * 1000 / STEP) * STEP for corner in self.box]
        return Dialogue(
            compare(self.source, self.edited, None, instruction(None, ())), (Written(WHERE, _written(corners)),)
        )

    def places(self) -> Tensor:
        """Of every place of the edited picture: share edited, and that times the severities; 3 x GRID x GRID."""
        shares = F.adaptive_avg_pool2d(torch.from_numpy(self.mask)[None, None].float() / 255, GRID)[0]
        return torch.cat([shares, *(shares * severity for severity in self.severities)])

    def how_good(self) -> Dialogue:
        """Scoring: the region enlarged too where it is small enough; overall is the worse of the two that differ."""
        harmony, naturalness = (5 - 4 * severity for severity in self.severities)
        values = {
            Dimension.OVERALL: min(harmony, naturalness),
            Dimension.HARMONY: harmony,
            Dimension.NATURALNESS: naturalness,
            Dimension.PRESERVATION: 5.0,
        }
        shown = compare(self.source, self.edited, self.crop, instruction(None, ()))
        return Dialogue(shown, tuple(Rated(dimension, value) for dimension, value in values.items()))


def example(pool: Pool, index: int, rng: np.random.Generator) -> Example:
    """An edit of the pool in one of its eight positions."""
    x0, y0, x1, y1 = pool.box[index].tolist()
    pictures = [getattr(pool, name)[index] for name in ("source", "edited", "crop", "mask")]
    mirrored, upside_down, swapped = rng.random(3) < 0.5
    if mirrored:
        pictures, (x0, x1) = [picture[:, ::-1] for picture in pictures], (SIDE - x1, SIDE - x0)
    if upside_down:
        pictures, (y0, y1) = [picture[::-1] for picture in pictures], (SIDE - y1, SIDE - y0)
    if swapped:
        pictures, (x0, y0, x1, y1) = [np.swapaxes(picture, 0, 1) for picture in pictures], (y0, x0, y1, x1)
    source, edited, crop, mask = (np.ascontiguousarray(picture) for picture in pictures)
    harmony, naturalness = pool.severities[index].tolist()
    shown = [Image.fromarray(picture) for picture in (source, edited, crop)]
    return Example(
        shown[0], shown[1], shown[2] if pool.close[index] else None, mask, (x0, y0, x1, y1), (harmony, naturalness)
    )


# --- how it learns ---


class Learner:
    """One stage: makes its batches, and tells their losses. The pairs of a batch are shown in as many pictures each."""

    def __init__(self, vlm: Vlm, places: nn.Linear, pool: Pool, share_of_boxes: float) -> None:
        self.vlm, self.places, self.pool, self.share = vlm, places, pool, share_of_boxes
        self.module = nn.ModuleDict({"model": vlm.model, "places": places})

    def batches(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """The batches of these steps; each is a function of its number."""
        for step in range(first, last):
            rng = np.random.default_rng((1, step))
            alike = self.pool.close if rng.random() < self.pool.close.mean() else ~self.pool.close
            drawn = [example(self.pool, int(i), rng) for i in rng.choice(np.flatnonzero(alike), BATCH)]
            where = rng.random() < self.share
            packed = pack(self.vlm, [one.where() if where else one.how_good() for one in drawn])
            yield packed | {"places": torch.stack([one.places() for one in drawn])}

    def losses(self, batch: dict[str, Tensor], /) -> dict[str, Tensor]:
        """Of the answers, and of what every place of the edited picture says."""
        known = batch.pop("places")
        with torch.autocast("cpu", torch.bfloat16):
            losses, out = answer_losses(self.vlm.model, batch, output_hidden_states=True)
        pictures = out.hidden_states[-1][batch["input_ids"] == IMAGE].view(
            BATCH, -1, GRID * GRID, self.places.in_features
        )
        told = self.places(pictures[:, 1].float()).transpose(1, 2)
        each = F.binary_cross_entropy_with_logits(told, known.flatten(2), reduction="none").mean((0, 2)).sum()
        weighted = {name: WEIGHTS[name] * value for name, value in losses.items()}
        return weighted | {"places": 2 * each}


WEIGHTS = {"written": 0.25, "levels": 2.0}
STAGES = (
    ("ground", 1000, 1.5e-3, 1.0),
    ("score", 1100, 1.2e-3, 0.2),
)  # steps, peak rate, share of batches that ask where


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="photos to make edits from")
    parser.add_argument("--out", type=Path, required=True, help="receives pool, checkpoints and the model")
    parser.add_argument("--count", type=int, default=6000, help="edits to learn from")
    parser.add_argument("--threads", type=int, help="of the numeric libraries")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out")
    args = parser.parse_args()
    if args.out.exists() and not args.resume:
        parser.error(f"{args.out} exists; --resume goes on with it")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    pool_file, base, target = args.out / "pool.npz", args.out / "base", args.out / "model"
    if not pool_file.is_file():
        make_pool(args.photos, args.count).save(pool_file)
    write_base(base)
    vlm = load_vlm(LmmSettings(model=str(base), device="cpu"))
    keep_contrast(vlm)
    look_across(vlm)
    vlm.model.requires_grad_(True).train()
    torch.manual_seed(0)
    places = nn.Linear(vlm.model.config.text_config.hidden_size, 3)
    pool = Pool.load(pool_file)
    shutil.copytree(base, target, dirs_exist_ok=True)
    for name, steps, rate, share in STAGES:
        learner = Learner(vlm, places, pool, share)
        fit(Plan(name, steps, rate), learner.module, learner.losses, learner.batches, args.out, print)
        vlm.model.save_pretrained(target)


if __name__ == "__main__":
    main()
