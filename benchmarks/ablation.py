"""What each source of judgement adds to the scores, and how much more rated real edits would.

    python -m benchmarks.ablation --run runs/compact
    python -m benchmarks.ablation --run runs/compact --network --steps 200

Learns anew for every row from the cases that `piqa train compact` left in the run's folder, and measures on groups and
photos that no row has seen. By default a support vector machine on what the change decoder pooled within the region
and outside it, which knows nothing of any rating: seconds a row. With `--network` the quality branch itself, trained
for a few steps: minutes a row. Rows are to be compared with each other, not with the model card.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from torch import Tensor

from benchmarks import common
from piqa_cli.compact.config import CompactConfig
from piqa_cli.compact.network import CompactModel
from piqa_cli.metrics import srcc
from piqa_cli.training.cases import Cases
from piqa_cli.training.loop import Plan, fit
from piqa_cli.training.losses import moments
from piqa_cli.training.quality import Deck, Hands, QualityTask, judge_cases

Array = NDArray[np.float64]
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
    yield "rated made edits alone", Deck(rated=rated)
    yield "rated real edits and severity", Deck(real, made=made)
    yield "rated real and made edits", Deck(real, rated)
    yield "all three", Deck(real, rated, made)


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


def by_network(model: CompactModel, cases: Cases) -> Array:
    """Harmony, naturalness and preservation, N x 3."""
    judged = judge_cases(model, cases)
    return np.stack([moments(getattr(judged, dimension))[0].double().numpy() for dimension in DIMENSIONS], 1)


def by_vectors(deck: Deck, held_out: Sequence[Cases]) -> list[Array]:
    """The same for each lot that is held out, by support vectors on pooled change."""
    answers: list[list[Array]] = [[] for _ in held_out]
    for k in range(len(DIMENSIONS)):
        lots = [cases for cases in (deck.real, deck.rated, deck.made) if cases is not None]
        truths = [_truth(cases, k) for cases in lots]
        weights = [np.full(len(cases), 0.3 if cases is deck.made and len(lots) > 1 else 1.0) for cases in lots]
        learner = make_pipeline(StandardScaler(), SVR(C=0.5))
        learner.fit(np.concatenate([_pooled(c) for c in lots]), np.concatenate(truths),
                    svr__sample_weight=np.concatenate(weights))  # fmt: skip
        for answer, cases in zip(answers, held_out, strict=True):
            answer.append(learner.predict(_pooled(cases)))
    return [np.stack(answer, 1) for answer in answers]


def _pooled(cases: Cases) -> Array:
    return np.concatenate([cases.inside, cases.outside, np.log(cases.area + 1e-3)[:, None]], 1).astype(np.float64)


def _truth(cases: Cases, k: int) -> Array:
    """The ratings; where there are none, severity as a rating."""
    ratings = cases.ratings[:, k].astype(np.float64)
    return np.where(np.isfinite(ratings), ratings, 5 - 4 * cases.severities[:, k])


def correlations(values: Array, cases: Cases, truth: str, sign: float = 1.0) -> list[float]:
    """SRCC of harmony, naturalness and preservation (N x 3) with a column of the cases."""
    wanted = getattr(cases, truth)
    known = np.isfinite(wanted)
    return [srcc(values[known[:, k], k], sign * wanted[known[:, k], k]) for k in range(len(DIMENSIONS))]


def main() -> None:
    """Prints a row a deck."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="output folder of `piqa train compact`")
    parser.add_argument("--network", action="store_true", help="train the quality branch itself for every row")
    parser.add_argument("--steps", type=int, default=200, help="with --network (default: %(default)s)")
    parser.add_argument(
        "--scratch", type=Path, default=Path("runs/ablation"), help="checkpoints; a row goes on from its own"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    held_out = [Cases.load(options.run / f"cases-{name}.safetensors") for name in ("real-val", "rated-val")]
    rows: list[common.Row] = []
    for number, (name, deck) in enumerate(decks(options.run)):
        if options.network:
            model = trained(options.run, deck, options.steps, options.scratch, f"row{number}")
            values = [by_network(model, cases) for cases in held_out]
        else:
            values = by_vectors(deck, held_out)
        real, made = (correlations(v, cases, "ratings") for v, cases in zip(values, held_out, strict=True))
        severity = correlations(values[1], held_out[1], "severities", -1)
        rows.append((name, *real, *made, *severity[:2]))
        print(rows[-1], flush=True)
    columns = (
        "learns from", *(f"real, {d}" for d in DIMENSIONS), *(f"made, {d}" for d in DIMENSIONS),
        "made, harmony with severity", "made, naturalness with severity",
    )  # fmt: skip
    how = f"the quality branch, {options.steps} steps" if options.network else "support vectors on pooled change"
    title = f"SRCC on {len(held_out[0])} real and {len(held_out[1])} made edits held out; {how}"
    common.publish([common.Table(title, columns, tuple(rows))], options.json)


if __name__ == "__main__":
    main()
