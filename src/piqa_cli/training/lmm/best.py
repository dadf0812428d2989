"""The best weights of a stage: validated now and then, kept beside the checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from piqa_cli.training.lmm.figures import Figures, Journal
from piqa_cli.training.lmm.learner import Learner
from piqa_cli.training.lmm.stages import Stage
from piqa_cli.training.lmm.tuning import Tuned, figures_of

_NO_RANKS = 1e3  # more than any loss: weights whose ranks are known go before those whose are not


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """Validates a stage every so many steps, and keeps its best weights.

    Args:
        stage: what is trained.
        steps: of the stage.
        every: steps between two validations; the last step always has one.
        size: pairs that are validated at once.
        file: where the best weights are kept.
        tuned: the weights.
        learner: validates.
        journal: is told.
    """

    stage: Stage
    steps: int
    every: int
    size: int
    file: Path
    tuned: Tuned
    learner: Learner
    journal: Journal

    def begin(self) -> None:
        """Before the first step: what the stage starts from, which is never its best."""
        if self.journal.writes:
            self.file.unlink(missing_ok=True)
        self._measure(0)

    def __call__(self, finished: int) -> None:
        """After so many steps."""
        if finished % self.every and finished < self.steps:
            return
        merit = merit_of(self.stage, self._measure(finished))
        # Of equals the last: so a run that was killed and measures a step again keeps what it kept.
        if self.journal.writes and merit >= figures_of(self.file).get("merit", -math.inf):
            self.tuned.save_weights(self.file, step=finished, merit=merit)

    def _measure(self, finished: int) -> Figures:
        figures = self.learner.validate(self.size)
        self.journal.validated(self.stage.name, finished, self.steps, figures)
        return figures


def merit_of(stage: Stage, figures: Figures) -> float:
    """What weights are chosen by, larger is better: rank correlation, else the stage's own loss, negated."""
    if stage.chosen_by == "srcc" and math.isfinite(figures.srcc):
        return figures.srcc
    return -dict(figures.losses).get(stage.name, math.inf) - (_NO_RANKS if stage.chosen_by == "srcc" else 0)
