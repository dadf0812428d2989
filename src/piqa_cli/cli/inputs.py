"""The pairs that a batch is about: sparing them from the output, and listing them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from piqa_cli.cli.options import INPUT_PANEL, option
from piqa_cli.cli.run import INPUT, SOME_FAILED, Run
from piqa_cli.cli.streams import emit, printable
from piqa_cli.cli.summary import plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.pairs import PairQuery
    from piqa_cli.schema import Failure


ROOT: Any = option(
    INPUT_PANEL, "--root", metavar="DIR", help_="Read no image that is not under DIR, wherever paths and links lead."
)


def check_root(root: str | None) -> None:
    """Refuses `--root` before any work is done.

    Raises:
        UsageError: there is no such folder.
    """
    if root is not None and not os.path.isdir(root):
        raise UsageError(f"--root: there is no folder '{printable(root)}'", file=root)


def spare_inputs(query: PairQuery, output: str | None) -> None:
    """Refuses an output that is one of the pairs' files. Only an output that exists can be one.

    Raises:
        UsageError: as said.
        InputError: the input cannot be read.
    """
    if output is None or output == "-" or query.stdin is not None or not os.path.isfile(output):
        return
    from piqa_cli.pairs import find_pairs
    from piqa_cli.schema import Pair

    there = os.stat(output)
    for item in find_pairs(query):
        paths = (item.source, item.edited, item.mask) if isinstance(item, Pair) else ()
        for path in paths:
            if path and _is_file(path, there):
                raise UsageError(
                    f"--output: '{printable(output)}' is also an input and would be overwritten", hint="choose another"
                )


def list_pairs(run: Run, query: PairQuery) -> int:
    """Writes the pairs to standard output as JSON lines: a manifest that `piqa batch -` takes.

    Returns:
        The exit status: of no failures, of some, or of no pair at all. Failures are told on standard error.

    Raises:
        InputError: the input cannot be read.
    """
    from piqa_cli.pairs import find_pairs
    from piqa_cli.schema import Pair

    count = bad = 0
    found = find_pairs(query)
    for item in found:
        if isinstance(item, Pair):
            count += 1
            emit(json.dumps(item.model_dump(exclude_none=True)) + "\n")
        else:
            bad += 1
            run.note(failure_line(item))
    skipped = f", {plural(len(found.skipped), 'file')} passed over" if found.skipped else ""
    run.note(f"{plural(count, 'pair')} to assess, {bad} that cannot be{skipped}; nothing was assessed (--dry-run)")
    if count == bad == 0 and query.shard is not None:
        return 0  # a shard of few pairs may well have none
    if count == 0:
        return INPUT
    return SOME_FAILED if bad else 0


def failure_line(failure: Failure) -> str:
    """One line on a pair that could not be assessed."""
    error = failure.error
    named = error.file and error.file != "-" and error.file not in error.message
    line = f"{printable(str(error.file))}: " if named else ""
    line += printable(error.message)
    for label, text in (("expected", error.expected), ("found", error.found)):
        if text and text not in error.message:
            line += f"; {label} {printable(text)}"
    return f"{printable(failure.id)}: {line} [{error.code}]"


def _is_file(path: str, there: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), there)
    except (OSError, ValueError):
        return False
