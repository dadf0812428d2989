"""A drawing of every assessed pair in a folder: pictures are read again, in threads, in bounded memory."""

from __future__ import annotations

import os
import re
from collections import deque
from functools import partial
from hashlib import blake2b
from types import TracebackType
from typing import Self

from piqa_cli.errors import InputError, OutputError, UsageError
from piqa_cli.images import DEFAULT_POLICY, ImagePolicy, load_pair
from piqa_cli.overlay import save_overlay
from piqa_cli.report.crew import Crew, Task
from piqa_cli.schema import Assessment, Outcome, Pair

SUFFIX = ".png"
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 60  # characters of a name, each of at most 4 bytes; file systems take 255
_DIGEST = 4  # bytes of the hash that tells names apart


class OverlayFolder:
    """Draws outcomes as they come. A context manager; `finish` waits for what is under way.

    Args:
        path: the folder; made if it is missing.
        policy: how pictures are read.
        workers: threads that draw.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, path: str, *, policy: ImagePolicy = DEFAULT_POLICY, workers: int = 2) -> None:
        self.path = path
        self.missing: list[str] = []
        """What could not be drawn, a sentence for each pair."""
        self.drawn = 0
        self._policy = policy
        self._crew: Crew[str | None] = Crew(workers, "piqa-overlay")
        self._most_pending = 3 * workers
        self._pending: deque[Task[str | None]] = deque()
        self._names: dict[str, str] = {}
        self._error: OutputError | None = None
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the folder cannot be made: {error.strerror}", file=path, hint="choose another --overlay-dir"
            ) from error

    def add(self, outcome: Outcome, *, kept: bool = False) -> None:
        """Takes the next outcome. What goes wrong with writing is raised by `finish`.

        Args:
            outcome: the record; a failure is passed over.
            kept: it is an earlier run's: a drawing that is there stays.
        """
        if not isinstance(outcome, Assessment) or self._error is not None:
            return
        path = os.path.join(self.path, self._name(outcome.id))
        if kept and os.path.exists(path):
            return
        self._pending.append(self._crew.give(partial(self._draw, outcome, path)))
        while len(self._pending) >= self._most_pending:
            self._collect()

    def finish(self) -> None:
        """Waits until all is drawn.

        Raises:
            OutputError: a drawing cannot be written.
        """
        while self._pending:
            self._collect()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._crew.close()

    def _name(self, identifier: str) -> str:
        """A file's name for a pair, its id as far as that can be a name; no two pairs of a run have the same.

        Compared without case, as some file systems do.
        """
        safe = _UNSAFE.sub("_", identifier)[-_LONGEST:].lstrip(".-") or "pair"
        if safe == identifier and self._names.setdefault(safe.casefold(), identifier) == identifier:
            return safe + SUFFIX
        digest = blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).hexdigest()
        return f"{safe}-{digest}{SUFFIX}"

    def _draw(self, outcome: Assessment, path: str) -> str | None:
        """Draws a pair; gives why it cannot be, if so."""
        files = outcome.pair
        pair = Pair(id=outcome.id, source=files.source.path, edited=files.edited.path)
        try:
            loaded = load_pair(pair, self._policy)
        except (InputError, UsageError) as error:
            return f"{outcome.id}: {error.message}"
        found = [(info.width, info.height) for info in (loaded.info.source, loaded.info.edited)]
        if found != [(info.width, info.height) for info in (files.source, files.edited)]:
            return f"{outcome.id}: a file has changed since it was judged"
        save_overlay(loaded, outcome, path)
        return None

    def _collect(self) -> None:
        """Waits for the oldest pair."""
        try:
            problem = self._pending.popleft().result()
        except OutputError as error:
            self._error = self._error or error
            return
        if problem is None:
            self.drawn += 1
        else:
            self.missing.append(problem)
