"""How each measurement is distributed where nothing is wrong, and what it says of real edits: the thresholds' source.

    python -m benchmarks.finding_thresholds --data ../shared/data [--limit N]

Three populations:
  null   unedited photos with a blob or object mask, the file re-encoded (JPEG q50..q92, WebP q60..q90, 70 % resize)
  real   AI edits with silver ratings (train_pairs; their own masks, else where source and edited differ)
  fault  unedited photos with one fault of known strength put into the mask
The 95th percentile of `null` is the least a slight finding may ask for.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from piqa_cli.compact.completion import asked_kinds
from piqa_cli.compact.features import Measurements, measure
from piqa_cli.compact.findings import ROWS, dimension_of, find
from piqa_cli.schema import Dimension

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
SIDE = 512
NAMES = tuple(
    f.name for f in fields(Measurements) if f.name not in {"size", "cast", "hue_source", "hue_edited", "drift_box"}
)
PERCENTILES = (50, 75, 90, 95, 98, 99.5)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One measured pair; ratings are NaN where there are none."""

    measured: Measurements
    ratings: dict[str, float]
    prompt: str | None = None


def read(path: Path) -> Pixels:
    """A picture at no more than SIDE pixels, H x W x 3 uint8."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)


def recode(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The whole file once through a codec or a resize, as any tool does on saving."""
    kind = rng.integers(3)
    image = Image.fromarray(pixels)
    if kind == 2:
        small = image.resize((int(image.width * 0.7), int(image.height * 0.7)), Image.Resampling.BICUBIC)
        return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))
    return encode(pixels, ("JPEG", "WEBP")[kind], int(rng.integers(50, 93)))


def encode(pixels: Pixels, codec: str, quality: int) -> Pixels:
    """The picture once through a codec."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, codec, quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def blob(shape: tuple[int, int], rng: np.random.Generator) -> Mask:
    """A smooth random shape of 1..40 % of the picture."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), float(rng.uniform(15, 45)))
    y, x = np.mgrid[: shape[0], : shape[1]]
    cy, cx = rng.uniform(0.2, 0.8, 2) * shape
    radius = np.hypot(y - cy, x - cx) / (0.35 * min(shape))
    field = noise / noise.std() - 1.5 * radius
    return np.asarray(field > np.quantile(field, 1 - float(rng.uniform(0.01, 0.4))))


def region(data: Path, name: str, shape: tuple[int, int], rng: np.random.Generator) -> Mask:
    """An object's mask where the photo has one of at least 1 %, in half of the cases; a blob otherwise."""
    path = data / "segments" / f"voc_{Path(name).stem}.png"
    if path.exists() and rng.random() < 0.5:
        labels = np.asarray(Image.open(path).resize((shape[1], shape[0]), Image.Resampling.NEAREST))
        mask = np.asarray(labels > 0)
        if 0.01 < mask.mean() < 0.6:
            return mask
    return blob(shape, rng)


def null_samples(data: Path, limit: int, seed: int) -> Iterator[Sample]:
    """Unedited, re-encoded."""
    rng = np.random.default_rng(seed)
    rows = [json.loads(line) for line in (data / "photos" / "manifest.jsonl").read_text().splitlines()]
    for index in rng.permutation(len(rows))[:limit]:
        source = read(data / "photos" / rows[index]["file"])
        mask = region(data, rows[index]["file"], source.shape[:2], rng)
        yield Sample(measure(recode(source, rng), source, mask, np.ones(source.shape[:2], bool)), {})


FAULTS = ("exposure", "colour", "noise", "sharpness", "seam", "texture_loss", "blocking", "ghosting", "repetition")


def spoil(pixels: Pixels, mask: Mask, fault: str, strength: float, rng: np.random.Generator) -> Pixels:
    """One fault of strength 0..1 put into the mask."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)[..., None]
    image = pixels.astype(np.float32)
    bad: NDArray[np.floating] = image
    if fault == "exposure":
        bad = image * 2 ** (strength * 1.2 * rng.choice((-1, 1)))
    elif fault == "colour":
        bad = image * (1 + strength * rng.choice((-1, 1)) * np.array([0.35, -0.05, -0.35], np.float32))
    elif fault == "noise":
        bad = image + rng.normal(0, 1, image.shape).astype(np.float32) * (2 + 18 * strength)
    elif fault == "sharpness":
        bad = cv2.GaussianBlur(image, (0, 0), 0.5 + 2.5 * strength).astype(np.float32)
    elif fault == "texture_loss":
        bad = cv2.bilateralFilter(pixels, 9, 20 + 120 * strength, 5).astype(np.float32)
    elif fault == "blocking":
        bad = encode(pixels, "JPEG", int(40 - 35 * strength)).astype(np.float32)
    elif fault == "seam":
        edge = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) - cv2.erode(mask.astype(np.uint8), np.ones((3, 3)))
        return np.asarray(np.clip(image + 60 * strength * edge[..., None], 0, 255), np.uint8)
    elif fault == "ghosting":
        filled = cv2.inpaint(pixels, mask.astype(np.uint8), 5, cv2.INPAINT_TELEA).astype(np.float32)
        bad = filled + (0.1 + 0.35 * strength) * (image - cv2.GaussianBlur(image, (0, 0), 12))
    elif fault == "repetition":
        side = int(48 - 24 * strength)
        top, left = (int(rng.integers(0, n - side)) for n in pixels.shape[:2])
        tile = image[top : top + side, left : left + side]
        tiled = np.tile(tile, (pixels.shape[0] // side + 1, pixels.shape[1] // side + 1, 1))
        bad = tiled[: pixels.shape[0], : pixels.shape[1]]
    return np.asarray(np.clip(image + soft * (bad - image), 0, 255), np.uint8)


def fault_samples(data: Path, fault: str, limit: int, seed: int) -> Iterator[tuple[float, Measurements]]:
    """Photos with one fault each, and its strength."""
    rng = np.random.default_rng(seed)
    rows = [json.loads(line) for line in (data / "photos" / "manifest.jsonl").read_text().splitlines()]
    for index in rng.permutation(len(rows))[:limit]:
        source = read(data / "photos" / rows[index]["file"])
        mask = region(data, rows[index]["file"], source.shape[:2], rng)
        strength = float(rng.choice((0.25, 0.5, 1.0)))
        edited = spoil(source, mask, fault, strength, rng)
        yield strength, measure(edited, source, mask, np.ones(source.shape[:2], bool))


def difference_mask(edited: Pixels, source: Pixels, box: str) -> Mask:
    """Where the pair differs (Otsu on the smoothed difference, at least 10 grey levels), within the rated box."""
    difference = cv2.GaussianBlur(cv2.absdiff(edited, source).max(axis=2), (0, 0), 4)
    level, _ = cv2.threshold(difference, 0, 255, cv2.THRESH_OTSU)
    mask = (difference > max(10.0, level)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    if box and box not in {"all", "none"}:
        height, width = mask.shape
        x0, y0, x1, y1 = (float(v) for v in box.split(","))
        keep = np.zeros_like(mask)
        keep[int(y0 * height) : int(np.ceil(y1 * height)), int(x0 * width) : int(np.ceil(x1 * width))] = 1
        mask = mask * keep
    return np.asarray(mask, np.bool_)


def pair_with_mask(folder: Path, row: dict[str, str], box: str) -> tuple[Pixels, Pixels, Mask]:
    """Source, edited and region of a manifest row: its own mask, else where the two differ."""
    source, edited = read(folder / row["source"]), read(folder / row["edited"])
    if not row.get("mask"):
        return source, edited, difference_mask(edited, source, box)
    with Image.open(folder / row["mask"]) as image:
        size = (source.shape[1], source.shape[0])
        return source, edited, np.asarray(image.convert("L").resize(size, Image.Resampling.NEAREST)) > 127


def real_samples(data: Path, limit: int) -> Iterator[Sample]:
    """The rated AI edits."""
    folder = data / "train_pairs"
    with (folder / "ratings.csv").open(newline="") as stream:
        ratings = {row["id"]: row for row in csv.DictReader(stream)}
    for line in (folder / "manifest.jsonl").read_text().splitlines()[:limit]:
        row = json.loads(line)
        rating = ratings[row["id"]]
        source, edited, mask = pair_with_mask(folder, row, rating["box"])
        keys = ("overall", "completion", "harmony", "naturalness", "preserved")
        numbers = {key: float(rating[key]) if rating[key] else float("nan") for key in keys}
        numbers["masked"] = float(bool(row.get("mask")))
        measured = measure(edited, source, mask, np.ones(mask.shape, bool))
        yield Sample(measured, numbers, row.get("prompt"))


def column(samples: list[Sample], name: str) -> NDArray[np.float64]:
    """One measurement over the samples, NaN where it could not be taken."""
    values = (s.measured.number(name) for s in samples)
    return np.array([np.nan if v is None else v for v in values])


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman's rho over the rows where both are known."""
    good = np.isfinite(x) & np.isfinite(y)
    return float(spearmanr(x[good], y[good]).statistic) if good.sum() > 20 else float("nan")


RATED = {Dimension.HARMONY: "harmony", Dimension.NATURALNESS: "naturalness", Dimension.PRESERVATION: "preserved"}


def report_findings(null: list[Sample], real: list[Sample]) -> None:
    """How often the table of thresholds fires where it should not, and where the judge saw faults."""
    for kind in dict.fromkeys(row.kind for row in ROWS):
        rated = RATED[dimension_of(kind)]
        groups = (
            null,
            [s for s in real if s.ratings[rated] >= 4.3],
            [s for s in real if s.ratings[rated] <= 2.5],
        )
        fired = (
            [any(f.kind == kind for f in find(s.measured, (), s.measured.size, asked_kinds(s.prompt))) for s in group]
            for group in groups
        )
        print(f"{kind:16s}", *(f"{100 * np.mean(f):6.1f}" for f in fired))


def main() -> None:
    """Prints one table a population."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    null = list(null_samples(options.data, min(options.limit, 600), options.seed))
    real = list(real_samples(options.data, options.limit))
    print(
        "percentiles of |value| on unedited photos, re-encoded;   of real edits rated >= 4.5 (harmony and naturalness)"
    )
    fine = [s for s in real if min(s.ratings["harmony"], s.ratings["naturalness"]) >= 4.5]
    for name in NAMES:
        a, b = np.abs(column(null, name)), np.abs(column(fine, name))
        print(f"{name:16s}", *(f"{np.nanpercentile(a, p):7.3f}" for p in PERCENTILES), "  |  ", end=" ")
        print(*(f"{np.nanpercentile(b, p):7.3f}" for p in PERCENTILES))
    print(f"\nreal edits ({len(real)}): Spearman of |value| with harmony, naturalness, preserved, overall, completion")
    for name in NAMES:
        values = np.abs(column(real, name))
        rhos = (
            correlation(values, np.array([s.ratings[key] for s in real]))
            for key in ("harmony", "naturalness", "preserved", "overall", "completion")
        )
        print(f"{name:16s}", *(f"{rho:6.2f}" for rho in rhos), f"   n={int(np.isfinite(values).sum())}")
    print(
        "\nshare of pictures with a finding of each kind, %: unedited; real edits rated >= 4.3 in its dimension; <= 2.5"
    )
    report_findings(null, real)
    print("\nfaults of known strength: median |value| at 0.25, 0.5, 1; Spearman with the strength")
    for fault in FAULTS:
        rows = list(fault_samples(options.data, fault, min(options.limit, 120), options.seed + 1))
        strength = np.array([s for s, _ in rows])
        values = np.array([np.nan if m.number(fault) is None else abs(m.number(fault) or 0.0) for _, m in rows])
        medians = (np.nanmedian(values[strength == level]) for level in (0.25, 0.5, 1.0))
        first = [next((f.kind for f in find(m, (), m.size) if not f.kind.startswith("drift")), "") for _, m in rows]
        named = np.array([kind == fault for kind in first])
        shares = (f"{100 * named[strength == level].mean():4.0f} %" for level in (0.25, 0.5, 1.0))
        print(
            f"{fault:16s}",
            *(f"{m:7.3f}" for m in medians),
            f"{correlation(values, strength):6.2f}  named first",
            *shares,
        )


if __name__ == "__main__":
    main()
