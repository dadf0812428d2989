from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fakes import FakeAssessor
from piqa_cli.errors import OutputError
from piqa_cli.images import LoadedPair
from piqa_cli.overlay import COLOURS, HEAT_COLOURS, LEAST_WIDTH, MAX_BYTES, MAX_WIDTH, draw_overlay, save_overlay
from piqa_cli.overlay.lettering import Lettering
from piqa_cli.pipeline import assess_pair
from piqa_cli.regions import encode_heat, encode_mask
from piqa_cli.schema import Assessment, Dimension, Pair, Region, score
from records import ORDINARY

HOTTEST, FAINT = (253, 255, 185), (170, 170, 170)  # the map's last colour over dark grey
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)  # of the first and the second region
GREY = 128
TITLE = Lettering(13).line  # height of the titles above small pictures


def assessed(
    folder: Path, size: tuple[int, int], source_size: tuple[int, int] | None = None
) -> tuple[LoadedPair, Assessment]:
    """A flat grey pair of (width, height), with ORDINARY's scores and no region."""
    Image.new("RGB", source_size or size, (GREY,) * 3).save(folder / "source.png")
    Image.new("RGB", size, (GREY,) * 3).save(folder / "edited.png")
    pair = Pair(id="p", source=str(folder / "source.png"), edited=str(folder / "edited.png"))
    loaded, assessment = assess_pair(pair, FakeAssessor())
    return loaded, assessment.model_copy(update={"regions": (), "scores": ORDINARY.scores})


def region(mask: NDArray[np.bool_]) -> Region:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Region(box=box, area_fraction=float(mask.mean()), confidence=0.9, mask=encode_mask(mask))


def rectangle(size: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros((size[1], size[0]), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def where(drawing: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Bounding box of all pixels of exactly that colour."""
    rows, columns = np.nonzero((np.asarray(drawing) == colour).all(2))
    assert rows.size, f"nothing is drawn in {colour}"
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_a_region_is_outlined_where_it_lies_on_the_edited_image_only(tmp_path: Path) -> None:
    size = (400, 300)
    loaded, assessment = assessed(tmp_path, size)
    mask = rectangle(size, 100, 120, 180, 200)
    mask[120:160, 100:140] = False  # an L: its outline is not its box
    drawing = draw_overlay(loaded, assessment.model_copy(update={"regions": (region(mask),)}))
    panel = drawing.crop((drawing.width - 400, TITLE, drawing.width, TITLE + 300))
    left, top, right, bottom = where(panel, ORANGE)
    assert (left, right, bottom) == (100, 180, 200)
    assert top < 120  # the number's tag stands on the box
    pixels = np.asarray(panel)
    assert (pixels[140, 141] == ORANGE).all(), "the inner corner of the L is not outlined"
    assert (pixels[190, 120] == GREY).all(), "the inside is not to be covered"
    assert (np.asarray(drawing)[TITLE : TITLE + 300, :400] == GREY).all(), "the source is not to be drawn on"


def test_each_region_has_its_own_colour_and_a_second_panel_scale_moves_it_along(tmp_path: Path) -> None:
    size = (3000, 2000)
    loaded, assessment = assessed(tmp_path, size)
    regions = (region(rectangle(size, 300, 400, 1500, 1600)), region(rectangle(size, 2400, 200, 2700, 500)))
    drawing = draw_overlay(loaded, assessment.model_copy(update={"regions": regions}))
    start, scale = drawing.width - (drawing.width - 8) // 2, (drawing.width - 8) / 2 / 3000
    height, title = round(2000 * scale), Lettering(22).line
    for colour, found in ((ORANGE, regions[0]), (BLUE, regions[1])):
        left, _, right, bottom = where(drawing.crop((0, 0, drawing.width, title + height)), colour)
        expected = (start + found.box[0] * scale, start + found.box[2] * scale, title + found.box[3] * scale)
        assert (left, right, bottom) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    ("size", "source_size"),
    [
        ((4000, 3000), None),
        ((64, 48), None),
        ((32, 512), None),
        ((512, 32), None),
        ((40_000, 2500), None),
        ((400, 300), (512, 32)),
        ((400, 300), (32, 512)),
        ((640, 480), (512, 512)),
    ],
)
def test_any_shape_gives_a_drawing_of_bounded_size(
    tmp_path: Path, size: tuple[int, int], source_size: tuple[int, int] | None
) -> None:
    loaded, assessment = assessed(tmp_path, size, source_size)
    whole = rectangle(size, 0, 0, *size)
    corner = rectangle(size, size[0] - 3, size[1] - 3, *size)
    regions = region(whole), region(corner)
    for heat in (None, encode_heat(np.ones((8, 8)), (-50, -50, 30, 30))):
        drawing = draw_overlay(loaded, assessment.model_copy(update={"regions": regions, "artefacts": heat}))
        assert 300 <= drawing.width <= MAX_WIDTH
        assert drawing.height <= 1200 + 500


def brightness(drawing: Image.Image) -> NDArray[np.float64]:
    """0..255, of everything in it."""
    return np.asarray(drawing.convert("L"), np.float64)


def test_the_artefacts_lie_where_they_were_seen_on_a_third_panel(tmp_path: Path) -> None:
    loaded, assessment = assessed(tmp_path, (400, 300))
    values = np.zeros((30, 30))
    values[10:20, 20:25] = 1.0
    heat = encode_heat(values, (-100, 0, 200, 300))  # a third of it beyond the picture; a cell is 10 pixels
    drawing = draw_overlay(loaded, assessment.model_copy(update={"artefacts": heat}))
    assert drawing.width == 3 * 400 + 2 * 8
    top = Lettering(drawing.width // 64).line
    assert (np.asarray(drawing)[top : top + 300, 408:808] == GREY).all(), "the edited image is not to be drawn on"
    panel = drawing.crop((816, top, 1216, top + 300))
    assert where(panel, HOTTEST) == pytest.approx((100, 100, 150, 200), abs=5)
    light = brightness(panel)
    assert (light[:, 210:] == light[0, 399]).all(), "beyond what was looked at nothing is to be drawn"
    assert light[0, 399] < GREY * 0.6


def test_a_likelier_artefact_is_lighter_on_any_ground(tmp_path: Path) -> None:
    loaded, assessment = assessed(tmp_path, (400, 300))
    heat = encode_heat(np.linspace(0, 1, 40)[None], (0, 0, 400, 300))
    drawing = draw_overlay(loaded, assessment.model_copy(update={"artefacts": heat}))
    line = brightness(drawing.crop((816, 170, 1216, 171)))[0, 1:-1]
    assert (np.diff(line) >= -1).all()  # to the rounding of three channels
    assert line[-1] - line[0] > 150


def test_the_scale_of_the_map_stands_in_the_legend_only_where_there_is_one(tmp_path: Path) -> None:
    loaded, assessment = assessed(tmp_path, (400, 300))
    heat = encode_heat(np.zeros((2, 2)), (0, 0, 400, 300))
    without = draw_overlay(loaded, assessment)
    assert without.width == 2 * 400 + 8
    with_map = draw_overlay(loaded, assessment.model_copy(update={"artefacts": heat}))
    legends = [np.asarray(one)[TITLE + 310 :] for one in (with_map, without)]
    for step in HEAT_COLOURS[1:-1]:
        seen = [(np.abs(legend.astype(int) - step).max(axis=2) <= 4).any() for legend in legends]
        assert seen == [True, False], step


def test_the_legend_changes_with_the_scores(tmp_path: Path) -> None:
    loaded, assessment = assessed(tmp_path, (640, 480))
    unknown = score(Dimension.HARMONY, None, reason="nothing was edited")
    other = assessment.model_copy(update={"scores": assessment.scores.model_copy(update={"harmony": unknown})})
    first, second = (np.asarray(draw_overlay(loaded, one)) for one in (assessment, other))
    assert first.shape == second.shape
    pictures = Lettering(20).line + 480
    assert np.array_equal(first[:pictures], second[:pictures])
    assert not np.array_equal(first[pictures:], second[pictures:])


@pytest.mark.parametrize(("name", "file_format"), [("o.png", "PNG"), ("o.JPG", "JPEG"), ("-a b\n.webp", "WEBP")])
def test_the_overlay_is_written_in_the_format_of_its_suffix(tmp_path: Path, name: str, file_format: str) -> None:
    save_overlay(*assessed(tmp_path, (64, 64)), str(tmp_path / name))
    with Image.open(tmp_path / name) as written:
        assert written.format == file_format
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "edited.png", "source.png"])


@pytest.mark.parametrize("name", ["no/such/folder/o.png", "o.txt", "o", "o.heic.xyz"])
def test_an_overlay_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError) as caught:
        save_overlay(*assessed(tmp_path, (64, 64)), str(tmp_path / name))
    assert caught.value.file == str(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_no_half_overlay(tmp_path: Path) -> None:
    (tmp_path / "o.png.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        save_overlay(*assessed(tmp_path, (64, 64)), str(tmp_path / "o.png"))
    assert not (tmp_path / "o.png.part").is_symlink()
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_file_is_small_enough_to_be_sent_and_keeps_the_pixels_that_its_format_allows(
    tmp_path: Path, suffix: str
) -> None:
    noise = np.random.default_rng(0).integers(60, 200, (600, 800, 3), np.uint8)  # nothing compresses worse
    for name in ("source", "edited"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    pair = Pair(id="p", source=str(tmp_path / "source.png"), edited=str(tmp_path / "edited.png"))
    target = tmp_path / f"o.{suffix}"
    save_overlay(*assess_pair(pair, FakeAssessor()), str(target))
    assert target.stat().st_size <= MAX_BYTES
    with Image.open(target) as written:
        assert LEAST_WIDTH <= written.width <= MAX_WIDTH
        assert (written.width < 1500) == (suffix == "png")


def test_very_wide_pictures_are_stacked_and_others_stand_side_by_side(tmp_path: Path) -> None:
    def panels(size: tuple[int, int], source: tuple[int, int] | None = None) -> Image.Image:
        return draw_overlay(*assessed(tmp_path, size, source))

    assert panels((1500, 300)).width == 1500
    assert panels((300, 1500)).width > 2 * 240
    assert panels((1500, 300), (300, 1500)).width > 1500


def luminance(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB 0..255 to linear light 0..1 (IEC 61966-2-1)."""
    values = colours / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear sRGB to CIELAB under D65 (CIE 15)."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.0891])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


VISIONS = {
    "ordinary": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def seen_as(colours: tuple[tuple[int, int, int], ...], vision: str) -> NDArray[np.float64]:
    """Colours in CIELAB as a person with this vision sees them.

    The matrices are those of severity 1 of Machado, Oliveira and Fernandes, "A Physiologically-based Model for
    Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009, table 1, on linear light.
    """
    return lab(np.clip(luminance(np.array(colours, np.float64)) @ VISIONS[vision].T, 0, 1))


@pytest.mark.parametrize("vision", VISIONS)
def test_regions_are_told_apart_and_the_map_gets_lighter_with_any_colour_vision(vision: str) -> None:
    lines = seen_as(COLOURS, vision)
    gaps = np.linalg.norm(lines[:, None] - lines[None], axis=-1)
    assert gaps[~np.eye(len(lines), dtype=bool)].min() > 15  # CIE 1976; 2.3 is just noticeable
    heat = seen_as(HEAT_COLOURS, vision)
    assert np.diff(heat[:, 0]).min() > 7  # of a lightness of 100, at each of the steps
    ground = seen_as(((24, 24, 24),), vision)
    assert np.abs(lines[:, 0] - ground[:, 0]).min() > 30, "the swatches must be seen on the legend"


def test_text_in_any_script_and_of_any_length_stays_within_its_lines() -> None:
    letters = Lettering(16)
    for text in ("remove the spoon " * 40, "字" * 400, "a" * 900, "\x1b[31m\u202e" * 90, "é"):
        lines = letters.wrap(text, 300, 2)
        assert 1 <= len(lines) <= 2
        assert all(letters.width(line) <= 300 for line in lines)
        assert len(text) < 2 or lines[-1].endswith("…")
        assert all(line.isprintable() for line in lines)
    assert letters.wrap("a short prompt", 300, 2) == ["a short prompt"]
    assert letters.cut("folder/picture.png", 60, keep_end=True).endswith(".png")
    assert letters.wrap("   ", 300, 2) == []


def test_a_long_prompt_in_another_script_does_not_widen_the_drawing(tmp_path: Path) -> None:
    loaded, assessment = assessed(tmp_path, (320, 200))
    told = assessment.pair.model_copy(update={"prompt": "Убери ложку со стола 删除 " * 30})
    drawing = draw_overlay(loaded, assessment.model_copy(update={"pair": told}))
    assert drawing.width == draw_overlay(loaded, assessment).width
