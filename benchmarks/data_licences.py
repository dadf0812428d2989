"""Where the training data comes from and under which terms: what the model card quotes.

    python -m benchmarks.data_licences --data DIR [--repositories]

Reads `photos/manifest.jsonl` and `train_pairs/manifest.jsonl` in the data folder; each row names its `repo` and
the `licence` found there. A licence is that of the repository, as its files state it; the photos in it may have
other owners.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import common

NOT_STATED = "none stated"
# What a licence's name contains, in lower case -> the row it is counted in; the first that fits.
GROUPS: tuple[tuple[str, str], ...] = (
    (NOT_STATED, NOT_STATED),
    ("custom", "custom terms"),  # before the rest: a licensor may be called Limited
    ("mit", "MIT"),
    ("apache", "Apache-2.0"),
    ("bsd", "BSD"),
    ("gpl", "GPL, AGPL"),
    ("cc by-nc", "Creative Commons, non-commercial"),
    ("rail", "Open RAIL-M"),
    ("", "custom terms"),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A repository and the licence it states."""

    repository: str
    licence: str


def origins(manifest: Path) -> Counter[Origin]:
    """How many rows of a manifest come from each origin.

    Raises:
        SystemExit: the file is not there, or a row is not an object with `repo`.
    """
    if not manifest.is_file():
        raise SystemExit(f"{manifest}: expected a manifest, found no such file; give --data FOLDER")
    found: Counter[Origin] = Counter()
    for number, line in enumerate(manifest.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found[Origin(str(row["repo"]), " ".join(str(row.get("licence") or NOT_STATED).split()))] += 1
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(
                f"{manifest}: line {number}: expected an object with repo and licence: {error!r}"
            ) from error
    return found


def group_of(licence: str) -> str:
    """The row in which a licence is counted."""
    words = licence.lower()
    return next(name for part, name in GROUPS if part in words)


def by_licence(title: str, unit: str, counts: Counter[Origin]) -> common.Table:
    """One row a group of licences, the commonest first; a repository may stand in several."""
    repositories: dict[str, set[str]] = defaultdict(set)
    items: Counter[str] = Counter()
    for origin, count in counts.items():
        name = group_of(origin.licence)
        repositories[name].add(origin.repository)
        items[name] += count
    order = sorted(items, key=lambda name: (-items[name], name))
    rows: list[common.Row] = [(name, len(repositories[name]), items[name]) for name in order]
    rows.append(("all", len({origin.repository for origin in counts}), counts.total()))
    return common.Table(title, ("licence stated", "repositories", unit), tuple(rows))


def by_repository(title: str, unit: str, counts: Counter[Origin]) -> common.Table:
    """One row a repository and licence, in alphabetical order."""
    order = sorted(counts, key=lambda origin: (origin.repository.lower(), origin.licence))
    rows: list[common.Row] = [(origin.repository, origin.licence, counts[origin]) for origin in order]
    return common.Table(title, ("repository", "licence stated", unit), tuple(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for the photos and one for the edits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with photos/ and train_pairs/")
    parser.add_argument("--repositories", action="store_true", help="name every repository instead")
    parser.add_argument("--json", type=Path, help="also write the tables to this file as JSON")
    options = parser.parse_args(arguments)
    photos, edits = (origins(options.data / name / "manifest.jsonl") for name in ("photos", "train_pairs"))
    table = by_repository if options.repositories else by_licence
    tables = (
        by_repository(f"Photos ({photos.total():,})", "photos", photos),
        table(f"Real edits ({edits.total():,})", "edits", edits),
    )
    common.publish(tables, options.json)


if __name__ == "__main__":
    main()
