"""Reading pairs: one way of reducing both, identity, standard input, and masks of every kind."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pictures import animation, edit, encode, mask_image, photo, png16, save
from piqa_cli.errors import InputError, UsageError
from piqa_cli.images import ImagePolicy, LoadedImage, LoadedPair, load_image, load_pair, resize_to_side
from piqa_cli.images.reduction import Reduction, plan_reduction
from piqa_cli.schema import Pair

PICTURE = photo()


def loaded(tmp_path: Path, data: bytes, policy: ImagePolicy | None = None) -> LoadedImage:
    path = tmp_path / "picture"  # without a suffix: the bytes decide
    path.write_bytes(data)
    return load_image(str(path), policy or ImagePolicy())


def pair_of(tmp_path: Path, source: bytes, edited: bytes, mask: bytes | None = None, **policy: object) -> LoadedPair:
    names = {"source": source, "edited": edited, "mask": mask}
    paths = {name: tmp_path / name for name, data in names.items() if data is not None}
    for name, path in paths.items():
        path.write_bytes(names[name] or b"")
    return load_pair(
        Pair(
            id="p", source=str(paths["source"]), edited=str(paths["edited"]), mask=str(paths["mask"]) if mask else None
        ),
        ImagePolicy(**policy),  # type: ignore[arg-type]
    )


# Size


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("side", [600, 460, 1250])
def test_large_pictures_are_reduced_near_to_the_working_side(tmp_path: Path, suffix: str, side: int) -> None:
    picture = photo(side, side // 2)
    found = loaded(tmp_path, encode(picture, suffix), ImagePolicy(working_side=300))
    assert 200 <= max(found.pixels.shape) <= 450
    assert (found.info.width, found.info.height) == (side, side // 2)
    ratio = found.pixels.shape[1] / side
    low = np.asarray(Image.fromarray(picture).resize(found.pixels.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(found.pixels.astype(int) - low).mean() < 4, ratio


def test_a_fine_checkerboard_reduces_to_grey(tmp_path: Path) -> None:
    board = np.where((np.indices((700, 1100)).sum(0) % 2)[..., None], 255, 0).astype(np.uint8).repeat(3, 2)
    for side in (700, 550, 300):
        found = loaded(tmp_path, encode(board), ImagePolicy(working_side=side))
        assert found.pixels[4:-4, 4:-4].std() < 12, side
    assert resize_to_side(board, 275).std() < 2


@pytest.mark.parametrize("sizes", [(500, 500), (500, 495), (350, 320)])
def test_pictures_of_near_sizes_keep_their_ratio(tmp_path: Path, sizes: tuple[int, int]) -> None:
    pair = pair_of(tmp_path, encode(photo(sizes[0], 250)), encode(photo(sizes[1], 250)), working_side=250)
    assert abs(pair.source.pixels.shape[1] / pair.edited.pixels.shape[1] - sizes[0] / sizes[1]) < 0.01


def test_a_jpeg_and_a_png_of_one_size_are_reduced_alike(tmp_path: Path) -> None:
    picture = photo(600, 400)
    as_png = pair_of(tmp_path, encode(picture, ".jpg"), encode(picture), working_side=300)
    assert np.abs(as_png.source.pixels.astype(int) - as_png.edited.pixels).mean() < 1  # one path, no edit invented


@given(longer=st.integers(33, 20_000), working=st.integers(32, 4096), draft=st.booleans())
def test_every_plan_ends_between_two_thirds_and_three_halves_of_the_working_side(
    longer: int, working: int, draft: bool
) -> None:
    plan = plan_reduction(longer, working, draft=draft)
    left = -(-longer // plan.draft)
    left = -(-left // plan.factor)
    assert left == longer if longer <= 1.5 * working else 2 / 3 * working <= left <= 1.5 * working


@given(width=st.integers(1, 90), height=st.integers(1, 90), side=st.integers(1, 100), value=st.integers(0, 255))
def test_resizing_never_enlarges_and_keeps_flat_pictures_flat(width: int, height: int, side: int, value: int) -> None:
    small = resize_to_side(np.full((height, width, 3), value, np.uint8), side)
    assert max(small.shape[:2]) == min(side, max(width, height))
    assert min(small.shape[:2]) >= 1
    assert np.all(small == value)


def test_resizing_keeps_the_mean() -> None:
    picture = photo(700, 500)
    small = resize_to_side(picture, 180)
    assert small.shape == (129, 180, 3)
    assert np.abs(small.mean((0, 1)) - picture.mean((0, 1))).max() < 0.5


def test_a_picture_of_six_megapixels_is_kept_whole() -> None:
    assert plan_reduction(3072, ImagePolicy().working_side, draft=True) == Reduction()
    assert plan_reduction(3073, ImagePolicy().working_side, draft=False) == Reduction(factor=2)


# Pairs


def test_sizes_may_differ(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, encode(photo(96, 64)), encode(photo(64, 64)))
    assert (pair.source.pixels.shape[:2], pair.edited.pixels.shape[:2]) == ((64, 96), (64, 64))
    assert not pair.identical


def test_the_same_pixels_in_two_formats_are_identical(tmp_path: Path) -> None:
    assert pair_of(tmp_path, encode(PICTURE, ".png"), encode(PICTURE, ".webp")).identical


def test_one_changed_level_is_not_identical(tmp_path: Path) -> None:
    other = PICTURE.copy()
    other[5, 5, 1] ^= 1
    assert not pair_of(tmp_path, encode(PICTURE), encode(other)).identical


def test_identity_is_decided_at_full_size_though_pictures_are_reduced(tmp_path: Path) -> None:
    picture = photo(400, 300)
    other = picture.copy()
    picture[80:84, 80:84] = other[80:84, 80:84] = 100
    other[81, 81, 0] = 101  # one sixteenth of a level after reduction
    changed = pair_of(tmp_path, encode(picture), encode(other), working_side=100)
    assert np.array_equal(changed.source.pixels, changed.edited.pixels)
    assert not changed.identical
    assert pair_of(tmp_path, encode(picture), encode(picture, ".bmp"), working_side=100).identical
    assert pair_of(tmp_path, encode(picture), encode(picture), working_side=100).identical


def test_notes_warnings_and_prompt_reach_the_record(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(animation(2))
    (tmp_path / "b").write_bytes(encode(photo(64, 48)))
    pair = load_pair(Pair(id="x", source=str(tmp_path / "a"), edited=str(tmp_path / "b"), prompt="remove it"))
    assert pair.info.prompt == "remove it"
    assert pair.info.source.format == "GIF"
    assert [text.split(":")[0] for text in pair.warnings] == ["source"]


def test_standard_input_serves_source_edited_or_mask(tmp_path: Path) -> None:
    other, mask = edit(PICTURE)
    files = {"source": save(tmp_path / "s.png", PICTURE), "edited": save(tmp_path / "e.png", other)}
    files["mask"] = save(tmp_path / "m.png", mask_image(mask))
    straight = load_pair(Pair(id="x", **files))
    for role, path in files.items():
        pair = load_pair(Pair(id="x", **(files | {role: "-"})), stdin=io.BytesIO(Path(path).read_bytes()))
        assert np.array_equal(pair.source.pixels, straight.source.pixels)
        assert np.array_equal(pair.edited.pixels, straight.edited.pixels)
        assert pair.mask is not None
        assert np.array_equal(pair.mask, mask)


def test_standard_input_cannot_be_read_twice() -> None:
    with pytest.raises(UsageError, match="only once"):
        load_pair(Pair(id="x", source="-", edited="-"), stdin=io.BytesIO(encode(PICTURE)))


def test_a_dash_without_a_stream_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="standard input"):
        load_image("-")


def test_endless_standard_input_is_cut_off() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return bytes(size)

    with pytest.raises(InputError) as caught:
        load_image("-", ImagePolicy(max_pixels=1_000_000), stdin=Endless())  # type: ignore[arg-type]
    assert caught.value.code == "E_TOO_LARGE"


@pytest.mark.parametrize(
    "fields", [{"mask_threshold": 1.0}, {"mask_threshold": -0.1}, {"frame": -1}, {"min_side": 0}, {"working_side": 8}]
)
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        ImagePolicy(**fields)  # type: ignore[arg-type]


# Masks


def masked(tmp_path: Path, mask: bytes, **policy: object) -> LoadedPair:
    return pair_of(tmp_path, encode(PICTURE), encode(edit(PICTURE)[0]), mask, **policy)


def bits(pair: LoadedPair) -> NDArray[np.bool_]:
    if pair.mask is None:
        raise ValueError("a mask was expected")
    return pair.mask


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_masks_of_every_mode_mark_white_as_edited(tmp_path: Path, mode: str) -> None:
    mask = edit(PICTURE)[1]
    data = encode(Image.fromarray(mask_image(mask)).convert("RGB").convert(mode), ".tif")
    pair = masked(tmp_path, data)
    assert np.array_equal(bits(pair), mask)
    assert pair.warnings == ()


def test_sixteen_bit_masks_use_their_full_range(tmp_path: Path) -> None:
    mask = edit(PICTURE)[1]
    samples = np.where(mask, 40000, 20000).astype(np.uint16)[..., None]
    assert np.array_equal(bits(masked(tmp_path, png16(samples))), mask)


def test_a_mask_drawn_in_alpha_alone_is_its_alpha(tmp_path: Path) -> None:
    mask = edit(PICTURE)[1]
    image = Image.new("RGB", (96, 64), (0, 0, 0))
    image.putalpha(Image.fromarray(mask_image(mask)))
    pair = masked(tmp_path, encode(image))
    assert np.array_equal(bits(pair), mask)
    assert pair.info.mask is not None
    assert "mask from alpha, opaque = edited" in pair.info.mask.notes


def test_transparent_parts_of_a_drawn_mask_are_not_edited(tmp_path: Path) -> None:
    mask = edit(PICTURE)[1]
    image = Image.fromarray(mask_image(mask)).convert("RGB")
    image.paste((255, 255, 255), (80, 0, 96, 64))
    image.putalpha(Image.fromarray(np.where(np.arange(96) < 80, 255, 0).astype(np.uint8)[None].repeat(64, 0)))
    assert np.array_equal(bits(masked(tmp_path, encode(image))), mask)


def test_soft_masks_are_cut_at_the_threshold(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(96, dtype=np.uint8) * 2, (64, 1))
    for threshold, first in ((0.5, 64), (0.25, 32), (0.0, 1)):
        pair = masked(tmp_path, encode(ramp), mask_threshold=threshold)
        assert int(np.argmax(bits(pair)[0])) == first
        assert pair.info.mask is not None
        assert any("soft mask" in note for note in pair.info.mask.notes)


def test_masks_can_be_inverted(tmp_path: Path) -> None:
    mask = edit(PICTURE)[1]
    assert np.array_equal(bits(masked(tmp_path, encode(mask_image(mask)), invert_mask=True)), ~mask)


def test_a_mask_of_another_size_is_resized_without_new_values(tmp_path: Path) -> None:
    mask = edit(PICTURE)[1]
    pair = masked(tmp_path, encode(mask_image(mask).repeat(2, 0).repeat(2, 1)))
    assert np.array_equal(bits(pair), mask)
    assert any("192 x 128 resized" in text for text in pair.warnings)


def test_a_mask_follows_the_edited_picture_to_the_working_size(tmp_path: Path) -> None:
    source = photo(400, 300)
    edited, mask = edit(source)
    pair = pair_of(tmp_path, encode(source), encode(edited), encode(mask_image(mask)), working_side=200)
    assert bits(pair).shape == pair.edited.pixels.shape[:2] == (150, 200)
    assert abs(bits(pair).mean() - mask.mean()) < 0.01
    assert pair.warnings == ()


def test_a_mask_of_another_aspect_is_an_error_that_names_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        masked(tmp_path, encode(np.zeros((64, 64), np.uint8)))
    assert caught.value.code == "E_MASK_SIZE"
    assert "96 x 64" in str(caught.value.expected)
    assert "64 x 64" in str(caught.value.found)
    assert str(caught.value.file).endswith("mask")


@pytest.mark.parametrize(("value", "code"), [(0, "E_MASK_EMPTY:"), (1, "E_MASK_EMPTY:"), (255, "E_MASK_FULL:")])
def test_empty_and_full_masks_are_warned_of_by_code(tmp_path: Path, value: int, code: str) -> None:
    pair = masked(tmp_path, encode(np.full((64, 96), value, np.uint8)))
    assert [text for text in pair.warnings if text.startswith(code)]
    assert bits(pair).all() == bits(pair).any() == (value == 255)


def test_a_mask_of_zeros_and_ones_says_why_it_is_empty(tmp_path: Path) -> None:
    mask = edit(PICTURE)[1].astype(np.uint8)
    (warning,) = masked(tmp_path, encode(mask)).warnings
    assert "brightest value is 1 of 255" in warning
    assert bits(masked(tmp_path, encode(mask), mask_threshold=0.0)).any()
