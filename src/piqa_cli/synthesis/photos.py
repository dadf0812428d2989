"""A folder of natural photos, split by photo, with region labels where the folder has them."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.errors import InputError
from piqa_cli.synthesis.pixels import U8, Rng

Split = Literal["train", "val", "test", "all"]
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif"}
_SMALLEST_CROP = 0.4  # of the photo's area


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photo, or a crop of one: pixels H x W x 3 uint8 RGB; label images H x W uint8 or None.

    segments: human segmentation, a number a segment. objects: class index, 0 = none.
    """

    name: str
    pixels: U8
    segments: U8 | None
    objects: U8 | None


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    segments: Path | None
    objects: Path | None


def split_of(file: str) -> Literal["train", "val", "test"]:
    """The part a photo belongs to: 80 % train, 10 % val, 10 % test, by a hash of its file name."""
    share = int.from_bytes(hashlib.sha256(file.encode("utf-8", "surrogateescape")).digest()[:4], "big") / 2**32
    return "train" if share < 0.8 else "val" if share < 0.9 else "test"


class PhotoLibrary:
    """The photos of a folder, decoded to at most `long_side` pixels and kept while there is room.

    A `manifest.jsonl` beside the photos (rows with `file` and perhaps `segments`, `objects`, which name
    files in `../segments`) is used where there is one; otherwise every picture in the folder counts.

    Raises:
        InputError: the folder is not there, has no pictures, or its manifest is broken.
    """

    def __init__(self, root: Path | str, *, long_side: int = 512, cached: int = 400) -> None:
        self.root = Path(root)
        self.long_side = long_side
        self._cached = cached
        self._cache: OrderedDict[str, Photo] = OrderedDict()
        entries = self._read_manifest() if (self.root / "manifest.jsonl").is_file() else self._list_folder()
        self._entries = {entry.file: entry for entry in entries}
        if not self._entries:
            raise InputError(
                f"{self.root}: no pictures found",
                file=str(self.root),
                expected="a folder with JPEG, PNG or WebP photos, or a manifest.jsonl that lists them",
                found="none",
                hint="give the folder that holds the photos themselves",
            )
        self._names: dict[Split, tuple[str, ...]] = {}
        self._names |= {part: tuple(name for name in self._entries if split_of(name) == part) for part in _PARTS}
        self._names["all"] = tuple(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def names(self, split: Split) -> tuple[str, ...]:
        """The photos of a part. A folder too small for that part gives all its photos."""
        return self._names[split] or self._names["all"]

    def draw(self, rng: Rng, split: Split, size: tuple[int, int], *, other_than: str | None = None) -> Photo:
        """A random crop, at size = (height, width), of a random photo of the part."""
        names = self.names(split)
        name = names[int(rng.integers(len(names)))]
        if name == other_than and len(names) > 1:
            name = names[(names.index(name) + 1 + int(rng.integers(len(names) - 1))) % len(names)]
        return random_crop(rng, self.load(name), size)

    def load(self, name: str) -> Photo:
        """The whole photo, its long side at most `long_side` pixels.

        Raises:
            InputError: the file cannot be decoded.
        """
        if name in self._cache:
            self._cache.move_to_end(name)
            return self._cache[name]
        entry = self._entries[name]
        pixels = _decode(self.root / entry.file, self.long_side)
        photo = Photo(name, pixels, _labels(entry.segments, pixels), _labels(entry.objects, pixels))
        self._cache[name] = photo
        if len(self._cache) > self._cached:
            self._cache.popitem(last=False)
        return photo

    def _list_folder(self) -> list[_Entry]:
        if not self.root.is_dir():
            raise InputError(
                f"{self.root}: not a folder", code="E_NOT_FOUND", file=str(self.root), expected="a folder of photos"
            )
        files = sorted(path.name for path in self.root.iterdir() if path.suffix.lower() in _SUFFIXES)
        return [_Entry(file, None, None) for file in files]

    def _read_manifest(self) -> list[_Entry]:
        manifest, labels = self.root / "manifest.jsonl", self.root.parent / "segments"
        entries = []
        for number, line in enumerate(manifest.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                found = [labels / row[key] if row.get(key) else None for key in ("segments", "objects")]
                entries.append(_Entry(row["file"], *(path if path and path.is_file() else None for path in found)))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{manifest}: line {number} is not a photo's row ({error!r})",
                    code="E_MANIFEST",
                    file=str(manifest),
                    expected='a JSON object with "file"',
                    found=line[:80],
                ) from error
        return entries


_PARTS: tuple[Split, ...] = ("train", "val", "test")


def random_crop(rng: Rng, photo: Photo, size: tuple[int, int]) -> Photo:
    """A random part of the photo (40 to 100 % of its area, the wanted aspect ratio) at size = (height, width)."""
    height, width = photo.pixels.shape[:2]
    scale = min(height / size[0], width / size[1]) * np.sqrt(rng.uniform(_SMALLEST_CROP, 1))
    crop_height, crop_width = min(height, max(1, round(size[0] * scale))), min(width, max(1, round(size[1] * scale)))
    top, left = int(rng.integers(height - crop_height + 1)), int(rng.integers(width - crop_width + 1))
    flip = rng.random() < 0.5

    def take(array: NDArray[np.generic], interpolation: int) -> NDArray[np.generic]:
        part = array[top : top + crop_height, left : left + crop_width]
        part = part[:, ::-1] if flip else part
        return np.asarray(cv2.resize(np.ascontiguousarray(part), (size[1], size[0]), interpolation=interpolation))

    smooth = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    labels = [
        None if array is None else take(array, cv2.INTER_NEAREST).astype(np.uint8)
        for array in (photo.segments, photo.objects)
    ]
    return Photo(photo.name, take(photo.pixels, smooth).astype(np.uint8), *labels)


def _decode(path: Path, long_side: int) -> U8:
    try:
        with Image.open(path) as image:
            image.draft("RGB", (long_side, long_side))
            picture = image.convert("RGB")
            picture.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
            return np.asarray(picture, np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: cannot be decoded ({error})",
            code="E_DECODE",
            file=str(path),
            expected="a photo",
            found=str(error),
        ) from error


def _labels(path: Path | None, pixels: U8) -> U8 | None:
    if path is None:
        return None
    with Image.open(path) as image:
        labels = np.asarray(image.resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.NEAREST))
    # 255 marks "undecided" borders in Pascal VOC's label images.
    return np.where(labels == 255, 0, labels).astype(np.uint8) if labels.ndim == 2 else None
