"""Hostile input in little: every reader with cases made of what it accepts, hostile files, the workers they run in."""

from __future__ import annotations

import mmap
import os
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import hostile
from fuzz import worker as workers
from fuzz.checks import WrongAnswerError
from fuzz.files import HostileFile, hostile_files
from fuzz.mutations import mutants
from fuzz.targets import BY_NAME, TARGETS, Target
from fuzz.worker import FAULTS, Worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and special files are POSIX's here")
each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
CASES = 150  # a reader; `python -m benchmarks.hostile` has ten thousand
# All that lie or are no files; of those that are merely damaged, some.
CHOSEN = ("bomb", "liar", "none", "special", "disguised")


@each_target
def test_every_seed_of_a_reader_is_one_that_it_takes_up(target: Target) -> None:
    taken = [target.run(seed) for seed in target.seeds()]
    assert taken[0]
    assert sum(taken) >= 2


@each_target
def test_cases_made_of_seeds_are_refused_or_answered_rightly(target: Target) -> None:
    for case in islice(mutants(target.seeds(), target.words, seed=1), CASES):
        started = time.monotonic()
        target.run(case)  # raises what is wrong
        assert time.monotonic() - started < 10


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    target=st.sampled_from([one for one in TARGETS if one.name != "settings"]),
    data=st.data(),
)
def test_any_pieces_in_any_order_are_refused_or_answered_rightly(target: Target, data: st.DataObject) -> None:
    pieces = st.sampled_from([*target.words, *target.seeds()]) | st.binary(max_size=20)
    target.run(b"".join(data.draw(st.lists(pieces, max_size=6))))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_damage_to_an_image_is_refused_or_decoded_as_another_decoder_does(data: st.DataObject) -> None:
    case = bytearray(data.draw(st.sampled_from(list(BY_NAME["image"].seeds()))))
    for _ in range(data.draw(st.integers(1, 4))):
        case[data.draw(st.integers(0, len(case) - 1))] = data.draw(st.integers(0, 255))
    BY_NAME["image"].run(bytes(case[: data.draw(st.integers(len(case) // 2, len(case)))]))


def test_there_are_hostile_files_enough_and_no_two_of_one_name() -> None:
    assert len({file.name for file in hostile_files()}) == len(hostile_files()) >= 200


def test_hostile_files_are_refused_or_read_in_bounded_time_and_memory(tmp_path: Path) -> None:
    chosen = [file for n, file in enumerate(hostile_files()) if file.name.startswith(CHOSEN) or n % 9 == 0]
    with Worker({"files": hostile.read_file}) as worker:
        judged = dict(hostile.judge_files(tmp_path, chosen, worker))
    assert {name: verdict for name, verdict in judged.items() if verdict.kind in FAULTS} == {}
    assert sum(verdict.kind == "accepted" for verdict in judged.values()) > 20
    assert max(verdict.peak for verdict in judged.values()) < 1 << 30
    assert not (tmp_path / "pwned").exists()
    assert not Path("pwned").exists()


def test_the_same_seed_makes_the_same_cases() -> None:
    for target in TARGETS:
        first, second = (list(islice(mutants(target.seeds(), target.words, seed=5), 40)) for _ in range(2))
        assert first == second
        assert len(set(first)) > 20


def _stray(case: bytes) -> bool:
    """A reader with every kind of fault."""
    if case == b"crash":
        raise KeyError("what no caller expects")
    if case == b"end":
        os._exit(9)
    if case == b"hang":
        time.sleep(60)
    if case == b"wrong":
        raise WrongAnswerError("so it is")
    if case == b"memory":
        with mmap.mmap(-1, 400 << 20) as fresh:  # not from what the process was freed of and keeps
            for page in range(0, len(fresh), mmap.PAGESIZE):
                fresh[page] = 1
    return case == b"good"


def test_every_kind_of_fault_is_noticed_and_the_next_case_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CASE_SECONDS", 1.0)
    monkeypatch.setattr(workers, "CASE_BYTES", 300 << 20)
    with Worker({"stray": _stray}) as worker:
        assert worker.run("stray", b"bad").kind == "refused"
        for kind, case in [*zip(FAULTS, FAULTS, strict=True), ("crash", "end")]:
            assert worker.run("stray", case.encode()).kind == kind, case
            assert worker.run("stray", b"good").kind == "accepted"


def test_the_benchmark_counts_and_fails_where_there_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [HostileFile("a.png", "be refused", b""), HostileFile("b.png", "either", b"x")]
    monkeypatch.setattr(hostile, "hostile_files", lambda: tuple(few))
    monkeypatch.setattr(hostile, "TARGETS", TARGETS[1:3])
    hostile.main(["--cases", "20"])
    rows = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| hostile files | 2 | 0 | 2 | 0 | 0 | 0 | 0 |") for line in rows)
    assert any(line.startswith("| all | 22 | ") for line in rows)
    few[1] = HostileFile("b.png", "be read", b"x")
    with pytest.raises(SystemExit):
        hostile.main(["--cases", "2"])
    assert "it must be read, and was refused" in capsys.readouterr().err
