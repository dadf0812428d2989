"""The three stages of a large multimodal model: what each learns from, what it asks, what it rehearses.

ground   where the edit is: boxes in the family's own frame
score    how good it is: the level words' probabilities, and the order within a batch
explain  why: the written explanation, region and ratings being known
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from piqa_cli.training.lmm.dialogues import Dialogue
from piqa_cli.training.lmm.turns import Asker, has_ratings, has_reasons, has_region
from piqa_cli.training.material import Example


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the table.

    Args:
        name: on the command line and in files.
        steps: of the optimiser.
        batch_size: pairs a step.
        learning_rate: at its peak, of an adapter.
        rehearsal: share of the batches that ask what earlier stages asked.
        weight: of its loss; that of a written answer is a sum over its tokens, and divided by about their number.
        chosen_by: which figure on the validation pairs says that a checkpoint is the best.
        usable: which examples it can learn from.
        ask: the dialogue of an example.
    """

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    rehearsal: float
    weight: float
    chosen_by: Literal["loss", "srcc"]
    usable: Callable[[Example], bool]
    ask: Callable[[Asker, Example, np.random.Generator], Dialogue]


STAGES: tuple[Stage, ...] = (
    Stage("ground", 1000, 8, 2e-4, 0.0, 1 / 20, "loss", has_region, Asker.where),
    Stage("score", 2000, 8, 2e-4, 0.25, 1.0, "srcc", has_ratings, Asker.how_good),
    Stage("explain", 500, 8, 1e-4, 0.4, 1 / 60, "loss", has_reasons, Asker.why),
)
FULL_RATE = 0.1
"""Of the table's learning rate where all weights learn, instead of an adapter that starts from nothing."""
