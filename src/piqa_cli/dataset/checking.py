"""What is wrong with a label file, its images and its annotations, row by row."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from piqa_cli.dataset.labels import LabelFile, LabelRow, read_label_file
from piqa_cli.errors import InputError, PiqaError
from piqa_cli.pairs.annotations import read_annotations
from piqa_cli.pairs.epaiqa import RATING_FIELDS, ImageLibrary, match_key
from piqa_cli.schema import Failure

Severity = Literal["error", "warning", "note"]
# kind -> severity, what it means. An error costs a row, an image or an annotation; a warning needs somebody to look;
# a note is put right or harmless.
KINDS: dict[str, tuple[Severity, str]] = {
    "unreadable_row": ("error", "a name, prompt or rating is missing or out of range; the row is left out"),
    "duplicate": ("error", "the edited image was listed before; the row is left out"),
    "missing_image": ("error", "an image is not in the folder"),
    "ambiguous_image": ("error", "several files in the folder have the image's name"),
    "unreadable_image": ("error", "an image cannot be decoded"),
    "same_file": ("warning", "source and edited image have the same name"),
    "no_prompt": ("warning", "there is no prompt, so that completion cannot be judged"),
    "mangled_prompt": ("warning", "a word was replaced inside other words of the prompt"),
    "annotation": ("error", "a line of the annotations cannot be used, or is of no edit in the label file"),
    "not_rated": ("note", "a dimension was not rated"),
    "stray_quotes": ("note", "the prompt stands in stray double quotes, which are left out"),
    "older_wording": ("note", "the edited file's name holds another wording than the prompt, which is what was rated"),
    "unlabelled_image": ("note", "an image in the folder is in no row"),
}


@dataclass(frozen=True, slots=True)
class Remark:
    """One observation; `row` counts from 1 in the label file, None for none in particular."""

    kind: str
    severity: Severity
    row: int | None
    text: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a label file holds, and all remarks on it. It can be used where there is a usable row."""

    rows: int
    usable: int
    sources: int
    errors: int
    warnings: int
    notes: int
    remarks: tuple[Remark, ...]


def check_labels(
    path: str,
    image_dir: str | None = None,
    annotations: str | None = None,
    *,
    decode: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> CheckReport:
    """Everything that can be said without a model.

    Args:
        path: the label file.
        image_dir: where its images are, anywhere below.
        annotations: regions, faults and explanations.
        decode: decode every image; slow.
        advance: called after each row's images.

    Raises:
        InputError: one of the files or the folder cannot be read.
    """
    file = read_label_file(path)
    remarks = [_left_out(failure) for failure in file.left_out]
    for row in file.rows:
        remarks += _row_remarks(row)
    if image_dir is not None:
        remarks += _image_remarks(file, image_dir, decode, advance)
    if annotations is not None:
        remarks += _annotation_remarks(file, annotations)
    count = Counter(remark.severity for remark in remarks)
    remarks.sort(key=lambda remark: (remark.row is None, remark.row or 0))
    return CheckReport(
        rows=len(file.rows) + len(file.left_out),
        usable=len(file.rows),
        sources=len({match_key(label.source_name) for label in file.labels}),
        errors=count["error"],
        warnings=count["warning"],
        notes=count["note"],
        remarks=tuple(remarks),
    )


def _remark(kind: str, row: int | None, text: str) -> Remark:
    return Remark(kind, KINDS[kind][0], row, text)


def _left_out(failure: Failure) -> Remark:
    number = re.search(r"\d+", failure.id)
    kind = "duplicate" if failure.error.code == "E_DUPLICATE" else "unreadable_row"
    text = f"expected {failure.error.expected}; found {failure.error.found}"
    return _remark(kind, int(number.group()) if number else None, text)


def _row_remarks(row: LabelRow) -> Iterator[Remark]:
    label, number = row.label, row.number
    if match_key(label.source_name) == match_key(label.edited_name):
        yield _remark("same_file", number, f"both are {label.source_name!r}")
    missing = [column for dimension, column in RATING_FIELDS.items() if label.rating(dimension) is None]
    if missing:
        yield _remark("not_rated", number, ", ".join(missing))
    if label.prompt is None:
        yield _remark("no_prompt", number, f"of {label.edited_name!r}")
        return
    written = row.written.get("prompt") if isinstance(row.written, dict) else None
    if isinstance(written, str) and written.strip() != label.prompt:
        yield _remark("stray_quotes", number, repr(written))
    if _is_mangled(label.prompt):
        yield _remark("mangled_prompt", number, repr(label.prompt))
    elif not _names_the_prompt(label.source_name, label.edited_name, label.prompt):
        yield _remark("older_wording", number, f"{label.edited_name!r} for {label.prompt!r}")


def _is_mangled(prompt: str) -> bool:
    """`change Man to a vintage outfMan`: the name of the object stands where "it" was part of a word."""
    match = re.fullmatch(r"change (\S+) to (.*)", prompt, re.IGNORECASE | re.DOTALL)
    return match is not None and re.search(rf"[a-z]{re.escape(match[1])}", match[2]) is not None


def _names_the_prompt(source: str, edited: str, prompt: str) -> bool:
    """Whether what the edited name adds to the source's, if it begins with that, stands word for word in the prompt."""
    if not _stem(edited).startswith(_stem(source)):
        return True
    added = _words(_stem(edited).removeprefix(_stem(source)))
    if added[-1:] == ["edited"]:
        added.pop()
    said = _words(prompt)
    return any(said[start : start + len(added)] == added for start in range(len(said) - len(added) + 1))


def _stem(name: str) -> str:
    return os.path.splitext(match_key(name).rsplit("/", 1)[-1])[0]


def _words(text: str) -> list[str]:
    return re.sub(r"['’]", "", text.casefold().replace("_", " ")).translate(_TO_SPACE).split()


class _Spaces(dict[int, str]):
    """Turns what is neither letter nor digit into a space."""

    def __missing__(self, code: int) -> str:
        self[code] = char if (char := chr(code)).isalnum() else " "
        return self[code]


_TO_SPACE = _Spaces()


def _image_remarks(file: LabelFile, folder: str, decode: bool, advance: Callable[[], None]) -> Iterator[Remark]:
    library = ImageLibrary(folder)
    used = set[str]()
    for row in file.rows:
        for name, role in ((row.label.source_name, "source"), (row.label.edited_name, "edit")):
            try:
                path = library.find(name, role)
            except InputError as error:
                kind = "ambiguous_image" if error.code == "E_DUPLICATE" else "missing_image"
                yield _remark(kind, row.number, f"{name!r}: {error.message}")
                continue
            if decode and path not in used:
                yield from _undecodable(path, row.number)
            used.add(path)
        advance()
    others = [image.relative for image in library.images if image.path not in used]
    if others:
        shown = ", ".join(repr(name) for name in others[:3])
        yield _remark("unlabelled_image", None, f"{len(others)} files: {shown}{' ...' if len(others) > 3 else ''}")


def _undecodable(path: str, number: int) -> Iterator[Remark]:
    from piqa_cli.images import load_image

    try:
        load_image(path)
    except PiqaError as error:
        yield _remark("unreadable_image", number, f"{path}: {error.message}")


def _annotation_remarks(file: LabelFile, path: str) -> Iterator[Remark]:
    known = {match_key(label.edited_name) for label in file.labels}
    seen = set[str]()
    for item in read_annotations(path):
        if isinstance(item, Failure):
            yield _remark("annotation", None, f"{item.id}: {item.error.found}")
            continue
        key = match_key(item.edited_name)
        if key in seen:
            yield _remark("annotation", None, f"{item.edited_name!r} is annotated twice")
        elif key not in known:
            yield _remark("annotation", None, f"no edit in the label file is called {item.edited_name!r}")
        seen.add(key)
