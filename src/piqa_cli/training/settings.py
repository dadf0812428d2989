"""What a training run is asked to do: one field per flag of `piqa train compact`."""

from __future__ import annotations

from dataclasses import dataclass

STAGES = ("encode", "ground", "score", "explain")


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The flags of `piqa train compact`.

    Args:
        photos: folder of photos that edits are synthesised from.
        out: folder that receives the weights, the log, the checkpoints and the record of the run.
        pairs: folder of real edits with ratings, for the `ground` and `score` stages.
        teachers: folder of teacher networks, for the `encode` stage.
        stages: which stages to run, in this order; any of `STAGES`.
        steps: optimiser steps per stage; None takes each stage's own number.
        batch_size: pairs per step; None takes each stage's own number.
        size: side of the square training pictures, in pixels.
        seed: of everything random.
        minutes: stop after this long, with a checkpoint; None runs to the last step.
        resume: go on from the checkpoint in `out`.
        overwrite: begin anew although `out` holds a run.
        leave_out: edit families that no stage may see, to measure what it makes of one it has never seen.
        threads: of the numeric libraries; None leaves them their own choice.
    """

    photos: str
    out: str
    pairs: str | None = None
    teachers: str | None = None
    stages: tuple[str, ...] = STAGES
    steps: int | None = None
    batch_size: int | None = None
    size: int = 320
    seed: int = 0
    minutes: float | None = None
    resume: bool = False
    overwrite: bool = False
    leave_out: tuple[str, ...] = ()
    threads: int | None = None
