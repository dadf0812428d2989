"""What Pillow says beside its results, through `warnings` and `logging`: collected per thread, never printed."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from PIL import Image


class Murmurs(logging.Handler):
    """Collects, per thread, what Pillow says through `warnings` and `logging` while a thread decodes.

    `warnings.catch_warnings` alone swaps process-wide state and is not safe where several threads decode:
    here the first thread in installs one hook, the last one out removes it, and the hook hands what comes
    from a thread that is not decoding to whoever handled it before.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._guard = threading.Lock()
        self._heard: dict[int, list[str]] = {}
        self._catcher = warnings.catch_warnings()
        self._show_elsewhere = warnings.showwarning

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one of Pillow's log records."""
        heard = self._heard.get(threading.get_ident())
        if heard is not None:
            heard.append(record.getMessage())

    def _show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        heard = self._heard.get(threading.get_ident())
        if heard is None:
            self._show_elsewhere(message, category, filename, lineno, file, line)
        elif not issubclass(category, Image.DecompressionBombWarning):  # max_pixels decides on size, nothing else
            heard.append(" ".join(str(message).split()))

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        """Within the block, this thread's murmurs end up in the list; they are not printed."""
        me = threading.get_ident()
        with self._guard:
            if not self._heard:
                self._catcher = warnings.catch_warnings()
                self._catcher.__enter__()
                # Without "always" a message would be heard only the first time, and records would depend on order.
                warnings.filterwarnings("always", module=r"PIL\.")
                self._show_elsewhere = warnings.showwarning
                warnings.showwarning = self._show
                logging.getLogger("PIL").addHandler(self)
            mine = self._heard[me] = []
        try:
            yield mine
        finally:
            with self._guard:
                del self._heard[me]
                if not self._heard:
                    logging.getLogger("PIL").removeHandler(self)
                    self._catcher.__exit__(None, None, None)


MURMURS = Murmurs()  # the one piece of state here, because Python's warnings are process-wide as well
