"""What each source of judgement adds to the scores, and how much more rated real edits would.

    python -m benchmarks.ablation --run runs/compact --steps 200

Trains the score stage anew for every row, all for the same few steps from the same grounding, on the cases that
`piqa train compact` left in the run's folder, and measures it on groups and photos that no row has seen. Shorter than
the real stage, so rows are to be compared with each other, not with the model card.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks import common
from piqa_cli.compact.config import CompactConfig
from piqa_cli.compact.network import CompactModel
from piqa_cli.metrics import srcc
from piqa_cli.training.cases import Cases
from piqa_cli.training.loop import Plan, fit
from piqa_cli.training.losses import moments
from piqa_cli.training.quality import Deck, Hands, QualityTask, judge_cases

DIMENSIONS = ("harmony", "naturalness", "preservation")


def part(cases: Cases, share: float) -> Cases:
    """The first `share` of the rows, which are in no order that matters."""
    count = round(share * len(cases))
    order = np.random.default_rng(0).permutation(len(cases))[:count]
    return Cases(**{field.name: getattr(cases, field.name)[order] for field in fields(Cases)})


def decks(folder: Path) -> Iterator[tuple[str, Deck]]:
    """The rows of the table: what is learnt from."""
    real, rated, made = (
        Cases.load(folder / f"cases-{name}.safetensors") for name in ("real-train", "rated-train", "made")
    )
    yield "severity of made edits alone", Deck(made=made)
    yield "rated real edits alone, a quarter of them", Deck(part(real, 0.25))
    yield "rated real edits alone, half of them", Deck(part(real, 0.5))
    yield "rated real edits alone", Deck(real)
    yield "rated real edits and severity", Deck(real, made=made)
    yield "rated real edits, severity and rated made edits", Deck(real, rated, made).with_opinions()


def trained(folder: Path, deck: Deck, steps: int, scratch: Path, name: str) -> CompactModel:
    """The network after a short score stage on a deck."""
    torch.manual_seed(0)
    model = CompactModel(CompactConfig())
    grounded = load_file(folder / "ground.safetensors")
    known = {key.removeprefix("model."): value for key, value in grounded.items() if key.startswith("model.")}
    model.load_state_dict(known, strict=False)
    model.train()
    task = QualityTask(model, "score")
    hands = Hands(deck, model.config.crop_side, seed=0)

    def batches(first: int, last: int) -> Iterator[dict[str, Tensor]]:
        for step in range(first, last):
            yield {key: value[None] for key, value in hands[step].items()}

    def step(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return task.losses(batch)

    fit(Plan(name, steps, 1e-3, slow="encoder."), task.parameters_of(), step, batches, scratch, lambda line: None)
    return model


def correlations(model: CompactModel, cases: Cases, truth: str, sign: float = 1.0) -> list[float]:
    """SRCC of harmony, naturalness and preservation with a column of the cases."""
    judged = judge_cases(model, cases)
    answer = []
    for k, dimension in enumerate(DIMENSIONS):
        wanted = getattr(cases, truth)[:, k]
        known = np.isfinite(wanted)
        value = moments(getattr(judged, dimension))[0].numpy()
        answer.append(srcc(value[known], sign * wanted[known]))
    return answer


def main() -> None:
    """Prints a row a deck."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="output folder of `piqa train compact`")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--scratch", type=Path, default=Path("runs/ablation"), help="checkpoints; a row goes on from its own"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    held_out = [Cases.load(options.run / f"cases-{name}.safetensors") for name in ("real-val", "rated-val")]
    rows: list[common.Row] = []
    for number, (name, deck) in enumerate(decks(options.run)):
        model = trained(options.run, deck, options.steps, options.scratch, f"row{number}")
        real, made = (correlations(model, cases, "ratings") for cases in held_out)
        severity = correlations(model, held_out[1], "severities", -1)
        rows.append((name, *real, *made, *severity[:2]))
        print(rows[-1], flush=True)
    columns = (
        "learns from", *(f"real, {d}" for d in DIMENSIONS), *(f"made, {d}" for d in DIMENSIONS),
        "made, harmony with severity", "made, naturalness with severity",
    )  # fmt: skip
    title = f"SRCC on {len(held_out[0])} real and {len(held_out[1])} made edits held out, {options.steps} steps each"
    common.publish([common.Table(title, columns, tuple(rows))], options.json)


if __name__ == "__main__":
    main()
