from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from piqa_cli.compact.features import Measurements, measure

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SIZE = (256, 320)
EVERYWHERE = np.ones(SIZE, bool)


def scene(seed: int = 0) -> Pixels:
    """Textured ground: smooth colour, mid-sized spots and fine grain everywhere."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((*SIZE, 3), np.float32)
    for sigma, amount in ((40, 25), (6, 22), (1.5, 12)):
        for channel in range(3):
            plane = cv2.GaussianBlur(rng.standard_normal(SIZE).astype(np.float32), (0, 0), sigma)
            picture[..., channel] += amount * plane / plane.std()
    grain = rng.normal(0, 2, (*SIZE, 1))
    return np.asarray(np.clip(picture + 120 + grain, 0, 255), np.uint8)


def disc(cy: float = 130, cx: float = 150, radius: float = 60) -> Mask:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray(np.hypot(y - cy, x - cx) < radius)


def put(source: Pixels, mask: Mask, changed: NDArray[np.floating] | Pixels) -> Pixels:
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2)[..., None]
    return np.asarray(np.clip(source + soft * (changed.astype(np.float32) - source), 0, 255), np.uint8)


def jpeg(picture: Pixels, quality: int) -> Pixels:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded, np.uint8)


def value(measured: Measurements, name: str) -> float:
    number = measured.number(name)
    assert number is not None, name
    return number


FAULTS = (
    ("exposure", "darker", -1),
    ("colour", "redder", 1),
    ("noise", "noisier", 1),
    ("sharpness", "blurred", -1),
    ("texture_loss", "smoothed", 1),
    ("blocking", "blocky", 1),
    ("ghosting", "ghost", 1),
    ("repetition", "tiled", 1),
)


def spoil(source: Pixels, how: str, strength: float) -> Pixels:
    image = source.astype(np.float32)
    rng = np.random.default_rng(5)
    if how == "darker":
        return put(source, disc(), image * (1 - 0.5 * strength))
    if how == "redder":
        return put(source, disc(), image + np.array([40, -10, -20], np.float32) * strength)
    if how == "noisier":
        return put(source, disc(), image + rng.normal(0, 20 * strength, image.shape))
    if how == "blurred":
        return put(source, disc(), cv2.GaussianBlur(image, (0, 0), 0.4 + 2 * strength).astype(np.float32))
    if how == "smoothed":
        return put(source, disc(), image + strength * (cv2.GaussianBlur(image, (0, 0), 3) - image))
    if how == "blocky":
        return put(source, disc(), jpeg(source, int(45 - 42 * strength)))
    if how == "ghost":
        filled = np.full_like(image, 120)
        return put(source, disc(), filled + 0.3 * (image - filled) if strength > 0.5 else 0.02 * image + 0.98 * filled)
    tiled = np.tile(scene(9)[40:72, 40:72], (8, 10, 1)).astype(np.float32)
    return put(source, disc(), strength * tiled + (1 - strength) * scene(8))


@pytest.mark.parametrize(("name", "how", "sign"), FAULTS)
def test_a_fault_moves_its_own_measurement_with_its_strength(name: str, how: str, sign: int) -> None:
    source = scene()
    weak, strong = (value(measure(spoil(source, how, s), source, disc(), EVERYWHERE), name) for s in (0.3, 1.0))
    clean = value(measure(source, source, disc(), EVERYWHERE), name)
    assert sign * strong > sign * weak >= sign * clean - 1e-9


def test_a_bright_line_along_the_edge_is_a_seam_and_a_mask_off_by_three_pixels_still_finds_it() -> None:
    source = scene()
    mask = disc()
    edge = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) - mask
    edited = np.where(edge[..., None] > 0, 255, source).astype(np.uint8)
    exact = value(measure(edited, source, mask, EVERYWHERE), "seam")
    off = value(measure(edited, source, disc(radius=57), EVERYWHERE), "seam")
    assert exact > 20
    assert off > 0.6 * exact
    assert value(measure(source, source, mask, EVERYWHERE), "seam") == 0


def test_a_bright_object_that_the_source_had_is_no_exposure_fault() -> None:
    source = put(scene(), disc(), scene().astype(np.float32) * 1.8)
    measured = measure(jpeg(source, 85), source, disc(), EVERYWHERE)
    assert abs(value(measured, "exposure")) < 0.5
    assert value(measured, "colour") < 1


def test_an_identical_pair_measures_nothing() -> None:
    source = scene()
    measured = measure(source, source, disc(), EVERYWHERE)
    names = ("exposure", "colour", "noise", "sharpness", "seam", "texture_loss", "ghosting", "change", "rest_change")
    for name in (*names, "drift_structure", "drift_colour", "drift_sharpness", "drift_text"):
        assert value(measured, name) == pytest.approx(0, abs=0.01), name
    assert measured.kept == pytest.approx(1, abs=1e-3)
    assert measured.drift_box is None


def test_a_change_inside_the_region_is_no_drift() -> None:
    source = scene()
    measured = measure(spoil(source, "darker", 1.0), source, disc(radius=70), EVERYWHERE)
    assert value(measured, "drift_structure") < 0.002
    assert value(measured, "drift_colour") < 0.1


def test_a_reencoded_file_drifts_less_than_a_changed_corner_and_the_box_is_around_the_corner() -> None:
    source = scene()
    edited = source.copy()
    edited[176:240, 240:304] = scene(3)[176:240, 240:304]
    recoded = measure(jpeg(source, 50), source, disc(cx=100), EVERYWHERE)
    changed = measure(edited, source, disc(cx=100), EVERYWHERE)
    for name in ("drift_structure", "drift_colour"):
        assert value(changed, name) > 2 * value(recoded, name)
    assert changed.drift_box is not None
    x0, y0, x1, y1 = changed.drift_box
    assert (x0, y0, x1, y1) == pytest.approx((240, 176, 304, 240), abs=24)


def test_faded_lettering_outside_the_region_is_text_drift_and_a_shift_of_one_pixel_is_not() -> None:
    source = np.full((*SIZE, 3), 225, np.uint8)
    for row in range(30, 240, 30):
        cv2.putText(source, "the quick brown fox", (10, row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 1)
    faded = cv2.GaussianBlur(source, (0, 0), 3)
    mask = disc(radius=20)
    assert value(measure(np.asarray(faded, np.uint8), source, mask, EVERYWHERE), "drift_text") > 0.8
    assert value(measure(np.roll(source, 1, axis=1), source, mask, EVERYWHERE), "drift_text") < 0.2


def test_replaced_content_is_not_kept_and_recoloured_content_is() -> None:
    source = scene()
    assert value(measure(put(source, disc(), scene(4)), source, disc(), EVERYWHERE), "kept") < 0.3
    assert value(measure(spoil(source, "redder", 1.0), source, disc(), EVERYWHERE), "kept") > 0.9


@pytest.mark.parametrize("mask", [np.zeros(SIZE, bool), disc(radius=2)], ids=["empty", "speck"])
def test_nothing_is_invented_for_a_region_too_small_to_measure(mask: Mask) -> None:
    measured = measure(scene(), scene(), mask, EVERYWHERE)
    assert measured.exposure is measured.noise is measured.seam is measured.kept is None
    assert measured.drift_structure is not None


def test_a_full_mask_leaves_no_outside_to_drift() -> None:
    measured = measure(jpeg(scene(), 60), scene(), EVERYWHERE, EVERYWHERE)
    assert measured.drift_structure is measured.drift_colour is measured.exposure is None
    assert measured.kept is not None


def test_pixels_that_the_source_does_not_cover_do_not_count() -> None:
    source, edited, valid = scene(), scene(), EVERYWHERE.copy()
    valid[:, 280:] = False
    edited[:, 280:] = 0
    measured = measure(edited, source, disc(), valid)
    assert value(measured, "drift_colour") < 0.05
    assert value(measured, "rest_change") == 0


@pytest.mark.parametrize("size", [(32, 32), (33, 250), (101, 47)])
def test_odd_and_smallest_sizes_are_measured(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, bool)
    mask[: size[0] // 2] = True
    measured = measure(picture, picture, mask, np.ones(size, bool))
    numbers = [getattr(measured, name) for name in Measurements.__slots__]
    assert all(np.isfinite(n) for n in numbers if isinstance(n, float))


def test_arrays_of_different_frames_and_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="one frame"):
        measure(scene(), scene()[:100], disc(), EVERYWHERE)
    with pytest.raises(ValueError, match="32 x 32"):
        measure(scene()[:20], scene()[:20], disc()[:20], EVERYWHERE[:20])
    with pytest.raises(ValueError, match="no measurement"):
        measure(scene(), scene(), disc(), EVERYWHERE).number("beauty")
    with pytest.raises(ValueError, match="single number"):
        measure(scene(), scene(), disc(), EVERYWHERE).number("size")


def test_measuring_takes_no_part_of_a_second() -> None:
    source = scene()
    start = time.process_time()
    measure(source, source, disc(), EVERYWHERE)
    assert time.process_time() - start < 0.5


def test_perfectly_flat_region_has_no_texture_to_lose() -> None:
    source, edited = np.full((*SIZE, 3), 120, np.uint8), np.full((*SIZE, 3), 120, np.uint8)
    edited[disc(radius=30)] = 150
    assert measure(edited, source, disc(radius=30), np.ones(SIZE, bool)).texture_loss == 0
