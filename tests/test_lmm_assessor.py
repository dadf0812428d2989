"""The large multimodal assessor through the pipeline: records, null scores, regions, explanations, memory."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import draw_scene, save_pair
from pictures import save
from piqa_cli import open_assessor
from piqa_cli.assessor import Assessor, Grounding, Judgement
from piqa_cli.devices import memory_errors
from piqa_cli.errors import DeviceError, InputError, UsageError
from piqa_cli.images import LoadedPair, load_pair
from piqa_cli.lmm import assessor as module
from piqa_cli.lmm import explanations, prefix
from piqa_cli.lmm.assessor import LmmAssessor
from piqa_cli.lmm.explanations import Case, complaints, tidy
from piqa_cli.lmm.greedy import Reply
from piqa_cli.lmm.loading import Vlm, load_vlm
from piqa_cli.lmm.prompts import Conversation
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.pipeline import assess_pairs
from piqa_cli.schema import Assessment, Dimension, Kind, Pair
from tiny_vlms import KINDS, checkpoint

Script = Callable[..., None]


@functools.cache
def tiny(kind: str) -> Vlm:
    """A tiny random model, through the real loader."""
    return load_vlm(settings(kind))


@functools.cache
def compact() -> Assessor:
    """The compact assessor, which looks at every pair too."""
    return open_assessor("compact", device="cpu")


def settings(kind: str, **more: Any) -> LmmSettings:
    return LmmSettings(model=str(checkpoint(kind)), device="cpu", dtype="fp32", offline=True, **more)


def assessor(kind: str = "qwen2_5_vl", **more: Any) -> LmmAssessor:
    return LmmAssessor(tiny(kind), compact(), settings(kind, **more))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of unequal size, `a` with a mask and a prompt."""
    made = tmp_path_factory.mktemp("lmm")
    save_pair(made, 0, "a_")
    scene = draw_scene(7, 200, 96)
    edited = scene.copy()
    edited[120:180, 20:70] = draw_scene(8, 200, 96)[20:80, 20:70] // 2 + 100
    save(made / "b_source.png", scene)
    save(made / "b_edited.png", edited)
    return made


def pair(folder: Path, name: str = "a", *, mask: bool = False, prompt: str | None = "Paint the disc.") -> Pair:
    files = {role: str(folder / f"{name}_{role}.png") for role in ("source", "edited")}
    return Pair(id=name, **files, mask=str(folder / f"{name}_mask.png") if mask else None, prompt=prompt)


def judged(judge: LmmAssessor, *pairs: Pair) -> tuple[list[Grounding], list[Judgement], list[LoadedPair]]:
    loaded = [load_pair(one) for one in pairs]
    groundings = judge.ground(loaded)
    return groundings, judge.score(loaded, groundings), loaded


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Makes the model write these texts, one a call, in place of its own; all of them have to be used."""
    left: list[str] = []

    def write(vlm: Vlm, conversations: Sequence[Conversation], question: str, limit: int) -> list[Reply]:
        return [Reply(left.pop(0), 0.5, ended=True) for _ in conversations]

    def set_script(*texts: str) -> None:
        left.extend(texts)
        monkeypatch.setattr(module, "write", write)
        monkeypatch.setattr(explanations, "write", write)

    yield set_script
    assert left == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_unequal_pairs_gives_each_the_record_it_gets_alone(kind: str, folder: Path) -> None:
    judge = assessor(kind, grounding="compact")
    pairs = [pair(folder, "a"), pair(folder, "b")]
    together = list(assess_pairs(pairs, judge, explain=False))
    for one, record in zip(pairs, together, strict=True):
        (alone,) = assess_pairs([one], judge, explain=False)
        assert isinstance(record, Assessment)
        assert isinstance(alone, Assessment)
        assert record.edit.kind is Kind.LOCAL
        for dimension in Dimension:
            found, single = record.scores.of(dimension), alone.scores.of(dimension)
            assert found.value is not None
            assert found.low <= found.value <= found.high
            assert found.value == pytest.approx(single.value, abs=1e-4)
            assert found.distribution is not None
            assert sum(found.distribution) == pytest.approx(1)
            assert found.reliability is not None
        assert Assessment.model_validate(json.loads(record.model_dump_json())) == record
        assert "own answer" in record.fusion
        assert record.findings == alone.findings


def test_the_same_pair_gets_the_same_record_twice(folder: Path) -> None:
    one, other = (judged(assessor(), pair(folder))[1][0].scores for _ in range(2))
    assert one == other


def test_prompt_and_grounding_stand_in_the_version_of_the_model() -> None:
    plain, other = assessor().info, assessor(grounding="compact").info
    assert "prompts 1" in plain.version
    assert plain.version != other.version


def test_an_identical_pair_is_not_asked_about(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ask", None)
    path = str(folder / "a_source.png")
    _, (found,), _ = judged(assessor(), Pair(id="same", source=path, edited=path, prompt="Paint the disc."))
    scores = found.scores
    assert (scores.harmony.value, scores.harmony.code) == (None, "N_NO_EDIT")
    assert (scores.preservation.value, scores.prompt_completion.value) == (5.0, 1.0)
    assert scores.overall.code == "N_NOT_DONE"
    assert found.faults == ()


def test_another_picture_has_no_scores(folder: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other.png", np.random.default_rng(0).integers(0, 255, (128, 160, 3), dtype=np.uint8))
    loaded = load_pair(Pair(id="x", source=str(folder / "a_source.png"), edited=other, prompt="x"))
    judge = assessor()
    (grounding,) = judge.ground([loaded])
    assert grounding.edit.kind is Kind.DIFFERENT
    (found,) = judge.score([loaded], [grounding])
    assert {found.scores.of(d).code for d in Dimension} == {"N_DIFFERENT_PICTURE"}


def test_an_empty_mask_leaves_the_region_unjudged(folder: Path, tmp_path: Path) -> None:
    empty = save(tmp_path / "empty.png", np.zeros((128, 160), np.uint8))
    _, (found,), _ = judged(assessor(), pair(folder).model_copy(update={"mask": empty}))
    assert found.scores.harmony.code == found.scores.local_naturalness.code == "E_MASK_EMPTY"
    assert found.scores.preservation.value is not None


def test_without_a_prompt_completion_is_unknown_and_assumed_for_the_overall(folder: Path) -> None:
    _, (found,), _ = judged(assessor(), pair(folder, prompt=None))
    assert found.scores.prompt_completion.code == "N_NO_PROMPT"
    assert found.scores.overall.value is not None
    assert found.scores.overall.code == "N_COMPLETION_ASSUMED"


def test_the_models_box_is_the_region_where_it_agrees(folder: Path, script: Script) -> None:
    script("[475, 190, 775, 590]")  # of 160 x 128; the disc is 76..124 x 26..74
    (grounding,), _, _ = judged(assessor("qwen3_vl"), pair(folder))
    (region,) = grounding.regions
    assert region.box == (76, 24, 124, 76)
    assert region.confidence == 0.5
    assert grounding.warnings == ()
    assert grounding.edit.area_fraction == pytest.approx(48 * 52 / (160 * 128), rel=0.05)


def test_a_box_elsewhere_is_a_warning(folder: Path, script: Script) -> None:
    script("[0, 700, 200, 1000]")
    (grounding,), _, _ = judged(assessor("qwen3_vl"), pair(folder))
    assert grounding.regions[0].box == (0, 89, 32, 128)
    assert "IoU 0.00" in " ".join(grounding.warnings)


def test_a_reply_without_a_box_leaves_the_compact_region_and_says_so(folder: Path, script: Script) -> None:
    script("I see no change.")
    loaded = load_pair(pair(folder))
    (grounding,) = assessor("qwen3_vl").ground([loaded])
    assert grounding.regions == compact().ground([loaded])[0].regions
    assert "gave no box" in " ".join(grounding.warnings)


@pytest.mark.parametrize(
    ("kind", "chosen", "mask"),
    [("qwen3_vl", "compact", False), ("qwen3_vl", "auto", True), ("qwen3_vl", "mask", True), ("llava", "auto", False)],
)
def test_a_model_is_not_asked_where_its_box_would_not_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, chosen: str, mask: bool
) -> None:
    monkeypatch.setattr(module, "write", None)
    loaded = load_pair(pair(folder, mask=mask))
    (grounding,) = assessor(kind, grounding=chosen).ground([loaded])
    assert grounding.regions == compact().ground([loaded])[0].regions


def test_the_models_box_counts_before_a_mask_if_it_is_asked_for(folder: Path, script: Script) -> None:
    script("[475, 190, 775, 590]")
    (grounding,), _, _ = judged(assessor("qwen3_vl", grounding="model"), pair(folder, mask=True))
    assert grounding.regions[0].box == (76, 24, 124, 76)


def test_choices_that_cannot_be_had_are_errors(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot say where"):
        assessor("llava", grounding="model")
    with pytest.raises(InputError, match="no mask"):
        assessor(grounding="mask").ground([load_pair(pair(folder))])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("MPS: out of memory")])
def test_a_batch_too_large_for_the_memory_is_halved(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked, sizes = prefix.ask, []

    def greedy_for_memory(vlm: Vlm, conversations: Sequence[Conversation], questions: Any) -> Any:
        sizes.append(len(conversations))
        if len(conversations) > 1:
            raise error
        return asked(vlm, conversations, questions)

    monkeypatch.setattr(module, "ask", greedy_for_memory)
    judge = assessor(grounding="compact")
    loaded = [load_pair(pair(folder, name)) for name in ("a", "b")]
    with pytest.raises(DeviceError) as raised:
        judge.score(loaded, judge.ground(loaded))
    assert raised.value.code == "E_OOM"
    pairs = [pair(folder, name) for name in ("a", "b", "a", "b")]
    outcomes = list(assess_pairs(pairs, judge, explain=False, batch_size=4))
    assert [outcome.status for outcome in outcomes] == ["ok"] * 4
    assert max(sizes) > 1


def test_another_runtime_error_is_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors("less"):
        raise RuntimeError("shapes do not match")


GOOD = "The edited disc was painted as asked. The colours sit a little off, so it stands out."
CLASH = "Harmony is excellent. The disc fits in well with the scene around it."


def explained(judge: LmmAssessor, folder: Path, **low: float) -> explanations.Explanation:
    """Stage 3 for the first pair, its scores as given."""
    groundings, (found,), loaded = judged(judge, pair(folder))
    scores = found.scores
    for name, value in low.items():
        dimension = Dimension(name)
        one = scores.of(dimension).model_copy(update={"value": value, "level": "poor" if value < 2.5 else "good"})
        scores = scores.model_copy(update={name: one})
    (told,) = judge.explain(loaded, groundings, [replace(found, scores=scores)])
    return told


def test_a_text_that_fits_is_kept(folder: Path, script: Script) -> None:
    script(GOOD)
    assert explained(assessor(grounding="compact"), folder, harmony=2.0) == explanations.Explanation(GOOD)


def test_a_contradiction_is_asked_about_once_more(folder: Path, script: Script) -> None:
    script(CLASH, GOOD)
    assert explained(assessor(grounding="compact"), folder, harmony=2.0) == explanations.Explanation(GOOD)


def test_a_second_contradiction_leaves_the_measured_explanation_with_a_warning(folder: Path, script: Script) -> None:
    script(CLASH, CLASH)
    told = explained(assessor(grounding="compact"), folder, harmony=2.0)
    assert told.text is not None
    assert told.text.startswith("The edited region is")
    assert "refused twice" in told.warnings[0]
    assert "calls harmony excellent, which is rated poor" in told.warnings[0]


def test_the_noise_of_a_random_model_is_not_an_explanation(folder: Path) -> None:
    told = explained(assessor(grounding="compact"), folder)
    assert told.text is not None
    assert told.text.startswith("The edited region is")
    assert told.warnings


def test_pairs_that_score_high_enough_are_not_explained(folder: Path, script: Script) -> None:
    judge = assessor(grounding="compact", explain_below=3.0)
    assert explained(judge, folder, overall=3.0) == explanations.Explanation(None)
    script(GOOD)
    assert explained(judge, folder, overall=2.0, harmony=2.0).text == GOOD


def test_what_was_not_edited_is_explained_by_rule(folder: Path, script: Script) -> None:
    path = str(folder / "a_source.png")
    judge = assessor()
    groundings, judgements, loaded = judged(judge, Pair(id="same", source=path, edited=path))
    (told,) = judge.explain(loaded, groundings, judgements)
    assert told.text is not None
    assert told.text.startswith("Both files hold the same pixels")


@pytest.fixture(scope="module")
def case(folder: Path) -> Case:
    """The first pair, whose edit is right of the centre; harmony poor, naturalness fair."""
    (grounding,), (found,), (loaded,) = judged(assessor(grounding="compact"), pair(folder))
    levels = {"harmony": (2.0, "poor"), "local_naturalness": (3.0, "fair"), "overall": (2.0, "poor")}
    scores = found.scores.model_copy(
        update={
            name: found.scores.of(Dimension(name)).model_copy(update={"value": value, "level": level})
            for name, (value, level) in levels.items()
        }
    )
    x0, _, x1, _ = grounding.regions[0].box
    assert x0 > 40
    region = grounding.regions[0].model_copy(update={"box": (100, 5, 140, 50)})
    assert x1 <= 160
    return Case(loaded, replace(grounding, regions=(region,)), replace(found, scores=scores), Conversation(("",)))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no whole sentence"),
        ("The harmony is good, and the colours of the disc match.", "calls harmony good, which is rated poor"),
        ("Overall quality: excellent, a convincing edit in every way.", "calls overall quality excellent"),
        ("The disc blends in with the scene around it very well.", "blends in"),
        ("The edit is in the lower left corner and looks dull.", "at the lower"),
        ("Nothing was changed in this picture as far as I can see.", "nothing was edited"),
        ("The disc is 37 % brighter than what stands around it.", "names 37"),
    ],
)
def test_what_the_record_does_not_bear_out_is_a_complaint(case: Case, text: str, what: str) -> None:
    assert what in "; ".join(complaints(text, case))


@pytest.mark.parametrize(
    "text",
    [
        "The edit is in the upper right and its harmony is poor.",
        "Naturalness is only fair: the texture of the disc looks smeared. The lower left of the scene was kept.",
        "Overall quality is poor (2.0 of 5), since the disc does not fit the scene.",
    ],
)
def test_what_the_record_says_is_no_complaint(case: Case, text: str) -> None:
    assert complaints(text, case) == ()


def test_a_text_is_cut_to_whole_sentences() -> None:
    assert (
        tidy(Reply("**One** is here.\n\nTwo follows! Three was cut of", 0.5, ended=False))
        == "One is here. Two follows!"
    )
    assert tidy(Reply("A. B. C. D. E. F.", 0.5, ended=True)) == "A. B. C. D."
    assert tidy(Reply("no end at all", 0.5, ended=False)) == ""
