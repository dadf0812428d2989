from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piqa_cli.errors import InputError, OutputError
from piqa_cli.schema import Assessment, Dimension, ErrorInfo, Failure, Outcome, Pair, fault, score
from piqa_cli.writers import FORMATS, Format, open_writer, read_results, to_json
from piqa_cli.writers.columns import COLUMNS, csv_row
from piqa_cli.writers.terminal import open_console, visible
from records import CHECKED, HOSTILE, ORDINARY, RECORDS, UNPAIRED, UNREADABLE

GOLDEN = Path(__file__).parent / "golden"


def written(output_format: Format, outcomes: tuple[Outcome, ...], *, single: bool = False, width: int = 60) -> bytes:
    stream = io.BytesIO()
    with open_writer(output_format, stream, single=single, width=width) as writer:
        for outcome in outcomes:
            writer.write(outcome)
    return stream.getvalue()


GOLDEN_FILES: dict[str, Callable[[], bytes]] = {
    "batch.jsonl": lambda: written("jsonl", RECORDS),
    "batch.json": lambda: written("json", RECORDS),
    "batch.csv": lambda: written("csv", RECORDS),
    "batch.txt": lambda: written("table", RECORDS),
    "batch_40.txt": lambda: written("table", RECORDS, width=40),
    "batch_120.txt": lambda: written("table", RECORDS, width=120),
    "single_40.txt": lambda: written("table", (CHECKED,), single=True, width=40),
    "single.json": lambda: written("json", (ORDINARY,), single=True),
    "single.txt": lambda: written("table", (ORDINARY,), single=True, width=80),
    "checked.json": lambda: written("json", (CHECKED,), single=True),
    "checked.csv": lambda: written("csv", (CHECKED,)),
    "checked.txt": lambda: written("table", (CHECKED,), single=True, width=80),
    "hostile.txt": lambda: written("table", (HOSTILE,), single=True),
    "failure.txt": lambda: written("table", (UNREADABLE,), single=True),
}


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_output_is_the_golden_file(name: str) -> None:
    assert GOLDEN_FILES[name]() == (GOLDEN / name).read_bytes()


# --- JSON and JSONL -------------------------------------------------------------------------------


def test_jsonl_reads_back_as_the_records_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    records = (ORDINARY, UNREADABLE, UNPAIRED)
    path.write_bytes(written("jsonl", records))
    assert tuple(read_results(str(path))) == records


def test_json_of_a_batch_is_an_array_and_of_a_single_pair_an_object() -> None:
    assert [record["id"] for record in json.loads(written("json", RECORDS))] == [record.id for record in RECORDS]
    assert json.loads(written("json", (ORDINARY,), single=True))["id"] == ORDINARY.id
    assert json.loads(written("json", ())) == []


def test_numbers_that_are_not_finite_become_null_and_paths_that_are_not_utf8_survive() -> None:
    text = to_json(HOSTILE)
    record = json.loads(text, parse_constant=lambda constant: pytest.fail(f"invalid JSON: {constant}"))
    assert record["findings"][0]["value"] is None
    assert record["pair"]["edited"]["path"] == HOSTILE.pair.edited.path
    assert text.isascii()
    assert "\n" not in text


def test_each_row_is_in_the_file_before_the_next_is_made(tmp_path: Path) -> None:
    for output_format, rows in (("jsonl", 1), ("csv", 2)):
        path = tmp_path / f"results.{output_format}"
        with open_writer(output_format, str(path)) as writer:  # type: ignore[arg-type]
            writer.write(ORDINARY)
            assert path.read_bytes().count(b"\n") == rows


def test_a_json_array_in_a_file_is_valid_after_every_element(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    writer = open_writer("json", str(path))
    assert json.loads(path.read_bytes()) == []
    for count, outcome in enumerate(RECORDS, start=1):
        writer.write(outcome)
        assert len(json.loads(path.read_bytes())) == count
    writer.close()
    assert path.read_bytes() == (GOLDEN / "batch.json").read_bytes()


def test_rows_are_appended_to_what_an_open_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(b"before\n")
    with path.open("ab") as stream, open_writer("json", stream) as writer:
        writer.write(ORDINARY)
        writer.write(UNREADABLE)
    before, _, array = path.read_bytes().partition(b"\n")
    assert before == b"before"
    assert len(json.loads(array)) == 2


def test_a_text_stream_gets_the_same_output_as_a_binary_one() -> None:
    for output_format in FORMATS:
        below = io.BytesIO()
        text = io.TextIOWrapper(below, encoding="utf-8", newline="")
        only_text = io.StringIO(newline="")
        for stream in (text, only_text):
            with open_writer(output_format, stream, width=60) as writer:
                for outcome in RECORDS:
                    writer.write(outcome)
        assert below.getvalue() == written(output_format, RECORDS)
        assert only_text.getvalue().encode() == below.getvalue()


# --- What goes wrong while writing ----------------------------------------------------------------


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size`: a write stops in the middle of a row, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("output_format", ["jsonl", "csv", "json"])
@pytest.mark.parametrize("through_standard_output", [False, True])
def test_a_full_disk_leaves_only_whole_rows(
    tmp_path: Path, output_format: Format, through_standard_output: bool
) -> None:
    path = tmp_path / "results"
    whole = len(written(output_format, (ORDINARY,)))
    with path.open("w") as redirected:  # what the shell's `> results` gives
        target = redirected if through_standard_output else str(path)
        writer = open_writer(output_format, target)
        writer.write(ORDINARY)
        with file_size_limit(whole + 40), pytest.raises(OutputError) as caught:
            writer.write(UNREADABLE)
        with file_size_limit(whole + 40):
            writer.close()
    assert path.read_bytes() == written(output_format, (ORDINARY,))
    assert caught.value.file == str(path)
    assert caught.value.code == "E_OUTPUT"
    assert caught.value.found == os.strerror(errno.EFBIG)
    assert "rows written so far are whole" in str(caught.value.hint)


def test_standard_error_in_the_same_file_is_not_cut_off(tmp_path: Path) -> None:
    """`piqa batch ... > log 2>&1`: the file is not ours alone."""
    code = (
        "import sys; from records import ORDINARY; from piqa_cli.writers import open_writer\n"
        "with open_writer('json', sys.stdout) as writer:\n"
        "    for _ in range(2):\n"
        "        writer.write(ORDINARY); print('a note', file=sys.stderr, flush=True)\n"
    )
    path = tmp_path / "log"
    with path.open("ab") as log:
        subprocess.run([sys.executable, "-c", code], stdout=log, stderr=log, cwd=GOLDEN.parent, check=True)
    text = path.read_text()
    assert text.count("a note\n") == 2
    assert len(json.loads(text.replace("a note\n", ""))) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device_is_a_clear_error_and_closing_afterwards_is_quiet() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        writer = open_writer("jsonl", full)
        with pytest.raises(OutputError, match="cannot write results: No space left on device"):
            writer.write(ORDINARY)
        writer.close()


def test_an_interrupted_row_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.jsonl"
    stream = path.open("wb", buffering=0)
    writer = open_writer("jsonl", stream)
    writer.write(ORDINARY)

    def torn(data: memoryview) -> int:
        os.write(stream.fileno(), bytes(data[:10]))
        raise KeyboardInterrupt

    monkeypatch.setattr(writer._sink, "_raw", type("Raw", (), {"write": staticmethod(torn)}))
    with pytest.raises(KeyboardInterrupt):
        writer.write(UNREADABLE)
    assert path.read_bytes() == written("jsonl", (ORDINARY,))
    stream.close()


def test_an_interrupted_array_on_a_pipe_is_closed() -> None:
    stream = io.BytesIO()

    def interrupted() -> None:
        with open_writer("json", stream) as writer:
            writer.write(ORDINARY)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(json.loads(stream.getvalue())) == 1


def test_a_reader_that_went_away_is_a_broken_pipe_not_an_output_error() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as stream:
        writer = open_writer("json", stream)
        os.close(read_end)
        with pytest.raises(BrokenPipeError):
            writer.write(ORDINARY)
        writer.close()


def test_a_short_write_is_continued() -> None:
    class Dribble(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""
            self.refuse = False

        def write(self, data: memoryview) -> int | None:  # type: ignore[override]
            self.refuse = not self.refuse
            if self.refuse:
                return None
            self.data += bytes(data[:1000])
            return min(1000, len(data))

    stream = Dribble()
    with open_writer("jsonl", stream) as writer:  # type: ignore[arg-type]
        writer.write(ORDINARY)
    assert stream.data == written("jsonl", (ORDINARY,))


@pytest.mark.parametrize("path", ["no/such/folder/out.jsonl", "."])
def test_a_path_that_cannot_be_opened_is_named(path: str) -> None:
    with pytest.raises(OutputError) as caught:
        open_writer("jsonl", path)
    assert caught.value.file == path


# --- CSV -------------------------------------------------------------------------------------------


def cells(outcome: Outcome) -> dict[str, str]:
    (row,) = csv.reader(io.StringIO(csv_row(outcome), newline=""))
    return dict(zip([column.name for column in COLUMNS], row, strict=True))


def test_csv_has_one_row_of_the_same_columns_for_every_outcome() -> None:
    rows = list(csv.reader(io.StringIO(written("csv", RECORDS).decode(), newline="")))
    assert len(rows) == 1 + len(RECORDS)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


def test_text_that_a_spreadsheet_would_run_is_neutralised_and_numbers_are_not() -> None:
    row = cells(HOSTILE)
    assert row["id"] == "'" + HOSTILE.id
    assert row["source"].startswith("'-rf")
    assert row["harmony_reason"] == "'@nothing was edited"
    assert row["prompt"] == "'" + str(HOSTILE.pair.prompt)
    negative = ORDINARY.model_copy(update={"seconds": -1.5})
    assert cells(negative)["seconds"] == "-1.5"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_every_formula_start_is_neutralised(start: str) -> None:
    failed = UNPAIRED.model_copy(update={"id": start + "1+1"})
    assert cells(failed)["id"] == f"'{start}1+1"


def test_csv_leaves_null_scores_empty_and_gives_the_reason() -> None:
    row = cells(HOSTILE)
    assert (row["overall"], row["overall_reason"], row["overall_code"]) == ("", "nothing was edited", "N_NO_EDIT")
    assert cells(UNREADABLE)["error_message"] == "the image is truncated"
    assert cells(UNREADABLE)["overall"] == ""


def test_csv_lists_the_faults_worst_first() -> None:
    assert cells(ORDINARY)["faults"] == "seam (severe, 0.81); smear (moderate, 0.40); colour (slight, 0.22)"
    assert cells(ORDINARY.model_copy(update={"faults": ()}))["faults"] == ""
    assert cells(HOSTILE)["faults"].startswith("'=")


# --- Table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 60, 100, 200])
def test_a_batch_has_one_line_per_pair_that_fits_the_terminal(width: int) -> None:
    lines = written("table", RECORDS, width=width).decode().splitlines()
    assert len(lines) == 1 + len(RECORDS)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("record", RECORDS)
def test_details_fit_sixty_columns_and_hold_no_raw_control_characters(record: Outcome) -> None:
    text = written("table", (record,), single=True, width=60).decode()
    assert max(len(line) for line in text.splitlines()) <= 60
    assert visible(text.replace("\n", "")) == text.replace("\n", "")


def test_a_table_names_the_largest_regions_and_counts_the_others() -> None:
    small = ORDINARY.regions[1].model_copy(update={"area_fraction": 0.0004})
    many = ORDINARY.model_copy(update={"regions": (ORDINARY.regions[0], *[small] * 11)})
    text = written("table", (many,), single=True, width=80).decode()
    assert text.count("500,400 - 560,470") == 7
    assert "under 0.1 %" in text
    assert re.search(r"4 smaller +0\.2 %", text)


@pytest.mark.parametrize(
    ("value", "spread", "bar"),
    [
        (3.0, 1.0, "╌╌╌╌╌━━━━━●━━━━━╌╌╌╌╌"),
        (1.0, 0.5, "●━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌"),
        (5.0, None, "╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌●"),
        (4.8, 9.0, "━━━━━━━━━━━━━━━━━━━●━"),
        (None, None, "╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌"),
    ],
)
def test_a_bar_spans_the_interval_on_the_scale(value: float | None, spread: float | None, bar: str) -> None:
    told = score(Dimension.OVERALL, value, spread, reason=None if value else "nobody knows")
    record = ORDINARY.model_copy(update={"scores": ORDINARY.scores.model_copy(update={"overall": told})})
    assert f" {bar} " in written("table", (record,), single=True, width=61).decode()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: repr(record.id))
def test_details_survive_forty_columns(record: Outcome) -> None:
    text = written("table", (record,), single=True, width=40).decode()
    assert max(len(line) for line in text.splitlines()) <= 40
    assert all(f"{level}\n" in text for level in ("good", "poor", "excellent") if record is ORDINARY)


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are POSIX's here")
def test_a_dumb_terminal_has_the_width_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import pty
    import struct
    import termios

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 57, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        assert open_console(terminal)[0].width == 57
        monkeypatch.setenv("COLUMNS", "70")
        assert open_console(terminal)[0].width == 70
    os.close(ours)


def test_the_columns_of_a_batch_have_whole_words_where_they_fit() -> None:
    for width, words in ((80, "overall prompt harmony natural preserved"), (60, "over done harm natu pres")):
        assert words in written("table", (ORDINARY,), width=width).decode().splitlines()[0]


@pytest.mark.parametrize(
    ("faults", "line"),
    [
        ((("seam", 0.81), ("smear", 0.4), ("warp", 0.36), ("colour", 0.3)),
         "main fault: seam (severe); also smear (moderate), warp (moderate)"),
        ((("garbled", 0.2), ("colour", 0.19)), None),  # right too seldom to be shown as what is wrong
        ((), None),
    ],
)  # fmt: skip
def test_the_main_fault_is_told_with_those_that_are_more_than_slight(
    faults: tuple[tuple[str, float], ...], line: str | None
) -> None:
    record = ORDINARY.model_copy(update={"faults": tuple(fault(*one) for one in faults)})
    text = written("table", (record,), single=True, width=100).decode()
    assert (line in text.splitlines()) if line else ("main fault" not in text)


def test_user_text_is_never_markup() -> None:
    text = written("table", (HOSTILE,), single=True, width=200).decode()
    for literal in ("[bold]x[/bold]", ":smile:", "[link=x]y[/link]", "A [red]drift[/red].", r"caf\udce9", r"\x1b[31m"):
        assert literal in text


def test_a_table_on_an_ascii_stream_is_ascii() -> None:
    below = io.BytesIO()
    stream = io.TextIOWrapper(below, encoding="ascii", newline="")
    with open_writer("table", stream, single=True, width=60) as writer:
        writer.write(ORDINARY)
    text = below.getvalue().decode("ascii")
    assert "3.6/5 +-0.7 .........===O===... good" in text


def test_a_terminal_gets_colour_and_a_file_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with open_writer("table", stream, single=True, width=80) as writer:
            writer.write(ORDINARY)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in file.getvalue()


# --- Reading back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"status": "ok", "pair": ' + b'{"a":' * 100_000, b"9" * 5000])
def test_a_line_that_python_cannot_read_is_refused_as_any_other(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(InputError) as caught:
        list(read_results(str(path)))
    assert caught.value.code == "E_RESULTS"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a file without end")
def test_a_file_without_end_is_refused_as_results() -> None:
    with pytest.raises(InputError) as caught:
        list(read_results("/dev/zero"))
    assert caught.value.code == "E_RESULTS"


def test_a_torn_last_line_is_skipped_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(written("jsonl", (ORDINARY, UNREADABLE))[:-30])
    warnings: list[str] = []
    assert list(read_results(str(path), on_warning=warnings.append)) == [ORDINARY]
    assert warnings == [f"{path}: line 2 is torn and was skipped"]


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(written("jsonl", (ORDINARY, UNREADABLE)).rstrip(b"\n"))
    assert list(read_results(str(path))) == [ORDINARY, UNREADABLE]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"{not json}\n", "Expecting property name"),
        (b"\xff\xfe\n", "can't decode"),
        (
            b'{"status": "ok", "schema_version": "9.0"}\n',
            "schema_version: Input should be '1.0', '1.1', '1.2' or '1.3'",
        ),
        (b"[1, 2]\n", "dictionary"),
    ],
)
def test_a_whole_line_that_is_no_record_is_named(tmp_path: Path, line: bytes, found: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(written("jsonl", (ORDINARY,)) + line)
    with pytest.raises(InputError, match="line 2 is not a piqa result") as caught:
        list(read_results(str(path)))
    assert caught.value.file == str(path)
    assert found in str(caught.value.found)


def test_a_record_of_version_1_1_is_read_and_keeps_its_version(tmp_path: Path) -> None:
    record = json.loads(to_json(ORDINARY)) | {"schema_version": "1.1"}
    del record["cross_check"]
    for name in ("precision", "adapter", "adapter_sha256"):
        del record["model"][name]
    for one in record["scores"].values():
        del one["distribution"], one["reliability"]
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(record) + "\n")
    assert tuple(read_results(str(path))) == (ORDINARY.model_copy(update={"schema_version": "1.1"}),)


def test_a_record_of_version_1_0_is_read_without_faults_and_keeps_its_version(tmp_path: Path) -> None:
    record = json.loads(to_json(ORDINARY))
    for name in ("faults", "artefacts"):
        del record[name]
    failed = json.loads(to_json(UNREADABLE))
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(line | {"schema_version": "1.0"}) + "\n" for line in (record, failed)))
    old = {"schema_version": "1.0"}
    assert tuple(read_results(str(path))) == (
        ORDINARY.model_copy(update={**old, "faults": (), "artefacts": None}),
        UNREADABLE.model_copy(update=old),
    )


def test_a_results_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        list(read_results(str(tmp_path / "none.jsonl")))
    assert caught.value.code == "E_NOT_FOUND"


# --- Properties ------------------------------------------------------------------------------------

any_text = st.text(st.characters(exclude_characters="\x00"), max_size=30)
paths = st.binary(min_size=1, max_size=30).map(os.fsdecode)
failures = st.builds(
    Failure,
    id=any_text,
    pair=st.builds(Pair, id=any_text, source=paths, edited=paths, mask=st.none() | paths, prompt=st.none() | any_text),
    error=st.builds(ErrorInfo, code=st.just("E_DECODE"), message=any_text, file=st.none() | paths),
)
values = st.floats(1, 5, allow_nan=False) | st.none()


@st.composite
def assessments(draw: st.DrawFn) -> Assessment:
    scores = {
        dimension.value: score(dimension, draw(values), draw(st.none() | st.floats(0, 4)), reason="because")
        for dimension in Dimension
    }
    edited = ORDINARY.pair.edited.model_copy(update={"path": draw(paths)})
    pair = ORDINARY.pair.model_copy(update={"edited": edited, "prompt": draw(st.none() | any_text)})
    return ORDINARY.model_copy(
        update={
            "id": draw(any_text),
            "pair": pair,
            "scores": ORDINARY.scores.model_copy(update=scores),
            "regions": draw(st.sampled_from([(), ORDINARY.regions])),
            "seconds": draw(st.floats(0, 1e9)),
        }
    )


outcomes = st.one_of(failures, assessments())


@settings(max_examples=60, deadline=None)
@given(st.lists(outcomes, max_size=4))
def test_any_records_survive_json_and_jsonl(tmp_path_factory: pytest.TempPathFactory, records: list[Outcome]) -> None:
    path = tmp_path_factory.mktemp("round") / "results.jsonl"
    path.write_bytes(written("jsonl", tuple(records)))
    assert list(read_results(str(path))) == records
    assert json.loads(written("json", tuple(records))) == [json.loads(to_json(record)) for record in records]


@settings(max_examples=60, deadline=None)
@given(outcomes)
def test_any_record_is_one_csv_row_without_a_formula(outcome: Outcome) -> None:
    for column in COLUMNS:
        if column.kind == "text":
            assert not cells(outcome)[column.name].startswith(("=", "+", "-", "@", "\t", "\r"))


@settings(max_examples=40, deadline=None)
@given(outcomes, st.integers(40, 120))
def test_any_record_prints_without_raw_control_characters(outcome: Outcome, width: int) -> None:
    for single in (True, False):
        text = written("table", (outcome,), single=single, width=width).decode().replace("\n", "")
        assert visible(text) == text
