"""How the readers stand up to hostile input: crashes, hangs, wrong answers and too much memory, which should all be 0.

    python -m benchmarks.hostile [--cases 10000] [--seed 0] [--batch] [--json FILE]

First a folder of hostile image files, each read in a process of its own limits; with `--batch` the whole folder also
as one manifest through `piqa batch`. Then cases made of what each reader accepts, with things wrong with them. The same
seed makes the same cases. Every fault is printed, and the exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.common import PIQA, Row, Table, publish
from fuzz.checks import WrongAnswerError, same
from fuzz.files import HostileFile, hostile_files
from fuzz.mutations import mutants
from fuzz.pictures import checksums_hold, compare, variants
from fuzz.targets import TARGETS, Target
from fuzz.worker import FAULTS, Verdict, Worker
from piqa_cli.errors import InputError
from piqa_cli.images import load_image

COLUMNS = (
    "input",
    "cases",
    "accepted",
    "refused",
    "crashes",
    "hangs",
    "wrong",
    "memory",
    "slowest, s",
    "most memory, MB",
)


def read_file(case: bytes) -> bool:
    """Reads the image at a path as `piqa` does; a good one is held against another decoder."""
    path = os.fsdecode(case)
    try:
        loaded = load_image(path)
    except InputError as error:
        if not (error.code.startswith("E_") and error.found and error.hint):
            raise WrongAnswerError(f"an error that says too little: {error!r}") from error
        return False
    data = Path(path).read_bytes()
    if loaded.info.format == "PNG":
        same(checksums_hold(data), True, "the checksums of the PNG")
    if len(data) < 1 << 24:
        compare(data, loaded)
    return True


def judge_files(folder: Path, files: Iterable[HostileFile], worker: Worker) -> Iterator[tuple[str, Verdict]]:
    """The verdict on each file; one that is read, or refused, where it must not be is wrong."""
    for file in files:
        path = file.write(folder)
        verdict = worker.run("files", os.fsencode(path))
        contrary = {"be read": "refused", "be refused": "accepted"}.get(file.must)
        if verdict.kind == contrary:
            verdict = Verdict("wrong", verdict.seconds, verdict.peak, f"it must {file.must}, and was {verdict.kind}")
        yield file.name, verdict


def judge_cases(target: Target, count: int, seed: int, worker: Worker) -> Iterator[tuple[str, Verdict]]:
    """The verdict on each of so many cases of a reader."""
    for number, case in enumerate(islice(mutants(target.seeds(), target.words, seed), count)):
        yield f"{number} ({case[:60]!r})", worker.run(target.name, case)


def row(name: str, verdicts: Sequence[Verdict]) -> Row:
    """A row of the table."""
    kinds = Counter(verdict.kind for verdict in verdicts)
    counts = [kinds[kind] for kind in ("accepted", "refused", *FAULTS)]
    slowest = max(verdict.seconds for verdict in verdicts)
    peak = max(verdict.peak for verdict in verdicts) >> 20
    return name, len(verdicts), *counts, round(slowest, 1), peak


def gather(name: str, judged: Iterator[tuple[str, Verdict]]) -> list[Verdict]:
    """All verdicts; each fault is told at once."""
    verdicts = []
    for case, verdict in judged:
        verdicts.append(verdict)
        if verdict.kind in FAULTS:
            print(f"{verdict.kind} in {name}, case {case!r}:\n{verdict.detail}", file=sys.stderr, flush=True)
    return verdicts


def batch(folder: Path, names: Sequence[str]) -> Table:
    """All files as the edited images of one manifest through `piqa batch`.

    Raises:
        SystemExit: it did not give every pair its record, or met a fault of its own.
    """
    rows = [{"id": str(number), "source": names[0], "edited": name} for number, name in enumerate(names)]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    command = [PIQA, "batch", str(manifest), "--format", "jsonl", "--quiet"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=3600, check=False)
    records = [json.loads(text) for text in done.stdout.splitlines()]
    failed = Counter(record["error"]["code"] for record in records if record["status"] == "error")
    if [record["id"] for record in records] != [one["id"] for one in rows] or done.returncode != 6:
        sys.exit(
            f"piqa batch ended with {done.returncode} after {len(records)} of {len(rows)} records: {done.stderr!r}"
        )
    if failed["E_INTERNAL"]:
        sys.exit(f"piqa batch met {failed['E_INTERNAL']} faults of its own")
    counts = [("assessed", len(records) - failed.total()), *sorted(failed.items())]
    return Table("The files as one `piqa batch`", ("record", "pairs"), tuple(counts))


def main(arguments: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="cases made of seeds, over all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", action="store_true", help="also the files through `piqa batch`")
    parser.add_argument("--json", type=Path, help="also write the tables to this file as JSON")
    options = parser.parse_args(arguments)
    functions: dict[str, Callable[[bytes], bool]] = {target.name: target.run for target in TARGETS}
    parts = sum(target.share for target in TARGETS)
    judged: dict[str, list[Verdict]] = {}
    with tempfile.TemporaryDirectory() as name, Worker(functions | {"files": read_file}) as worker:
        files = hostile_files()
        judged["hostile files"] = gather("hostile files", judge_files(Path(name), files, worker))
        for target in TARGETS:
            count = -(-options.cases * target.share // parts)
            judged[target.name] = gather(target.name, judge_cases(target, count, options.seed, worker))
        every = [verdict for verdicts in judged.values() for verdict in verdicts]
        rows = [row(*item) for item in (*judged.items(), ("all", every))]
        tables = [Table("Hostile input", COLUMNS, tuple(rows))]
        if options.batch:
            save_good(Path(name) / "good.png")
            tables.append(batch(Path(name), ["good.png", *(file.name for file in files)]))
    publish(tables, options.json)
    if any(verdict.kind in FAULTS for verdict in every):
        sys.exit(1)


def save_good(path: Path) -> None:
    """A picture with nothing wrong with it."""
    path.write_bytes(variants()["rgb.png"])


if __name__ == "__main__":
    main()
