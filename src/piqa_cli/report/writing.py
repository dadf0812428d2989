"""Outcomes in, one by one, and the report at the end: pictures are made in threads meanwhile, in bounded memory."""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import quote

from piqa_cli.errors import OutputError
from piqa_cli.images import DEFAULT_POLICY, ImagePolicy, LoadedPair
from piqa_cli.report.content import model_words, row
from piqa_cli.report.crew import Crew, Task
from piqa_cli.report.pictures import PictureLimits, draw_preview
from piqa_cli.report.rendering import PageHead, render_page
from piqa_cli.report.store import (
    EmbeddedPictures,
    PictureFolder,
    PictureStore,
    cannot_write,
    remove_pictures,
    write_whole,
)
from piqa_cli.schema import Assessment, Outcome

Images = Literal["auto", "embed", "folder", "none"]
IMAGES: Final[tuple[Images, ...]] = ("auto", "embed", "folder", "none")
EMBED_LIMIT = 100
"""Pairs up to which the pictures are within the page."""
EMBEDDED = PictureLimits(side=960, size=200_000)
BESIDE = PictureLimits(side=640, size=100_000)


@dataclass(frozen=True, slots=True)
class _Made:
    """A pair as it stands in the page, and how many of its pictures are missing."""

    json: str
    missing: tuple[str, ...]


class ReportWriter:
    """Writes a report. A context manager; leaving it without `save` leaves nothing behind.

    At most about three times `workers` pairs are held with their pictures; of the others only their JSON.

    Args:
        path: of the page, `F.html`; pictures of a large run are beside it in `F_files`.
        expected: how many outcomes will come, None if nobody knows: decides what `auto` is.
        title: of the page.
        images: embed (within the page), folder (beside it), none, or auto: within it up to `EMBED_LIMIT` pairs.
        root: the folder that the records' relative paths are relative to; the working directory by default.
        policy: how pictures are read.
        workers: threads that read them.
        settings: (name, value) of the run, to be shown.
    """

    def __init__(
        self,
        path: str,
        *,
        expected: int | None,
        title: str,
        images: Images = "auto",
        root: str | None = None,
        policy: ImagePolicy = DEFAULT_POLICY,
        workers: int = 2,
        settings: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.path = path
        if images == "auto":
            images = "folder" if expected is None or expected > EMBED_LIMIT else "embed"
        self.images = images
        self.missing: list[str] = []
        """What could not be shown, a sentence for each picture."""
        self._folder = os.path.splitext(path)[0] + "_files"
        self._store: PictureStore = PictureFolder(self._folder) if images == "folder" else EmbeddedPictures()
        self._limits = {"embed": EMBEDDED, "folder": BESIDE}.get(images)
        self._title = title
        self._root = root
        self._policy = policy
        self._settings = settings
        self._crew: Crew[_Made] = Crew(workers, "piqa-report")
        self._most_pending = 3 * workers
        self._pending: deque[Task[_Made]] = deque()
        self._rows: list[str] = []
        self._models: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._error: OutputError | None = None
        self._saved = False

    def add(self, outcome: Outcome, loaded: LoadedPair | None = None) -> None:
        """Takes the next outcome. What goes wrong with writing its pictures is raised by `save`.

        Args:
            outcome: the record.
            loaded: its pictures, if they are in memory.
        """
        if isinstance(outcome, Assessment):
            self._models[model_words(outcome.model)] += 1
        else:
            self._codes[outcome.error.code] += 1
        if self._error is None:  # else there will be no report
            self._pending.append(self._crew.give(partial(self._make, outcome, loaded)))
        while len(self._pending) >= self._most_pending:
            self._collect()

    def save(self) -> None:
        """Writes the page, over one that is there; pictures that only the old one had are removed.

        Raises:
            OutputError: the page or a picture cannot be written; an old page is as it was.
        """
        while self._pending:
            self._collect()
        if self._error is not None:
            raise self._error
        beside = isinstance(self._store, PictureFolder)
        page = render_page(
            self._head(), self._rows, self._store.sources, quote(os.path.basename(self._folder)) + "/" if beside else ""
        )
        try:
            write_whole(self.path, page.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._saved = True
        remove_pictures(self._folder, but=set(self._store.sources))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._crew.close()
        if not self._saved and isinstance(self._store, PictureFolder):
            self._store.discard()

    def _make(self, outcome: Outcome, loaded: LoadedPair | None) -> _Made:
        preview = draw_preview(outcome, self._limits, root=self._root, policy=self._policy, loaded=loaded)
        source, edited = (
            None if picture is None else self._store.put(picture) for picture in (preview.source, preview.edited)
        )
        return _Made(row(outcome, preview, source, edited), preview.missing)

    def _collect(self) -> None:
        """Waits for the oldest pair."""
        try:
            made = self._pending.popleft().result()
        except OutputError as error:
            self._error = self._error or error
            return
        self._rows.append(made.json)
        self.missing.extend(made.missing)

    def _head(self) -> PageHead:
        return PageHead(
            title=self._title,
            assessed=self._models.total(),
            failed=self._codes.total(),
            models=tuple(
                f"{words} ({count})" if len(self._models) > 1 else words for words, count in self._models.items()
            ),
            settings=self._settings,
            codes=tuple(sorted(self._codes.items())),
        )
