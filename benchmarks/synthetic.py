"""Everything that can be measured on synthetic edits of photos that training holds out, where the truth is known.

    python -m benchmarks.synthetic --data ../shared/data [--only grounding kind severity ...]

grounding  overlap of the region found with the true one, at the model's own fixed threshold
kind       which kind of change is told; area marked where nothing was edited; kind of the real edits
severity   rank correlation of the scores with the severity of the edit's faults
pairs      how often the better of two versions of one edit scores higher
audit      whether scores of equally bad edits follow the region's area or how much was changed
faults     how often the record's main fault is the worst one that was put in
coverage   how often a rating lies within value +- spread, on synthetic edits that were rated

Every interval is a bootstrap over source photos. What needs no model is measured on the same samples, in the same run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import common
from benchmarks.samples import (
    RealKind,
    Recipe,
    Seen,
    audit_recipes,
    local_recipes,
    measure,
    other_recipes,
    real_kinds,
    version_recipes,
)
from benchmarks.synthetic_tables import (
    Rating,
    audit_table,
    coverage_table,
    fault_tables,
    grounding_tables,
    kind_tables,
    pairs_table,
    read_rated,
    severity_tables,
)
from piqa_cli import open_assessor
from piqa_cli.synthesis import FAMILIES


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured in a run."""

    rows: Sequence[Seen]
    real: Sequence[RealKind]
    ratings: Sequence[Rating]


SECTIONS: Mapping[str, Callable[[Results], Iterator[common.Table]]] = {
    "grounding": lambda results: grounding_tables([row for row in results.rows if row.truth.part == "local"]),
    "kind": lambda results: kind_tables(results.rows, results.real),
    "severity": lambda results: severity_tables(results.rows),
    "pairs": lambda results: iter([pairs_table(results.rows)]),
    "audit": lambda results: iter([audit_table(results.rows)]),
    "faults": lambda results: fault_tables(results.rows),
    "coverage": lambda results: iter([coverage_table(results.rows, results.ratings)]),
}


def recipes_for(chosen: Sequence[str], options: argparse.Namespace, ratings: Sequence[Rating]) -> list[Recipe]:
    """The samples that the chosen sections need."""
    families = [family.name for family in FAMILIES]
    recipes: list[Recipe] = []
    if {"grounding", "kind", "severity", "faults"} & set(chosen):
        masks = (False, True) if {"severity", "faults"} & set(chosen) else (False,)
        recipes += local_recipes(families, options.per_family, options.size, masks)
    if "kind" in chosen:
        recipes += other_recipes(options.others, options.size)
    if "pairs" in chosen:
        recipes += version_recipes(options.pairs, options.size)
    if "audit" in chosen:
        recipes += audit_recipes(options.audit, options.size)
    return recipes + [rating.recipe for rating in ratings]


def main() -> None:
    """Print the tables of the chosen sections."""
    parser = common.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(SECTIONS), default=tuple(SECTIONS), help="these sections")
    parser.add_argument("--skip", nargs="+", choices=tuple(SECTIONS), default=(), help="not these sections")
    parser.add_argument("--size", type=int, default=384, help="side of the samples in pixels (default: %(default)s)")
    parser.add_argument("--per-family", type=int, default=20, help="local edits a family (default: %(default)s)")
    parser.add_argument("--others", type=int, default=100, help="pairs of each other kind (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=100, help="edits in two versions (default: %(default)s)")
    parser.add_argument("--audit", type=int, default=6, help="edits a family in the audit (default: %(default)s)")
    parser.add_argument("--rated", type=int, help="only the first N rated edits")
    parser.add_argument("--real", type=int, help="only the first N real edits")
    options = parser.parse_args()
    chosen = [name for name in SECTIONS if name in options.only and name not in options.skip]
    ratings = read_rated(options.rated) if "coverage" in chosen else []
    assessor = open_assessor(options.model, dtype=options.dtype)
    rows = measure(recipes_for(chosen, options, ratings), options.data / "photos", assessor)
    real = real_kinds(options.data, assessor, options.real) if "kind" in chosen else []
    results = Results(rows, real, ratings)
    common.publish([table for name in chosen for table in SECTIONS[name](results)], options.json)


if __name__ == "__main__":
    main()
