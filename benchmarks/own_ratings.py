"""What `piqa train compact --data` learns of raters who go by severity alone.

    python -m benchmarks.own_ratings --data ../shared/data

Synthetic edits, one a photo, each rated 5 - 4 x severity in harmony and naturalness, as a folder in EPAIQA-15K's
format; then the command's own work, and its figures on the edits that it held out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks import common
from piqa_cli.models import MODELS
from piqa_cli.schema import Kind
from piqa_cli.synthesis import PhotoLibrary, Sample, make_sample
from piqa_cli.training.own_ratings import TuneSettings, tune

SIDE = 384
FIRST = 7_000_000  # recipe numbers that no stage has seen


def write_rated(photos: str, count: int, folder: Path) -> int:
    """`count` edits less those of photos that came before: pictures and labels. Gives how many there are."""
    library = PhotoLibrary(photos)
    labels: dict[str, dict[str, object]] = {}
    for number in range(FIRST, FIRST + count):
        sample = make_sample(library, number, SIDE, "train", kinds={Kind.LOCAL: 1.0})
        if sample.photo not in labels:
            labels[sample.photo] = _written(sample, folder)
    (folder / "labels.json").write_text(json.dumps(list(labels.values())), "utf-8")
    return len(labels)


def _written(sample: Sample, folder: Path) -> dict[str, object]:
    names = [f"{Path(sample.photo).stem}{suffix}.png" for suffix in ("", "_edited")]
    for name, pixels in zip(names, (sample.source, sample.edited), strict=True):
        Image.fromarray(pixels).save(folder / name)
    rated = [round(5 - 4 * severity, 2) for severity in (sample.harmony_severity, sample.naturalness_severity)]
    return {
        "source_img_name": names[0], "edited_img_name": names[1], "prompt": "",
        "harmony_score": rated[0], "local_naturalness": rated[1],
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = common.parser(__doc__)
    parser.add_argument("--edits", type=int, default=700, help="how many are drawn (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        count = write_rated(str(args.data / "photos"), args.edits, folder / "data")
        settings = TuneSettings(str(folder / "data"), str(folder / "out"), MODELS["compact"].weights)
        figures = tune(settings, lambda line: print(line, file=sys.stderr), lambda line: print(line, file=sys.stderr))
    rows = tuple(
        (one.dimension, one.edits, one.srcc_before, one.srcc_after, one.rmse_before, one.rmse_after) for one in figures
    )
    columns = ("dimension", "edits held out", "SRCC before", "after", "RMSE before", "after")
    title = f"Tuned to {count} synthetic edits, rated by severity"
    common.publish([common.Table(title, columns, rows)], args.json)


if __name__ == "__main__":
    main()
