"""The executable with the model that is shipped: the two main paths, once each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from conftest import Finished, Pictures, RunPiqa


@pytest.fixture(scope="module")
def assessed(piqa: RunPiqa, files: Pictures, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """A pair with mask, prompt and overlay."""
    overlay = tmp_path_factory.mktemp("overlay") / "overlay.png"
    done = piqa(
        *("assess", files.source, files.edited, "--mask", files.mask, "--prompt", "Repaint the disc"),
        *("--overlay", overlay, "--fail-under", "overall=1", "--offline", "--device", "cpu"),
    )
    return done, overlay


def test_assess_gives_a_whole_record_of_the_shipped_model(assessed: tuple[Finished, Path]) -> None:
    done, _ = assessed
    assert done.status == 0, done.err
    record = done.json()
    assert record["model"]["name"] == "compact"
    assert len(record["model"]["weights_sha256"]) == 64
    assert record["edit"]["edited"] is True
    for name in ("overall", "harmony", "local_naturalness", "preservation"):
        assert 1 <= record["scores"][name]["value"] <= 5
        assert record["scores"][name]["spread"] > 0
    assert record["explanation"]


def test_the_overlay_is_a_picture(assessed: tuple[Finished, Path]) -> None:
    with Image.open(assessed[1]) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100


def test_a_batch_says_of_a_pair_what_assess_says(
    piqa: RunPiqa, make_batch: Callable[[int], Path], files: Pictures, assessed: tuple[Finished, Path]
) -> None:
    folder = make_batch(2)
    (folder / "edited" / "p1.png").write_bytes(b"")
    rows = [
        {
            "source": str(files.source),
            "edited": str(files.edited),
            "mask": str(files.mask),
            "prompt": "Repaint the disc",
        },
        {"source": "source/p0.png", "edited": "edited/p0.png"},
        {"source": "source/p1.png", "edited": "edited/p1.png"},
    ]
    manifest = folder / "list.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = piqa("batch", manifest)
    assert done.status == 6
    first, second, third = done.rows()
    alone = assessed[0].json()
    for name, score in alone["scores"].items():
        assert first["scores"][name]["value"] == pytest.approx(score["value"], abs=1e-4)
    assert first["regions"] == alone["regions"]
    assert second["status"] == "ok"
    assert (third["status"], third["error"]["code"]) == ("error", "E_EMPTY_FILE")
