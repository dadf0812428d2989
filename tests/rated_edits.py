"""A folder of rated edits as `piqa train lmm` reads it: drawn pictures, labels in EPAIQA-15K's format, annotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from pictures import edit, photo

WIDTH, HEIGHT = 96, 64


def write_edits(folder: Path, photos: int, each: int = 2) -> Path:
    """So many edits of each photo; every second one has a written explanation, the others deviations."""
    for role in ("source", "edited"):
        (folder / role).mkdir(parents=True)
    labels, notes = [], []
    for number in range(photos):
        scene = photo(WIDTH, HEIGHT, seed=number)
        Image.fromarray(scene).save(folder / "source" / f"s{number}.png")
        for index in range(each):
            rng = np.random.default_rng((number, index))
            x0, y0 = int(rng.integers(0, WIDTH - 40)), int(rng.integers(0, HEIGHT - 32))
            box = (x0, y0, x0 + int(rng.integers(20, 40)), y0 + int(rng.integers(20, 32)))
            strength = float(rng.random())
            edited, _ = edit(scene, box, seed=1000 + 2 * number + index)
            name = f"s{number}_{index}.png"
            mixed = np.rint(scene * (1 - strength) + edited * strength).astype(np.uint8)
            Image.fromarray(mixed).save(folder / "edited" / name)
            rated = round(5 - 4 * strength, 2)
            labels.append({
                "source_img_name": f"s{number}.png", "edited_img_name": name, "prompt": "Repaint the disc",
                "overall_score": rated, "prompt_completion": None, "harmony_score": rated, "local_naturalness": rated,
            })  # fmt: skip
            known: dict[str, object] = {"edited_img_name": name, "boxes": [box]}
            known |= {"explanation": "The disc stands out."} if index % 2 else {"deviations": {"overall": 0.6}}
            notes.append(known)
    (folder / "labels.json").write_text(json.dumps(labels), "utf-8")
    (folder / "annotations.jsonl").write_text("\n".join(map(json.dumps, notes)), "utf-8")
    return folder
