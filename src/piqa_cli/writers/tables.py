"""Whole tables from finished records: CSV or Parquet, in a file that appears in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO, Literal

from piqa_cli.errors import UsageError
from piqa_cli.schema import Outcome
from piqa_cli.writers.columns import COLUMNS, Cell, cells, csv_header, csv_row
from piqa_cli.writers.replacing import replacement

TableFormat = Literal["csv", "parquet"]
_ROWS_AT_ONCE = 4096  # of a Parquet file's row groups: what is held in memory


def check_format(form: TableFormat) -> None:
    """Before any work is done: whether the format can be written here.

    Raises:
        UsageError: it needs a package that is not installed.
    """
    if form == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "--format parquet needs pyarrow",
                hint="pip install 'piqa-cli[parquet]', or write .csv or .jsonl",
            ) from error


def write_table(records: Iterable[Outcome], path: str, form: TableFormat) -> None:
    """Writes one row a record, always the same columns; `path` changes only when all of it is written.

    Raises:
        OutputError: it cannot be written.
        UsageError: as `check_format`.
    """
    check_format(form)
    with replacement(path) as file:
        if form == "csv":
            _write_csv(records, file)
        else:
            _write_parquet(records, file)


def _write_csv(records: Iterable[Outcome], file: BinaryIO) -> None:
    file.write(csv_header().encode())
    for record in records:
        file.write(csv_row(record).encode("utf-8", "backslashreplace"))


def _write_parquet(records: Iterable[Outcome], file: BinaryIO) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"text": pa.string(), "number": pa.float64(), "count": pa.int64(), "truth": pa.bool_()}
    schema = pa.schema([(column.name, types[column.kind]) for column in COLUMNS])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _groups(map(cells, records)):
            columns = zip(*rows, strict=True)
            arrays = [pa.array(map(_arrow, column), field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _groups(rows: Iterator[tuple[Cell, ...]]) -> Iterator[list[tuple[Cell, ...]]]:
    while group := list(islice(rows, _ROWS_AT_ONCE)):
        yield group


def _arrow(value: Cell) -> Any:
    r"""Arrow's text is UTF-8: bytes of a path that are not are spelt out, as \udce9, as in CSV."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
