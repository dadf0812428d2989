"""How the readers stand up to hostile input: crashes, hangs, wrong answers and too much memory, which should all be 0.

    python -m benchmarks.hostile [--cases 10000] [--seed 0] [--batch]

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

from benchmarks.common import PIQA
from fuzz.checks import WrongAnswerError, same
from fuzz.files import HostileFile, hostile_files
from fuzz.mutations import mutants
from fuzz.pictures import checksums_hold, compare
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


def line(name: str, verdicts: Sequence[Verdict]) -> str:
    """A row of the table."""
    kinds = Counter(verdict.kind for verdict in verdicts)
    counts = [kinds[kind] for kind in ("accepted", "refused", *FAULTS)]
    slowest = max(verdict.seconds for verdict in verdicts)
    peak = max(verdict.peak for verdict in verdicts) >> 20
    return f"| {' | '.join(map(str, (name, len(verdicts), *counts)))} | {slowest:.1f} | {peak} |"


def gather(name: str, judged: Iterator[tuple[str, Verdict]]) -> list[Verdict]:
    """All verdicts; faults are printed, and the row."""
    verdicts = []
    for case, verdict in judged:
        verdicts.append(verdict)
        if verdict.kind in FAULTS:
            print(f"{verdict.kind} in {name}, case {case!r}:\n{verdict.detail}", file=sys.stderr)
    print(line(name, verdicts), flush=True)
    return verdicts


def batch(folder: Path, names: Sequence[str]) -> int:
    """All files as the edited images of one manifest through `piqa batch`; gives the number of faults."""
    rows = [{"id": str(number), "source": names[0], "edited": name} for number, name in enumerate(names)]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    command = [PIQA, "batch", str(manifest), "--format", "jsonl", "--quiet"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=3600, check=False)
    records = [json.loads(text) for text in done.stdout.splitlines()]
    failed = Counter(record["error"]["code"] for record in records if record["status"] == "error")
    right = [record["id"] for record in records] == [row["id"] for row in rows] and done.returncode == 6
    codes = ", ".join(f"{code} {count}" for code, count in sorted(failed.items()))
    print(f"\npiqa batch of {len(rows)} pairs: status {done.returncode}, {len(records)} records, {codes}")
    return failed["E_INTERNAL"] + (not right)


def main(arguments: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="cases made of seeds, over all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", action="store_true", help="also the files through `piqa batch`")
    options = parser.parse_args(arguments)
    functions: dict[str, Callable[[bytes], bool]] = {target.name: target.run for target in TARGETS}
    parts = sum(target.share for target in TARGETS)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    every: list[Verdict] = []
    with tempfile.TemporaryDirectory() as name, Worker(functions | {"files": read_file}) as worker:
        files = hostile_files()
        every += gather("hostile files", judge_files(Path(name), files, worker))
        for target in TARGETS:
            count = -(-options.cases * target.share // parts)
            every += gather(target.name, judge_cases(target, count, options.seed, worker))
        print(line("all", every))
        faults = sum(verdict.kind in FAULTS for verdict in every)
        if options.batch:
            (Path(name) / "good.png").write_bytes(next(file.make for file in files if "disguised-rgb.png" in file.name))  # type: ignore[arg-type]
            faults += batch(Path(name), ["good.png", *(file.name for file in files)])
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
