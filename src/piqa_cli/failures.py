"""One error of the tree as the record of the pair it stopped."""

from __future__ import annotations

from piqa_cli.errors import PiqaError
from piqa_cli.schema import ErrorInfo, Failure, Pair


def refuse(pair: Pair, error: PiqaError, key: str | None = None) -> Failure:
    """The failure record of a pair; a path that the row or folder does not have is "" in `pair`."""
    info = ErrorInfo(
        code=error.code,
        message=error.message,
        file=error.file,
        expected=error.expected,
        found=error.found,
        hint=error.hint,
    )
    return Failure(id=pair.id, key=key, pair=pair, error=info)
