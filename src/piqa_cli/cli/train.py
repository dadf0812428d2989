"""`piqa train`: make an assessor's weights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from piqa_cli.cli.options import HUB, MODEL, SEED, command
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import printable
from piqa_cli.errors import InputError, UsageError

_OWN = "Tuning to your own ratings"
app = typer.Typer(no_args_is_help=True, help="Train an assessor, or the networks that its training edits come from.")

_OF_LMM = {**HUB, "device": MODEL["device"], "dtype": MODEL["dtype"]}


@app.command("compact")
@command(SEED)
def train_compact(
    run: Run,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Where weights, log and checkpoints go.")],
    photos: Annotated[str | None, typer.Option("--photos", metavar="DIR", help="Photos to make edits from.")] = None,
    pairs: Annotated[
        str | None, typer.Option("--pairs", metavar="DIR", help="Real edits with ratings, for all stages.")
    ] = None,
    teachers: Annotated[
        str | None, typer.Option("--teachers", metavar="DIR", help="Teacher networks, for encode.")
    ] = None,
    stages: Annotated[
        str, typer.Option("--stages", metavar="A,B", help="Which stages, in this order.")
    ] = "encode,ground,score,explain",
    steps: Annotated[int | None, typer.Option("--steps", min=1, metavar="N", help="Optimiser steps per stage.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, metavar="N", help="Pairs per step.")] = None,
    size: Annotated[int, typer.Option("--size", min=64, metavar="N", help="Side of the training pictures.")] = 320,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0, metavar="N", help="Stop with a checkpoint after this long.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew although --out holds a run.")] = False,
    leave_out: Annotated[
        str, typer.Option("--leave-out", metavar="A,B", help="Edit families that no stage may see, to measure them.")
    ] = "",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, metavar="N", help="Of the numeric libraries.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="DIR", help="Your own rated edits, to tune the scores to instead.", rich_help_panel=_OWN
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels", metavar="FILE", help="Their label file; the only .json of --data.", rich_help_panel=_OWN
        ),
    ] = None,
    image_dir: Annotated[
        str | None,
        typer.Option(
            "--image-dir", metavar="DIR", help="Where their images are; --data by default.", rich_help_panel=_OWN
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="FOLDER",
            help="The compact model to tune; the shipped one by default.",
            rich_help_panel=_OWN,
        ),
    ] = None,
) -> None:
    """Train the compact assessor on synthetic edits of photos and rated real edits; or, with --data, tune its scores.

    Tuning begins with the shipped model. What finds the edit stays as it is; harmony, naturalness and preservation
    learn on from ratings in EPAIQA-15K's format.
    """
    from piqa_cli.training.settings import STAGES, TrainSettings

    if data is not None:
        foreign = (
            ("--photos", photos), ("--pairs", pairs), ("--teachers", teachers), ("--steps", steps),
            ("--batch-size", batch_size), ("--minutes", minutes), ("--leave-out", leave_out), ("--resume", resume),
        )  # fmt: skip
        _refuse_together("--data", foreign)
        _tune_compact(run, data, out, base, labels, image_dir, overwrite=overwrite, threads=threads)
        return
    _refuse_together("--photos", (("--labels", labels), ("--image-dir", image_dir), ("--base", base)))
    if photos is None:
        raise UsageError(
            "train compact needs --photos, or --data", expected="--photos DIR or --data DIR", found="neither"
        )
    chosen = tuple(stage.strip() for stage in stages.split(","))
    unknown = [stage for stage in chosen if stage not in STAGES]
    if unknown or len(set(chosen)) != len(chosen):
        raise UsageError(
            f"--stages: expected some of {','.join(STAGES)}, each once; found '{printable(stages)}'",
            hint="for example --stages ground,score",
        )
    unseen = tuple(name.strip() for name in leave_out.split(",") if name.strip())
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    _require_folders((("--photos", photos), ("--pairs", pairs), ("--teachers", teachers)))
    settings = TrainSettings(
        photos=photos,
        out=out,
        pairs=pairs,
        teachers=teachers,
        stages=chosen,
        steps=steps,
        batch_size=batch_size,
        size=size,
        seed=run.settings.seed,
        minutes=minutes,
        resume=resume,
        overwrite=overwrite,
        leave_out=unseen,
        threads=threads,
    )
    run.progress = f"during training; go on with --resume --out {printable(out)}"

    from piqa_cli.synthesis import FAMILIES
    from piqa_cli.training.compact import train

    strangers = sorted(set(unseen) - {family.name for family in FAMILIES})
    if strangers:
        raise UsageError(
            f"--leave-out: there is no family called '{printable(strangers[0])}'",
            hint=f"some of {', '.join(family.name for family in FAMILIES)}",
        )

    if not train(settings, report=run.note):
        run.note(f"stopped with a checkpoint; go on with --resume --out {printable(out)}")


@app.command("lmm")
@command(_OF_LMM, SEED)
def train_lmm(
    run: Run,
    base: Annotated[str, typer.Option("--base", metavar="NAME", help="What to begin with: a folder, or OWNER/NAME.")],
    data: Annotated[str, typer.Option("--data", metavar="DIR", help="Labels, images, and annotations.jsonl if any.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Where adapter, log and checkpoints go.")],
    stage: Annotated[
        Literal["ground", "score", "explain", "all"],
        typer.Option("--stage", metavar="STAGE", help="ground, score, explain or all, each from the one before."),
    ] = "all",
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="FILE", help="Label file; the only .json in --data by default.")
    ] = None,
    image_dir: Annotated[
        str | None, typer.Option("--image-dir", metavar="DIR", help="The images; under --data by default.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all of the language part, not an adapter.")] = False,
    unfreeze: Annotated[
        str, typer.Option("--unfreeze", metavar="A,B", help="Train these too: vision, projector.")
    ] = "",
    rank: Annotated[int, typer.Option("--rank", min=1, metavar="N", help="Of the adapter.")] = 16,
    steps: Annotated[int | None, typer.Option("--steps", min=1, metavar="N", help="Optimiser steps per stage.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, metavar="N", help="Pairs per step and process.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", min=0, metavar="X", help="At its peak.")
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option("--validate-every", min=1, metavar="N", help="Steps; ten times a stage by default.")
    ] = None,
    validation_pairs: Annotated[
        int, typer.Option("--validation-pairs", min=1, metavar="N", help="Most pairs that a validation looks at.")
    ] = 200,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Less memory, more time: activations are computed twice.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew although --out holds a run.")] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, metavar="N", help="Of the numeric libraries.")
    ] = None,
) -> None:
    """Tune an image-text-to-text model on rated edits: where, how good, why. For several GPUs: accelerate launch."""
    from piqa_cli.training.lmm.settings import PARTS, STAGES, LmmTrainSettings

    parts = tuple(part.strip() for part in unfreeze.split(",") if part.strip())
    if set(parts) - set(PARTS) or len(set(parts)) != len(parts):
        raise UsageError(
            f"--unfreeze: expected some of {','.join(PARTS)}, each once; found '{printable(unfreeze)}'",
            hint="for example --unfreeze projector",
        )
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if learning_rate == 0:
        raise UsageError("--learning-rate must be above 0")
    _require_folders((("--data", data), ("--image-dir", image_dir)))
    chosen = run.settings
    settings = LmmTrainSettings(
        base=base, data=data, out=out, labels=labels, image_dir=image_dir,
        stages=STAGES if stage == "all" else (stage,), full=full, unfreeze=tuple(p for p in PARTS if p in parts),
        rank=rank, steps=steps, batch_size=batch_size, learning_rate=learning_rate, validate_every=validate_every,
        validation_pairs=validation_pairs, checkpointing=checkpointing, seed=chosen.seed, resume=resume,
        overwrite=overwrite, threads=threads, device=chosen.device, dtype=chosen.dtype, revision=chosen.revision,
        offline=chosen.offline, trust_remote_code=chosen.trust_remote_code,
    )  # fmt: skip
    run.progress = f"during training; go on with --resume --out {printable(out)}"

    from piqa_cli.training.lmm.train import train

    train(settings, report=lambda text: run.note(printable(text)), warn=lambda text: run.warn(printable(text)))


def _tune_compact(
    run: Run, data: str, out: str, base: str | None, labels: str | None, image_dir: str | None, *,
    overwrite: bool, threads: int | None,
) -> None:  # fmt: skip
    _require_folders((("--data", data), ("--image-dir", image_dir), ("--base", base)))
    from piqa_cli.models import MODELS
    from piqa_cli.training.own_ratings import TuneSettings, tune

    settings = TuneSettings(
        data=data, out=out, base=MODELS["compact"].weights if base is None else Path(base), labels=labels,
        image_dir=image_dir, seed=run.settings.seed, overwrite=overwrite, threads=threads,
    )  # fmt: skip
    for figure in tune(settings, run.note, run.warn):
        rank = f"SRCC {figure.srcc_before:.3f} -> {figure.srcc_after:.3f}"
        error = f"RMSE {figure.rmse_before:.3f} -> {figure.rmse_after:.3f}"
        run.note(f"{figure.dimension}: {rank}, {error}, on {figure.edits} edits held out")
    run.note(f"piqa assess --model {printable(os.path.join(out, 'model'))} judges with it")


def _refuse_together(option: str, others: Iterable[tuple[str, object]]) -> None:
    """Refuses options that have no part in what another one asks for; those not given are None, False or empty."""
    for other, value in others:
        if value not in (None, False, ""):
            raise UsageError(f"{other} does not go with {option}")


@app.command("painters")
@command(SEED)
def train_painters(
    run: Run,
    photos: Annotated[str, typer.Option("--photos", metavar="DIR", help="Photos to learn from: their train split.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Where weights, log and checkpoints go.")],
    teachers: Annotated[
        str | None,
        typer.Option("--teachers", metavar="DIR", help="Teacher networks, which tell how alike pictures look."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Optimiser steps per network.")
    ] = None,
) -> None:
    """Train the painter and the autoencoder whose faults the synthesis borrows; an interrupted run goes on."""
    _require_folders((("--photos", photos), ("--teachers", teachers)))
    run.progress = f"during training; the same command goes on where it was, with what is in {printable(out)}"

    from piqa_cli.training.painters import PainterSettings, train

    train(PainterSettings(photos, out, teachers, steps, run.settings.seed), report=run.note)


def _require_folders(options: Iterable[tuple[str, str | None]]) -> None:
    """Refuses a folder that is not there; an option that was not given is None."""
    for option, folder in options:
        if folder is not None and not os.path.isdir(folder):
            raise InputError(f"{option}: there is no folder '{printable(folder)}'", code="E_NOT_FOUND", file=folder)
