"""The table of rated synthetic edits: recipe and rating of each, so that anyone can make the pictures again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from piqa_cli.schema import Dimension
from piqa_cli.synthesis import PhotoLibrary, Sample, Split, make_sample
from piqa_cli.training.opinion import to_opinion

COLUMNS = (
    "id", "seed", "size", "split", "family", "severity", "harmony_severity", "naturalness_severity", "drift_severity",
    "area", "level", "overall", "harmony", "naturalness", "preserved", "box", "note",
)  # fmt: skip

_PROBES, _SAME_LEVEL = 6, 0.5

# The raters of the sample were a little milder than the judge of the real edits: 40 real edits whose ratings were known
# lay among their sheets. `scripts/rate_sample.py collect` prints slope and shift from their scale to the judge's.
_ONTO_JUDGE = {"harmony": (0.93, -0.09), "naturalness": (0.86, -0.01), "preserved": (0.77, 0.52)}


@dataclass(frozen=True, slots=True)
class MadeRating:
    """One rated synthetic edit.

    seed, size, split, family, severity: what `synthesis.make_sample` makes it from. level: mean grey value of the
    edited picture, 0..255, by which a changed recipe is noticed. harmony, naturalness, preserved: as rated, 1..5.
    """

    id: str
    seed: int
    size: int
    split: Split
    family: str
    severity: float
    level: float
    harmony: float
    naturalness: float
    preserved: float

    @property
    def opinions(self) -> tuple[float, float, float]:
        """Harmony and naturalness on people's scale, preservation on that of the judge of the real edits."""
        harmony, naturalness, preserved = (
            min(5.0, max(1.0, slope * getattr(self, name) + shift)) for name, (slope, shift) in _ONTO_JUDGE.items()
        )
        return to_opinion(Dimension.HARMONY, harmony), to_opinion(Dimension.NATURALNESS, naturalness), preserved

    def make(self, library: PhotoLibrary) -> Sample:
        """The pictures, made again."""
        return make_sample(library, self.seed, self.size, self.split, family=self.family, severity=self.severity)


def reproducible(rated: Sequence[MadeRating], photos: str) -> list[MadeRating]:
    """The rows, if these are the photos and this the synthesis they were made with; none otherwise.

    A rating belongs to the picture that was rated. The recipes give the same pictures or altogether other ones, so
    that a few rows tell.
    """
    library = PhotoLibrary(photos)
    same = all(abs(float(row.make(library).edited.mean()) - row.level) < _SAME_LEVEL for row in rated[:_PROBES])
    return list(rated) if same else []


def read_ratings(splits: Sequence[Split] = ("train",)) -> list[MadeRating]:
    """The rows whose photos belong to these splits; the table is part of the package."""
    table = (files("piqa_cli.training") / "synthetic_ratings.csv").read_text(encoding="utf-8")
    return [_rating(row) for row in csv.DictReader(io.StringIO(table)) if row["split"] in splits]


def _rating(row: dict[str, str]) -> MadeRating:
    return MadeRating(
        id=row["id"],
        seed=int(row["seed"]),
        size=int(row["size"]),
        split=row["split"],  # type: ignore[arg-type]
        family=row["family"],
        severity=float(row["severity"]),
        level=float(row["level"]),
        harmony=float(row["harmony"]),
        naturalness=float(row["naturalness"]),
        preserved=float(row["preserved"]),
    )
