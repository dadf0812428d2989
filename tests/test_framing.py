"""The working frame and the native crop show the same place of source and edited."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from piqa_cli.compact.framing import Frame, bounds, crop_region, open_frame


def scene(height: int, width: int, seed: int = 3) -> NDArray[np.uint8]:
    """Smooth random texture with edges, H x W x 3."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), np.uint8)
    picture = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    for _ in range(40):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(picture, centre, int(rng.integers(8, height // 8)), rng.integers(0, 256, 3).tolist(), -1)
    return picture


def framed(source: NDArray[np.uint8], edited: NDArray[np.uint8]) -> Frame:
    sizes = [(p.shape[0], p.shape[1]) for p in (source, edited)]
    return open_frame(source, edited, source_size=sizes[0], edited_size=sizes[1], exclude=None)


def region(frame: Frame, box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """A rectangle given in fractions of the frame."""
    height, width = frame.size
    mask = np.zeros(frame.size, np.bool_)
    x0, y0, x1, y1 = box
    mask[int(y0 * height) : int(y1 * height), int(x0 * width) : int(x1 * width)] = True
    return mask


@pytest.mark.parametrize("size", [(300, 400), (900, 1300), (1300, 900), (100, 520)])
@pytest.mark.parametrize("box", [(0.4, 0.4, 0.5, 0.55), (0.0, 0.0, 0.1, 0.1), (0.9, 0.8, 1.0, 1.0), (0, 0, 1, 1)])
def test_crop_of_an_unmoved_pair_is_the_same_on_both_sides(
    size: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    picture = scene(*size)
    frame = framed(picture, picture)
    crop = crop_region(frame, region(frame, box), 256)
    assert crop.source.shape == crop.edited.shape == (256, 256, 3)
    assert np.abs(crop.source.astype(int) - crop.edited).mean() < 1.0


def test_crop_follows_the_registration_at_native_resolution() -> None:
    picture = scene(1000, 1400)
    source, edited = picture[:960, :1360], picture[24:984, 16:1376]  # shifted by (16, 24)
    frame = framed(np.ascontiguousarray(source), np.ascontiguousarray(edited))
    crop = crop_region(frame, region(frame, (0.45, 0.45, 0.5, 0.5)), 256)
    raw = np.abs(source[300:556, 300:556].astype(int) - edited[300:556, 300:556]).mean()
    assert np.abs(crop.source.astype(int) - crop.edited).mean() < 0.25 * raw


def test_mask_of_the_crop_covers_what_the_mask_of_the_frame_covers() -> None:
    picture = scene(1024, 1024)
    marked = picture.copy()
    marked[400:440, 500:560] = (255, 0, 255)
    frame = framed(picture, marked)
    mask = np.zeros(frame.size, np.bool_)
    mask[200:220, 250:280] = True
    crop = crop_region(frame, mask, 256)
    painted = (crop.edited == (255, 0, 255)).all(-1)
    overlap = (painted & (crop.mask > 0.5)).sum() / (painted | (crop.mask > 0.5)).sum()
    assert overlap > 0.9


def test_small_region_is_enlarged_to_twice_its_native_size_and_no_more() -> None:
    picture = scene(1536, 2048)
    frame = framed(picture, picture)
    mask = np.zeros(frame.size, np.bool_)
    mask[100:104, 100:104] = True
    crop = crop_region(frame, mask, 256)
    left, top, right, bottom = np.multiply(crop.box, (2048, 1536, 2048, 1536)).round().astype(int)
    assert (right - left, bottom - top) == (128, 128)
    twice = cv2.resize(picture[top:bottom, left:right], (256, 256), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(crop.edited, twice)


def test_bounds_of_an_empty_mask_are_the_whole_frame() -> None:
    assert bounds(np.zeros((30, 40), np.bool_)) == (0, 0, 40, 30)
