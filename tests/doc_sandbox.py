"""A folder with the files that the pages' examples name, and programs that stand in for what is not at hand."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

import piqa_cli
import tiny_vlms
import warm
from doc_pages import ROOT
from rated_edits import write_edits

PACKAGE = Path(piqa_cli.__file__).parent
EXAMPLES = PACKAGE / "examples"
WRITES = ("-o", "--output", "--out", "--records", "--report")

# Programs that examples call beside `piqa`, as shell scripts: (name, what it does instead, why).
STAND_INS = (
    ("pip", "exit 0", "installing is what tests/test_release.py tries"),
    ("ruff", "exit 0", "the check of this very repository"),
    ("python3", '[ "$2" = venv ] && mkdir -p "$3/bin" && touch "$3/bin/activate" || exec python "$@"', "as pip"),
    ("curl", 'cat "$(basename "${@: -1}")"', "the network: an address gives the file of its name"),
    ("accelerate", 'while [ "$1" != piqa_cli ]; do shift; done; shift; exec piqa "$@"', "one process stands for four"),
    ("torchrun", 'while [ "$1" != piqa_cli ]; do shift; done; shift; exec piqa "$@"', "one process stands for four"),
    ("srun", 'while [[ $1 == -* || $1 =~ ^[0-9]+$ ]]; do shift; done; exec "$@"', "one task stands for sixteen"),
    ("python", f'exec {shlex.quote(sys.executable)} "$@"', "the one that runs the tests, with its libraries"),
    ("scripts/check", "exit 0", "the check of this very repository"),
    ("scripts/smoke.py", "", "tests/test_release.py runs it"),
)


def build(folder: Path) -> None:
    """Makes what the examples begin with. Outputs that an example reads, but does not make, are there as well."""
    if (ROOT / "docs" / "examples").is_dir():  # files that pages link to
        shutil.copytree(ROOT / "docs" / "examples", folder, dirs_exist_ok=True)
    _pictures(folder)
    _data_set(folder)
    _models(folder)
    env = environment(folder)
    batch = ("batch", "labels.json", "--image-dir", "images", "-q")
    _piqa(folder, env, *batch, "-o", "results.jsonl")
    for name in ("old.jsonl", "new.jsonl", "before.jsonl", "after.jsonl"):
        shutil.copy(folder / "results.jsonl", folder / name)
    _piqa(folder, env, "batch", "manifest.csv", "-q", "-o", "results.csv")
    (folder / ".config" / "fish" / "completions").mkdir(parents=True)
    lora = ("--stage", "score", "--steps", "1", "--batch-size", "2", "--validation-pairs", "2", "--rank", "2")
    _piqa(folder, env, "train", "lmm", "--base", "my-model", "--data", "rated", "--out", "runs/judge", *lora)
    shutil.copytree(folder / "runs" / "judge" / "adapter", folder / "my-adapter")
    (folder / "runs" / "judge" / "model").symlink_to(folder / "my-model")


def environment(folder: Path) -> dict[str, str]:
    """The variables that examples are run with: stand-ins first on the path, nothing that configures piqa."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIQA_", "XDG_", "OPENAI_"))}
    path = os.pathsep.join([str(folder / ".bin"), kept["PATH"]])
    threads = {"OMP_NUM_THREADS": "1"}
    slurm = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_PROCID": "0", "SLURM_NTASKS": "16"}
    return kept | threads | slurm | {"HOME": str(folder), "PATH": path, "HF_HUB_OFFLINE": "1", "TERM": "dumb"}


def put_programs(folder: Path, door: warm.Door) -> None:
    """Fills the folder's `.bin`: `piqa` that runs warm, and the stand-ins."""
    programs = folder / ".bin"
    programs.mkdir()
    door.write_client(programs / "piqa")
    (folder / "scripts").mkdir()
    for name, script, _ in STAND_INS:
        path = folder / name if "/" in name else programs / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n", "utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def remove_outputs(folder: Path, commands: Sequence[Sequence[str]]) -> None:
    """Removes what these `piqa` commands make before one reads it, so that none finds its own output there."""
    seen: set[str] = set()
    for command in commands:
        for before, word in itertools.pairwise(command):
            name = word.rstrip("/")
            if before in WRITES and name not in seen and not {"--resume", "--overwrite"} & set(command):
                path = folder / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
                    Path(f"{path}.jsonl").unlink(missing_ok=True)  # what a table is made of
            seen.add(name)


def _pictures(folder: Path) -> None:
    """One pair by itself: the package's example."""
    shutil.copy(EXAMPLES / "source.jpg", folder / "photo.jpg")
    Image.open(EXAMPLES / "edited.jpg").save(folder / "edited.png", compress_level=1)
    shutil.copy(EXAMPLES / "mask.png", folder / "mask.png")
    shutil.copy(folder / "photo.jpg", folder / "-name-with-a-dash.png")
    for number in range(2):
        shutil.copy(folder / "edited.png", folder / f"try-{number}.png")
    shutil.copytree(EXAMPLES, folder / "src" / "piqa_cli" / "examples")
    (folder / "data" / "photos").mkdir(parents=True)
    for number in range(8):
        shutil.copy(folder / "photo.jpg", folder / "data" / "photos" / f"{number}.jpg")


def _data_set(folder: Path) -> None:
    """Rated edits in every form that the examples name; those of two photos as a folder of pairs."""
    rated = write_edits(folder / "rated", photos=16)
    shutil.copytree(rated, folder / "images", ignore=shutil.ignore_patterns("*.json*"))
    labels = json.loads((rated / "labels.json").read_text("utf-8"))
    for row in labels:
        row["prompt_completion"] = 3.0
    (folder / "labels.json").write_text(json.dumps(labels), "utf-8")
    for name in ("boxes.jsonl", "truth.jsonl"):
        shutil.copy(rated / "annotations.jsonl", folder / name)
    few = labels[:4]
    for role in ("source", "edited"):
        (folder / "pairs" / role).mkdir(parents=True)
        for row in few:
            shutil.copy(rated / role / row[f"{role}_img_name"], folder / "pairs" / role)
    rows = [
        (f"pairs/source/{row['source_img_name']}", f"pairs/edited/{row['edited_img_name']}", row["prompt"])
        for row in few
    ]
    for name in ("manifest.csv", "pairs.csv", "edits.csv"):
        _write_csv(folder / name, ("source", "edited", "prompt"), rows)
    shutil.copytree(folder / "pairs", folder / "pictures")
    requests = [{"id": name, "source": f"source/{row['source_img_name']}", "edited": f"edited/{name}"} for row in few
                for name in [row["edited_img_name"]]]  # fmt: skip
    (folder / "requests.jsonl").write_text("".join(json.dumps(one) + "\n" for one in requests), "utf-8")
    ratings = [
        (f"rater{rater}", row["edited_img_name"], "harmony", round(row["harmony_score"])) for row in few
        for rater in range(3)
    ]  # fmt: skip
    _write_csv(folder / "ratings.csv", ("rater", "image", "dimension", "value"), ratings)


def _write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def _models(folder: Path) -> None:
    """A tiny image-text-to-text model with random weights, and the shipped one where an example has trained its own."""
    shutil.copytree(tiny_vlms.checkpoint("qwen3_vl"), folder / "my-model")
    for run in ("compact", "ours"):
        (folder / "runs" / run).mkdir(parents=True)
        (folder / "runs" / run / "model").symlink_to(PACKAGE / "compact" / "weights")


def _piqa(folder: Path, env: dict[str, str], *arguments: str) -> None:
    status, _, err = warm.capture(arguments, folder=folder, env=env, stdin=b"", stand_in=False)
    if status:
        raise RuntimeError(f"piqa {' '.join(arguments)} ended with {status}: {err.decode()}")
