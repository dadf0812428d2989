"""The doctor: each check holds for a judge that is right and fails for one that is wrong in just that way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from conftest import RunPiqa
from fakes import FAKE_MODEL, FakeAssessor
from piqa_cli.assessor import Assessor, Explanation, Grounding, Judgement
from piqa_cli.cli.doctor import _print_table
from piqa_cli.doctor import CHECKS, Patient, Verdict, examine, precision_of
from piqa_cli.doctor_pairs import example, mirrored
from piqa_cli.errors import InputError, ModelError
from piqa_cli.images import LoadedPair
from piqa_cli.models import open_assessor
from piqa_cli.schema import Dimension, Region, Score, Scores, score

RUN: dict[str, Callable[[Patient], tuple[bool | None, str]]] = {check.name: check.run for check in CHECKS}
Ask = Callable[[LoadedPair, Grounding, Dimension, Score], Score]


class Judge:
    """The compact model, with what it says changed by a test."""

    def __init__(self, inner: Assessor, say: Ask | None = None) -> None:
        self.inner, self.say, self.info = inner, say, inner.info

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        return self.inner.ground(pairs)

    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        judged = self.inner.score(pairs, groundings)
        return [replace(j, scores=self._said(p, g, j)) for p, g, j in zip(pairs, groundings, judged, strict=True)]

    def _said(self, pair: LoadedPair, grounding: Grounding, judged: Judgement) -> Scores:
        said = {d: judged.scores.of(d) for d in Dimension}
        if self.say is not None:
            said = {d: self.say(pair, grounding, d, s) for d, s in said.items()}
        return Scores(**{d.value: s for d, s in said.items()})

    def explain(
        self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding], judgements: Sequence[Judgement]
    ) -> Sequence[str | Explanation]:
        return self.inner.explain(pairs, groundings, judgements)


def sane(pair: LoadedPair, grounding: Grounding, dimension: Dimension, said: Score) -> Score:
    """Calls a region bad where most of it is black."""
    dark = grounding.mask.any() and (pair.edited.pixels.max(2) == 0).mean() > 0.9 * grounding.mask.mean()
    region = dimension in (Dimension.HARMONY, Dimension.NATURALNESS)
    return score(dimension, 1.2) if region and dark else said


def constant(pair: LoadedPair, grounding: Grounding, dimension: Dimension, said: Score) -> Score:
    """The same answer to everything."""
    return score(dimension, 2.4)


@pytest.fixture(scope="module")
def compact() -> Assessor:
    return open_assessor("compact", device="cpu")


def test_a_judge_that_calls_a_black_hole_bad_passes(compact: Assessor) -> None:
    holds, found = RUN["black region"](Patient(Judge(compact, sane)))
    assert holds is True, found


@pytest.mark.parametrize("check", ["black region", "identical pair", "other prompt"])
def test_a_judge_that_always_says_the_same_fails(compact: Assessor, check: str) -> None:
    holds, found = RUN[check](Patient(Judge(compact, constant)))
    assert holds is False, found


def test_a_judge_that_scores_a_black_picture_like_any_other_fails(compact: Assessor) -> None:
    def blind(pair: LoadedPair, grounding: Grounding, dimension: Dimension, said: Score) -> Score:
        return score(dimension, 3.0)

    assert RUN["black image"](Patient(Judge(compact, blind)))[0] is False


def test_a_judge_that_refuses_to_score_the_marked_black_region_fails(compact: Assessor) -> None:
    def mute(pair: LoadedPair, grounding: Grounding, dimension: Dimension, said: Score) -> Score:
        return score(dimension, None, reason="who knows")

    assert RUN["black region"](Patient(Judge(compact, mute)))[0] is False


def test_a_judge_whom_the_prompt_moves_in_harmony_fails(compact: Assessor) -> None:
    def swayed(pair: LoadedPair, grounding: Grounding, dimension: Dimension, said: Score) -> Score:
        green = "green" in (pair.info.prompt or "")
        return score(dimension, 4.5) if dimension is Dimension.HARMONY and green else said

    holds, found = RUN["other prompt"](Patient(Judge(compact, swayed)))
    assert holds is False
    assert "harmony moved most" in found


def test_a_judge_whose_boxes_are_in_another_frame_fails(compact: Assessor) -> None:
    class Thousandths(Judge):
        """Boxes as 0..1000 of the picture, not converted to its 600 x 400 pixels."""

        def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
            return [replace(g, regions=tuple(map(self._wrong, g.regions))) for g in super().ground(pairs)]

        @staticmethod
        def _wrong(region: Region) -> Region:
            x0, y0, x1, y1 = region.box
            return region.model_copy(update={"box": (x0 * 10 // 6, y0 * 10 // 4, x1 * 10 // 6, y1 * 10 // 4)})

    assert RUN["mirrored boxes"](Patient(Thousandths(compact)))[0] is False


def test_a_judge_whose_scores_depend_on_the_batch_fails_and_the_tolerance_follows_the_precision() -> None:
    class Batched(Judge):
        def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
            def drift(pair: LoadedPair, grounding: Grounding, dimension: Dimension, said: Score) -> Score:
                return said if said.value is None else score(dimension, said.value - 0.01 * len(pairs))

            self.say = drift
            return super().score(pairs, groundings)

    judge = Batched(FakeAssessor())
    verdicts = {p: RUN["batch of four"](Patient(judge, precision=p))[0] for p in ("fp32", "half")}
    assert verdicts == {"fp32": False, "half": True}


def test_too_little_memory_for_four_pairs_is_no_verdict() -> None:
    holds, found = RUN["batch of four"](Patient(FakeAssessor(out_of_memory_above=1)))
    assert holds is None
    assert "memory" in found


@pytest.mark.parametrize(("scale", "expected"), [(0.0, False), (0.01, True)])
def test_an_adapter_of_zeros_is_told_from_one_that_does_something(
    compact: Assessor, tmp_path: Path, scale: float, expected: bool
) -> None:
    parts = {f"base_model.model.layers.{i}.q_proj": i for i in range(2)}
    tensors = {f"{part}.lora_A.weight": torch.ones(2, 4) for part in parts}
    tensors |= {f"{part}.lora_B.weight": torch.full((4, 2), scale * i) for part, i in parts.items()}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    holds, found = RUN["adapter of zeros"](Patient(compact, adapter=tmp_path))
    assert holds is expected
    assert found.startswith(f"{int(expected)} of 2")


def test_without_an_adapter_there_is_nothing_to_say_of_one(compact: Assessor) -> None:
    assert RUN["adapter of zeros"](Patient(compact)) == (None, "the model has no adapter")


def test_a_pair_without_an_answer_is_a_check_that_fails() -> None:
    dumb = FakeAssessor(fail={"example": InputError("the reply makes no sense")})
    verdicts = examine(Patient(dumb))
    assert [v.holds for v in verdicts if v.check != "adapter of zeros"] == [False] * (len(CHECKS) - 1)
    assert all("makes no sense" in v.found for v in verdicts if v.holds is False)


def test_a_model_that_cannot_be_used_is_no_verdict_but_an_error() -> None:
    with pytest.raises(ModelError):
        examine(Patient(FakeAssessor(fail={"example": ModelError("gone")})))


def test_the_mirror_turns_pictures_and_mask_and_twice_is_no_change() -> None:
    pair = example(masked=True)
    turned = mirrored(pair)
    assert pair.mask is not None
    assert turned.mask is not None
    np.testing.assert_array_equal(turned.edited.pixels[:, 0], pair.edited.pixels[:, -1])
    np.testing.assert_array_equal(turned.mask[:, 0], pair.mask[:, -1])
    np.testing.assert_array_equal(mirrored(turned).source.pixels, pair.source.pixels)


@pytest.mark.parametrize(("dtype", "held_to"), [("fp32", "fp32"), ("bf16", "half")])
def test_the_shipped_model_is_held_to_its_number_format(dtype: Literal["fp32", "bf16"], held_to: str) -> None:
    assert precision_of(open_assessor("compact", device="cpu", dtype=dtype)) == held_to


def test_the_shipped_model_passes_every_check(piqa: RunPiqa) -> None:
    done = piqa("doctor", "--device", "cpu", "--offline")
    record = done.json()
    assert record["model"]["name"] == "compact"
    assert [check["check"] for check in record["checks"] if check["holds"] is False] == []
    assert (done.status, record["passed"]) == (0, True)
    assert "all checks hold" in done.err


def test_the_table_names_every_check_and_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    rows = zip(CHECKS, [True, False, None] * 3, strict=False)
    verdicts = [Verdict(c.name, c.question, c.expected, "[b]x[/b]\x1b", h) for c, h in rows]
    _print_table(verdicts, FAKE_MODEL)
    shown = capsys.readouterr().out
    for word in (*(check.name.split()[0] for check in CHECKS), "holds", "FAILS", "not applicable", "[b]x[/b]\\x1b"):
        assert word in shown
