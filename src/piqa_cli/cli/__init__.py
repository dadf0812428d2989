"""The `piqa` command: parse, call, print, exit. Nothing here computes."""

from __future__ import annotations

import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Runs the command line; an interrupt before or after any command ends as quietly as one during it."""
    try:
        from piqa_cli.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
