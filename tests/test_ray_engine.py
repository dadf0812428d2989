"""`--engine ray`: the records of one machine from many processes, whatever happens to them. One cluster for all."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from conftest import COMMAND, RunPiqa, environment
from fakes import FakeAssessor
from moody import Moody
from piqa_cli.assessor import Assessor, models_of
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.images import DEFAULT_POLICY
from piqa_cli.pairs import PairQuery, find_pairs
from piqa_cli.pipeline import resume_pairs
from piqa_cli.resume import FileHashes, FinishedRows, Journal, Known, Memory, Recipe
from piqa_cli.scaling import session as sessions
from piqa_cli.scaling.cluster import Answered, Errand
from piqa_cli.scaling.running import judge_pairs
from piqa_cli.scaling.session import Session, check_ray, opened
from piqa_cli.scaling.work import Answer, Asked, Job, Worker, answers_of, to_block
from piqa_cli.schema import Failure, Outcome, Pair
from piqa_cli.writers import read_results, to_json

ray = pytest.importorskip("ray.data", reason="--engine ray is an extra: piqa-cli[ray]")
PAIRS = 14


RECIPE = Recipe((), DEFAULT_POLICY)
JOB = Job(Moody, RECIPE, batch_size=2, workers=1)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with opened(Errand(JOB, workers=2)) as one:
        yield one


@pytest.fixture(scope="module")
def pairs(make_batch: Callable[[int], Path]) -> list[Pair | Failure]:
    """Of which one cannot be read and one has no source."""
    folder = make_batch(PAIRS)
    (folder / "edited" / "p1.png").write_bytes(b"junk")
    (folder / "source" / "p9.png").unlink()
    return list(find_pairs(PairQuery(input=str(folder))))


def with_prompts(pairs: Iterable[Pair | Failure], prompts: dict[str, str], other: str | None) -> list[Pair | Failure]:
    return [p if isinstance(p, Failure) else p.model_copy(update={"prompt": prompts.get(p.id, other)}) for p in pairs]


class Keeper:
    """A journal as the command has it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.waited = 0

    def early(self, outcome: Outcome) -> Callable[[], Outcome]:
        self.waited += 1
        line = self.journal.write_early(outcome)
        return lambda: self.journal.read_line(line)


def run(
    session: Any, pairs: list[Pair | Failure], path: Path, finished: FinishedRows | None = None
) -> list[Outcome | Known]:
    """What comes, in its order; also written as the command does."""
    hashes = FileHashes(f"{path}.hashes")
    with Journal(str(path), finished, hashes) as journal:
        items = []
        for item in judge_pairs(pairs, session, 2, 2, Keeper(journal), hashes, finished):
            items.append(item)
            if isinstance(item, Known):
                journal.keep(item)
            else:
                journal.write(item)
        journal.settle()
    return items


def plain(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    rows = [json.loads(to_json(outcome)) for outcome in outcomes]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def here(pairs: Iterable[Pair | Failure]) -> list[Outcome]:
    """The records of this process."""
    assessor = FakeAssessor()
    memory = Memory(replace(RECIPE, models=models_of(assessor)), FileHashes())
    return [item for item in resume_pairs(pairs, assessor, memory) if not isinstance(item, Known)]


def test_one_process_shards_and_ray_give_the_same_records_and_a_resume_judges_none_again(
    session: Session, pairs: list[Pair | Failure], tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    items = run(session, pairs, path)
    expected = plain(here(pairs))
    shards = [iter(here(pairs[i::3])) for i in range(3)]
    assert plain(next(shards[i % 3]) for i in range(len(pairs))) == expected
    assert plain(item for item in items if not isinstance(item, Known)) == expected
    assert plain(read_results(str(path))) == expected
    before = path.read_bytes()
    again = run(session, pairs, path, FinishedRows(str(path), pytest.fail))
    assert [isinstance(item, Known) for item in again] == [row["status"] == "ok" for row in expected]
    assert path.read_bytes() == before


def test_a_worker_that_is_killed_costs_no_record_and_doubles_none(
    session: Session, pairs: list[Pair | Failure], tmp_path: Path
) -> None:
    waiting = with_prompts(pairs, {}, "wait")
    path = tmp_path / "rows.jsonl"
    killed: list[int] = []

    class Killer:
        def judge(self, blocks: Sequence[Sequence[Asked]]) -> Iterator[Answered]:
            for answered in session.judge(blocks):
                if not killed:
                    children = psutil.Process().children(recursive=True)
                    workers = [one for one in children if "MapWorker" in "".join(one.cmdline())]
                    assert len(workers) == 2
                    workers[0].kill()
                    killed.append(workers[0].pid)
                yield answered

    run(Killer(), waiting, path)
    assert killed
    assert plain(read_results(str(path))) == plain(here(waiting))


@pytest.mark.slow
def test_a_pair_that_kills_its_worker_each_time_is_a_failure_and_the_others_are_judged(
    session: Session, pairs: list[Pair | Failure], tmp_path: Path
) -> None:
    deadly = with_prompts(pairs[:6], {"p10": "die"}, None)
    path = tmp_path / "rows.jsonl"
    run(session, deadly, path)
    rows = list(read_results(str(path)))
    assert [row.id for row in rows] == [pair.id for pair in deadly]
    expected = [row for row in here(deadly) if row.id != "p10"]
    assert plain(row for row in rows if row.id != "p10") == plain(expected)
    (lost,) = [row for row in rows if row.id == "p10"]
    assert isinstance(lost, Failure)
    assert lost.error.code == "E_WORKER"


def test_blocks_that_come_out_of_turn_twice_or_never_are_put_in_order_and_kept_at_once(
    pairs: list[Pair | Failure], tmp_path: Path
) -> None:
    worker = Worker(JOB)
    path = tmp_path / "rows.jsonl"
    rounds: list[int] = []
    lines: list[int] = []

    class Backwards:
        def judge(self, blocks: Sequence[Sequence[Asked]]) -> Iterator[Answered]:
            rounds.append(len(blocks))
            answered = [Answered(*answers_of(worker(to_block(block)))) for block in blocks]
            yield from (answered + answered[:1])[::-1] if len(rounds) > 1 else answered[:0:-1]
            lines.append(path.read_bytes().count(b"\n"))

    run(Backwards(), pairs, path)
    assert rounds == [7, 2], "what never came is asked for again, pair by pair"
    assert lines[0] == 11, "what came before its turn is in the file at once"
    assert plain(read_results(str(path))) == plain(here(pairs))


def test_what_concerns_every_pair_ends_the_run_with_the_error_itself() -> None:
    def refuse() -> Assessor:
        raise ModelError("the weights are torn", code="E_MODEL_HASH", file="w", hint="install again")

    def stumble() -> Assessor:
        raise ZeroDivisionError("a bug")

    asked = [Asked(0, Pair(id="a\udce9", source="s", edited="e"))]
    with pytest.raises(ModelError, match="the weights are torn") as caught:
        answers_of(Worker(replace(JOB, open=refuse))(to_block(asked)))
    assert (caught.value.code, caught.value.hint) == ("E_MODEL_HASH", "install again")
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"):
        answers_of(Worker(replace(JOB, open=stumble))(to_block(asked)))
    answers, _ = answers_of(Worker(JOB)(to_block(asked)))
    assert isinstance(answers[0], Answer)
    assert json.loads(answers[0].record or b"")["id"] == "a\udce9"


def test_without_ray_the_package_to_install_is_named_and_its_options_need_it(
    monkeypatch: pytest.MonkeyPatch, quick_piqa: RunPiqa
) -> None:
    monkeypatch.setattr(sessions, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        check_ray()
    assert caught.value.hint == "pip install 'piqa-cli[ray]'"
    done = quick_piqa("batch", "pairs", "--ray-workers", "2")
    assert done.status == 2
    assert "--ray-workers goes with --engine ray" in done.err


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_done_and_any_engine_goes_on(
    home: Path, make_batch: Callable[[int], Path], quick_piqa: RunPiqa, tmp_path: Path
) -> None:
    folder, target = make_batch(12), tmp_path / "rows.jsonl"
    slow = environment(home, stand_in=True, extra={"PIQA_STAND_IN": "seconds=0.3", "TMPDIR": "/tmp"})
    command = [*COMMAND, "batch", str(folder), "--engine", "ray", "--batch-size", "1", "-o", str(target)]
    process = subprocess.Popen(
        command, env=slow, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    while not target.exists() or target.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 4
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    told = err.decode().splitlines()
    assert process.returncode == 130, told
    assert out == b""
    assert told[0].startswith("piqa: interrupted after ")
    assert len(told) == 2, "nothing of Ray's own"
    _, alive = psutil.wait_procs(family, timeout=3)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    words = shlex.split(told[1].removeprefix("  to go on: "))
    kept = target.read_bytes()
    assert 2 <= kept.count(b"\n") < 12
    done = quick_piqa(*[{"ray": "local"}.get(word, word) for word in words[1:]])
    assert done.status == 0
    assert "of the pairs in earlier runs" in done.err
    assert quick_piqa("batch", folder).rows() == [
        json.loads(line) | {"seconds": pytest.approx(0, abs=1)} for line in target.read_bytes().splitlines()
    ]
