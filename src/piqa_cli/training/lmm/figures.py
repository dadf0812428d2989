"""What is measured on the validation pairs, and how a run tells it: the terminal, `log.jsonl`, TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from piqa_cli.schema import Dimension

LOG: Final = "log.jsonl"
BOARD: Final = "tensorboard"
_LOSS, _SRCC = "loss ", "srcc "


@dataclass(frozen=True, slots=True)
class Figures:
    """How a model does on the validation pairs.

    losses: (stage, mean loss an answer), of the stages that have pairs; weighed as in training, without the ranking.
    ranks: (dimension, Spearman correlation of told and true values), NaN where that is not defined.
    """

    losses: tuple[tuple[str, float], ...]
    ranks: tuple[tuple[Dimension, float], ...]

    @property
    def srcc(self) -> float:
        """The mean over the dimensions in which it is defined; NaN if there is none."""
        known = [value for _, value in self.ranks if math.isfinite(value)]
        return sum(known) / len(known) if known else math.nan

    def named(self) -> dict[str, float]:
        """All figures, as they are logged."""
        ranks = {f"srcc {dimension.value}": value for dimension, value in self.ranks}
        return {**{f"loss {name}": value for name, value in self.losses}, **ranks, "srcc": self.srcc}

    def rounded(self) -> dict[str, float | None]:
        """The same for JSON: six decimals, None for NaN."""
        return {name: None if math.isnan(value) else round(value, 6) for name, value in self.named().items()}

    @classmethod
    def from_named(cls, named: Mapping[str, float | None]) -> Figures:
        """The figures that `named` or `rounded` gave."""
        known = {name: math.nan if value is None else value for name, value in named.items()}
        return cls(
            tuple((name.removeprefix(_LOSS), value) for name, value in known.items() if name.startswith(_LOSS)),
            tuple((Dimension(n.removeprefix(_SRCC)), value) for n, value in known.items() if n.startswith(_SRCC)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Journal:
    """Where the figures of a run go.

    Args:
        out: the folder of the run.
        report: takes a line for the person who waits.
        board: TensorBoard's writer; None where it is not installed.
        writes: whether this process tells anything.
    """

    out: Path
    report: Callable[[str], None]
    board: Any
    writes: bool

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Figures of a step for TensorBoard, those that are finite."""
        if self.board is None:
            return
        for name, value in values.items():
            if math.isfinite(value):
                self.board.add_scalar(f"{stage}/{name}", value, step)
        self.board.flush()

    def validated(self, stage: str, step: int, steps: int, figures: Figures) -> None:
        """What was measured after so many of a stage's steps."""
        if not self.writes:
            return
        named = figures.named()
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": stage, "step": step, "validation": figures.rounded()}) + "\n")
        told = " ".join(f"{name} {value:.4f}" for name, value in named.items() if not math.isnan(value))
        self.report(f"{stage} {step}/{steps} validation: {told}")
        self.scalars(stage, step, {f"validation {name}": value for name, value in named.items()})

    def found(self, stage: str, step: int) -> Figures | None:
        """What was last measured after this step, as the log has it; also by the first part of a run that went on."""
        lines = (json.loads(line) for line in (self.out / LOG).read_text("utf-8").splitlines())
        same = [line for line in lines if (line["stage"], line["step"]) == (stage, step) and "validation" in line]
        return Figures.from_named(same[-1]["validation"]) if same else None

    def close(self) -> None:
        """Ends TensorBoard's file."""
        if self.board is not None:
            self.board.close()


def open_journal(out: Path, report: Callable[[str], None], *, writes: bool) -> Journal:
    """The journal of a run, with TensorBoard's writer where that is installed."""
    board = None
    if writes:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            pass
        else:
            board = SummaryWriter(str(out / BOARD))
    return Journal(out, report, board, writes)
