"""Edits as the quality branch meets them: a crop around the region, what changed within and without, and the truth.

Three sources of truth stand side by side in one record, with NaN for what a source does not know: ratings of real
edits, the severities of made ones, and ratings of a sample of made ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice
from multiprocessing import get_all_start_methods
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch.utils.data import DataLoader, Dataset

from piqa_cli.compact.framing import CONTEXT, Crop, Frame, crop_region, open_frame, resize_mask
from piqa_cli.compact.grounding import ground_frames, summarise_maps, threshold
from piqa_cli.compact.measured import crop_numbers
from piqa_cli.compact.network import FAULTS, CompactModel
from piqa_cli.compact.weights_file import quickened
from piqa_cli.errors import PiqaError
from piqa_cli.images import load_pair
from piqa_cli.pairs.truth import true_regions
from piqa_cli.schema import Dimension
from piqa_cli.synthesis import FAMILIES, PhotoLibrary, Sample, make_severity_pair
from piqa_cli.training.edits import RatedEdit, load_mask, load_rgb
from piqa_cli.training.material import Example
from piqa_cli.training.opinion import to_opinion
from piqa_cli.training.ratings import MadeRating
from piqa_cli.training.remarks import faults_in

RATED = (Dimension.HARMONY, Dimension.NATURALNESS, Dimension.PRESERVATION)
"""What has a head of its own, in the order of `Cases.ratings`; overall is made of the scores, completion verified."""
U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
WIDER = 1.125  # the crop kept for training over the crop judged: room for random windows
_MADE_SIDE = 320
_GROUNDED_TOGETHER = 8
_UNKNOWN = float("nan")
Row = dict[str, NDArray[np.generic] | np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """N edits, one row each in every array.

    source, edited: N x W x W x 3 uint8, W = `WIDER` times the crop's side. mask: N x W x W uint8, 0..255. area: N,
    share of the picture. measured: N x MEASURED, `crop_numbers` of the middle. inside, outside: N x (3C + 15),
    `network.summarise`. ratings: N x 3, people's scale 1..5 of harmony and naturalness and the judge's own of
    preservation. severities: N x 3, 0..1 of harmony, naturalness and drift. faults: N x 12, severities in the order
    of `network.FAULTS`. family: N, index in `FAMILIES`, -1 for a real edit. NaN: not known.
    """

    source: U8
    edited: U8
    mask: U8
    area: F32
    measured: F32
    inside: F32
    outside: F32
    ratings: F32
    severities: F32
    faults: F32
    family: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.area)

    def save(self, path: Path) -> None:
        """Writes the arrays; the file appears whole or not at all."""
        temporary = path.with_suffix(".tmp")
        save_file({field.name: getattr(self, field.name) for field in fields(self)}, temporary)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Cases:
        """What `save` wrote."""
        return cls(**load_file(path))


@dataclass(frozen=True, slots=True, eq=False)
class _Framed:
    """An edit before the network has looked at it; `mask` None: to be found."""

    frame: Frame
    mask: NDArray[np.bool_] | None
    ratings: tuple[float, float, float] = (_UNKNOWN,) * 3
    severities: tuple[float, float, float] = (_UNKNOWN,) * 3
    faults: tuple[float, ...] = (_UNKNOWN,) * len(FAULTS)
    family: int = -1


def real_cases(model: CompactModel, edits: Sequence[RatedEdit]) -> Cases:
    """Rated real edits, grounded by the network as it is; a known mask stands for half of those that have one."""
    return _gather(model, _batches(_RealFrames(edits)))


def own_cases(model: CompactModel, examples: Sequence[Example]) -> Cases | None:
    """Edits rated by people, as `real_cases`; None if none of them can be read."""
    framed = _batches(_OwnFrames(examples))
    first = next(framed, None)
    return None if first is None else _gather(model, chain([first], framed))


def made_cases(model: CompactModel, photos: str, families: Sequence[str], count: int, seed: int) -> Cases:
    """Synthetic edits, `count` of each family, as neighbouring rows: the better and the worse version of one."""
    return _gather(model, _batches(_MadeFrames(photos, families, count // 2, seed)))


def rated_cases(model: CompactModel, photos: str, rated: Sequence[MadeRating]) -> Cases:
    """The synthetic edits of the table of ratings, made again from their recipes."""
    return _gather(model, _batches(_RatedFrames(photos, rated)))


class _RealFrames(Dataset[list[_Framed]]):
    def __init__(self, edits: Sequence[RatedEdit]) -> None:
        self.edits = edits

    def __len__(self) -> int:
        return len(self.edits)

    def __getitem__(self, index: int) -> list[_Framed]:
        edit = self.edits[index]
        source, edited = load_rgb(edit.source), load_rgb(edit.edited)
        frame = _frame(source, edited)
        known = load_mask(edit.mask, frame.size) if edit.mask is not None and index % 2 else None
        ratings = (
            to_opinion(Dimension.HARMONY, edit.harmony),
            to_opinion(Dimension.NATURALNESS, edit.naturalness),
            edit.preserved,
        )
        return [_Framed(frame, known, ratings, faults=faults_in(edit.note))]


class _OwnFrames(Dataset[list[_Framed]]):
    """Edits of `piqa train compact --data`; one that cannot be read is left out."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> list[_Framed]:
        example = self.examples[index]
        try:
            pair = load_pair(example.rated.pair)
            truth = true_regions(example.known, pair.info.edited)
        except PiqaError:
            return []
        frame = _frame(pair.source.pixels, pair.edited.pixels)
        known = truth.mask if truth is not None and truth.mask.any() and index % 2 else None
        harmony, naturalness, preservation = (example.value(dimension) for dimension in RATED)
        mask = None if known is None else resize_mask(known, frame.size)
        return [_Framed(frame, mask, (harmony, naturalness, preservation))]


class _MadeFrames(Dataset[list[_Framed]]):
    def __init__(self, photos: str, families: Sequence[str], pairs: int, seed: int) -> None:
        self.photos, self.families, self.pairs, self.seed = photos, families, pairs, seed
        self.library: PhotoLibrary | None = None

    def __len__(self) -> int:
        return self.pairs * len(self.families)

    def __getitem__(self, index: int) -> list[_Framed]:
        self.library = self.library or PhotoLibrary(self.photos)
        family = self.families[index % len(self.families)]
        number = self.seed * 1_000_003 + 500_000 + index
        pair = make_severity_pair(self.library, number, _MADE_SIDE, "train", family=family)
        return [_framed(sample) for sample in pair]


class _RatedFrames(Dataset[list[_Framed]]):
    def __init__(self, photos: str, rated: Sequence[MadeRating]) -> None:
        self.photos, self.rated = photos, rated
        self.library: PhotoLibrary | None = None

    def __len__(self) -> int:
        return len(self.rated)

    def __getitem__(self, index: int) -> list[_Framed]:
        self.library = self.library or PhotoLibrary(self.photos)
        row = self.rated[index]
        return [_framed(row.make(self.library), row.opinions)]


def _framed(sample: Sample, ratings: tuple[float, float, float] = (_UNKNOWN,) * 3) -> _Framed:
    amounts = dict(sample.faults)
    return _Framed(
        frame=_frame(sample.source, sample.edited),
        mask=sample.mask,
        ratings=ratings,
        severities=(sample.harmony_severity, sample.naturalness_severity, sample.drift_severity),
        faults=tuple(amounts.get(fault, 0.0) for fault in FAULTS),
        family=[family.name for family in FAMILIES].index(sample.family),
    )


def _frame(source: U8, edited: U8) -> Frame:
    sizes = [(picture.shape[0], picture.shape[1]) for picture in (source, edited)]
    return open_frame(source, edited, source_size=sizes[0], edited_size=sizes[1], exclude=None)


def single_thread(_: int) -> None:
    """Worker processes share the processors; OpenCV's own threads would fight over them."""
    cv2.setNumThreads(1)


def clean_start() -> str:
    """How worker processes begin: without this one's threads, which a fork would lose and wait for for ever.

    Where the system can, they are forked from one that has none; that spares what `spawn` does for each of them.
    """
    return "forkserver" if "forkserver" in get_all_start_methods() else "spawn"


def _flat(items: list[list[_Framed]]) -> list[_Framed]:
    return [framed for item in items for framed in item]


def _batches(data: Dataset[list[_Framed]]) -> Iterator[_Framed]:
    loader = DataLoader(
        data, batch_size=4, num_workers=2, multiprocessing_context=clean_start(), worker_init_fn=single_thread,
        collate_fn=_flat,
    )  # fmt: skip
    for batch in loader:
        yield from batch


@torch.inference_mode()
def _gather(model: CompactModel, framed: Iterable[_Framed]) -> Cases:
    model = quickened(copy.deepcopy(model))
    rows: list[Row] = []
    iterator = iter(framed)
    while chunk := list(islice(iterator, _GROUNDED_TOGETHER)):
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, item in enumerate(chunk):
            by_size.setdefault(item.frame.size, []).append(index)
        found: dict[int, Row] = {}
        for indices in by_size.values():
            found |= dict(zip(indices, _looked_at(model, [chunk[i] for i in indices]), strict=True))
        rows += [found[index] for index in range(len(chunk))]
    columns = {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
    return Cases(**columns)


def _looked_at(model: CompactModel, items: Sequence[_Framed]) -> list[Row]:
    """The rows of frames of one size."""
    maps = ground_frames(model, [item.frame for item in items])
    masks = [
        threshold(model, probability, item.frame) if item.mask is None else item.mask
        for probability, item in zip(maps.probability, items, strict=True)
    ]
    inside, outside = summarise_maps(maps, masks)
    rows: list[Row] = []
    for i, (item, mask) in enumerate(zip(items, masks, strict=True)):
        crop = crop_region(item.frame, mask, round(WIDER * model.config.crop_side), context=WIDER * CONTEXT)
        rows.append(
            {
                "source": crop.source,
                "edited": crop.edited,
                "mask": np.rint(255 * crop.mask).astype(np.uint8),
                "area": np.float32(crop.area),
                "measured": _measured(crop, model.config.crop_side),
                "inside": inside[i].float().numpy(),
                "outside": outside[i].float().numpy(),
                "ratings": np.array(item.ratings, np.float32),
                "severities": np.array(item.severities, np.float32),
                "faults": np.array(item.faults, np.float32),
                "family": np.int64(item.family),
            }
        )
    return rows


def middle_of(wide: int, side: int) -> slice:
    """The part of a crop kept for training, `wide` pixels, that is the crop judged, `side` pixels."""
    margin = (wide - side) // 2
    return slice(margin, margin + side)


def _measured(crop: Crop, side: int) -> F32:
    middle = middle_of(crop.source.shape[0], side)
    return crop_numbers(crop.source[middle, middle], crop.edited[middle, middle], crop.mask[middle, middle])
