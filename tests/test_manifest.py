"""Manifests in CSV and JSON lines: every row a pair or a failure with its line."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piqa_cli.errors import InputError
from piqa_cli.pairs import PairQuery, find_pairs
from piqa_cli.pairs.manifest import DigestSet, read_manifest, read_stream
from piqa_cli.pairs.rows import MAX_LINE_BYTES
from piqa_cli.schema import Failure, Pair


def read(tmp_path: Path, data: bytes | str, name: str = "m.csv") -> list[Pair | Failure]:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_manifest(str(path), root=""))


def short(rows: list[Pair | Failure]) -> list[tuple[str, ...]]:
    return [
        (row.id, row.error.code)
        if isinstance(row, Failure)
        else (row.id, row.source, row.edited, row.mask or "", row.prompt or "")
        for row in rows
    ]


def test_columns_may_come_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    rows = read(tmp_path, "Prompt, note ,EDITED,source,id,mask\nremove it,x,e.png,s.jpg,7,m.png\n,,e2.png,s.jpg,,\n")
    assert short(rows) == [("7", "s.jpg", "e.png", "m.png", "remove it"), ("e2", "s.jpg", "e2.png", "", "")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_spreadsheets_of_all_habits_are_read(tmp_path: Path, delimiter: str, end: str, mark: bytes) -> None:
    lines = ["source;edited;prompt", 's.jpg;e.png;"say ""hi""; then, go"', "", ";;", 's2.jpg;"e\n2.png";']
    text = end.join(line.replace(";", delimiter) if index != 1 else line for index, line in enumerate(lines))
    text = text.replace('s.jpg;e.png;"', f's.jpg{delimiter}e.png{delimiter}"')
    assert short(read(tmp_path, mark + text.encode())) == [
        ("e", "s.jpg", "e.png", "", 'say "hi"; then, go'),
        ("e\n2", "s2.jpg", "e\n2.png", "", ""),
    ]


def test_a_bad_row_is_a_failure_with_its_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "source,edited,prompt,id\n"
        "a.jpg,a.png,ok,1\n"
        "b.jpg,,no edited,2\n"
        "c.jpg,c.png,too, many, cells\n"
        'd.jpg,"d.png"x,quote in the wrong place,4\n'
        "e.jpg,e.png\n"
        "f.jpg,f\0.png\n"
        'g.jpg,g.png,"never closed,7\n'
        "h.jpg,h.png,ok,8\n",
    )
    assert [row[:2] for row in short(rows)] == [
        ("1", "a.jpg"),
        ("2", "E_MANIFEST"),
        ("line 4", "E_MANIFEST"),
        ("line 5", "E_MANIFEST"),
        ("e", "e.jpg"),
        ("line 7", "E_MANIFEST"),
        ("line 8", "E_MANIFEST"),
        ("8", "h.jpg"),
    ]
    missing = rows[1]
    assert isinstance(missing, Failure)
    assert missing.pair.source == "b.jpg"
    assert (missing.error.message, missing.error.found) == ("line 3 is not a pair", "nothing as edited")


def test_json_lines_give_pairs_and_failures_alike(tmp_path: Path) -> None:
    lines = [
        '{"source": "a.jpg", "edited": "a.png", "prompt": null, "mask": "", "id": 5, "extra": [1]}',
        "",
        "not json",
        "[1, 2]",
        '{"source": "a.jpg"}',
        '{"source": "a.jpg", "edited": 3}',
        '{"source": "a.jpg", "edited": "\\ud800.png"}',
        "[" * 100_000,
        '{"source": "b.jpg", "edited": "b.png", "id": true}',
        '{"source": "b.jpg", "edited": "b.png", "prompt": "line\\nend"}',
    ]
    rows = read(tmp_path, "\ufeff" + "\n".join(lines), "m.jsonl")
    assert short(rows) == [
        ("5", "a.jpg", "a.png", "", ""),
        *[(f"line {number}", "E_MANIFEST") for number in (3, 4, 5, 6, 7, 8, 9)],
        ("b", "b.jpg", "b.png", "", "line\nend"),
    ]


def test_repeated_pairs_and_ids_are_refused_and_other_ids_made_unique(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "source,edited,prompt,id\na,e.png,p,\na,e.png,p,\na,e.png,q,\na,x/e.png,,1\na,f.png,,1\n",
    )
    assert [row[:2] for row in short(rows)] == [
        ("e", "a"),
        ("line 3", "E_DUPLICATE"),
        ("e#4", "a"),
        ("1", "a"),
        ("line 6", "E_DUPLICATE"),
    ]


def test_a_repeated_pair_with_an_id_of_its_own_is_meant(tmp_path: Path) -> None:
    rows = read(tmp_path, "source,edited,id\na,e.png,first\na,e.png,second\na,e.png,\na,f.png,second\n")
    assert [row[:2] for row in short(rows)] == [
        ("first", "a"),
        ("second", "a"),
        ("line 4", "E_DUPLICATE"),
        ("line 5", "E_DUPLICATE"),
    ]
    assert [row.error.message for row in rows if isinstance(row, Failure)] == [
        "line 4 repeats an earlier pair",
        "line 5 repeats an earlier id",
    ]


def test_paths_are_relative_to_the_manifest_unless_a_root_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    absolute = str(tmp_path / "abs.png")
    (folder / "m.csv").write_text(f"source,edited,mask\ns.jpg,../e.png,{absolute}\n")
    (pair,) = find_pairs(PairQuery(input=str(folder / "m.csv")))
    assert isinstance(pair, Pair)
    assert (pair.source, pair.mask) == (str(folder / "s.jpg"), absolute)
    (other,) = find_pairs(PairQuery(manifest=str(folder / "m.csv"), image_dir="elsewhere"))
    assert isinstance(other, Pair)
    assert other.source == os.path.join("elsewhere", "s.jpg")


def test_a_file_named_as_a_dash_is_not_standard_input() -> None:
    (pair,) = read_stream(io.BytesIO(b'{"source": "-", "edited": "e.png"}\n'))
    assert isinstance(pair, Pair)
    assert pair.source == "./-"


def test_bytes_that_are_not_utf8_survive_as_paths(tmp_path: Path) -> None:
    (row,) = read(tmp_path, b"source,edited\ncaf\xe9.jpg,e.png\n")
    assert isinstance(row, Pair)
    assert os.fsencode(row.source) == b"caf\xe9.jpg"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"a.jpg,b.png\n", "m.csv"),
        (b"source,source,edited\n", "m.csv"),
        (b"source,edited,id,id\n", "m.csv"),
        ("source,edited\n".encode("utf-16"), "m.csv"),
        (b'[{"source": "a"}]', "list.txt"),
        (b"x" * (MAX_LINE_BYTES + 5), "m.csv"),
        (b"x" * 200_000, "m.csv"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused_as_a_whole(tmp_path: Path, data: bytes, name: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, data, name)
    assert error.value.code == "E_MANIFEST"
    assert error.value.file == str(tmp_path / name)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"source,edited\n", b"\xef\xbb\xbf"])
def test_a_manifest_without_rows_is_refused_before_a_model_is_loaded(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(data)
    with pytest.raises(InputError, match="no pairs"):
        find_pairs(PairQuery(input=str(tmp_path / "m.csv")))


def test_a_manifest_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as missing:
        find_pairs(PairQuery(manifest=str(tmp_path / "none.csv")))
    assert missing.value.code == "E_NOT_FOUND"
    with pytest.raises(InputError) as folder:
        find_pairs(PairQuery(manifest=str(tmp_path)))
    assert folder.value.code == "E_MANIFEST"


@pytest.mark.parametrize(
    ("data", "source"), [(b'\n {"source": "a", "edited": "b"}\n', "a"), (b"edited,source\nb,a\n", "a")]
)
def test_a_manifest_of_another_name_is_told_by_its_first_character(tmp_path: Path, data: bytes, source: str) -> None:
    (row,) = read(tmp_path, data, "pairs.txt")
    assert isinstance(row, Pair)
    assert row.source == source


def test_an_overlong_line_is_one_failure(tmp_path: Path) -> None:
    long = '{"source": "' + "x" * (3 * MAX_LINE_BYTES) + '"}'
    rows = read(tmp_path, long + '\n{"source": "a", "edited": "b"}\n', "m.jsonl")
    assert short(rows) == [("line 1", "E_MANIFEST"), ("b", "a", "b", "", "")]
    rows = read(tmp_path, "source,edited\n" + "x" * (2 * MAX_LINE_BYTES) + "\na,b\n")
    assert short(rows) == [("line 2", "E_MANIFEST"), ("b", "a", "b", "", "")]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a file without end")
def test_a_file_without_end_is_refused_as_a_manifest() -> None:
    with pytest.raises(InputError) as error:
        list(read_manifest("/dev/zero"))
    assert error.value.code == "E_MANIFEST"


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and text != "-" and not text.startswith("/")
)
row_lists = st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6, unique=True)


@settings(max_examples=50, deadline=None)  # each example writes a file
@given(row_lists)
def test_what_csv_and_json_writers_write_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["source", "edited", "prompt", "id"])
    lines = []
    for number, (source, edited, prompt) in enumerate(rows):
        writer.writerow([source, edited, prompt, str(number)])
        lines.append(json.dumps({"source": source, "edited": edited, "prompt": prompt, "id": number}))
    expected = [(str(number), source, edited, "", prompt) for number, (source, edited, prompt) in enumerate(rows)]
    assert short(list(read_stream(io.BytesIO("\n".join(lines).encode())))) == expected
    assert short(_from_csv(table.getvalue())) == expected


def _from_csv(text: str) -> list[Pair | Failure]:
    with tempfile.TemporaryDirectory() as folder:
        return read(Path(folder), text)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_one_row_a_line_at_most_or_are_refused(data: bytes) -> None:
    rows = list(read_stream(io.BytesIO(b"{}\n" + data)))
    assert 1 <= len(rows) <= data.count(b"\n") + 2
    try:
        table = _from_csv("source,edited,prompt\n" + data.decode("latin-1"))
    except InputError:
        return
    assert len(table) <= data.count(b"\n") + 1


class Endless(io.RawIOBase):
    """Lines of rows without end, noting how many were asked for."""

    def __init__(self) -> None:
        self.lines = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        self.lines += 1
        return b'{"source": "s.jpg", "edited": "%d.png"}\n' % self.lines


def test_a_stream_without_end_is_read_row_by_row_in_flat_memory() -> None:
    stream = Endless()
    rows: Iterator[Pair | Failure] = read_stream(stream)  # type: ignore[arg-type]
    for _ in range(1000):
        next(rows)
    assert stream.lines == 1000
    tracemalloc.start()
    try:
        for _ in range(5_000):
            next(rows)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 80 * 5_000
    assert peak < 160 * 5_000


def test_a_digest_set_knows_what_it_was_given() -> None:
    seen = DigestSet()
    assert all(seen.add(str(number)) for number in range(3000))
    assert not any(seen.add(str(number)) for number in range(3000))
    assert seen.add("\udce9")
