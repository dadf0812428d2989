"""Outcomes -> table, JSON, JSONL, CSV, Parquet or JUnit XML, and back."""

from __future__ import annotations

from piqa_cli.writers.junit import JUnitWriter
from piqa_cli.writers.replacing import replacement
from piqa_cli.writers.sink import cannot_write
from piqa_cli.writers.tables import TableFormat, check_format, write_table
from piqa_cli.writers.writing import (
    FORMATS,
    Format,
    Writer,
    cannot_read,
    not_a_record,
    open_writer,
    parse_record,
    read_results,
    record_lines,
    to_json,
)

__all__ = [
    "FORMATS",
    "Format",
    "JUnitWriter",
    "TableFormat",
    "Writer",
    "cannot_read",
    "cannot_write",
    "check_format",
    "not_a_record",
    "open_writer",
    "parse_record",
    "read_results",
    "record_lines",
    "replacement",
    "to_json",
    "write_table",
]
