"""The network keeps its promises about shapes, order, invariance and what folding may change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from piqa_cli.compact.config import CompactConfig
from piqa_cli.compact.measured import NUMBERS
from piqa_cli.compact.network import (
    FAULTS,
    KINDS,
    MEASURED,
    CompactModel,
    best_match,
    over_floor,
    pool,
    summarise,
    zones,
)
from piqa_cli.compact.weights_file import load_model, save_model
from piqa_cli.errors import ModelError
from piqa_cli.schema import Kind
from piqa_cli.synthesis.canvas import FAULTS as SYNTHESISED


def small() -> CompactConfig:
    return CompactConfig(
        widths=(8, 8, 16, 16, 16), depths=(0, 1, 1, 1, 1), decoder_widths=(8, 8, 8, 16, 16), quality_width=24
    )


@pytest.fixture(scope="module")
def model() -> CompactModel:
    torch.manual_seed(0)
    network = CompactModel(small())
    for _ in range(3):  # batch normalisation gets statistics that are not the initial ones
        source, edited = torch.rand(2, 2, 3, 64, 96)
        grounded, evidence = network.ground(source, edited)
        crop = torch.rand(2, 3, 64, 64)
        summary = summarise(grounded, evidence, grounded.mask.sigmoid())
        network.judge(
            crop, crop, torch.ones(2, 1, 64, 64), torch.ones(2, 1), torch.full((2, MEASURED), torch.nan), summary
        )
    network.train(False)
    return network


def test_order_of_the_logits_is_that_of_the_schema_and_the_synthesis() -> None:
    assert set(KINDS) == {kind.value for kind in Kind}
    assert FAULTS == SYNTHESISED


@torch.inference_mode()
def test_maps_have_the_documented_shapes(model: CompactModel) -> None:
    grounded, evidence = model.ground(torch.rand(2, 3, 64, 96), torch.rand(2, 3, 64, 96))
    assert grounded.mask.shape == (2, 1, 32, 48)
    assert grounded.coarse.shape == (2, 1, 8, 12)
    assert grounded.kind.shape == (2, len(KINDS))
    assert evidence.shape == (2, 6, 32, 48)
    inside, outside = summarise(grounded, evidence, grounded.mask.sigmoid())
    assert inside.shape == outside.shape == (2, 3 * 8 + 15)
    crop = torch.rand(2, 3, 64, 64)
    judged = model.judge(
        crop, crop, torch.ones(2, 1, 64, 64), torch.ones(2, 1), torch.zeros(2, MEASURED), (inside, outside)
    )
    assert judged.harmony.shape == judged.naturalness.shape == judged.preservation.shape == (2, 9)
    assert judged.faults.shape == (2, len(FAULTS))
    assert judged.artefacts.shape == (2, 1, 8, 8)


@torch.inference_mode()
def test_what_happens_outside_the_region_is_not_summed_up_as_inside(model: CompactModel) -> None:
    source = torch.rand(1, 3, 128, 128)
    edited = source.clone()
    edited[..., 96:, 96:] = 0
    grounded, evidence = model.ground(source, edited)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32, :32] = 1
    inside, outside = summarise(grounded, evidence, mask)
    assert inside[0, -15] == 0  # mean absolute difference
    assert outside[0, -15] > 0.05


@torch.inference_mode()
def test_a_pair_gets_the_same_answer_alone_and_in_a_batch(model: CompactModel) -> None:
    source, edited = torch.rand(2, 4, 3, 64, 64)
    together = model.ground(source, edited)[0]
    alone = [model.ground(source[i : i + 1], edited[i : i + 1])[0] for i in range(4)]
    torch.testing.assert_close(together.mask, torch.cat([g.mask for g in alone]), atol=1e-4, rtol=0)
    torch.testing.assert_close(together.kind, torch.cat([g.kind for g in alone]), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_saved_and_folded_network_answers_as_the_trained_one(model: CompactModel, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    source, edited = torch.rand(2, 1, 3, 64, 64)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in loaded.encoder.modules())
    before, after = model.ground(source, edited)[0], loaded.ground(source, edited)[0]
    torch.testing.assert_close(before.mask.sigmoid(), after.mask.sigmoid(), atol=2e-2, rtol=0)  # half precision on disk


def test_best_match_ignores_a_shift_by_one_cell_but_not_a_change() -> None:
    torch.manual_seed(1)
    a = torch.rand(1, 4, 16, 16)
    moved = torch.roll(a, (1, -1), (2, 3))
    inner = (..., slice(2, -2), slice(2, -2))
    assert best_match(a, moved)[inner].max() < 1e-6
    assert best_match(a, torch.rand(1, 4, 16, 16))[inner].min() > 0.02


def test_over_floor_cancels_a_residual_that_is_everywhere() -> None:
    torch.manual_seed(2)
    residual = 0.1 + 0.02 * torch.rand(1, 1, 64, 64)
    residual[..., 10:20, 10:20] *= 4
    quiet, loud = over_floor(residual), over_floor(3 * residual)
    torch.testing.assert_close(quiet, loud, atol=0.2, rtol=0)
    assert quiet[..., 12:18, 12:18].min() > 1.5
    assert quiet[..., 30:, 30:].abs().max() < 0.6


def test_zones_split_the_picture_and_empty_zones_pool_to_zero() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    region, inner, outer, background = zones(mask)[0]
    assert region.sum() == 16
    assert inner.sum() == 12
    assert outer.sum() == 36 - 16
    assert background.sum() == 64 - 36
    assert pool(torch.rand(1, 3, 8, 8), zones(torch.ones(1, 1, 8, 8)))[0, 3:].abs().sum() == 0


def test_weights_of_another_shape_are_refused(model: CompactModel, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    config = (tmp_path / "config.json").read_text().replace('"quality_width": 24', '"quality_width": 36')
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=r"cannot read the model|do not fit"):
        load_model(tmp_path)


def test_a_pickle_is_refused(model: CompactModel, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    torch.save(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ModelError):
        load_model(tmp_path)


def test_the_network_reads_as_many_numbers_as_are_measured() -> None:
    assert len(NUMBERS) == MEASURED
