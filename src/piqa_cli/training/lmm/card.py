"""What decided a run and what came of it, as records, and as the model card that is generated from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from piqa_cli import __version__
from piqa_cli.lmm.prompts import PROMPT_VERSION
from piqa_cli.training.lmm.figures import Figures


@dataclass(frozen=True, slots=True)
class StageRecord:
    """How a stage was run: `pairs` to learn from, `batch` rows a step over all processes, and how it went.

    figures: on the validation pairs, before the stage and of its best checkpoint, after `best_step` steps.
    """

    name: str
    steps: int
    batch: int
    learning_rate: float
    pairs: int
    before: Figures | None = None
    after: Figures | None = None
    best_step: int | None = None

    def plan(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {"steps": self.steps, "batch": self.batch, "learning_rate": self.learning_rate}

    def described(self) -> dict[str, Any]:
        """All of it but the name, as `run.json` has it; null for what is not a number."""
        figures = {"before": self.before, "after": self.after}
        told = {when: None if found is None else found.rounded() for when, found in figures.items()}
        return {**self.plan(), "pairs": self.pairs, "best_step": self.best_step, **told}

    @classmethod
    def of(cls, name: str, described: dict[str, Any]) -> StageRecord:
        """What `described` gave."""
        told = {
            when: None if described[when] is None else Figures.from_named(described[when])
            for when in ("before", "after")
        }
        return cls(name, **{**described, **told})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What decides the result of a run, beside its stages."""

    base: str
    base_version: str
    base_sha256: str
    data_sha256: str
    seed: int
    full: bool
    unfreeze: tuple[str, ...]
    rank: int
    precision: str


def card(record: RunRecord, stages: Sequence[StageRecord], size: int) -> str:
    """The model card: what it is, how to use it, how it was trained, what was measured."""
    kind = "all weights of the language part" if record.full else f"a LoRA adapter of rank {record.rank}"
    parts = f", and the {' and the '.join(record.unfreeze)} unfrozen" if record.unfreeze else ""
    use = "--model THIS_FOLDER" if record.full else f"--model {record.base} --adapter THIS_FOLDER"
    library = "transformers" if record.full else "peft"
    rows = "\n".join(
        f"| {one.name} | {one.steps:,} | {one.batch} | {one.learning_rate:g} | {one.pairs:,} | {_step(one)} |"
        for one in stages
    )
    return f"""---
base_model: {record.base}
library_name: {library}
tags: [image-quality-assessment, image-editing, piqa]
---

# A judge of AI-edited photos

{record.base}, tuned with `piqa train lmm` to find the edited part of a photo, to score the edit and to explain the
scores. What was trained: {kind}{parts}.

    piqa assess SOURCE EDITED --prompt "..." {use}
    piqa doctor {use}

It answers the questions of piqa's prompts, version {PROMPT_VERSION}, and means nothing under others. The licence and
the limits of the base hold for it too; so do those of the data that it learnt from.

## Training

| stage | steps | batch | learning rate | pairs | best after step |
|---|---|---|---|---|---|
{rows}

Seed {record.seed}; precision {record.precision}; piqa {__version__}, torch {torch.__version__}.
Base: version {record.base_version}, fingerprint `{record.base_sha256}`.
Data: `{record.data_sha256}` (labels, names and sizes of images). `run.json` has the same for programs.

## On {size:,} validation pairs

None of their photos was trained on, but the best step was chosen by them. Loss is an answer's, smaller is better; SRCC
is Spearman's rank correlation with the ratings.

| | before | after |
|---|---|---|
{_measured(stages)}
"""


def _step(stage: StageRecord) -> str:
    return "" if stage.best_step is None else f"{stage.best_step:,}"


def _measured(stages: Sequence[StageRecord]) -> str:
    return "\n".join(
        f"| {one.name} stage: {name} | {one.before.named().get(name, float('nan')):.4f} | {value:.4f} |"
        for one in stages
        if one.before is not None and one.after is not None
        for name, value in one.after.named().items()
    )
