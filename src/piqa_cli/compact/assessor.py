"""The compact assessor: loaded pairs in, the paper's three stages out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piqa_cli.assessor import Grounding, Judgement
from piqa_cli.compact.explain import explain
from piqa_cli.compact.framing import Crop, Frame, crop_region, open_frame, resize_mask
from piqa_cli.compact.grounding import ground_frames, keeps_a_part, summarise_maps, threshold, to_tensor
from piqa_cli.compact.judgement import judge
from piqa_cli.compact.measured import crop_numbers
from piqa_cli.compact.network import FAULTS, KINDS, CompactModel, Judged
from piqa_cli.compact.weights_file import hold_in
from piqa_cli.devices import memory_errors
from piqa_cli.images import LoadedPair
from piqa_cli.regions import encode_heat, find_regions
from piqa_cli.schema import Box, Dimension, Edit, Fault, Kind, ModelInfo, Region, fault

_LEAST_FOUND = 0.005  # of the picture: a change so large, hardly any of it in the mask, speaks against the mask
_MOST_INSIDE = 0.1
_ELSEWHERE = "mask: most of what changed lies outside it (white is edited, --invert-mask swaps)"
_WHAT_HELPS = "a smaller --batch-size, or --device cpu"
T = TypeVar("T")
_HALF_80 = 1.2816  # half the 80 % interval of a normal distribution, in standard deviations


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CompactGrounding(Grounding):
    """A grounding with what the quality branch needs of it: the frame, and `network.summarise` of the picture."""

    frame: Frame
    summary: tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A grounding before it is summarised; `raw` is the region of the summary."""

    grounding: Grounding
    raw: NDArray[np.bool_]


class CompactAssessor:
    """The compact network behind the `Assessor` protocol.

    Args:
        model: in evaluation mode, on `device`.
        info: what stands in the records.
        device: where the network computes.
        dtype: float32, or a half-precision type that the device computes in.
    """

    def __init__(self, model: CompactModel, info: ModelInfo, device: torch.device, dtype: torch.dtype) -> None:
        self.model, self._info, self.device, self.dtype = model, info, device, dtype
        if dtype is not torch.float32:
            hold_in(dtype, model)
        # What is measured of each pair runs outside of the interpreter's lock, one pair a core.
        self._crew = ThreadPoolExecutor(torch.get_num_threads(), "piqa-measure")

    @property
    def info(self) -> ModelInfo:
        """Name, version and weights hash."""
        return self._info

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        """Stage 1; pairs whose frames have one shape go through the network together."""
        frames = self._each(_frame, pairs, [pair.mask for pair in pairs])
        answers: list[Grounding | None] = [None] * len(pairs)
        for group in _grouped([frame.size for frame in frames]):
            with memory_errors(_WHAT_HELPS):
                found = self._ground_batch([pairs[i] for i in group], [frames[i] for i in group])
            for index, grounding in zip(group, found, strict=True):
                answers[index] = grounding
        return [answer for answer in answers if answer is not None]

    @torch.inference_mode()
    def _ground_batch(self, pairs: list[LoadedPair], frames: list[Frame]) -> list[CompactGrounding]:
        with self._precision():
            maps = ground_frames(self.model, frames)
        found = self._each(self._decide, pairs, frames, maps.probability, maps.kinds)
        with self._precision():
            inside, outside = summarise_maps(maps, [item.raw for item in found])
        answers = []
        for i, (pair, frame, item) in enumerate(zip(pairs, frames, found, strict=True)):
            again = None if frame.registration.matches else _kept_part(pair, frame, item.raw)
            if again is not None:
                answers += self._ground_batch([pair], [again])
                continue
            summary = inside[i : i + 1], outside[i : i + 1]
            answers.append(CompactGrounding(**item.grounding.as_fields(), frame=frame, summary=summary))
        return answers

    def _decide(
        self, pair: LoadedPair, frame: Frame, probability: NDArray[np.float32], kinds: NDArray[np.float32]
    ) -> _Found:
        """From the maps of one pair to its regions and its kind."""
        registration = frame.registration
        mask = raw = threshold(self.model, probability, frame)
        changed = 1.0 - float(kinds[KINDS.index(Kind.NONE)])
        kind = self._kind(pair, frame, mask, kinds)
        warnings: list[str] = []
        if kind in (Kind.NONE, Kind.DIFFERENT):
            mask = np.zeros_like(mask)
        elif pair.mask is not None:
            mask = resize_mask(pair.mask, frame.size)
            if _elsewhere(raw, mask):
                warnings.append(_ELSEWHERE)
            raw = mask
            probability = np.ones_like(probability)
        if kind is Kind.DIFFERENT:
            warnings.append("The two pictures do not seem to show the same scene.")
        size = (pair.info.edited.height, pair.info.edited.width)
        # A change that cannot be outlined is not called an edit, however sure the kind head is of it.
        most = 0.5 if kind is Kind.NONE else 1.0
        listed = pair.mask is not None or kind is Kind.LOCAL
        regions: tuple[Region, ...] = find_regions(mask, probability, size) if listed and mask.any() else ()
        edit = Edit(
            edited=kind is not Kind.NONE,
            probability=0.0 if pair.identical else min(most, max(0.0, changed)),
            kind=kind,
            area_fraction=float(mask.mean()),
            identical=pair.identical,
        )
        return _Found(Grounding(edit, registration.alignment, regions, mask, registration, tuple(warnings)), raw)

    def _kind(self, pair: LoadedPair, frame: Frame, mask: NDArray[np.bool_], kinds: NDArray[np.float32]) -> Kind:
        if pair.identical:
            return Kind.NONE
        if not frame.registration.matches:
            return Kind.DIFFERENT
        none, local, whole, different = (float(kinds[KINDS.index(k)]) for k in KINDS)
        if 1 - none <= self.model.config.edit_threshold:
            return Kind.NONE
        if mask.any() and keeps_a_part(frame, mask):
            return Kind.LOCAL
        if different > max(local, whole):
            return Kind.DIFFERENT
        if whole > local:
            return Kind.GLOBAL
        return Kind.LOCAL if mask.any() else Kind.NONE

    @torch.inference_mode()
    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        """Stage 2; all crops have one size and go through the network together."""
        own = [g for g in groundings if isinstance(g, CompactGrounding)]
        if len(own) != len(groundings):
            raise TypeError("the compact assessor scores its own groundings")
        if not own:
            return []
        with memory_errors(_WHAT_HELPS):
            crops = self._each(lambda g: crop_region(g.frame, g.mask, self.model.config.crop_side), own)
            judged = self._judge(own, crops)
        levels = [self._levels(judged, i) for i in range(len(own))]
        faults = [_faults(logits) for logits in judged.faults]
        heats = [
            encode_heat(logits.float().sigmoid().cpu().numpy(), _square(crop, pair))
            for logits, crop, pair in zip(judged.artefacts[:, 0], crops, pairs, strict=True)
        ]
        return self._each(judge, pairs, own, [g.frame for g in own], levels, faults, heats)

    def _judge(self, groundings: Sequence[CompactGrounding], crops: Sequence[Crop]) -> Judged:
        source, edited = (
            to_tensor([getattr(crop, name) for crop in crops], self.device) for name in ("source", "edited")
        )
        mask = torch.from_numpy(np.stack([crop.mask for crop in crops]))[:, None].to(self.device)
        area = torch.tensor([[crop.area] for crop in crops], device=self.device)
        numbers = self._each(lambda crop: crop_numbers(crop.source, crop.edited, crop.mask), crops)
        measured = torch.from_numpy(np.stack(numbers)).to(self.device)
        inside, outside = (torch.cat([g.summary[k] for g in groundings]) for k in (0, 1))
        with self._precision():
            return self.model.judge(source, edited, mask, area, measured, (inside, outside))

    def _levels(self, judged: Judged, index: int) -> dict[Dimension, tuple[float, float]]:
        """Mean and half the 80 % interval of each learned score of one pair."""
        heads = ((Dimension.HARMONY, judged.harmony), (Dimension.NATURALNESS, judged.naturalness),
                 (Dimension.PRESERVATION, judged.preservation))  # fmt: skip
        levels = torch.linspace(1, 5, self.model.config.bins, dtype=torch.float64)
        answer = {}
        config = self.model.config
        for (dimension, logits), temperature, wider in zip(heads, config.temperatures, config.widening, strict=True):
            p = (logits[index].double().cpu() / temperature).softmax(0)
            mean = float((p * levels).sum())
            answer[dimension] = mean, wider * _HALF_80 * float((p * (levels - mean).square()).sum().sqrt())
        return answer

    def explain(
        self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding], judgements: Sequence[Judgement]
    ) -> list[str]:
        """Stage 3: sentences from the measured findings; nothing is generated that was not measured."""
        texts = []
        for pair, grounding, judgement in zip(pairs, groundings, judgements, strict=True):
            size = pair.info.edited.height, pair.info.edited.width
            told = grounding.edit, grounding.regions, judgement.scores, judgement.findings
            texts.append(explain(*told, size, grounding.alignment, faults=judgement.faults))
        return texts

    def _each(self, work: Callable[..., T], *rows: Iterable[object]) -> list[T]:
        """`work` on every pair's arguments, order kept."""
        return [done.result() for done in [self._crew.submit(work, *row) for row in zip(*rows, strict=True)]]

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)


def _faults(logits: Tensor) -> list[Fault]:
    amounts = logits.float().sigmoid().cpu().tolist()
    return [fault(kind, amount) for kind, amount in zip(FAULTS, amounts, strict=True)]


def _square(crop: Crop, pair: LoadedPair) -> Box:
    """The crop's square in pixels of the edited picture at full size."""
    width, height = pair.info.edited.width, pair.info.edited.height
    x0, y0, x1, y1 = (round(v * side) for v, side in zip(crop.box, (width, height, width, height), strict=True))
    return x0, y0, max(x0 + 1, x1), max(y0 + 1, y1)


def _frame(pair: LoadedPair, changed: NDArray[np.bool_] | None) -> Frame:
    """The pair's working frame; `changed`, at the edited picture's loaded size, is not asked about the motion."""
    source, edited = pair.info.source, pair.info.edited
    return open_frame(
        pair.source.pixels,
        pair.edited.pixels,
        source_size=(source.height, source.width),
        edited_size=(edited.height, edited.width),
        exclude=changed,
    )


def _kept_part(pair: LoadedPair, frame: Frame, changed: NDArray[np.bool_]) -> Frame | None:
    """A second look at two pictures with little in common: registered on what the network left unmarked.

    Where everything but the subject was replaced, the subject alone tells how the pictures lie on each other.
    """
    if changed.all():
        return None
    again = _frame(pair, resize_mask(changed, (pair.edited.pixels.shape[0], pair.edited.pixels.shape[1])))
    return again if again.registration.matches and keeps_a_part(again, changed) else None


def _elsewhere(found: NDArray[np.bool_], mask: NDArray[np.bool_]) -> bool:
    """Whether a mask that marks something misses what was found, as one does that is black where edited."""
    changed = float(found.mean())
    return bool(mask.any()) and changed >= _LEAST_FOUND and float((found & mask).mean()) < _MOST_INSIDE * changed


def _grouped(sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Indices of equal sizes together, in order of appearance."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    return list(groups.values())
