"""A reply in words -> boxes in pixels of the edited image, or the reason why there is none; and the other way.

Each family writes boxes in its own way and its own frame (`families.Family.box_frame`). What is not clearly a box in
that frame is none: no number is clamped into place, swapped or made up.

    {"bbox_2d": [x0, y0, x1, y1]}                          qwen2.5-vl, qwen3-vl; also with "box", "bbox"
    <|box_start|>(x0,y0),(x1,y1)<|box_end|>                qwen2-vl
    <box>[[x0, y0, x1, y1]]</box>                          internvl
    [x0, y0, x1, y1]  or  x0, y0, x1, y1                   any, if it is all that the reply holds of numbers
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from piqa_cli.lmm.families import BoxFrame
from piqa_cli.schema import Box

MAX_BOXES = 20

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_GAP = r"\s*,\s*"
_FOUR = _GAP.join([f"({_NUMBER})"] * 4)
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf'"(?:bbox_2d|bbox|box_2d|box)"\s*:\s*\[\s*{_FOUR}\s*\]',
        rf"\(\s*({_NUMBER}){_GAP}({_NUMBER})\s*\){_GAP}\(\s*({_NUMBER}){_GAP}({_NUMBER})\s*\)",
        rf"\[\s*{_FOUR}\s*\]",
    )
)
_BARE = re.compile(rf"[^\d\[\](){{}}]*?{_FOUR}[^\d\[\](){{}}]*")
_OVERSHOOT = 0.02  # of the side: a border that is rounded outwards, by up to a patch
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Parsed:
    """Boxes, half-open x0, y0, x1, y1 in pixels of the edited image; where there are none, `reason` says why."""

    boxes: tuple[Box, ...] = ()
    reason: str | None = None


def parse_boxes(reply: str, frame: BoxFrame, size: tuple[int, int], seen: tuple[int, int]) -> Parsed:
    """All boxes of a reply; none of them if one makes no sense.

    Args:
        reply: what the model wrote.
        frame: in which frame its family writes boxes.
        size: (height, width) of the edited image as a person sees it, after EXIF rotation.
        seen: (height, width) of the edited image as the processor resized it; used by the frame `pixels`.
    """
    if frame == "none":
        return Parsed(reason="this kind of model writes no boxes")
    found = _numbers(reply)
    if not found:
        return Parsed(reason=f"no box in the reply {_quote(reply)}")
    if len(found) > MAX_BOXES:
        return Parsed(reason=f"{len(found)} boxes in one reply")
    extent = (_THOUSAND, _THOUSAND) if frame == "thousandths" else seen
    boxes = []
    for numbers in found:
        reason = _nonsense(numbers, extent, frame)
        if reason:
            return Parsed(reason=f"{reason} in the reply {_quote(reply)}")
        boxes.append(_to_pixels(numbers, extent, size))
    return Parsed(tuple(dict.fromkeys(boxes)))


def write_boxes(boxes: Sequence[Box], frame: BoxFrame, size: tuple[int, int], seen: tuple[int, int]) -> str:
    """The reply that `parse_boxes` reads these boxes from, as JSON; at most `MAX_BOXES`.

    Exact where the frame has at least as many steps as the side has pixels; else a corner is off by up to a step, and
    no box is written without area.

    Args:
        boxes: at least one, half-open, in pixels of the edited image.
        frame: as for `parse_boxes`, not `none`.
        size: as for `parse_boxes`.
        seen: as for `parse_boxes`.
    """
    (high, wide), (height, width) = (_THOUSAND, _THOUSAND) if frame == "thousandths" else seen, size
    written = []
    for x0, y0, x1, y1 in boxes[:MAX_BOXES]:
        (left, right), (top, bottom) = _steps(x0, x1, width, wide), _steps(y0, y1, height, high)
        written.append(f'{{"bbox_2d": [{left}, {top}, {right}, {bottom}]}}')
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def _steps(low: int, high: int, side: int, extent: int) -> tuple[int, int]:
    """Two bounds on a side of so many pixels, in a frame of so many steps.

    Reading rounds outwards. So fine steps are rounded inwards, which comes back exactly; coarse ones to the nearest.
    """
    first, last = low * extent / side, high * extent / side
    start, end = (_up(first), _down(last)) if extent >= side else (round(first), round(last))
    if end > start:
        return start, end
    start = min(_down(first), extent - 1)
    return start, max(start + 1, min(extent, _up(last)))


def _numbers(reply: str) -> list[tuple[float, ...]]:
    """Groups of four numbers, by the first form that occurs."""
    for form in _FORMS:
        if found := form.findall(reply):
            return [tuple(float(number) for number in group) for group in found]
    bare = _BARE.fullmatch(reply.strip())
    return [tuple(float(number) for number in bare.groups())] if bare else []


def _nonsense(numbers: tuple[float, ...], extent: tuple[int, int], frame: BoxFrame) -> str | None:
    """Why these four numbers are no box in a frame of that height and width."""
    x0, y0, x1, y1 = numbers
    height, width = extent
    if not all(math.isfinite(number) for number in numbers):
        return "a number that is not finite"
    if any(number % 1 for number in numbers) and max(numbers) <= 1:
        return f"shares of the sides instead of {_frame_name(extent, frame)}"
    if x1 <= x0 or y1 <= y0:
        return "a box without area"
    if (
        min(x0, y0) < 0
        or x0 >= width
        or y0 >= height
        or x1 > width * (1 + _OVERSHOOT)
        or y1 > height * (1 + _OVERSHOOT)
    ):
        return f"a box outside {_frame_name(extent, frame)}"
    return None


def _to_pixels(numbers: tuple[float, ...], extent: tuple[int, int], size: tuple[int, int]) -> Box:
    """Outwards to whole pixels of the edited image, at least one."""
    x0, y0, x1, y1 = numbers
    (seen_h, seen_w), (height, width) = extent, size
    left, top = min(width - 1, _down(x0 * width / seen_w)), min(height - 1, _down(y0 * height / seen_h))
    right, bottom = _up(x1 * width / seen_w), _up(y1 * height / seen_h)
    return left, top, min(width, max(left + 1, right)), min(height, max(top + 1, bottom))


def _down(value: float) -> int:
    return math.floor(value + 1e-9)  # 0.29 * 100 is 28.999999999999996


def _up(value: float) -> int:
    return math.ceil(value - 1e-9)  # 0.07 * 100 is 7.000000000000001


def _frame_name(extent: tuple[int, int], frame: BoxFrame) -> str:
    return "0..1000" if frame == "thousandths" else f"the {extent[1]} x {extent[0]} pixels that the model saw"


def _quote(reply: str) -> str:
    text = " ".join(reply.split())
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"
