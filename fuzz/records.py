"""Records that are read back, and the masks in them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from fuzz.checks import file_of, same
from piqa_cli.errors import InputError
from piqa_cli.regions import decode_heat, decode_mask, encode_heat, encode_mask
from piqa_cli.report.content import row
from piqa_cli.report.pictures import draw_preview
from piqa_cli.resume import FinishedRows
from piqa_cli.schema import Assessment, Failure, Outcome, RunLengthMask
from piqa_cli.writers import open_writer, parse_record, read_results
from piqa_cli.writers.columns import csv_row
from piqa_cli.writers.writing import to_json

MASK_WORDS = (b"0", b"o", b"P", b"`0", b"\xff", b"-1", b"99999999999", b" ", b"oooooooo0")
RECORD_WORDS = (b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"-1", b"null", b"[]", b"{}", b'""', b"true", b"\\ud800",
                b"\\u0000", b"\\u202e", b"\x1b]0;x\x07", b"[" * 2000, b'{"a":' * 2000, b"\n", b"\0", b"0.5", b"1000000",
                b'"status": "error"', b'"key": null', b"<script>", b"[bold]")  # fmt: skip
_GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
_MOST_PIXELS = 1 << 22


def mask_seeds() -> Sequence[bytes]:
    """Height, width and the counts of masks."""
    masks = [
        np.zeros((3, 4), bool),
        np.ones((3, 4), bool),
        np.eye(6, dtype=bool),
        np.arange(400).reshape(20, 20) % 7 > 3,
    ]
    texts = [encode_mask(mask) for mask in masks]
    return [f"{one.size[0]} {one.size[1]} {one.counts}".encode() for one in texts]


def read_mask(data: bytes) -> bool:
    """A run-length mask against a plain decoder of the COCO format; encoded and decoded again."""
    parts = data.decode("latin-1").split(" ", 2)
    try:
        height, width = int(parts[0]), int(parts[1])
        mask = decode_mask(RunLengthMask(size=(height, width), counts=parts[2]), max_pixels=_MOST_PIXELS)
    except (ValueError, IndexError):
        return False
    same(mask.T.ravel().tobytes(), _plain_decode(parts[2]), "pixels")
    same(mask.shape, (height, width), "size")
    same(decode_mask(encode_mask(mask)).tobytes(), mask.tobytes(), "encoded and decoded again")
    return True


def _plain_decode(text: str) -> bytes:
    """One number after the other, as the COCO tools do."""
    counts: list[int] = []
    place = value = 0
    for character in text:
        group = ord(character) - 48
        value |= (group & 31) << 5 * place
        place += 1
        if not group & 32:
            if group & 16:
                value |= -1 << 5 * place
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            place = value = 0
    return b"".join(bytes([index % 2]) * count for index, count in enumerate(counts))


def record_seeds() -> Sequence[bytes]:
    """Records of all kinds, as the writers' tests have them."""
    lines = (_GOLDEN / "batch.jsonl").read_bytes().splitlines(keepends=True)
    checked = json.dumps(json.loads((_GOLDEN / "checked.json").read_bytes())).encode() + b"\n"
    return [*lines, checked, b"".join(lines)]


def read_records(data: bytes) -> bool:
    """Records written and read again, and through every door that a record can leave by."""
    with file_of(data, ".jsonl") as path:
        try:
            outcomes = list(read_results(path))
        except InputError:
            return False
    for outcome in outcomes:
        text = to_json(outcome)
        with suppress(ValueError):  # a number that is not finite is null, where no null may stand
            same(to_json(parse_record(text.encode())), text, "written and read again")
        same(text.isascii(), True, "ASCII")
        _leave(outcome)
    return bool(outcomes)


def _leave(outcome: Outcome) -> None:
    csv_row(outcome)
    page = row(outcome, draw_preview(outcome, None), None, None)
    same(page.isascii() and "<" not in page, True, "safe within a page")
    for single in (True, False):
        screen = io.StringIO()
        with open_writer("table", screen, single=single, width=80) as writer:
            writer.write(outcome)
        text = screen.getvalue()
        same([c for c in text if not c.isprintable() and c != "\n"], [], "nothing that a terminal obeys")
    if isinstance(outcome, Assessment) and outcome.artefacts is not None:
        with suppress(ValueError):
            values = decode_heat(outcome.artefacts)
            same(encode_heat(values, outcome.artefacts.box).size, values.shape, "the heat map's size")


def read_finished(data: bytes) -> bool:
    """The index that a resumed run reads against the records themselves."""
    with file_of(data, ".jsonl") as path:
        try:
            finished = FinishedRows(path, lambda text: None)
        except InputError:
            return False
    last: dict[str, tuple[int, Outcome]] = {}
    lines = data.splitlines(keepends=True) if b"\r" not in data else data.replace(b"\r", b" ").splitlines(keepends=True)
    for number, line in enumerate(lines[: len(finished)]):
        with suppress(ValueError):
            record = parse_record(line)
            last[record.id] = number, record
    for identifier, (number, record) in last.items():
        if finished.line_of(identifier) == number:
            same(finished.key_of(number), record.key, "key")
            same(finished.failed(number), isinstance(record, Failure), "failed")
    return len(finished) > 0
