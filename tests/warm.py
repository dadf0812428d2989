"""`piqa` in processes that start at once: forked from one that has everything imported, with the stand-in model.

Real processes, which can really be killed; only the second of imports before each is saved.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

STAND_IN = str(Path(__file__).parent / "stand_in")


def context() -> ForkServerContext:
    """Where such processes come from."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(
        ["warm", "fakes", "piqa_cli.cli.app", "piqa_cli.pipeline", "piqa_cli.pairs", "filelock"]
    )
    return found


def start(where: ForkServerContext, arguments: Sequence[str], folder: Path, wishes: str = "") -> ForkServerProcess:
    """`piqa` with these arguments, in this folder, as a process of its own."""
    process = where.Process(target=_run, args=(list(arguments), str(folder), wishes), daemon=True)
    process.start()
    return process


def _run(arguments: list[str], folder: str, wishes: str) -> None:
    os.chdir(folder)
    os.environ["PIQA_STAND_IN"] = wishes
    sys.path.insert(0, STAND_IN)
    sys.modules.pop("sitecustomize", None)
    importlib.import_module("sitecustomize")  # puts the stand-in in the place of the models
    from piqa_cli.cli import main

    sys.argv = ["piqa", *arguments]
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as it runs
    main()
