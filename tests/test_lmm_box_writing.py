"""Boxes are written so that they are read back where they were."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piqa_cli.lmm.boxes import MAX_BOXES, parse_boxes, write_boxes
from piqa_cli.lmm.families import BoxFrame
from piqa_cli.schema import Box

SHAPES = st.tuples(st.integers(32, 4000), st.integers(32, 4000))


@st.composite
def placed(draw: st.DrawFn) -> tuple[tuple[int, int], Box]:
    """A picture's (height, width), and a box in it."""
    height, width = draw(SHAPES)
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (height, width), (x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))


@given(placed(), SHAPES, st.sampled_from(["thousandths", "pixels"]))
def test_a_box_comes_back_to_a_step_of_its_frame_and_exactly_where_steps_are_fine(
    where: tuple[tuple[int, int], Box], seen: tuple[int, int], frame: BoxFrame
) -> None:
    size, box = where
    parsed = parse_boxes(write_boxes([box], frame, size, seen), frame, size, seen)
    assert parsed.reason is None
    (back,) = parsed.boxes
    extent = (1000, 1000) if frame == "thousandths" else seen
    for axis, (side, steps) in enumerate(zip(reversed(size), reversed(extent), strict=True)):
        low, high = abs(back[axis] - box[axis]), abs(back[axis + 2] - box[axis + 2])
        thin = (box[axis + 2] - box[axis]) * steps < 2 * side
        if steps >= side and not thin:
            assert (low, high) == (0, 0)
        assert max(low, high) <= 2 * side / steps + 1


@pytest.mark.parametrize("frame", ["thousandths", "pixels"])
def test_a_picture_that_is_not_square_keeps_its_axes(frame: BoxFrame) -> None:
    size, seen, box = (300, 900), (150, 450), (90, 30, 810, 120)
    written = json.loads(write_boxes([box], frame, size, seen))["bbox_2d"]
    assert written == ([100, 100, 900, 400] if frame == "thousandths" else [45, 15, 405, 60])
    assert parse_boxes(str(json.dumps({"bbox_2d": written})), frame, size, seen).boxes == (box,)


def test_several_boxes_are_a_list_of_bounded_length() -> None:
    boxes = [(n, 0, n + 5, 9) for n in range(0, 200, 2)]
    parsed = parse_boxes(write_boxes(boxes, "thousandths", (500, 400), (0, 0)), "thousandths", (500, 400), (0, 0))
    assert parsed.boxes == tuple(boxes[:MAX_BOXES])
