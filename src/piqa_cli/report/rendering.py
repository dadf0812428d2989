"""The page itself: the template with its style and script, which are allowed to run by their hashes alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from piqa_cli import __version__
from piqa_cli.report.content import legend, to_block
from piqa_cli.writers.terminal import visible


@dataclass(frozen=True, slots=True)
class PageHead:
    """What stands above the pairs, in words.

    Attributes:
        title: of the page.
        assessed, failed: how many pairs were and could not be.
        models: who judged, one line each.
        settings: (name, value) of the run, as far as they are known.
        codes: (error code, how often).
    """

    title: str
    assessed: int
    failed: int
    models: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    codes: tuple[tuple[str, int], ...] = ()


def render_page(head: PageHead, rows: Iterable[str], pictures: Iterable[str], picture_folder: str) -> str:
    """The HTML text, ASCII but for the head.

    Args:
        head: what stands above.
        rows: each pair as JSON, from `content.row`.
        pictures: what the images have as their source, by place.
        picture_folder: what stands before each of them, as a URL; "" for data URIs.
    """
    style, script = (_part(name) for name in ("page.css", "page.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    data = (
        f'{{"legend":{legend()},\n"folder":{to_block(picture_folder)},\n'
        f'"pictures":{to_block(list(pictures))},\n"rows":[\n' + ",\n".join(rows) + "\n]}"
    )
    return environment.from_string(_part("page.html")).render(
        head=head,
        title=visible(head.title),
        codes=[(visible(code), count) for code, count in head.codes],
        settings=[(visible(name), visible(value)) for name, value in head.settings],
        version=__version__,
        style=Markup(style),
        script=Markup(script),
        data=Markup(data),  # escaped by to_block
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _part(name: str) -> str:
    return files("piqa_cli.report").joinpath("page", name).read_text("utf-8")


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline element by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
