"""The small vision-language model of `scripts/small_vlm.py`, through the path that large ones take.

    python -m scripts.small_vlm --photos DATA/photos --out runs/small_vlm
    python -m benchmarks.small_vlm --data DATA --model runs/small_vlm/model

Edits of photos that it has not seen, written as files and judged with `--grounding model`: how its scores rank the
severities that were put in, and how its boxes lie on the true ones. Its regions and scores come from nothing but what
it wrote; the compact assessor's figures for the same files stand beside them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import common
from piqa_cli import Assessment, Pair, assess_pairs, open_assessor
from piqa_cli.assessor import Assessor
from piqa_cli.compact.framing import bounds
from piqa_cli.metrics import bootstrap_interval, box_iou, srcc
from piqa_cli.schema import Dimension
from piqa_cli.synthesis import PhotoLibrary
from scripts.small_vlm import FAMILIES, LEAST_AREA, MOST_AREA, Edit, edit

TOLD: dict[Dimension, Callable[[Edit], float]] = {
    Dimension.HARMONY: lambda sample: sample.harmony,
    Dimension.NATURALNESS: lambda sample: sample.naturalness,
    Dimension.OVERALL: lambda sample: max(sample.harmony, sample.naturalness),
}
OWN_WORDS = "the model gave no box"


def write_pairs(samples: Sequence[Edit], folder: Path) -> list[Pair]:
    """The edits as PNG files."""
    pairs = []
    for number, sample in enumerate(samples):
        names = [str(folder / f"{number}_{role}.png") for role in ("source", "edited")]
        for name, pixels in zip(names, (sample.source, sample.edited), strict=True):
            Image.fromarray(pixels).save(name)
        pairs.append(Pair(id=str(number), source=names[0], edited=names[1]))
    return pairs


def judge(assessor: Assessor, pairs: Sequence[Pair]) -> list[Assessment]:
    """One record a pair.

    Raises:
        SystemExit: a pair could not be judged.
    """
    records = []
    for outcome in assess_pairs(pairs, assessor, explain=False, workers=1):
        if not isinstance(outcome, Assessment):
            raise SystemExit(f"{outcome.id}: {outcome.error.message}")
        records.append(outcome)
    return records


def figures(name: str, records: Sequence[Assessment], samples: Sequence[Edit]) -> list[common.Row]:
    """A row a figure: which, its value, the 95 % interval, and over how many edits."""
    photos = [sample.photo for sample in samples]
    rows: list[common.Row] = []
    for dimension, truth in TOLD.items():
        values = [record.scores.of(dimension).value for record in records]
        known = [i for i, value in enumerate(values) if value is not None]
        told = np.array([[-truth(samples[i]), values[i]] for i in known], float)
        reach = bootstrap_interval(srcc, told[:, 1], told[:, 0], group=[photos[i] for i in known])
        figure = f"SRCC of {dimension.value} with severity"
        rows.append((name, figure, srcc(told[:, 1], told[:, 0]), reach.low, reach.high, len(known)))
    overlaps = np.array([_overlap(record, sample) for record, sample in zip(records, samples, strict=True)])
    reach = bootstrap_interval(lambda found, _: float(np.mean(found)), overlaps, overlaps, group=photos)
    return [*rows, (name, "IoU of the box", float(overlaps.mean()), reach.low, reach.high, len(overlaps))]


def _overlap(record: Assessment, sample: Edit) -> float:
    """Of the largest region's box; 0 where there is none, or where it is not the model's own."""
    if not record.regions or any(OWN_WORDS in warning for warning in record.warnings):
        return 0.0
    return box_iou(max(record.regions, key=lambda region: region.area_fraction).box, bounds(sample.mask))


def main() -> None:
    """Command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--edits", type=int, default=240, help="how many (default: %(default)s)")
    args = parser.parse_args()
    library = PhotoLibrary(str(args.data / "photos"))
    samples = [edit(library, number, "test") for number in range(args.edits)]
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_pairs(samples, Path(folder))
        rows = [
            *figures("small", judge(open_assessor(args.model, device="cpu", grounding="model"), pairs), samples),
            *figures("compact", judge(open_assessor("compact", device="cpu"), pairs), samples),
        ]
    note = (
        f"Faults: {', '.join(FAMILIES)}, on {LEAST_AREA:.0%} to {MOST_AREA:.0%} of the picture; nothing else changes in"
        " it. Intervals by photo."
    )
    columns = ("model", "figure", "value", "from", "to", "edits")
    common.publish([common.Table("Edits of unseen photos", columns, tuple(rows), note)], args.json)


if __name__ == "__main__":
    main()
