"""Manifests, requests, label files, annotations and ratings: what their rows must be."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fuzz.checks import WrongAnswerError, file_of, same
from piqa_cli.dataset.ratings import read_ratings
from piqa_cli.errors import InputError
from piqa_cli.pairs import Request, read_requests
from piqa_cli.pairs.annotations import Annotation, annotation_line, read_annotations
from piqa_cli.pairs.epaiqa import RATING_FIELDS, Label, parse_labels
from piqa_cli.pairs.manifest import read_manifest, read_stream
from piqa_cli.schema import Failure, Pair

CSV_WORDS = (b'"', b'""', b",", b";", b"\t", b"\r\n", b"\n", b"\0", b"source", b"edited", b"\xef\xbb\xbf", b"\xff\xfe",
             b"\x80", b"=1+1", b"nan", b"1e999", b"-", b"../", b"overall,", b"\r", b"\x1b[2J", b"'")  # fmt: skip
JSON_WORDS = (b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"NaN",
              b"Infinity", b"-0", b"1e999", b"9" * 5000, b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b'"id": 1',
              b'"source": "x"', b'"edited": "../x"', b'"mask": {}', b"\xe2\x80\xa8",
              b'"boxes": [[0,0,1,1]]')  # fmt: skip


def csv_seeds() -> Sequence[bytes]:
    """Manifests in CSV."""
    return (
        b"source,edited,prompt,mask,id\na.jpg,a.png,remove it,m.png,1\nb.jpg,b.png,,,\n",
        b'source;edited;prompt\n"a b.jpg";c.png;"say ""hi"";\nthen go"\n\nd.jpg;e.png;x\n',
        b"\xef\xbb\xbfedited\tsource\r\nb.png\ta.jpg\r\nc.png\ta.jpg\r\n",
    )


def json_seeds() -> Sequence[bytes]:
    """Manifests in JSON lines."""
    return (
        (
            b'{"source": "a.jpg", "edited": "b.png", "prompt": "p", "mask": null, "id": 5, "note": [1]}\n'
            b'{"source": "c.jpg", "edited": "d.png"}\n'
        ),
        b'{"source": "a", "edited": "\\u00e9\\n.png", "prompt": "line\\nend", "id": "x"}\n\n{"a": {}}\n',
    )


def request_seeds() -> Sequence[bytes]:
    """Lines for `piqa serve`."""
    return (
        b'{"id": 1, "source": "a.jpg", "edited": "b.png", "prompt": "p", "mask": "m.png"}\n',
        b'{"id": "x", "source": "a", "edited": "b", "explain": false, "frame": 2, "invert_mask": true}\n\n[]\n',
    )


def label_seeds() -> Sequence[bytes]:
    """Label files in EPAIQA-15K's format."""
    row = {"source_img_name": "a.jpg", "edited_img_name": "a_1.png", "prompt": '"Remove it"', "overall_score": 3.5}
    more = {"prompt_completion": 2, "harmony_score": 4.25, "local_naturalness": 1}
    return (
        json.dumps([row | more, row | {"edited_img_name": "a_2.png"}]).encode(),
        json.dumps([row]).encode("utf-8-sig"),
        b"[1, {}]",
    )


def annotation_seeds() -> Sequence[bytes]:
    """Annotation files."""
    return (
        b'{"edited_img_name": "3.png", "deviations": {"overall": 0}, "fault": null}\n',
        (
            b'{"edited_img_name": "1.png", "width": 640, "height": 480, "boxes": [[40, 60, 240, 220]],'
            b' "mask": "m/1.png", "fault": "seam", "explanation": "It shows.", "origin": "template",'
            b' "deviations": {"harmony": 0.7}}\n'
            b'{"edited_img_name": "2.png", "mask": {"size": [4, 4], "counts": "0`0"}, "boxes": []}\n'
        ),
    )


def rating_seeds() -> Sequence[bytes]:
    """Raw ratings."""
    return (
        b"rater,image,dimension,value\nann,a.png,overall,3\nben,a.png,harmony_score,4.5\nann,b.png,overall,\n",
        b"image;rater;value;dimension\na.png;ann;1;prompt_completion\n",
    )


def read_csv(data: bytes) -> bool:
    """A manifest in CSV against Python's own reading of the whole text; and its pairs written and read again."""
    try:
        items = _manifest(data, ".csv")
    except InputError:
        return False
    pairs = [item for item in items if isinstance(item, Pair)]
    if pairs and len(pairs) == len(items):
        _as_python_reads(data, pairs)
    _same_again(pairs)
    return bool(pairs)


def read_json_lines(data: bytes) -> bool:
    """A manifest in JSON lines, from a file and from a stream, against Python's own reading of each line."""
    try:
        items = _manifest(data, ".jsonl")
    except InputError:
        return False
    same(list(read_stream(io.BytesIO(data), "")), _renamed(items), "read from a stream")
    _every_line(data, items)
    pairs = [item for item in items if isinstance(item, Pair)]
    written = [value for line in _lines(data) if isinstance(value := _json(line), dict)]
    for pair in pairs:
        if not any(_is_row_of(pair, row) for row in written):
            raise WrongAnswerError(f"no line says {pair}")
    _same_again(pairs)
    return bool(pairs)


def read_request_lines(data: bytes) -> bool:
    """Requests: one answer a line that is not blank, and each as its line says."""
    items = list(read_requests(io.BytesIO(data)))
    _every_line(data, items)
    for item, line in zip(items, _lines(data), strict=True):
        if isinstance(item, Request):
            row = _json(line)
            same(_is_row_of(item, row), True, f"the request {item} of {row}")
            same((item.explain, item.frame, item.invert_mask),
                 tuple(row.get(name) for name in ("explain", "frame", "invert_mask")), "options")  # fmt: skip
            same(set(row) <= set(Request.model_fields), True, "no unknown field")
    return any(isinstance(item, Request) for item in items)


def read_label_file(data: bytes) -> bool:
    """Labels against the rows as JSON has them."""
    with file_of(data, ".json") as path:
        try:
            labels = parse_labels(path)
        except InputError:
            return False
    written = json.loads(data.decode("utf-8-sig"))
    same(len(labels), len(written), "rows")
    for label, row in zip(labels, written, strict=True):
        if isinstance(label, Label):
            same((label.source_name, label.edited_name), (row["source_img_name"], row["edited_img_name"]), "names")
            for dimension, column in RATING_FIELDS.items():
                same(label.rating(dimension), row.get(column), column)
    return any(isinstance(label, Label) for label in labels)


def read_annotation_file(data: bytes) -> bool:
    """Annotations written and read again."""
    with file_of(data, ".jsonl") as path:
        try:
            items = list(read_annotations(path))
        except InputError:
            return False
        kept = [item for item in items if isinstance(item, Annotation)]
        folder = os.path.dirname(path)
    with file_of("".join(annotation_line(one, folder) for one in kept).encode(), ".jsonl") as path:
        again = list(read_annotations(path))
    for one, other in zip(again, kept, strict=True):
        same(_comparable(one), _comparable(other), "written and read again")
    return bool(kept)


def read_ratings_file(data: bytes) -> bool:
    """Ratings: each on its scale, and as many as there are lines at most."""
    with file_of(data, ".csv") as path:
        try:
            ratings = read_ratings(path)
        except InputError:
            return False
    for one in ratings:
        same(1 <= one.value <= (3 if one.dimension == "prompt_completion" else 5), True, f"the value of {one}")
    same(len(ratings) <= data.count(b"\n") + data.count(b"\r"), True, "ratings")
    return True


def _comparable(one: object) -> object:
    """An annotation with its mask's path made short, and nobody as the writer of an explanation that it lacks."""
    if not isinstance(one, Annotation):
        return one
    mask = os.path.normpath(one.mask) if isinstance(one.mask, str) else one.mask
    return replace(one, mask=mask, template=one.template and one.explanation is not None)


def _manifest(data: bytes, suffix: str) -> list[Pair | Failure]:
    with file_of(data, suffix) as path:
        return list(read_manifest(path, ""))


def _renamed(items: list[Pair | Failure]) -> list[Pair | Failure]:
    """As they come from a stream, whose messages name another file."""
    found = list[Pair | Failure]()
    for item in items:
        error = item.error.model_copy(update={"file": "standard input"}) if isinstance(item, Failure) else None
        found.append(item if error is None else item.model_copy(update={"error": error}))
    return found


def _as_python_reads(data: bytes, pairs: list[Pair]) -> None:
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = io.StringIO(text, newline="")
    head = ""
    while not head.strip():
        head = lines.readline()
    for delimiter in ",;\t":
        columns = [
            cell.strip().lower() for cell in next(csv.reader([head], delimiter=delimiter, skipinitialspace=True))
        ]
        if {"source", "edited"} <= set(columns):
            break
    lines = io.StringIO(lines.read(), newline="\n")
    cells = [
        row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if any(c.strip() for c in row)
    ]
    same(len(pairs), len(cells), "rows")
    for pair, row in zip(pairs, cells, strict=True):
        told = dict(zip(columns, row, strict=False))
        same(_plain(pair), _plain_row(told), "cells")


def _every_line(data: bytes, items: Sequence[object]) -> None:
    same(len(items), len(_lines(data)), "items for lines that are not blank")


def _lines(data: bytes) -> list[str]:
    texts = (line.decode("utf-8", "surrogateescape") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    return [text for text in texts if text.strip()]


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_row_of(pair: Pair, row: dict[str, Any]) -> bool:
    return _plain(pair) == _plain_row(row)


def _plain(pair: Pair) -> tuple[str, str, str, str]:
    return (pair.source.removeprefix("./"), pair.edited.removeprefix("./"), (pair.mask or "").removeprefix("./"),
            pair.prompt or "")  # fmt: skip


def _plain_row(row: dict[str, Any]) -> tuple[str, str, str, str]:
    cells = [str(row.get(name) or "") for name in ("source", "edited", "mask", "prompt")]
    source, edited, mask, prompt = (cell if cell.strip() else "" for cell in cells)
    return source.removeprefix("./"), edited.removeprefix("./"), mask.removeprefix("./"), prompt


def _same_again(pairs: list[Pair]) -> None:
    """Pairs written as a manifest of both kinds, and read again."""
    lines = "".join(json.dumps(pair.model_dump()) + "\n" for pair in pairs)
    same(_manifest(lines.encode(), ".jsonl"), pairs, "written as JSON lines and read again")
    texts = [text for pair in pairs for text in pair.model_dump().values() if text]
    if any(c in "\r\0" or "\ud800" <= c < "\udc80" or (c > "\udcff" and c <= "\udfff") for text in texts for c in text):
        return  # what CSV has no way to write: half a character, or a line end that is not one
    table = io.StringIO(newline="")
    writer = csv.writer(table, quoting=csv.QUOTE_ALL)
    writer.writerow(Pair.model_fields)
    writer.writerows(pair.model_dump().values() for pair in pairs)
    same(_manifest(table.getvalue().encode("utf-8", "surrogateescape"), ".csv"), pairs, "written as CSV and read again")
