"""Tries an installed `piqa` from outside of its repository: what a user does first, on the package's own example.

    python scripts/smoke.py                       the `piqa` on the path
    python scripts/smoke.py --piqa /venv/bin/piqa that one
    python scripts/smoke.py --within              the piqa_cli of this very Python, in one process

Prints a line a command; ends with 1 at the first that does not do what it should.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Done:
    """How a command ended, and its standard output."""

    status: int
    out: str


Piqa = Callable[[Sequence[str]], Done]


def judged(done: Done) -> bool:
    """Whether one edited region and an overall score came out."""
    record = json.loads(done.out)
    return record["status"] == "ok" and len(record["regions"]) >= 1 and record["scores"]["overall"]["value"] is not None


def written(name: str) -> str:
    """A file of the current folder."""
    return Path(name).read_text("utf-8")


# (arguments, whether the result is right): EXAMPLES is the folder of the example pair, the current one is a scratch.
STEPS: tuple[tuple[tuple[str, ...], Callable[[Done], bool]], ...] = (
    (("--version",), lambda done: done.out.startswith("piqa ")),
    (("models", "verify", "compact"), lambda done: "compact" in done.out),
    (("models", "info", "compact", "--format", "json"), lambda done: json.loads(done.out)["licence"] == "Apache-2.0"),
    (("assess", "EXAMPLES/source.jpg", "EXAMPLES/edited.jpg", "--prompt", "Remove the spoon", "--overlay", "o.png"),
     lambda done: judged(done) and Path("o.png").stat().st_size > 10_000),
    (("batch", "pairs", "--output", "results.jsonl"), lambda _: judged(Done(0, written("results.jsonl")))),
    (("report", "results.jsonl", "--output", "report.html"), lambda _: "<script" in written("report.html")),
    (("schema",), lambda done: "$defs" in json.loads(done.out)),
    (("doctor",), lambda _: True),
)  # fmt: skip


def executable(path: str) -> Piqa:
    """Each command as a process."""

    def run(arguments: Sequence[str]) -> Done:
        done = subprocess.run([path, *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False)
        return Done(done.returncode, done.stdout)

    return run


def within(arguments: Sequence[str]) -> Done:
    """The entry point of the installed package, called in this process."""
    from piqa_cli.cli import main

    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    status: int | str | None = 0
    before, sys.argv = sys.argv, ["piqa", *arguments]
    try:
        with contextlib.redirect_stdout(out):
            main()
    except SystemExit as ended:
        status = ended.code
    finally:
        sys.argv = before
    out.flush()
    out.seek(0)
    return Done(int(status or 0), out.read())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--piqa", default="piqa", help="the executable (default: the one on the path)")
    parser.add_argument("--within", action="store_true", help="in this process")
    parser.add_argument(
        "--examples", type=Path, help="folder of the example pair (default: that of this Python's piqa_cli)"
    )
    given = parser.parse_args()
    piqa = within if given.within else executable(str(shutil.which(given.piqa)))
    examples = given.examples
    if examples is None:
        import piqa_cli

        examples = Path(piqa_cli.__file__).parent / "examples"
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for role in ("source", "edited"):
            Path("pairs", role).mkdir(parents=True)
            shutil.copy(examples / f"{role}.jpg", Path("pairs", role, "a.jpg"))
        for arguments, right in STEPS:
            done = piqa([word.replace("EXAMPLES", str(examples)) for word in arguments])
            good = done.status == 0 and right(done)
            print(f"{'ok    ' if good else 'WRONG '} piqa {' '.join(arguments)}", flush=True)
            if not good:
                sys.exit(f"it ended with {done.status} and wrote:\n{done.out}")
        os.chdir("/")


if __name__ == "__main__":
    main()
