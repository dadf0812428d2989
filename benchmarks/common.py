"""What the benchmarks share: the data folder, tables, interleaved timing."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from piqa_cli.synthesis.photos import split_of

DATA = Path(__file__).parents[2] / "shared" / "data"
PIQA = str(Path(sys.executable).with_name("piqa"))


@dataclass(frozen=True, slots=True)
class RealPair:
    """A row of `pairs/manifest.jsonl`: a real AI edit. Paths are absolute."""

    id: str
    source: Path
    edited: Path
    mask: Path | None
    prompt: str | None
    scope: str


Row = tuple[str | float | int | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table to print: a heading, column names, and rows of text and numbers; NaN is printed like None."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def markdown(self) -> str:
        """GitHub's Markdown; numbers with four significant digits."""
        lines = [f"### {self.title}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line([_cell(value) for value in row]) for row in self.rows]
        return "\n".join([*lines, "", self.note] if self.note else lines) + "\n"


def _missing(value: str | float | None) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: str | float | None) -> str:
    if _missing(value):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _without_nan(row: Row) -> Row:
    return tuple(None if _missing(value) else value for value in row)  # JSON has no NaN


def parser(description: str | None, *, data: bool = True) -> argparse.ArgumentParser:
    """A parser with the options every benchmark has."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        found.add_argument(
            "--data", type=Path, default=DATA, help="folder with pairs/ and photos/ (default: %(default)s)"
        )
    found.add_argument("--model", default="compact", help="model to measure (default: %(default)s)")
    found.add_argument("--dtype", default="auto", help="number format it computes in (default: %(default)s)")
    found.add_argument("--json", type=Path, help="also write the tables to this file as JSON")
    return found


def publish(tables: Sequence[Table], path: Path | None) -> None:
    """Print the tables; write them to `path` as JSON, one object a table, if one was given."""
    for table in tables:
        print(table.markdown(), flush=True)
    if path is not None:
        payload = [
            {"title": t.title, "note": t.note, "columns": t.columns, "rows": [_without_nan(row) for row in t.rows]}
            for t in tables
        ]
        path.write_text(json.dumps({"machine": platform.platform(), "tables": payload}, indent=2) + "\n", "utf-8")


def real_pairs(data: Path) -> list[RealPair]:
    """The real edits listed in `data/pairs/manifest.jsonl`.

    Raises:
        SystemExit: the folder is not there.
    """
    folder = data / "pairs"
    rows = _manifest(folder)
    return [
        RealPair(
            id=str(row["id"]),
            source=folder / str(row["source"]),
            edited=folder / str(row["edited"]),
            mask=folder / str(row["mask"]) if row.get("mask") else None,
            prompt=str(row["prompt"]) if row.get("prompt") else None,
            scope=str(row["scope"]),
        )
        for row in rows
    ]


def held_out_photos(data: Path, count: int) -> list[Path]:
    """Photos of `data/photos` that training keeps for the test, evenly spread over the manifest.

    Raises:
        SystemExit: the folder is not there.
    """
    names = [str(row["file"]) for row in _manifest(data / "photos")]
    kept = [name for name in names if split_of(name) == "test"]
    step = max(1, len(kept) // count)
    return [data / "photos" / name for name in kept[::step][:count]]


def _manifest(folder: Path) -> list[dict[str, object]]:
    path = folder / "manifest.jsonl"
    if not path.is_file():
        raise SystemExit(f"{path}: expected the list of the benchmark's images, found no such file; give --data FOLDER")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def fingerprint(path: Path) -> str:
    """The same text for the same bytes: what tells that two pairs share a source."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def interleaved(tasks: Sequence[tuple[str, Callable[[], object]]], rounds: int, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each task, one run of each in turn, so that a slow phase of the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name, _ in tasks}
    for number in range(warmup + rounds):
        for name, task in tasks:
            start = time.perf_counter()
            task()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def quietly(command: Sequence[str]) -> None:
    """Run a command, its output thrown away; SystemExit with its last words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
