"""What a training run of a large multimodal model is asked to do: one field per flag of `piqa train lmm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

STAGES = ("ground", "score", "explain")
PARTS = ("vision", "projector")

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class LmmTrainSettings:
    """The flags of `piqa train lmm`.

    Args:
        base: the model to begin with: a local folder or a hub id.
        data: folder with a label file in EPAIQA-15K's format, its images, and optionally `annotations.jsonl`.
        out: folder that receives the adapter (or the model), checkpoints, the log and the record of the run.
        labels: the label file; the only other `.json` in `data` if None.
        image_dir: folder of the images; `data` if None.
        stages: which stages to run, in the order of `STAGES`.
        full: train all weights of the language part instead of a LoRA adapter.
        unfreeze: parts outside the language part that learn too, their own weights; any of `PARTS`.
        rank: of the adapter; its scale is 2.
        steps: optimiser steps per stage; None takes each stage's own number.
        batch_size: pairs per step and process; None takes each stage's own number.
        learning_rate: peak; None takes each stage's own.
        validate_every: steps between two validations; None: ten a stage.
        validation_pairs: most pairs that a validation looks at.
        checkpointing: compute activations again in the backward pass, for less memory.
        seed: of everything random, and of the split.
        resume: go on from the checkpoints in `out`.
        overwrite: begin anew although `out` holds a run.
        threads: of the numeric libraries; None leaves them their own choice.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: of the computation: fp32 or bf16 (auto: bf16 on CUDA). Weights that learn are fp32.
        revision: of a hub model.
        offline: never use the network.
        trust_remote_code: run Python files that the checkpoint brings.
    """

    base: str
    data: str
    out: str
    labels: str | None = None
    image_dir: str | None = None
    stages: tuple[str, ...] = STAGES
    full: bool = False
    unfreeze: tuple[str, ...] = ()
    rank: int = 16
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    validate_every: int | None = None
    validation_pairs: int = 200
    checkpointing: bool = False
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    threads: int | None = None
    device: str = "auto"
    dtype: Precision = "auto"
    revision: str | None = None
    offline: bool = False
    trust_remote_code: bool = False
