"""A photo, a region and an edit of it, ready to be rendered at any severity."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np

from piqa_cli.synthesis.canvas import Canvas, Family
from piqa_cli.synthesis.families import CONTENT_FAMILIES, FAMILIES, find_family, regenerate
from piqa_cli.synthesis.masks import SMALLEST_AREA, bounded, draw_mask, draw_object, draw_thing
from piqa_cli.synthesis.photos import Photo, PhotoLibrary, Split
from piqa_cli.synthesis.pixels import (
    F32,
    U8,
    Mask,
    Rng,
    dilate,
    log_uniform,
    noise_field,
    pick,
    sign,
    to_float,
    to_uint8,
)

_ATTEMPTS = 8
_SHOWN = 16.0  # levels by which the most changed tenth of the region differs from severity 0 to 1
_REMOVALS = ("fill", "inpaint", "paint")
_LARGEST_REMOVAL = 0.2  # of the picture, as drawn; a larger hole cannot be filled without fault
_REDRAWN = ("paste", "fill", "copy_move", "inpaint", "paint")
_BARE_SEVERITY = 0.3  # below it a fault alone, without new content, might not be seen
_CONTENT_WEIGHTS = {
    "paste": 0.26,
    "fill": 0.22,
    "regenerate": 0.18,
    "copy_move": 0.15,
    "recolour": 0.07,
    "inpaint": 0.06,
    "paint": 0.06,
}


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An edit whose every choice but its severity is made.

    canvas: all without grain; `base` has its content changed already unless `family` does that. content: the
    family that changes the content (None: a fault alone). redrawn: all of the region is drawn anew upon that,
    as generative tools do. companion: a fault of the other dimension, which comes with the edit whatever the
    edit's own severity.
    """

    photo: Photo
    canvas: Canvas
    family: Family
    content: Family | None
    redrawn: bool
    companion: Family | None
    companion_severity: float
    seed: tuple[int, ...]

    @property
    def picture(self) -> U8:
        """The photo before the edit, H x W x 3."""
        return _grained(self.canvas.picture, self.canvas.grain)

    def render(self, severity: float) -> U8:
        """The edited picture; outside `canvas.mask` it equals `picture`."""
        canvas, made = self.canvas, self.canvas.base
        if self.content is self.family:
            made = self._changed(severity)
        picture, made = self.picture, _grained(made, canvas.grain)
        if self.companion is not None:
            state = replace(canvas, picture=picture, base=made, severity=self.companion_severity)
            made = self.companion.apply(self._stage(1), state)
        if self.content is not self.family:
            made = self.family.apply(self._stage(2), replace(canvas, picture=picture, base=made, severity=severity))
        return made

    def faults(self, severity: float) -> tuple[tuple[str, float], ...]:
        """Every fault put in, worst first, with its severity."""
        found: dict[str, float] = {}
        for family, amount in ((self.family, severity), (self.companion, self.companion_severity)):
            for fault in () if family is None or amount <= 0 else family.faults:
                found[fault] = max(found.get(fault, 0.0), amount)
        return tuple(sorted(found.items(), key=lambda item: -item[1]))

    def with_content(self) -> Scene:
        """The scene with the content changed once for all severities, where a fault is put upon it."""
        if self.content is None or self.content is self.family:
            return self
        return replace(self, canvas=replace(self.canvas, base=self._changed(0.0)))

    def _changed(self, severity: float) -> U8:
        if self.content is None:
            return self.canvas.base
        made = self.content.apply(self._stage(0), replace(self.canvas, severity=severity))
        if self.redrawn:
            made = regenerate.FAMILY.apply(self._stage(3), replace(self.canvas, base=made, severity=0.0))
        return made

    def _stage(self, number: int) -> Rng:
        return np.random.default_rng((*self.seed, number))


def worst(faults: tuple[tuple[str, float], ...], of: tuple[str, ...]) -> float:
    """The severity of the worst fault among those named; 0 if there is none."""
    return max((amount for fault, amount in faults if fault in of), default=0.0)


def draw_scene(
    library: PhotoLibrary, seed: int, size: tuple[int, int], split: Split, *, family: str | None, least: float,
    without: Collection[str] = (),
) -> tuple[Scene, U8]:  # fmt: skip
    """A scene whose edit can be seen at severity `least`, the least it will be rendered at, and that rendering.

    Families named in `without` have no part in it.
    """
    for attempt in range(_ATTEMPTS):
        sure = attempt >= _ATTEMPTS // 2
        scene = _draw(library, (seed, attempt), size, split, family, least, sure=sure, without=without)
        edited = scene.render(least)
        if can_be_seen(scene.picture, edited, scene.canvas.mask) and _severity_shows(scene, edited, least):
            break
    return scene, edited


def can_be_seen(picture: U8, edited: U8, mask: Mask) -> bool:
    """Whether the region differs by more than what a good re-encoding would do."""
    difference = np.abs(picture[mask].astype(np.int16) - edited[mask]).max(1)
    return bool(difference.mean() >= 5 and np.mean(difference > 4) >= 0.35)


def _severity_shows(scene: Scene, edited: U8, severity: float) -> bool:
    """Whether the fault makes a difference here: a blur of the clear sky is no fault, whatever its severity."""
    other = 0.0 if severity > 0.5 else 1.0
    difference = np.abs(scene.render(other)[scene.canvas.mask].astype(np.int16) - edited[scene.canvas.mask]).max(1)
    upper = difference[difference >= np.quantile(difference, 0.9)]
    return bool(upper.mean() >= _SHOWN * abs(other - severity))


def _draw(
    library: PhotoLibrary, seed: tuple[int, int], size: tuple[int, int], split: Split, name: str | None, least: float,
    *, sure: bool, without: Collection[str],
) -> Scene:  # fmt: skip
    rng = np.random.default_rng((*seed, 17))
    families = [family for family in FAMILIES if family.name not in without]
    family = families[int(rng.integers(len(families)))] if name is None else find_family(name)
    photo = library.draw(rng, split, size)
    donor = library.draw(rng, split, size, other_than=photo.name)
    bare = not family.content and least >= _BARE_SEVERITY and rng.random() < 0.4 and not sure
    content = family if family.content else None if bare else _draw_content(rng, sure, without)
    mask, inner, below = _draw_region(rng, photo, donor, content="" if content is None else content.name)
    grain = _draw_grain(rng, size, family.grain)
    companion, companion_severity = _draw_companion(rng, family, without)
    feather = float(rng.uniform(1, 4)) * max(size) / 256
    canvas = Canvas(photo.pixels, photo.pixels, mask, inner, below, grain, 0.0, feather)
    redrawn = content is not None and content.name in _REDRAWN and rng.random() < 0.3 and "regenerate" not in without
    scene = Scene(photo, canvas, family, content, redrawn, companion, companion_severity, seed)
    return scene.with_content()


def _draw_content(rng: Rng, sure: bool, without: Collection[str]) -> Family:
    if sure and "paste" not in without:
        return find_family("paste")
    families = [family for family in CONTENT_FAMILIES if family.name not in without]
    return families[pick(rng, [_CONTENT_WEIGHTS[family.name] for family in families])]


def _draw_companion(rng: Rng, family: Family, without: Collection[str]) -> tuple[Family | None, float]:
    """Mostly none; otherwise a fault of the dimension that the family leaves alone."""
    others = [
        other
        for other in FAMILIES
        if not other.content and other.name not in without
        and not (other.harms_harmony and family.harms_harmony)
        and not (other.harms_naturalness and family.harms_naturalness)
    ]  # fmt: skip
    chosen, wanted, severity = int(rng.integers(len(others))), rng.random() < 0.3, float(rng.uniform(0.1, 1))
    return (others[chosen], severity) if wanted else (None, 0.0)


def _draw_region(rng: Rng, photo: Photo, donor: Photo, *, content: str) -> tuple[Mask, Mask, U8]:
    """(mask, inner, donor pixels): an object of the donor, placed somewhere, or any region of the photo."""
    if content == "paste" and rng.random() < 0.7:
        placed = _place_object(rng, donor)
        if placed is not None:
            inner, pixels = placed
            margin = round(float(rng.uniform(0.01, 0.05)) * max(inner.shape)) if rng.random() < 0.4 else 0
            mask = dilate(inner, margin)
            if np.array_equal(mask, bounded(rng, mask)):
                return mask, inner, pixels
    if content == "recolour":  # half a lawn in violet is no flawless edit; one cushion is
        mask = draw_thing(rng, photo)
    elif content in _REMOVALS:  # who removes a thing marks all of it: a rim left over would bleed inwards
        mask = draw_mask(rng, photo, area=log_uniform(rng, SMALLEST_AREA, _LARGEST_REMOVAL))
        for _ in range(3):  # whole objects come at their own size
            if mask.mean() <= 1.5 * _LARGEST_REMOVAL:
                break
            mask = draw_mask(rng, photo, area=log_uniform(rng, SMALLEST_AREA, _LARGEST_REMOVAL))
        mask = bounded(rng, dilate(mask, 1 + round(float(rng.uniform(0.01, 0.03)) * max(mask.shape))))
    else:
        mask = draw_mask(rng, photo)
    return mask, mask, donor.pixels


def _place_object(rng: Rng, donor: Photo) -> tuple[Mask, U8] | None:
    """The donor moved and scaled so that one of its objects lies at a random place at a random size."""
    found = draw_object(rng, donor)
    if found is None:
        return None
    height, width = found.shape
    rows, columns = np.nonzero(found)
    centre = np.array([columns.mean(), rows.mean()])
    area = log_uniform(rng, 0.004, 0.4)
    scale = float(np.clip(np.sqrt(area / found.mean()), 0.25, 1.6))
    target = rng.uniform(0.15, 0.85, 2) * (width, height)
    linear = scale * np.diag([sign(rng), 1.0])
    matrix = np.hstack([linear, (target - linear @ centre)[:, None]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = cv2.warpAffine(donor.pixels, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    inner = cv2.warpAffine(found.astype(np.float32), matrix, (width, height)) > 0.5
    return (np.asarray(inner), np.asarray(pixels, np.uint8)) if inner.any() else None


def _draw_grain(rng: Rng, size: tuple[int, int], chance: float) -> F32:
    if rng.random() >= max(0.08, chance):
        return np.zeros((1, 1, 3), np.float32)
    channels = 3 if rng.random() < 0.5 else 1
    grain = noise_field(rng, size, float(rng.choice([1.0, 1.6])), channels) * float(rng.uniform(5, 15))
    return np.ascontiguousarray(np.broadcast_to(grain, (*size, 3)), np.float32)


def _grained(picture: U8, grain: F32) -> U8:
    return to_uint8(to_float(picture) + grain) if grain.any() else picture
