"""What the user pointed at -> pairs, matched by name and never by position."""

from __future__ import annotations

from piqa_cli.pairs.finding import FoundPairs, InputKind, PairQuery, Shard, detect, find_pairs

__all__ = ["FoundPairs", "InputKind", "PairQuery", "Shard", "detect", "find_pairs"]
