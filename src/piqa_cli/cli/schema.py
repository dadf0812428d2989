"""`piqa schema`: what the output records look like."""

from __future__ import annotations

from piqa_cli.cli.options import command
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import emit

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""What pydantic writes."""


@command()
def schema(run: Run) -> None:
    """Print the JSON Schema of the records that assess and batch write."""
    import json

    from pydantic import TypeAdapter

    from piqa_cli.schema import SCHEMA_VERSION, Outcome

    head = {"$schema": DIALECT, "title": f"piqa record, version {SCHEMA_VERSION}"}
    emit(json.dumps(head | TypeAdapter(Outcome).json_schema(mode="serialization"), indent=2) + "\n")
