"""The shipped model through the public interface: what it finds, what it refuses to say, and that it does not waver."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pictures import edit, photo
from piqa_cli import Assessment, Pair, assess_pairs, open_assessor
from piqa_cli.assessor import Assessor
from piqa_cli.errors import DeviceError, ModelError, UsageError
from piqa_cli.metrics import box_iou
from piqa_cli.models import MODELS, verify
from piqa_cli.schema import SCALES, Dimension, Kind

BOX = (150, 110, 250, 190)


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    return open_assessor("compact", device="cpu")


def write(folder: Path, name: str, pixels: NDArray[np.uint8], **options: int) -> str:
    path = folder / name
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return str(path)


def pair(folder: Path, name: str, source: NDArray[np.uint8], edited: NDArray[np.uint8], **more: str) -> Pair:
    files = [write(folder, f"{name}_{side}.png", pixels) for side, pixels in (("s", source), ("e", edited))]
    return Pair(id=name, source=files[0], edited=files[1], **more)


def one(assessor: Assessor, wanted: Pair) -> Assessment:
    (outcome,) = assess_pairs([wanted], assessor)
    assert isinstance(outcome, Assessment), outcome
    return outcome


def reencoded(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_local_edit_is_found_where_it_was_made(assessor: Assessor, tmp_path: Path) -> None:
    source = photo(400, 300, seed=5)
    edited, _ = edit(source, BOX)
    found = one(assessor, pair(tmp_path, "a", source, edited))
    assert found.edit.kind is Kind.LOCAL
    assert box_iou(found.regions[0].box, BOX) > 0.6
    for dimension in (Dimension.HARMONY, Dimension.NATURALNESS, Dimension.PRESERVATION, Dimension.OVERALL):
        given = found.scores.of(dimension)
        assert given.value is not None
        assert SCALES[dimension].low <= given.value <= SCALES[dimension].high
        assert given.spread is not None
    assert found.scores.prompt_completion.code == "N_NO_PROMPT"
    assert found.model.weights_sha256 == MODELS["compact"].sha256


@pytest.mark.parametrize("size", [(300, 400), (600, 1500), (1500, 600), (64, 64)])
def test_box_is_in_pixels_of_the_edited_image(assessor: Assessor, tmp_path: Path, size: tuple[int, int]) -> None:
    height, width = size
    source = photo(width, height, seed=8)
    box = (width // 2, height // 4, width * 3 // 4, height * 3 // 4)
    edited, _ = edit(source, box)
    found = one(assessor, pair(tmp_path, "a", source, edited))
    assert found.edit.kind is Kind.LOCAL
    assert box_iou(found.regions[0].box, box) > 0.5
    assert found.regions[0].mask.size == size


def test_same_picture_is_no_edit_and_scores_say_why_they_are_null(assessor: Assessor, tmp_path: Path) -> None:
    source = photo(400, 300, seed=5)
    found = one(assessor, pair(tmp_path, "a", source, source, prompt="Remove the dog"))
    assert found.edit.kind is Kind.NONE
    assert found.edit.identical
    assert found.regions == ()
    assert found.scores.harmony.value is None
    assert found.scores.harmony.code == "N_NO_EDIT"
    assert found.scores.prompt_completion.value == pytest.approx(1, abs=0.3)
    assert found.scores.preservation.value == 5


@pytest.mark.parametrize("quality", [50, 85])
def test_reencoding_is_no_edit(assessor: Assessor, tmp_path: Path, quality: int) -> None:
    source = photo(400, 300, seed=5)
    found = one(assessor, pair(tmp_path, "a", source, reencoded(source, quality)))
    assert found.edit.kind is Kind.NONE
    assert found.regions == ()


def test_two_scenes_are_different_pictures(assessor: Assessor, tmp_path: Path) -> None:
    found = one(assessor, pair(tmp_path, "a", photo(400, 300, seed=5), photo(400, 300, seed=77)))
    assert found.edit.kind is Kind.DIFFERENT
    assert all(found.scores.of(dimension).value is None for dimension in Dimension)
    assert found.scores.overall.code == "N_DIFFERENT_PICTURE"


def test_a_mask_that_misses_the_edit_is_warned_of(assessor: Assessor, tmp_path: Path) -> None:
    source = photo(400, 300, seed=5)
    edited, where = edit(source, BOX)
    right, inverted = (write(tmp_path, f"{i}.png", m.astype(np.uint8) * 255) for i, m in enumerate((where, ~where)))
    assert one(assessor, pair(tmp_path, "a", source, edited, mask=right)).warnings == ()
    (warning,) = one(assessor, pair(tmp_path, "b", source, edited, mask=inverted)).warnings
    assert "--invert-mask" in warning


def test_given_mask_is_the_region(assessor: Assessor, tmp_path: Path) -> None:
    source = photo(400, 300, seed=5)
    edited, _ = edit(source, BOX)
    mask = np.zeros((300, 400), np.uint8)
    mask[100:200, 140:260] = 255
    found = one(assessor, pair(tmp_path, "a", source, edited, mask=write(tmp_path, "m.png", mask)))
    assert found.regions[0].box == (140, 100, 260, 200)
    assert found.regions[0].confidence == 1


@pytest.mark.parametrize(
    ("value", "dimension", "code"),
    [(0, Dimension.HARMONY, "E_MASK_EMPTY"), (255, Dimension.PRESERVATION, "E_MASK_FULL")],
)
def test_mask_without_an_inside_or_an_outside_nulls_what_it_leaves_undefined(
    assessor: Assessor, tmp_path: Path, value: int, dimension: Dimension, code: str
) -> None:
    source = photo(400, 300, seed=5)
    edited, _ = edit(source, BOX)
    mask = write(tmp_path, "m.png", np.full((300, 400), value, np.uint8))
    found = one(assessor, pair(tmp_path, "a", source, edited, mask=mask))
    assert found.scores.of(dimension).value is None
    assert found.scores.of(dimension).code == code
    assert any(warning.startswith(code) for warning in found.warnings)


def mixed(folder: Path) -> list[Pair]:
    """Pairs of three shapes, edited and not, with and without a prompt."""
    pairs = []
    for index, (width, height) in enumerate([(400, 300), (300, 400), (400, 300), (512, 512), (400, 300)]):
        source = photo(width, height, seed=index)
        edited = reencoded(edit(source, seed=index)[0], 80) if index != 2 else reencoded(source, 60)
        prompt = {"prompt": "Remove the disc"} if index % 2 else {}
        pairs.append(pair(folder, f"p{index}", source, edited, **prompt))
    return pairs


def values(outcomes: Sequence[object]) -> list[object]:
    """Everything in the records but the time, numbers apart from the rest."""
    dumped: list[object] = []
    for outcome in outcomes:
        assert isinstance(outcome, Assessment)
        dumped.append(outcome.model_dump(exclude={"seconds"}))
    return dumped


def close(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-4
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(close, a, b))
    return a == b


def test_a_record_depends_neither_on_the_batch_nor_on_the_workers(assessor: Assessor, tmp_path: Path) -> None:
    pairs = mixed(tmp_path)
    alone = values([one(assessor, wanted) for wanted in pairs])
    for workers, batch in ((1, 5), (4, 3)):
        together = values(list(assess_pairs(pairs, assessor, workers=workers, batch_size=batch)))
        assert close(alone, together)


def test_weights_are_the_released_ones() -> None:
    assert verify("compact") == MODELS["compact"].sha256
    size = sum(file.stat().st_size for file in MODELS["compact"].weights.iterdir())
    assert size <= 12_000_000


def test_registry_tells_the_number_of_parameters(assessor: Assessor) -> None:
    import torch

    network = getattr(assessor, "model", None)
    assert isinstance(network, torch.nn.Module)
    # Folding moved the normalisations into the convolutions; what is left can only be fewer.
    assert 0.95 * MODELS["compact"].parameters < sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in network.parameters()) <= MODELS["compact"].parameters


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model called"):
        open_assessor("nonesuch")
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_assessor(str(tmp_path))
    with pytest.raises(DeviceError, match="not there"):
        open_assessor("compact", device="cuda:93")
    with pytest.raises(UsageError, match="unknown device"):
        open_assessor("compact", device="abacus")
    with pytest.raises(UsageError, match="fp16"):
        open_assessor("compact", device="cpu", dtype="fp16")


@pytest.mark.parametrize(("native", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_bf16_where_the_processor_computes_in_it(monkeypatch: pytest.MonkeyPatch, native: bool, chosen: str) -> None:
    monkeypatch.setattr("piqa_cli.models.computes_in_bf16", lambda: native)
    assert open_assessor("compact", device="cpu").info.precision == chosen
    assert open_assessor("compact", device="cpu", dtype="fp32").info.precision == "fp32"


def test_altered_weights_are_told_from_the_released_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    (tmp_path / "model.safetensors").write_bytes(b"altered")
    monkeypatch.setitem(MODELS, "compact", replace(MODELS["compact"], weights=tmp_path))
    with pytest.raises(ModelError, match="not the ones that were released") as caught:
        verify("compact")
    assert caught.value.code == "E_MODEL_HASH"
