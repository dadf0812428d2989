"""`piqa train lmm`: adapters that load back, runs that go on as if nothing had happened, and refusals in words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lmm_loads import load
from pictures import photo
from piqa_cli.compact.explain import contradictions
from piqa_cli.errors import InputError, PiqaError, UsageError
from piqa_cli.images import load_pair
from piqa_cli.lmm.boxes import parse_boxes
from piqa_cli.lmm.levels import score_levels, spell
from piqa_cli.lmm.loading import Vlm
from piqa_cli.lmm.prefix import ask
from piqa_cli.lmm.prompts import compare
from piqa_cli.pairs.annotations import Annotation
from piqa_cli.pairs.epaiqa import LabelledPair
from piqa_cli.regions import encode_mask
from piqa_cli.schema import Dimension, Pair
from piqa_cli.training import loop
from piqa_cli.training.lmm.answers import answer_losses, order_loss
from piqa_cli.training.lmm.dialogues import Dialogue, Rated, Written, level_targets
from piqa_cli.training.lmm.learner import Learner, _asking
from piqa_cli.training.lmm.packing import pack
from piqa_cli.training.lmm.peers import Peers
from piqa_cli.training.lmm.settings import STAGES as NAMES
from piqa_cli.training.lmm.settings import LmmTrainSettings
from piqa_cli.training.lmm.stages import STAGES
from piqa_cli.training.lmm.train import train
from piqa_cli.training.lmm.tuning import tune
from piqa_cli.training.lmm.turns import Asker, has_reasons, has_region, scores_of
from piqa_cli.training.material import Example, Material, read_material
from rated_edits import write_edits
from tiny_vlms import KINDS, checkpoint


def silent(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_edits(tmp_path_factory.mktemp("rated") / "data", 12)


def settings(data: Path, out: Path, kind: str = "qwen3_vl", **more: Any) -> LmmTrainSettings:
    few = {"steps": 2, "batch_size": 2, "learning_rate": 0.01, "validate_every": 2, "validation_pairs": 2, "rank": 4}
    return LmmTrainSettings(
        str(checkpoint(kind)), str(data), str(out), device="cpu", offline=True, **{"seed": 1, **few, **more}
    )


def scores(vlm: Vlm, data: Path) -> list[float]:
    """What a model makes of a pair in two dimensions."""
    pair = load_pair(Pair(id="a", source=str(data / "source" / "s0.png"), edited=str(data / "edited" / "s0_0.png")))
    from piqa_cli.lmm.views import view

    shown = compare(view(pair.source.pixels), view(pair.edited.pixels), None, "Repaint it.")
    spellings = [spell(vlm.processor.tokenizer, d, "tiny") for d in (Dimension.OVERALL, Dimension.HARMONY)]
    told = ask(vlm, [shown], [spelling.question for spelling in spellings])
    return [score_levels(spelling, answer)[0].value for spelling, answer in zip(spellings, told, strict=True)]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_three_stages_leave_an_adapter_that_judges_otherwise_than_its_base(data: Path, tmp_path: Path) -> None:
    folder = train(settings(data, tmp_path / "run", checkpointing=True), silent, silent)
    assert {"adapter_config.json", "adapter_model.safetensors", "piqa_base.json", "README.md", "run.json"} <= {
        path.name for path in folder.iterdir()
    }
    base, tuned = load(checkpoint("qwen3_vl")), load(checkpoint("qwen3_vl"), adapter=str(folder))
    assert tuned.info.adapter == "adapter"
    assert max(abs(a - b) for a, b in zip(scores(base, data), scores(tuned, data), strict=True)) > 1e-3
    assert json.loads((folder / "piqa_base.json").read_text())["weights_sha256"] == base.info.weights_sha256
    assert str(tmp_path) not in (folder / "adapter_config.json").read_text() + (folder / "run.json").read_text()
    assert "--adapter THIS_FOLDER" in (folder / "README.md").read_text()
    validated = [(line["stage"], line["step"]) for line in lines(tmp_path / "run") if "validation" in line]
    assert validated == [(stage, step) for stage in ("ground", "score", "explain") for step in (0, 2)]


def test_a_killed_run_goes_on_to_the_weights_of_a_straight_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(data, tmp_path / "straight", stages=("score",), steps=4)
    straight = train(chosen, silent, silent)
    whole, calls = Learner.losses, []

    def killed(self: Learner, batch: Any, /) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(self, batch)

    broken = replace(chosen, out=str(tmp_path / "broken"))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(Learner, "losses", killed)
    with pytest.raises(KeyboardInterrupt):
        train(broken, silent, silent)
    assert loop.finished_steps(tmp_path / "broken" / "score.safetensors") == 3
    monkeypatch.setattr(Learner, "losses", whole)
    with pytest.raises(UsageError, match="another learning rate"):
        train(replace(broken, resume=True, learning_rate=0.02), silent, silent)
    with pytest.raises(UsageError, match="another seed"):
        train(replace(broken, resume=True, seed=2), silent, silent)
    with pytest.raises(UsageError, match="holds a training run"):
        train(broken, silent, silent)
    resumed = train(replace(broken, resume=True), silent, silent)
    for name in ("score.safetensors", "score-best.safetensors"):
        ours, theirs = load_file(tmp_path / "straight" / name), load_file(tmp_path / "broken" / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    name = "adapter_model.safetensors"
    assert (straight / name).read_bytes() == (resumed / name).read_bytes()
    assert (straight / "README.md").read_text() == (resumed / "README.md").read_text()


def test_all_of_a_small_model_can_learn_and_is_then_a_model(data: Path, tmp_path: Path) -> None:
    warnings: list[str] = []
    chosen = settings(data, tmp_path / "run", kind="gemma3", full=True, steps=1, learning_rate=0.001)
    folder = train(replace(chosen, stages=("ground", "score")), silent, warnings.append)
    assert warnings == ["the ground stage is passed over: models of the kind gemma3 write no boxes"]
    tuned, base = load(folder), load(checkpoint("gemma3"))
    assert tuned.info.weights_sha256 != base.info.weights_sha256
    assert scores(tuned, data) != scores(base, data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_learns_and_its_adapter_loads_back(kind: str, data: Path, tmp_path: Path) -> None:
    vlm = load(checkpoint(kind))
    tuned = tune(vlm, settings(data, tmp_path, kind, unfreeze=("vision", "projector")))
    material = read_material(str(data), None, None, 1, silent)
    asker = Asker(vlm, (Dimension.HARMONY,))
    rng = np.random.default_rng(0)
    vlm.model.train()
    batch = pack(vlm, [asker.how_good(example, rng) for example in material.train[:2]])
    losses, out = answer_losses(vlm.model, batch)
    (losses["levels"] + order_loss(out, batch)).backward()
    learnt = {name for name, weight in tuned.weights.items() if weight.grad is not None and bool(weight.grad.any())}
    assert any("lora_B" in name for name in learnt)
    assert any("modules_to_save" in name for name in learnt)
    with torch.no_grad():
        for weight in tuned.weights.values():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    tuned.adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    vlm.model.eval()
    assert scores(load(checkpoint(kind), adapter=str(tmp_path / "adapter")), data) == pytest.approx(
        scores(vlm, data), abs=1e-3
    )


class Half(Peers):
    """One of two processes, whose other half said this."""

    def __init__(self, rank: int, heard: list[torch.Tensor]) -> None:
        super().__init__(2, rank)
        object.__setattr__(self, "heard", heard)
        object.__setattr__(self, "said", [])

    heard: list[torch.Tensor]
    said: list[torch.Tensor]

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        self.said.append(rows.detach())
        other = self.heard[len(self.said) - 1] if self.heard else rows.detach()
        return torch.cat([rows, other] if self.rank == 0 else [other, rows])


def test_gradients_of_two_halves_average_to_those_of_the_whole_batch(data: Path) -> None:
    vlm = load(checkpoint("qwen3_vl"))
    vlm.model.requires_grad_(True)
    material = read_material(str(data), None, None, 1, silent)
    asker, nan = Asker(vlm, (Dimension.HARMONY, Dimension.OVERALL)), math.nan
    made = [asker.how_good(example, np.random.default_rng(0)) for example in material.train[:4]]
    made[1] = Dialogue(made[1].conversation, (Rated(Dimension.HARMONY, nan), made[1].turns[1]))

    def gradient(part: list[Dialogue], peers: Peers) -> torch.Tensor:
        vlm.model.zero_grad()
        batch = pack(vlm, part)
        losses, out = answer_losses(vlm.model, batch, peers=peers)
        (losses["levels"] + order_loss(out, batch, peers)).backward()
        return torch.cat([p.grad.flatten() for p in vlm.model.parameters() if p.grad is not None])

    whole = gradient(made, Peers())
    first, second = Half(0, []), Half(1, [])
    gradient(made[:2], first)
    gradient(made[2:], second)
    halves = gradient(made[:2], Half(0, second.said)) + gradient(made[2:], Half(1, first.said))
    torch.testing.assert_close(halves / 2, whole, atol=1e-5, rtol=1e-3)


def test_a_stage_rehearses_every_earlier_one_at_even_distances() -> None:
    ground, score, explain = STAGES
    assert [stage.name for stage in STAGES] == list(NAMES)
    asked = [_asking(explain, (ground, score), step).name for step in range(20)]
    assert [asked.count(name) for name in NAMES] == [4, 4, 12]
    assert asked[:5].count("explain") == 3
    assert {_asking(ground, (), step).name for step in range(9)} == {"ground"}


def test_a_known_region_is_shown_enlarged(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        Image.fromarray(photo(640, 480, seed)).save(tmp_path / f"{name}.png")
    pair = Pair(id="a", source=str(tmp_path / "a.png"), edited=str(tmp_path / "b.png"))
    rated = LabelledPair(pair, "a", ((Dimension.HARMONY, 2.0),))
    asker, rng = Asker(load(checkpoint("qwen3_vl")), (Dimension.HARMONY,)), np.random.default_rng(0)
    for boxes, shown in (((), 2), (((40, 60, 140, 200),), 3)):
        dialogue = asker.how_good(Example(rated, Annotation("b.png", boxes)), rng)
        assert len(dialogue.conversation.pictures) == shown


def test_boxes_are_asked_for_in_the_frame_that_the_family_writes(data: Path) -> None:
    material = read_material(str(data), None, None, 1, silent)
    example = material.train[0]
    for kind in ("qwen3_vl", "qwen2_5_vl", "internvl"):
        vlm = load(checkpoint(kind))
        asker = Asker(vlm, ())
        dialogue = asker.where(example, np.random.default_rng(0))
        (turn,) = dialogue.turns
        assert isinstance(turn, Written)
        seen = asker._seen(dialogue.conversation) if vlm.family.box_frame == "pixels" else (0, 0)
        (box,) = parse_boxes(turn.answer, vlm.family.box_frame, (64, 96), seen).boxes
        assert max(abs(a - b) for a, b in zip(box, (example.known.boxes or ())[0], strict=True)) <= 2


def test_deviations_widen_what_is_wanted_and_leave_the_mean() -> None:
    levels = torch.arange(5)
    for value in (1.0, 1.3, 3.0, 4.4, 5.0):
        sharp, wide = level_targets(Dimension.OVERALL, [value, value], [math.nan, 1.0])
        assert float(wide.sum()) == pytest.approx(1)
        assert float((wide * levels).sum()) + 1 == pytest.approx(value, abs=2e-3)
        entropies = torch.special.entr(torch.stack([sharp, wide])).sum(-1)
        assert entropies[1] >= entropies[0] - 1e-3
    narrow, sharp = level_targets(Dimension.OVERALL, [3.3, 3.3], [0.01, math.nan])
    torch.testing.assert_close(narrow, sharp, atol=1e-3, rtol=0)


def example_of(data: Path, **known: Any) -> Example:
    pair = Pair(id="a", source=str(data / "source" / "s0.png"), edited=str(data / "edited" / "s0_0.png"))
    rated = ((Dimension.OVERALL, 2.0), (Dimension.HARMONY, 2.0), (Dimension.NATURALNESS, 4.0))
    return Example(LabelledPair(pair, "s0", rated), Annotation("s0_0.png", **known))


def test_an_explanation_is_the_written_one_else_what_the_ratings_say(data: Path) -> None:
    asker, rng = Asker(load(checkpoint("qwen3_vl")), ()), np.random.default_rng(0)
    written = asker.why(example_of(data, explanation="It glows."), rng).turns[0]
    assert isinstance(written, Written)
    assert written.answer == "It glows."
    bare = example_of(data)
    assert not has_reasons(bare)
    boxed = example_of(data, boxes=((2, 2, 40, 30),))
    assert has_reasons(boxed)
    dialogue = asker.why(boxed, rng)
    (told,) = dialogue.turns
    assert isinstance(told, Written)
    assert told.answer == (
        "The edited region is in the upper left, 17 % of the image. Harmony is rated poor, and naturalness is rated"
        " good. All in all the edit is poor."
    )
    assert not contradictions(told.answer, scores_of(boxed))
    assert any("- Harmony: poor (2.0 of 5)." in part for part in dialogue.conversation.parts if isinstance(part, str))


def test_a_box_outside_its_picture_is_refused_with_the_file(data: Path) -> None:
    asker = Asker(load(checkpoint("qwen3_vl")), ())
    with pytest.raises(InputError, match="outside the picture") as caught:
        asker.where(example_of(data, boxes=((200, 2, 240, 30),)), np.random.default_rng(0))
    assert str(caught.value.file).endswith("s0_0.png")


def test_a_mask_tells_the_region_where_no_boxes_do(data: Path) -> None:
    asker, rng = Asker(load(checkpoint("qwen3_vl")), ()), np.random.default_rng(0)
    mask = np.zeros((64, 96), np.bool_)
    assert not has_region(example_of(data, boxes=(), mask=encode_mask(mask)))  # nothing was edited
    empty = example_of(data, mask=encode_mask(mask))
    assert has_region(empty)
    with pytest.raises(InputError, match="marks nothing as edited"):
        asker.where(empty, rng)
    mask[10:30, 40:80] = True
    masked, boxed = (
        example_of(data, **known) for known in ({"mask": encode_mask(mask)}, {"boxes": ((40, 10, 80, 30),)})
    )
    assert asker.where(masked, rng).turns == asker.where(boxed, rng).turns


def test_edits_of_a_photo_are_on_one_side_of_the_split(data: Path) -> None:
    material: Material = read_material(str(data), None, None, 1, silent)
    sides = [{one.rated.source_name for one in side} for side in (material.train, material.validation)]
    assert not sides[0] & sides[1]
    assert len(material.train) + len(material.validation) == 24
    assert Dimension.COMPLETION not in material.dimensions


def no_labels(folder: Path) -> None:
    (folder / "labels.json").unlink()


def two_labels(folder: Path) -> None:
    (folder / "more.json").write_text("[]")


def strange_annotations(folder: Path) -> None:
    (folder / "annotations.jsonl").write_text('{"edited_img_name": "nobody.png", "explanation": "x"}\n')


def one_photo(folder: Path) -> None:
    rows = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(rows[:1]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_labels, "no single label file"),
        (two_labels, "no single label file"),
        (strange_annotations, "no annotation belongs"),
        (one_photo, "cannot be split"),
    ],
)
def test_data_that_cannot_be_learnt_from_is_refused_in_words(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = write_edits(tmp_path / "data", 3)
    spoil(folder)
    with pytest.raises(InputError, match=message):
        read_material(str(folder), None, None, 0, silent)


def test_a_pair_that_cannot_be_found_is_passed_over_and_told(tmp_path: Path) -> None:
    folder, told = write_edits(tmp_path / "data", 12), list[str]()
    (folder / "edited" / "s0_0.png").unlink()
    material = read_material(str(folder), None, None, 1, told.append)
    assert len(material.train) + len(material.validation) == 23
    assert told == ["1 of 24 labels cannot be used; the first, s0_0: the edited image is missing; found: none"]


@pytest.mark.parametrize(
    ("more", "message"), [({"dtype": "fp16"}, "fp16 is not offered"), ({"stages": ("ground",)}, "nothing to train")]
)
def test_what_cannot_be_trained_is_refused_in_words(
    more: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        train(settings(data, tmp_path / "run", kind="llava", **more), silent, silent)


def test_a_folder_that_something_else_fills_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    fresh = settings(data, tmp_path)
    for chosen in (fresh, replace(fresh, overwrite=True), replace(fresh, resume=True)):
        with pytest.raises(PiqaError, match="in use, but not by a training run"):
            train(chosen, silent, silent)
    (tmp_path / "run.json").write_text('{"stages": ["encode"]}')
    with pytest.raises(UsageError, match="run of another kind"):
        train(settings(data, tmp_path, overwrite=True), silent, silent)
    assert (tmp_path / "adapter").is_dir()
