"""Files that cannot be read: each is refused with its code, and says which file, what was expected, found and to do."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from pictures import BROKEN, encode, mask_image, photo, png_of_size, save, truncated
from piqa_cli.errors import InputError
from piqa_cli.images import ImagePolicy, load_image, load_pair
from piqa_cli.schema import Pair

PICTURE = photo()
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names and file kinds")


def refused(path: str, policy: ImagePolicy | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        load_image(path, policy or ImagePolicy())
    error = caught.value
    assert error.file == path
    assert error.expected
    assert error.found
    assert error.hint
    assert error.exit_status == 3
    return error


@pytest.fixture
def _no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pillow_heif", "pillow_heif.HeifImagePlugin", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("HEIF", "JXL"):
        monkeypatch.delitem(Image.OPEN, name, raising=False)


@pytest.mark.usefixtures("_no_plugins")
@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_code(tmp_path: Path, name: str) -> None:
    data, code = BROKEN[name]
    path = tmp_path / "file.png"
    path.write_bytes(data)
    assert refused(str(path)).code == code


@pytest.mark.usefixtures("_no_plugins")
@pytest.mark.parametrize(("name", "package"), [("heic", "pillow-heif"), ("jxl container", "pillow-jxl-plugin")])
def test_a_missing_plug_in_is_named(tmp_path: Path, name: str, package: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(BROKEN[name][0])
    assert f"pip install {package}" in str(refused(str(path)).hint)


@pytest.mark.parametrize(
    ("name", "found"), [("html", "an HTML page"), ("git lfs pointer", "a Git LFS pointer"), ("text", "text")]
)
def test_what_is_no_image_is_called_by_its_name(tmp_path: Path, name: str, found: str) -> None:
    path = tmp_path / "file.jpg"
    path.write_bytes(BROKEN[name][0])
    assert refused(str(path)).found == found


def test_a_png_is_refused_whose_pixels_are_not_what_its_checksum_says(tmp_path: Path) -> None:
    data = bytearray(encode(photo(64, 64), ".png", compress_level=0))
    data[data.index(b"IDAT") + 2000] ^= 1  # not compressed: it decodes to another picture
    path = tmp_path / "bit.png"
    path.write_bytes(data)
    assert refused(str(path)).code == "E_DECODE"


def test_a_palette_picture_without_its_palette_is_refused(tmp_path: Path) -> None:
    data = encode(Image.fromarray(PICTURE).quantize(16), ".png")
    start = data.index(b"PLTE") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    path = tmp_path / "none.png"
    path.write_bytes(data[:start] + data[start + 12 + length :])
    assert refused(str(path)).code == "E_DECODE"


@posix
def test_a_file_that_is_longer_than_any_picture_of_the_allowed_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(encode(PICTURE))
    os.truncate(path, 2 << 30)  # takes no room
    error = refused(str(path))
    assert (error.code, error.found) == ("E_TOO_LARGE", "2,147,483,648 bytes")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read at its start")
def test_a_file_that_opens_but_cannot_be_read_is_refused() -> None:
    error = refused("/proc/self/mem")
    assert (error.code, error.found) == ("E_DECODE", "Input/output error")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif", ".bmp", ".gif", ".ppm", ".jp2"])
@pytest.mark.parametrize("part", [0.9, 0.5, 0.1])
def test_truncated_files_are_refused_in_every_format(tmp_path: Path, suffix: str, part: float) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(truncated(encode(PICTURE, suffix), part))
    assert refused(str(path)).code == "E_DECODE"


def test_a_truncated_jpeg_is_refused_though_it_would_be_reduced_while_decoding(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(truncated(encode(photo(400, 300), ".jpg"), 0.9))
    assert refused(str(path), ImagePolicy(working_side=100)).code == "E_DECODE"


def test_pillows_settings_stay_as_they_were(tmp_path: Path) -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    load_image(save(tmp_path / "a.png", PICTURE))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert before[1] is False


def test_the_pixel_limit_is_checked_before_decoding_and_names_the_size(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_of_size(3000, 2000))  # holds no pixels: decoding would be E_DECODE
    error = refused(str(path), ImagePolicy(max_pixels=1_000_000))
    assert error.code == "E_TOO_LARGE"
    assert "3000 x 2000" in str(error.found)


def test_a_limit_above_pillows_own_still_refuses_bombs(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_size(60_000, 60_000))
    assert refused(str(path), ImagePolicy(max_pixels=10**11)).code == "E_TOO_LARGE"


@pytest.mark.parametrize(("size", "fits"), [((32, 32), True), ((31, 200), False), ((200, 31), False)])
def test_the_smallest_side_counts(tmp_path: Path, size: tuple[int, int], fits: bool) -> None:
    path = save(tmp_path / "small.png", photo(*size))
    if fits:
        assert load_image(path).pixels.shape == (32, 32, 3)
    else:
        assert refused(path).code == "E_TOO_SMALL"


@pytest.mark.parametrize(("size", "fits"), [((32, 512), True), ((32, 513), False), ((1300, 40), False)])
def test_a_picture_too_narrow_to_be_judged_is_refused(tmp_path: Path, size: tuple[int, int], fits: bool) -> None:
    path = save(tmp_path / "narrow.png", photo(*size))
    if fits:
        assert load_image(path).pixels.shape == (512, 32, 3)
    else:
        error = refused(path)
        assert (error.code, error.found) == ("E_TOO_SMALL", f"{size[0]} x {size[1]} pixels")
        assert "16 times" in str(error.expected)


def test_a_damaged_file_is_described_once(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(truncated(encode(PICTURE, ".jpg")))
    error = refused(str(path))
    assert error.message == f"'{path}' cannot be decoded"
    assert "truncated" in str(error.found)


def test_a_bomb_is_told_by_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(BROKEN["bomb"][0])
    assert refused(str(path)).found == "3,600,000,000 pixels by its header"


@pytest.mark.parametrize("name", ["missing.png", "", "nothing/here.png", "a\0b.png", "x" * 5000])
def test_what_is_not_there_is_not_found(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(name).code == "E_NOT_FOUND"


def test_a_path_through_a_file_is_not_found(tmp_path: Path) -> None:
    assert refused(save(tmp_path / "a.png", PICTURE) + "/b.png").code == "E_NOT_FOUND"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    error = refused(str(tmp_path))
    assert (error.code, error.found) == ("E_NOT_A_FILE", "a folder")
    assert "piqa batch" in str(error.hint)


@posix
def test_pipes_sockets_and_devices_are_refused_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for path, found in ((str(tmp_path / "pipe"), "a pipe"), ("socket", "a socket"), ("/dev/zero", "a device")):
            error = refused(path)
            assert (error.code, error.found) == ("E_NOT_A_FILE", found)


@posix
def test_a_broken_link_is_not_found_and_a_good_one_is_followed(tmp_path: Path) -> None:
    (tmp_path / "bad.png").symlink_to(tmp_path / "missing.png")
    (tmp_path / "good.png").symlink_to(save(tmp_path / "a.png", PICTURE))
    assert refused(str(tmp_path / "bad.png")).code == "E_NOT_FOUND"
    assert np.array_equal(load_image(str(tmp_path / "good.png")).pixels, PICTURE)


@contextmanager
def as_a_common_user(*shared: Path) -> Iterator[None]:
    """The superuser may read anything; only as somebody else is a permission felt."""
    if os.geteuid() != 0:
        yield
        return
    for path in shared:
        path.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@posix
def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = Path(save(tmp_path / "secret.png", PICTURE))
    path.chmod(0)
    with as_a_common_user(tmp_path, *tmp_path.parents[:2]):
        error = refused(str(path))
    assert error.code == "E_PERMISSION"
    assert "chmod" in str(error.hint)


@pytest.mark.parametrize(
    "name",
    [
        "with spaces.png",
        'it\'s "quoted".png',
        "--help.png",
        "-.png",
        "ünïcödé 图片 🖼.png",
        "[bold]red.png",
        "100%.png",
        pytest.param("two\nlines\t.png", marks=posix),
        pytest.param(os.fsdecode(b"not utf-8 \xff\xfe.png"), marks=posix),
    ],
)
def test_odd_names_are_read_and_reported_as_given(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        Path(name).write_bytes(encode(PICTURE))
    except OSError:
        pytest.skip("this file system has no such names")
    assert np.array_equal(load_image(name).pixels, PICTURE)
    assert load_image(name).info.path == name
    Path(name).write_bytes(b"")
    error = refused(name)
    assert error.code == "E_EMPTY_FILE"
    assert error.message.isprintable()  # control characters and stray bytes are escaped
    error.message.encode()


@pytest.mark.parametrize("role", ["source", "edited", "mask"])
def test_in_a_pair_the_error_is_about_the_file_that_is_broken(tmp_path: Path, role: str) -> None:
    files = {name: save(tmp_path / f"{name}.png", PICTURE) for name in ("source", "edited")}
    files["mask"] = save(tmp_path / "mask.png", mask_image(PICTURE[..., 0] > 99))
    Path(files[role]).write_bytes(truncated(Path(files[role]).read_bytes()))
    with pytest.raises(InputError) as caught:
        load_pair(Pair(id="x", **files))
    assert (caught.value.code, caught.value.file) == ("E_DECODE", files[role])
