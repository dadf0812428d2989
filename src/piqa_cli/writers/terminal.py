"""The table format: what a person reads. Text from files and prompts is never markup and never raw.

Imported only when a table is asked for.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from piqa_cli.regions import place
from piqa_cli.schema import Assessment, CrossCheck, Dimension, Failure, Kind, Outcome, Score
from piqa_cli.writers.sink import Stream

_KINDS: Final[dict[Kind, tuple[str, str]]] = {  # for the detailed view, and for one line per pair
    Kind.LOCAL: ("local edit", "local"),
    Kind.GLOBAL: ("change of the whole picture", "global"),
    Kind.NONE: ("no change", "none"),
    Kind.DIFFERENT: ("a different picture", "differs"),
}
_NAMES: Final[dict[Dimension, tuple[str, str, str]]] = {  # and as headings of a wide and of a narrow terminal
    Dimension.OVERALL: ("overall", "overall", "over"),
    Dimension.COMPLETION: ("prompt completion", "prompt", "done"),
    Dimension.HARMONY: ("harmony", "harmony", "harm"),
    Dimension.NATURALNESS: ("local naturalness", "natural", "natu"),
    Dimension.PRESERVATION: ("preservation", "preserved", "pres"),
}
_STYLES: Final[tuple[str, ...]] = ("red", "yellow", "green")  # lower, middle and upper third of a scale
_SEVERITY_STYLES: Final[dict[str, str]] = {"slight": "dim", "moderate": "yellow", "severe": "red"}
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_BARS = (8, 24)  # columns of a bar: fewer would show nothing, more nothing more
_FULL_NAMES = 50  # columns from which a pair's scores have their names in full
_CONFIDENCE = 56  # from which the confidence of regions is shown
_SHOWN_REGIONS = 8
_KIND = 8
_KINDS_FROM = 44  # columns from which a batch tells the kind of change
_WIDE = 76  # from which it has its headings in full
_BARS_FROM = 104  # and from which it draws the overall score's interval
_BATCH_BAR = ("overall, 80 % interval", 22)


def open_console(stream: Stream, width: int | None = None) -> tuple[Console, str]:
    """A console that knows the stream's width, colours and encoding, and the encoding to write with."""
    text = getattr(stream, "encoding", None) is not None
    standard = sys.stdout if getattr(sys.stdout, "buffer", None) is stream else None
    file = stream if text else standard
    width = width or _dumb_width(file)
    height = 25 if width else None  # Rich heeds a dumb terminal's width only together with a height
    console = Console(file=file or _Plain(), width=width, height=height)  # type: ignore[arg-type]
    return console, (getattr(file, "encoding", None) or "utf-8")


def _dumb_width(file: object) -> int | None:
    """The width of a dumb terminal, which Rich takes to be 80; None for anything else."""
    if os.environ.get("TERM") not in {"dumb", "unknown"}:
        return None
    asked = os.environ.get("COLUMNS", "")
    try:
        return int(asked) if asked.isdigit() else os.get_terminal_size(file.fileno()).columns  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None


class _Plain:
    """Stands for a file that is no terminal; the console's output is captured, never written to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None: ...


def visible(text: str) -> str:
    r"""The text with control, direction-changing and undecodable characters spelt out: \x1b, \u202e, \udce9."""
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in _HIDDEN_CATEGORIES else char
        for char in text
    )


def details(outcome: Outcome, console: Console) -> RenderableType:
    """Everything about one pair."""
    if isinstance(outcome, Failure):
        return Group(*_failure_lines(outcome))
    return Group(*_blocks(outcome, console))


def heading(console: Console) -> RenderableType:
    """The line above the rows of a batch."""
    line = _fit("pair", _name_width(console)) + " " + ("kind".ljust(_KIND) if _kind_width(console) else "")
    line += "".join(title.rjust(width) for title, width in _columns(console).values())
    line += f"  {_BATCH_BAR[0]}" if console.width >= _BARS_FROM else ""
    return Group(Text(line, style="bold", no_wrap=True, overflow="crop"))  # bare, print() would lose no_wrap


def row(outcome: Outcome, console: Console) -> RenderableType:
    """One pair in one line."""
    name_width = _name_width(console)
    line = Text(no_wrap=True, overflow="crop" if _ascii(console) else "ellipsis")
    line.append(_fit(visible(outcome.id), name_width, "..." if _ascii(console) else "…") + " ")
    if isinstance(outcome, Failure):
        line.append(f"{visible(outcome.error.code)} ", style="red")
        return Group(line.append(visible(outcome.error.message)))
    if _kind_width(console):
        line.append(_KINDS[outcome.edit.kind][1].ljust(_KIND))
    for dimension, (_, width) in _columns(console).items():
        score = outcome.scores.of(dimension)
        value = "-" if score.value is None else f"{score.value:.1f}"
        line.append(value.rjust(width), style=_style(score))
    if console.width >= _BARS_FROM:
        line.append("  ").append(_bar(outcome.scores.overall, _BATCH_BAR[1], console))
    return Group(line)


def _blocks(assessment: Assessment, console: Console) -> Iterator[RenderableType]:
    pair, edit = assessment.pair, assessment.edit
    arrow = " -> " if _ascii(console) else " → "
    yield Text(visible(pair.source.path) + arrow + visible(pair.edited.path), style="bold")
    if pair.prompt is not None:
        yield Text(f"prompt: {visible(pair.prompt)}")
    yield Text(
        f"{_KINDS[edit.kind][0]} (probability of an edit {edit.probability:.2f})"
        + (f", {_percent(edit.area_fraction)} of the image" if assessment.regions else "")
        + (", pixels identical" if edit.identical else "")
    )
    yield Text()
    yield _score_table(assessment, console)
    if assessment.cross_check is not None:
        yield _cross_check_line(assessment.cross_check)
    if any(fault.level != "slight" for fault in assessment.faults):
        yield _fault_line(assessment)
    if assessment.regions:
        yield _title("regions")
        yield _item(_region_table(assessment, console))
    if assessment.findings:
        yield _title("findings")
        yield _item(_finding_table(assessment))
    if assessment.explanation is not None:
        yield _title("explanation")
        yield from (_item(Text(visible(line))) for line in assessment.explanation.splitlines())
    if assessment.warnings:
        yield _title("warnings")
        yield from (_item(Text(visible(warning), style="yellow")) for warning in assessment.warnings)
    yield Text()
    model = f"{visible(assessment.model.name)} {visible(assessment.model.version)}, {assessment.seconds:.2f} s"
    yield Text(f"{model}; bars and {_sign(console)} span the 80 % interval", style="dim")


def _score_table(assessment: Assessment, console: Console) -> RenderableType:
    full = console.width >= _FULL_NAMES
    names = {dimension: (name if full else short) for dimension, (name, short, _) in _NAMES.items()}
    others = max(map(len, names.values())) + len(f"5.0/5{_sign(console)}1.0not scored") + 4  # and gaps of 1
    bar = min(_BARS[1], console.width - others)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    if bar >= _BARS[0]:
        table.add_column(no_wrap=True, min_width=bar)
    table.add_column()
    notes: dict[str, list[str]] = {}
    for dimension, name in names.items():
        score = assessment.scores.of(dimension)
        if score.reason:
            notes.setdefault(visible(score.reason), []).append(name)
        spread = "" if score.spread is None else f"{_sign(console)}{score.spread:.1f}"
        value = "-" if score.value is None else f"{score.value:.1f}/{score.high:g}"
        level = "not scored" if score.value is None else visible(score.level or "")
        drawn = [_bar(score, bar, console)] if bar >= _BARS[0] else []
        table.add_row(name, value, spread, *drawn, Text(level, style=_style(score)))
    lines = (f"{', '.join(names)}: {reason}" for reason, names in notes.items())
    return Group(table, *(_item(Text(line, style="dim")) for line in lines))


def _bar(score: Score, width: int, console: Console) -> Text:
    """The scale from end to end: the 80 % interval as a line, the value as a dot on it."""
    dot, line, track = ("O", "=", ".") if _ascii(console) else ("●", "━", "╌")
    if score.value is None:
        return Text(track * width, style="dim")

    def at(value: float) -> int:
        share = (min(score.high, max(score.low, value)) - score.low) / (score.high - score.low)
        return round(share * (width - 1))

    spread, style = score.spread or 0.0, _style(score)
    first, middle, last = (at(score.value + side * spread) for side in (-1, 0, 1))
    bar = Text(track * first, style="dim").append(line * (middle - first) + dot + line * (last - middle), style=style)
    return bar.append(track * (width - 1 - last), style="dim")


def _cross_check_line(check: CrossCheck) -> RenderableType:
    """The second model's scores, those that contradict the first's marked."""
    line = Text(f"\ncross-check by {visible(check.model.name)} {visible(check.model.version)}: ")
    for index, (dimension, (name, *_)) in enumerate(_NAMES.items()):
        score = check.scores.of(dimension)
        differs = dimension in check.disagreements
        line.append(", " if index else "")
        value = "-" if score.value is None else f"{score.value:.1f}"
        line.append(f"{name} {value}" + (" (disagrees)" if differs else ""), style="yellow" if differs else "dim")
    return line


def _fault_line(assessment: Assessment) -> RenderableType:
    """The main fault, and others as far as they are more than slight: a slight estimate is right too seldom."""
    line = Text()
    for index, fault in enumerate(fault for fault in assessment.faults if fault.level != "slight"):
        line.append(("\nmain fault: ", "; also ", ", ")[min(index, 2)] + visible(fault.kind) + " (")
        line.append(fault.level, style=_SEVERITY_STYLES[fault.level]).append(")")
    return line


def _region_table(assessment: Assessment, console: Console) -> RenderableType:
    shown = 4 if console.width >= _CONFIDENCE else 3
    size = (assessment.pair.edited.height, assessment.pair.edited.width)
    table = Table.grid(padding=(0, 2))
    table.add_column()
    for _ in range(shown - 1):
        table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(word, style="dim") for word in ("where", "box in pixels", "area", "confidence")[:shown]))
    for region in assessment.regions[:_SHOWN_REGIONS]:
        x0, y0, x1, y1 = region.box
        area = _percent(region.area_fraction)
        cells = place(region.box, size), f"{x0},{y0} - {x1},{y1}", area, f"{region.confidence:.2f}"
        table.add_row(*cells[:shown])
    rest = assessment.regions[_SHOWN_REGIONS:]
    if rest:
        total = _percent(sum(region.area_fraction for region in rest))
        table.add_row(Text(f"{len(rest)} smaller", style="dim"), "", Text(total, style="dim"))
    return table


def _finding_table(assessment: Assessment) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for finding in assessment.findings:
        severity = Text(finding.severity, style=_SEVERITY_STYLES[finding.severity])
        table.add_row(severity, Text(visible(finding.text)))
    return table


def _failure_lines(failed: Failure) -> Iterator[RenderableType]:
    error = failed.error
    yield Text(f"{visible(failed.pair.source)} -> {visible(failed.pair.edited)}", style="bold")
    yield Text(f"{visible(error.code)}: {visible(error.message)}", style="red")
    for label, value in (
        ("file", error.file),
        ("expected", error.expected),
        ("found", error.found),
        ("try", error.hint),
    ):
        if value is not None:
            yield _item(Text(f"{label}: {visible(value)}"))


def _title(word: str) -> RenderableType:
    return Text(f"\n{word}", style="bold")


def _item(content: RenderableType) -> RenderableType:
    return Padding(content, (0, 0, 0, 2), expand=False)


def _percent(fraction: float) -> str:
    if 0 < fraction < 0.001:
        return "under 0.1 %"
    return f"{100 * fraction:.0f} %" if fraction >= 0.1 else f"{100 * fraction:.1f} %"


def _style(score: Score) -> str:
    if score.value is None:
        return "dim"
    share = (score.value - score.low) / (score.high - score.low)
    return _STYLES[min(len(_STYLES) - 1, int(share * len(_STYLES)))]


def _sign(console: Console) -> str:
    return "+-" if _ascii(console) else "±"


def _ascii(console: Console) -> bool:
    return console.options.ascii_only


def _columns(console: Console) -> dict[Dimension, tuple[str, int]]:
    """Title and width of each score's column in a batch."""
    titles = {dimension: wide if console.width >= _WIDE else short for dimension, (_, wide, short) in _NAMES.items()}
    return {dimension: (title, len(title) + 1) for dimension, title in titles.items()}


def _kind_width(console: Console) -> int:
    return _KIND if console.width >= _KINDS_FROM else 0


def _name_width(console: Console) -> int:
    others = 1 + _kind_width(console) + sum(width for _, width in _columns(console).values())
    return max(8, console.width - others - (2 + _BATCH_BAR[1] if console.width >= _BARS_FROM else 0))


def _fit(text: str, width: int, ellipsis: str = "") -> str:
    """The text at exactly `width` columns; the end of a path says more than its beginning."""
    if cell_len(text) > width:
        while cell_len(text) > width - len(ellipsis):
            text = text[1:]
        text = ellipsis + text
    return text + " " * (width - cell_len(text))
