"""What of the network's faults and artefact map goes into the record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import IDENTITY
from piqa_cli.assessor import Grounding, Judgement
from piqa_cli.compact.framing import open_frame
from piqa_cli.compact.judgement import judge
from piqa_cli.images import load_pair
from piqa_cli.regions import encode_heat, find_regions
from piqa_cli.schema import Dimension, Edit, Kind, Pair, fault

SIZE = (96, 128)
LEVELS = dict.fromkeys((Dimension.HARMONY, Dimension.NATURALNESS, Dimension.PRESERVATION), (3.0, 0.5))
FAULTS = tuple(fault(*one) for one in (("exposure", 0.3), ("seam", 0.9), ("warp", 0.02), ("smear", 0.5)))
HEAT = encode_heat(np.full((2, 2), 0.5), (0, 0, 128, 128))


def judged(folder: Path, kind: Kind, *, prompt: str | None = None, marked: int | None = None) -> Judgement:
    """Of a square that was painted over; `marked` is the value of every pixel of a given mask."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    mask = np.zeros(SIZE, bool)
    mask[30:60, 40:80] = True
    Image.fromarray(pixels).save(folder / "source.png")
    Image.fromarray(np.where(mask[..., None], np.uint8(90), pixels)).save(folder / "edited.png")
    if marked is not None:
        Image.new("L", SIZE[::-1], marked).save(folder / "mask.png")
    paths = {name: str(folder / f"{name}.png") for name in ("source", "edited")}
    given = None if marked is None else str(folder / "mask.png")
    loaded = load_pair(Pair(id="p", **paths, mask=given, prompt=prompt))
    frame = open_frame(loaded.source.pixels, loaded.edited.pixels, source_size=SIZE, edited_size=SIZE, exclude=None)
    change = Edit(edited=kind is not Kind.NONE, probability=0.9, kind=kind, area_fraction=0.1, identical=False)
    regions = find_regions(mask, mask.astype(np.float32), SIZE)
    grounding = Grounding(change, IDENTITY, regions, mask, frame.registration)
    return judge(loaded, grounding, frame, LEVELS, FAULTS, HEAT)


@pytest.mark.parametrize("kind", [Kind.LOCAL, Kind.GLOBAL])
def test_faults_of_an_edit_are_listed_worst_first_without_traces(tmp_path: Path, kind: Kind) -> None:
    found = judged(tmp_path, kind)
    assert [one.kind for one in found.faults] == ["seam", "smear", "exposure"]
    assert found.artefacts == HEAT


@pytest.mark.parametrize("kind", [Kind.NONE, Kind.DIFFERENT])
def test_what_is_no_edit_has_no_faults(tmp_path: Path, kind: Kind) -> None:
    found = judged(tmp_path, kind)
    assert (found.faults, found.artefacts) == ((), None)


def test_an_empty_mask_leaves_nothing_to_find_faults_with(tmp_path: Path) -> None:
    found = judged(tmp_path, Kind.LOCAL, marked=0)
    assert (found.faults, found.artefacts) == ((), None)
    assert judged(tmp_path, Kind.LOCAL, marked=255).faults


def test_what_the_prompt_asked_for_is_no_fault(tmp_path: Path) -> None:
    assert [one.kind for one in judged(tmp_path, Kind.LOCAL, prompt="Make it brighter").faults] == ["seam", "smear"]


@pytest.mark.parametrize(
    ("severity", "level", "kept"),
    [
        (0.0, "slight", 0),
        (0.349, "slight", 0.349),
        (0.35, "moderate", 0.35),
        (0.65, "severe", 0.65),
        (1.2, "severe", 1),
    ],
)
def test_a_severity_has_its_word_and_stays_on_its_scale(severity: float, level: str, kept: float) -> None:
    made = fault("seam", severity)
    assert (made.level, made.severity) == (level, kept)


@pytest.mark.parametrize("severity", [float("nan"), float("inf")])
def test_a_severity_that_is_no_number_is_refused(severity: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        fault("seam", severity)
