from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from piqa_cli.errors import InputError, OutputError
from piqa_cli.pairs.manifest import read_manifest
from piqa_cli.schema import Kind, Pair
from piqa_cli.synthesis import (
    DEFAULT_KINDS,
    FAMILIES,
    FAULTS,
    Family,
    Photo,
    PhotoLibrary,
    Sample,
    find_family,
    make_sample,
    make_severity_pair,
    split_of,
    write_folder,
)
from piqa_cli.synthesis.exemplar import fill_hole
from piqa_cli.synthesis.families import colour
from piqa_cli.synthesis.masks import LARGEST_AREA, SMALLEST_AREA, draw_mask
from piqa_cli.synthesis.nuisances import NUISANCES, Motion, draw_motion
from piqa_cli.synthesis.pixels import membrane, noise_field
from piqa_cli.synthesis.scene import draw_scene

SHARED = Path(__file__).parents[2] / "shared" / "data" / "photos"
SIDE = 96
CODECS = [name for name, *_ in NUISANCES]


def scenery(seed: int, height: int = 160, width: int = 200) -> NDArray[np.uint8]:
    """A textured landscape: sky, ground, and a few things on it."""
    rng = np.random.default_rng(seed)
    texture = sum(noise_field(rng, (height, width), wave, 3) * wave**0.5 * 7 for wave in (1.5, 4, 12))
    slope = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] * rng.uniform(-60, 60, 3)
    picture = np.clip(rng.uniform(80, 170, 3) + slope + texture, 0, 255).astype(np.uint8)
    for _ in range(6):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(8, 40)), int(rng.integers(8, 40)))
        shape = np.zeros((height, width), np.uint8)
        cv2.ellipse(shape, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        tinted = picture[shape > 0] * rng.uniform(0.4, 1.3, 3) + rng.uniform(-20, 20, 3)
        picture[shape > 0] = np.clip(tinted, 0, 255).astype(np.uint8)
    return picture


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> PhotoLibrary:
    """Ten drawn photos, half of them with objects and segments."""
    root = tmp_path_factory.mktemp("data")
    photos, segments = root / "photos", root / "segments"
    photos.mkdir()
    segments.mkdir()
    rows = []
    for number in range(10):
        row = {"file": f"drawn_{number}.png"}
        Image.fromarray(scenery(number)).save(photos / row["file"])
        if number % 2:
            labels = np.zeros((160, 200), np.uint8)
            cv2.circle(labels, (60 + 8 * number, 80), 24, 7, -1)
            Image.fromarray(labels).save(segments / f"objects_{number}.png")
            cells = (np.arange(160)[:, None] // 40 * 5 + np.arange(200)[None] // 40 + 1).astype(np.uint8)
            Image.fromarray(cells).save(segments / f"cells_{number}.png")
            row |= {"objects": f"objects_{number}.png", "segments": f"cells_{number}.png"}
        rows.append(json.dumps(row))
    (photos / "manifest.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return PhotoLibrary(photos)


def fields(sample: Sample) -> tuple[object, ...]:
    arrays = (sample.source, sample.edited, sample.mask, sample.drift_mask)
    return (*(array.tobytes() for array in arrays), sample.kind, sample.family, sample.faults, sample.severity)


def distance(first: Sample, second: Sample) -> float:
    difference = np.abs(first.edited.astype(int) - second.edited)
    return float(difference[first.mask].mean())


def test_same_seed_gives_same_bytes_whatever_was_made_before(library: PhotoLibrary) -> None:
    fresh = PhotoLibrary(library.root, cached=1)
    for seed in range(12):
        assert fields(make_sample(library, seed, SIDE, "train")) == fields(make_sample(fresh, seed, SIDE, "train"))


def test_other_seeds_give_other_samples(library: PhotoLibrary) -> None:
    assert len({make_sample(library, seed, 64, "train").edited.tobytes() for seed in range(12)}) == 12


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_only_the_mask_changes_before_nuisances_and_there_it_does(library: PhotoLibrary, family: Family) -> None:
    for seed in range(3):
        sample = make_sample(library, seed, SIDE, "train", family=family.name, clean=True)
        difference = np.abs(sample.source.astype(int) - sample.edited).max(2)
        assert sample.kind is Kind.LOCAL
        assert not difference[~sample.mask].any()
        assert difference[sample.mask].mean() >= 5
        assert not sample.drift_mask.any()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_distance_from_the_flawless_edit_grows_with_severity(library: PhotoLibrary, family: Family) -> None:
    steps = np.zeros(3)
    for seed in range(5):
        better = make_severity_pair(library, seed, SIDE, "train", family=family.name, severities=(0, 0.3), clean=True)
        rest = [
            make_severity_pair(library, seed, SIDE, "train", family=family.name, severities=(0, high), clean=True)
            for high in (0.65, 1.0)
        ]
        assert all(np.array_equal(pair[0].edited, better[0].edited) for pair in rest)
        steps += [distance(*better), *(distance(*pair) for pair in rest)]
    assert 0 < steps[0] < steps[1] < steps[2]


def test_a_fault_alone_changes_nothing_at_severity_zero(library: PhotoLibrary) -> None:
    for family in FAMILIES:
        scene, _ = draw_scene(library, 5, (SIDE, SIDE), "train", family=family.name, least=0.0)
        canvas = replace(scene.canvas, base=scene.canvas.picture, severity=0.0)
        made = family.apply(np.random.default_rng(0), canvas)
        assert np.array_equal(made, canvas.picture) is not family.changes, family.name


def test_severities_follow_the_faults(library: PhotoLibrary) -> None:
    for seed in range(20):
        better, worse = make_severity_pair(library, seed, 64, "train")
        family = find_family(worse.family)
        assert worse.severity >= better.severity + 0.2 - 1e-9
        assert np.array_equal(better.mask, worse.mask)
        assert {name for name, _ in worse.faults} <= set(FAULTS)
        if family.harms_harmony and not family.harms_naturalness:
            assert better.harmony_severity == better.severity
            assert better.naturalness_severity == worse.naturalness_severity
        if family.harms_naturalness and not family.harms_harmony:
            assert worse.naturalness_severity == worse.severity
            assert better.harmony_severity == worse.harmony_severity
        assert worse.fault == (worse.faults[0][0] if worse.faults else None)


def test_both_of_a_pair_share_photo_and_nuisances(library: PhotoLibrary) -> None:
    better, worse = make_severity_pair(library, 4, 64, "train", family="blocking", severities=(0.1, 0.9))
    assert np.array_equal(better.source, worse.source)
    assert better.photo == worse.photo


def test_region_areas_stay_in_range_and_reach_both_ends(library: PhotoLibrary) -> None:
    rng = np.random.default_rng(0)
    areas = []
    for number in range(200):
        photo = library.load(f"drawn_{number % 10}.png")
        areas.append(draw_mask(rng, photo).mean())
    assert min(areas) >= SMALLEST_AREA
    assert max(areas) <= LARGEST_AREA + 0.01
    assert np.quantile(areas, 0.25) < 0.02
    assert np.quantile(areas, 0.9) > 0.2


def test_a_photo_without_labels_or_texture_still_gets_a_region() -> None:
    rng = np.random.default_rng(1)
    flat = Photo("flat", np.full((40, 56, 3), 90, np.uint8), None, None)
    assert all(draw_mask(rng, flat).any() for _ in range(60))


def test_kinds_come_in_their_proportions(library: PhotoLibrary) -> None:
    kinds = Counter(make_sample(library, seed, 40, "train").kind for seed in range(160))
    for kind, share in DEFAULT_KINDS.items():
        assert abs(kinds[kind] / 160 - share) < 0.1
    only = {make_sample(library, seed, 48, "train", kinds={Kind.NONE: 1.0}).kind for seed in range(10)}
    assert only == {Kind.NONE}


def test_unedited_pairs_have_an_empty_mask_and_whole_picture_changes_a_full_one(library: PhotoLibrary) -> None:
    for seed in range(8):
        assert not make_sample(library, seed, 64, "train", kinds={Kind.NONE: 1.0}).mask.any()
        changed = make_sample(library, seed, 64, "train", kinds={Kind.GLOBAL: 1.0}, clean=True)
        assert changed.mask.all()
        assert np.abs(changed.source.astype(int) - changed.edited).mean() > 6
        other = make_sample(library, seed, 64, "train", kinds={Kind.DIFFERENT: 1.0})
        assert other.mask.all()


def test_drift_stays_outside_the_edit(library: PhotoLibrary) -> None:
    drifting = [make_sample(library, seed, 64, "train", severity=0.5) for seed in range(40)]
    found = [sample for sample in drifting if sample.drift_severity > 0]
    assert 4 <= len(found) <= 20
    assert all(sample.drift_mask.any() for sample in found)
    assert all((sample.drift_mask & sample.mask).mean() < 0.01 for sample in drifting)


@pytest.mark.parametrize("size", [(96, 160), (200, 128)])
def test_pictures_need_not_be_square(library: PhotoLibrary, size: tuple[int, int]) -> None:
    sample = make_sample(library, 1, size, "train", severity=0.4)
    assert sample.source.shape == sample.edited.shape == (*size, 3)
    assert sample.mask.shape == sample.drift_mask.shape == size


@pytest.mark.parametrize(("name", "change", "_"), NUISANCES, ids=CODECS)
def test_a_nuisance_leaves_the_picture_recognisable(name: str, change: object, _: float) -> None:
    picture = scenery(3, 96, 96)
    for seed in range(4):
        made = change(np.random.default_rng(seed), picture)  # type: ignore[operator]
        assert made.shape == picture.shape
        assert made.dtype == np.uint8
        assert 0 < np.abs(made.astype(int) - picture).mean() < 16


def test_a_mask_moves_with_its_picture() -> None:
    mask = np.zeros((64, 96), bool)
    mask[20:40, 30:60] = True
    picture = np.repeat((mask * 255).astype(np.uint8)[..., None], 3, 2)
    for seed in range(20):
        motion = draw_motion(np.random.default_rng(seed), (64, 96))
        moved = motion.mask(mask)
        assert np.mean(moved != (motion.picture(picture)[..., 0] > 127)) < 0.005
        assert moved.any()
    left = Motion(np.array([[1.0, 0, 3], [0, 1, 0]]))
    assert np.array_equal(left.mask(mask)[:, :90], mask[:, 3:93])


def test_a_hole_is_filled_from_its_surroundings_and_nothing_else_changes() -> None:
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = stripes[:, 2::8] = 200
    hole = np.zeros((96, 96), bool)
    hole[30:60, 33:57] = True
    broken = np.where(hole[..., None], np.uint8(120), stripes)
    filled = fill_hole(np.random.default_rng(0), broken, hole)
    assert np.array_equal(filled[~hole], stripes[~hole])
    assert np.abs(filled - stripes)[hole].mean() < 25


def test_a_flawless_painting_is_closer_to_the_hidden_photo_than_a_bad_one(library: PhotoLibrary) -> None:
    errors = np.zeros(2)
    for seed in range(8):
        scene, _ = draw_scene(library, seed, (SIDE, SIDE), "train", family="paint", least=0.3)
        canvas = replace(scene.canvas, severity=0.0)
        for column, severity in enumerate((0.0, 1.0)):
            made = find_family("paint").apply(np.random.default_rng(seed), replace(canvas, severity=severity))
            errors[column] += np.abs(made.astype(int) - canvas.picture)[canvas.mask].mean()
    assert errors[0] < errors[1]


def test_covariance_transfer_gives_the_region_the_colours_of_the_other_photo(library: PhotoLibrary) -> None:
    scene, _ = draw_scene(library, 3, (SIDE, SIDE), "train", family="colour", least=0.5)
    made = colour._covariance(scene.canvas.base.astype(np.float32), scene.canvas)
    inside, wanted = made[scene.canvas.mask], scene.canvas.donor.reshape(-1, 3).astype(np.float32)
    assert np.allclose(inside.mean(0), wanted.mean(0), atol=0.1)
    spread = np.linalg.eigvalsh(np.cov(scene.canvas.base[scene.canvas.mask].T.astype(float)))
    assert np.array_equal(made[~scene.canvas.mask], scene.canvas.base[~scene.canvas.mask])
    limits = 2.5**2 * (spread + 1)
    assert (np.linalg.eigvalsh(np.cov(inside.T)) <= np.maximum(limits, np.linalg.eigvalsh(np.cov(wanted.T)) + 2)).all()


def test_the_membrane_keeps_known_values_and_joins_them() -> None:
    ramp = np.repeat(np.arange(64, dtype=np.float32)[None, :, None], 64, 0)
    known = np.ones((64, 64), bool)
    known[20:44, 20:44] = False
    joined = membrane(np.where(known[..., None], ramp, 0), known)
    assert np.abs(joined - ramp)[known].max() < 1e-3
    assert np.abs(joined - ramp).max() < 8


def test_photos_are_split_once_and_for_all(library: PhotoLibrary) -> None:
    shares = Counter(split_of(f"photo{number}.jpg") for number in range(2000))
    assert abs(shares["train"] / 2000 - 0.8) < 0.04
    assert abs(shares["val"] / 2000 - 0.1) < 0.03
    assert {split_of("cat.jpg"), split_of("cat.jpg")} == {split_of("cat.jpg")}
    assert set(library.names("train")) == {name for name in library.names("all") if split_of(name) == "train"}


def test_a_plain_folder_of_pictures_is_a_library(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(scenery(number)).save(tmp_path / f"p{number}.jpg")
    (tmp_path / "notes.txt").write_text("not a picture", encoding="utf-8")
    plain = PhotoLibrary(tmp_path)
    assert len(plain) == 3
    assert make_sample(plain, 0, 64, "val", severity=0.5).mask.any()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        PhotoLibrary(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        PhotoLibrary(tmp_path / "absent")
    (tmp_path / "manifest.jsonl").write_text('{"name": "x.jpg"}', encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        PhotoLibrary(tmp_path)


def test_a_damaged_photo_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    with pytest.raises(InputError, match=r"bad\.jpg"):
        PhotoLibrary(tmp_path).load("bad.jpg")


def test_a_written_folder_holds_what_makes_its_samples_again(library: PhotoLibrary, tmp_path: Path) -> None:
    count = write_folder((make_sample(library, seed, 64, "train") for seed in range(5)), tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "labels.jsonl").read_text("utf-8").splitlines()]
    assert count == len(rows) == 5
    for row in rows:
        again = make_sample(library, row["seed"], tuple(row["size"]), "train")
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / row["edited"])), again.edited)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / row["source"])), again.source)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / row["mask"])) > 0, again.mask)
        assert row["kind"] == again.kind.value
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        assert sheet.width > 3 * 64


def test_the_labels_of_a_written_folder_are_a_manifest(library: PhotoLibrary, tmp_path: Path) -> None:
    write_folder((make_sample(library, seed, 64, "train") for seed in range(3)), tmp_path / "out")
    pairs = list(read_manifest(str(tmp_path / "out" / "labels.jsonl")))
    assert [pair.id for pair in pairs if isinstance(pair, Pair)] == ["000000", "000001", "000002"]
    for pair in pairs:
        assert isinstance(pair, Pair)
        assert all(Path(str(path)).is_file() for path in (pair.source, pair.edited, pair.mask))


def test_an_unwritable_folder_is_an_output_error(library: PhotoLibrary, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(OutputError):
        write_folder([make_sample(library, 0, 48, "train")], tmp_path / "out")


def test_an_unknown_family_names_those_there_are() -> None:
    with pytest.raises(KeyError, match="paste"):
        find_family("teleport")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared photos are not here")
def test_real_photos_give_every_kind_of_sample_fast_enough() -> None:
    real = PhotoLibrary(SHARED)
    start = time.process_time()
    samples = [make_sample(real, seed, 256, "train") for seed in range(16)]
    # A third of the rate that one idle core reaches, in CPU time: other load does not count.
    assert 16 / (time.process_time() - start) > 5
    assert len({sample.kind for sample in samples}) >= 2
    assert len(real.names("train")) > 8 * len(real.names("test")) > 0 or len(real.names("test")) > 50
