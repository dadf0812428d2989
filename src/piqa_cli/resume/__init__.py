"""Going on where a batch stopped: what decides a record, which records there are, and the file they are appended to."""

from __future__ import annotations

from piqa_cli.resume.finished import FinishedRows
from piqa_cli.resume.hashes import SUFFIX as HASHES
from piqa_cli.resume.hashes import FileHashes
from piqa_cli.resume.journal import SYNC_SECONDS, Journal
from piqa_cli.resume.key import Recipe
from piqa_cli.resume.lock import only_writer
from piqa_cli.resume.memory import Known, Memory
from piqa_cli.resume.merging import MergedRows, Place

__all__ = [
    "HASHES",
    "SYNC_SECONDS",
    "FileHashes",
    "FinishedRows",
    "Journal",
    "Known",
    "Memory",
    "MergedRows",
    "Place",
    "Recipe",
    "only_writer",
]
