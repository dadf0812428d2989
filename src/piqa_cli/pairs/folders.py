"""Image files under folders, and which of them belong together by their names.

An edited file belongs to the source with the longest name that begins its own and ends at its end or at a
separator: `cat_1.png` and `cat_remove_the_dog.png` to `cat.jpg`, `cat_1_red.png` to `cat_1.jpg` where that
exists, `category.png` to neither. Nothing is ever paired by its position in a sorted list.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from piqa_cli.errors import InputError

# HEIC and JPEG XL need a plug-in: listed all the same, so that loading says so instead of nothing being said.
# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif",
    ".heic", ".heif", ".jxl", ".jp2", ".ppm", ".pgm", ".pnm", ".tga",
})
# fmt: on
MatchBy = Literal["stem", "relpath"]


@dataclass(frozen=True)  # without slots, for the cached property: matching asks for a stem five times
class ImageFile:
    """An image file: `root` as the user gave it, `relative` to it with "/" between folders."""

    root: str
    relative: str

    @property
    def path(self) -> str:
        """The path to open."""
        return os.path.join(self.root, self.relative)

    @cached_property
    def stem(self) -> str:
        """The relative path without the suffix."""
        return os.path.splitext(self.relative)[0]


@dataclass(slots=True)
class Listing:
    """What a folder holds: its images, sorted by the bytes of their relative paths, and what was passed over."""

    root: str
    images: list[ImageFile] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # paths of other files
    hidden: int = 0
    unreadable: list[InputError] = field(default_factory=list)


def list_images(root: str, *, without: Collection[str] = ()) -> Listing:
    """All image files under a folder, by suffix. Hidden files and folders are passed over.

    Links are followed, but no folder is read twice, so a loop ends; a folder's real name wins over a link.

    Args:
        root: the folder.
        without: folders to leave out, compared by their real paths.

    Raises:
        InputError: the folder itself is missing, not a folder, or unreadable.
    """
    listing = Listing(root)
    visited = {_identity(os.stat(folder)) for folder in without if os.path.isdir(folder)}
    folders, links = [""], list[str]()
    while folders or links:
        here = folders.pop() if folders else links.pop(0)
        try:
            identity = _identity(os.stat(os.path.join(root, here)))
            if identity in visited:
                continue
            visited.add(identity)
            with os.scandir(os.path.join(root, here)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            problem = _folder_error(os.path.join(root, here), error)
            if not here:
                raise problem from error
            listing.unreadable.append(problem)
            continue
        for entry in entries:
            relative = f"{here}/{entry.name}" if here else entry.name
            if entry.name.startswith("."):
                listing.hidden += 1
            elif _is_folder(entry):
                (links if entry.is_symlink() else folders).append(relative)
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                listing.images.append(ImageFile(root, relative))
            else:
                listing.skipped.append(os.path.join(root, relative))
    listing.images.sort(key=lambda image: os.fsencode(image.relative))
    return listing


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _folder_error(path: str, error: OSError) -> InputError:
    reason = error.strerror or type(error).__name__
    codes = {FileNotFoundError: "E_NOT_FOUND", NotADirectoryError: "E_NOT_FOUND", PermissionError: "E_PERMISSION"}
    return InputError(
        f"the folder cannot be read: {reason}",
        code=codes.get(type(error), "E_NOT_FOUND"),
        file=path,
        expected="a readable folder",
        found=reason.lower(),
        hint="check the path and its permissions",
    )


@dataclass(frozen=True, slots=True)
class Named:
    """An image file with the name by which it is paired (Unicode-normalised, as macOS and Linux differ)."""

    file: ImageFile
    key: str


def name_files(images: Sequence[ImageFile], match: MatchBy) -> list[Named]:
    """Keys of files in a folder of their own: the stem, or the stem with its folders."""
    return [
        Named(image, _normal(image.stem if match == "relpath" else image.stem.rsplit("/", 1)[-1])) for image in images
    ]


def name_masks(images: Sequence[ImageFile], match: MatchBy) -> list[Named]:
    """The same for masks, where `cat_1_mask` is the mask of `cat_1`."""
    return [Named(named.file, re.sub(r"(?<=[^/])[ ._-]masks?$", "", named.key)) for named in name_files(images, match)]


@dataclass(frozen=True, slots=True)
class Roles:
    """The files of one folder by the role in their names; `other` have none."""

    sources: list[Named]
    edited: list[Named]
    masks: list[Named]
    other: list[ImageFile]


# NAME_source, source, NAME_edited_2, edited 2 ...; a role at the end goes before one within.
_ROLE_LAST = re.compile(r"^(?:(?P<name>.*)[ ._-])?(?P<role>source|edited|mask)$", re.IGNORECASE | re.DOTALL)
_ROLE_WITHIN = re.compile(
    r"^(?:(?P<name>.*)[ ._-])?(?P<role>edited|mask)(?P<rest>[ ._-].+)$", re.IGNORECASE | re.DOTALL
)


def name_roles(images: Sequence[ImageFile]) -> Roles:
    """Files named NAME_source.*, NAME_edited.*, NAME_mask.* (or source.*, edited.*, mask.* in a folder NAME).

    Only files in the same folder belong together. `NAME_edited_2.*` is one more edit of NAME; a nameless source
    serves the edits in its folder that have none of their own.
    """
    roles = Roles([], [], [], [])
    lists = {"source": roles.sources, "edited": roles.edited, "mask": roles.masks}
    for image in images:
        folder, _, stem = _normal(image.stem).rpartition("/")
        found = _ROLE_LAST.match(stem) or _ROLE_WITHIN.match(stem)
        if found is None:
            roles.other.append(image)
            continue
        parts = found.groupdict()
        key = f"{folder}/{parts['name'] or ''}{parts.get('rest') or ''}"
        lists[found["role"].lower()].append(Named(image, key))
    return roles


@dataclass(frozen=True, slots=True)
class Match:
    """An edited file, the sources that fit it (one is right, none or several are not), and its masks."""

    edited: ImageFile
    sources: tuple[ImageFile, ...]
    masks: tuple[ImageFile, ...]


@dataclass(frozen=True, slots=True)
class Matching:
    """All edited files in their order, and the sources and masks that none of them uses."""

    matches: list[Match]
    lone_sources: list[ImageFile]
    lone_masks: list[ImageFile]


def match_names(sources: Sequence[Named], edited: Sequence[Named], masks: Sequence[Named]) -> Matching:
    """Pair by name; the order of the answer is that of `edited`, `sources` and `masks`.

    A mask belongs to the edited file of its name, or, named as the source, to all edits of that source.
    """
    source_of, mask_of = _by_key(sources), _by_key(masks)
    used_sources, used_masks = set[str](), set[str]()
    matches: list[Match] = []
    for item in edited:
        key = next((prefix for prefix in _prefixes(item.key) if prefix in source_of), None)
        shortest = len(item.key if key is None else key)
        mask = next((p for p in _prefixes(item.key) if len(p) >= shortest and p in mask_of), None)
        if key is not None:
            used_sources.add(key)
        if mask is not None:
            used_masks.add(mask)
        found = () if key is None else source_of[key]
        matches.append(Match(item.file, found, () if mask is None else mask_of[mask]))
    return Matching(
        matches,
        [named.file for named in sources if named.key not in used_sources],
        [named.file for named in masks if named.key not in used_masks],
    )


def _by_key(files: Sequence[Named]) -> dict[str, tuple[ImageFile, ...]]:
    groups = defaultdict[str, list[ImageFile]](list)
    for named in files:
        groups[named.key].append(named.file)
    return {key: tuple(group) for key, group in groups.items()}


def _prefixes(key: str) -> Iterator[str]:
    """The key, then its beginnings that end before a separator, longest first, within the last folder."""
    yield key
    for end in range(len(key) - 1, -1, -1):
        if key[end] == "/":
            if key[end + 1 :]:
                yield key[: end + 1]
            return
        if _separates(key[end]):
            yield key[:end]


def _separates(character: str) -> bool:
    """Neither letter nor digit; an accent or an undecodable byte belongs to a word as well."""
    return not character.isalnum() and unicodedata.category(character) not in {"Mn", "Mc", "Me", "Cs"}


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)
