"""What the model makes of kinds of edit that its training never saw: families left out, fold by fold.

    python -m benchmarks.leave_out --data ../shared/data --run runs/compact --out runs/leave_out

The list of families is dealt into folds. For each fold a model is trained without the fold's families, from the encoder
of `--run` (which never saw an edit), and measured on synthetic edits of those families, of photos that training holds
out. A fold that was trained is only measured, one that was interrupted goes on: run the same command again. `--model`
is the model that saw all families, measured on the same samples; `--alone` leaves it out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.samples import DIMENSIONS, Seen, local_recipes, measure
from benchmarks.synthetic_tables import (
    grounding_tables,
    harmed,
    mean_figure,
    mean_of_families,
    photos_of,
    predictions,
    scored,
    severity_tables,
)
from piqa_cli import open_assessor
from piqa_cli.metrics import srcc
from piqa_cli.synthesis import FAMILIES

ENCODER = "encode.safetensors"


@dataclass(frozen=True, slots=True)
class Fold:
    """A number, and the families that its model does not see."""

    number: int
    families: tuple[str, ...]


def folds_of(families: Sequence[str], count: int) -> list[Fold]:
    """The families dealt out one by one, in their order: each is in one fold."""
    return [Fold(number, tuple(families[number::count])) for number in range(count)]


def trained(fold: Fold, options: argparse.Namespace) -> Path:
    """The model of a fold; trained, or trained on, if it is not there yet.

    Raises:
        SystemExit: training failed or was interrupted, or the folder holds a model for other families.
    """
    folder: Path = options.out / f"fold{fold.number}"
    if (folder / "model").is_dir():
        _check(folder / "model" / "run.json", fold)
        return folder / "model"
    # Training writes `model` after every stage: only a folder that was renamed at the end holds a finished one.
    working = folder.with_suffix(".part")
    working.mkdir(parents=True, exist_ok=True)
    if (working / "run.json").is_file():
        _check(working / "run.json", fold)
    if not (working / ENCODER).is_file():
        if not (options.run / ENCODER).is_file():
            raise SystemExit(
                f"{options.run / ENCODER}: expected the encoder's checkpoint, found none; give --run FOLDER"
            )
        shutil.copy(options.run / ENCODER, working / ENCODER)
    for stage in ("ground",) if options.ground_only else ("ground", "score"):
        command = training_command(fold, stage, working, options)
        status = subprocess.run(command, check=False).returncode
        if status:
            raise SystemExit(f"{' '.join(command)}: exit status {status}; run this program again to go on")
    working.rename(folder)
    return folder / "model"


def training_command(fold: Fold, stage: str, folder: Path, options: argparse.Namespace) -> list[str]:
    """The `piqa train compact` line of a fold's stage; it goes on where the folder holds a run."""
    command = [common.PIQA, "train", "compact", "--stages", stage, "--leave-out", ",".join(fold.families)]
    command += ["--photos", str(options.data / "photos"), "--out", str(folder), "--seed", str(options.seed)]
    if stage == "ground":  # what real edits are worth has nothing to do with the families
        command += ["--pairs", str(options.data / "train_pairs")]
    steps = options.ground_steps if stage == "ground" else options.score_steps
    for flag, value in (("--steps", steps), ("--threads", options.threads)):
        command += [] if value is None else [flag, str(value)]
    return [*command, "--resume"] if (folder / "run.json").is_file() else command


def _check(record: Path, fold: Fold) -> None:
    """Refuses a model of other families: the list may have grown since."""
    found = json.loads(record.read_text("utf-8")).get("leave_out") if record.is_file() else None
    if found is not None and list(found) != list(fold.families):
        raise SystemExit(
            f"{record}: expected a run without {','.join(fold.families)}, found one without {','.join(found)}; "
            "give another --out, or remove the folder"
        )


def tables(
    folds: Sequence[Fold], rows: Sequence[Seen], seen: Sequence[Seen], *, scores: bool = True
) -> Iterator[common.Table]:
    """Grounding and severity on families left out; next to them the model that saw all, where it was measured.

    rows: each family's by the model that did not see it. seen: the same samples by one that did, or none. scores:
    whether the folds' models learnt to score.
    """
    if seen:
        yield comparison_table(folds, rows, seen, scores=scores)
    for table in grounding_tables(rows):
        yield _left_out(table)
    if not scores:
        return
    for fold in folds:
        # Scores of two models are not on one scale, so what is pooled over families is pooled within a fold.
        own = [row for row in rows if row.truth.family in fold.families]
        pooled, *_ = severity_tables(own)
        yield replace(
            _left_out(pooled), title=f"Fold {fold.number}, without {', '.join(fold.families)}: {pooled.title}"
        )
    _, *by_family = severity_tables(rows)
    yield from (_left_out(table) for table in by_family)


def _left_out(table: common.Table) -> common.Table:
    return replace(table, title=f"Families left out of training: {table.title}")


def comparison_table(
    folds: Sequence[Fold], rows: Sequence[Seen], seen: Sequence[Seen], *, scores: bool = True
) -> common.Table:
    """Each family by the model that never saw it and by the one that did; then the means."""
    lines: list[common.Row] = []
    for fold in folds:
        for family in fold.families:
            lots = [[row for row in side if row.truth.family == family] for side in (rows, seen)]
            ranks = [_rank(lot, family, k) for k in range(len(DIMENSIONS)) for lot in lots] if scores else []
            lines.append((family, fold.number, *_overlap(*lots), *ranks))
    means = [
        mean_of_families([r for r in scored(side, k, masked=True) if harmed(r.truth.family, k)], k)[1]
        for k in range(len(DIMENSIONS))
        for side in (rows, seen)
    ]
    lines.append(("mean of families", None, *_overlap(rows, seen), *(means if scores else [])))
    ranks_of = [f"{dimension.value}, {side}" for dimension in DIMENSIONS for side in ("left out", "seen")]
    ranks_of = ranks_of if scores else []
    columns = ("n", "IoU, left out", "IoU, seen", "difference", "95 % interval", *ranks_of)
    return common.Table(
        "Families left out of training, against the model that saw all",
        ("family", "fold", *columns),
        tuple(lines),
        "IoU: mask found. Scores: SRCC with severity within the family, mask given; only what the family's own fault "
        "harms. The folds' models may have been trained for fewer steps than the other.",
    )


def _overlap(rows: Sequence[Seen], seen: Sequence[Seen]) -> common.Row:
    others = {row.truth.name: row.iou[0] for row in seen if row.iou}
    paired = [row for row in rows if row.iou and row.truth.name in others]
    own, other = [row.iou[0] for row in paired], [others[row.truth.name] for row in paired]
    difference = mean_figure(np.subtract(own, other), photos_of(paired))
    means = [float(np.mean(values)) if paired else float("nan") for values in (own, other)]
    return len(paired), *means, *difference.cells(3)


def _rank(rows: Sequence[Seen], family: str, dimension: int) -> float | None:
    if not harmed(family, dimension):
        return None
    chosen = scored(rows, dimension, masked=True)
    return srcc(predictions(chosen, dimension)["piqa"], [-row.truth.severities[dimension] for row in chosen])


def main() -> None:
    """Train what is missing, measure each fold, print the tables."""
    parser = common.parser(__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/compact"), help="has encode.safetensors (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/leave_out"), help="receives the folds (%(default)s)")
    parser.add_argument("--folds", type=int, default=4, help="how many (default: %(default)s)")
    parser.add_argument("--only", type=int, metavar="FOLD", help="one of the folds, counted from 0")
    parser.add_argument("--ground-only", action="store_true", help="train and measure grounding alone")
    parser.add_argument("--ground-steps", type=int, help="optimiser steps (default: the stage's own)")
    parser.add_argument("--score-steps", type=int, help="optimiser steps (default: the stage's own)")
    parser.add_argument("--threads", type=int, help="of the training")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: %(default)s)")
    parser.add_argument("--size", type=int, default=384, help="side of the samples in pixels (default: %(default)s)")
    parser.add_argument("--per-family", type=int, default=40, help="edits a family (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help="do not measure --model next to the folds")
    options = parser.parse_args()
    families = [family.name for family in FAMILIES]
    if not 2 <= options.folds <= len(families):
        parser.error(f"--folds: expected 2 to {len(families)}, found {options.folds}")
    photos = options.data / "photos"
    masks = (False,) if options.ground_only else (False, True)
    folds = folds_of(families, options.folds)
    if options.only is not None:
        folds = [fold for fold in folds if fold.number == options.only]
        families = [family for fold in folds for family in fold.families]
    rows: list[Seen] = []
    for fold in folds:
        model = trained(fold, options)
        recipes = local_recipes(fold.families, options.per_family, options.size, masks)
        rows += measure(recipes, photos, open_assessor(str(model)))
    recipes = local_recipes(families, options.per_family, options.size, masks)
    seen = [] if options.alone else measure(recipes, photos, open_assessor(options.model))
    common.publish(list(tables(folds, rows, seen, scores=not options.ground_only)), options.json)


if __name__ == "__main__":
    main()
