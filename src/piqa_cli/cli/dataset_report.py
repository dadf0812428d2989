"""What `piqa dataset` found, as tables for a terminal."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from piqa_cli.cli.streams import emit

if TYPE_CHECKING:
    from piqa_cli.dataset.checking import CheckReport
    from piqa_cli.dataset.opinions import OpinionReport
    from piqa_cli.dataset.splitting import SplitRecord
    from piqa_cli.dataset.statistics import Statistics

_EXAMPLES = 3


def show_check(report: CheckReport) -> None:
    """The kinds of remarks with their numbers and meanings, and the first of each kind."""
    from piqa_cli.dataset.checking import KINDS

    found = defaultdict[str, list[str]](list)
    for remark in report.remarks:
        where = "" if remark.row is None else f"row {remark.row}: "
        found[remark.kind].append(f"{where}{remark.text}")
    kinds = [(kind, *KINDS[kind]) for kind in KINDS if kind in found]
    rows = [(severity, kind, f"{len(found[kind]):,}", meaning) for kind, severity, meaning in kinds]
    first = [(kind, text) for kind, _, _ in kinds for text in found[kind][:_EXAMPLES]]
    if rows:
        _table(("severity", "kind", "count", "what"), rows, f"{report.rows:,} rows", left=4)
        _table(("kind", "which"), first, f"The first {_EXAMPLES} of each; --format json lists all", left=2)


def show_statistics(found: Statistics) -> None:
    """Marginals, levels, correlations, overall by completion, prompts and regions."""
    rows = [
        (m.dimension.value, f"{m.count:,}", *_numbers(m.mean, m.sd), *_numbers(*m.percentiles, places=2))
        for m in found.marginals
    ]
    title = f"{found.edits:,} edits of {found.sources:,} photos, at most {found.most_edits_of_a_source} a photo"
    _table(("dimension", "n", "mean", "sd", "5 %", "25 %", "50 %", "75 %", "95 %"), rows, title)
    levels = [(m.dimension.value, level.level, f"{level.count:,}", f"{100 * level.share:.1f} %")
              for m in found.marginals for level in m.levels]  # fmt: skip
    _table(("dimension", "level", "n", "share"), levels, "Nearest levels", left=2)
    pairs = [
        (c.first.value, c.second.value, f"{c.count:,}", *_numbers(c.srcc, c.plcc, c.done_srcc))
        for c in found.correlations
    ]
    _table(("dimension", "with", "n", "SRCC", "PLCC", "SRCC, done only"), pairs, "Correlations", left=2)
    means = [
        (b.level, f"{b.count:,}", *_numbers(b.overall_mean, b.overall_sd, b.harmony_mean, b.naturalness_mean))
        for b in found.by_completion
    ]
    _table(("completion", "n", "overall", "sd", "harmony", "naturalness"), means, "Means by completion")
    p = found.prompts
    prompts = [(f"{p.missing:,}", f"{p.different:,}", f"{p.median_words:g}", f"{p.most_words:,}")]
    _table(("missing", "different", "words (median)", "words (most)"), prompts, "Prompts")
    if found.regions is not None:
        r = found.regions
        counts = (r.annotated, r.with_boxes, r.with_fault, r.explained)
        cells = (*(f"{count:,}" for count in counts), *_numbers(*r.box_area_quartiles))
        heads = ("annotated", "with boxes", "with fault", "explained", "area 25 %", "area 50 %", "area 75 %")
        _table(heads, [cells], "Annotations")


def show_split(record: SplitRecord) -> None:
    """The parts and what they hold."""
    rows = [
        (part.name, f"{part.share:g}", f"{part.rows:,}", f"{part.sources:,}",
         *_numbers(part.overall_mean, part.completion_mean), part.sha256[:12])
        for part in record.parts
    ]  # fmt: skip
    heads = ("split", "share", "edits", "photos", "mean overall", "mean completion", "sha256")
    _table(heads, rows, f"{record.rows:,} edits, seed {record.seed}, {record.strata} strata")


def show_opinions(report: OpinionReport) -> None:
    """Agreement a dimension, and the raters who stand out."""
    rows = [
        (a.dimension.value, f"{a.raters:,}", f"{a.images:,}", f"{a.ratings:,}",
         *_numbers(a.alpha_ordinal, a.alpha_interval, a.left_out_srcc, a.reliability.single, a.reliability.mean,
                   a.ceiling.srcc, a.ceiling.plcc))
        for a in report.agreement
    ]  # fmt: skip
    heads = ("dimension", "raters", "images", "ratings", "alpha ordinal", "alpha interval", "left-out SRCC",
             "ICC of one", "ICC of means", "ceiling SRCC", "ceiling PLCC")  # fmt: skip
    _table(heads, rows, "Agreement")
    raters = [
        (r.dimension.value, r.rater, f"{r.images:,}", str(r.above), str(r.below), "yes" if r.rejected else "no",
         *_numbers(r.srcc, r.plcc))
        for r in report.raters
    ]  # fmt: skip
    columns = ("dimension", "rater", "images", "above", "below", "rejected", "SRCC", "PLCC")
    _table(columns, raters, "Raters, each against the mean of the others", left=2)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], title: str, *, left: int = 1) -> None:
    from piqa_cli.writers.grids import Grid, draw

    emit(draw(Grid(title, tuple(heads), tuple(map(tuple, rows)), left), "table") + "\n")


def _numbers(*values: float | None, places: int = 3) -> tuple[str, ...]:
    return tuple("-" if value is None or math.isnan(value) else f"{value:.{places}f}" for value in values)
