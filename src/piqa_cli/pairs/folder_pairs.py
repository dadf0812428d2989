"""Pairs in folders: files matched by name, and a record for each file that has no partner or several.

Rows come in the order of the bytes of the edited files' relative paths, then lone sources, lone masks, images
whose name says no role, and folders that cannot be read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from piqa_cli.errors import InputError, UsageError
from piqa_cli.failures import refuse
from piqa_cli.pairs.folders import (
    ImageFile,
    Listing,
    Match,
    MatchBy,
    Matching,
    list_images,
    match_names,
    name_files,
    name_masks,
    name_roles,
)
from piqa_cli.schema import Failure, Pair

OnUnpaired = Literal["error", "warn", "ignore"]
LAYOUTS = (
    "source/ and edited/ (and mask/) inside it, or files named NAME_source.*, NAME_edited.* (and NAME_mask.*), "
    "or NAME/source.*, NAME/edited.*"
)


@dataclass(frozen=True, slots=True, eq=False)
class FolderRows:
    """The rows of folders, how many they are, and what was passed over."""

    rows: Iterator[Pair | Failure]
    total: int
    skipped: tuple[str, ...]
    hidden: int


def read_folders(
    source_dir: str, edited_dir: str, mask_dir: str | None, match: MatchBy, on_unpaired: OnUnpaired
) -> FolderRows:
    """Pairs of a folder of sources and a folder of edited files. One may lie inside the other.

    Raises:
        UsageError: two of the folders are the same.
        InputError: a folder cannot be read or holds no images; with "error", a file has no partner or several.
    """
    given = [folder for folder in (source_dir, edited_dir, mask_dir) if folder is not None]
    if len({os.path.realpath(folder) for folder in given}) < len(given):
        raise UsageError(
            "the same folder is given twice",
            expected="different folders of sources, edited files and masks",
            found=", ".join(given),
            hint="give one folder of NAME_source.* and NAME_edited.* files as INPUT",
        )
    listings = [list_images(folder, without=[other for other in given if other != folder]) for folder in given]
    for folder, listing in zip(given[:2], listings, strict=False):
        if not listing.images:
            raise _no_pairs(folder, listing, "image files")
    matching = match_names(
        name_files(listings[0].images, match),
        name_files(listings[1].images, match),
        [] if mask_dir is None else name_masks(listings[2].images, match),
    )
    return _arrange(_Folders(matching, [], listings), edited_dir, on_unpaired)


def read_named(root: str, on_unpaired: OnUnpaired) -> FolderRows:
    """Pairs of one folder whose files say their role in their names.

    Raises:
        InputError: the folder cannot be read or fits no layout; with "error", a file has no partner or several.
    """
    listing = list_images(root)
    roles = name_roles(listing.images)
    if not roles.sources or not roles.edited:
        raise _no_pairs(root, listing, LAYOUTS)
    matching = match_names(roles.sources, roles.edited, roles.masks)
    return _arrange(_Folders(matching, roles.other, [listing]), root, on_unpaired)


def mask_folder(root: str) -> str | None:
    """The folder mask/ or masks/ of a folder, where there is one.

    Raises:
        InputError: there are both (E_DUPLICATE).
    """
    folders = [path for name in ("mask", "masks") if os.path.isdir(path := os.path.join(root, name))]
    if len(folders) > 1 and not os.path.samefile(folders[0], folders[1]):
        raise InputError(
            "there are two folders of masks",
            code="E_DUPLICATE",
            file=root,
            expected="mask/ or masks/",
            found="both",
            hint="keep one, or choose with --source-dir, --edited-dir and --mask-dir",
        )
    return folders[0] if folders else None


@dataclass(slots=True)
class _Folders:
    """What the folders hold, matched; rows are made of it as they are asked for, since a `Pair` is larger."""

    matching: Matching
    nameless: list[ImageFile]
    listings: list[Listing]
    names: _Names = field(init=False)

    def __post_init__(self) -> None:
        self.names = _Names(self.matching.matches)

    def rows(self) -> Iterator[Pair | Failure]:
        for match in self.matching.matches:
            yield _matched(match, self.names)
        for image in self.matching.lone_sources:
            yield _lone(image, "source")
        for image in self.matching.lone_masks:
            yield _lone(image, "mask")
        for image in self.nameless:
            yield _lone(image, "image")
        for listing in self.listings:
            for error in listing.unreadable:
                yield refuse(Pair(id=error.file or "", source="", edited=""), error)

    def drop_unpaired(self) -> list[str]:
        """Pass over what has no partner, and say what that was."""
        matching = self.matching
        without = [match.edited for match in matching.matches if not match.sources]
        dropped = [*without, *matching.lone_sources, *matching.lone_masks, *self.nameless]
        self.matching = Matching([match for match in matching.matches if match.sources], [], [])
        self.nameless = []
        return [image.path for image in dropped]

    def total(self) -> int:
        matching = self.matching
        lone = len(matching.lone_sources) + len(matching.lone_masks) + len(self.nameless)
        return len(matching.matches) + lone + sum(len(listing.unreadable) for listing in self.listings)


def _arrange(folders: _Folders, folder: str, on_unpaired: OnUnpaired) -> FolderRows:
    skipped = [path for listing in folders.listings for path in listing.skipped]
    if on_unpaired == "ignore":
        skipped += folders.drop_unpaired()
        if not folders.matching.matches:
            raise _no_pairs(folder, folders.listings[-1], "at least one file with a partner")
    if on_unpaired == "error":
        failures = [row for row in folders.rows() if isinstance(row, Failure)]
        if failures:
            raise _unpaired(failures)
    hidden = sum(listing.hidden for listing in folders.listings)
    return FolderRows(folders.rows(), folders.total(), tuple(skipped), hidden)


def _unpaired(failures: list[Failure]) -> InputError:
    first = failures[0].error
    return InputError(
        f"{len(failures)} file{'' if len(failures) == 1 else 's'} cannot be paired; the first: {first.message}",
        code=first.code,
        file=first.file,
        expected=first.expected,
        found=first.found,
        hint="--on-unpaired warn assesses the other pairs and reports these",
    )


def _no_pairs(folder: str, listing: Listing, expected: str) -> InputError:
    endings = Counter(os.path.splitext(name)[1].lower() or "no ending" for name in listing.skipped)
    others = ", ".join(f"{number} {ending}" for ending, number in endings.most_common(3))
    count = len(listing.images)
    images = f"{count} image{'' if count == 1 else 's'}"
    images += f" (such as {listing.images[0].relative!r})" if count else ""
    subfolders = sorted({image.relative.partition("/")[0] for image in listing.images if "/" in image.relative})
    inside = f" in {', '.join(subfolders[:4])}{' ...' if len(subfolders) > 4 else ''}" if subfolders else ""
    return InputError(
        "the folder holds no pairs",
        code="E_UNPAIRED",
        file=folder,
        expected=expected,
        found=images + inside + (f"; other files: {others}" if others else ""),
        hint="name the folders with --source-dir and --edited-dir, or list the pairs in a manifest",
    )


class _Names:
    """Ids of edited files: the relative stem, or the whole relative path where two would be alike."""

    def __init__(self, matches: list[Match]) -> None:
        stems = Counter(match.edited.stem for match in matches)
        paths = {match.edited.relative for match in matches}
        self._whole = {stem for stem, count in stems.items() if count > 1 or stem in paths}

    def of(self, image: ImageFile) -> str:
        return image.relative if image.stem in self._whole else image.stem


def _matched(match: Match, names: _Names) -> Pair | Failure:
    identifier = names.of(match.edited)
    pair = Pair(
        id=identifier,
        source=match.sources[0].path if len(match.sources) == 1 else "",
        edited=match.edited.path,
        mask=match.masks[0].path if len(match.masks) == 1 else None,
    )
    if not match.sources:
        return refuse(pair, _alone(match.edited, "edited file", "a source whose name begins the edited file's name"))
    for what, several in (("sources", match.sources), ("masks", match.masks)):
        if len(several) > 1:
            return refuse(pair, _several(match.edited, what, several))
    return pair


def _lone(image: ImageFile, role: Literal["source", "mask", "image"]) -> Failure:
    pair = Pair(
        id=image.relative,
        source=image.path if role == "source" else "",
        edited=image.path if role == "image" else "",
        mask=image.path if role == "mask" else None,
    )
    expected = {
        "source": "an edited file whose name begins with the source's name",
        "mask": "an edited file, or a source with one, of the same name",
        "image": "a name that says source, edited or mask",
    }[role]
    return refuse(pair, _alone(image, role, expected))


def _alone(image: ImageFile, what: str, expected: str) -> InputError:
    return InputError(
        f"the {what} has no partner",
        code="E_UNPAIRED",
        file=image.path,
        expected=expected,
        found="none",
        hint="rename or remove it, list the pairs in a manifest, or pass --on-unpaired ignore",
    )


def _several(edited: ImageFile, what: str, several: tuple[ImageFile, ...]) -> InputError:
    shown = ", ".join(repr(image.relative) for image in several[:3]) + (" ..." if len(several) > 3 else "")
    return InputError(
        f"several {what} fit the edited file",
        code="E_DUPLICATE",
        file=edited.path,
        expected=f"one of the {what}",
        found=shown,
        hint="rename or remove the others; files of one name in different folders need --match relpath",
    )
