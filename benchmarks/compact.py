"""Everything that the model card quotes, in one run: one JSON file with all figures, one Markdown file to read.

    python -m benchmarks.compact --data ../shared/data [--model FOLDER] [--skip speed ...] [--cache FILE.npz]

Each part is one of the other programs, run in this process with its own defaults; their pages of help say what they
measure. Both files are written anew after every part, so that an interrupted run leaves what it had. Exit status 1 if
a part failed, or found that records differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import common
from piqa_cli import open_assessor
from piqa_cli.schema import ModelInfo


@dataclass(frozen=True, slots=True)
class Part:
    """A program of this folder: its heading, whether it takes `--data`, and its arguments for a quick trial."""

    name: str
    heading: str
    data: bool = True
    quick: tuple[str, ...] = ()


PARTS = (
    Part("grounding", "Where was edited, and false alarms", quick=("--pairs", "2", "--photos", "2")),
    Part(
        "synthetic",
        "Synthetic edits of held-out photos",
        quick=("--per-family", "1", "--others", "2", "--pairs", "4", "--audit", "1", "--rated", "4", "--real", "4"),
    ),
    Part("scores", "Scores against ratings", quick=("--pairs", "8", "--edits", "0")),
    Part("consistency", "The same record every time", quick=("--pairs", "4")),
    Part("speed", "Time", data=False, quick=("--rounds", "1", "--folder-pairs", "4")),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a part printed: its tables, the seconds it took, and what went wrong."""

    part: Part
    arguments: tuple[str, ...]
    tables: tuple[common.Table, ...]
    seconds: float
    error: str | None = None


@contextlib.contextmanager
def _command_line(words: Sequence[str]) -> Iterator[None]:
    """The programs read their options from the command line."""
    kept = sys.argv
    sys.argv = list(words)
    try:
        yield
    finally:
        sys.argv = kept


def run_part(part: Part, arguments: Sequence[str], program: Callable[[], None]) -> Report:
    """Runs a program's `main` to its end; one that gives up leaves its reason in the report."""
    start, error = time.perf_counter(), None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tables.json"
        with _command_line([f"benchmarks.{part.name}", *arguments, "--json", str(path)]):
            try:
                program()
            except SystemExit as end:
                error = None if end.code in (None, 0) else f"gave up: {end.code}"
            except Exception as fault:  # noqa: BLE001 - an hour of figures must not be lost with the part that broke
                error = f"{type(fault).__name__}: {fault}"
        tables = read_tables(path) if path.is_file() else ()
    return Report(part, tuple(arguments), tables, time.perf_counter() - start, error)


def read_tables(path: Path) -> tuple[common.Table, ...]:
    """The tables that `common.publish` wrote."""
    return tuple(
        common.Table(t["title"], tuple(t["columns"]), tuple(tuple(row) for row in t["rows"]), t["note"])
        for t in json.loads(path.read_text("utf-8"))["tables"]
    )


def program_of(name: str) -> Callable[[], None]:
    """A program that is imported when its turn comes, so that one that cannot be is only missing itself."""

    def program() -> None:
        main: Callable[[], None] = import_module(f"benchmarks.{name}").main
        main()

    return program


def as_json(model: ModelInfo, reports: Sequence[Report]) -> dict[str, Any]:
    """All figures, with what they were measured on."""
    return {
        "model": model.model_dump(),
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "parts": {
            report.part.name: {
                "arguments": report.arguments,
                "seconds": round(report.seconds, 1),
                "error": report.error,
                "tables": [
                    {"title": t.title, "note": t.note, "columns": t.columns, "rows": t.rows} for t in report.tables
                ],
            }
            for report in reports
        },
    }


def as_markdown(described: dict[str, Any], reports: Sequence[Report]) -> str:
    """The same to read."""
    model, machine = described["model"], described["machine"]
    lines = [f"# Figures of {model['name']} {model['version']}", ""]
    lines += [f"Weights `{model['weights_sha256']}`; {machine['cores']} cores, {machine['platform']}.", ""]
    for report in reports:
        command = " ".join(["python -m", f"benchmarks.{report.part.name}", *report.arguments])
        lines += [f"## {report.part.heading}", "", f"`{command}`, {report.seconds:.0f} s", ""]
        lines += [f"**{report.error}**", ""] if report.error else []
        lines += [table.markdown() for table in report.tables]
    return "\n".join(lines)


def arguments_of(part: Part, data: Path, model: str, *, dtype: str, quick: bool, cache: Path | None) -> list[str]:
    """The command line of a part."""
    arguments = [
        "--model",
        model,
        *(["--dtype", dtype] if dtype != "auto" else []),
        *(["--data", str(data)] if part.data else []),
        *(part.quick if quick else ()),
    ]
    return arguments + (["--cache", str(cache)] if part.name == "scores" and cache is not None else [])


def main() -> None:
    """Run the parts, write both files."""
    names = tuple(part.name for part in PARTS)
    parser = common.parser(__doc__)
    parser.set_defaults(json=Path("runs/figures.json"))
    parser.add_argument("--markdown", type=Path, default=Path("runs/figures.md"), help="(default: %(default)s)")
    parser.add_argument("--skip", nargs="+", choices=names, default=(), help="leave out these parts")
    parser.add_argument("--cache", type=Path, help="file that keeps the hand features of `scores`, FILE.npz")
    parser.add_argument("--quick", action="store_true", help="a few samples each, to see that everything runs")
    options = parser.parse_args()
    for path in (options.json, options.markdown):
        path.parent.mkdir(parents=True, exist_ok=True)
    model = open_assessor(options.model, dtype=options.dtype).info  # a model that cannot be had is told of at once
    reports: list[Report] = []
    for part in PARTS:
        if part.name in options.skip:
            continue
        arguments = arguments_of(
            part, options.data, options.model, dtype=options.dtype, quick=options.quick, cache=options.cache
        )
        print(f"## {part.heading}\n", flush=True)
        reports.append(run_part(part, arguments, program_of(part.name)))
        described = as_json(model, reports)
        options.json.write_text(json.dumps(described, indent=2) + "\n", "utf-8")
        options.markdown.write_text(as_markdown(described, reports), "utf-8")
    failed = [f"{report.part.name}: {report.error}" for report in reports if report.error]
    print(f"written: {options.json}, {options.markdown}", *failed, sep="\n", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
