"""Reading pictures as the world has them: every format, mode, rotation, profile and mask."""

from __future__ import annotations

import io
import sys
import threading
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from pictures import (
    Pixels,
    animation,
    edit,
    encode,
    grey_profile,
    mask_image,
    photo,
    png16,
    rgb_profile,
    tiff16,
    turned,
)
from piqa_cli.errors import InputError
from piqa_cli.images import ImagePolicy, LoadedImage, LoadedPair, load_image, load_pair
from piqa_cli.schema import Pair

PICTURE = photo()
LOSSLESS = (".png", ".webp", ".tif", ".bmp", ".ppm")
LOSSY = (".jpg", ".avif", ".jp2", ".gif")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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


def off_by(first: Pixels, second: Pixels) -> int:
    return int(np.abs(first.astype(np.int16) - second.astype(np.int16)).max())


# Formats


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_give_the_pixels_back(tmp_path: Path, suffix: str) -> None:
    image = loaded(tmp_path, encode(PICTURE, suffix))
    assert np.array_equal(image.pixels, PICTURE)
    assert (image.info.width, image.info.height) == (96, 64)
    assert image.info.notes == image.warnings == ()
    assert image.pixels.flags.writeable


@pytest.mark.parametrize("suffix", LOSSY)
def test_lossy_formats_come_close(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = loaded(tmp_path, encode(PICTURE, suffix))
    assert np.abs(image.pixels.astype(int) - PICTURE).mean() < 4
    assert image.info.format == {".jpg": "JPEG", ".avif": "AVIF", ".jp2": "JPEG2000", ".gif": "GIF"}[suffix]


def test_a_camera_file_with_previews_is_a_jpeg_without_warnings(tmp_path: Path) -> None:
    data = encode(PICTURE, ".mpo", save_all=True, append_images=[Image.fromarray(PICTURE[::2, ::2].copy())])
    image = loaded(tmp_path, data)
    assert (image.info.format, image.warnings) == ("JPEG", ())
    assert image.pixels.shape == PICTURE.shape


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_of_several_frames_the_first_is_used_with_a_warning(tmp_path: Path, suffix: str) -> None:
    image = loaded(tmp_path, animation(3, suffix))
    assert off_by(image.pixels, np.full((48, 64, 3), 40, np.uint8)) <= 1
    assert any("3 frames" in text and "--frame" in text for text in image.warnings)
    assert "frame 0" in image.info.notes


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif"])
def test_another_frame_can_be_chosen(tmp_path: Path, suffix: str) -> None:
    image = loaded(tmp_path, animation(3, suffix), ImagePolicy(frame=2))
    assert off_by(image.pixels, np.full((48, 64, 3), 160, np.uint8)) <= 1


def test_a_frame_that_is_not_there_is_an_error_that_counts_them(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, animation(3), ImagePolicy(frame=7))
    assert (caught.value.code, caught.value.found) == ("E_DECODE", "3 frames")


def test_a_still_image_ignores_the_frame_chosen_for_its_partner(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, encode(PICTURE), animation(3), frame=1)
    assert np.array_equal(pair.source.pixels, PICTURE)
    assert pair.edited.pixels[0, 0, 0] == 100


# Rotation


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path: Path, suffix: str, orientation: int) -> None:
    stored, exif = turned(PICTURE, orientation)
    image = loaded(tmp_path, encode(stored, suffix, exif=exif))
    assert (image.info.width, image.info.height) == (96, 64)
    assert image.pixels.shape == PICTURE.shape
    assert np.abs(image.pixels.astype(int) - PICTURE).mean() < (3 if suffix == ".jpg" else 0.01)
    assert [note for note in image.info.notes if "exif" in note] == (
        [f"exif rotation {orientation}"] * (orientation > 1)
    )


def test_source_edited_and_mask_are_turned_each_by_its_own_exif(tmp_path: Path) -> None:
    other, mask = edit(PICTURE)
    (a, exif_a), (b, exif_b), (m, exif_m) = turned(PICTURE, 6), turned(other, 3), turned(mask_image(mask), 8)
    pair = pair_of(tmp_path, encode(a, exif=exif_a), encode(b, exif=exif_b), encode(m, exif=exif_m))
    assert pair.mask is not None
    assert np.array_equal(pair.source.pixels, PICTURE)
    assert np.array_equal(pair.edited.pixels, other)
    assert np.array_equal(pair.mask, mask)


def test_rotated_pictures_are_reduced_too(tmp_path: Path) -> None:
    stored, exif = turned(photo(600, 400), 6)
    image = loaded(tmp_path, encode(stored, ".jpg", exif=exif), ImagePolicy(working_side=300))
    assert image.pixels.shape == (200, 300, 3)
    assert (image.info.width, image.info.height) == (600, 400)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage and more garbage"])
def test_broken_exif_leaves_the_picture_as_stored(tmp_path: Path, exif: bytes) -> None:
    assert loaded(tmp_path, encode(PICTURE, ".jpg", exif=exif)).pixels.shape == PICTURE.shape


# Modes


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, channels: int) -> None:
    samples = np.linspace(0, 65535, 64 * 48 * channels).astype(np.uint16).reshape(48, 64, channels)
    image = loaded(tmp_path, png16(samples))
    assert off_by(image.pixels, np.broadcast_to(np.rint(samples / 257), (48, 64, 3)).astype(np.uint8)) <= 1
    assert any("16-bit" in note for note in image.info.notes)


def test_sixteen_bit_tiff_is_scaled_and_noted(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    image = loaded(tmp_path, tiff16(samples))
    assert off_by(image.pixels, np.rint(samples / 257).astype(np.uint8)) <= 1
    assert "16-bit samples to 8-bit" in image.info.notes


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    assert loaded(tmp_path, png16(np.full((40, 40, 1), 200, np.uint16))).pixels.max() == 1


@pytest.mark.parametrize(("top", "full"), [(1.0, 1), (255.0, 255), (40000.0, 65535)])
def test_float_samples_take_the_smallest_range_that_holds_them(tmp_path: Path, top: float, full: int) -> None:
    samples = np.linspace(0, top, 48 * 64, dtype=np.float32).reshape(48, 64)
    image = loaded(tmp_path, encode(samples, ".tif"))
    assert off_by(image.pixels[..., 0], np.rint(samples * 255.0 / full).astype(np.uint8)) <= 1
    assert any(f"taken as 0..{full} " in text for text in image.warnings)


def test_samples_that_are_not_numbers_become_zero_with_a_warning(tmp_path: Path) -> None:
    samples = np.full((40, 40), 0.5, np.float32)
    samples[0, 0], samples[1, 1] = np.nan, np.inf
    image = loaded(tmp_path, encode(samples, ".tif"))
    assert (image.pixels[0, 0, 0], image.pixels[5, 5, 0]) == (0, 128)
    assert any("2 samples are not finite" in text for text in image.warnings)


def test_integer_samples_are_scaled(tmp_path: Path) -> None:
    samples = np.full((40, 40), 65535, np.int32)
    assert loaded(tmp_path, encode(samples, ".tif")).pixels.min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_modes_become_rgb_and_are_noted(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PICTURE).convert(mode)
    found = loaded(tmp_path, encode(image, ".tif"))
    assert np.array_equal(found.pixels, np.asarray(image.convert("RGB")))
    assert found.info.notes
    assert found.warnings == ()


def test_lab_becomes_rgb(tmp_path: Path) -> None:
    flat = Image.new("RGB", (40, 40), (150, 100, 70))
    lab = ImageCms.applyTransform(
        flat, ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    )
    assert lab is not None
    assert off_by(loaded(tmp_path, encode(lab, ".tif")).pixels, np.asarray(flat)) <= 4


# Alpha


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_the_background_with_a_warning(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PICTURE).convert(mode)
    image.putalpha(Image.fromarray(np.where(np.arange(96) < 48, 0, 255).astype(np.uint8)[None].repeat(64, 0)))
    found = loaded(tmp_path, encode(image), ImagePolicy(background=(10, 20, 30)))
    assert np.all(found.pixels[:, :48] == (10, 20, 30))
    assert np.array_equal(found.pixels[:, 48:], np.asarray(image.convert("RGB"))[:, 48:])
    assert any("#0a141e" in text for text in found.warnings)


def test_opaque_alpha_is_dropped_without_a_warning(tmp_path: Path) -> None:
    found = loaded(tmp_path, encode(Image.fromarray(PICTURE).convert("RGBA")))
    assert np.array_equal(found.pixels, PICTURE)
    assert found.warnings == found.info.notes == ()


def test_a_transparent_palette_colour_shows_the_background(tmp_path: Path) -> None:
    image = Image.fromarray(np.tile(np.array([0, 1], np.uint8), (40, 20)), "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    found = loaded(tmp_path, encode(image, transparency=0))
    assert np.all(found.pixels[:, 0] == 255)
    assert np.all(found.pixels[:, 1] == (0, 0, 255))
    assert len(found.warnings) == 1


def test_hidden_colours_do_not_bleed_when_a_picture_is_reduced(tmp_path: Path) -> None:
    samples = np.zeros((80, 80, 4), np.uint8)
    samples[..., 0] = 255  # red everywhere, hidden in every second column
    samples[:, ::2] = (0, 255, 0, 0)
    samples[:, 1::2, 3] = 255
    found = loaded(tmp_path, encode(samples), ImagePolicy(working_side=40))
    assert off_by(found.pixels, np.broadcast_to(np.array([255, 127, 127], np.uint8), (40, 40, 3))) <= 2


# Colour profiles


def test_an_embedded_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    found = loaded(tmp_path, encode(PICTURE, icc_profile=rgb_profile("Swapped")))
    assert off_by(found.pixels, PICTURE[..., [1, 0, 2]]) <= 16  # gamma 2.2 is not quite sRGB's curve
    assert found.info.notes == ("icc Swapped to sRGB",)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_an_srgb_profile_changes_nothing(tmp_path: Path, suffix: str) -> None:
    found = loaded(tmp_path, encode(PICTURE, suffix, icc_profile=SRGB))
    assert np.array_equal(found.pixels, PICTURE)
    assert found.info.notes == ()


def test_a_grey_profile_is_converted(tmp_path: Path) -> None:
    image = Image.new("L", (40, 40), 55)
    found = loaded(tmp_path, encode(image, icc_profile=grey_profile(gamma=1.0)))
    assert abs(int(found.pixels[0, 0, 0]) - 128) <= 2  # linear 55 / 255 = 0.216 is 128 in sRGB
    assert "icc Linear grey to sRGB" in found.info.notes


@pytest.mark.parametrize("profile", [b"junk" * 40, rgb_profile()[:200], grey_profile(), b"\0"])
def test_a_broken_or_foreign_profile_is_a_warning(tmp_path: Path, profile: bytes) -> None:
    found = loaded(tmp_path, encode(PICTURE, icc_profile=profile))
    assert np.array_equal(found.pixels, PICTURE)
    assert [text for text in found.warnings if "icc profile" in text]


# Plug-ins and threads


def test_an_installed_plug_in_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_fake(stream: io.BytesIO, name: str | bytes) -> Image.Image:
        image = Image.fromarray(PICTURE)
        image.format = "JXL"
        return image

    plugin = types.ModuleType("pillow_jxl")
    monkeypatch.setitem(sys.modules, "pillow_jxl", plugin)
    monkeypatch.setitem(Image.OPEN, "JXL", (open_fake, lambda head: head.startswith(b"\xff\x0a")))
    assert np.array_equal(loaded(tmp_path, b"\xff\x0a" + bytes(64)).pixels, PICTURE)


def test_pillows_warnings_are_kept_not_printed_whatever_the_thread(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(encode(PICTURE, ".tif", tiffinfo={305: "x" * 40}))
    at = data.index((305).to_bytes(2, "little") + b"\x02\0")
    data[at + 8 : at + 12] = (10**6).to_bytes(4, "little")  # the text now lies beyond the end of the file
    path = tmp_path / "picture"
    path.write_bytes(bytes(data))
    heard: list[tuple[str, ...]] = []
    shown = warnings.showwarning
    workers = [threading.Thread(target=lambda: heard.append(load_image(str(path)).warnings)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(heard) == 4
    assert len(set(heard)) == 1
    assert heard[0]
    assert warnings.showwarning is shown
    assert capfd.readouterr() == ("", "")


FUZZED = (".jpg", ".png", ".webp", ".tif", ".bmp", ".gif", ".ppm", ".jp2")
SMALL = {suffix: encode(photo(48, 40), suffix) for suffix in FUZZED}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(FUZZED),
    keep=st.floats(0.02, 1),
    hits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5),
)
def test_damaged_files_load_or_are_refused_by_code_but_nothing_else_happens(
    tmp_path: Path, suffix: str, keep: float, hits: list[tuple[float, int]]
) -> None:
    data = bytearray(SMALL[suffix])[: max(1, int(keep * len(SMALL[suffix])))]
    for where, value in hits:
        data[int(where * (len(data) - 1))] = value
    policy, error = ImagePolicy(max_pixels=4_000_000), None
    try:
        pixels = loaded(tmp_path, bytes(data), policy).pixels
    except InputError as raised:
        error = raised
    if error is None:
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] == (3,)
    else:
        assert error.code.startswith("E_")
        assert all((error.file, error.expected, error.found, error.hint))
