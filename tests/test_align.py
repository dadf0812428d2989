"""Registration: every way an editor moves a whole file, with pictures whose true motion is known exactly."""

from __future__ import annotations

import io
from typing import get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.align import Registration, motion, register, registration, warp
from piqa_cli.align.tone import Tone, fit_tone

Pixels = NDArray[np.uint8]
SIZE = (192, 256)
IDENTITY = np.eye(3)[:2]
NO_GAIN, NO_BIAS = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)


def drawing(size: tuple[int, int], matrix: NDArray[np.float64] = IDENTITY, seed: int = 0) -> Pixels:
    """A picture defined at every real coordinate, seen through `matrix`: no interpolation, so the truth is exact."""
    rng = np.random.default_rng(seed)
    xs, ys = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
    x = matrix[0, 0] * xs + matrix[0, 1] * ys + matrix[0, 2]
    y = matrix[1, 0] * xs + matrix[1, 1] * ys + matrix[1, 2]
    x, y = x.astype(np.float32), y.astype(np.float32)
    canvas = np.full((*size, 3), 120, np.float32) + (0.15 * x - 0.1 * y)[..., None]
    for _ in range(100):
        cx, cy = rng.uniform(-20, 300), rng.uniform(-20, 230)
        radius, stretch, angle = rng.uniform(3, 18), rng.uniform(0.4, 1), rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = ((y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)) / stretch
        inside = 1 / (1 + np.exp(np.clip(2 * (np.hypot(u, v) - radius), -40, 40)))
        canvas += inside[..., None] * (rng.uniform(40, 210, 3).astype(np.float32) - canvas) * 0.8
    return np.asarray(np.clip(np.rint(canvas), 0, 255), np.uint8)


def jpeg(pixels: Pixels, quality: int, kind: str = "JPEG") -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"), np.uint8)


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS), np.uint8)


def painted(pixels: Pixels, share: float, seed: int = 1, side: str = "left") -> Pixels:
    """The picture with that share of its area replaced by another one."""
    other, columns = drawing((pixels.shape[0], pixels.shape[1]), seed=seed + 50), round(pixels.shape[1] * share)
    result = pixels.copy()
    where = slice(0, columns) if side == "left" else slice(pixels.shape[1] - columns, None)
    result[:, where] = other[:, where]
    return result


def run(source: Pixels, edited: Pixels, exclude: NDArray[np.bool_] | None = None) -> Registration:
    return register(source, edited, source_size=source.shape[:2], edited_size=edited.shape[:2], exclude=exclude)


def error(found: Registration, truth: NDArray[np.float64]) -> float:
    """Largest displacement between found and true motion over the frame, in edited pixels."""
    return motion.displacement(found.matrix, truth, found.valid.shape)[1]


def about_centre(scale: float, degrees: float, shift: tuple[float, float] = (0, 0)) -> NDArray[np.float64]:
    turn, middle = np.radians(degrees), np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.hstack([linear, (middle - linear @ middle + shift)[:, None]])


@pytest.fixture(scope="module")
def source() -> Pixels:
    return drawing(SIZE)


def test_identical_pair_comes_back_bit_identical(source: Pixels) -> None:
    found = run(source, source)
    assert found.matches
    assert found.alignment.method == "none"
    assert np.array_equal(found.source, source)
    assert found.valid.all()
    assert found.alignment.gain == NO_GAIN
    assert found.alignment.bias == NO_BIAS
    assert found.alignment.confidence > 0.99
    assert found.alignment.overlap == 1
    assert found.alignment.shift_pixels == 0
    assert found.alignment.scale == 1
    assert found.alignment.rotation_degrees == 0


@pytest.mark.parametrize(("kind", "quality"), [("JPEG", 75), ("JPEG", 30), ("WEBP", 60)])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_aligned_pair_is_left_untouched_under_coding_and_large_edits(
    source: Pixels, kind: str, quality: int, share: float
) -> None:
    found = run(source, jpeg(painted(source, share), quality, kind))
    assert found.alignment.method == "none"
    assert np.array_equal(found.source, source)


@pytest.mark.parametrize(
    "truth",
    [
        about_centre(1, 0, (0.3, -0.2)),
        about_centre(1, 0, (-1.5, 0.75)),
        about_centre(1, 0, (7.25, -4.5)),
        about_centre(0.97, 0),
        about_centre(1.03, 0, (2, 1)),
        about_centre(1, 1.5),
        about_centre(1.01, -2, (-3, 2)),
    ],
    ids=["0.36px", "1.7px", "8.5px", "scale0.97", "scale1.03", "turn1.5", "turn-2"],
)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_shift_scale_and_rotation_are_found_to_a_fraction_of_a_pixel(
    source: Pixels, truth: NDArray[np.float64], share: float
) -> None:
    edited = jpeg(painted(drawing(SIZE, truth), share), 60)
    found = run(source, edited)
    assert found.matches
    assert error(found, truth) < (0.15 if share == 0 else 0.4)


def test_pure_shift_is_called_a_shift_and_whole_pixels_are_not_interpolated(source: Pixels) -> None:
    truth = about_centre(1, 0, (3, -2))
    found = run(source, drawing(SIZE, truth))
    assert found.alignment.method == "shift"
    assert np.array_equal(found.matrix, truth)
    assert np.array_equal(found.source[2:, :-3], source[:-2, 3:])
    assert found.alignment.shift_pixels == pytest.approx(np.hypot(3, 2))
    assert found.valid.sum() == (SIZE[0] - 2) * (SIZE[1] - 3)


def test_rotation_and_scale_are_reported_beyond_the_resize(source: Pixels) -> None:
    found = run(source, drawing(SIZE, about_centre(0.96, 1.2)))
    assert found.alignment.method == "affine"
    assert found.alignment.rotation_degrees == pytest.approx(1.2, abs=0.05)
    assert found.alignment.scale == pytest.approx(1 / 0.96, abs=0.003)


@pytest.mark.parametrize("side", ["left", "right"])
def test_known_edit_is_not_asked(source: Pixels, side: str) -> None:
    truth = about_centre(1, 0, (5.5, 3.25))
    edited = painted(drawing(SIZE, truth), 0.75, side=side)
    exclude = np.zeros(SIZE, bool)
    exclude[:, slice(0, 192) if side == "left" else slice(64, None)] = True
    found = run(source, edited, exclude)
    assert found.matches
    assert error(found, truth) < 0.5


@pytest.mark.parametrize("size", [(96, 128), (134, 179), (250, 333), (192, 320), (176, 256), (128, 192)])
def test_resized_copy_is_a_plain_resize(source: Pixels, size: tuple[int, int]) -> None:
    found = run(source, jpeg(resized(source, size), 75))
    assert found.alignment.method == "resize"
    assert found.source.shape == (*size, 3)
    assert found.valid.all()
    assert np.array_equal(found.matrix, motion.plain_resize(size, SIZE))
    assert found.alignment.shift_pixels == 0
    assert found.alignment.scale == 1


@pytest.mark.parametrize("share", [0.65, 0.8, 0.95])
@pytest.mark.parametrize("blown_up", [False, True])
def test_crop_is_found(source: Pixels, share: float, blown_up: bool) -> None:
    height, width = round(SIZE[0] * share), round(SIZE[1] * share)
    y, x = (SIZE[0] - height) // 3, (SIZE[1] - width) * 2 // 3
    edited = source[y : y + height, x : x + width]
    truth = np.array([[1.0, 0, x], [0, 1, y]])
    if blown_up:
        edited = resized(edited, SIZE)
        truth = motion.compose(motion.plain_resize(SIZE, (height, width)), truth)
    found = run(source, jpeg(np.ascontiguousarray(edited), 75))
    assert found.matches
    assert error(found, truth) < 0.3
    assert found.alignment.method == ("crop" if share < 0.94 else found.alignment.method)
    assert found.valid.all()


def test_other_aspect_by_centre_crop_by_bars_and_by_stretching(source: Pixels) -> None:
    square = run(source, source[:, 32:224].copy())
    assert error(square, np.array([[1.0, 0, 32], [0, 1, 0]])) < 0.2
    bars = run(source, np.pad(source, ((32, 32), (0, 0), (0, 0))))
    assert error(bars, np.array([[1.0, 0, 0], [0, 1, -32]])) < 0.2
    assert bars.alignment.overlap == pytest.approx(0.75, abs=0.02)
    assert not bars.valid[:28].any()
    assert bars.valid[34:220].all()
    stretched = run(source, resized(source, (192, 192)))
    assert stretched.alignment.method == "resize"


def test_matrix_of_the_record_is_in_full_size_pixels_with_pixel_centres() -> None:
    # A source of 1000 x 600 seen in an edited file of 500 x 400: the centre of the first edited pixel, which is
    # 2 x 1.5 source pixels large, lies at (2 - 1) / 2 = 0.5 and (1.5 - 1) / 2 = 0.25.
    found = register(
        drawing((192, 320)), resized(drawing((192, 320)), (256, 320)), source_size=(600, 1000), edited_size=(400, 500)
    )
    assert found.alignment.method == "resize"
    assert found.alignment.matrix == ((2.0, 0.0, 0.5), (0.0, 1.5, 0.25))


def test_shift_in_working_pixels_becomes_a_shift_in_full_size_pixels(source: Pixels) -> None:
    truth = about_centre(1, 0, (3, -2))
    found = register(source, drawing(SIZE, truth), source_size=(768, 1024), edited_size=(384, 512))
    # edited x = 0 is working x = (0 + 0.5) / 2 - 0.5 = -0.25; 3 further is 2.75; in the source (2.75 + 0.5) * 4 - 0.5
    assert found.alignment.matrix[0] == pytest.approx((2.0, 0.0, 12.5))
    # y: -0.25 - 2 = -2.25; (-2.25 + 0.5) * 4 - 0.5 = -7.5
    assert found.alignment.matrix[1] == pytest.approx((0.0, 2.0, -7.5))
    assert found.alignment.shift_pixels == pytest.approx(np.hypot(6, 4))


def test_rescaled_matrix_maps_the_same_points() -> None:
    matrix = np.array([[1.1, 0.02, 3.0], [-0.03, 0.9, -4.0]])
    scaled = motion.rescaled(matrix, ((100, 150), (300, 600)), ((80, 90), (160, 270)))
    x, y = matrix @ (20.0, 30.0, 1.0)
    assert scaled @ (20.5 * 4 - 0.5, 30.5 * 3 - 0.5, 1.0) == pytest.approx(((x + 0.5) * 3 - 0.5, (y + 0.5) * 2 - 0.5))


def test_warp_leaves_out_what_the_source_does_not_cover() -> None:
    pixels, valid = warp(drawing((40, 60)), np.array([[1.0, 0, -10], [0, 1, 5]]), (40, 60))
    assert pixels.shape == (40, 60, 3)
    assert valid[:35, 10:].all()
    assert not valid[35:].any()
    assert not valid[:, :10].any()


def test_global_gain_is_undone_and_reported(source: Pixels) -> None:
    edited = np.clip(source * np.array([1.15, 1.0, 0.9]) + np.array([-12, 0, 14]), 0, 255).astype(np.uint8)
    found = run(source, jpeg(edited, 85))
    assert found.alignment.method == "none"
    assert found.alignment.gain == pytest.approx((1.15, 1.0, 0.9), abs=0.03)
    assert found.alignment.bias == pytest.approx((-12, 0, 14), abs=4)
    assert np.abs(found.source.astype(float) - edited).mean() < 0.3 * np.abs(source.astype(float) - edited).mean()


def test_global_gain_is_found_beside_a_large_edit(source: Pixels) -> None:
    edited = painted(np.clip(source * 1.2 - 10, 0, 255).astype(np.uint8), 0.4)
    assert run(source, edited).alignment.gain == pytest.approx((1.2, 1.2, 1.2), abs=0.05)


@pytest.mark.parametrize("share", [0.2, 0.55])
def test_local_recolour_does_not_drive_the_gain(source: Pixels, share: float) -> None:
    edited = source.copy()
    columns = round(SIZE[1] * share)
    edited[:, :columns] = np.clip(edited[:, :columns] * 0.8 + 25, 0, 255)
    found = run(source, jpeg(edited, 75))
    assert found.alignment.gain == NO_GAIN
    assert np.array_equal(found.source, source)


def test_gain_and_bias_stay_within_their_limits(source: Pixels) -> None:
    tone = fit_tone(source, np.clip(source * 0.4 + 100, 0, 255).astype(np.uint8))
    assert all(0.7 <= gain <= 1.4 for gain in tone.gain)
    assert all(abs(bias) <= 40 for bias in tone.bias)
    assert fit_tone(source, source) == Tone()


@pytest.mark.parametrize("gamma", [0.7, 1.5])
def test_tone_curve_does_not_hide_the_motion(source: Pixels, gamma: float) -> None:
    truth = about_centre(1.01, 0.5, (4, -3))
    edited = (255 * (drawing(SIZE, truth) / 255.0) ** gamma).astype(np.uint8)
    assert error(run(source, edited), truth) < 0.3


@pytest.mark.parametrize("seed", range(1, 9))
def test_different_pictures_do_not_match(source: Pixels, seed: int) -> None:
    found = run(source, drawing((200, 256) if seed % 2 else SIZE, seed=seed))
    assert not found.matches
    assert found.alignment.method == "failed"
    assert found.alignment.confidence == 0
    assert np.array_equal(found.matrix, motion.plain_resize(found.valid.shape, SIZE))


def test_black_picture_does_not_match(source: Pixels) -> None:
    assert not run(source, np.zeros_like(source)).matches


def test_scene_made_anew_in_the_same_composition_matches_without_a_motion(source: Pixels) -> None:
    rng, ys, xs = np.random.default_rng(0), *np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    wobble = [cv2.GaussianBlur(rng.normal(size=SIZE).astype(np.float32), (0, 0), 6) * 110 for _ in range(2)]
    remade = np.asarray(cv2.remap(source, xs + wobble[0], ys + wobble[1], cv2.INTER_LINEAR), np.uint8)
    noise = rng.normal(0, 20, remade.shape)
    found = run(source, np.asarray(np.clip(remade + noise, 0, 255), np.uint8))
    assert found.matches
    assert found.alignment.shift_pixels < 4


def test_flat_pictures_match_by_colour() -> None:
    grey = np.full((64, 80, 3), 128, np.uint8)
    same = run(grey, grey)
    assert same.matches
    assert same.alignment.method == "none"
    assert np.array_equal(same.source, grey)
    assert not run(grey, np.full((64, 80, 3), 10, np.uint8)).matches


def test_object_removed_from_a_plain_background_still_matches() -> None:
    plain = np.full((160, 160, 3), 240, np.uint8)
    product = plain.copy()
    product[50:110, 50:110] = drawing((60, 60))
    found = run(product, plain)
    assert found.matches
    assert found.alignment.method == "none"
    assert np.array_equal(found.source, product)


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (512, 32), (33, 47)])
def test_tiny_and_narrow_pictures_work(size: tuple[int, int]) -> None:
    picture = drawing(size)
    found = run(picture, jpeg(picture, 80))
    assert found.matches
    assert found.alignment.method == "none"
    assert np.array_equal(found.source, picture)


def test_tiny_shifted_picture_is_registered() -> None:
    truth = np.array([[1.0, 0, 1.5], [0, 1, -1]])
    half = np.array([[2.0, 0, 30], [0, 2, 40]])
    found = run(drawing((48, 48), half), drawing((48, 48), motion.compose(truth, half)))
    assert found.matches
    assert error(found, truth) < 0.5


def test_same_answer_again_and_whatever_the_threads_and_seeds(source: Pixels) -> None:
    edited = jpeg(resized(painted(source, 0.3)[10:150, 20:230], SIZE), 60)
    threads, answers = cv2.getNumThreads(), []
    try:
        for count, seed in ((1, 0), (2, 99), (4, 5)):
            cv2.setNumThreads(count)
            cv2.setRNGSeed(seed)
            answers.append(run(source, edited))
    finally:
        cv2.setNumThreads(threads)
    for other in answers[1:]:
        assert other.alignment == answers[0].alignment
        assert np.array_equal(other.source, answers[0].source)
        assert np.array_equal(other.matrix, answers[0].matrix)


def test_inputs_are_not_changed(source: Pixels) -> None:
    before, edited = source.copy(), drawing(SIZE, about_centre(1, 1))
    kept = edited.copy()
    found = run(source, edited)
    found.source[:] = 0
    assert np.array_equal(source, before)
    assert np.array_equal(edited, kept)


def test_wrong_arrays_are_refused(source: Pixels) -> None:
    with pytest.raises(ValueError, match="edited: expected H x W x 3 uint8"):
        run(source, source[..., 0])
    with pytest.raises(ValueError, match="exclude: expected bool"):
        run(source, source, np.zeros((3, 3), bool))


def test_method_names_are_those_of_the_schema() -> None:
    assert set(get_args(registration.Method)) == {"none", "resize", "shift", "affine", "crop", "failed"}
