"""How well the scores rank real edits: Spearman correlation with ratings, next to what needs no model.

    python -m benchmarks.scores --data ../shared/data

The ratings are `pairs/ratings.csv`: the mean of three passes by a vision-language judge, not people's opinions.
Each interval is a bootstrap over source photos, because several edits share one. A pair whose score is null,
or that was not rated on that dimension, is left out; the column n says how many remain.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import baselines, common, pictures
from piqa_cli import assess_pairs, open_assessor
from piqa_cli.metrics import bootstrap_interval, srcc
from piqa_cli.regions import decode_mask
from piqa_cli.schema import Assessment, Dimension, Pair

RATINGS: tuple[tuple[Dimension, str], ...] = (
    (Dimension.OVERALL, "overall"),
    (Dimension.COMPLETION, "completion"),
    (Dimension.HARMONY, "harmony"),
    (Dimension.NATURALNESS, "naturalness"),
    (Dimension.PRESERVATION, "preserved"),
)
SCOPES = ("all", "masked", "local+drift", "global_regen")


@dataclass(frozen=True, slots=True)
class Rated:
    """One pair: scores and ratings in the order of `RATINGS` (NaN where null), and the baselines."""

    cluster: str
    scope: str
    scores: tuple[float, ...]
    ratings: tuple[float, ...]
    similarity: float  # SSIM within the region found; higher should be better
    area: float  # share of the image that the regions found cover; smaller should be better


def read_ratings(path: Path) -> dict[str, tuple[float, ...]]:
    """Pair id -> its ratings in the order of `RATINGS`, NaN where there is none."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {row["id"]: tuple(float(row[name] or "nan") for _, name in RATINGS) for row in rows}


def region_similarity(assessment: Assessment, pair: common.RealPair) -> float:
    """Mean SSIM within the regions found, over the whole picture where there are none; 512 px long side."""
    with Image.open(pair.edited) as opened:
        b = pictures.fit(opened.convert("RGB"))
    with Image.open(pair.source) as opened:
        a = opened.convert("RGB").resize(b.size, Image.Resampling.BICUBIC)
    ssim = 1 - baselines.dissimilarity_map(np.asarray(a), np.asarray(b))
    mask = np.zeros(ssim.shape, bool)
    for region in assessment.regions:
        whole = Image.fromarray(decode_mask(region.mask))
        mask |= np.asarray(whole.resize(b.size, Image.Resampling.NEAREST))
    return float(ssim[mask].mean() if mask.any() else ssim.mean())


def assess(
    model: str, pairs: Sequence[common.RealPair], ratings: dict[str, tuple[float, ...]], masks: bool
) -> list[Rated]:
    """Assess the pairs as a user would: files and prompt, the mask only if asked for."""
    wanted = [
        Pair(
            id=p.id,
            source=str(p.source),
            edited=str(p.edited),
            prompt=p.prompt,
            mask=str(p.mask) if masks and p.mask else None,
        )
        for p in pairs
    ]
    rated = []
    for pair, outcome in zip(pairs, assess_pairs(wanted, open_assessor(model), explain=False), strict=True):
        if not isinstance(outcome, Assessment):
            print(f"left out, could not be assessed: {pair.id}: {outcome.error.message}")
            continue
        values = (outcome.scores.of(dimension).value for dimension, _ in RATINGS)
        rated.append(
            Rated(
                cluster=common.fingerprint(pair.source),
                scope=pair.scope,
                scores=tuple(float("nan") if value is None else value for value in values),
                ratings=ratings[pair.id],
                similarity=region_similarity(outcome, pair),
                area=outcome.edit.area_fraction,
            )
        )
    return rated


def table(rated: Sequence[Rated], scope: str) -> common.Table:
    """One row a dimension."""
    chosen = [r for r in rated if scope in ("all", r.scope)]
    clusters = np.array([r.cluster for r in chosen])
    similarity, area = np.array([r.similarity for r in chosen]), np.array([-r.area for r in chosen])
    rows: list[common.Row] = []
    for index, (dimension, _) in enumerate(RATINGS):
        score = np.array([r.scores[index] for r in chosen])
        rating = np.array([r.ratings[index] for r in chosen])
        both = np.isfinite(score) & np.isfinite(rating)
        interval = bootstrap_interval(srcc, score[both], rating[both], group=clusters[both])
        others = [srcc(values[both], rating[both]) for values in (similarity, area)]
        between = f"{interval.low:.2f} .. {interval.high:.2f}"
        rows.append((dimension.value, srcc(score[both], rating[both]), between, int(both.sum()), *others))
    columns = ("dimension", "SRCC", "95 % interval", "n", "SSIM in the region", "smaller region")
    return common.Table(f"Scores against silver ratings: {scope} ({len(chosen)} pairs)", columns, tuple(rows))


def main() -> None:
    """Print a table for all pairs and one for each kind of edit."""
    parser = common.parser(__doc__)
    parser.add_argument("--pairs", type=int, help="only the first N pairs")
    parser.add_argument("--masks", action="store_true", help="give the assessor the known masks where there are any")
    options = parser.parse_args()
    ratings = read_ratings(options.data / "pairs" / "ratings.csv")
    pairs = [pair for pair in common.real_pairs(options.data) if pair.id in ratings][: options.pairs]
    rated = assess(options.model, pairs, ratings, options.masks)
    common.publish([table(rated, scope) for scope in SCOPES], options.json)


if __name__ == "__main__":
    main()
