"""How well the edited region is found, and how often one is seen where nothing was edited.

    python -m benchmarks.grounding --data ../shared/data

1. Real edits with known masks, never trained on: mean IoU at the model's own fixed threshold, as the files are
   and after three things that happen to files. Next to it, in the same run, what one would do without a model.
2. Unedited photos against their own re-encodings: area reported as edited, and how many are called a local edit.
   The photos are those that training holds out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import baselines, common, pictures
from piqa_cli import open_assessor
from piqa_cli.assessor import Assessor, Grounding
from piqa_cli.images import load_pair
from piqa_cli.metrics import bootstrap_interval, chance_iou, iou
from piqa_cli.schema import Kind, Pair

SHIFT = 2  # pixels at 512 px long side
THRESHOLDS = (1.0, 5.0)  # per cent of the image: how many photos have more false-positive area than this


@dataclass(frozen=True, slots=True)
class Overlap:
    """IoU on one pair: the model's, the two baselines', chance; and the truth's share of the image."""

    cluster: str
    model: float
    difference: float
    dissimilarity: float
    chance: float
    area: float


def as_is(image: Image.Image, path: Path) -> Path:
    """Losslessly."""
    return _saved(image, path.with_suffix(".png"))


def jpeg_q50(image: Image.Image, path: Path) -> Path:
    """As JPEG, quality 50."""
    return _saved(image, path.with_suffix(".jpg"), quality=50)


def webp_q60(image: Image.Image, path: Path) -> Path:
    """As WebP, quality 60."""
    return _saved(image, path.with_suffix(".webp"), quality=60)


def shifted(image: Image.Image, path: Path) -> Path:
    """Moved right and down without a codec."""
    return _saved(Image.fromarray(shift(np.asarray(image))), path.with_suffix(".png"))


def shifted_jpeg_q75(image: Image.Image, path: Path) -> Path:
    """Moved right and down, then JPEG, quality 75."""
    return _saved(Image.fromarray(shift(np.asarray(image))), path.with_suffix(".jpg"), quality=75)


def resized(image: Image.Image, path: Path) -> Path:
    """At 70 % of its size."""
    size = (round(image.width * 0.7), round(image.height * 0.7))
    return _saved(image.resize(size, Image.Resampling.LANCZOS), path.with_suffix(".png"))


Variant = Callable[[Image.Image, Path], Path]
EDITED_VARIANTS: tuple[tuple[str, Variant], ...] = (
    ("as they are", as_is),
    ("edited as JPEG q50", jpeg_q50),
    ("edited shifted by 2 px, JPEG q75", shifted_jpeg_q75),
    ("edited resized to 70 %", resized),
)
UNEDITED_VARIANTS: tuple[tuple[str, Variant], ...] = (
    ("JPEG q50", jpeg_q50),
    ("WebP q60", webp_q60),
    ("resized to 70 %", resized),
    ("shifted by 2 px", shifted),
)


def _saved(image: Image.Image, path: Path, quality: int = 0) -> Path:
    image.save(path, quality=quality) if quality else image.save(path)
    return path


def shift(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H x W (x 3) moved right and down by what is 2 px at 512 px long side, the edge repeated."""
    by = max(SHIFT, round(SHIFT * max(pixels.shape[:2]) / pictures.LONG_SIDE))
    padding = ((by, 0), (by, 0)) + ((0, 0),) * (pixels.ndim - 2)
    return np.pad(pixels, padding, mode="edge")[: pixels.shape[0], : pixels.shape[1]]


def ground(assessor: Assessor, source: Path, edited: Path) -> Grounding:
    """The region found between two files, through the same doors that a user's pair goes through."""
    (grounding,) = assessor.ground([load_pair(Pair(id=edited.stem, source=str(source), edited=str(edited)))])
    return grounding


def mean(values: NDArray[np.float64], _: NDArray[np.float64]) -> float:
    """The mean, as a metric of two columns of which it reads one."""
    return float(values.mean())


def overlap(assessor: Assessor, pair: common.RealPair, variant: Variant, folder: Path) -> Overlap:
    """One pair in one variant. Every mask is compared at the size it was found at."""
    if pair.mask is None:
        raise ValueError(f"{pair.id}: expected a pair with a mask")
    with Image.open(pair.edited) as opened:
        edited = variant(opened.convert("RGB"), folder / "edited")
    with Image.open(pair.mask) as opened:
        truth = opened.convert("L")
    if variant is shifted_jpeg_q75:
        truth = Image.fromarray(shift(np.asarray(truth)))
    found = ground(assessor, pair.source, edited).mask
    with Image.open(edited) as opened:
        b = pictures.fit(opened.convert("RGB"))
    with Image.open(pair.source) as opened:
        a = opened.convert("RGB").resize(b.size, Image.Resampling.BICUBIC)
    pixels_a, pixels_b = np.asarray(a), np.asarray(b)
    small = _at(truth, pixels_b.shape[:2])
    return Overlap(
        cluster=common.fingerprint(pair.source),
        model=iou(found, _at(truth, found.shape)),
        difference=iou(baselines.otsu(baselines.difference_map(pixels_a, pixels_b)), small),
        dissimilarity=iou(baselines.otsu(baselines.dissimilarity_map(pixels_a, pixels_b)), small),
        chance=chance_iou(float(small.mean())),
        area=float(small.mean()),
    )


def _at(mask: Image.Image, size: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(mask.resize((size[1], size[0]), Image.Resampling.NEAREST)) > 127


def edited_table(assessor: Assessor, pairs: Sequence[common.RealPair], per_pair: bool) -> Iterator[common.Table]:
    """Mean IoU a variant with its 95 % interval; then, if asked for, each pair's."""
    rows: list[common.Row] = []
    details: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, variant in EDITED_VARIANTS:
            results = [overlap(assessor, pair, variant, Path(folder)) for pair in pairs]
            values = np.array([r.model for r in results])
            interval = bootstrap_interval(mean, values, values, group=[r.cluster for r in results])
            means = [
                float(np.mean([getattr(r, f) for r in results])) for f in ("difference", "dissimilarity", "chance")
            ]
            rows.append(
                (name, float(values.mean()), f"{interval.low:.3f} .. {interval.high:.3f}", float(values.min()), *means)
            )
            details.append([r.model for r in results])
    columns = ("variant", "IoU", "95 % interval", "worst pair", "abs. difference + Otsu", "1 - SSIM + Otsu", "chance")
    yield common.Table(
        f"Grounding: mean IoU on {len(pairs)} real edits with known masks",
        columns,
        tuple(rows),
        "Interval: bootstrap over source photos. Chance: a random mask of the true size.",
    )
    if per_pair:
        names = tuple(name for name, _ in EDITED_VARIANTS)
        each: list[common.Row] = [(pair.id, *(column[i] for column in details)) for i, pair in enumerate(pairs)]
        yield common.Table("IoU of each pair", ("pair", *names), tuple(each))


def unedited_table(assessor: Assessor, photos: Sequence[Path]) -> common.Table:
    """Area reported as edited on photos that nobody edited."""
    rows: list[common.Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, variant in UNEDITED_VARIANTS:
            areas, local, edited = [], 0, 0
            for photo in photos:
                with Image.open(photo) as opened:
                    other = variant(opened.convert("RGB"), Path(folder) / "edited")
                found = ground(assessor, photo, other)
                areas.append(100 * float(found.mask.mean()))
                local += found.edit.kind is Kind.LOCAL
                edited += found.edit.edited
            above = [float(100 * np.mean(np.array(areas) > limit)) for limit in THRESHOLDS]
            rows.append((name, float(np.mean(areas)), *above, 100 * local / len(photos), 100 * edited / len(photos)))
    above_names = tuple(f"photos with over {limit:g} %" for limit in THRESHOLDS)
    return common.Table(
        f"False alarms on {len(photos)} unedited photos, per cent",
        ("photo against its", "mean area", *above_names, "called a local edit", "called edited"),
        tuple(rows),
    )


def main() -> None:
    """Print both tables."""
    parser = common.parser(__doc__)
    parser.add_argument("--pairs", type=int, help="only the first N real edits")
    parser.add_argument("--photos", type=int, default=100, help="unedited photos (default: %(default)s; 0: none)")
    parser.add_argument("--per-pair", action="store_true", help="also list each pair's IoU")
    options = parser.parse_args()
    assessor = open_assessor(options.model, dtype=options.dtype)
    masked = [pair for pair in common.real_pairs(options.data) if pair.mask is not None][: options.pairs]
    tables = list(edited_table(assessor, masked, options.per_pair))
    if options.photos:
        tables.append(unedited_table(assessor, common.held_out_photos(options.data, options.photos)))
    common.publish(tables, options.json)


if __name__ == "__main__":
    main()
