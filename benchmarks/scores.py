"""How well the scores rank real edits: Spearman correlation with ratings, next to what needs no such model.

    python -m benchmarks.scores --data ../shared/data [--cache FILE.npz]

The ratings are `pairs/ratings.csv`: the mean of three passes by a vision-language judge, not people's opinions.
Each interval is a bootstrap over source photos, because several edits share one. A pair whose score is null,
or that was not rated on that dimension, is left out; the column n says how many remain.

Next to the model stand, on the same pairs: SSIM in the region, the region's size, and what 15 hand features of the pair
(`compact.features`, in the region that the assessor finds and outside it) predict. Those are fitted to the ratings of
the groups of `train_pairs` that the model learns from; that takes minutes, so `--cache` keeps the features. The same
again on the validation groups: edits that neither learnt from, by tools that both know.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata

import piqa_cli
from benchmarks import baselines, common, pictures
from benchmarks.synthetic_tables import Figure, figure
from piqa_cli import Assessor, assess_pairs, open_assessor
from piqa_cli.assessor import Grounding
from piqa_cli.compact.features import measure
from piqa_cli.images import LoadedPair, load_pair
from piqa_cli.metrics import srcc
from piqa_cli.regions import decode_mask
from piqa_cli.schema import Assessment, Dimension, Pair
from piqa_cli.training.edits import RatedEdit, read_edits

Array = NDArray[np.float64]
Index = NDArray[np.intp]
RATINGS: tuple[tuple[Dimension, str], ...] = (
    (Dimension.OVERALL, "overall"),
    (Dimension.COMPLETION, "completion"),
    (Dimension.HARMONY, "harmony"),
    (Dimension.NATURALNESS, "naturalness"),
    (Dimension.PRESERVATION, "preserved"),
)
SCOPES = ("all", "masked", "local+drift", "global_regen")
FEATURES = (
    "exposure", "colour", "noise", "sharpness", "seam", "texture_loss", "blocking", "ghosting", "repetition", "kept",
    "change", "drift_structure", "drift_colour", "drift_sharpness", "drift_text",
)  # fmt: skip
CHUNK = 8  # pairs grounded at once
SAVED = 25  # chunks between two writings of the cache


@dataclass(frozen=True, slots=True)
class Rated:
    """One pair: scores and ratings in the order of `RATINGS` (NaN where null), and the baselines."""

    cluster: str
    scope: str
    scores: tuple[float, ...]
    ratings: tuple[float, ...]
    similarity: float  # SSIM within the region found; higher should be better
    area: float  # share of the image that the regions found cover; smaller should be better
    id: str = ""


@dataclass(frozen=True, slots=True)
class Lot:
    """Rated pairs that are measured together. clusters, ratings: by the pair's id."""

    pairs: Sequence[common.RealPair]
    clusters: Mapping[str, str]
    ratings: Mapping[str, tuple[float, ...]]


def read_ratings(path: Path) -> dict[str, tuple[float, ...]]:
    """Pair id -> its ratings in the order of `RATINGS`, NaN where there is none."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {row["id"]: tuple(float(row[name] or "nan") for _, name in RATINGS) for row in rows}


def real_lot(data: Path, count: int | None) -> Lot:
    """The real edits that nothing learns from."""
    ratings = read_ratings(data / "pairs" / "ratings.csv")
    pairs = [pair for pair in common.real_pairs(data) if pair.id in ratings][:count]
    return Lot(pairs, {pair.id: common.fingerprint(pair.source) for pair in pairs}, ratings)


def edits_lot(edits: Sequence[RatedEdit]) -> Lot:
    """Edits of `train_pairs`, clustered by group."""
    return Lot(
        [common.RealPair(e.id, e.source, e.edited, e.mask, e.prompt, e.split) for e in edits],
        {edit.id: edit.group for edit in edits},
        {edit.id: tuple(float(getattr(edit, name)) for _, name in RATINGS) for edit in edits},
    )


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


def assess(assessor: Assessor, lot: Lot, masks: bool) -> list[Rated]:
    """Assess the pairs as a user would: files and prompt, the mask only if asked for."""
    wanted = [
        Pair(
            id=p.id,
            source=str(p.source),
            edited=str(p.edited),
            prompt=p.prompt,
            mask=str(p.mask) if masks and p.mask else None,
        )
        for p in lot.pairs
    ]
    rated = []
    for pair, outcome in zip(lot.pairs, assess_pairs(wanted, assessor, explain=False), strict=True):
        if not isinstance(outcome, Assessment):
            print(f"left out, could not be assessed: {pair.id}: {outcome.error.message}")
            continue
        values = (outcome.scores.of(dimension).value for dimension, _ in RATINGS)
        rated.append(
            Rated(
                cluster=lot.clusters[pair.id],
                scope=pair.scope,
                scores=tuple(float("nan") if value is None else value for value in values),
                ratings=lot.ratings[pair.id],
                similarity=region_similarity(outcome, pair),
                area=outcome.edit.area_fraction,
                id=pair.id,
            )
        )
    return rated


# ---------------------------------------------------------------------------------------------- hand features


def hand_features(assessor: Assessor, pairs: Sequence[common.RealPair], cache: Path | None) -> Array:
    """N x 15, in the order of `FEATURES`: in the region that the assessor finds, and outside it; NaN where unknown."""
    state = _state(assessor)
    known = {} if cache is None else _read_cache(cache, state)
    missing = [pair for pair in pairs if pair.id not in known]
    starts = range(0, len(missing), CHUNK)
    for number, start in enumerate(starts, 1):
        chunk = missing[start : start + CHUNK]
        loaded = [load_pair(Pair(id=p.id, source=str(p.source), edited=str(p.edited))) for p in chunk]
        for pair, item, grounding in zip(chunk, loaded, assessor.ground(loaded), strict=True):
            known[pair.id] = _features(item, grounding)
        print(f"\rfeatures of {start + len(chunk)} of {len(missing)} pairs", end="", file=sys.stderr, flush=True)
        if cache is not None and (number % SAVED == 0 or number == len(starts)):
            np.savez(cache, state=np.array(state), ids=np.array(list(known)), values=np.stack(list(known.values())))
    if missing:
        print(file=sys.stderr)
    return np.stack([known[pair.id] for pair in pairs]) if pairs else np.zeros((0, len(FEATURES)))


def _features(loaded: LoadedPair, grounding: Grounding) -> Array:
    registration, mask = grounding.registration, grounding.mask
    picture = loaded.edited.pixels
    if picture.shape[:2] != mask.shape:
        small = Image.fromarray(picture).resize((mask.shape[1], mask.shape[0]), Image.Resampling.LANCZOS)
        picture = np.asarray(small)
    measured = measure(picture, registration.source, mask, registration.valid)
    values = (measured.number(name) for name in FEATURES)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _state(assessor: Assessor) -> str:
    """Changes with all that decides a feature: the weights, the names, and the code that aligns and measures."""
    digest = hashlib.sha256(f"{assessor.info.weights_sha256} {FEATURES}".encode())
    package = Path(piqa_cli.__file__).parent
    for folder in ("align", "compact", "images"):
        for file in sorted((package / folder).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _read_cache(path: Path, state: str) -> dict[str, Array]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        if str(stored["state"]) != state:
            print(f"{path}: of other weights or code, measured anew", file=sys.stderr)
            return {}
        return dict(zip(stored["ids"].tolist(), stored["values"], strict=True))


def models(count: int) -> dict[str, Any]:
    """The feature models by name, to be fitted to `count` pairs; a missing feature is taken for the median."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer
    from sklearn.svm import SVR

    def prepared(model: Any) -> Any:
        # Measurements have long tails: ranks on a normal curve serve models that look at distances best.
        curve = QuantileTransformer(n_quantiles=min(100, count // 2), output_distribution="normal", random_state=0)
        return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), curve, model)

    trees = ExtraTreesRegressor(400, min_samples_leaf=4, max_features=0.5, random_state=0)
    widths = {"svr__C": [0.3, 1.0, 3.0], "svr__gamma": [0.01, 0.03, 0.1]}
    return {
        "features, ridge": prepared(RidgeCV(np.logspace(-1, 4, 11))),
        "features, support vectors": GridSearchCV(prepared(SVR()), widths, cv=GroupKFold(4)),
        "features, extra trees": make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), trees),
    }


def feature_predictions(
    features: Array, ratings: Array, groups: Sequence[str], wanted: Sequence[Array]
) -> list[dict[str, Array]]:
    """Fits each model to N x 15 features and N x 5 ratings; for each lot of M x 15 features: model -> M x 5 values.

    The last model is the mean of the others' ranks within the lot. A dimension with too few ratings to fit is NaN.
    """
    names = [*models(len(features)), "features, mean of ranks"]
    answers = [{name: np.full((len(lot), len(RATINGS)), np.nan) for name in names} for lot in wanted]
    for k in range(len(RATINGS)):
        rated = np.isfinite(ratings[:, k])
        labels = np.array(groups)[rated]
        if np.unique(labels).size < 8:
            continue
        for name, model in models(labels.size).items():
            extra = {"groups": labels} if hasattr(model, "param_grid") else {}  # the search leaves whole photos out
            model.fit(features[rated], ratings[rated, k], **extra)
            for lot, answer in zip(wanted, answers, strict=True):
                answer[name][:, k] = model.predict(lot) if len(lot) else []
        for answer in answers:
            answer[names[-1]][:, k] = np.mean([rankdata(answer[name][:, k]) for name in names[:-1]], axis=0)
    return answers


# ------------------------------------------------------------------------------------------------------ tables


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rated pairs as arrays: N x 5 ratings, method -> N x 5 values, `counted` where model and judge both say one."""

    clusters: NDArray[np.str_]
    ratings: Array
    methods: Mapping[str, Array]
    counted: NDArray[np.bool_]
    known: dict[tuple[str, int, bytes], float] = field(default_factory=dict)

    def figure(self, dimensions: Sequence[int], method: str, less: str | None = None) -> Figure:
        """A method's SRCC, its mean over several dimensions; `less` another method's on the same pairs, if given."""
        rows = self.rows(dimensions)

        def metric(drawn: Index) -> float:
            own = self._mean_rank(method, dimensions, rows[drawn])
            return own if less is None else own - self._mean_rank(less, dimensions, rows[drawn])

        return figure(metric, self.clusters[rows].tolist())

    def value(self, dimensions: Sequence[int], method: str) -> float:
        """The same without an interval."""
        return self._mean_rank(method, dimensions, self.rows(dimensions))

    def rows(self, dimensions: Sequence[int]) -> Index:
        """Those with a score and a rating on any of the dimensions."""
        return np.flatnonzero(self.counted[:, list(dimensions)].any(axis=1))

    def _mean_rank(self, method: str, dimensions: Sequence[int], rows: Index) -> float:
        return float(np.mean([self._rank(method, k, rows[self.counted[rows, k]]) for k in dimensions]))

    def _rank(self, method: str, dimension: int, rows: Index) -> float:
        """Kept, because means and differences ask again: the bootstrap draws the same pairs each time."""
        key = (method, dimension, rows.tobytes())
        if key not in self.known:
            self.known[key] = srcc(self.methods[method][rows, dimension], self.ratings[rows, dimension])
        return self.known[key]


def _repeated(values: Sequence[float]) -> Array:
    return np.repeat(np.array(values, np.float64)[:, None], len(RATINGS), axis=1)


def columns_of(rated: Sequence[Rated], predicted: Mapping[str, Array] | None = None) -> Columns:
    """The pairs' columns; `predicted`: what the feature models say of the same pairs."""
    scores = np.array([r.scores for r in rated], np.float64).reshape(-1, len(RATINGS))
    ratings = np.array([r.ratings for r in rated], np.float64).reshape(-1, len(RATINGS))
    plain = {
        "piqa": scores,
        "SSIM in the region": _repeated([r.similarity for r in rated]),
        "smaller region": _repeated([-r.area for r in rated]),
    }
    clusters = np.array([r.cluster for r in rated], np.str_)
    return Columns(clusters, ratings, plain | dict(predicted or {}), np.isfinite(scores) & np.isfinite(ratings))


def _lines() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and dimensions of each line of a table: one each, then means."""
    for k, (dimension, _) in enumerate(RATINGS):
        yield dimension.value, (k,)
    yield "mean", tuple(range(len(RATINGS)))
    yield "mean without completion", tuple(k for k, (d, _) in enumerate(RATINGS) if d is not Dimension.COMPLETION)


def table(rated: Sequence[Rated], scope: str) -> common.Table:
    """One row a dimension, and the means."""
    chosen = [r for r in rated if scope in ("all", r.scope)]
    columns = columns_of(chosen)
    rows: list[common.Row] = []
    for name, dimensions in _lines():
        others = [columns.value(dimensions, method) for method in columns.methods if method != "piqa"]
        rows.append((name, *columns.figure(dimensions, "piqa").cells(), columns.rows(dimensions).size, *others))
    names = ("dimension", "SRCC", "95 % interval", "n", *(name for name in columns.methods if name != "piqa"))
    return common.Table(f"Scores against silver ratings: {scope} ({len(chosen)} pairs)", names, tuple(rows))


def baselines_table(rated: Sequence[Rated], scope: str, predicted: Mapping[str, Array]) -> common.Table:
    """Each method's figure with its interval, and the model's lead over the best of the others, pair by pair."""
    columns = columns_of(rated, predicted)
    rows: list[common.Row] = []
    for name, dimensions in _lines():
        count = columns.rows(dimensions).size
        rows += [(name, method, count, *columns.figure(dimensions, method).cells()) for method in columns.methods]
        others = {method: columns.value(dimensions, method) for method in columns.methods if method != "piqa"}
        known = {method: value for method, value in others.items() if not np.isnan(value)}
        if known:
            best = max(known, key=lambda method: known[method])
            rows.append((name, f"piqa less {best}", count, *columns.figure(dimensions, "piqa", best).cells()))
    return common.Table(
        f"Scores and what needs no such model: {scope} ({len(rated)} pairs), SRCC with silver ratings",
        ("dimension", "method", "n", "SRCC", "95 % interval"),
        tuple(rows),
        "The feature models are fitted to the groups of train_pairs that the model learns its scores from. Less: the "
        "paired difference to the best of the others, which is chosen on these very pairs, in the others' favour.",
    )


def baselines_tables(
    assessor: Assessor, edits: Sequence[RatedEdit], lots: Sequence[tuple[str, Lot, Sequence[Rated]]], cache: Path | None
) -> Iterator[common.Table]:
    """Fits the feature models to the training edits; one table for each lot of rated pairs."""
    learnt = edits_lot(edits)
    # One pass for all, so that an interrupted run finds in the cache whatever was measured.
    pairs = [*learnt.pairs, *(pair for _, lot, _ in lots for pair in lot.pairs)]
    features = dict(zip((pair.id for pair in pairs), hand_features(assessor, pairs, cache), strict=True))

    def rows(ids: Sequence[str]) -> Array:
        return np.array([features[name] for name in ids], np.float64).reshape(-1, len(FEATURES))

    ratings = np.array([learnt.ratings[pair.id] for pair in learnt.pairs], np.float64).reshape(-1, len(RATINGS))
    wanted = [rows([r.id for r in rated]) for _, _, rated in lots]
    groups = [learnt.clusters[pair.id] for pair in learnt.pairs]
    predicted = feature_predictions(rows([pair.id for pair in learnt.pairs]), ratings, groups, wanted)
    for (scope, _, rated), values in zip(lots, predicted, strict=True):
        yield baselines_table(rated, scope, values)


def main() -> None:
    """Print a table for all pairs and one for each kind of edit; those of the validation groups; the baselines'."""
    parser = common.parser(__doc__)
    parser.add_argument("--pairs", type=int, help="only the first N pairs")
    parser.add_argument("--masks", action="store_true", help="give the assessor the known masks where there are any")
    parser.add_argument(
        "--edits", type=int, help="only the first N edits of train_pairs (0: neither features nor groups)"
    )
    parser.add_argument("--cache", type=Path, help="file that keeps the hand features, FILE.npz")
    options = parser.parse_args()
    assessor = open_assessor(options.model, dtype=options.dtype)
    real = real_lot(options.data, options.pairs)
    rated = assess(assessor, real, options.masks)
    tables = [table(rated, scope) for scope in SCOPES]
    edits = read_edits(options.data / "train_pairs")[: options.edits] if options.edits != 0 else []
    if edits:
        held = edits_lot([edit for edit in edits if edit.split == "val"])
        known = assess(assessor, held, options.masks)
        tables.append(table(known, "val"))
        lots = [("real edits by unseen tools", real, rated), ("validation groups", held, known)]
        tables += baselines_tables(assessor, [e for e in edits if e.split == "train"], lots, options.cache)
    common.publish(tables, options.json)


if __name__ == "__main__":
    main()
