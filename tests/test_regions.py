"""Run-length masks, connected regions, and the words for where they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from piqa_cli.regions import (
    MAX_REGIONS,
    decode_heat,
    decode_mask,
    describe,
    encode_heat,
    encode_mask,
    find_regions,
    locate,
    place,
    scale_box,
)
from piqa_cli.schema import Box, Heat, Region, RunLengthMask

Mask = NDArray[np.bool_]
SIDES = st.integers(1, 17)
masks = st.tuples(SIDES, SIDES).flatmap(lambda shape: arrays(np.bool_, shape))


def reference_text(mask: Mask) -> str:
    """COCO's encoding, one pixel and one number at a time, as maskApi.c does it."""
    counts, last, length = [], False, 0
    for value in mask.ravel(order="F").tolist():
        if value != last:
            counts.append(length)
            last, length = value, 0
        length += 1
    counts.append(length)
    text = ""
    for index, count in enumerate(counts):
        rest, more = count - (counts[index - 2] if index > 2 else 0), True
        while more:
            group = rest & 0x1F
            rest >>= 5
            more = rest != -1 if group & 0x10 else rest != 0
            text += chr(48 + (group | 0x20 if more else group))
    return text


def resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """Nearest neighbour, index = floor((i + 0.5) * small / big), in whole numbers."""
    rows, columns = ((2 * np.arange(big) + 1) * small // (2 * big) for big, small in zip(size, mask.shape, strict=True))
    picture: Mask = mask[rows][:, columns]
    return picture


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["00", "00"], "4"),  # one run of four zeros
        (["11", "11"], "04"),  # no zeros, four ones
        (["10", "00"], "013"),  # 0 zeros, 1 one, 3 zeros
        (["01", "01"], "22"),  # down the columns: 2 zeros, 2 ones
        (["010", "010", "010"], "333"),  # 3, 3, 3: the third count is not yet a difference
        (["1010", "0101"], "01210O"),  # 0, 1, 2, 2, 2, 1 -> 0, 1, 2, then 2-1, 2-2, and 1-2 = -1 as 11111
    ],
)
def test_small_masks_have_the_texts_worked_out_by_hand(rows: list[str], text: str) -> None:
    mask = np.array([[cell == "1" for cell in row] for row in rows])
    assert encode_mask(mask).counts == text


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        (15, "?"),  # 15 = 01111: sign bit clear, one group
        (16, "`0"),  # 10000 alone would mean -16, so a zero group follows
        (31, "o0"),
        (32, "P1"),  # low five bits 0 with "more" = 32 -> 'P', then 1
        (1000, "Xo0"),
    ],
)
def test_numbers_are_written_in_signed_groups_of_five_bits(pixels: int, text: str) -> None:
    assert encode_mask(np.zeros((pixels, 1), bool)).counts == text
    assert decode_mask(RunLengthMask(size=(pixels, 1), counts=text)).shape == (pixels, 1)


@given(masks)
def test_the_text_is_that_of_the_published_algorithm(mask: Mask) -> None:
    assert encode_mask(mask).counts == reference_text(mask)


@given(masks, SIDES, SIDES)
def test_encoding_at_another_size_is_encoding_the_resized_mask(mask: Mask, height: int, width: int) -> None:
    assert encode_mask(mask, (height, width)).counts == reference_text(resized(mask, (height, width)))


@given(masks, st.integers(1, 60), st.integers(1, 60))
def test_decoding_gives_back_what_was_encoded(mask: Mask, height: int, width: int) -> None:
    encoded = encode_mask(mask, (height, width))
    np.testing.assert_array_equal(decode_mask(encoded), resized(mask, (height, width)))


def test_long_runs_survive_the_round_trip() -> None:
    mask = np.zeros((1500, 1100), bool)
    mask[3:1499, 2:1097:7] = True
    np.testing.assert_array_equal(decode_mask(encode_mask(mask)), mask)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (4,)])
def test_a_mask_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        encode_mask(np.zeros(shape, bool), (2, 2))


@pytest.mark.parametrize(
    ("size", "text", "reason"),
    [
        ((2, 2), "", "non-empty"),
        ((2, 2), "é", "ASCII"),
        ((2, 2), "4 ", "characters"),
        ((2, 2), "4\x7f", "characters"),
        ((2, 2), "P", "cut off"),
        ((2, 2), "5", "add up to 4"),
        ((2, 2), "3", "add up to 4"),
        ((2, 2), "0O5", "0 or more"),  # a count of -1
        ((2, 2), "oooooooo0", "more than 7"),
        ((2, 2), "ooooo?", "add up to 4"),
        ((0, 2), "0", "size"),
        ((-2, -2), "4", "size"),
        ((10**9, 10**9), "4", "size"),
        ((20000, 20000), "4", "size"),
    ],
)
def test_hostile_run_lengths_are_refused(size: tuple[int, int], text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_mask(RunLengthMask(size=size, counts=text))


@given(st.tuples(SIDES, SIDES), st.text(alphabet=[chr(code) for code in range(46, 114)], max_size=40))
def test_any_text_gives_a_mask_of_its_size_or_a_value_error(size: tuple[int, int], text: str) -> None:
    try:
        mask = decode_mask(RunLengthMask(size=size, counts=text))
    except ValueError:
        return
    assert mask.shape == size
    np.testing.assert_array_equal(decode_mask(encode_mask(mask)), mask)


def ones(mask: Mask) -> NDArray[np.float32]:
    return np.ones(mask.shape, np.float32)


def test_a_heat_map_is_bytes_row_by_row_in_base64() -> None:
    heat = encode_heat(np.array([[0, 0.25, 0.5], [1, 0, 0.499]], np.float32), (-40, 20, 200, 260))
    assert heat == Heat(box=(-40, 20, 200, 260), size=(2, 3), values="AECA/wB/")
    assert decode_heat(heat).tolist() == [pytest.approx([0, 64 / 255, 128 / 255]), pytest.approx([1, 0, 127 / 255])]


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 1, width=32)))
def test_a_heat_map_survives_to_half_a_step(values: NDArray[np.float32]) -> None:
    decoded = decode_heat(encode_heat(values, (0, 0, 1, 1)))
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, values, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("values", "box"),
    [
        ([[float("nan"), 0.5]], (0, 0, 1, 1)),
        ([[1.01]], (0, 0, 1, 1)),
        ([[-0.01]], (0, 0, 1, 1)),
        ([[]], (0, 0, 1, 1)),
        ([0.5], (0, 0, 1, 1)),
        ([[0.5]], (3, 0, 3, 1)),
        ([[0.5]], (0, 2, 1, 1)),
    ],
)
def test_what_is_no_heat_map_is_refused(values: list[list[float]], box: Box) -> None:
    with pytest.raises(ValueError, match="heat map"):
        encode_heat(np.array(values, np.float32), box)


@pytest.mark.parametrize(
    "heat",
    [
        Heat(box=(0, 0, 1, 1), size=(2, 3), values="AECA"),
        Heat(box=(0, 0, 1, 1), size=(0, 3), values=""),
        Heat(box=(0, 0, 1, 1), size=(-1, -3), values="AECA"),
        Heat(box=(0, 0, 1, 1), size=(1, 3), values="AE!CA"),
        Heat(box=(0, 0, 1, 1), size=(1, 3), values="AEC"),
        Heat(box=(0, 0, 1, 1), size=(1, 3), values="é"),
        Heat(box=(1, 0, 1, 1), size=(1, 3), values="AECA"),
    ],
)
def test_a_hostile_heat_map_is_refused(heat: Heat) -> None:
    with pytest.raises(ValueError, match=r"base64|ASCII|expected"):
        decode_heat(heat)


def test_regions_are_the_components_largest_first_with_boxes_in_pixels_of_the_image() -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:20, 30:50] = True
    mask[60:90, 100:160] = True
    confidence = np.where(mask, 0.75, 0.0).astype(np.float32)
    large, small = find_regions(mask, confidence, (300, 400))
    assert large.box == (200, 180, 320, 270)
    assert small.box == (60, 30, 100, 60)
    assert large.area_fraction == 30 * 60 / 20000
    assert small.confidence == pytest.approx(0.75)
    assert decode_mask(large.mask).sum() == 90 * 120
    assert large.mask.size == (300, 400)


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    mask = np.eye(40, dtype=bool)
    assert len(find_regions(mask, ones(mask), (40, 40))) == 1


def test_specks_are_dropped_unless_there_is_nothing_else() -> None:
    mask = np.zeros((200, 200), bool)
    mask[5, 5:12] = True  # 7 of 40,000 pixels: under 0.02 %
    assert [region.box for region in find_regions(mask, ones(mask), (200, 200))] == [(5, 5, 12, 6)]
    mask[50:60, 50:60] = True
    mask[100, 100:108] = True  # 8 pixels: just 0.02 %
    boxes = [region.box for region in find_regions(mask, ones(mask), (200, 200))]
    assert boxes == [(50, 50, 60, 60), (100, 100, 108, 101)]


def test_at_most_twenty_regions_are_listed_the_largest() -> None:
    mask = np.zeros((60, 300), bool)
    for index in range(25):
        mask[2 : 4 + index, 10 * index : 10 * index + 5] = True
    regions = find_regions(mask, ones(mask), (60, 300))
    assert len(regions) == MAX_REGIONS
    assert [region.area_fraction for region in regions] == [5 * (2 + index) / 18000 for index in range(24, 4, -1)]


def test_an_empty_mask_has_no_regions_and_a_full_one_has_one() -> None:
    empty = np.zeros((8, 8), bool)
    assert find_regions(empty, ones(empty), (80, 80)) == ()
    (whole,) = find_regions(~empty, ones(empty), (81, 79))
    assert whole.box == (0, 0, 79, 81)
    assert whole.mask.counts == encode_mask(np.ones((81, 79), bool)).counts


def test_confidence_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="alike"):
        find_regions(np.ones((4, 4), bool), np.ones((4, 5), np.float32), (4, 4))


@given(masks.filter(lambda mask: bool(mask.any())), st.integers(17, 60), st.integers(17, 60))
def test_regions_cover_the_enlarged_mask_and_lie_within_their_boxes(mask: Mask, height: int, width: int) -> None:
    regions = find_regions(mask, ones(mask), (height, width))
    total = np.zeros((height, width), int)
    for region in regions:
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        part = decode_mask(region.mask)
        total += part
        outside = part.copy()
        outside[y0:y1, x0:x1] = False
        assert not outside.any()
    if len(regions) < MAX_REGIONS:
        np.testing.assert_array_equal(total, resized(mask, (height, width)))
    areas = [region.area_fraction for region in regions]
    assert areas == sorted(areas, reverse=True)


@given(st.data(), st.integers(1, 50), st.integers(1, 50), st.integers(1, 300), st.integers(1, 300))
def test_scaled_boxes_hold_the_old_box_and_stay_inside(
    data: st.DataObject, h: int, w: int, height: int, width: int
) -> None:
    x0, y0 = data.draw(st.integers(0, w - 1)), data.draw(st.integers(0, h - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, w)), data.draw(st.integers(y0 + 1, h))
    bx0, by0, bx1, by1 = scale_box((x0, y0, x1, y1), (h, w), (height, width))
    assert 0 <= bx0 < bx1 <= width
    assert 0 <= by0 < by1 <= height
    assert bx0 * w <= x0 * width < (bx0 + 1) * w
    assert (bx1 - 1) * w < x1 * width <= bx1 * w
    assert by0 * h <= y0 * height < (by0 + 1) * h
    assert (by1 - 1) * h < y1 * height <= by1 * h


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 60, 30), "upper left"),
        ((70, 0, 130, 30), "upper centre"),
        ((140, 0, 200, 30), "upper right"),
        ((0, 40, 60, 60), "left"),
        ((80, 40, 120, 60), "centre"),
        ((150, 40, 200, 60), "right"),
        ((0, 70, 60, 100), "lower left"),
        ((80, 80, 120, 100), "lower centre"),
        ((140, 70, 200, 100), "lower right"),
        ((0, 0, 100, 100), "left half"),
        ((100, 0, 200, 100), "right half"),
        ((0, 0, 200, 50), "upper half"),
        ((0, 45, 200, 100), "lower half"),
        ((0, 90, 200, 100), "bottom edge"),
        ((0, 0, 200, 10), "top edge"),
        ((0, 0, 10, 100), "left edge"),
        ((90, 0, 110, 100), "middle, full height"),
        ((0, 40, 200, 60), "middle, full width"),
        ((0, 0, 200, 100), "whole picture"),
        ((10, 5, 190, 95), "whole picture"),
    ],
)
def test_a_box_is_placed_in_words(box: Box, words: str) -> None:
    assert place(box, (100, 200)) == words


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 60, 30), "in the upper left"),
        ((0, 40, 60, 60), "on the left"),
        ((0, 0, 100, 100), "in the left half"),
        ((0, 90, 200, 100), "along the bottom edge"),
        ((90, 0, 110, 100), "in the middle, full height"),
        ((0, 0, 200, 100), "across the whole picture"),
    ],
)
def test_a_place_has_the_words_of_a_sentence(box: Box, words: str) -> None:
    assert locate(box, (100, 200)) == words


@given(st.data(), st.integers(1, 60), st.integers(1, 60))
def test_mirroring_a_box_mirrors_its_words(data: st.DataObject, height: int, width: int) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    turned = place((y0, x0, y1, x1), (width, height))  # rows and columns exchanged
    words = {"upper centre": "left", "lower centre": "right", "left": "upper centre", "right": "lower centre"}
    words |= {
        "upper right": "lower left",
        "lower left": "upper right",
        "upper half": "left half",
        "lower half": "right half",
    }
    words |= {
        "left half": "upper half",
        "right half": "lower half",
        "top edge": "left edge",
        "bottom edge": "right edge",
    }
    words |= {"left edge": "top edge", "right edge": "bottom edge"}
    words |= {"middle, full width": "middle, full height", "middle, full height": "middle, full width"}
    here = place((x0, y0, x1, y1), (height, width))
    assert turned == words.get(here, here)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.12, "upper left, 12 % of the image"),
        (0.004, "upper left, 0.4 % of the image"),
        (0.0004, "upper left, under 0.1 % of the image"),
        (0.0, "upper left, under 0.1 % of the image"),
    ],
)
def test_a_region_is_described_by_place_and_size(fraction: float, text: str) -> None:
    encoded = encode_mask(np.ones((2, 2), bool))
    region = Region(box=(0, 0, 30, 30), area_fraction=fraction, confidence=1, mask=encoded)
    assert describe(region, (100, 100)) == text
