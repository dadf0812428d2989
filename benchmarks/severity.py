"""How often the scores tell the better of two versions of one synthetic edit.

    python -m benchmarks.severity --data ../shared/data --pairs 200

Photos that training holds out; one photo, mask and edit at two severities at least 0.2 apart; the mask is given.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from benchmarks import common
from piqa_cli import Assessment, assess_pairs, open_assessor
from piqa_cli.schema import Dimension, Pair
from piqa_cli.synthesis import PhotoLibrary, Sample, make_severity_pair

SIZE = 384
HARM = 0.05  # least difference in a dimension's own severity for an order to be owed


def written(sample: Sample, folder: Path, name: str) -> Pair:
    """The sample as files."""
    paths = {key: folder / f"{name}_{key}.png" for key in ("source", "edited", "mask")}
    for key, pixels in (("source", sample.source), ("edited", sample.edited), ("mask", sample.mask)):
        Image.fromarray(pixels).save(paths[key])
    return Pair(id=name, source=str(paths["source"]), edited=str(paths["edited"]), mask=str(paths["mask"]))


def main() -> None:
    """Prints a row per dimension: pairs in which it was harmed, and the share put in the right order."""
    parser = common.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="how many pairs of versions")
    options = parser.parse_args()
    library = PhotoLibrary(options.data / "photos")
    assessor = open_assessor(options.model)
    counted = {Dimension.HARMONY: [0, 0], Dimension.NATURALNESS: [0, 0]}
    for number in range(options.pairs):
        versions = make_severity_pair(library, 5_000_000 + number, SIZE, "test")
        with tempfile.TemporaryDirectory() as folder:
            files = [written(v, Path(folder), name) for v, name in zip(versions, ("better", "worse"), strict=True)]
            outcomes = list(assess_pairs(files, assessor, explain=False))
        harm = {
            Dimension.HARMONY: versions[1].harmony_severity - versions[0].harmony_severity,
            Dimension.NATURALNESS: versions[1].naturalness_severity - versions[0].naturalness_severity,
        }
        for dimension, difference in harm.items():
            values = [o.scores.of(dimension).value if isinstance(o, Assessment) else None for o in outcomes]
            if difference > HARM and values[0] is not None and values[1] is not None:
                counted[dimension][0] += 1
                counted[dimension][1] += values[0] > values[1]
    rows = tuple(
        (dimension.value, pairs, 100 * right / pairs if pairs else None)
        for dimension, (pairs, right) in counted.items()
    )
    title = "Better against worse version of one synthetic edit, held-out photos"
    common.publish([common.Table(title, ("dimension", "pairs", "right order, per cent"), rows)], options.json)


if __name__ == "__main__":
    main()
