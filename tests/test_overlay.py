from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fakes import FakeAssessor
from piqa_cli.errors import OutputError
from piqa_cli.images import LoadedPair
from piqa_cli.overlay import MAX_HEIGHT, MAX_WIDTH, draw_overlay, save_overlay
from piqa_cli.pipeline import assess_pair
from piqa_cli.regions import encode_heat, encode_mask
from piqa_cli.schema import Assessment, Dimension, Pair, Region, score
from records import ORDINARY

HOTTEST, FAINT = (253, 255, 185), (170, 170, 170)  # the map's last colour over dark grey
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)  # of the first and the second region
GREY = 128


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
    panel = drawing.crop((drawing.width - 400, 0, drawing.width, 300))
    left, top, right, bottom = where(panel, ORANGE)
    assert (left, right, bottom) == (100, 180, 200)
    assert top < 120  # the number's tag stands on the box
    pixels = np.asarray(panel)
    assert (pixels[140, 141] == ORANGE).all(), "the inner corner of the L is not outlined"
    assert (pixels[190, 120] == GREY).all(), "the inside is not to be covered"
    assert (np.asarray(drawing)[:300, :400] == GREY).all(), "the source is not to be drawn on"


def test_each_region_has_its_own_colour_and_a_second_panel_scale_moves_it_along(tmp_path: Path) -> None:
    size = (3000, 2000)
    loaded, assessment = assessed(tmp_path, size)
    regions = (region(rectangle(size, 300, 400, 1500, 1600)), region(rectangle(size, 2400, 200, 2700, 500)))
    drawing = draw_overlay(loaded, assessment.model_copy(update={"regions": regions}))
    start, scale = drawing.width - (drawing.width - 8) // 2, (drawing.width - 8) / 2 / 3000
    for colour, found in ((ORANGE, regions[0]), (BLUE, regions[1])):
        left, _, right, bottom = where(drawing, colour)
        expected = (start + found.box[0] * scale, start + found.box[2] * scale, found.box[3] * scale)
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
        assert drawing.height <= MAX_HEIGHT + 400


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
    assert (np.asarray(drawing)[:300, 408:808] == GREY).all(), "the edited image is not to be drawn on"
    panel = drawing.crop((816, 0, 1216, 300))
    assert where(panel, HOTTEST) == pytest.approx((100, 100, 150, 200), abs=5)
    light = brightness(panel)
    assert (light[:, 210:] == light[0, 399]).all(), "beyond what was looked at nothing is to be drawn"
    assert light[0, 399] < GREY * 0.6


def test_a_likelier_artefact_is_lighter_on_any_ground(tmp_path: Path) -> None:
    loaded, assessment = assessed(tmp_path, (400, 300))
    heat = encode_heat(np.linspace(0, 1, 40)[None], (0, 0, 400, 300))
    drawing = draw_overlay(loaded, assessment.model_copy(update={"artefacts": heat}))
    line = brightness(drawing.crop((816, 150, 1216, 151)))[0, 1:-1]
    assert (np.diff(line) >= -1).all()  # to the rounding of three channels
    assert line[-1] - line[0] > 150


def test_the_legend_says_what_the_map_is_only_where_there_is_one(tmp_path: Path) -> None:
    loaded, assessment = assessed(tmp_path, (400, 300))
    heat = encode_heat(np.zeros((2, 2)), (0, 0, 400, 300))
    without = draw_overlay(loaded, assessment)
    assert without.width == 2 * 400 + 8
    with_map = draw_overlay(loaded, assessment.model_copy(update={"artefacts": heat}))
    faint, none = ((np.asarray(one)[300:] == FAINT).all(2).sum() for one in (with_map, without))
    assert faint > none + 100  # a few of such pixels are the edges of white letters


def test_the_legend_changes_with_the_scores(tmp_path: Path) -> None:
    loaded, assessment = assessed(tmp_path, (640, 480))
    unknown = score(Dimension.HARMONY, None, reason="nothing was edited")
    other = assessment.model_copy(update={"scores": assessment.scores.model_copy(update={"harmony": unknown})})
    first, second = (np.asarray(draw_overlay(loaded, one)) for one in (assessment, other))
    assert first.shape == second.shape
    assert np.array_equal(first[:480], second[:480])
    assert not np.array_equal(first[480:], second[480:])


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
