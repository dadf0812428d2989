"""Two assessors behind one protocol: whose record it is, what counts as a disagreement, where it is told."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from conftest import Pictures
from fakes import FAKE_MODEL, FakeAssessor
from piqa_cli.assessor import Grounding, Judgement
from piqa_cli.errors import UsageError
from piqa_cli.images import LoadedPair
from piqa_cli.lmm.cross_check import CrossCheckAssessor, disagree
from piqa_cli.models import open_assessor
from piqa_cli.pipeline import assess_pair
from piqa_cli.schema import Assessment, Dimension, Kind, ModelInfo, Pair, Scores, score
from piqa_cli.writers import open_writer, to_json
from piqa_cli.writers.columns import COLUMNS

OTHER = ModelInfo(name="other", version="2", weights_sha256="1" * 64)


@dataclass
class Shifted(FakeAssessor):
    """Another model: harmony lower by `shift`, and it may take the change for something else."""

    info: ModelInfo = OTHER
    shift: float = 0.0
    kind: Kind | None = None
    own: list[Grounding] = field(default_factory=list)

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        self.own = super().ground(pairs)
        if self.kind is not None:
            self.own = [replace(g, edit=g.edit.model_copy(update={"kind": self.kind})) for g in self.own]
        return self.own

    def score(self, pairs: Sequence[LoadedPair], groundings: Sequence[Grounding]) -> list[Judgement]:
        assert list(groundings) == self.own, "each must be given its own groundings"
        return [replace(judged, scores=self._lower(judged)) for judged in super().score(pairs, groundings)]

    def _lower(self, judged: Judgement) -> Scores:
        harmony = judged.scores.harmony
        assert harmony.value is not None
        lower = score(Dimension.HARMONY, harmony.value - self.shift, harmony.spread)
        scores: Scores = judged.scores.model_copy(update={"harmony": lower})
        return scores


def assessed(files: Pictures, second: FakeAssessor) -> Assessment:
    pair = Pair(id="a", source=str(files.source), edited=str(files.edited))
    return assess_pair(pair, CrossCheckAssessor(FakeAssessor(), second))[1]


def test_the_record_is_the_first_models_and_holds_the_scores_of_the_second(files: Pictures) -> None:
    record, second = assessed(files, Shifted(shift=0.25)), Shifted(shift=0.25)
    pair = Pair(id="a", source=str(files.source), edited=str(files.edited))
    alone = assess_pair(pair, FakeAssessor())[1]
    assert record.model_copy(update={"cross_check": None, "seconds": alone.seconds}) == alone
    assert record.model == FAKE_MODEL
    assert record.cross_check is not None
    assert record.cross_check.model == OTHER
    assert record.cross_check.scores == assess_pair(pair, second)[1].scores


def test_a_difference_beyond_both_spreads_is_named_and_one_within_them_is_not(files: Pictures) -> None:
    within, beyond = assessed(files, Shifted(shift=0.49)), assessed(files, Shifted(shift=0.51))
    assert within.cross_check is not None
    assert within.cross_check.disagreements == ()
    assert within.warnings == ()
    assert beyond.cross_check is not None
    assert beyond.cross_check.disagreements == (Dimension.HARMONY,)
    (warning,) = beyond.warnings
    for word in ("harmony", "fake", "other"):
        assert word in warning


@pytest.mark.parametrize(
    ("spreads", "expected"), [((0.5, 0.5), True), ((1.5, 0.5), False), ((0.5, 1.5), False), ((None, None), True)]
)
def test_scores_disagree_when_neither_lies_within_the_others_spread(
    spreads: tuple[float | None, float | None], expected: bool
) -> None:
    one, other = (score(Dimension.HARMONY, v, s) for v, s in zip((4.0, 3.0), spreads, strict=True))
    assert disagree(one, other) is expected


def test_a_dimension_that_one_model_cannot_judge_is_no_disagreement() -> None:
    assert not disagree(score(Dimension.HARMONY, 1.0), score(Dimension.HARMONY, None, reason="not known"))


def test_models_that_take_the_change_for_different_things_are_told_apart(files: Pictures) -> None:
    record = assessed(files, Shifted(kind=Kind.GLOBAL))
    assert record.edit.kind is Kind.LOCAL
    assert record.cross_check is not None
    assert record.cross_check.kind is Kind.GLOBAL
    assert any("whole picture" in warning for warning in record.warnings)


def test_the_shipped_model_can_be_the_second(files: Pictures) -> None:
    compact = open_assessor("compact", device="cpu")
    pair = Pair(id="a", source=str(files.source), edited=str(files.edited))
    record = assess_pair(pair, CrossCheckAssessor(FakeAssessor(), compact))[1]
    assert record.cross_check is not None
    assert record.cross_check.scores == assess_pair(pair, compact, explain=False)[1].scores


def test_a_model_cannot_check_itself() -> None:
    with pytest.raises(UsageError, match="its own cross-check"):
        CrossCheckAssessor(FakeAssessor(), FakeAssessor())


def test_the_table_and_the_csv_row_show_the_second_models_scores(files: Pictures) -> None:
    record = assessed(files, Shifted(shift=2.0))
    assert record.cross_check is not None
    cells = {column.name: column.of_assessment(record) for column in COLUMNS if column.of_assessment}
    assert cells["cross_check_model"] == "other"
    assert cells["cross_check_harmony"] == record.cross_check.scores.harmony.value
    assert cells["disagreements"] == "harmony"
    stream = io.BytesIO()
    with open_writer("table", stream, single=True, width=120) as writer:
        writer.write(record)
    shown = " ".join(stream.getvalue().decode().split())
    assert f"cross-check by other 2: overall {record.scores.overall.value:.1f}" in shown
    assert "(disagrees)" in shown


def test_a_record_with_a_cross_check_reads_back_and_one_without_the_field_still_does(files: Pictures) -> None:
    record = assessed(files, Shifted(shift=2.0))
    text = to_json(record)
    assert Assessment.model_validate_json(text) == record
    older = json.loads(text)
    del older["cross_check"]
    assert Assessment.model_validate(older).cross_check is None
