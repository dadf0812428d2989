"""What the score and explain stages learn from: cases, hands of them, and losses that ask for the right order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pictures import photo, save
from piqa_cli.compact.config import CompactConfig
from piqa_cli.compact.network import FAULTS, MEASURED, CompactModel
from piqa_cli.schema import Dimension
from piqa_cli.synthesis import FAMILIES
from piqa_cli.training.cases import Cases
from piqa_cli.training.fresh import FreshEdits, drawn
from piqa_cli.training.heads import settle_faults, settle_heads, sources_of
from piqa_cli.training.holes import WORST, dig, with_holes
from piqa_cli.training.losses import moments
from piqa_cli.training.opinion import to_opinion
from piqa_cli.training.quality import HANDS, Deck, Hands, QualityTask, calibrate, fault_loss, judge_cases, order_loss
from piqa_cli.training.ratings import COLUMNS, read_ratings
from piqa_cli.training.remarks import faults_in

SIDE, WIDE, SUMMARY = 64, 72, 3 * 8 + 15
NAN = float("nan")


CONFIG = CompactConfig(
    widths=(8, 8, 16, 16, 16), depths=(0, 1, 1, 1, 1), decoder_widths=(8, 8, 8, 16, 16), quality_width=24,
    crop_side=SIDE,
)  # fmt: skip


def small() -> CompactModel:
    torch.manual_seed(0)
    return CompactModel(CONFIG)


def cases(count: int, *, family: int = -1, rated: bool = True) -> Cases:
    """Rows of noise; made ones as (better, worse) in turn."""
    rng = np.random.default_rng(count + family)
    pictures = rng.integers(0, 256, (2, count, WIDE, WIDE, 3), np.uint8)
    severities = np.full((count, 3), NAN, np.float32)
    faults = np.full((count, len(FAULTS)), NAN, np.float32)
    if family >= 0:
        severities = np.tile(np.array([[0.1, 0.0, 0.0], [0.9, 0.0, 0.0]], np.float32), (count // 2, 1))
        faults = np.zeros((count, len(FAULTS)), np.float32)
        faults[:, 0] = severities[:, 0]
    ratings = rng.uniform(1, 5, (count, 3)) if rated else np.full((count, 3), NAN)
    return Cases(
        source=pictures[0], edited=pictures[1], mask=np.full((count, WIDE, WIDE), 255, np.uint8),
        area=np.full(count, 0.2, np.float32),
        measured=np.zeros((count, MEASURED), np.float32),
        inside=rng.standard_normal((count, SUMMARY)).astype(np.float32),
        outside=rng.standard_normal((count, SUMMARY)).astype(np.float32),
        ratings=ratings.astype(np.float32), severities=severities, faults=faults,
        family=np.full(count, family, np.int64),
    )  # fmt: skip


def test_cases_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    written = cases(4, family=1)
    written.save(tmp_path / "cases.safetensors")
    read = Cases.load(tmp_path / "cases.safetensors")
    assert len(read) == 4
    np.testing.assert_array_equal(read.edited, written.edited)
    np.testing.assert_array_equal(read.ratings, written.ratings)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> FreshEdits:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        save(folder / f"{number}.png", photo(240, 200, seed=number))
    return FreshEdits(str(folder), SIDE, seed=1)


def test_fresh_edits_come_of_every_family_in_two_versions_of_one_place(fresh: FreshEdits) -> None:
    better, worse = fresh[4]
    assert better.family == worse.family == 4
    assert fresh[4 + len(FAMILIES)][0].family == 4
    assert sum(worse.severities[:2]) > sum(better.severities[:2])
    np.testing.assert_array_equal(better.crop.source, worse.crop.source)
    np.testing.assert_array_equal(better.crop.mask, worse.crop.mask)
    assert better.crop.source.shape == (WIDE, WIDE, 3)
    assert (better.crop.edited != worse.crop.edited).any()


def test_families_left_out_are_in_no_fresh_edit(fresh: FreshEdits) -> None:
    names = [family.name for family in FAMILIES]
    some = FreshEdits(fresh.photos, SIDE, seed=1, leave_out=("seam", "warp"))
    assert [names[some[n][0].family] for n in range(7, 14)] == [n for n in names if n not in ("seam", "warp")][7:14]


def test_a_drawn_outline_is_near_the_true_one_and_never_empty() -> None:
    disc = np.zeros((80, 80), np.bool_)
    disc[30:50, 30:50] = True
    speck = np.zeros((80, 80), np.bool_)
    speck[40, 40] = True
    areas = set()
    for seed in range(30):
        outline = drawn(disc, np.random.default_rng(seed))
        areas.add(int(outline.sum()))
        assert 0.6 < outline.sum() / disc.sum() < 1.5
        assert drawn(speck, np.random.default_rng(seed)).any()
    assert min(areas) < disc.sum() < max(areas)


def test_a_hand_is_a_function_of_its_number_and_deals_from_every_source(fresh: FreshEdits) -> None:
    hands = Hands(Deck(cases(5), cases(4, family=2)), fresh, CONFIG, seed=1)
    one, again, other = hands[3], hands[3], hands[4]
    assert all(torch.equal(torch.nan_to_num(one[key]), torch.nan_to_num(again[key])) for key in one)
    assert not torch.equal(one["source"], other["source"])
    real, rated, made = HANDS["score"]
    assert one["source"].shape == (real + rated + 2 * made, 3, SIDE, SIDE)
    assert one["family"][: real + rated].tolist() == [-1] * real + [2] * rated
    families = one["family"][real + rated :].view(made, 2)
    assert torch.equal(families[:, 0], families[:, 1])
    assert len(set(families[:, 0].tolist())) == made  # faults of one hand are of many kinds
    assert torch.isnan(one["inside"]).all(1).tolist() == [False] * (real + rated) + [True] * 2 * made


def test_a_photo_may_stand_for_the_flawless_edit_of_its_own_bad_edit() -> None:
    bad = cases(1)
    bad.ratings[:] = (1.5, 1.5, 2.0)
    hands = Hands(Deck(bad), None, CONFIG, seed=0)
    rows = [(row["source"], row["edited"], row["ratings"]) for row in map(hands.__getitem__, range(12))]
    ratings = torch.cat([r for _, _, r in rows])
    swapped = ratings[:, 0] > 4
    assert 0 < swapped.sum() < len(ratings) / 2
    assert torch.isnan(ratings[swapped, 2]).all()


def test_an_edit_may_be_painted_over_and_is_then_the_worst() -> None:
    good = cases(1)
    good.ratings[:] = 4.5
    good.mask[:, :20] = 0
    rows = [Hands(Deck(good), None, CONFIG, seed=0)[number] for number in range(12)]
    ruined = torch.cat([row["ratings"][:, 1] == WORST for row in rows])
    spread = torch.cat([row["edited"].float()[..., -1, :].std((1, 2)) for row in rows])
    assert 0 < ruined.sum() < len(ruined) / 4
    assert (spread[ruined] < 1e-3).all()  # the lowest row of pixels is of one colour
    assert (spread[~ruined] > 30).all()


def test_a_hole_is_as_the_mask_says_in_one_colour_and_measured_anew() -> None:
    rng = np.random.default_rng(0)
    known = cases(9)
    known.mask[:, :, :30] = 0
    dug = dig(known.edited[0], known.mask[0], rng)
    np.testing.assert_array_equal(dug[:, :30], known.edited[0][:, :30])
    assert len(np.unique(dug[:, 30:].reshape(-1, 3), axis=0)) == 1
    both = with_holes(known, 6, SIDE, seed=0)
    assert len(both) == 15
    np.testing.assert_array_equal(both.ratings[:9], known.ratings)
    assert (both.ratings[9:, :2] == WORST).all()
    assert np.isnan(both.ratings[9:, 2]).all()
    assert (both.measured[9:] != known.measured[:6]).any()


def test_both_stages_learn_and_explaining_moves_no_score(fresh: FreshEdits) -> None:
    model = small()
    deck = Deck(cases(12), cases(4, family=2))
    batch = {key: value[None] for key, value in Hands(deck, fresh, CONFIG, seed=0)[0].items()}
    model.train()
    for stage, steps in (("score", 12), ("explain", 12)):
        task = QualityTask(model, stage)  # type: ignore[arg-type]
        before = judge_cases(model, deck.real or cases(2))
        task = QualityTask(model, stage)  # type: ignore[arg-type]
        optimiser = torch.optim.Adam([p for p in model.quality.parameters() if p.requires_grad], 3e-3)
        losses = []
        for _ in range(steps):
            total = torch.stack(list(task.losses(batch).values())).sum()
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
            losses.append(total.item())
        after = judge_cases(model, deck.real or cases(2))
        assert losses[-1] < losses[0]
        assert torch.equal(before.harmony, after.harmony) == (stage == "explain")
        assert not torch.equal(before.faults, after.faults)


def test_heads_settle_on_whatever_sources_there_are() -> None:
    made = cases(40, family=3, rated=False)
    for deck in (Deck(made=made), Deck(cases(30), cases(8, family=2), made)):
        model = small()
        settle_heads(model, sources_of(model, deck), seed=0)
        harmony = moments(judge_cases(model, made).harmony)[0].view(-1, 2)
        assert (harmony[:, 0] > harmony[:, 1]).float().mean() > 0.7  # better before worse


def test_heads_that_settled_on_holes_score_them_low() -> None:
    model, both = small(), with_holes(cases(40), 10, SIDE, seed=0)
    settle_heads(model, sources_of(model, Deck(both)), seed=0)
    values = moments(judge_cases(model, both).harmony)[0]
    assert values[40:].max() < values[:40].mean() - 0.5


def test_faults_are_named_after_settling_on_edits_whose_faults_are_known() -> None:
    model, made = small(), cases(40, family=3, rated=False)
    made.measured[:, 0] = 10 * made.faults[:, 0]
    before = judge_cases(model, made).harmony
    settle_faults(model, [made], seed=0)
    judged = judge_cases(model, made)
    assert torch.equal(judged.harmony, before)  # no score moves
    bad = torch.from_numpy(made.faults[:, 0]) > 0.5
    assert (judged.faults[bad].argmax(1) == 0).all()
    assert judged.faults[bad, 0].mean() > judged.faults[~bad, 0].mean() + 1


def test_spreads_are_widened_until_the_worse_judged_lot_is_held() -> None:
    model, near, far = small(), cases(60), cases(60)
    values = moments(judge_cases(model, near).harmony)[0]
    near.ratings[:, 0] = values.numpy()
    far.ratings[:, 0] = 1
    _, alone = calibrate(model, [near])
    _, both = calibrate(model, [near, far])
    assert alone[0] == 1
    assert both[0] > 1.2


def test_order_loss_counts_only_what_may_be_compared_and_is_told_apart() -> None:
    logits = torch.zeros(3, 9)
    everything = torch.ones(3, 3, dtype=torch.bool)
    assert order_loss(logits, torch.tensor([0.0, 0.5, NAN]), everything, 0.2) > 0
    assert order_loss(logits, torch.tensor([0.0, 0.1, NAN]), everything, 0.2) == 0
    assert order_loss(logits, torch.tensor([0.0, 0.5, NAN]), ~everything, 0.2) == 0


def testfault_loss_is_least_where_the_main_fault_is_named() -> None:
    faults = torch.zeros(1, len(FAULTS))
    faults[0, 4] = 0.9
    right, wrong = torch.full((2, 1, len(FAULTS)), -3.0)
    right[0, 4], wrong[0, 6] = 3, 3
    assert fault_loss(right, faults) < fault_loss(wrong, faults)
    unknown = torch.full((1, len(FAULTS)), NAN)
    assert fault_loss(wrong, unknown) == 0


@pytest.mark.parametrize("dimension", [Dimension.HARMONY, Dimension.NATURALNESS])
def test_opinions_keep_the_order_and_the_scale(dimension: Dimension) -> None:
    values = [to_opinion(dimension, float(v)) for v in np.linspace(0.5, 5.5, 101)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (1.0, 5.0)
    assert np.isnan(to_opinion(dimension, NAN))


def test_remarks_name_faults_and_say_nothing_of_others() -> None:
    named = dict(zip(FAULTS, faults_in("garbled bag in hand, faint ghost, smeared edge"), strict=True))
    assert named["garbled"] == named["ghost"] == named["smear"] == 1
    assert np.isnan(named["blocking"])
    assert all(np.isnan(v) for v in faults_in("clean"))


def test_the_table_of_ratings_holds_every_family_on_its_scales() -> None:
    rows = read_ratings(("train", "val", "test"))
    assert len(rows) >= 1000
    assert {row.family for row in rows} == {family.name for family in FAMILIES}
    assert all(1 <= value <= 5 for row in rows for value in (row.harmony, row.naturalness, row.preserved))
    assert all(0 <= row.severity <= 1 for row in rows)
    assert len({row.seed for row in rows}) == len(rows)
    assert COLUMNS[0] == "id"
