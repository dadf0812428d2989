"""Start-up, model, folder and large-image times, each next to what it is fair to compare it with.

    python -m benchmarks.speed [--only help model folder large]

All in one run; what is compared runs in turn (A B A B ...) and the median counts, so that a slow phase of the
machine hits both sides. The pictures are made from the bundled example.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from piqa_cli.devices import cores, keep_freed_memory
from piqa_cli.images import LoadedPair, load_pair
from piqa_cli.lmm.settings import Precision
from piqa_cli.pairs import PairQuery, find_pairs
from piqa_cli.schema import Pair

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


def decode(pairs: Iterable[Pair]) -> list[LoadedPair]:
    """Decoding alone, on every core."""
    with ThreadPoolExecutor(cores()) as crew:
        return list(crew.map(load_pair, pairs))


def decode_and_drop(pairs: Iterable[Pair]) -> None:
    """Decoding alone, of more pairs than fit into memory."""

    def load(pair: Pair) -> None:
        load_pair(pair)

    with ThreadPoolExecutor(cores()) as crew:
        list(crew.map(load, pairs))


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
    """Decoded 512 x 512 pairs against LPIPS's two AlexNet passes."""
    assessor = open_assessor(options.model, dtype=options.dtype)
    if not isinstance(assessor, CompactAssessor):
        raise SystemExit(f"--model {options.model}: the comparison is with a compact model")
    pairs = [pictures.write_pair(options.folder / "few", f"{i}", (SIDE, SIDE), seed=i) for i in range(CHUNK)]
    loaded = decode(pairs)
    alexnet = AlexNetFeatures().eval()
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 3, SIDE, SIDE, generator=generator) for _ in range(2))

    @torch.inference_mode()
    def lpips() -> None:
        alexnet(a)
        alexnet(b)

    seen = [picture.contiguous(memory_format=torch.channels_last) for picture in (a, b)]  # as pictures are stored
    tasks: list[tuple[str, Callable[[], object]]] = [
        ("network", lambda: passes(assessor, *seen)),
        ("lpips", lpips),
        ("one", lambda: judge(assessor, loaded[:1])),
        ("lpips", lpips),
        ("batch", lambda: judge(assessor, loaded)),
        ("lpips", lpips),
    ]
    taken = common.interleaved(tasks, rounds=3 * options.rounds, warmup=3)
    against = "two AlexNet passes (LPIPS)"
    return [
        row("512 x 512 pair, the network's passes", taken["network"], against, taken["lpips"], 1.0),
        row("the pair judged: registration, measurements, text too", taken["one"], against, taken["lpips"]),
        row(f"the same in a batch of {CHUNK}, by the pair", taken["batch"] / CHUNK, against, taken["lpips"]),
    ]


@torch.inference_mode()
def passes(assessor: CompactAssessor, source: torch.Tensor, edited: torch.Tensor) -> None:
    """All that the network computes for a pair, in the number format in which the assessor has it compute."""
    network = assessor.model
    side = network.config.crop_side
    with torch.autocast("cpu", assessor.dtype, enabled=assessor.dtype is not torch.float32):
        grounded, evidence = network.ground(source, edited)
        summary = summarise(grounded, evidence, torch.sigmoid(grounded.mask.float()))
        crops = source[..., :side, :side], edited[..., :side, :side]
        network.judge(*crops, crops[0][:, :1].round(), torch.full((1, 1), 0.1), torch.zeros(1, MEASURED), summary)


def end_to_end(options: Options, folder: Path, pairs: Sequence[Pair], what: str, aim: float) -> list[common.Row]:
    """A folder through the pipeline against decoding alone plus the model alone, each with every core."""
    assessor = open_assessor(options.model, dtype=options.dtype)
    loaded = decode(pairs[: 2 * CHUNK])  # of these the model's time is taken: all of a large folder would not fit

    def through() -> None:
        with (options.folder / "out.jsonl").open("w", encoding="utf-8") as stream:
            for outcome in assess_pairs(find_pairs(PairQuery(input=str(folder))), assessor, workers=cores()):
                stream.write(json.dumps(outcome.model_dump(mode="json")) + "\n")

    def model() -> None:
        for start in range(0, len(loaded), CHUNK):
            judge(assessor, loaded[start : start + CHUNK])

    command = [common.PIQA, "batch", str(folder), "--model", options.model, "--dtype", options.dtype, "--overwrite"]
    command += ["--output", str(options.folder / "cli.jsonl")]
    tasks: list[tuple[str, Callable[[], object]]] = [
        ("pipeline", through),
        ("decode", lambda: decode_and_drop(pairs)),
        ("model", model),
        ("command", lambda: common.quietly(command)),
    ]
    taken = common.interleaved(tasks, rounds=options.rounds)
    judged = taken["model"] * len(pairs) / len(loaded)
    against = f"decoding ({taken['decode']:.2f} s) + model ({judged:.2f} s) alone"
    alone = taken["decode"] + judged
    return [
        row(f"{len(pairs)} {what} pairs, folder to JSONL", taken["pipeline"], against, alone, aim),
        row("the same as a command, start-up included", taken["command"], against, alone),
    ]


def measure_folder(options: Options) -> list[common.Row]:
    """Small JPEG pairs end to end."""
    folder = options.folder / "folder"
    pairs = [pictures.write_pair(folder, f"{i:03}", (SIDE, SIDE), seed=i) for i in range(options.folder_pairs)]
    return end_to_end(options, folder, pairs, "512 px JPEG", 1.1)


def measure_large(options: Options) -> list[common.Row]:
    """12-megapixel JPEG pairs end to end; and one against decoding both files in full with Pillow."""
    folder = options.folder / "large"
    count = max(2, options.folder_pairs // 5)
    pairs = [pictures.write_pair(folder, f"{i:03}", LARGE, seed=i) for i in range(count)]
    rows = end_to_end(options, folder, pairs, "12-megapixel JPEG", 1.3)
    assessor = open_assessor(options.model, dtype=options.dtype)

    def decode_whole() -> None:
        for path in (pairs[0].source, pairs[0].edited):
            with Image.open(path) as image:
                np.asarray(image.convert("RGB"))

    tasks: list[tuple[str, Callable[[], object]]] = [
        ("piqa", lambda: judge(assessor, [load_pair(pairs[0])])),
        ("decode", decode_whole),
    ]
    taken = common.interleaved(tasks, rounds=2 * options.rounds)
    against = "full decoding of both files with Pillow, one core"
    return [*rows, row("one 12-megapixel pair, read and judged", taken["piqa"], against, taken["decode"], 2.0)]


MEASURES = {"help": measure_help, "model": measure_model, "folder": measure_folder, "large": measure_large}


def main() -> None:
    """Print the table of times, then that of memory."""
    parser = common.parser(__doc__, data=False)
    parser.add_argument("--only", nargs="+", choices=tuple(MEASURES), help="measure only these")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the slowest measure; others take a multiple")
    parser.add_argument("--folder-pairs", type=int, default=100, help="pairs in the folder (default: %(default)s)")
    given = parser.parse_args()
    keep_freed_memory()  # as the command does
    chosen = given.only or tuple(MEASURES)
    with tempfile.TemporaryDirectory() as folder:
        options = Options(given.model, given.dtype, given.rounds, given.folder_pairs, Path(folder))
        rows = [r for name, measure in MEASURES.items() if name in chosen for r in measure(options)]
    title = f"Speed, medians, {torch.get_num_threads()} threads"
    columns = ("what", "ms", "against", "its ms", "ratio", "aim: at most")
    common.publish([common.Table(title, columns, tuple(rows))], given.json)


if __name__ == "__main__":
    main()
