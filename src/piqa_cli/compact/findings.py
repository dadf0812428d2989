"""From measurements to findings: one literal table of what counts as slight, moderate and severe.

The thresholds come from `benchmarks/finding_thresholds.py`, not from taste. `slight` is set so that at most about
one in twenty pictures without a fault shows the kind: of unedited but re-encoded photos, and of real AI edits that
the judge rated 4.3 or better in the row's dimension. `moderate` and `severe` follow what injected faults of half
and full strength leave.

A finding is an observation that can be checked, not an opinion. Outside the region the measurements follow the
ratings of real edits (Spearman 0.44 to 0.56); inside it only softness, ghosting and blocking are more frequent in
badly rated edits than in good ones, so that scores never come from this table.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from piqa_cli.compact.features import Measurements
from piqa_cli.regions import locate, scale_box
from piqa_cli.schema import Box, Dimension, Finding, Region, Severity

SEVERITIES: tuple[Severity, ...] = ("slight", "moderate", "severe")


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of finding. A value of `sign` times the measurement is compared with the three thresholds.

    `scale` turns the measurement into `unit`; `text` may use {value} (absolute, in `unit`), {hue} and {place}.
    The thresholds hold where the source's content was kept; where it was replaced they are `replaced` times as
    high, since the contour of a new object is no seam and a new surface may well be smooth.
    """

    kind: str
    measurement: str
    sign: int
    thresholds: tuple[float, float, float]
    unit: str
    text: str
    dimension: Dimension
    scale: float = 1.0
    replaced: float = 1.0

    def limits(self, kept: float | None) -> tuple[float, float, float]:
        """The thresholds where a share `kept` (0..1; None: unknown, taken as 1) of the content was kept."""
        share = 1.0 if kept is None else kept
        slight, moderate, severe = (t * (share + (1 - share) * self.replaced) for t in self.thresholds)
        return slight, moderate, severe


_H, _N, _P = Dimension.HARMONY, Dimension.NATURALNESS, Dimension.PRESERVATION

ROWS: tuple[Row, ...] = (
    Row("exposure", "exposure", 1, (11, 15, 21), "L*",
        "The region is {value} L* brighter against its surroundings than the source suggests.", _H),
    Row("exposure", "exposure", -1, (11, 15, 21), "L*",
        "The region is {value} L* darker against its surroundings than the source suggests.", _H),
    Row("colour", "colour", 1, (12, 17, 24), "Delta a*b*",
        "The region's colour leans towards {hue} by {value} Delta a*b* against its surroundings.", _H),
    Row("noise", "noise", 1, (8.5, 12, 17), "dB",
        "The region is {value} dB noisier than its surroundings.", _H),
    Row("noise", "noise", -1, (7, 9, 12), "dB",
        "The region is {value} dB cleaner of grain than its surroundings.", _H),
    Row("sharpness", "sharpness", -1, (0.7, 1, 1.5), "octaves",
        "The region is {value} octaves softer than its surroundings.", _H),
    Row("sharpness", "sharpness", 1, (0.95, 1.2, 1.5), "octaves",
        "The region is {value} octaves sharper than its surroundings.", _H),
    Row("seam", "seam", 1, (4, 8, 18), "L*",
        "A step in lightness of {value} L* follows the region's edge.", _H, replaced=4),
    Row("texture_loss", "texture_loss", 1, (0.42, 0.55, 0.65), "%",
        "The region lacks {value} % of the fine texture that its surroundings and the source have.", _N, 100, 1.5),
    Row("blocking", "blocking", 1, (0.6, 1.2, 2.5), "L*",
        "The region shows an 8-pixel block grid with steps of {value} L*.", _N),
    Row("ghosting", "ghosting", 1, (0.24, 0.35, 0.5), "%",
        "A faint copy of what was there before shows through in {value} % of the region's structure.", _N, 100),
    Row("repetition", "repetition", 1, (0.3, 0.42, 0.55), "%",
        "The region repeats its own pattern with a correlation of {value} %.", _N, 100),
    Row("drift_structure", "drift_structure", 1, (0.065, 0.12, 0.22), "%",
        "Outside the region the structure differs by {value} %, {place}.", _P, 100),
    Row("drift_colour", "drift_colour", 1, (3.2, 5, 9), "Delta E",
        "Outside the region the colours moved by {value} Delta E, {place}.", _P),
    Row("drift_sharpness", "drift_sharpness", 1, (1, 1.4, 1.8), "octaves",
        "Outside the region the sharpness changed unevenly, by {value} octaves.", _P),
    Row("drift_text", "drift_text", 1, (0.33, 0.48, 0.65), "%",
        "Outside the region {value} % of the fine strokes, such as lettering and thin lines, faded.", _P, 100),
)  # fmt: skip

_HUES = ("red", "orange", "yellow", "green", "cyan", "blue", "violet", "magenta")
_HUE_ANGLES = (30.0, 60.0, 100.0, 150.0, 205.0, 260.0, 305.0, 345.0)  # degrees in the a*b* plane


def dimension_of(kind: str) -> Dimension:
    """The score that findings of this kind speak for.

    Raises:
        ValueError: no row of the table has this kind.
    """
    for row in ROWS:
        if row.kind == kind:
            return row.dimension
    raise ValueError(f"no finding is called {kind!r}")


def hue_name(a: float, b: float) -> str:
    """The name of the direction (a*, b*)."""
    angle = float(np.degrees(np.arctan2(b, a))) % 360
    apart = [min(abs(angle - hue), 360 - abs(angle - hue)) for hue in _HUE_ANGLES]
    return _HUES[int(np.argmin(apart))]


def find(
    measurements: Measurements,
    regions: Sequence[Region],
    size: tuple[int, int],
    asked: Collection[str] = (),
) -> tuple[Finding, ...]:
    """What stands out, most severe first, equally severe ones by how far they exceed their threshold.

    Args:
        measurements: of the pair in the working frame.
        regions: the edited regions, largest first, in pixels of the edited image.
        size: (height, width) of the edited image.
        asked: kinds that the prompt asked for and that therefore are no finding; see `completion.asked_kinds`.
    """
    found: list[tuple[int, float, Finding]] = []
    for row in ROWS:
        raw = measurements.number(row.measurement)
        limits = row.limits(measurements.kept)
        if raw is None or row.kind in asked or row.sign * raw < limits[0]:
            continue
        value = row.sign * raw
        rank = sum(value >= limit for limit in limits) - 1
        # A softer region has less texture by that alone: among equals the blur is the cause and comes first.
        excess = 0.0 if row.kind == "texture_loss" else value / limits[rank]
        found.append((rank, excess, _finding(row, value, SEVERITIES[rank], measurements, regions, size)))
    found.sort(key=lambda item: (-item[0], -item[1]))
    return tuple(finding for _, _, finding in found)


def _finding(
    row: Row,
    value: float,
    severity: Severity,
    measurements: Measurements,
    regions: Sequence[Region],
    size: tuple[int, int],
) -> Finding:
    box = _drift_box(measurements, size) if row.dimension is _P else _region_box(regions)
    where = locate(box, size) if box else ""
    where = f"most {where}" if where and "whole" not in where else "all over the picture"
    hue = hue_name(*measurements.cast) if measurements.cast else ""
    amount = row.scale * value
    text = row.text.format(value=number(amount), hue=hue, place=where)
    return Finding(kind=row.kind, severity=severity, box=box, value=row.sign * amount, unit=row.unit, text=text)


def number(value: float) -> str:
    """A value as the sentences quote it: whole from 10, one decimal below."""
    return f"{abs(value):.0f}" if abs(value) >= 9.95 else f"{abs(value):.1f}"


def _drift_box(measurements: Measurements, size: tuple[int, int]) -> Box | None:
    return None if measurements.drift_box is None else scale_box(measurements.drift_box, measurements.size, size)


def _region_box(regions: Sequence[Region]) -> Box | None:
    """The largest region's box where it holds most of the edited area, the box around all of them otherwise."""
    if not regions:
        return None
    total = sum(region.area_fraction for region in regions)
    if regions[0].area_fraction >= 0.6 * total:
        return regions[0].box
    x0, y0, x1, y1 = zip(*(region.box for region in regions), strict=True)
    return min(x0), min(y0), max(x1), max(y1)
