"""How fast synthetic pairs are made: pairs a second with one process and with two, milliseconds per family.

    python -m benchmarks.synthesis [--data ../shared/data] [--pairs 120] [--rounds 9]

Pictures have sides of 256 px; every process computes with one thread. Photos are decoded before the clock starts.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2

from benchmarks import common
from piqa_cli.synthesis import FAMILIES, PhotoLibrary, make_sample

SIDE = 256
NOTE = "One thread each. Other load lowers the first rate and hardly the second."
PHOTOS = 100  # enough for variety, few enough to be decoded soon


class FewPhotos(PhotoLibrary):
    """The first photos of the library's train split, all decoded."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        few = super().names("train")[:PHOTOS]
        self._names = dict.fromkeys(self._names, few)
        for name in few:
            self.load(name)


@lru_cache(maxsize=1)
def library(root: Path) -> FewPhotos:
    """The photos, decoded once per process; computing is set to one thread."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    photos = FewPhotos(root)
    make_sample(photos, 0, SIDE, "train", family="paint")  # reads the networks
    return photos


def make_pairs(root: Path, first: int, count: int) -> tuple[float, float, float]:
    """(begin, end, processor seconds) of the samples of these numbers; the first two on the monotonic clock."""
    photos = library(root)
    start, busy = time.monotonic(), time.process_time()
    for seed in range(first, first + count):
        make_sample(photos, seed, SIDE, "train")
    return start, time.monotonic(), time.process_time() - busy


def _ready(root: Path, everyone: Barrier) -> None:
    library(root)
    everyone.wait()


def rate(root: Path, processes: int, pairs: int) -> tuple[float, float]:
    """Pairs a second, and a processor second, of so many processes, which begin when all have their photos."""
    share = pairs // processes
    context = get_context("spawn")
    everyone = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _ready, (root, everyone)) as pool:
        spans = list(pool.map(make_pairs, [root] * processes, range(0, pairs, share), [share] * processes))
    starts, ends, busy = zip(*spans, strict=True)
    return processes * share / (max(ends) - min(starts)), processes * share / sum(busy)


def family_times(root: Path, rounds: int) -> dict[str, float]:
    """Median seconds of a sample of each family; the families take turns, each with the same numbers."""
    photos = library(root)
    numbers = {family.name: iter(range(rounds + 1)) for family in FAMILIES}
    tasks = [
        (name, lambda name=name: make_sample(photos, next(numbers[name]), SIDE, "train", family=name))
        for name in numbers
    ]
    return common.interleaved(tasks, rounds)


def main() -> None:
    """Print both tables."""
    parser = common.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=120, help="pairs to make (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="samples of each family (default: %(default)s)")
    args = parser.parse_args()
    photos = args.data / "photos"
    if not photos.is_dir():
        raise SystemExit(f"{photos}: expected the photos to edit, found no such folder; give --data FOLDER")
    rates = tuple((processes, *rate(photos, processes, args.pairs)) for processes in (1, 2))
    seconds = family_times(photos, args.rounds)
    tables = [
        common.Table(f"Synthetic pairs at {SIDE} px", ("processes", "pairs/s", "pairs/processor s"), rates, NOTE),
        common.Table(
            f"A pair of each family at {SIDE} px, whole-file nuisances included",
            ("family", "median ms"),
            tuple((name, 1000 * taken) for name, taken in seconds.items()),
        ),
    ]
    common.publish(tables, args.json)


if __name__ == "__main__":
    main()
