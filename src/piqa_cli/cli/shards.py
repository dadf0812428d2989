"""`--shard I/N`: which part of the pairs this process assesses, and names of files that tell the parts apart."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from piqa_cli.cli.options import INPUT_PANEL, option
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import printable
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.pairs import Shard

PLACE = "{shard}"
"""What stands for the shard's number in the name of a file that is written."""
SHARD = option(
    INPUT_PANEL,
    "--shard",
    metavar="I/N",
    help_="Only every N-th pair, from the I-th on: 1/N to N/N. By default RANK and WORLD_SIZE decide, if both are set.",
)
_RANK, _WORLD = "RANK", "WORLD_SIZE"
_FORM = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


def choose_shard(run: Run, text: str | None, environ: Mapping[str, str] | None = None) -> Shard | None:
    """What `--shard` says, or else the environment that torchrun and its like give each process; None: all pairs.

    Args:
        run: told when the environment decides, and given what to add to the command that goes on.
        text: what `--shard` gave.
        environ: the environment; the process's own by default.

    Raises:
        UsageError: neither of the form I/N, or I is not one of 1 to N.
    """
    from piqa_cli.pairs import Shard

    if text is not None:
        form = _FORM.fullmatch(text.strip())
        number, count = (int(form[1]), int(form[2])) if form else (0, 0)
        if not 1 <= number <= count:
            raise UsageError(
                f"--shard: expected I/N with I from 1 to N, found '{printable(text)}'",
                hint="shards are counted from 1: --shard 1/4, 2/4, 3/4 and 4/4",
            )
        return Shard(number, count)
    environ = os.environ if environ is None else environ
    rank, world = environ.get(_RANK), environ.get(_WORLD)
    if not rank or not world:
        return None
    valid = all(re.fullmatch(r"\d{1,9}", value, re.ASCII) for value in (rank, world)) and int(rank) < int(world)
    if not valid:
        raise UsageError(
            f"the environment names no shard: {_RANK}={printable(rank)}, {_WORLD}={printable(world)}",
            expected=f"whole numbers with 0 <= {_RANK} < {_WORLD}",
            hint="give --shard I/N (--shard 1/1 takes all pairs), or unset them",
        )
    if int(world) == 1:
        return None
    shard = Shard(int(rank) + 1, int(world))
    run.note(f"shard {shard.number}/{shard.count}, by {_RANK}={rank} and {_WORLD}={world}; --shard 1/1 takes all pairs")
    run.implied = (f"--shard={shard.number}/{shard.count}",)
    return shard


def named_for(shard: Shard | None, option_name: str, path: str | None, *, alone: bool = True) -> str | None:
    """The path with its `{shard}` replaced by the shard's number, as many digits as the count has.

    Args:
        shard: which one; without one the path stays as it is.
        option_name: for the message.
        path: what the option gave.
        alone: the command line is this process's own. Not so where the environment made the shard: all processes have
            one command line, and would write one file.

    Raises:
        UsageError: the name would be that of every shard.
    """
    if path is None or path == "-" or shard is None:
        return path
    if PLACE in path:
        return path.replace(PLACE, f"{shard.number:0{len(str(shard.count))}}")
    if not alone and not _takes_all(path):
        stem, suffix = os.path.splitext(path)
        raise UsageError(
            f"{option_name}: all {shard.count} shards would write '{printable(path)}'",
            expected=f"a name with {PLACE} in it, which stands for the shard's number",
            found="none",
            hint=f"{option_name} {printable(stem)}-{PLACE}{printable(suffix)}; `piqa merge` joins the parts",
        )
    return path


def _takes_all(path: str) -> bool:
    """A device, as /dev/null, or a pipe."""
    return os.path.exists(path) and not os.path.isfile(path)
