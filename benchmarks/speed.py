"""Start-up, model, folder and large-image times, each next to what it is fair to compare it with.

    python -m benchmarks.speed [--only help model folder large]

All in one run; what is compared runs in turn (A B A B ...) and the median counts, so that a slow phase of the
machine hits both sides. The pictures are made from the bundled example.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import common, pictures
from benchmarks.alexnet import AlexNetFeatures
from piqa_cli import assess_pairs, open_assessor
from piqa_cli.assessor import Assessor
from piqa_cli.compact.assessor import CompactAssessor
from piqa_cli.compact.network import MEASURED, summarise
from piqa_cli.images import LoadedPair, load_pair
from piqa_cli.lmm.settings import Precision
from piqa_cli.pairs import PairQuery, find_pairs

SIDE = 512
LARGE = (4000, 3000)  # 12 megapixels
CHUNK = 8  # pairs given to the model at once
BARE = '''"""The least that a command line with typer and rich can be."""
import rich.console
import typer

app = typer.Typer()


@app.command()
def hello(name: str, loud: bool = False) -> None:
    """Say hello."""
    rich.console.Console().print(name)


@app.command()
def bye(name: str) -> None:
    """Say goodbye."""


app()
'''


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, how often."""

    model: str
    dtype: Precision
    rounds: int
    folder_pairs: int
    folder: Path  # scratch


def row(name: str, seconds: float, against: str, other: float, limit: float | None = None) -> common.Row:
    """One comparison: milliseconds, their ratio, the ratio aimed at if it is one of the aims."""
    return name, 1000 * seconds, against, 1000 * other, seconds / other, limit


def judge(assessor: Assessor, pairs: Sequence[LoadedPair]) -> None:
    """All three stages on decoded pairs."""
    groundings = assessor.ground(pairs)
    assessor.explain(pairs, groundings, assessor.score(pairs, groundings))


def measure_help(options: Options) -> list[common.Row]:
    """`piqa --help` against a bare typer and rich program."""
    bare = options.folder / "bare.py"
    bare.write_text(BARE, "utf-8")
    tasks: list[tuple[str, Callable[[], object]]] = [
        ("piqa", lambda: common.quietly([common.PIQA, "--help"])),
        ("bare", lambda: common.quietly([sys.executable, str(bare), "--help"])),
    ]
    taken = common.interleaved(tasks, rounds=3 * options.rounds)
    return [row("piqa --help", taken["piqa"], "bare typer + rich --help", taken["bare"], 1.5)]


def measure_model(options: Options) -> list[common.Row]:
    """One decoded 512 x 512 pair against LPIPS's two AlexNet passes."""
    assessor = open_assessor(options.model, dtype=options.dtype)
    loaded = [load_pair(pictures.write_pair(options.folder / "one", "one", (SIDE, SIDE)))]
    alexnet = AlexNetFeatures().eval()
    if not isinstance(assessor, CompactAssessor):
        raise SystemExit(f"--model {options.model}: the comparison is with a compact model")
    network = assessor.model
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 3, SIDE, SIDE, generator=generator) for _ in range(2))

    @torch.inference_mode()
    def lpips() -> None:
        alexnet(a)
        alexnet(b)

    @torch.inference_mode()
    def forward() -> None:
        side = network.config.crop_side
        grounded, evidence = network.ground(a, b)
        summary = summarise(grounded, evidence, torch.sigmoid(grounded.mask))
        crops = a[..., :side, :side], b[..., :side, :side]
        network.judge(*crops, crops[0][:, :1].round(), torch.full((1, 1), 0.1), torch.zeros(1, MEASURED), summary)

    def ground_and_score() -> None:
        assessor.score(loaded, assessor.ground(loaded))

    tasks: list[tuple[str, Callable[[], object]]] = [
        ("model", ground_and_score),
        ("ground", lambda: assessor.ground(loaded)),
        ("network", forward),
        ("lpips", lpips),
    ]
    taken = common.interleaved(tasks, rounds=3 * options.rounds, warmup=3)
    against = "two AlexNet passes (LPIPS)"
    return [
        row("512 x 512 pair, ground + score, registration included", taken["model"], against, taken["lpips"], 2.0),
        row("of which ground", taken["ground"], against, taken["lpips"]),
        row("the network's passes alone", taken["network"], against, taken["lpips"]),
    ]


def measure_folder(options: Options) -> list[common.Row]:
    """A folder through the pipeline against decoding alone plus the model alone, one after the other."""
    folder = options.folder / "folder"
    pairs = [pictures.write_pair(folder, f"{i:03}", (SIDE, SIDE), seed=i) for i in range(options.folder_pairs)]
    assessor = open_assessor(options.model, dtype=options.dtype)
    loaded = [load_pair(pair) for pair in pairs]

    def end_to_end() -> None:
        with (options.folder / "out.jsonl").open("w", encoding="utf-8") as stream:
            for outcome in assess_pairs(find_pairs(PairQuery(input=str(folder))), assessor):
                stream.write(json.dumps(outcome.model_dump(mode="json")) + "\n")

    def model() -> None:
        for start in range(0, len(loaded), CHUNK):
            judge(assessor, loaded[start : start + CHUNK])

    def command() -> None:
        common.quietly(
            [
                common.PIQA,
                "batch",
                str(folder),
                "--model",
                options.model,
                "--overwrite",
                "--output",
                str(options.folder / "cli.jsonl"),
            ]
        )

    tasks: list[tuple[str, Callable[[], object]]] = [
        ("pipeline", end_to_end),
        ("decode", lambda: [load_pair(pair) for pair in pairs]),
        ("model", model),
        ("command", command),
    ]
    taken = common.interleaved(tasks, rounds=options.rounds)
    alone = taken["decode"] + taken["model"]
    against = f"decoding ({taken['decode']:.2f} s) + model ({taken['model']:.2f} s) alone"
    return [
        row(f"{len(pairs)} pairs of 512 px, folder to JSONL", taken["pipeline"], against, alone, 1.3),
        row("the same as a command, start-up included", taken["command"], against, alone),
    ]


def measure_large(options: Options) -> list[common.Row]:
    """A 12-megapixel JPEG pair, decoded and judged, against decoding both files in full with Pillow."""
    pair = pictures.write_pair(options.folder / "large", "large", LARGE)
    assessor = open_assessor(options.model, dtype=options.dtype)

    def decode() -> None:
        for path in (pair.source, pair.edited):
            with Image.open(path) as image:
                np.asarray(image.convert("RGB"))

    tasks: list[tuple[str, Callable[[], object]]] = [
        ("piqa", lambda: judge(assessor, [load_pair(pair)])),
        ("load", lambda: load_pair(pair)),
        ("decode", decode),
    ]
    taken = common.interleaved(tasks, rounds=2 * options.rounds)
    against = "full decoding of both files"
    return [
        row("12-megapixel pair end to end", taken["piqa"], against, taken["decode"], 2.0),
        row("of which reading", taken["load"], against, taken["decode"]),
    ]


MEASURES = {"help": measure_help, "model": measure_model, "folder": measure_folder, "large": measure_large}


def main() -> None:
    """Print the table of times, then that of memory."""
    parser = common.parser(__doc__, data=False)
    parser.add_argument("--only", nargs="+", choices=tuple(MEASURES), help="measure only these")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the slowest measure; others take a multiple")
    parser.add_argument("--folder-pairs", type=int, default=100, help="pairs in the folder (default: %(default)s)")
    given = parser.parse_args()
    chosen = given.only or tuple(MEASURES)
    with tempfile.TemporaryDirectory() as folder:
        options = Options(given.model, given.dtype, given.rounds, given.folder_pairs, Path(folder))
        rows = [r for name, measure in MEASURES.items() if name in chosen for r in measure(options)]
    title = f"Speed, medians, {torch.get_num_threads()} threads"
    columns = ("what", "ms", "against", "its ms", "ratio", "aim: at most")
    common.publish([common.Table(title, columns, tuple(rows))], given.json)


if __name__ == "__main__":
    main()
