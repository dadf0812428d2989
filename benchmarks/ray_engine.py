"""What `--engine ray` costs over `--engine local` on the same processors: the time of a pair, start-up apart.

    python -m benchmarks.ray_engine [--pairs 2000] [--rounds 3]

Small pictures, so that the model's time is short and what is around it counts. Both engines write a journal as `piqa
batch --output FILE.jsonl` does; their records must be the same but for `seconds`. The clock starts when a twentieth of
the records is there and stops with the last one, so that neither the cluster's start nor loading models is in it. The
middle row is the same number of processes without Ray, each with its share of the processors' threads: what is between
it and Ray is Ray's own price.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import common
from piqa_cli import open_assessor
from piqa_cli.assessor import Assessor, models_of
from piqa_cli.images import DEFAULT_POLICY
from piqa_cli.lmm.settings import Precision
from piqa_cli.pairs import PairQuery, find_pairs
from piqa_cli.pipeline import resume_pairs
from piqa_cli.resume import FileHashes, Journal, Known, Memory, Recipe
from piqa_cli.scaling.cluster import Errand, Share
from piqa_cli.scaling.running import judge_pairs
from piqa_cli.scaling.session import Session, opened
from piqa_cli.scaling.work import Job
from piqa_cli.schema import Outcome, Pair

AIM = 1.3
WORKERS, BATCH = 2, 8  # as `piqa batch` has them


class Keeper:
    """A journal as `judge_pairs` wants it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def early(self, outcome: Outcome) -> Callable[[], Outcome]:
        """Keep a record whose turn has not come."""
        line = self._journal.write_early(outcome)
        return lambda: self._journal.read_line(line)


def write_pairs(folder: Path, count: int, side: int) -> list[Pair]:
    """So many pairs with a repainted patch, no two alike."""
    random = np.random.default_rng(0)
    for role in ("source", "edited"):
        (folder / role).mkdir(parents=True)
    for number in range(count):
        source = random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        edited = source.copy()
        edited[side // 4 : side // 2, side // 4 : side // 2] = random.integers(0, 256, 3, dtype=np.uint8)
        for role, pixels in (("source", source), ("edited", edited)):
            Image.fromarray(pixels).save(folder / role / f"{number:05}.png")
    return [item for item in find_pairs(PairQuery(input=str(folder))) if isinstance(item, Pair)]


def local(pairs: list[Pair], assessor: Assessor, _: Journal, hashes: FileHashes) -> Iterator[Outcome | Known]:
    """The pairs by this process."""
    memory = Memory(Recipe(models_of(assessor), DEFAULT_POLICY), hashes)
    return resume_pairs(pairs, assessor, memory, workers=WORKERS, batch_size=BATCH)


def by_ray(pairs: list[Pair], session: Session, journal: Journal, hashes: FileHashes) -> Iterator[Outcome | Known]:
    """The pairs by the cluster."""
    return judge_pairs(pairs, session, session.share.workers, BATCH, Keeper(journal), hashes)


def as_shards(place: Path, pairs: list[Pair], model: str, dtype: Precision, share: Share) -> float:
    """Seconds of the slowest of as many processes as Ray has workers, each with its shard of the pairs."""
    where = multiprocessing.get_context("spawn")
    ready = where.Barrier(share.workers)
    with where.Pool(share.workers, _join, (ready, max(1, int(share.cpus)))) as pool:
        jobs = [(place / f"{i}.jsonl", pairs[i :: share.workers], model, dtype) for i in range(share.workers)]
        return max(pool.starmap(_shard, jobs, chunksize=1))


_ready: Barrier | None = None


def _join(ready: Barrier, threads: int) -> None:
    import torch

    global _ready  # noqa: PLW0603 - a pool's way to give its processes something
    _ready = ready
    torch.set_num_threads(threads)


def _shard(results: Path, pairs: list[Pair], model: str, dtype: Precision) -> float:
    assessor = open_assessor(model, dtype=dtype)
    if _ready is not None:
        _ready.wait()
    return seconds_of(functools.partial(local, pairs, assessor), results)


def seconds_of(run: Callable[[Journal, FileHashes], Iterator[Outcome | Known]], results: Path) -> float:
    """Seconds that all pairs would take at the pace from the twentieth part of the records on."""
    hashes = FileHashes(f"{results}.hashes")
    stamps = []
    with Journal(str(results), None, hashes) as journal:
        for outcome in run(journal, hashes):
            if not isinstance(outcome, Known):
                journal.write(outcome)
            stamps.append(time.perf_counter())
        journal.settle()
    first = len(stamps) // 20
    return (stamps[-1] - stamps[first]) * len(stamps) / (len(stamps) - 1 - first)


def records_of(results: Path) -> list[object]:
    """The records without their seconds."""
    rows = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    for row in rows:
        row.pop("seconds")
    return rows


def main() -> None:
    """Print a row an engine and the ratio; exit with 1 if records differ or the ratio misses the aim."""
    parser = common.parser(__doc__, data=False)
    parser.add_argument("--pairs", type=int, default=2000, help="number of pairs (default: %(default)s)")
    parser.add_argument("--side", type=int, default=64, help="of a picture, in pixels (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each engine, in turn (default: %(default)s)")
    parser.add_argument("--ray-workers", type=int, help="workers of the cluster (default: as many as processors)")
    options = parser.parse_args()
    assessor = open_assessor(options.model, dtype=options.dtype)
    taken: dict[str, list[float]] = {"local": [], "shards": [], "ray": []}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        pairs = write_pairs(place / "pairs", options.pairs, options.side)
        job = Job(
            functools.partial(open_assessor, options.model, dtype=options.dtype),
            Recipe((), DEFAULT_POLICY),
            workers=WORKERS,
            batch_size=BATCH,
            hashes=str(place / "ray.jsonl.hashes"),
            folder=os.getcwd(),
        )
        with opened(Errand(job, workers=options.ray_workers)) as session:
            for _ in range(options.rounds):
                taken["local"].append(seconds_of(functools.partial(local, pairs, assessor), place / "local.jsonl"))
                taken["shards"].append(as_shards(place, pairs, options.model, options.dtype, session.share))
                taken["ray"].append(seconds_of(functools.partial(by_ray, pairs, session), place / "ray.jsonl"))
                print(*(f"{engine} {seconds[-1]:.1f} s" for engine, seconds in taken.items()), file=sys.stderr)
            same = records_of(place / "local.jsonl") == records_of(place / "ray.jsonl")
            share = session.share
    rows: list[common.Row] = [
        (engine, statistics.median(seconds), 1000 * statistics.median(seconds) / options.pairs)
        for engine, seconds in taken.items()
    ]
    ratios = [ray / local for local, ray in zip(taken["local"], taken["ray"], strict=True)]
    own = [ray / shards for shards, ray in zip(taken["shards"], taken["ray"], strict=True)]
    ratio = statistics.median(ratios)
    note = (
        f"Ratio ray / local: {ratio:.3f} (median of {', '.join(f'{one:.3f}' for one in ratios)}; aim: at most {AIM}). "
        f"Ratio ray / shards: {statistics.median(own):.3f}. "
        f"{share.workers} workers with {share.cpus:g} of {os.cpu_count()} processors each; records"
        f" {'the same' if same else 'DIFFERENT'}."
    )
    title = f"{options.pairs} pairs of {options.side} x {options.side} pixels, start-up apart"
    common.publish([common.Table(title, ("engine", "seconds", "ms a pair"), tuple(rows), note)], options.json)
    sys.exit(0 if same and ratio <= AIM else 1)


if __name__ == "__main__":
    main()
