"""How long `piqa batch --resume` takes where all is finished, and how many pictures it decodes: it must be none.

    python -m benchmarks.resume [--pairs 100000]

A finished run of so many tiny pairs, no two alike, is laid down: files, records with their keys, remembered hashes. The
time is that of the whole command, the start of Python and loading the model included; files are in the system's memory.
Processor seconds tell the same on a machine that is busy with other things. Linux and macOS only.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import common
from piqa_cli import assess_pairs, open_assessor
from piqa_cli.assessor import Assessor, models_of
from piqa_cli.images import DEFAULT_POLICY
from piqa_cli.pairs import PairQuery, find_pairs
from piqa_cli.resume import FileHashes, Journal, Memory, Recipe
from piqa_cli.schema import Assessment, Pair

SIDE = 32
GATE_FAILED = 10  # tiny pairs may have no scores
AIM_SECONDS = 10.0
# Runs `piqa` and tells, as the last line of standard error, what was decoded and read.
COUNTED = """
import atexit, sys
from piqa_cli import pipeline
from piqa_cli.cli import main
from piqa_cli.resume import FileHashes
counts = {"decoded": 0, "read": 0}
def counted(name, function):
    def wrapper(*arguments, **options):
        counts[name] += 1
        return function(*arguments, **options)
    return wrapper
pipeline.load_pair = counted("decoded", pipeline.load_pair)
FileHashes._hash = counted("read", FileHashes._hash)
atexit.register(lambda: sys.stderr.write("%(decoded)d %(read)d\\n" % counts))
main()
"""


def write_pairs(folder: Path, count: int) -> None:
    """`count` pairs of 32 x 32 pixels in source/ and edited/, no two files alike."""
    random = np.random.default_rng(0)
    for role in ("source", "edited"):
        (folder / role).mkdir(parents=True)
    for number in range(count):
        source = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        edited = source.copy()
        edited[8:20, 8:20] = random.integers(0, 256, 3, dtype=np.uint8)
        for role, pixels in (("source", source), ("edited", edited)):
            Image.fromarray(pixels).save(folder / role / f"{number:07}.bmp")


def write_results(folder: Path, results: Path, assessor: Assessor) -> int:
    """A finished run: the first pair's record under the names and the key of every pair; gives the records' bytes."""
    first, *_ = assess_pairs(_pairs(folder)[:1], assessor)
    if not isinstance(first, Assessment):
        raise SystemExit(f"the first pair cannot be assessed: {first.error.message}")
    hashes = FileHashes(f"{results}.hashes")
    memory = Memory(Recipe(models_of(assessor), DEFAULT_POLICY), hashes)
    with Journal(str(results), None, hashes) as journal:
        for pair in _pairs(folder):
            info = first.pair.model_copy(
                update={
                    role: getattr(first.pair, role).model_copy(update={"path": getattr(pair, role)})
                    for role in ("source", "edited")
                }
            )
            journal.write(first.model_copy(update={"id": pair.id, "key": memory.key_of(pair), "pair": info}))
    return results.stat().st_size


def _pairs(folder: Path) -> list[Pair]:
    return [item for item in find_pairs(PairQuery(input=str(folder))) if isinstance(item, Pair)]


def resume(folder: Path, results: Path, model: str, *more: str) -> tuple[float, float, int, int]:
    """Seconds of a resume by the clock and of the processor, pairs decoded, files read; the records must stay."""
    before = results.read_bytes()
    command = [sys.executable, "-c", COUNTED, "batch", str(folder), "--output", str(results), "--resume"]
    start, used = time.perf_counter(), _processor_seconds()
    done = subprocess.run([*command, "--model", model, *more], capture_output=True, text=True, check=False)
    seconds, used = time.perf_counter() - start, _processor_seconds() - used
    if done.returncode not in {0, GATE_FAILED} or results.read_bytes() != before:
        raise SystemExit(f"exit status {done.returncode}, or the records changed\n{done.stderr[-2000:]}")
    decoded, read = map(int, done.stderr.splitlines()[-1].split())
    return seconds, used, decoded, read


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print a row a resume; exit with 1 if it decodes anything or misses the aim."""
    parser = common.parser(__doc__, data=False)
    parser.add_argument("--pairs", type=int, default=100_000, help="number of pairs (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, results = Path(name) / "pairs", Path(name) / "results.jsonl"
        write_pairs(folder, options.pairs)
        time.sleep(3)  # a file that has only just changed is not remembered
        size = write_results(folder, results, open_assessor(options.model))
        plain = resume(folder, results, options.model)
        gated = resume(folder, results, options.model, "--fail-under", "overall=1")
    rows: tuple[common.Row, ...] = (("plain", *plain, AIM_SECONDS), ("with a gate", *gated, None))
    columns = ("resume", "seconds", "processor seconds", "pairs decoded", "files read", "aim: seconds under")
    title = f"Resume of a finished run of {options.pairs} pairs"
    note = f"Results of {size / 2**20:.0f} MiB."
    common.publish([common.Table(title, columns, rows, note)], options.json)
    sys.exit(0 if plain[2] == gated[2] == 0 and plain[0] < AIM_SECONDS else 1)


if __name__ == "__main__":
    main()
