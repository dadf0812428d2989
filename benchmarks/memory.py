"""Peak memory of a long batch against a short one: it must not grow with the number of pairs.

    python -m benchmarks.memory [--pairs 50 1000] [--side 512]

Small pictures make a long batch possible: `--pairs 1000 100000 --side 64`. Each batch is a `piqa batch` process of
its own; the peak is read from the kernel. Linux and macOS only.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import common, pictures

DIFFERENT = 20  # pictures, listed over and over


def peak_megabytes(folder: Path, model: str, count: int, side: int) -> float:
    """Peak resident memory in MiB of a `piqa batch` over `count` pairs."""
    pairs = [pictures.write_pair(folder, f"{i:02}", (side, side), seed=i) for i in range(DIFFERENT)]
    manifest = folder / f"{count}.csv"
    with manifest.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("id", "source", "edited", "prompt"))
        for i in range(count):
            pair = pairs[i % DIFFERENT]
            writer.writerow((i, pair.source, pair.edited, pair.prompt))
    command = [common.PIQA, "batch", str(manifest), "--model", model, "--output", f"{manifest}.jsonl"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}\n{said[-2000:]}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20


def main() -> None:
    """Print the peak of both batches."""
    parser = common.parser(__doc__, data=False)
    parser.add_argument("--pairs", type=int, nargs=2, default=(50, 1000), help="short, long (default: 50 1000)")
    parser.add_argument("--side", type=int, default=512, help="of the pictures, in pixels (default: 512)")
    options = parser.parse_args()
    few, many = options.pairs
    with tempfile.TemporaryDirectory() as folder:
        short = peak_megabytes(Path(folder), options.model, few, options.side)
        long = peak_megabytes(Path(folder), options.model, many, options.side)
    rows: tuple[common.Row, ...] = ((f"{few} pairs", short, 1.0, None), (f"{many} pairs", long, long / short, 1.1))
    columns = ("batch", "peak memory, MiB", "ratio", "aim: at most")
    common.publish([common.Table(f"Peak memory of a batch of {options.side} px pairs", columns, rows)], options.json)


if __name__ == "__main__":
    main()
