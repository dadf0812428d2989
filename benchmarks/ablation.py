"""What each source of judgement adds to the scores, and how much more rated real edits would.

    python -m benchmarks.ablation --run runs/compact --pairs ../shared/data/train_pairs

Learns anew for every row from the cases that `piqa train compact` left in the run's folder, and measures on groups and
photos that no row has seen: once with a support vector machine on what the change decoder pooled within the region and
outside it, which knows nothing of any rating; once with the network's own heads upon the run's tower, which has seen
all sources. Rows are to be compared with each other, not with the model card.

The validation groups share their tools with the training edits. So a last table holds out whole repositories, part by
part: support vectors on what was measured of the crop, and the network's heads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from benchmarks import common
from piqa_cli.compact.network import CompactModel, spread_out
from piqa_cli.compact.weights_file import load_model
from piqa_cli.metrics import srcc
from piqa_cli.training.cases import Cases
from piqa_cli.training.edits import read_edits
from piqa_cli.training.heads import Features, Sources, features_of, level_means, settle_heads
from piqa_cli.training.quality import Deck

Array = NDArray[np.float64]
DIMENSIONS = ("harmony", "naturalness", "preservation")
LOTS = ("real-train", "rated-train", "made", "real-val", "rated-val")
ROWS = (
    ("severity of made edits alone", 0.0, False, True),
    ("rated real edits alone, a quarter of them", 0.25, False, False),
    ("rated real edits alone, half of them", 0.5, False, False),
    ("rated real edits alone", 1.0, False, False),
    ("rated made edits alone", 0.0, True, False),
    ("rated real edits and severity", 1.0, False, True),
    ("rated real and made edits", 1.0, True, False),
    ("all three", 1.0, True, True),
)  # what is learnt from: name, share of the rated real edits, whether rated made ones, whether severity


def chosen(count: int, share: float) -> NDArray[np.int64]:
    """The first `share` of `count` rows, which are in no order that matters."""
    return np.random.default_rng(0).permutation(count)[: round(share * count)]


def decks(cases: Sequence[Cases]) -> Iterator[Deck]:
    """The rows of the table as cases."""
    real, rated, made = cases[:3]
    for _, share, with_rated, with_made in ROWS:
        some = {field.name: getattr(real, field.name)[chosen(len(real), share)] for field in fields(Cases)}
        yield Deck(Cases(**some) if share else None, rated if with_rated else None, made if with_made else None)


def sources(features: Sequence[Features]) -> Iterator[Sources]:
    """The rows of the table as features."""
    real, rated, made = features[:3]
    for _, share, with_rated, with_made in ROWS:
        rows = torch.from_numpy(chosen(len(real), share))
        some = Features(*(getattr(real, field.name)[rows] for field in fields(Features)))
        yield Sources(some if share else None, rated if with_rated else None, made if with_made else None)


def by_heads(model: CompactModel, learnt: Sources, held_out: Sequence[Features]) -> list[Array]:
    """Harmony, naturalness and preservation, N x 3, of each lot that is held out."""
    settle_heads(model, learnt, seed=0)
    return [level_means(model, features).double().numpy() for features in held_out]


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


def repositories(pairs: Path) -> list[str]:
    """Where each rated real edit comes from, in the order of the cases: first those learnt from, then the others."""
    lines = (pairs / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    found = {row["id"]: str(row["repo"]) for row in map(json.loads, lines)}
    return [found[edit.id] for split in ("train", "val") for edit in read_edits(pairs) if edit.split == split]


def repository_table(model: CompactModel, features: Sequence[Features], groups: Sequence[str]) -> common.Table:
    """What is learnt of some repositories, measured on others, in six parts."""
    train, rated, made, held_out, _ = features
    names = [field.name for field in fields(Features)]
    real = Features(*(torch.cat([getattr(train, name), getattr(held_out, name)]) for name in names))
    ratings = real.ratings.double().numpy()
    measured = spread_out(real.measured).double().numpy()
    heads, vectors = np.full_like(ratings, np.nan), np.full_like(ratings, np.nan)
    for known, unseen in GroupKFold(6).split(ratings, groups=groups):
        some, rest = (
            Features(*(getattr(real, name)[torch.from_numpy(rows)] for name in names)) for rows in (known, unseen)
        )
        settle_heads(model, Sources(some, rated, made), seed=0)
        heads[unseen] = level_means(model, rest).double().numpy()
        for k in range(len(DIMENSIONS)):
            sure = known[np.isfinite(ratings[known, k])]
            learner = make_pipeline(StandardScaler(), SVR(C=0.3)).fit(measured[sure], ratings[sure, k])
            vectors[unseen, k] = learner.predict(measured[unseen])
    lines: list[common.Row] = []
    for name, values in (("the network's heads on its tower", heads), ("support vectors on measurements", vectors)):
        rated_rows = [np.isfinite(ratings[:, k]) for k in range(len(DIMENSIONS))]
        lines.append((name, *(srcc(values[rows, k], ratings[rows, k]) for k, rows in enumerate(rated_rows))))
    return common.Table(
        f"SRCC on {len(ratings)} real edits, whole repositories held out", ("learner", *DIMENSIONS), tuple(lines),
        "The tower has seen all repositories; the measurements know none.",
    )  # fmt: skip


def table(how: str, cases: Sequence[Cases], answers: Sequence[Sequence[Array]]) -> common.Table:
    """A row for each of `ROWS`; `answers` of the two lots that are held out."""
    held_out = cases[3:]
    lines: list[common.Row] = []
    for (name, *_), values in zip(ROWS, answers, strict=True):
        real, made = (correlations(v, lot, "ratings") for v, lot in zip(values, held_out, strict=True))
        lines.append((name, *real, *made, *correlations(values[1], held_out[1], "severities", -1)[:2]))
    columns = (
        "learns from", *(f"real, {d}" for d in DIMENSIONS), *(f"made, {d}" for d in DIMENSIONS),
        "made, harmony with severity", "made, naturalness with severity",
    )  # fmt: skip
    title = f"SRCC on {len(held_out[0])} real and {len(held_out[1])} made edits held out; {how}"
    return common.Table(title, columns, tuple(lines))


def main() -> None:
    """Prints a table a learner, a row a set of sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="output folder of `piqa train compact`")
    parser.add_argument("--pairs", type=Path, required=True, help="the rated real edits that the run learnt from")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = [Cases.load(options.run / f"cases-{name}.safetensors") for name in LOTS]
    model = load_model(options.run / "model")
    features = [features_of(model, lot) for lot in cases]
    heads = [by_heads(model, learnt, features[3:]) for learnt in sources(features)]
    vectors = [by_vectors(deck, cases[3:]) for deck in decks(cases)]
    tables = [
        table("the network's heads on its tower", cases, heads),
        table("support vectors on pooled change", cases, vectors),
        repository_table(model, features, repositories(options.pairs)),
    ]
    common.publish(tables, options.json)


if __name__ == "__main__":
    main()
