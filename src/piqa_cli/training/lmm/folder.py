"""What a run leaves behind: the record that lets it go on, and a folder with all that assessing needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from piqa_cli import __version__
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.adapters import write_base
from piqa_cli.lmm.checkpoint import SETTINGS_FILES
from piqa_cli.lmm.prompts import PROMPT_VERSION
from piqa_cli.training.lmm.learner import Figures
from piqa_cli.training.lmm.settings import STAGES, LmmTrainSettings
from piqa_cli.training.lmm.tuning import Tuned

RUN: Final = "run.json"
LOG: Final = "log.jsonl"
_FOLDERS: Final = ("adapter", "model", "tensorboard")
_TOKENIZER_PARTS: Final = ("*.jinja", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json",
                           "added_tokens.json", "*processor_config.json", "generation_config.json")  # fmt: skip


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


def open_run(out: Path, record: RunRecord, settings: LmmTrainSettings, *, writes: bool) -> None:
    """Makes the output folder ready, and holds a run that goes on to what it began with.

    Args:
        out: the folder.
        record: this run.
        settings: of which `resume` and `overwrite` are used here.
        writes: whether this process changes the folder.

    Raises:
        UsageError: it holds a run and neither was asked for, or the run was another, or it holds something else.
    """
    file, own = out / RUN, [out / name for name in _FOLDERS]
    if not file.is_file() and any(folder.exists() for folder in own):
        raise UsageError(
            "the output folder is in use, but not by a training run",
            file=str(out),
            expected=f"a folder without {', '.join(_FOLDERS)}",
            found=next(folder.name for folder in own if folder.exists()),
            hint="choose another --out",
        )
    before = read_run(file) if file.is_file() else None
    if before is not None and not settings.overwrite:
        if not settings.resume:
            raise UsageError(
                "the output folder holds a training run",
                file=str(out),
                hint="--resume goes on, --overwrite begins anew",
            )
        _agree(file, _described(record), before)
        return
    if not writes:
        return
    out.mkdir(parents=True, exist_ok=True)
    if before is not None:
        for old in [*(out / f"{name}{end}.safetensors" for name in STAGES for end in ("", "-best")), out / LOG]:
            old.unlink(missing_ok=True)
        for folder in own:
            shutil.rmtree(folder, ignore_errors=True)
    write_run(out, record, {})


def read_run(file: Path) -> dict[str, Any]:
    """The record as it was written.

    Raises:
        UsageError: it cannot be read, or is that of another kind of training.
    """
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the record of the run cannot be read: {error}", file=str(file), hint="choose another --out"
        ) from error
    if not isinstance(found, dict) or "base_sha256" not in found:
        raise UsageError(
            "the output folder holds a run of another kind",
            file=str(file),
            expected="the record of a `piqa train lmm`",
            hint="choose another --out",
        )
    return found


def write_run(out: Path, record: RunRecord, stages: dict[str, dict[str, Any]]) -> None:
    """Writes the record, with the plans of the stages that were begun."""
    text = json.dumps({**_described(record), "stages": stages}, indent=2) + "\n"
    temporary = out / f"{RUN}.tmp"
    temporary.write_text(text, "utf-8")
    temporary.replace(out / RUN)


def begin_stage(out: Path, record: RunRecord, stage: StageRecord, *, writes: bool) -> None:
    """Notes a stage's plan; a stage that was begun with another is refused.

    Raises:
        UsageError: it was.
    """
    stages = read_run(out / RUN).get("stages", {})
    if stage.name in stages:
        now, before = (
            {f"{name} of {stage.name}": value for name, value in plan.items()}
            for plan in (stage.plan(), stages[stage.name])
        )
        _agree(out / RUN, now, before)
    elif writes:
        write_run(out, record, {**stages, stage.name: stage.plan()})


def _agree(file: Path, now: dict[str, Any], before: dict[str, Any]) -> None:
    for name, value in now.items():
        if name in before and before[name] != value and name not in {"piqa", "torch"}:
            raise UsageError(
                f"the run that is to go on had another {name.replace('_', ' ')}",
                file=str(file),
                expected=str(before[name]),
                found=str(value),
                hint="give the options and data that it began with, or --overwrite to begin anew",
            )


def _described(record: RunRecord) -> dict[str, Any]:
    fields = asdict(record)
    return {"piqa": __version__, "torch": torch.__version__, "prompts": PROMPT_VERSION, **fields,
            "unfreeze": list(record.unfreeze)}  # fmt: skip


def export(tuned: Tuned, out: Path, base: Path, record: RunRecord, stages: Sequence[StageRecord], size: int) -> Path:
    """Writes the adapter, or the model if all of it learnt, with its card and the record of the run.

    Args:
        tuned: the model as trained.
        out: the folder of the run.
        base: where the base's own files lie.
        record: of the run.
        stages: those that were run.
        size: how many pairs validated.

    Raises:
        ModelError: it cannot be written.
    """
    name = "model" if tuned.adapted is None else "adapter"
    fresh, target = out / f"{name}.tmp", out / name
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        if tuned.adapted is None:
            tuned.vlm.model.save_pretrained(fresh)
            _copy_processor(base, fresh)
        else:
            tuned.adapted.save_pretrained(fresh, save_embedding_layers=False)
            write_base(fresh, record.base, record.base_sha256)
        (fresh / "README.md").write_text(card(record, stages, size), "utf-8")
        shutil.copy(out / RUN, fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as error:
        raise ModelError(f"the {name} cannot be written: {error}", file=str(target)) from error
    return target


def _copy_processor(base: Path, target: Path) -> None:
    """The files that turn pictures and text into the model's input, as the base has them."""
    names = {path.name for pattern in (*_TOKENIZER_PARTS, *SETTINGS_FILES) for path in base.glob(pattern)}
    for name in sorted(names - {"config.json"}):
        shutil.copy(base / name, target / name)


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
