"""Real AI edits with ratings, as training and validation data.

A folder holds `manifest.jsonl` (id, group, source, edited, and where known mask and prompt; paths relative
to the folder) and `ratings.csv` (id, overall, completion, harmony, naturalness, preserved, box, note).
Boxes are fractions of the edited image, or `all` (the whole picture was changed) or `none`.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from piqa_cli.errors import InputError

Split = Literal["train", "val"]
_VALIDATION_SHARE = 15  # of 100 groups


@dataclass(frozen=True, slots=True)
class RatedEdit:
    """One real edit. Ratings are on the scales of `schema.SCALES`; NaN where there is none."""

    id: str
    group: str
    source: Path
    edited: Path
    mask: Path | None
    prompt: str | None
    overall: float
    completion: float
    harmony: float
    naturalness: float
    preserved: float
    box: tuple[float, float, float, float] | Literal["all", "none"] | None
    note: str

    @property
    def split(self) -> Split:
        """Whole groups (edits of one photo) go to one side, decided by a hash of the group's name."""
        return "val" if zlib.crc32(self.group.encode()) % 100 < _VALIDATION_SHARE else "train"


def read_edits(folder: Path) -> list[RatedEdit]:
    """All rated edits of a folder, in the manifest's order.

    Raises:
        InputError: the manifest or the ratings are missing or malformed.
    """
    try:
        with (folder / "ratings.csv").open(encoding="utf-8", newline="") as file:
            ratings = {row["id"]: row for row in csv.DictReader(file)}
        return [edit for edit in _join(folder, ratings) if edit.source.is_file() and edit.edited.is_file()]
    except OSError as error:
        raise InputError(
            f"cannot read the rated edits: {error.strerror}",
            code="E_NOT_FOUND",
            file=str(error.filename),
            expected="a folder with manifest.jsonl and ratings.csv",
        ) from error
    except (KeyError, ValueError) as error:
        raise InputError(f"malformed rated edits: {error}", code="E_LABELS", file=str(folder)) from error


def _join(folder: Path, ratings: dict[str, dict[str, str]]) -> Iterator[RatedEdit]:
    with (folder / "manifest.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rating = ratings.get(row["id"])
            if rating is None:
                continue
            yield RatedEdit(
                id=row["id"],
                group=row["group"],
                source=folder / row["source"],
                edited=folder / row["edited"],
                mask=folder / row["mask"] if row.get("mask") else None,
                prompt=row.get("prompt"),
                overall=_number(rating["overall"]),
                completion=_number(rating["completion"]),
                harmony=_number(rating["harmony"]),
                naturalness=_number(rating["naturalness"]),
                preserved=_number(rating["preserved"]),
                box=_box(rating["box"]),
                note=rating["note"],
            )


def _number(text: str) -> float:
    return float(text) if text.strip() else float("nan")


def _box(text: str) -> tuple[float, float, float, float] | Literal["all", "none"] | None:
    text = text.strip()
    if text == "all":
        return "all"
    if text == "none":
        return "none"
    if not text:
        return None
    left, top, right, bottom = (float(part) for part in text.split(","))
    return left, top, right, bottom


def load_rgb(path: Path) -> NDArray[np.uint8]:
    """A training picture as H x W x 3 sRGB; the shipped tool reads pictures with `images`, not with this."""
    return decode_rgb(np.fromfile(path, np.uint8), str(path))


def decode_rgb(data: NDArray[np.uint8], name: str = "") -> NDArray[np.uint8]:
    """An encoded picture as H x W x 3 sRGB.

    Raises:
        InputError: it cannot be decoded.
    """
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError("cannot decode a training picture", code="E_DECODE", file=name)
    return np.ascontiguousarray(pixels[..., ::-1], np.uint8)


def load_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask file as H x W of `size`, true where edited."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise InputError("cannot decode a training mask", code="E_DECODE", file=str(path))
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_NEAREST) > 127
