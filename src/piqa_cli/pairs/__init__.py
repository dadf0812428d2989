"""What the user pointed at -> pairs, matched by name and never by position."""

from __future__ import annotations

from piqa_cli.pairs.confinement import confine
from piqa_cli.pairs.finding import FoundPairs, InputKind, PairQuery, Shard, detect, find_pairs
from piqa_cli.pairs.requests import Request, read_requests

__all__ = [
    "FoundPairs",
    "InputKind",
    "PairQuery",
    "Request",
    "Shard",
    "confine",
    "detect",
    "find_pairs",
    "read_requests",
]
