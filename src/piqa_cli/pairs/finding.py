"""What the user pointed at, as pairs.

```
query = PairQuery(input="folder")        # or manifest=, labels= with image_dir=, source_dir= with edited_dir=
query.check()                            # UsageError at once; nothing is read
found = find_pairs(query)                # InputError when the input as a whole cannot be used
found.kind, found.total, found.skipped   # total: how many rows, None for manifests, labels and streams
for item in found: ...                   # Pair | Failure, lazily, in a stable order
```

`detect(input) -> InputKind` tells what one INPUT argument is. A `Failure` stands for an edited file without a
source and the reverse (E_UNPAIRED), for what fits in two ways (E_DUPLICATE), a bad row (E_MANIFEST, E_LABELS), a
missing image of a label file (E_NOT_FOUND) and a folder that cannot be read (E_PERMISSION); a path that is not
known is "" in its pair. Folders: the edited files in the order of the bytes of their relative paths, then lone
sources, lone masks, unreadable folders; ids are the edited files' relative stems. Manifests: the order and ids of
the rows. A limit counts all rows; a shard takes its share of those that the limit leaves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import BinaryIO

from piqa_cli.errors import InputError, UsageError
from piqa_cli.pairs.confinement import confine
from piqa_cli.pairs.epaiqa import read_labels
from piqa_cli.pairs.folder_pairs import FolderRows, OnUnpaired, mask_folder, read_folders, read_named
from piqa_cli.pairs.folders import IMAGE_SUFFIXES, MatchBy
from piqa_cli.pairs.manifest import read_manifest, read_stream
from piqa_cli.remote import is_remote
from piqa_cli.schema import Failure, Pair

_MANIFEST_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of an input, counted from 1: rows `number`, `number + count`, `number + 2 * count` ...

    Rows are counted from 1 and as they come, those that are failures too. Together the parts have every row once.
    """

    number: int
    count: int

    def share_of(self, total: int) -> int:
        """How many of so many rows are its own."""
        return len(range(self.number - 1, total, self.count))


class InputKind(StrEnum):
    """The kinds of input that hold pairs."""

    FOLDERS = "source and edited folders"
    NAMED = "one folder of named files"
    MANIFEST = "manifest"
    LABELS = "label file"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class PairQuery:
    """Where the pairs are: one of `input`, `manifest`, `labels`, or `source_dir` with `edited_dir`.

    Args:
        input: a folder, a manifest, a label file, or "-" for JSON lines on standard input.
        source_dir: folder of sources.
        edited_dir: folder of edited files.
        mask_dir: folder of masks, with the two above.
        manifest: a CSV or JSON-lines file, or "-".
        labels: an EPAIQA-style JSON file; needs `image_dir`.
        image_dir: where a label file's images are, anywhere below; for a manifest, what its relative paths refer to.
        match: by file name alone, or by the path relative to the folder. One folder of named files always goes by
            the folder each file is in.
        on_unpaired: what to do about files without a partner in folders: refuse them all, give failures, pass over.
        limit: at most so many rows.
        shard: only this part of the rows.
        offline: URLs that need the network are refused.
        stdin: what "-" reads.
        root: the folder that no pair may lead out of; None: anywhere.
    """

    input: str | None = None
    source_dir: str | None = None
    edited_dir: str | None = None
    mask_dir: str | None = None
    manifest: str | None = None
    labels: str | None = None
    image_dir: str | None = None
    match: MatchBy = "stem"
    on_unpaired: OnUnpaired = "warn"
    limit: int | None = None
    shard: Shard | None = None
    offline: bool = False
    stdin: BinaryIO | None = None
    root: str | None = None

    def check(self) -> None:
        """Whether the parts fit together; nothing on disk is looked at.

        Raises:
            UsageError: they do not.
        """
        given = [
            name
            for name, value in (
                ("INPUT", self.input),
                ("--manifest", self.manifest),
                ("a label file", self.labels),
                ("--source-dir with --edited-dir", self.source_dir or self.edited_dir),
            )
            if value is not None
        ]
        if len(given) != 1:
            raise UsageError(
                "say once where the pairs are",
                expected="one of INPUT, --manifest, or --source-dir with --edited-dir",
                found=" and ".join(given) or "none of them",
                hint="piqa batch FOLDER, or piqa batch --manifest FILE",
            )
        if (self.source_dir is None) != (self.edited_dir is None):
            missing = "--source-dir" if self.source_dir is None else "--edited-dir"
            raise UsageError(f"{missing} is missing", expected="both folders", found="one", hint=f"add {missing} DIR")
        if self.mask_dir is not None and self.source_dir is None:
            raise UsageError(
                "--mask-dir goes with --source-dir and --edited-dir",
                hint="masks of a folder INPUT are found in its mask/, those of a manifest in its mask column",
            )
        if self.labels is not None and self.image_dir is None:
            raise _no_image_dir(self.labels)
        if self.image_dir is not None and self.source_dir is not None:
            raise UsageError("--image-dir goes with a label file or a manifest", hint="leave it out")
        if "-" in {self.input, self.manifest} and self.stdin is None:
            raise UsageError("there is no standard input to read", hint="give a file instead of -")
        if self.limit is not None and self.limit < 1:
            raise UsageError("the limit must be at least 1", expected="1 or more", found=str(self.limit))


@dataclass(frozen=True, slots=True, eq=False)
class FoundPairs:
    """The rows, to be gone through once, and what is known of them before.

    `skipped` are files passed over in folders because they are no images or, with on_unpaired="ignore", have no
    partner; hidden ones are only counted.
    """

    kind: InputKind
    rows: Iterator[Pair | Failure]
    total: int | None = None
    skipped: tuple[str, ...] = ()
    hidden: int = 0

    def __iter__(self) -> Iterator[Pair | Failure]:
        return self.rows

    def __next__(self) -> Pair | Failure:
        return next(self.rows)


def find_pairs(query: PairQuery) -> FoundPairs:
    """The pairs of a query, lazily.

    Folders are listed and matched at once, so that nothing starts when they cannot be used; of a manifest the first
    row is read; of standard input nothing.

    Raises:
        UsageError: the query's parts do not fit together.
        InputError: the input is missing, unreadable, empty or fits no layout, or, with on_unpaired="error", has
            files without a partner (E_UNPAIRED) or more than one (E_DUPLICATE).
    """
    query.check()
    kind = _kind(query)
    found = _READERS[kind](query)
    rows, total = found.rows, found.total
    if query.root is not None or query.offline:
        rows = confine(rows, query.root, offline=query.offline)
    if query.limit is not None:
        rows, total = islice(rows, query.limit), None if total is None else min(total, query.limit)
    if query.shard is not None:
        rows = islice(rows, query.shard.number - 1, None, query.shard.count)
        total = None if total is None else query.shard.share_of(total)
    return FoundPairs(kind, rows, total, found.skipped, found.hidden)


def _kind(query: PairQuery) -> InputKind:
    if query.source_dir is not None:
        return InputKind.FOLDERS
    if query.labels is not None:
        return InputKind.LABELS
    if query.manifest is not None:
        return InputKind.STREAM if query.manifest == "-" else InputKind.MANIFEST
    return detect(query.input or "")


def detect(path: str) -> InputKind:
    """What an INPUT is; only names, and the first character of an unknown file, are looked at.

    Raises:
        InputError: it is missing (E_NOT_FOUND), or a folder or file of no accepted kind.
        UsageError: it is an image.
    """
    if path == "-":
        return InputKind.STREAM
    if is_remote(path):
        if os.path.splitext(path.partition("?")[0])[1].lower() in _MANIFEST_SUFFIXES:
            return InputKind.MANIFEST
        raise UsageError(
            "of a URL, only a manifest can be the input",
            file=path,
            expected=f"a name ending in {', '.join(sorted(_MANIFEST_SUFFIXES))}",
            hint="give a manifest of another name with --manifest; a manifest can list the files of a folder",
        )
    if os.path.isdir(path):
        subfolders = {name for name in ("source", "edited") if os.path.isdir(os.path.join(path, name))}
        return InputKind.FOLDERS if len(subfolders) == 2 else InputKind.NAMED
    if not os.path.exists(path):
        raise InputError(
            "the input does not exist",
            code="E_NOT_FOUND",
            file=path,
            expected="a folder, a manifest, a label file, or -",
            found="nothing",
            hint="check the path",
        )
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _MANIFEST_SUFFIXES:
        return InputKind.MANIFEST
    if suffix == ".json":
        return InputKind.LABELS
    if suffix in IMAGE_SUFFIXES:
        raise UsageError("the input is one image", file=path, hint="piqa assess SOURCE EDITED assesses one pair")
    raise InputError(
        "the input is of no accepted kind",
        code="E_MANIFEST",
        file=path,
        expected="a folder, a manifest (.csv, .jsonl), or a label file (.json)",
        found=f"a file ending in {suffix or 'nothing'}",
        hint="give a manifest of another name with --manifest",
    )


def _read_folders(query: PairQuery) -> FoundPairs:
    source_dir, edited_dir, mask_dir = query.source_dir, query.edited_dir, query.mask_dir
    if source_dir is None or edited_dir is None:
        root = query.input or ""
        source_dir, edited_dir, mask_dir = os.path.join(root, "source"), os.path.join(root, "edited"), mask_folder(root)
    return _of_folders(
        InputKind.FOLDERS, read_folders(source_dir, edited_dir, mask_dir, query.match, query.on_unpaired)
    )


def _read_named(query: PairQuery) -> FoundPairs:
    return _of_folders(InputKind.NAMED, read_named(query.input or "", query.on_unpaired))


def _of_folders(kind: InputKind, found: FolderRows) -> FoundPairs:
    return FoundPairs(kind, found.rows, found.total, found.skipped, found.hidden)


def _read_manifest_file(query: PairQuery) -> FoundPairs:
    path = query.manifest or query.input or ""
    return FoundPairs(
        InputKind.MANIFEST, _begun(read_manifest(path, query.image_dir, offline=query.offline), path, "E_MANIFEST")
    )


def _read_label_file(query: PairQuery) -> FoundPairs:
    path = query.labels or query.input or ""
    if query.image_dir is None:
        raise _no_image_dir(path)
    labelled = read_labels(path, query.image_dir)
    rows = (item if isinstance(item, Failure) else item.pair for item in labelled)
    return FoundPairs(InputKind.LABELS, _begun(rows, path, "E_LABELS"))


def _read_standard_input(query: PairQuery) -> FoundPairs:
    if query.stdin is None:
        raise UsageError("there is no standard input to read", hint="give a file instead of -")
    return FoundPairs(InputKind.STREAM, read_stream(query.stdin, query.image_dir))


def _begun(rows: Iterator[Pair | Failure], path: str, code: str) -> Iterator[Pair | Failure]:
    """The rows, with the first already read: a file that cannot be used is known before a model is loaded."""
    first = next(rows, None)
    if first is None:
        raise InputError("the file holds no pairs", code=code, file=path, expected="at least one row", found="none")
    return chain([first], rows)


def _no_image_dir(path: str) -> UsageError:
    return UsageError(
        "a label file names images without their folder",
        file=path,
        expected="--image-dir",
        found="none",
        hint="add --image-dir DIR; a manifest of source and edited paths is CSV or JSON lines",
    )


_READERS: dict[InputKind, Callable[[PairQuery], FoundPairs]] = {
    InputKind.FOLDERS: _read_folders,
    InputKind.NAMED: _read_named,
    InputKind.MANIFEST: _read_manifest_file,
    InputKind.LABELS: _read_label_file,
    InputKind.STREAM: _read_standard_input,
}
