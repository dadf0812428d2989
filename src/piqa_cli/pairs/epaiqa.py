"""Human ratings in EPAIQA-15K's format: label file and image folder to labelled pairs, and splits by source.

The format (Qian et al., ACM MM 2025, arXiv 2504.09291): a JSON list of objects with `source_img_name`,
`edited_img_name`, `prompt`, `overall_score` (1..5), `prompt_completion` (1..3), `harmony_score` (1..5) and
`local_naturalness` (1..5).
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from piqa_cli.errors import InputError
from piqa_cli.failures import refuse
from piqa_cli.pairs.folders import ImageFile, list_images
from piqa_cli.schema import SCALES, Dimension, Failure, Pair

RATING_FIELDS: dict[Dimension, str] = {
    Dimension.OVERALL: "overall_score",
    Dimension.COMPLETION: "prompt_completion",
    Dimension.HARMONY: "harmony_score",
    Dimension.NATURALNESS: "local_naturalness",
}
_MOST_BYTES = 1 << 28  # of a label file, which is held whole: EPAIQA-15K's takes 5 MB
Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Label:
    """One row of a label file. `ratings` are (dimension, value on its scale), in the order of RATING_FIELDS."""

    source_name: str
    edited_name: str
    prompt: str | None
    ratings: tuple[tuple[Dimension, float], ...]

    @property
    def id(self) -> str:
        """The edited file's name without its suffix."""
        return os.path.splitext(self.edited_name)[0]

    def rating(self, dimension: Dimension) -> float | None:
        """The value of one dimension, None where it was not rated."""
        return dict(self.ratings).get(dimension)


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """A pair and what people said of it. `source_name` groups the edits of one photo."""

    pair: Pair
    source_name: str
    ratings: tuple[tuple[Dimension, float], ...]

    def rating(self, dimension: Dimension) -> float | None:
        """The value of one dimension, None where it was not rated."""
        return dict(self.ratings).get(dimension)


def read_labels(path: str, image_dir: str) -> Iterator[LabelledPair | Failure]:
    """The rows of a label file with their images, which may lie anywhere under a folder, in file order.

    A name found twice goes to the file under a folder named for its role (`source...`, `edit...`).

    Raises:
        InputError: the label file (E_LABELS) or the folder cannot be read.
    """
    yield from pair_labels(parse_labels(path), image_dir)


def pair_labels(labels: Iterable[Label | Failure], image_dir: str) -> Iterator[LabelledPair | Failure]:
    """Labels with their images, in their order, as `read_labels` finds them.

    Raises:
        InputError: the folder cannot be read.
    """
    library = ImageLibrary(image_dir)
    for label in labels:
        if isinstance(label, Failure):
            yield label
            continue
        paths = [label.source_name, label.edited_name]
        try:
            for index, (name, role) in enumerate(((label.source_name, "source"), (label.edited_name, "edit"))):
                paths[index] = library.find(name, role)
        except InputError as error:
            yield refuse(Pair(id=label.id, source=paths[0], edited=paths[1], prompt=label.prompt), error)
            continue
        pair = Pair(id=label.id, source=paths[0], edited=paths[1], prompt=label.prompt)
        yield LabelledPair(pair, label.source_name, label.ratings)


def parse_labels(path: str) -> list[Label | Failure]:
    """The rows of a label file, without their images. A row whose edited image was rated before is a failure.

    Raises:
        InputError: the file cannot be read or is not a JSON list of objects (E_LABELS).
    """
    return label_rows(load_rows(path), path)


def label_rows(rows: Iterable[object], path: str) -> list[Label | Failure]:
    """Rows of `load_rows` as labels, in their order; `path` is for the messages."""
    labels: list[Label | Failure] = []
    seen = dict[str, int]()
    for number, row in enumerate(rows, 1):
        label = _label(row, number, path)
        if not isinstance(label, Failure):
            first = seen.setdefault(match_key(label.id), number)
            label = label if first == number else _repeated(label, number, first, path)
        labels.append(label)
    return labels


def _repeated(label: Label, number: int, first: int, path: str) -> Failure:
    found = f"{label.edited_name!r} again, as in row {first}"
    pair = Pair(id=f"row {number}", source=label.source_name, edited=label.edited_name, prompt=label.prompt)
    return refuse(pair, _row_error(path, number, "E_DUPLICATE", "each edited image once", found))


def load_rows(path: str) -> list[object]:
    """The rows of a label file as they stand there, whatever they hold.

    Raises:
        InputError: the file cannot be read or is not a JSON list (E_LABELS).
    """
    expected = "a JSON list of objects with source_img_name and edited_img_name"
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        rows = json.loads(data.decode("utf-8-sig"))
    except OSError as error:
        code = "E_NOT_FOUND" if isinstance(error, FileNotFoundError) else "E_LABELS"
        found = (error.strerror or type(error).__name__).lower()
        message = "the label file cannot be read"
        raise InputError(
            message, code=code, file=path, expected=expected, found=found, hint="check the path"
        ) from error
    except (ValueError, RecursionError) as error:
        message = "the label file is not JSON"
        raise InputError(message, code="E_LABELS", file=path, expected=expected, found=str(error)) from error
    if not isinstance(rows, list):
        found = f"a JSON {type(rows).__name__}"
        raise InputError("the label file is not a list", code="E_LABELS", file=path, expected=expected, found=found)
    return rows


def _label(row: object, number: int, path: str) -> Label | Failure:
    try:
        if not isinstance(row, dict):
            raise _row_error(path, number, "E_LABELS", "an object", type(row).__name__)
        names: list[str] = []
        for column in ("source_img_name", "edited_img_name"):
            name = row.get(column)
            if not isinstance(name, str) or not name.strip() or "\0" in name:
                raise _row_error(path, number, "E_LABELS", f"a file name as {column}", _shown(name))
            names.append(name)
        prompt = row.get("prompt")
        if prompt is not None and not isinstance(prompt, str):
            raise _row_error(path, number, "E_LABELS", "text as prompt", _shown(prompt))
        ratings = _ratings(row, number, path)
        return Label(names[0], names[1], clean_prompt(prompt or "") or None, ratings)
    except InputError as error:
        return refuse(Pair(id=f"row {number}", source="", edited=""), error)


def _ratings(row: dict[str, Any], number: int, path: str) -> tuple[tuple[Dimension, float], ...]:
    ratings: list[tuple[Dimension, float]] = []
    for dimension, column in RATING_FIELDS.items():
        value, scale = row.get(column), SCALES[dimension]
        if value is None:
            continue
        number_like = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number_like and scale.low <= value <= scale.high):
            raise _row_error(path, number, "E_LABELS", f"{column} within {scale.low:g}..{scale.high:g}", _shown(value))
        ratings.append((dimension, float(value)))
    return tuple(ratings)


def _row_error(path: str, number: int, code: str, expected: str, found: str) -> InputError:
    message = f"row {number} of the label file cannot be used"
    hint = "correct or remove the row; a list of source and edited paths is a manifest: CSV or JSON lines"
    return InputError(message, code=code, file=path, expected=expected, found=found, hint=hint)


def _shown(value: object) -> str:
    """A JSON value as a message quotes it."""
    return "nothing" if value is None else repr(value)


def clean_prompt(text: str) -> str:
    """A prompt without surrounding space and stray double quotes; quotations within it stay.

    A pair of quotes around all of the prompt goes; `"A" and "B"` keeps its own. A single quote left over at an
    end goes as well.
    """
    text = text.strip()
    if text.count('"') % 2 == 1:
        text = (text[1:] if text.startswith('"') else text.removesuffix('"')).strip()
    while len(text) > 1 and text.startswith('"') and text.endswith('"'):
        second = text.index('"', 1)
        closes_within = second < len(text) - 1 and not text[second - 1].isspace()
        if closes_within and second > 1:
            break
        text = text[1:-1].strip()
    return text


class ImageLibrary:
    """Image files under a folder by name.

    Args:
        folder: where to look, at any depth.

    Raises:
        InputError: the folder cannot be read.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.images = list_images(folder).images
        self._named = defaultdict[str, list[ImageFile]](list)
        for image in self.images:
            self._named[match_key(image.relative.rsplit("/", 1)[-1])].append(image)

    def find(self, name: str, role: str) -> str:
        """The path of the one image of this name, which may say its folder as well.

        Args:
            name: as the label file has it.
            role: "source" or "edit"; of several images the one counts that is in a folder named so.

        Raises:
            InputError: there is none (E_NOT_FOUND), or several (E_DUPLICATE).
        """
        wanted = match_key(name)
        found = self._named.get(wanted.rsplit("/", 1)[-1], [])
        if "/" in wanted:
            found = [image for image in found if f"/{match_key(image.relative)}".endswith(f"/{wanted}")]
        if len(found) > 1:
            for_role = [image for image in found if _under(image, role)]
            found = for_role if len(for_role) == 1 else found
        if len(found) == 1:
            return found[0].path
        kind = "source" if role == "source" else "edited"
        raise InputError(
            f"the {kind} image is {'ambiguous' if found else 'missing'}",
            code="E_DUPLICATE" if found else "E_NOT_FOUND",
            file=name,
            expected=f"one file of this name under {self._folder!r}",
            found=", ".join(repr(image.relative) for image in found[:3]) or "none",
            hint="check --image-dir",
        )


def _under(image: ImageFile, role: str) -> bool:
    return any(part.casefold().startswith(role) for part in image.relative.split("/")[:-1])


def match_key(name: str) -> str:
    """A file name as compared: Unicode-normalised, without the double quotes that some copies of the data lost."""
    return unicodedata.normalize("NFC", name.replace('"', "").replace("\\", "/").strip())


def twice(message: str, name: str, expected: str) -> InputError:
    """The error (E_DUPLICATE) that two things bear one name."""
    return InputError(
        message, code="E_DUPLICATE", expected=expected, found=f"{name!r} twice", hint="remove one of the two"
    )


def split_of(source_name: str, *, test_share: float = 0.2, seed: int = 0) -> Split:
    """The side of a source-disjoint split on which all edits of a photo are.

    Decided by a hash of the photo's name, so that it depends neither on the order nor on the number of rows.

    Args:
        source_name: the photo's file name.
        test_share: expected share of photos in the test part, 0..1.
        seed: another split for another seed.
    """
    digest = photo_digest(source_name, seed)
    return "test" if int.from_bytes(digest[:8], "big") < test_share * 2**64 else "train"


def photo_digest(source_name: str, seed: int) -> bytes:
    """What takes the place of chance in a split: 32 bytes that only the photo's name and the seed decide."""
    return sha256(f"{seed}\0{source_name}".encode("utf-8", "surrogatepass")).digest()
