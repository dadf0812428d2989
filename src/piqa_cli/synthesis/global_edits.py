"""Changes of the whole picture that are edits, but not local ones."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from piqa_cli.synthesis.pixels import U8, Rng, blur, displace, match_statistics, noise_field, sign, to_float, to_uint8

GlobalEdit = Callable[[Rng, U8, U8], U8]
"""(generator, photo, another photo) -> the changed photo."""
_PLAIN = 9.0  # mean difference in levels, more than a re-encoding makes
_ATTEMPTS = 5


def _grade(rng: Rng, picture: U8, other: U8) -> U8:
    base = to_float(picture) / 255
    cast = np.exp(sign(rng) * float(rng.uniform(0.2, 0.45)) * np.array([1, rng.normal(0, 0.3), -1], np.float32))
    gamma = 2 ** (sign(rng) * float(rng.uniform(0.4, 0.9)))
    grey = base.mean(2, keepdims=True)
    saturation = float(rng.choice([0.0, 0.3, 1.0, 1.8]))
    return to_uint8(255 * np.clip(grey + saturation * (base - grey), 0, 1) ** gamma * cast)


def _other_light(rng: Rng, picture: U8, other: U8) -> U8:
    everywhere = np.ones(picture.shape[:2], bool)
    moved = match_statistics(to_float(picture), everywhere, to_float(other), everywhere, 1.0)
    return _grade(rng, to_uint8(moved), other) if np.abs(moved - picture).mean() < 20 else to_uint8(moved)


def _painting(rng: Rng, picture: U8, other: U8) -> U8:
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    for _ in range(3):
        small = cv2.bilateralFilter(small, 7, 80, 5)
    flat = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    grey = blur(to_float(cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)), 1)
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))[..., None]
    return to_uint8(to_float(flat) * 1.08 - float(rng.uniform(0.3, 0.9)) * edges)


def _soft_or_hard(rng: Rng, picture: U8, other: U8) -> U8:
    base, scale = to_float(picture), max(picture.shape) / 256
    if rng.random() < 0.6:
        return to_uint8(blur(base, float(rng.uniform(2.5, 6)) * scale))
    return to_uint8(base + float(rng.uniform(3, 6)) * (base - blur(base, 1.5 * scale)))


def _posterised(rng: Rng, picture: U8, other: U8) -> U8:
    levels = int(rng.integers(3, 6))
    return to_uint8(np.round(blur(to_float(picture), 1) / 255 * levels) / levels * 255)


def _redrawn(rng: Rng, picture: U8, other: U8) -> U8:
    """Everything drawn anew: outlines moved, texture of its own, other colours here and there."""
    size = (picture.shape[0], picture.shape[1])
    scale = max(size) / 256
    coarse = noise_field(rng, size, float(rng.uniform(25, 70)) * scale, 2) * float(rng.uniform(2.5, 7)) * scale
    fine = noise_field(rng, size, float(rng.uniform(6, 12)) * scale, 2) * float(rng.uniform(0.8, 2)) * scale
    moved = displace(to_float(picture), coarse + fine)
    low = blur(moved, float(rng.uniform(1, 2.2)) * scale)
    colour = noise_field(rng, size, float(rng.uniform(40, 120)) * scale, 3) * float(rng.uniform(6, 18))
    contrast = blur(np.abs(moved - low).mean(2), 4)[..., None]
    texture = noise_field(rng, size, float(rng.uniform(1.2, 3)), 1) * contrast
    return to_uint8(low + 0.5 * (moved - low) + texture + colour)


GLOBAL_EDITS: tuple[tuple[str, GlobalEdit], ...] = (
    ("grade", _grade),
    ("other_light", _other_light),
    ("painting", _painting),
    ("soft_or_hard", _soft_or_hard),
    ("posterised", _posterised),
    ("redrawn", _redrawn),
    ("redrawn_graded", lambda rng, picture, other: _redrawn(rng, _grade(rng, picture, other), other)),
)


def draw_global_edit(rng: Rng, picture: U8, other: U8) -> tuple[str, U8]:
    """(name, changed photo): an edit that plainly shows on this photo; a grade on top where none does."""
    edited, name = picture, "grade"
    for _ in range(_ATTEMPTS):
        name, edit = GLOBAL_EDITS[int(rng.integers(len(GLOBAL_EDITS)))]
        edited = edit(rng, picture, other)
        if np.abs(edited.astype(np.int16) - picture).mean() >= _PLAIN:
            return name, edited
    return name, _grade(rng, edited, other)
