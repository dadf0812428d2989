"""A stage at work: its batches, each a function of seed and step, their losses, and how it does on validation pairs."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from piqa_cli.errors import ModelError
from piqa_cli.lmm.loading import Vlm
from piqa_cli.metrics import srcc
from piqa_cli.schema import Dimension
from piqa_cli.training.lmm.answers import Batch, answer_losses, answer_sums, level_logs, level_moments, order_loss
from piqa_cli.training.lmm.figures import Figures
from piqa_cli.training.lmm.packing import pack
from piqa_cli.training.lmm.peers import Peers
from piqa_cli.training.lmm.stages import STAGES, Stage
from piqa_cli.training.lmm.turns import Asker
from piqa_cli.training.material import Example, Material

ORDER_WEIGHT = 0.2  # of the ranking loss beside the divergence of the level words
_AHEAD = 3  # batches made while the model computes
_TASK = "task"  # entry of a batch: which stage asks


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """All stages' batches and losses for one model.

    Args:
        vlm: the model, made ready to learn.
        material: what it learns from.
        peers: who else learns.
        seed: of the batches.
        half: compute in bfloat16.
        validation_pairs: most pairs that a validation looks at, a stage.
    """

    vlm: Vlm
    material: Material
    peers: Peers
    seed: int
    half: bool
    validation_pairs: int
    _packing: threading.Lock = field(default_factory=threading.Lock)  # a tokenizer pads for one thread at a time

    def usable(self, stage: Stage) -> tuple[Example, ...]:
        """The training pairs of a stage; none where the model's kind writes no boxes and the stage wants some."""
        return self._of(stage, self.material.train)

    def batches(self, stage: Stage, size: int) -> Callable[[int, int], Iterator[Batch]]:
        """(first step, last step) -> this process's part of the batches of these steps, `size` rows each."""
        tasks = [one for one in STAGES[: STAGES.index(stage) + 1] if self.usable(one)]

        def make(step: int) -> Batch:
            task = _asking(stage, tasks[:-1], step)
            first = size * (step * self.peers.count + self.peers.rank)
            return self._batch(task, self.usable(task), range(first, first + size), STAGES.index(stage))

        def iterate(first: int, last: int) -> Iterator[Batch]:
            for step, batch in enumerate(_ahead(make, first, last), first):
                # What is left to chance in the model itself is that of the step, resumed or not.
                torch.manual_seed((self.seed * 1_000_003 + step) * len(STAGES) + STAGES.index(stage))
                yield batch

        return iterate

    def losses(self, batch: Batch, /) -> dict[str, Tensor]:
        """The losses of a batch by the stage that asks; the ranking loss as `order`.

        Raises:
            ModelError: a loss is not a finite number.
        """
        task = STAGES[int(batch.pop(_TASK))]
        with self._autocast():
            told, out = answer_losses(self.vlm.model, batch, peers=self.peers)
        losses = {task.name: task.weight * torch.stack(list(told.values())).sum()}
        if "levels" in told:
            losses["order"] = ORDER_WEIGHT * order_loss(out, batch, self.peers)
        for name, value in losses.items():
            if not bool(torch.isfinite(value)):
                raise ModelError(
                    f"the {name} loss is no number any more",
                    found=str(value.item()),
                    hint="a smaller --learning-rate, or --dtype fp32",
                )
        return losses

    @torch.no_grad()
    def validate(self, size: int) -> Figures:
        """All stages on the validation pairs, which every process looks at by itself."""
        self.vlm.model.eval()
        losses: list[tuple[str, float]] = []
        ranks: list[tuple[Dimension, float]] = []
        for task in STAGES:
            chosen = self._of(task, self.material.validation)[: self.validation_pairs]
            if not chosen:
                continue
            loss, told = self._judged(task, chosen, size)
            losses.append((task.name, loss))
            if told:
                ranks = _ranks(chosen, told, self.material.dimensions)
        self.vlm.model.train()
        return Figures(tuple(losses), tuple(ranks))

    def _judged(self, task: Stage, examples: Sequence[Example], size: int) -> tuple[float, list[list[float]]]:
        """A stage's mean loss an answer, and what was told of each example in levels; nothing where text is asked."""
        totals: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = defaultdict(int)
        told: list[list[float]] = []
        for start in range(0, len(examples), size):
            part = examples[start : start + size]
            batch = self._batch(task, part, range(len(part)), None)
            batch.pop(_TASK)
            with self._autocast():
                found, out = answer_sums(self.vlm.model, batch)
            for name, one in found.items():
                totals[name] += float(one.total)
                counts[name] += int(one.count)
            if "levels" in found:
                told += _means(out, batch, len(part)).tolist()
        return task.weight * sum(total / max(1, counts[name]) for name, total in totals.items()), told

    def _of(self, stage: Stage, examples: Sequence[Example]) -> tuple[Example, ...]:
        if stage.name == "ground" and not self.vlm.family.grounds:
            return ()
        return tuple(one for one in examples if stage.usable(one))

    def _batch(self, task: Stage, examples: Sequence[Example], places: range, stage: int | None) -> Batch:
        """The rows at these places of a stage's endless, shuffled sequence; of the examples as they are if None."""
        asker = Asker(self.vlm, self.material.dimensions)
        key = 99 if stage is None else stage
        dialogues = [
            task.ask(
                asker,
                examples[place if stage is None else self._shuffled(len(examples), place, stage)],
                np.random.default_rng((self.seed, key, STAGES.index(task), place)),
            )
            for place in places
        ]
        with self._packing:
            packed = pack(self.vlm, dialogues)
        return _placed(packed, self.vlm) | {_TASK: torch.tensor(STAGES.index(task))}

    def _shuffled(self, count: int, place: int, stage: int) -> int:
        """Each example once a round, in another order each time."""
        turn, within = divmod(place, count)
        return int(np.random.default_rng((self.seed, stage, count, turn)).permutation(count)[within])

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        kind = self.vlm.device.type
        return torch.autocast(kind, torch.bfloat16) if self.half else contextlib.nullcontext()


def _asking(stage: Stage, earlier: Sequence[Stage], step: int) -> Stage:
    """Which stage a step belongs to: earlier ones have their share at even distances, in turn."""
    rehearsed = int((step + 1) * stage.rehearsal)
    if not earlier or rehearsed == int(step * stage.rehearsal):
        return stage
    return earlier[rehearsed % len(earlier)]


def _ahead(make: Callable[[int], Batch], first: int, last: int) -> Iterator[Batch]:
    """`make` of the steps, in order, made ahead in a thread."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Batch]] = deque(pool.submit(make, n) for n in range(first, min(last, first + _AHEAD)))
        try:
            for step in range(first, last):
                batch = waiting.popleft().result()
                if step + _AHEAD < last:
                    waiting.append(pool.submit(make, step + _AHEAD))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def _placed(batch: Batch, vlm: Vlm) -> Batch:
    """The batch where the model is; its inputs in the model's number format."""
    dtype = vlm.model.dtype
    made = {}
    for name, tensor in batch.items():
        if tensor.is_floating_point() and name != "level_targets":
            tensor = tensor.clamp_min(torch.finfo(dtype).min).to(dtype)
        made[name] = tensor.to(vlm.device)
    return made


def _means(out: object, batch: Batch, dialogues: int) -> Tensor:
    """The mean of the level words' distribution, in levels: dialogues x turns."""
    mean, _ = level_moments(level_logs(out, batch))
    if len(mean) == dialogues:
        return mean
    return mean.view(dialogues, -1, mean.shape[1]).diagonal(dim1=1, dim2=2)  # a row a turn


def _ranks(
    examples: Sequence[Example], told: Sequence[Sequence[float]], dimensions: Sequence[Dimension]
) -> list[tuple[Dimension, float]]:
    ranks = []
    for place, dimension in enumerate(dimensions):
        pairs = [(row[place], one.value(dimension)) for row, one in zip(told, examples, strict=True)]
        known = [(guess, truth) for guess, truth in pairs if math.isfinite(truth)]
        guesses, truths = ([pair[side] for pair in known] for side in (0, 1))
        ranks.append((dimension, srcc(guesses, truths)))
    return ranks
