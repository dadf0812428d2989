from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakes import FakeAssessor
from piqa_cli import images, pipeline
from piqa_cli.errors import DeviceError, InputError, ModelError
from piqa_cli.images import ImagePolicy, LoadedPair
from piqa_cli.pipeline import assess_pair, assess_pairs, failure
from piqa_cli.prefetch import Prefetch
from piqa_cli.schema import Assessment, ErrorInfo, Failure, Outcome, Pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs of 40 x 48 pixels, the edited one brighter from pair to pair, and a broken file."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(7)
    for number in range(12):
        source = rng.integers(0, 200, (40, 48, 3), dtype=np.uint8)
        edited = source.copy()
        edited[10:30, 10:30] += np.uint8(number * 4)
        Image.fromarray(source).save(root / f"{number}_source.png")
        Image.fromarray(edited).save(root / f"{number}_edited.png")
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no picture")
    return root


def pair(folder: Path, number: int) -> Pair:
    return Pair(
        id=str(number), source=str(folder / f"{number}_source.png"), edited=str(folder / f"{number}_edited.png")
    )


def broken(folder: Path, name: str = "broken") -> Pair:
    return Pair(id=name, source=str(folder / "0_source.png"), edited=str(folder / "broken.png"))


def unpaired(name: str = "lonely") -> Failure:
    return Failure(
        id=name, pair=Pair(id=name, source="", edited=name), error=ErrorInfo(code="E_UNPAIRED", message="no source")
    )


def timeless(outcome: Outcome) -> Outcome:
    return outcome.model_copy(update={"seconds": 0.0}) if isinstance(outcome, Assessment) else outcome


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("piqa-decode")]


@pytest.fixture(autouse=True)
def no_thread_outlives_a_test() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while our_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert our_threads() == []


# --- Order and independence ------------------------------------------------------------------------


def test_outcomes_come_in_input_order_with_failures_in_their_places(folder: Path) -> None:
    given: list[Pair | Failure] = [
        unpaired("first"), *(pair(folder, n) for n in range(5)), broken(folder), unpaired(), pair(folder, 5),
        unpaired("last"),
    ]  # fmt: skip
    outcomes = list(assess_pairs(given, FakeAssessor(), workers=3, batch_size=4))
    assert [outcome.id for outcome in outcomes] == [item.id for item in given]
    assert [outcome.status for outcome in outcomes] == [
        "error", "ok", "ok", "ok", "ok", "ok", "error", "error", "ok", "error",
    ]  # fmt: skip


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (1, 5), (4, 3), (4, 32)])
def test_records_do_not_depend_on_batch_or_workers(folder: Path, workers: int, batch_size: int) -> None:
    pairs = [*(pair(folder, n) for n in range(12)), broken(folder)]
    alone: list[Outcome] = []
    for one in pairs:
        try:
            alone.append(assess_pair(one, FakeAssessor())[1])
        except InputError as error:
            alone.append(failure(one, error))
    together = assess_pairs(pairs, FakeAssessor(), workers=workers, batch_size=batch_size)
    assert [timeless(outcome) for outcome in together] == [timeless(outcome) for outcome in alone]


def test_batches_fill_up_while_the_model_is_busy_and_never_exceed_the_limit(folder: Path) -> None:
    assessor = FakeAssessor()
    outcomes = assess_pairs([pair(folder, n) for n in range(12)], assessor, workers=2, batch_size=4)
    next(outcomes)
    time.sleep(0.5)  # stands for a slow batch: meanwhile the decoders run ahead
    assert len(list(outcomes)) == 11
    sizes = [len(batch) for batch in assessor.batches]
    assert sum(sizes) == 12
    assert max(sizes) == 4


def test_the_seconds_of_a_batch_are_shared_by_its_pairs(folder: Path) -> None:
    assessor = FakeAssessor(seconds=0.2)
    outcomes = list(assess_pairs([pair(folder, n) for n in range(6)], assessor, batch_size=5))
    total = sum(outcome.seconds for outcome in outcomes if isinstance(outcome, Assessment))
    assert 0.19 * len(assessor.batches) < total < 0.5 * len(assessor.batches)


def test_explaining_can_be_left_out(folder: Path) -> None:
    assessor = FakeAssessor()
    (outcome,) = assess_pairs([pair(folder, 3)], assessor, explain=False)
    assert isinstance(outcome, Assessment)
    assert outcome.explanation is None
    assert assessor.explained == 0


@pytest.mark.parametrize(("workers", "batch_size"), [(0, 1), (1, 0)])
def test_workers_and_batch_size_below_one_are_refused_at_once(workers: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        assess_pairs([], FakeAssessor(), workers=workers, batch_size=batch_size)


# --- Laziness and bounds ---------------------------------------------------------------------------


def test_a_slow_stream_gets_its_first_record_before_the_second_line_arrives(folder: Path) -> None:
    go_on = threading.Event()

    def lines() -> Iterator[Pair | Failure]:
        yield pair(folder, 0)
        assert go_on.wait(10), "the second pair was asked for before the first came out"
        yield unpaired()
        yield pair(folder, 1)

    outcomes = assess_pairs(lines(), FakeAssessor(), batch_size=8)
    assert next(outcomes).id == "0"
    go_on.set()
    assert [outcome.id for outcome in outcomes] == ["lonely", "1"]


def test_a_failure_is_not_held_back_by_the_pair_after_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    real = images.load_pair

    def stuck(one: Pair, policy: ImagePolicy, *, stdin: None = None) -> LoadedPair:
        release.wait(10)
        return real(one, policy)

    monkeypatch.setattr(pipeline, "load_pair", stuck)
    outcomes = assess_pairs([unpaired(), pair(folder, 0)], FakeAssessor())
    assert next(outcomes).id == "lonely"
    assert not release.is_set()
    release.set()
    assert next(outcomes).id == "0"


def test_a_pair_is_not_held_back_by_a_slower_one_after_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    real = images.load_pair

    def second_is_stuck(one: Pair, policy: ImagePolicy, *, stdin: None = None) -> LoadedPair:
        if one.id == "1":
            assert release.wait(10), "the first was held back until the second was decoded"
        return real(one, policy)

    monkeypatch.setattr(pipeline, "load_pair", second_is_stuck)
    outcomes = assess_pairs([pair(folder, 0), pair(folder, 1)], FakeAssessor(), workers=2, batch_size=8)
    assert next(outcomes).id == "0"
    release.set()
    assert next(outcomes).status == "ok"


def test_a_failure_does_not_wait_for_the_model_to_judge_a_pair_that_is_ready(folder: Path) -> None:
    items: list[Pair | Failure] = [unpaired("a"), unpaired("b"), pair(folder, 0)]
    prefetch = Prefetch(items, images.load_pair, workers=1, ahead=5)
    assert [item.pair.id for item in prefetch.take(8)] == ["a"]
    time.sleep(0.5)  # all is ready now
    assert [item.pair.id for item in prefetch.take(8)] == ["b"]
    assert [item.pair.id for item in prefetch.take(8)] == ["0"]
    assert prefetch.take(8) == []
    prefetch.close()


def test_an_interrupt_anywhere_in_the_waiting_never_keeps_close_from_ending(folder: Path) -> None:
    """A signal may raise wherever a function begins or ends: also where one has just taken a lock."""

    def interrupted_at(step: int) -> bool:
        left = step

        def tracer(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename == __file__:
                return None
            frame.f_trace_lines = False
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
            return tracer

        items: list[Pair | Failure] = [unpaired("a"), pair(folder, 0), unpaired("b"), pair(folder, 1)]
        prefetch = Prefetch(items, images.load_pair, workers=1, ahead=2)
        prefetch.take(1)
        try:
            sys.settrace(tracer)
            while prefetch.take(1):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        closing = threading.Thread(target=prefetch.close, daemon=True)
        closing.start()
        closing.join(5)
        assert not closing.is_alive(), f"interrupted at step {step}"
        return left == 0

    steps = 0
    while interrupted_at(steps + 1):
        steps += 1
    assert steps > 10


def test_pairs_are_read_no_further_ahead_than_the_bound(folder: Path) -> None:
    pulled = 0

    def endless() -> Iterator[Pair]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pair(folder, pulled % 12)

    workers, batch_size = 2, 3
    outcomes = assess_pairs(endless(), FakeAssessor(), workers=workers, batch_size=batch_size)
    for done in range(1, 20):
        next(outcomes)
        time.sleep(0.01)  # time to run ahead
        assert pulled - done <= workers + 2 * batch_size
    outcomes.close()  # type: ignore[attr-defined]


# --- Errors ----------------------------------------------------------------------------------------


def test_a_pair_that_cannot_be_read_says_which_file_and_why(folder: Path) -> None:
    missing = Pair(id="m", source=str(folder / "0_source.png"), edited=str(folder / "nowhere.png"))
    outcomes = list(assess_pairs([broken(folder), missing], FakeAssessor()))
    assert all(isinstance(outcome, Failure) for outcome in outcomes)
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, Failure)]
    assert errors[0].file == str(folder / "broken.png")
    assert (errors[1].code, errors[1].file) == ("E_NOT_FOUND", str(folder / "nowhere.png"))


def test_running_out_of_memory_halves_the_batch_and_goes_on_with_smaller_ones(folder: Path) -> None:
    assessor = FakeAssessor(out_of_memory_above=2)
    running = assess_pairs([pair(folder, n) for n in range(12)], assessor, batch_size=8)
    outcomes = [next(running)]
    time.sleep(0.5)  # the decoders run ahead, so that the next batch is large
    outcomes += running
    assert [outcome.id for outcome in outcomes] == [str(n) for n in range(12)]
    assert {outcome.status for outcome in outcomes} == {"ok"}
    too_large = [set(batch) for batch in assessor.batches if len(batch) > 2]
    assert too_large, "no batch was ever too large, so nothing was tested"
    assert all(batch <= too_large[0] for batch in too_large), "it met the limit again after it had learnt it"


@pytest.mark.parametrize(
    ("assessor", "largest"),
    [
        (FakeAssessor(seconds=0.1), 16),  # cheaper by the pair with every doubling
        (FakeAssessor(seconds_a_pair=0.03), 4),  # a pair costs what it costs
        (FakeAssessor(seconds=0.1, out_of_memory_above=8), 8),
    ],
)
def test_a_batch_grows_as_long_as_that_pays_and_fits(folder: Path, assessor: FakeAssessor, largest: int) -> None:
    pairs = [pair(folder, n % 12).model_copy(update={"id": str(n)}) for n in range(120)]
    outcomes = list(assess_pairs(pairs, assessor, workers=2, batch_size=2, largest_batch=16))
    assert [outcome.id for outcome in outcomes] == [item.id for item in pairs]
    assert {outcome.status for outcome in outcomes} == {"ok"}
    sizes = [len(batch) for batch in assessor.batches]
    settled = sizes[-(len(sizes) // 3) : -1]
    assert largest // 2 <= max(settled) <= largest
    assert max(sizes) <= 16


def test_one_pair_too_large_for_the_device_fails_alone_and_costs_the_others_nothing(folder: Path) -> None:
    assessor = FakeAssessor(out_of_memory_for=frozenset({"2"}))
    outcomes = []
    for outcome in assess_pairs([pair(folder, n) for n in range(12)], assessor, batch_size=4):
        outcomes.append(outcome)
        time.sleep(0.5 if outcome.id in {"0", "2"} else 0)  # the decoders run ahead, so that batches are full
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [(one.id, one.error.code) for one in failed] == [("2", "E_OOM")]
    after = assessor.batches.index(["2"]) + 1
    assert max(len(batch) for batch in assessor.batches[after:]) == 4, "one large pair must not slow down the rest"


def test_python_out_of_memory_is_treated_as_the_devices(folder: Path) -> None:
    assessor = FakeAssessor(fail={"1": MemoryError()})
    outcomes = list(assess_pairs([pair(folder, n) for n in range(3)], assessor))
    assert [outcome.error.code for outcome in outcomes if isinstance(outcome, Failure)] == ["E_OOM"]


def test_an_unexpected_error_is_pinned_on_the_guilty_pair(folder: Path) -> None:
    assessor = FakeAssessor(fail={"3": KeyError("spam")}, seconds=0.05)
    outcomes = list(assess_pairs([pair(folder, n) for n in range(8)], assessor, batch_size=8))
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [one.id for one in failed] == ["3"]
    assert failed[0].error.code == "E_INTERNAL"
    assert failed[0].error.message == "KeyError: 'spam'"


def test_an_input_error_from_the_assessor_keeps_its_code(folder: Path) -> None:
    error = InputError("sizes", code="E_SIZE_MISMATCH", file="x", expected="a", found="b", hint="c")
    assessor = FakeAssessor(fail={"1": error})
    outcomes = list(assess_pairs([pair(folder, n) for n in range(3)], assessor))
    assert [outcome.error for outcome in outcomes if isinstance(outcome, Failure)] == [
        ErrorInfo(code="E_SIZE_MISMATCH", message="sizes", file="x", expected="a", found="b", hint="c")
    ]


def test_an_assessor_that_loses_a_pair_is_an_internal_error_not_a_shifted_record(folder: Path) -> None:
    class Forgetful(FakeAssessor):
        def explain(self, *stages: object) -> list[str]:
            return []

    outcomes = list(assess_pairs([pair(folder, n) for n in range(2)], Forgetful()))
    assert [outcome.error.code for outcome in outcomes if isinstance(outcome, Failure)] == ["E_INTERNAL"] * 2


@pytest.mark.parametrize(
    "error", [ModelError("altered weights"), DeviceError("no such device"), KeyboardInterrupt(), SystemExit(3)]
)
def test_what_concerns_every_pair_is_raised(folder: Path, error: BaseException) -> None:
    outcomes = assess_pairs([pair(folder, 0)], FakeAssessor(fail={"0": error}))
    with pytest.raises(type(error)):
        next(outcomes)


def test_a_fault_while_loading_becomes_that_pairs_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = images.load_pair

    def faulty(one: Pair, policy: ImagePolicy, *, stdin: None = None) -> LoadedPair:
        if one.id == "1":
            raise ZeroDivisionError("oops")
        return real(one, policy)

    monkeypatch.setattr(pipeline, "load_pair", faulty)
    outcomes = list(assess_pairs([pair(folder, n) for n in range(3)], FakeAssessor()))
    assert [outcome.status for outcome in outcomes] == ["ok", "error", "ok"]
    assert isinstance(outcomes[1], Failure)
    assert outcomes[1].error.message == "ZeroDivisionError: oops"


def test_an_error_of_the_input_itself_comes_after_the_pairs_before_it(folder: Path) -> None:
    def manifest() -> Iterator[Pair]:
        yield pair(folder, 0)
        yield pair(folder, 1)
        raise InputError("line 3 is broken", code="E_MANIFEST")

    outcomes = assess_pairs(manifest(), FakeAssessor())
    assert [next(outcomes).id, next(outcomes).id] == ["0", "1"]
    with pytest.raises(InputError, match="line 3 is broken"):
        next(outcomes)


def test_a_warning_that_quotes_a_path_that_is_not_utf8_still_makes_a_record(folder: Path) -> None:
    awkward = pair(folder, 4).model_copy(update={"id": "caf\udce9"})
    (outcome,) = assess_pairs([awkward], FakeAssessor())
    assert isinstance(outcome, Assessment)
    assert outcome.id == "caf\udce9"
    assert outcome.explanation == r"The pair caf\udce9 was judged. It is a fake."


# --- Closing ---------------------------------------------------------------------------------------


def test_closing_early_ends_the_threads_and_closes_the_input(folder: Path) -> None:
    closed = threading.Event()

    def endless() -> Iterator[Pair]:
        try:
            while True:
                yield pair(folder, 0)
        finally:
            closed.set()

    outcomes = assess_pairs(endless(), FakeAssessor(), workers=3)
    next(outcomes)
    start = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 1
    assert closed.wait(1)


def test_an_interrupt_does_not_wait_for_a_line_that_never_comes(folder: Path) -> None:
    never = threading.Event()

    def silent() -> Iterator[Pair]:
        yield pair(folder, 0)
        never.wait(20)

    outcomes = assess_pairs(silent(), FakeAssessor(fail={"0": KeyboardInterrupt()}))
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert time.monotonic() - start < 2
    never.set()


def test_one_pair_is_assessed_without_threads_and_its_images_are_handed_out(folder: Path) -> None:
    loaded, assessment = assess_pair(pair(folder, 2), FakeAssessor())
    assert our_threads() == []
    assert loaded.edited.pixels.shape == (40, 48, 3)
    assert assessment.id == "2"
    with pytest.raises(InputError):
        assess_pair(broken(folder), FakeAssessor())
    with pytest.raises(DeviceError) as caught:
        assess_pair(pair(folder, 2), FakeAssessor(out_of_memory_above=0))
    assert caught.value.code == "E_OOM"
