"""Samples without end: pure functions of a seed, so that any sample can be made again from its number."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from piqa_cli.schema import Kind
from piqa_cli.synthesis.canvas import HARMONY_FAULTS, NATURALNESS_FAULTS
from piqa_cli.synthesis.drift import drift
from piqa_cli.synthesis.global_edits import draw_global_edit
from piqa_cli.synthesis.nuisances import disturb, draw_motion
from piqa_cli.synthesis.photos import PhotoLibrary, Split
from piqa_cli.synthesis.pixels import U8, Mask, Rng, pick
from piqa_cli.synthesis.scene import Scene, draw_scene, worst

DEFAULT_KINDS: Mapping[Kind, float] = MappingProxyType(
    {Kind.LOCAL: 0.66, Kind.NONE: 0.23, Kind.GLOBAL: 0.08, Kind.DIFFERENT: 0.03}
)
_DRIFT_CHANCE = 0.3
_MOTION_CHANCE = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A pair with everything known about it.

    source, edited: H x W x 3 uint8 RGB. mask: H x W, the edited region in the edited picture's frame; empty
    without an edit, everything for a global change or a different picture. drift_mask: where outside the mask
    something changed that should not have. fault: the main fault, None if there is none; faults: all of them,
    worst first, with their severities. severity: the family's own. The severities are 0 (flawless) to 1 and
    say something of local edits only.
    """

    source: U8
    edited: U8
    mask: Mask
    kind: Kind
    family: str
    fault: str | None
    severity: float
    harmony_severity: float
    naturalness_severity: float
    drift_severity: float
    photo: str
    seed: int
    content: str | None
    faults: tuple[tuple[str, float], ...]
    drift_mask: Mask


def make_sample(
    library: PhotoLibrary,
    seed: int,
    size: int | tuple[int, int],
    split: Split,
    *,
    kinds: Mapping[Kind, float] = DEFAULT_KINDS,
    family: str | None = None,
    severity: float | None = None,
    clean: bool = False,
    without: Collection[str] = (),
) -> Sample:
    """The sample of that number; the same arguments give the same bytes.

    `size` is a side, or (height, width), in pixels. `kinds` gives the proportion of each kind; a given `family`
    or `severity` makes the sample a local edit. `clean` leaves out drift and nuisances: nothing changes outside
    the mask then. Families named in `without` have no part in any sample.
    """
    height_width = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng((seed, 1))
    kind = list(kinds)[pick(rng, list(kinds.values()))]
    if family is not None or severity is not None:
        kind = Kind.LOCAL
    if kind is not Kind.LOCAL:
        return _finish(_unedited(library, rng, seed, height_width, split, kind), clean)
    drawn = 0.0 if rng.random() < 0.2 else float(rng.uniform(0.05, 1))
    amount = drawn if severity is None else severity
    scene, edited = draw_scene(library, seed, height_width, split, family=family, least=amount, without=without)
    return _finish(_local(scene, edited, amount, seed, clean), clean)


def make_severity_pair(
    library: PhotoLibrary,
    seed: int,
    size: int | tuple[int, int],
    split: Split,
    *,
    family: str | None = None,
    severities: tuple[float, float] | None = None,
    clean: bool = False,
    without: Collection[str] = (),
) -> tuple[Sample, Sample]:
    """(better, worse): one photo, mask, edit and set of nuisances at two severities at least 0.2 apart."""
    height_width = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng((seed, 2))
    low = 0.0 if rng.random() < 0.25 else float(rng.uniform(0.05, 0.8))
    low, high = sorted(severities) if severities is not None else (low, float(rng.uniform(low + 0.2, 1)))
    scene, edited = draw_scene(library, seed, height_width, split, family=family, least=low, without=without)
    better = _local(scene, edited, low, seed, clean)
    worse = _local(scene, scene.render(high), high, seed, clean)
    return _finish(better, clean), _finish(worse, clean)


def _local(scene: Scene, edited: U8, severity: float, seed: int, clean: bool) -> Sample:
    rng = np.random.default_rng((seed, 3))
    mask, amount = scene.canvas.mask, 0.0
    drifted = np.zeros_like(mask)
    if rng.random() < _DRIFT_CHANCE and not clean:
        amount = float(rng.uniform(0.1, 1))
        edited, drifted = drift(rng, scene.photo, edited, mask, amount)
        amount = amount if drifted.any() else 0.0
    faults = scene.faults(severity)
    return Sample(
        source=scene.picture,
        edited=edited,
        mask=mask,
        kind=Kind.LOCAL,
        family=scene.family.name,
        fault=faults[0][0] if faults else None,
        severity=severity,
        harmony_severity=worst(faults, HARMONY_FAULTS),
        naturalness_severity=worst(faults, NATURALNESS_FAULTS),
        drift_severity=amount,
        photo=scene.photo.name,
        seed=seed,
        content=None if scene.content is None else scene.content.name,
        faults=faults,
        drift_mask=drifted,
    )


def _unedited(
    library: PhotoLibrary, rng: Rng, seed: int, size: tuple[int, int], split: Split, kind: Kind
) -> Sample:  # fmt: skip
    photo = library.draw(rng, split, size)
    edited, name = photo.pixels, "none"
    if kind is not Kind.NONE:
        other = library.draw(rng, split, size, other_than=photo.name).pixels
        edited, name = other, "different_picture"
    if kind is Kind.GLOBAL:
        name, edited = draw_global_edit(rng, photo.pixels, other)
    mask = np.full(size, kind is not Kind.NONE)
    return Sample(
        source=photo.pixels, edited=edited, mask=mask, kind=kind, family=name, fault=None, severity=0.0,
        harmony_severity=0.0, naturalness_severity=0.0, drift_severity=0.0, photo=photo.name, seed=seed,
        content=None, faults=(), drift_mask=np.zeros_like(mask),
    )  # fmt: skip


def _finish(sample: Sample, clean: bool) -> Sample:
    """The sample with whole-file nuisances on both pictures; masks move with the edited one."""
    if clean:
        return sample
    rng = np.random.default_rng((sample.seed, 4))
    source, edited, mask, drifted = sample.source, sample.edited, sample.mask, sample.drift_mask
    if rng.random() < _MOTION_CHANCE:
        motion = draw_motion(rng, (mask.shape[0], mask.shape[1]))
        edited, mask, drifted = motion.picture(edited), motion.mask(mask), motion.mask(drifted)
    # Both may come from the same file; most editors save anew, some tools keep what they did not touch.
    source = disturb(rng, source, pick(rng, (0.75, 0.25)))
    edited = disturb(rng, edited, pick(rng, (0.12, 0.5, 0.28, 0.1)))
    fields = {name: getattr(sample, name) for name in Sample.__dataclass_fields__}
    return Sample(**{**fields, "source": source, "edited": edited, "mask": mask, "drift_mask": drifted})
