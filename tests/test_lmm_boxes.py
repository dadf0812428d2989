"""Boxes out of replies: every family's frame, on pictures that are not square, turned or reduced; nonsense is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import photo, save, turned
from piqa_cli.images import load_pair
from piqa_cli.images.loading import ImagePolicy
from piqa_cli.lmm.boxes import parse_boxes
from piqa_cli.lmm.families import FAMILIES
from piqa_cli.lmm.greedy import write
from piqa_cli.lmm.grounding import size_of
from piqa_cli.lmm.loading import load_vlm
from piqa_cli.lmm.prompts import compare
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.lmm.views import MAX_PIXELS, region_view, view, window
from piqa_cli.schema import Box, Pair
from tiny_vlms import checkpoint

WIDE = (400, 1000)  # height, width
SEEN = (280, 700)  # the same as a processor might resize it


@pytest.mark.parametrize(
    "reply",
    [
        '{"bbox_2d": [100, 250, 300, 500]}',
        '```json\n[\n\t{"bbox_2d": [100, 250, 300, 500], "label": "the 2nd cup"}\n]\n```',
        "<|box_start|>(100,250),(300,500)<|box_end|>",
        "(100, 250), (300, 500)",
        "the cup<ref></ref><box>[[100, 250, 300, 500]]</box>",
        "[100.0, 250.0, 300.0, 500.0]",
        "100, 250, 300, 500",
        "The box is 100, 250, 300, 500.",
    ],
)
def test_a_box_in_thousandths_is_scaled_by_each_side_of_its_own(reply: str) -> None:
    assert parse_boxes(reply, "thousandths", WIDE, SEEN).boxes == ((100, 100, 300, 200),)


def test_a_box_in_pixels_is_scaled_from_the_picture_that_the_model_saw() -> None:
    assert parse_boxes('{"bbox_2d": [70, 70, 210, 140]}', "pixels", WIDE, SEEN).boxes == ((100, 100, 300, 200),)


@pytest.mark.parametrize(
    ("reply", "box"),
    [
        ("[0, 0, 1000, 1000]", (0, 0, 1000, 400)),
        ("[999, 999, 1000, 1000]", (999, 399, 1000, 400)),
        ("[290, 290, 570, 570]", (290, 116, 570, 228)),
        ("[1, 1, 2, 2]", (1, 0, 2, 1)),
        ("[0, 0, 1010, 1005]", (0, 0, 1000, 400)),
    ],
)
def test_borders_go_outwards_to_whole_pixels_and_stay_in_the_picture(reply: str, box: Box) -> None:
    assert parse_boxes(reply, "thousandths", WIDE, SEEN).boxes == (box,)


def test_every_box_of_a_reply_is_read_once() -> None:
    reply = '[{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [500, 500, 600, 600]}, {"bbox_2d": [0, 0, 100, 100]}]'
    assert parse_boxes(reply, "thousandths", WIDE, SEEN).boxes == ((0, 0, 100, 40), (500, 200, 600, 240))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "no box"),
        ("I cannot see a change.", "no box"),
        ("There are 3 cups and 1 spoon at 10 and 20.", "no box"),
        ("[100, 250, 300]", "no box"),
        ("1, 2, 3, 4, 5", "no box"),
        ("[300, 250, 100, 500]", "without area"),
        ("[100, 250, 100, 500]", "without area"),
        ("[0, 0, 0, 0]", "without area"),
        ("[-5, 0, 100, 100]", "outside 0..1000"),
        ("[100, 100, 1200, 500]", "outside 0..1000"),
        ("[0.1, 0.25, 0.3, 0.5]", "shares of the sides"),
        ("[1e400, 0, 1e401, 5]", "not finite"),
        ('[{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [9, 9, 9, 9]}]', "without area"),
        (", ".join(["[0, 0, 5, 5]"] * 21), "21 boxes"),
    ],
)
def test_nonsense_is_no_box_and_says_why(reply: str, why: str) -> None:
    parsed = parse_boxes(reply, "thousandths", WIDE, SEEN)
    assert parsed.boxes == ()
    assert parsed.reason is not None
    assert why in parsed.reason


def test_a_family_without_a_frame_has_no_boxes() -> None:
    assert parse_boxes("[1, 2, 3, 4]", FAMILIES["llava"].box_frame, WIDE, SEEN).boxes == ()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_box_of_a_turned_and_reduced_file_is_in_the_pixels_a_person_sees(tmp_path: Path, orientation: int) -> None:
    """A mark in the lower left of the upright picture; the model sees the upright, smaller picture."""
    pixels = np.full((300, 900, 3), 90, np.uint8)
    pixels[200:260, 90:270] = (255, 0, 0)
    stored, exif = turned(pixels, orientation)
    path = save(tmp_path / "a.png", stored, exif=exif)
    pair = load_pair(Pair(id="a", source=path, edited=path), ImagePolicy(working_side=450))
    assert size_of(pair) == (300, 900)
    assert pair.edited.pixels.shape == (150, 450, 3)
    shown = np.asarray(view(pair.edited.pixels))
    rows, columns = np.nonzero((shown[..., 0] > 200) & (shown[..., 1] < 50))
    box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    thousandths = [round(1000 * v / shown.shape[1 - i % 2]) for i, v in enumerate(box)]
    for frame, numbers in (("pixels", box), ("thousandths", thousandths)):
        (found,) = parse_boxes(str(numbers), frame, size_of(pair), shown.shape[:2]).boxes  # type: ignore[arg-type]
        np.testing.assert_allclose(found, (90, 200, 270, 260), atol=2)


@pytest.mark.parametrize("size", [(60, 300), (300, 60), (113, 97)])
def test_the_frame_in_pixels_is_the_one_the_processor_made(size: tuple[int, int]) -> None:
    vlm = load_vlm(LmmSettings(model=str(checkpoint("qwen2_5_vl")), device="cpu", dtype="fp32", offline=True))
    image = Image.fromarray(photo(size[1], size[0]))
    (reply,) = write(vlm, [compare(image.resize((70, 70)), image, None, "x")], "Where?", 1)
    made = vlm.processor.image_processor(images=[image], return_tensors="pt")["image_grid_thw"][0].tolist()
    assert reply.seen[1] == (14 * made[1], 14 * made[2])
    height, width = reply.seen[1]
    assert (height > width) == (size[0] > size[1])
    whole = parse_boxes(f"[0, 0, {width}, {height}]", FAMILIES["qwen2_5_vl"].box_frame, size, reply.seen[1])
    assert whole.boxes == ((0, 0, size[1], size[0]),)


def test_a_window_has_surroundings_and_stays_in_the_picture() -> None:
    assert window((400, 400, 600, 500), (1000, 1000)) == (350, 300, 650, 600)
    assert window((0, 0, 200, 200), (1000, 1000)) == (0, 0, 300, 300)
    assert window((980, 990, 1000, 1000), (1000, 1000)) == (840, 840, 1000, 1000)
    assert window((0, 0, 500, 90), (100, 500)) == (0, 0, 500, 100)


def test_the_region_is_cut_from_the_finest_pixels_there_are() -> None:
    pixels = photo(1000, 600)
    shown = region_view(pixels, [(800, 400, 1600, 800)], (1200, 2000))  # the file is twice as large as what was loaded
    assert shown is not None
    np.testing.assert_array_equal(np.asarray(shown), pixels[0:600, 300:900])


def test_regions_that_fill_the_picture_are_not_shown_twice() -> None:
    pixels = photo(300, 200)
    assert region_view(pixels, [], (200, 300)) is None
    assert region_view(pixels, [(0, 0, 300, 200)], (200, 300)) is None
    far_apart = region_view(pixels, [(0, 0, 40, 40), (260, 160, 300, 200)], (200, 300))
    assert far_apart is not None
    assert far_apart.size == (448, 448)  # the largest alone, enlarged


def test_a_large_picture_is_shown_with_bounded_pixels_in_its_own_shape() -> None:
    shown = view(photo(2000, 1000))
    assert shown.width * shown.height <= MAX_PIXELS
    assert shown.width / shown.height == pytest.approx(2, abs=0.01)
    assert view(photo(64, 40)).size == (64, 40)
