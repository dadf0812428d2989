"""Measurements on a registered pair: numbers a person can check, each with a unit and a formula.

Inside the region everything is taken against the region's surroundings in the edited picture and set against
what the source had at the same place, so that a naturally bright, sharp or noisy object is no fault. Where the
content was replaced, what the source had there says little: its word counts in proportion to `kept`, the share
of the source's structure still there. Outside the region see `drift`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.compact.drift import Drift, measure_drift
from piqa_cli.compact.planes import MIN_BLOCKS, Areas, Plane, Planes, make_areas, make_planes
from piqa_cli.compact.traces import blocking, ghosting, repetition, seam
from piqa_cli.schema import Box

_FLOOR_NOISE = 0.25  # L*: 8-bit rounding alone makes about half of it, and nobody sees less
_FLAT = 1.0  # (L* per pixel) squared of blurred gradient: below it a block is flat ground


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured. None: there was too little of the picture to measure it on.

    Inside the region:
        exposure: L*; the region's mean lightness against its surroundings, beyond what the source had there.
            kept * (change of [region - ring]) + (1 - kept) * (excess over the 2nd..98th percentile outside).
        colour: Delta a*b*; the same for the mean colour (length of the vector); beyond the outside's chroma
            where the content was replaced. `cast` is its direction, (Delta a*, Delta b*).
        noise: dB; noise (median of Immerkaer's estimate over flat blocks) of region over ring, minus
            kept * the same in the source; positive: the region is noisier.
        sharpness: octaves; log2 of fine to coarse gradient energy, region over ring, minus kept * the same in
            the source; negative: the region is softer.
        seam: L*; step across the region's edge in excess of parallel lines inside and outside, beyond the source's.
        texture_loss: share 0..1 of the fine variance that both the surroundings and the source had and the
            region lacks.
        blocking: L*; steps on an 8-pixel grid beyond the other columns and rows, region minus outside.
        ghosting: share 0..1 of the source's strong structure that remains as a faint copy.
        repetition: height 0..1 of the autocorrelation's highest side peak in the region beyond the source's.
        kept: share 0..1 of the source's structure that is still there (correlation of the band-pass).
        change: L*; mean absolute difference to the source in the region, and `rest_change` outside it.
        fill: octaves; log2 of the region's band-pass energy over the ring's; `fill_source` the source's.
        hue_*: mean L*, a*, b* of the region, source and edited (for what a prompt asked of its colour).
    Outside it: see `Drift`; `drift_box` is where most of it lies, in pixels of the working frame.
    """

    size: tuple[int, int]
    area_fraction: float
    exposure: float | None = None
    colour: float | None = None
    cast: tuple[float, float] | None = None
    noise: float | None = None
    sharpness: float | None = None
    seam: float | None = None
    texture_loss: float | None = None
    blocking: float | None = None
    ghosting: float | None = None
    repetition: float | None = None
    kept: float | None = None
    change: float | None = None
    rest_change: float | None = None
    fill: float | None = None
    fill_source: float | None = None
    hue_source: tuple[float, float, float] | None = None
    hue_edited: tuple[float, float, float] | None = None
    drift_structure: float | None = None
    drift_colour: float | None = None
    drift_sharpness: float | None = None
    drift_text: float | None = None
    drift_box: Box | None = None

    def number(self, name: str) -> float | None:
        """A measurement by its field name.

        Raises:
            ValueError: there is no such measurement, or it is not a number.
        """
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"no measurement is called {name!r}")
        value = getattr(self, name)
        if value is None or isinstance(value, float | int):
            return value
        raise ValueError(f"{name} is not a single number")


def measure(
    edited: NDArray[np.uint8], source: NDArray[np.uint8], mask: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> Measurements:
    """Measures a registered pair in the working frame.

    Args:
        edited: H x W x 3 uint8 sRGB, H and W at least 32.
        source: the same, brought onto the edited picture.
        mask: H x W bool, True where the picture was edited. May be empty or full.
        valid: H x W bool, True where the source covers the frame.

    Raises:
        ValueError: the arrays do not share one frame, or it is smaller than 32 x 32.
    """
    shape = edited.shape[:2]
    if source.shape != edited.shape or mask.shape != shape or valid.shape != shape or edited.shape[2:] != (3,):
        raise ValueError(f"one frame expected; found {edited.shape}, {source.shape}, {mask.shape}, {valid.shape}")
    if min(shape) < 32:
        raise ValueError(f"at least 32 x 32 pixels expected; found {shape[1]} x {shape[0]}")
    now, before = make_planes(edited), make_planes(source)
    areas = make_areas(mask, valid)
    drift = measure_drift(now, before, areas)
    values = _region_values(now, before, areas)
    values.update(_drift_values(drift))
    return Measurements(size=(shape[0], shape[1]), area_fraction=float(mask.mean()), **values)  # type: ignore[arg-type]


def _drift_values(drift: Drift) -> dict[str, object]:
    return {
        "drift_structure": drift.structure,
        "drift_colour": drift.colour,
        "drift_sharpness": drift.sharpness,
        "drift_text": drift.text,
        "drift_box": drift.box,
    }


def _region_values(now: Planes, before: Planes, areas: Areas) -> dict[str, object]:
    """Everything inside the region; empty where there is too little of it. Keys are fields of Measurements."""
    inner = areas.inside_blocks
    if np.count_nonzero(inner) < MIN_BLOCKS:
        return {}
    kept = _correlation(now.band, before.band, areas.inside)
    values: dict[str, object] = {
        "kept": kept,
        "change": _mean_difference(now, before, areas.inside),
        "hue_source": _mean_lab(before, inner),
        "hue_edited": _mean_lab(now, inner),
        "ghosting": ghosting(now, before, areas),
        "repetition": repetition(now.light, before.light, areas.inside),
        "seam": seam(now.gradient, before.gradient, areas),
    }
    if np.count_nonzero(areas.ring_blocks) < MIN_BLOCKS:
        return values
    colour, cast = _colour(now, before, areas, kept)
    return values | {
        "exposure": _exposure(now, before, areas, kept),
        "colour": colour,
        "cast": cast,
        "noise": _beyond(_noise(now, areas), _noise(before, areas), kept),
        "sharpness": _sharpness(now, areas) - kept * _sharpness(before, areas),
        "texture_loss": _texture_loss(now, before, areas),
        "blocking": blocking(now.light, areas) - blocking(before.light, areas),
        "rest_change": _mean_difference(now, before, areas.outside),
        "fill": _fill(now, areas),
        "fill_source": _fill(before, areas),
    }


def _correlation(a: Plane, b: Plane, where: NDArray[np.bool_]) -> float:
    x, y = a[where], b[where]
    power = float(np.sqrt(np.dot(x, x) * np.dot(y, y)))
    # A flat region has no structure to lose: it counts as kept unless structure appeared.
    if power < 1e-3 * x.size:
        return 1.0 if float(np.dot(x, x) + np.dot(y, y)) < 0.05 * x.size else 0.0
    return max(0.0, float(np.dot(x, y)) / power)


def _mean_difference(now: Planes, before: Planes, where: NDArray[np.bool_]) -> float:
    return float(cv2.mean(cv2.absdiff(now.light, before.light), where.astype(np.uint8))[0])


def _mean_lab(planes: Planes, blocks: NDArray[np.bool_]) -> tuple[float, float, float]:
    light, a, b = planes.lab_blocks[blocks].mean(axis=0).tolist()
    return float(light), float(a), float(b)


def _exposure(now: Planes, before: Planes, areas: Areas, kept: float) -> float:
    inside, ring = areas.inside_blocks, areas.ring_blocks
    light, was = now.lab_blocks[..., 0], before.lab_blocks[..., 0]
    moved = float((light[inside].mean() - light[ring].mean()) - (was[inside].mean() - was[ring].mean()))
    low, high = np.percentile(light[areas.outside_blocks], (2, 98))
    mean = float(light[inside].mean())
    beyond = max(0.0, mean - float(high)) - max(0.0, float(low) - mean)
    return kept * moved + (1 - kept) * beyond


def _colour(now: Planes, before: Planes, areas: Areas, kept: float) -> tuple[float, tuple[float, float]]:
    inside, ring = areas.inside_blocks, areas.ring_blocks
    ab, was = now.lab_blocks[..., 1:], before.lab_blocks[..., 1:]
    mean = ab[inside].mean(axis=0)
    moved = (mean - ab[ring].mean(axis=0)) - (was[inside].mean(axis=0) - was[ring].mean(axis=0))
    chroma = float(np.linalg.norm(mean))
    common = float(np.percentile(np.linalg.norm(ab[areas.outside_blocks], axis=-1), 98))
    beyond = mean * (max(0.0, chroma - common) / max(chroma, 1e-6))
    cast = kept * moved + (1 - kept) * beyond
    return float(np.linalg.norm(cast)), (float(cast[0]), float(cast[1]))


def _noise(planes: Planes, areas: Areas) -> float | None:
    # Only on flat ground: texture looks like noise to any high-pass.
    flat = planes.coarse_blocks < _FLAT
    inside, ring = areas.inside_blocks & flat, areas.ring_blocks & flat
    if min(np.count_nonzero(inside), np.count_nonzero(ring)) < MIN_BLOCKS:
        return None
    ratio = (np.median(planes.noise_blocks[inside]) + _FLOOR_NOISE) / (
        np.median(planes.noise_blocks[ring]) + _FLOOR_NOISE
    )
    return float(20 * np.log10(ratio))


def _beyond(now: float | None, before: float | None, kept: float) -> float | None:
    return None if now is None else now - kept * (before or 0.0)


def _sharpness(planes: Planes, areas: Areas) -> float:
    def slope(blocks: NDArray[np.bool_]) -> float:
        # 0.05 (L*/px)^2 keeps a flat patch, which is neither sharp nor soft, at the middle.
        fine = float(planes.fine_blocks[blocks].mean()) + 0.05
        coarse = float(planes.coarse_blocks[blocks].mean()) + 0.02
        return float(np.log2(fine / coarse))

    return slope(areas.inside_blocks) - slope(areas.ring_blocks)


def _texture_loss(now: Planes, before: Planes, areas: Areas) -> float:
    have = float(np.median(now.detail_blocks[areas.inside_blocks]))
    around = float(np.median(now.detail_blocks[areas.ring_blocks]))
    had = float(np.median(before.detail_blocks[areas.inside_blocks]))
    # Contrast goes with light: a darkened region keeps its texture at a lower amplitude.
    light = float(now.lab_blocks[areas.inside_blocks, 0].mean()) + 5
    dimmed = min(1.0, light / (float(before.lab_blocks[areas.inside_blocks, 0].mean()) + 5))
    expected = min(around, had) * dimmed**2
    if expected == 0:
        return 0.0
    # Below a standard deviation of 1 L* there was no texture to lose.
    return max(0.0, 1 - have / expected) * min(1.0, expected)


def _fill(planes: Planes, areas: Areas) -> float:
    inside = float(planes.coarse_blocks[areas.inside_blocks].mean()) + 0.05
    return float(np.log2(inside / (float(planes.coarse_blocks[areas.ring_blocks].mean()) + 0.05)))
