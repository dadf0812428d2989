"""The same pair gives the same record: alone, in a batch of eight, with one decoding thread or four.

    python -m benchmarks.consistency [--data ../shared/data]

The pairs are variants of the bundled example (crops, sizes, codecs; so that a batch is mixed), or with
`--data` real edits. Exit status 1 if any number differs by more than the tolerance, or anything else differs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import common, pictures
from piqa_cli import assess_pairs, open_assessor
from piqa_cli.assessor import Assessor
from piqa_cli.schema import Outcome, Pair

TOLERANCE = 1e-4
# name, batch size, decoding threads; each is compared with the first.
RUNS = (("alone", 1, 1), ("batch of 8", 8, 1), ("4 workers", 1, 4), ("batch of 8, 4 workers", 8, 4))


@dataclass(slots=True)
class Difference:
    """How two runs differ: the largest numeric difference with where it is, and what differs otherwise."""

    largest: float = 0.0
    where: str = "-"
    other: int = 0

    def compare(self, path: str, a: object, b: object) -> None:
        """Take in two JSON values and all that is in them; `path` names them."""
        if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
            for key in a:
                if key != "seconds":
                    self.compare(f"{path}.{key}", a[key], b[key])
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            for index, (left, right) in enumerate(zip(a, b, strict=True)):
                self.compare(f"{path}[{index}]", left, right)
        elif isinstance(a, float) and isinstance(b, float):
            if abs(a - b) > self.largest:
                self.largest, self.where = abs(a - b), path
        elif a != b:
            self.other += 1
            self.where = path if self.largest == 0 else self.where


def example_pairs(folder: Path, count: int) -> Iterator[Pair]:
    """`count` variants of the bundled example, no two of one size and codec, written to `folder`."""
    source, edited = pictures.example()
    for index in range(count):
        right, bottom = source.width - 23 * (index % 5), source.height - 7 * (index % 4)
        box = (11 * (index % 7), 5 * (index % 3), right, bottom)
        suffix = ("png", "jpg", "webp")[index % 3]
        a, b = folder / f"{index}_source.{suffix}", folder / f"{index}_edited.{suffix}"
        source.crop(box).save(a)
        # Every fourth is unedited, every fifth shrunk: records without regions and with a resize.
        other = (source if index % 4 == 3 else edited).crop(box)
        other = other.resize((other.width * 4 // 5, other.height * 4 // 5)) if index % 5 == 4 else other
        other.save(b)
        yield Pair(id=str(index), source=str(a), edited=str(b), prompt="Remove the spoon")


def run(pairs: Sequence[Pair], assessor: Assessor, batch_size: int, workers: int) -> list[Outcome]:
    """The records of one run, in order."""
    return list(assess_pairs(pairs, assessor, batch_size=batch_size, workers=workers))


def main() -> None:
    """Print one row a run; exit with 1 if a record differs."""
    parser = common.parser(__doc__, data=False)
    parser.add_argument("--data", type=Path, help="folder with pairs/: use real edits")
    parser.add_argument("--pairs", type=int, default=24, help="number of pairs (default: %(default)s)")
    options = parser.parse_args()
    assessor = open_assessor(options.model, dtype=options.dtype)
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            pairs = list(example_pairs(Path(folder), options.pairs))
        else:
            found = common.real_pairs(options.data)[: options.pairs]
            pairs = [Pair(id=p.id, source=str(p.source), edited=str(p.edited), prompt=p.prompt) for p in found]
        runs = [run(pairs, assessor, batch_size, workers) for _, batch_size, workers in RUNS]
    rows: list[common.Row] = []
    same = True
    for (name, _, _), records in zip(RUNS, runs, strict=True):
        difference = Difference(other=abs(len(records) - len(runs[0])))
        for a, b in zip(runs[0], records, strict=False):
            difference.compare(a.id, a.model_dump(mode="json"), b.model_dump(mode="json"))
        rows.append((name, difference.largest, difference.other, difference.where))
        same = same and difference.largest <= TOLERANCE and not difference.other
    failures = sum(outcome.status == "error" for outcome in runs[0])
    note = f"Tolerance {TOLERANCE:g}; every run against the first: {'the same' if same else 'DIFFERENT'}."
    note += f" {failures} of the {len(pairs)} could not be assessed." if failures else ""
    columns = ("run", "largest difference of a number", "other differences", "where")
    common.publish([common.Table(f"{len(pairs)} pairs, the same records?", columns, tuple(rows), note)], options.json)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
