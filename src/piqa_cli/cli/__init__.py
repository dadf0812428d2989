"""The `piqa` command: parse, call, print, exit. Nothing here computes."""

from __future__ import annotations

from piqa_cli.cli.app import main

__all__ = ["main"]
