"""Training items: synthetic and real pairs, brought to the frame in which the network will meet them.

An item is a pure function of its index, so that a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from piqa_cli.align import register
from piqa_cli.compact.network import KINDS
from piqa_cli.schema import Kind
from piqa_cli.synthesis.photos import PhotoLibrary
from piqa_cli.synthesis.pixels import pick
from piqa_cli.synthesis.stream import make_sample
from piqa_cli.training.edits import RatedEdit, decode_rgb, load_mask, load_rgb

U8 = NDArray[np.uint8]
_UNKNOWN_KIND = -100  # cross-entropy's own "do not count"
_REAL = (0.6, 0.2, 0.2)  # of the real ones: with a mask, with a box, changed all over
_KINDS = {Kind.LOCAL: 0.62, Kind.NONE: 0.21, Kind.GLOBAL: 0.13, Kind.DIFFERENT: 0.04}  # of the synthetic pairs
_KEPT_WELL = 4.0  # rating of preservation from which everything outside the judge's box counts as unedited


@dataclass(frozen=True, slots=True, eq=False)
class Framed:
    """A pair in one square frame: uint8 S x S x 3 twice, mask and weight S x S (0 or 1), kind index."""

    source: U8
    edited: U8
    mask: U8
    weight: U8
    kind: int


def to_tensor(pixels: U8) -> Tensor:
    """H x W x 3 uint8 -> 3 x H x W uint8."""
    return torch.from_numpy(np.array(pixels, np.uint8)).permute(2, 0, 1)


class PhotoCrops(Dataset[dict[str, Tensor]]):
    """Square crops of single pictures, `picture` 3 x S x S uint8, for distillation."""

    def __init__(self, files: Sequence[str], size: int, seed: int) -> None:
        self.files, self.size, self.seed = files, size, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        pixels = load_rgb(Path(self.files[int(rng.integers(len(self.files)))]))
        side = int(rng.uniform(0.55, 1.0) * min(pixels.shape[:2]))
        y, x = (int(rng.integers(0, extent - side + 1)) for extent in pixels.shape[:2])
        how = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        crop = cv2.resize(pixels[y : y + side, x : x + side], (self.size, self.size), interpolation=how)
        return {"picture": to_tensor(np.asarray(crop[:, ::-1] if rng.random() < 0.5 else crop, np.uint8)).contiguous()}


class ChangePairs(Dataset[dict[str, Tensor]]):
    """Pairs for grounding: synthetic edits, and a share of real ones."""

    def __init__(
        self, library: PhotoLibrary, edits: Sequence[RatedEdit], size: int, seed: int, *, real_share: float = 0.35,
        leave_out: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.library, self.size, self.seed, self.real_share = library, size, seed, real_share
        self.leave_out = leave_out
        bare = [edit for edit in edits if edit.mask is None]
        self.lots = [
            [edit for edit in edits if edit.mask is not None],
            [edit for edit in bare if edit.box != "all"],
            [edit for edit in bare if edit.box == "all"],
        ]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        lot = self.lots[pick(rng, _REAL)] if rng.random() < self.real_share else []
        framed = frame_edit(lot[int(rng.integers(len(lot)))], rng, self.size) if lot else self._synthetic(index)
        if rng.random() < 0.8:
            framed = _registered(framed)
        return {
            "source": to_tensor(framed.source),
            "edited": to_tensor(framed.edited),
            "mask": torch.from_numpy(np.array(framed.mask))[None],
            "weight": torch.from_numpy(np.array(framed.weight))[None],
            "kind": torch.tensor(framed.kind),
        }

    def _synthetic(self, index: int) -> Framed:
        seed = self.seed * 1_000_003 + index
        sample = make_sample(self.library, seed, self.size, "train", kinds=_KINDS, without=self.leave_out)
        kind = KINDS.index(str(sample.kind))
        # Where the whole picture changed, or is another one, there is no outline to learn.
        weight = np.full(sample.mask.shape, KINDS[kind] in ("no_change", "local_edit"), np.uint8)
        weight[sample.drift_mask] = 0  # changed as well, though nobody asked for it: neither edit nor untouched
        return Framed(sample.source, sample.edited, sample.mask.astype(np.uint8), weight, kind)


def _registered(framed: Framed) -> Framed:
    """The source moved and toned onto the edited picture, as the assessor will do it."""
    size = (framed.edited.shape[0], framed.edited.shape[1])
    found = register(framed.source, framed.edited, source_size=framed.source.shape[:2], edited_size=size)
    if not found.matches:
        return framed
    weight = framed.weight * found.valid.astype(np.uint8)
    return Framed(found.source, framed.edited, framed.mask, weight, framed.kind)


def frame_edit(edit: RatedEdit, rng: np.random.Generator, size: int) -> Framed:
    """A random square window of a real edit, re-encoded now and then, with what is known of its mask."""
    source, edited = load_rgb(edit.source), load_rgb(edit.edited)
    if source.shape != edited.shape:
        source = np.asarray(cv2.resize(source, edited.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
    mask, weight = _truth(edit, edited.shape[:2])
    side = int(rng.uniform(0.6, 1.0) * min(edited.shape[:2]))
    y, x = _window(mask, side, rng)
    flip = rng.random() < 0.5

    def seen(pixels: U8, how: int) -> U8:
        part = cv2.resize(pixels[y : y + side, x : x + side], (size, size), interpolation=how)
        return np.ascontiguousarray(part[:, ::-1] if flip else part, np.uint8)

    smooth = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    pictures = [seen(pixels, smooth) for pixels in (source, edited)]
    for index in (0, 1):
        if rng.random() < 0.4:
            pictures[index] = reencoded(pictures[index], rng)
    shown = seen(mask, cv2.INTER_NEAREST)
    return Framed(pictures[0], pictures[1], shown, seen(weight, cv2.INTER_NEAREST), _kind(edit, mask, shown))


def _truth(edit: RatedEdit, size: tuple[int, ...]) -> tuple[U8, U8]:
    """Mask and weight, H x W of 0 and 1. A judge's box says only where nothing was edited."""
    mask, weight = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    if edit.mask is not None:
        return load_mask(edit.mask, (size[0], size[1])).astype(np.uint8), weight + np.uint8(1)
    if edit.box == "none":
        return mask, weight + np.uint8(1)
    if isinstance(edit.box, tuple):
        left, top, right, bottom = edit.box
        margin = 0.04
        y0, y1 = (int(size[0] * min(1, max(0, v))) for v in (top - margin, bottom + margin))
        x0, x1 = (int(size[1] * min(1, max(0, v))) for v in (left - margin, right + margin))
        mask[y0:y1, x0:x1] = 1
        if edit.preserved >= _KEPT_WELL:
            weight[:] = 1
            weight[y0:y1, x0:x1] = 0
    return mask, weight


def _window(mask: U8, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Corner of a square window that holds at least one edited pixel, where there is one."""
    limits = [extent - side for extent in mask.shape]
    if mask.any():
        points = np.argwhere(mask)
        point = points[rng.integers(len(points))]
        spans = [(max(0, p - side + 1), min(limit, p)) for p, limit in zip(point.tolist(), limits, strict=True)]
    else:
        spans = [(0, limit) for limit in limits]
    y, x = (int(rng.integers(low, max(low, high) + 1)) for low, high in spans)
    return y, x


def _kind(edit: RatedEdit, mask: U8, seen: U8) -> int:
    """Index of the kind, or "do not count" where the window shows too little of the edit to tell."""
    if edit.box == "none" and edit.mask is None:
        return KINDS.index("no_change")
    if edit.box == "all" and edit.mask is None:
        return KINDS.index("global_change")
    enough = seen.mean() * seen.size >= 0.002 * seen.size and 0 < mask.mean() < 0.7
    return KINDS.index("local_edit") if enough else _UNKNOWN_KIND


def reencoded(pixels: U8, rng: np.random.Generator) -> U8:
    """A JPEG or WebP round trip of random quality, H x W x 3 uint8 in and out."""
    suffix, flag = (".jpg", cv2.IMWRITE_JPEG_QUALITY) if rng.random() < 0.7 else (".webp", cv2.IMWRITE_WEBP_QUALITY)
    _, data = cv2.imencode(suffix, pixels[..., ::-1], [flag, int(rng.integers(40, 96))])
    return decode_rgb(data)
