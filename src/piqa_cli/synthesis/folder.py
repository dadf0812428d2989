"""Samples as a folder to look at: pictures, masks, labels and a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from piqa_cli.errors import OutputError
from piqa_cli.synthesis.pixels import U8, Mask
from piqa_cli.synthesis.stream import Sample

_CAPTION = 14  # pixels of text under a row
_ROWS = 60  # of the contact sheet
_COLUMNS = 3  # samples beside each other on it


def write_folder(samples: Iterable[Sample], out: Path | str) -> int:
    """Writes `source/`, `edited/`, `mask/` (PNG, one name), `labels.jsonl` and `contact-sheet.png`.

    Returns the number of samples written. `make_sample` makes each again from the recipe in its row.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = Path(out)
    shown: list[Sample] = []
    count = 0
    try:
        for name in ("source", "edited", "mask"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        with (folder / "labels.jsonl").open("w", encoding="utf-8") as labels:
            for count, sample in enumerate(samples, 1):
                file = f"{count - 1:06d}.png"
                Image.fromarray(sample.source).save(folder / "source" / file)
                Image.fromarray(sample.edited).save(folder / "edited" / file)
                Image.fromarray(sample.mask.astype(np.uint8) * 255).save(folder / "mask" / file)
                labels.write(json.dumps(_row(file, sample)) + "\n")
                if len(shown) < _ROWS:
                    shown.append(sample)
        if shown:
            contact_sheet(shown).save(folder / "contact-sheet.png")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error})", file=str(folder), found=str(error)) from error
    return count


def contact_sheet(samples: Sequence[Sample], columns: int = _COLUMNS, side: int = 160) -> Image.Image:
    """Source | edited | edited with the mask's outline, a caption under each; `side` pixels a picture."""
    rows = -(-len(samples) // columns)
    sheet = Image.new("RGB", (columns * (3 * side + 8), rows * (side + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, sample in enumerate(samples):
        left, top = index % columns * (3 * side + 8), index // columns * (side + _CAPTION)
        for place, pixels in enumerate((sample.source, sample.edited, _marked(sample.edited, sample.mask))):
            thumbnail = Image.fromarray(pixels)
            thumbnail.thumbnail((side, side))
            sheet.paste(thumbnail, (left + place * side, top))
        draw.text((left + 2, top + side + 1), _caption(sample), fill="black")
    return sheet


def _marked(picture: U8, mask: Mask) -> U8:
    inside = np.pad(mask, 1, mode="edge")
    core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    marked = np.where(mask[..., None], picture, picture // 3 + 100).astype(np.uint8)
    marked[mask & ~core] = (255, 0, 80)
    return marked


def _caption(sample: Sample) -> str:
    faults = " ".join(f"{name} {amount:.2f}" for name, amount in sample.faults[:3])
    drift = f" drift {sample.drift_severity:.2f}" if sample.drift_severity else ""
    content = f" on {sample.content}" if sample.content not in (None, sample.family) else ""
    return f"{sample.seed} {sample.family} {sample.severity:.2f}{content} {sample.mask.mean():.1%} {faults}{drift}"


def _row(file: str, sample: Sample) -> dict[str, object]:
    return {
        "id": file.removesuffix(".png"),
        "source": f"source/{file}",
        "edited": f"edited/{file}",
        "mask": f"mask/{file}",
        "kind": sample.kind.value,
        "family": sample.family,
        "content": sample.content,
        "fault": sample.fault,
        "faults": dict(sample.faults),
        "severity": sample.severity,
        "harmony_severity": sample.harmony_severity,
        "naturalness_severity": sample.naturalness_severity,
        "drift_severity": sample.drift_severity,
        "area_fraction": float(sample.mask.mean()),
        "photo": sample.photo,
        "seed": sample.seed,
        "size": [sample.mask.shape[0], sample.mask.shape[1]],
    }
