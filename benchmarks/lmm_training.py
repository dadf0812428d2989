"""`piqa train lmm` at work on drawn edits: what each stage gains and costs, a killed run, two processes.

    python -m benchmarks.lmm_training                 all three, with `scripts/small_vlm.py`'s model before it learnt
    python -m benchmarks.lmm_training --only stages --steps 200

The model is far too small to judge anything: the loss of each stage before and after every stage shows whether
stages learn and whether they undo one another. Then a run is killed, goes on, and is compared with one that was not;
and two processes with half the batch each are compared with one.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import load_file

from benchmarks import common, pictures
from piqa_cli.lmm.loading import load_vlm
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.training.lmm.settings import STAGES
from piqa_cli.training.loop import finished_steps
from scripts.small_vlm import keep_contrast, look_across, write_base

SIZE = (96, 64)  # width, height: small enough that no region is worth enlarging
PHOTOS, EACH = 60, 3
PAUSE = 0.5  # seconds between two looks at a run


def write_model(folder: Path) -> None:
    """The small model that has learnt nothing, but looks from picture to picture."""
    write_base(folder)
    vlm = load_vlm(LmmSettings(model=str(folder), device="cpu"))
    keep_contrast(vlm)
    look_across(vlm)
    vlm.model.save_pretrained(folder)


def write_edits(folder: Path) -> Path:
    """Cuts of the bundled photo with a disc painted over more or less, rated by how much; boxes and texts with them."""
    photo = np.asarray(pictures.example()[0])
    labels, notes = [], []
    for role in ("source", "edited"):
        (folder / role).mkdir(parents=True)
    for number in range(PHOTOS):
        rng = np.random.default_rng(number)
        top, left = int(rng.integers(0, photo.shape[0] - SIZE[1])), int(rng.integers(0, photo.shape[1] - SIZE[0]))
        scene = photo[top : top + SIZE[1], left : left + SIZE[0]]
        Image.fromarray(scene).save(folder / "source" / f"s{number}.png")
        for index in range(EACH):
            edited, box, severity = _painted(scene, rng)
            name, rated = f"s{number}_{index}.png", round(5 - 4 * severity, 2)
            Image.fromarray(edited).save(folder / "edited" / name)
            labels.append({
                "source_img_name": f"s{number}.png", "edited_img_name": name, "prompt": "Paint a disc",
                "overall_score": rated, "prompt_completion": round(3 - 2 * severity, 2),
                "harmony_score": rated, "local_naturalness": rated,
            })  # fmt: skip
            notes.append({"edited_img_name": name, "boxes": [box]})
    (folder / "labels.json").write_text(json.dumps(labels), "utf-8")
    (folder / "annotations.jsonl").write_text("\n".join(map(json.dumps, notes)), "utf-8")
    return folder


def _painted(scene: Any, rng: np.random.Generator) -> tuple[Any, list[int], float]:
    """The edited picture, the disc's box, and how far it was painted over, 0..1."""
    radius, severity = int(rng.integers(10, 20)), float(rng.random())
    x, y = int(rng.integers(radius, SIZE[0] - radius)), int(rng.integers(radius, SIZE[1] - radius))
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    edited = scene.astype(np.float32).copy()
    edited[disc] += severity * (rng.integers(0, 256, 3) - edited[disc])
    return np.rint(edited).astype(np.uint8), [x - radius, y - radius, x + radius, y + radius], severity


def command(base: Path, data: Path, out: Path, **options: Any) -> list[str]:
    """The arguments of `piqa train lmm`."""
    given = {"base": base, "data": data, "out": out, "device": "cpu", "threads": 1, **options}
    return ["train", "lmm", *(f"--{name.replace('_', '-')}={value}" for name, value in given.items())]


def run(arguments: Sequence[str], *flags: str, launcher: Sequence[str] = ()) -> None:
    """A run of piqa to its end."""
    start = launcher or (sys.executable, "-m")
    subprocess.run([*start, "piqa_cli", *arguments, *flags], check=True)


def stages(folder: Path, base: Path, data: Path, steps: int) -> common.Table:
    """The validation loss of every stage, before training and after each stage's best step."""
    out = folder / "stages"
    run(command(base, data, out, steps=steps, learning_rate=2e-3), "--full")
    rows: list[common.Row] = []
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    validated = [line for line in lines if "validation" in line]
    told = [("nothing", next(line for line in validated if line["stage"] == STAGES[0]))]
    told += [(after, next(line for line in validated if line["stage"] == then)) for after, then in pairwise(STAGES)]
    told.append((f"{STAGES[-1]} (last step)", validated[-1]))
    for name, line in told:
        figures = line["validation"]
        rows.append((name, *(figures[f"loss {stage}"] for stage in STAGES), figures["srcc"]))
    columns = ("after", *(f"loss of {stage}" for stage in STAGES), "SRCC")
    return common.Table(f"Validation, {steps} steps a stage", columns, tuple(rows))


def killed(folder: Path, base: Path, data: Path) -> common.Table:
    """How far a run that was killed (SIGKILL) after its first checkpoint and resumed is from a straight one."""
    options: dict[str, Any] = {
        "steps": 300,
        "batch_size": 2,
        "stage": "score",
        "validation_pairs": 8,
        "validate_every": 40,
    }
    run(command(base, data, folder / "straight", **options))
    broken, checkpoint = command(base, data, folder / "broken", **options), folder / "broken" / "score.safetensors"
    process = subprocess.Popen([sys.executable, "-m", "piqa_cli", *broken])
    while process.poll() is None and not checkpoint.is_file():
        time.sleep(PAUSE)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = finished_steps(checkpoint)
    if not 0 < kept < options["steps"]:
        raise SystemExit(f"killed with {kept} of {options['steps']} steps kept: nothing to go on from")
    run(broken, "--resume")
    title = f"A run killed, with {kept} of {options['steps']} steps kept, against a straight one"
    return _compared(title, folder / "straight", folder / "broken")


def processes(folder: Path, base: Path, data: Path) -> common.Table:
    """The same of two processes with two pairs each, and one with four."""
    options = {"steps": 6, "stage": "score", "validation_pairs": 4}
    run(command(base, data, folder / "one", batch_size=4, **options))
    # `accelerate launch --cpu` starts one process whatever it is told; torchrun starts two, which accelerate connects.
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    run(command(base, data, folder / "two", batch_size=2, **options), launcher=launcher)
    return _compared("Two processes against one", folder / "one", folder / "two")


def _compared(title: str, first: Path, second: Path) -> common.Table:
    """How far the adapters' second factors, which start at zero, came to lie apart."""
    ours, theirs = (load_file(folder / "score.safetensors") for folder in (first, second))
    names = [name for name in ours if name.startswith("model.") and "lora_B" in name]
    gone = [ours[name].double() for name in names]
    apart = [ours[name].double() - theirs[name].double() for name in names]
    share = (
        sum(float(part.square().sum()) for part in apart) / sum(float(part.square().sum()) for part in gone)
    ) ** 0.5
    largest = max(float(part.abs().max()) for part in apart)
    columns = ("length of the difference / length of what was learnt", "largest difference of a weight")
    return common.Table(title, columns, ((share, largest),))


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("stages", "killed", "processes"), help="one of the three")
    parser.add_argument("--steps", type=int, default=150, help="a stage, for the first")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base, data = folder / "base", write_edits(folder / "data")
        write_model(base)
        if args.only in (None, "stages"):
            print(stages(folder, base, data, args.steps).markdown())
        if args.only in (None, "killed"):
            print(killed(folder, base, data).markdown())
        if args.only in (None, "processes"):
            print(processes(folder, base, data).markdown())


if __name__ == "__main__":
    main()
