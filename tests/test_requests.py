"""Lines of requests: each is a request or a failure of a stable code, and none spoils the next."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Pictures
from fakes import FakeAssessor
from piqa_cli.images import ImagePolicy
from piqa_cli.pairs import Request, read_requests
from piqa_cli.pairs.rows import MAX_LINE_BYTES
from piqa_cli.pipeline import answer_requests
from piqa_cli.schema import Assessment, Failure, Outcome
from piqa_cli.writers import open_writer

GOOD = {"id": "a", "source": "s.jpg", "edited": "e.png"}


def read(*lines: bytes | str | dict[str, Any], folder: str | None = None) -> list[Request | Failure]:
    texts = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    data = b"\n".join(text.encode() if isinstance(text, str) else text for text in texts)
    return list(read_requests(io.BytesIO(data), folder))


def test_a_request_has_its_fields_and_paths_from_the_folder() -> None:
    options = {"prompt": "p", "mask": "m.png", "explain": False, "frame": 2, "invert_mask": True}
    (request,) = read(GOOD | options | {"id": 7, "edited": "/abs/e.png"}, folder="in")
    assert request == Request.model_validate(
        options | {"id": "7", "source": "in/s.jpg", "edited": "/abs/e.png", "mask": "in/m.png"}
    )


def test_null_and_blank_text_are_not_given_and_blank_lines_no_requests() -> None:
    (request,) = read("", GOOD | {"prompt": " ", "mask": "", "explain": None}, "  ")
    assert request == Request.model_validate(GOOD)


def test_a_file_named_as_a_dash_is_not_standard_input() -> None:
    (request,) = read(GOOD | {"source": "-"})
    assert isinstance(request, Request)
    assert request.source == "./-"


@pytest.mark.parametrize(
    ("line", "code", "found", "name"),
    [
        ("{", "E_REQUEST_JSON", "not JSON", "line 1"),
        ("[1]", "E_REQUEST_JSON", "a JSON list", "line 1"),
        ("[" * 100_000, "E_REQUEST_JSON", "not JSON", "line 1"),
        ("{" * 100_000, "E_REQUEST_JSON", "not JSON", "line 1"),
        ('{"id": ' + "9" * 5000 + "}", "E_REQUEST_JSON", "not JSON", "line 1"),
        ("\0\1\2", "E_REQUEST_JSON", "not JSON", "line 1"),
        (json.dumps(GOOD).encode("utf-16"), "E_REQUEST_JSON", "not JSON", "line 1"),
        ({"id": "a", "source": "s"}, "E_REQUEST_FIELD", "no edited", "a"),
        (GOOD | {"edited": "  "}, "E_REQUEST_FIELD", "no edited", "a"),
        (GOOD | {"id": ""}, "E_REQUEST_FIELD", "no id", "line 1"),
        ({"source": "s", "edited": "e"}, "E_REQUEST_FIELD", "no id", "line 1"),
        (GOOD | {"sorce": "x"}, "E_REQUEST_FIELD", "an unknown field 'sorce'", "a"),
        ('{"id": "a", "source": "s", "edited": "e", "edited": "f"}', "E_REQUEST_FIELD", "edited twice", "line 1"),
        (GOOD | {"edited": 3}, "E_REQUEST_FIELD", "edited: expected text, found int", "a"),
        (GOOD | {"id": True}, "E_REQUEST_FIELD", "id: expected text, found bool", "line 1"),
        (GOOD | {"id": None}, "E_REQUEST_FIELD", "id: expected text, found NoneType", "line 1"),
        (GOOD | {"explain": "no"}, "E_REQUEST_FIELD", "explain: ", "a"),
        (GOOD | {"frame": -1}, "E_REQUEST_FIELD", "frame: ", "a"),
        (GOOD | {"frame": 1.5}, "E_REQUEST_FIELD", "frame: ", "a"),
        (GOOD | {"prompt": "x" * MAX_LINE_BYTES}, "E_REQUEST_LENGTH", "a line longer than", "line 1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_line_that_is_no_request_is_a_failure_and_the_next_one_is_read(
    line: str | bytes | dict[str, Any], code: str, found: str, name: str
) -> None:
    failure, request = read(line, GOOD)[-2:]
    assert isinstance(failure, Failure)
    assert (failure.error.code, failure.id) == (code, name)
    assert found in str(failure.error.found)
    assert failure.error.hint
    assert request == Request.model_validate(GOOD)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60).map(lambda data: data.replace(b"\n", b" ")), max_size=5))
def test_any_bytes_give_one_answer_a_line_that_is_not_blank(lines: list[bytes]) -> None:
    text = [
        line.decode("utf-8", "surrogateescape").removeprefix("\ufeff" if n == 0 else "") for n, line in enumerate(lines)
    ]
    assert len(read(*lines, b"{}")) == sum(bool(line.strip()) for line in text) + 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from([*Request.model_fields, "other"]), json_values, max_size=8)


@settings(max_examples=150, deadline=None)
@given(objects)
def test_any_object_is_a_request_as_written_or_a_failure(fields: dict[str, Any]) -> None:
    (item,) = read(fields)
    if isinstance(item, Request):
        assert str(fields["id"]) == item.id
        assert (fields.get("prompt") or "").strip() == (item.prompt or "").strip()
        assert fields.get("frame") == item.frame
        assert fields.get("explain") is item.explain
        assert set(fields) <= set(Request.model_fields)
    else:
        assert item.error.code == "E_REQUEST_FIELD"


def answers(lines: list[dict[str, Any]], assessor: FakeAssessor, **options: Any) -> list[Outcome]:
    stream = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    return list(answer_requests(read_requests(stream), assessor, **options))


def test_each_request_decides_about_its_explanation_frame_and_mask(files: Pictures) -> None:
    pair = {"source": str(files.source), "edited": str(files.edited), "mask": str(files.mask)}
    assessor = FakeAssessor()
    lines = [pair | {"id": 0}, pair | {"id": 1, "explain": False}, pair | {"id": 2, "explain": True}]
    told = [one.explanation for one in answers(lines, assessor) if isinstance(one, Assessment)]
    assert told == ["The pair 0 was judged. It is a fake.", None, "The pair 2 was judged. It is a fake."]
    assert assessor.explained == 2
    quiet = answers(lines, assessor, explain=False)
    assert [isinstance(one, Assessment) and one.explanation is not None for one in quiet] == [False, False, True]


def test_the_frame_and_the_way_round_of_a_mask_are_the_requests_before_the_runs(
    files: Pictures, tmp_path: Path
) -> None:
    from pictures import animation, mask_image, photo, save

    (tmp_path / "a.gif").write_bytes(animation(3))
    whole = save(tmp_path / "white.png", mask_image(photo(64, 48)[..., 0] >= 0))
    pair = {"source": str(tmp_path / "a.gif"), "edited": str(tmp_path / "a.gif"), "mask": whole}
    lines = [pair | {"id": 0}, pair | {"id": 1, "frame": 2, "invert_mask": True}, pair | {"id": 2, "frame": 3}]
    first, second, third = answers(lines, FakeAssessor(), policy=ImagePolicy(frame=1))
    assert isinstance(first, Assessment)
    assert isinstance(second, Assessment)
    assert isinstance(third, Failure)
    assert first.pair.source.notes[0] == "frame 1"
    assert second.pair.source.notes[0] == "frame 2"
    assert any(warning.startswith("E_MASK_FULL") for warning in first.warnings)
    assert any(warning.startswith("E_MASK_EMPTY") for warning in second.warnings)
    assert third.error.code == "E_DECODE"


class Endless(io.RawIOBase):
    """Requests without end, noting how many were read; `good` says which are answered by the model."""

    def __init__(self, files: Pictures, good: bool) -> None:
        self.lines = 0
        self._line = (
            json.dumps({"id": "x" * 50_000, "source": str(files.source), "edited": str(files.edited)}) if good else "{"
        )

    def readline(self, size: int | None = -1, /) -> bytes:
        self.lines += 1
        return self._line.encode() + b"\n"


@pytest.mark.parametrize("good", [True, False])
def test_a_client_that_does_not_read_its_answers_makes_neither_queue_nor_memory_grow(
    files: Pictures, good: bool
) -> None:
    stream = Endless(files, good)
    requests = read_requests(stream)  # type: ignore[arg-type]
    with closing(answer_requests(requests, FakeAssessor(), workers=2, batch_size=4)) as served:  # type: ignore[type-var]
        for _ in range(8):
            next(served)
        time.sleep(0.3)  # the client is busy elsewhere: everything that may be read ahead is read
        before, used = stream.lines, psutil.Process().memory_info().rss
        time.sleep(1)
        assert stream.lines == before
        assert stream.lines <= 8 + 4 + (2 + 4)  # taken, judged with the last one taken, read ahead
        for _ in range(200):
            next(served)
        time.sleep(0.3)
        assert stream.lines <= 208 + 4 + (2 + 4)
        assert psutil.Process().memory_info().rss - used < 32 << 20


def test_a_pipe_that_nobody_reads_stops_the_reading_of_requests(files: Pictures) -> None:
    stream = Endless(files, good=False)
    out, into = os.pipe()

    def serve() -> None:
        with open(into, "wb", buffering=0) as pipe, open_writer("jsonl", pipe) as writer:
            try:
                for outcome in answer_requests(read_requests(stream), FakeAssessor()):  # type: ignore[arg-type]
                    writer.write(outcome)
            except BrokenPipeError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with open(out, "rb") as reader:
        for _ in range(3):
            assert json.loads(reader.readline())["error"]["code"] == "E_REQUEST_JSON"
        before = -1
        while before != stream.lines:  # until the pipe is full
            before = stream.lines
            time.sleep(0.3)
        assert before < 1000, "a pipe holds 64 KiB, so some hundred answers at most"
    thread.join(10)
    assert not thread.is_alive()


class Waiting(io.RawIOBase):
    """A client that sends a request only when it is told to."""

    def __init__(self) -> None:
        self.lines = SimpleQueue[bytes]()

    def readline(self, size: int | None = -1, /) -> bytes:
        return self.lines.get()


def test_a_request_that_is_alone_is_answered_at_once_and_those_that_wait_together(files: Pictures) -> None:
    stream, assessor = Waiting(), FakeAssessor(seconds=0.3)
    line = json.dumps({"id": "x", "source": str(files.source), "edited": str(files.edited)}).encode() + b"\n"
    served: Iterator[Outcome] = answer_requests(
        read_requests(stream),  # type: ignore[arg-type]
        assessor,
        batch_size=8,
    )
    for _ in range(2):
        stream.lines.put(line)
        assert next(served).status == "ok"  # would wait for ever if a batch had to be full
    assert [len(batch) for batch in assessor.batches] == [1, 1]
    for _ in range(7):
        stream.lines.put(line)
    stream.lines.put(b"")
    assert len(list(served)) == 7
    sizes = [len(batch) for batch in assessor.batches[2:]]
    assert len(sizes) <= 3, "what came while a batch was judged is judged in one"
