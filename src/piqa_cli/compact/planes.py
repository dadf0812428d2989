"""What every measurement starts from: lightness, high-pass planes and 8 x 8 blocks of a registered pair.

All planes are float32 in L* units (CIE lightness, 0..100). Statistics are taken on blocks of 8 x 8 pixels that
lie at least three quarters inside (or wholly outside) the region, so that a pixel of registration error or a
mask edge does not enter them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK = 8
"""Side of a block in pixels of the working frame."""

MIN_BLOCKS = 4
"""Fewer blocks than this are no sample: the measurement is then None."""

Plane = NDArray[np.float32]
Blocks = NDArray[np.bool_]

# Immerkaer's operator (Fast Noise Variance Estimation, 1996): blind to planes and straight edges.
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_SCALE = float(np.sqrt(np.pi / 2) / 6)


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """One picture of the pair. Planes are H x W; names ending in `_blocks` are (H // 8) x (W // 8) block means."""

    light: Plane
    lab_blocks: NDArray[np.float32]  # ... x 3: L* 0..100, a*, b*
    gradient: Plane  # L* per pixel
    band: Plane  # band-pass, about 3 to 12 pixels of wavelength, L*
    noise_blocks: Plane  # standard deviation that white noise would need, L*
    fine_blocks: Plane  # gradient energy at full resolution
    coarse_blocks: Plane  # gradient energy after a blur of sigma 1.5, same units
    detail_blocks: Plane  # variance of the picture minus its blur of sigma 2.5, L* squared


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """Where to look. `distance` is signed: pixels to the region's edge, positive outside; H x W."""

    inside: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    distance: Plane
    inside_blocks: Blocks
    ring_blocks: Blocks
    outside_blocks: Blocks


def pool(plane: Plane) -> Plane:
    """Mean over each 8 x 8 block; a remainder at the right and bottom is left out. H x W [x C] float32 in."""
    height, width = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    cropped = plane[: height * BLOCK, : width * BLOCK]
    return np.asarray(cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def gradient_energy(plane: Plane) -> Plane:
    """Squared length of the Sobel gradient, (L* per pixel) squared."""
    x = cv2.Sobel(plane, cv2.CV_32F, 1, 0, scale=0.125)
    y = cv2.Sobel(plane, cv2.CV_32F, 0, 1, scale=0.125)
    return np.asarray(x * x + y * y, np.float32)


def make_planes(pixels: NDArray[np.uint8]) -> Planes:
    """Planes of one picture, H x W x 3 uint8 sRGB with H, W >= 32."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)  # L* as 0..255, a* and b* with an offset of 128
    light = cv2.extractChannel(lab, 0).astype(np.float32) * np.float32(100 / 255)
    lab_blocks = pool(lab.astype(np.float32))
    lab_blocks[..., 0] *= 100 / 255
    lab_blocks[..., 1:] -= 128
    soft = cv2.GaussianBlur(light, (0, 0), 1.2)
    softer = cv2.GaussianBlur(light, (0, 0), 2.5)
    softest = cv2.blur(softer, (9, 9))
    energy = gradient_energy(light)
    detail = light - softer
    return Planes(
        light=light,
        lab_blocks=lab_blocks,
        gradient=np.asarray(cv2.sqrt(energy), np.float32),
        band=np.asarray(soft - softest, np.float32),
        noise_blocks=pool(np.abs(cv2.filter2D(light, -1, _NOISE))) * np.float32(_NOISE_SCALE),
        fine_blocks=pool(energy),
        coarse_blocks=pool(gradient_energy(np.asarray(cv2.GaussianBlur(light, (0, 0), 1.5), np.float32))),
        detail_blocks=pool(detail * detail),
    )


def make_areas(mask: NDArray[np.bool_], valid: NDArray[np.bool_]) -> Areas:
    """Region, ring and outside. `mask`, `valid`: H x W bool.

    The ring reaches half the radius of a disc of the region's area, and at least 24 pixels; where it has fewer
    than 16 blocks everything outside serves as the ring.
    """
    inside = mask & valid
    outside = ~mask & valid
    far = float(np.hypot(*mask.shape))
    nowhere = np.full(mask.shape, far, np.float32)
    to_region = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) if mask.any() else nowhere
    to_outside = nowhere if mask.all() else cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    # Half a pixel: the edge runs between the last pixel inside and the first outside.
    distance = np.asarray(np.where(mask, 0.5 - to_outside, to_region - 0.5), np.float32)
    # Pixels next to the edge mix both sides after a registration error: they belong to neither.
    inside_blocks = pool(inside.astype(np.float32)) >= 0.75
    outside_blocks = pool((outside & (distance > 3)).astype(np.float32)) >= 0.999
    reach = max(24.0, 0.5 * float(np.sqrt(np.count_nonzero(mask) / np.pi)))
    ring_blocks = outside_blocks & (pool(distance) <= reach)
    if np.count_nonzero(ring_blocks) < 16:
        ring_blocks = outside_blocks
    return Areas(inside, outside, distance, inside_blocks, ring_blocks, outside_blocks)
