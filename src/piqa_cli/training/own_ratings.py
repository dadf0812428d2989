"""`piqa train compact --data`: the compact assessor, tuned to other people's ratings.

What sees stays as it is; the heads of harmony, naturalness and preservation learn on from where they are. Some hundred
ratings tell how strict raters are and what they mind, but not how to see (docs/compact.md has the curve).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from piqa_cli import __version__
from piqa_cli.compact.network import CompactModel
from piqa_cli.compact.weights_file import read_model, save_model
from piqa_cli.errors import InputError, UsageError
from piqa_cli.metrics import srcc
from piqa_cli.training.cases import RATED, Cases, own_cases
from piqa_cli.training.heads import Features, features_of, level_means, tune_heads
from piqa_cli.training.material import Example, Material, read_material
from piqa_cli.training.quality import calibrate


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """The flags of `piqa train compact --data`.

    Args:
        data: folder with a label file, images and perhaps annotations.
        out: folder that receives `model/` and `run.json`.
        base: folder of the model to begin with.
        labels: the label file; the only one in `data` if None.
        image_dir: folder of the images; `data` if None.
        seed: of the split and the order.
        overwrite: begin anew although `out` holds a run.
        threads: of the numeric libraries; None leaves them their own choice.
    """

    data: str
    out: str
    base: Path
    labels: str | None = None
    image_dir: str | None = None
    seed: int = 0
    overwrite: bool = False
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A dimension on the edits held out: how many were rated, rank and error before and after."""

    dimension: str
    edits: int
    srcc_before: float
    srcc_after: float
    rmse_before: float
    rmse_after: float


def tune(settings: TuneSettings, report: Callable[[str], None], warn: Callable[[str], None]) -> list[Figure]:
    """Tunes the heads; gives the figures on the edits held out, which also stand in `run.json`.

    Raises:
        UsageError: the output folder holds a run and `overwrite` was not asked for.
        InputError: data is missing or malformed, none of it can be read, or nobody rated what the heads tell.
        ModelError: the base is no compact model.
    """
    out = Path(settings.out)
    if (out / "run.json").exists() and not settings.overwrite:
        raise UsageError("the output folder holds a training run", file=str(out), hint="--overwrite begins anew")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    material = read_material(settings.data, settings.labels, settings.image_dir, settings.seed, warn)
    _check_rated(material, settings.data)
    model = read_model(settings.base)
    report(f"{len(material.train)} edits to learn from, {len(material.validation)} to validate with")
    cases = [_readable(model, examples, settings, warn) for examples in (material.train, material.validation)]
    learnt, held_out = (features_of(model, lot) for lot in cases)
    before = level_means(model, held_out)
    tune_heads(model, learnt, held_out, settings.seed)
    model.config.temperatures, model.config.widening = map(list, calibrate(model, cases[1:]))
    figures = _figures(held_out, before, level_means(model, held_out))
    save_model(model, out / "model")
    described = {
        "piqa": __version__, "torch": torch.__version__, **asdict(settings), "data_sha256": material.sha256,
        "figures": [asdict(figure) for figure in figures],
    }  # fmt: skip
    for folder in (out, out / "model"):
        (folder / "run.json").write_text(json.dumps(described, indent=2, default=str) + "\n", encoding="utf-8")
    return figures


def _check_rated(material: Material, data: str) -> None:
    if not set(RATED) & set(material.dimensions):
        raise InputError(
            "nobody rated what the compact assessor can learn",
            code="E_LABELS",
            file=data,
            expected=f"ratings of {', '.join(dimension.value for dimension in RATED)}",
            found=", ".join(dimension.value for dimension in material.dimensions) or "none",
        )


def _readable(
    model: CompactModel, examples: Sequence[Example], settings: TuneSettings, warn: Callable[[str], None]
) -> Cases:
    cases = own_cases(model, examples)
    if cases is None:
        raise InputError("none of the pairs can be read", file=settings.data, hint="piqa dataset validate tells why")
    if len(cases) < len(examples):
        warn(f"{len(examples) - len(cases)} of {len(examples)} pairs cannot be read; piqa dataset validate tells why")
    return cases


def _figures(held_out: Features, before: Tensor, after: Tensor) -> list[Figure]:
    figures = []
    for k, dimension in enumerate(RATED):
        known = ~torch.isnan(held_out.ratings[:, k])
        truth = held_out.ratings[known, k].double().numpy()
        if not len(truth):
            continue
        values = [told[known, k].double().numpy() for told in (before, after)]
        ranks = [srcc(value, truth) for value in values]
        errors = [float(np.sqrt(np.mean((value - truth) ** 2))) for value in values]
        figures.append(Figure(dimension.value, len(truth), ranks[0], ranks[1], errors[0], errors[1]))
    return figures
