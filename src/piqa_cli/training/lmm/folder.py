"""What a run leaves behind: the record that lets it go on, and a folder with all that assessing needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from piqa_cli import __version__
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.adapters import write_base
from piqa_cli.lmm.checkpoint import SETTINGS_FILES
from piqa_cli.lmm.prompts import PROMPT_VERSION
from piqa_cli.training.lmm.card import RunRecord, StageRecord, card
from piqa_cli.training.lmm.figures import BOARD, LOG
from piqa_cli.training.lmm.settings import STAGES, LmmTrainSettings
from piqa_cli.training.lmm.tuning import Tuned

RUN: Final = "run.json"
_FOLDERS: Final = ("adapter", "model", BOARD)
_TOKENIZER_PARTS: Final = ("*.jinja", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json",
                           "added_tokens.json", "*processor_config.json", "generation_config.json")  # fmt: skip


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
    if not isinstance(found, dict) or not {"base_sha256", "stages"} <= found.keys():
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
    before = read_run(out / RUN)["stages"].get(stage.name)
    if before is not None:
        now, then = ({f"{name} of {stage.name}": one[name] for name in stage.plan()} for one in (stage.plan(), before))
        _agree(out / RUN, now, then)
    elif writes:
        note_stage(out, record, stage)


def note_stage(out: Path, record: RunRecord, stage: StageRecord) -> None:
    """Writes what is known of a stage into the record of the run."""
    write_run(out, record, {**read_run(out / RUN)["stages"], stage.name: stage.described()})


def finished_stages(out: Path) -> list[StageRecord]:
    """The stages that the record of the run has figures of, in their order."""
    noted = read_run(out / RUN)["stages"]
    records = [StageRecord.of(name, noted[name]) for name in STAGES if name in noted]
    return [one for one in records if one.after is not None]


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


def exported_name(record: RunRecord) -> str:
    """The folder that a run makes in its own."""
    return "model" if record.full else "adapter"


def export(tuned: Tuned, out: Path, base: Callable[[], Path], record: RunRecord, size: int) -> None:
    """Writes the adapter, or the model if all of it learnt, with its card and the record of the run.

    Args:
        tuned: the model as trained.
        out: the folder of the run.
        base: finds where the base's own files lie.
        record: of the run.
        size: how many pairs validated.

    Raises:
        ModelError: it cannot be written.
    """
    name = exported_name(record)
    fresh, target = out / f"{name}.tmp", out / name
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        if tuned.adapted is None:
            tuned.vlm.model.save_pretrained(fresh)
            _copy_processor(base(), fresh)
        else:
            tuned.adapted.save_pretrained(fresh, save_embedding_layers=False)
            write_base(fresh, record.base, record.base_sha256)
        (fresh / "README.md").write_text(card(record, finished_stages(out), size), "utf-8")
        shutil.copy(out / RUN, fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as error:
        raise ModelError(f"the {name} cannot be written: {error}", file=str(target)) from error


def _copy_processor(base: Path, target: Path) -> None:
    """The files that turn pictures and text into the model's input, as the base has them."""
    names = {path.name for pattern in (*_TOKENIZER_PARTS, *SETTINGS_FILES) for path in base.glob(pattern)}
    for name in sorted(names - {"config.json"}):
        shutil.copy(base / name, target / name)
