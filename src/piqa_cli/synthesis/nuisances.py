"""What happens to whole files and is not an edit: re-encoding, resizing, small shifts, tone, faint noise.

Pixel nuisances keep every pixel where it is. `Motion` moves the picture a little; masks are moved with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.synthesis.pixels import U8, Mask, Rng, blur, displace, encode, noise_field, pick, to_float, to_uint8

_INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """A small similarity: 2 x 3, maps (x, y, 1) of the moved picture to the picture before it."""

    matrix: NDArray[np.float64]

    def picture(self, picture: U8) -> U8:
        """The moved picture; what comes in at the borders is mirrored."""
        return np.asarray(self._warp(picture, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101), np.uint8)

    def mask(self, mask: Mask) -> Mask:
        """The mask in the moved frame."""
        moved = self._warp(mask.astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        return np.asarray(moved) >= 0.5

    def _warp(self, array: U8 | NDArray[np.float32], interpolation: int, border: int) -> cv2.typing.MatLike:
        size = (array.shape[1], array.shape[0])
        return cv2.warpAffine(array, self.matrix, size, flags=interpolation | cv2.WARP_INVERSE_MAP, borderMode=border)


def draw_motion(rng: Rng, size: tuple[int, int]) -> Motion:
    """A shift of up to 4 px, a 1-3 % crop blown up again, a rotation of up to 1 degree, or some of these."""
    height, width = size
    shift, scale, turn = np.zeros(2), 1.0, 0.0
    kind = pick(rng, (0.55, 0.25, 0.2))
    if kind == 0:
        reach = float(rng.choice([1, 2, 4]))
        shift = rng.uniform(-reach, reach, 2)
        shift = np.round(shift) if rng.random() < 0.4 else shift
    elif kind == 1:
        scale = 1 - float(rng.uniform(0.01, 0.03))
        room = (1 - scale) / 2 * np.array([width, height])
        shift = rng.uniform(-1, 1, 2) * room
    else:
        turn = float(np.deg2rad(rng.uniform(-1, 1)))
        scale = 1 - abs(turn) * 0.5
        shift = rng.uniform(-0.7, 0.7, 2)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return Motion(np.hstack([linear, (centre + shift - linear @ centre)[:, None]]))


def jpeg(rng: Rng, picture: U8) -> U8:
    """JPEG at quality 30 to 95, with or without chroma subsampling."""
    return encode(picture, "JPEG", int(rng.integers(30, 96)), int(rng.choice([0, 2, 2])))


def webp(rng: Rng, picture: U8) -> U8:
    """Lossy WebP at quality 30 to 95."""
    return encode(picture, "WEBP", int(rng.integers(30, 96)))


def avif(rng: Rng, picture: U8) -> U8:
    """AVIF at quality 35 to 90."""
    return encode(picture, "AVIF", int(rng.integers(35, 91)))


def resize_round_trip(rng: Rng, picture: U8) -> U8:
    """To 50 to 130 % and back."""
    height, width = picture.shape[:2]
    factor = float(rng.uniform(0.5, 1.3))
    there, back = _INTERPOLATIONS[int(rng.integers(4))], _INTERPOLATIONS[1 + int(rng.integers(3))]
    other = cv2.resize(picture, (max(8, round(width * factor)), max(8, round(height * factor))), interpolation=there)
    return np.asarray(cv2.resize(other, (width, height), interpolation=back), np.uint8)


def tone(rng: Rng, picture: U8) -> U8:
    """A mild tone curve: gamma, contrast, colour cast."""
    gamma, contrast = np.exp(rng.normal(0, 0.06)), 1 + float(rng.normal(0, 0.05))
    gains = np.exp(rng.normal(0, 0.025, 3))
    levels = np.linspace(0, 1, 256)[:, None] ** gamma
    curve = np.clip(((levels - 0.5) * contrast + 0.5) * gains, 0, 1)
    table = np.round(255 * curve).astype(np.uint8)
    return np.stack([table[:, channel][picture[..., channel]] for channel in range(3)], 2)


def faint_noise(rng: Rng, picture: U8) -> U8:
    """Noise of 1 to 5 levels."""
    field = rng.standard_normal(picture.shape, dtype=np.float32)
    return to_uint8(to_float(picture) + field * float(rng.uniform(1, 5)))


def denoise(rng: Rng, picture: U8) -> U8:
    """The slight smoothing of a camera or an uploader."""
    return to_uint8(blur(to_float(picture), float(rng.uniform(0.3, 0.8))))


def sharpen(rng: Rng, picture: U8) -> U8:
    """The slight sharpening of an uploader."""
    base = to_float(picture)
    return to_uint8(base + float(rng.uniform(0.2, 0.6)) * (base - blur(base, 1.0)))


def soft_reconstruction(rng: Rng, picture: U8) -> U8:
    """Stands in for an autoencoder: soft chroma, softened and slightly moved detail, faint correlated noise."""
    size = (picture.shape[0], picture.shape[1])
    jitter = noise_field(rng, size, float(rng.uniform(6, 16)), 2) * float(rng.uniform(0.1, 0.5))
    ycc = displace(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb), np.float32), jitter)
    luma = ycc[..., :1]
    low = blur(luma[..., 0], float(rng.uniform(0.8, 1.6)))[..., None]
    detail = (luma - low) * (float(rng.uniform(0.55, 1.0)) + 0.15 * noise_field(rng, size, 10))
    chroma = blur(ycc[..., 1:], float(rng.uniform(1.0, 3.0)))
    made = np.concatenate([low + detail, chroma], 2)
    made += noise_field(rng, size, float(rng.uniform(1.5, 6)), 3) * rng.uniform(0.5, 2.5, 3).astype(np.float32)
    made += rng.normal(0, 0.8, 3).astype(np.float32)
    return np.asarray(cv2.cvtColor(to_uint8(made), cv2.COLOR_YCrCb2RGB), np.uint8)


def autoencoder_round_trip(rng: Rng, picture: U8) -> U8:
    """Through a small autoencoder, as tools that work on latent pictures leave what they do not edit.

    Ours loses more than theirs, of the same kind: only a part of what it changes is put in.
    """
    from piqa_cli.synthesis.painter import round_trip  # loads torch

    noise, share = float(rng.uniform(0, 0.12)), float(rng.uniform(0.2, 0.6))
    base = to_float(picture)
    return to_uint8(base + share * (to_float(round_trip(picture, rng, noise)) - base))


NUISANCES: tuple[tuple[str, Callable[[Rng, U8], U8], float], ...] = (
    ("jpeg", jpeg, 0.30),
    ("webp", webp, 0.12),
    ("avif", avif, 0.04),
    ("resize_round_trip", resize_round_trip, 0.14),
    ("soft_reconstruction", soft_reconstruction, 0.08),
    ("autoencoder_round_trip", autoencoder_round_trip, 0.06),
    ("tone", tone, 0.12),
    ("faint_noise", faint_noise, 0.05),
    ("denoise", denoise, 0.05),
    ("sharpen", sharpen, 0.04),
)


def disturb(rng: Rng, picture: U8, count: int) -> U8:
    """The picture after `count` random pixel nuisances, one upon the other."""
    for _ in range(count):
        picture = NUISANCES[pick(rng, [weight for *_, weight in NUISANCES])][1](rng, picture)
    return picture
