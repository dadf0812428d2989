"""Outcomes -> table, JSON, JSONL or CSV, and back."""

from __future__ import annotations

from piqa_cli.writers.writing import FORMATS, Format, Writer, open_writer, read_results, to_json

__all__ = ["FORMATS", "Format", "Writer", "open_writer", "read_results", "to_json"]
