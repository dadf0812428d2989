"""Regions against the truth, and explanations: right place, right fault, agreement, likeness."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from piqa_cli.compact.explain import FAULT_NAMES
from piqa_cli.errors import InputError
from piqa_cli.evaluation.explanations import FAULT_WORDS, check, faults_named, place_named
from piqa_cli.evaluation.explanations import summarise as summarise_explanations
from piqa_cli.evaluation.grounding import overlap_of, summarise
from piqa_cli.evaluation.means import mean_of, ratio_of
from piqa_cli.evaluation.scores import Resampling
from piqa_cli.evaluation.wording import bleu4, rouge_l
from piqa_cli.pairs.annotations import Annotation, read_annotations
from piqa_cli.pairs.truth import true_regions
from piqa_cli.regions import PLACES, encode_mask, locate, place
from piqa_cli.schema import Assessment, Box, Dimension, Failure, Region, RunLengthMask, fault
from records import ORDINARY

SIZE = (480, 640)
NONE = Resampling(0)


def drawn(*boxes: Box, size: tuple[int, int] = SIZE) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask = np.zeros(size, bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def record(*boxes: Box, **changes: object) -> Assessment:
    regions = tuple(Region(box=box, area_fraction=0.1, confidence=1, mask=encode_mask(drawn(box))) for box in boxes)
    return ORDINARY.model_copy(update={"regions": regions, **changes})


def annotation(**known: object) -> Annotation:
    return Annotation("street_1.png", **known)  # type: ignore[arg-type]


def test_regions_are_measured_as_counted_by_hand() -> None:
    truth = true_regions(annotation(boxes=((0, 0, 100, 100), (300, 300, 400, 400))), ORDINARY.pair.edited)
    assert truth is not None
    found = overlap_of(record((0, 0, 100, 50), (300, 300, 400, 400), (500, 0, 520, 20)), truth, "s")
    assert found.iou == pytest.approx(15000 / 20400)
    assert found.f1 == pytest.approx(2 * 15000 / (20000 + 15400))
    area = 20000 / (480 * 640)
    assert (found.area, found.chance) == pytest.approx((area, area / (2 - area)))
    assert (found.hits, found.true_boxes, found.told_boxes) == (2, 2, 3)  # the first at exactly 0.5


def test_one_box_is_matched_only_once() -> None:
    truth = true_regions(annotation(boxes=((0, 0, 100, 100),)), ORDINARY.pair.edited)
    assert truth is not None
    assert overlap_of(record((0, 0, 100, 100), (0, 0, 100, 99)), truth, "s").hits == 1
    assert overlap_of(record(), truth, "s").iou == 0


def test_masks_of_all_forms_are_the_same_truth(tmp_path: Path) -> None:
    mask = drawn((10, 20, 110, 220), (300, 10, 330, 40))
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "m.png")
    for given in (encode_mask(mask), str(tmp_path / "m.png")):
        truth = true_regions(annotation(mask=given), ORDINARY.pair.edited)
        assert truth is not None
        assert np.array_equal(truth.mask, mask)
        assert truth.boxes == ((10, 20, 110, 220), (300, 10, 330, 40))
    assert true_regions(annotation(fault="seam"), ORDINARY.pair.edited) is None


@pytest.mark.parametrize(
    "known",
    [
        {"boxes": ((0, 0, 641, 10),)},
        {"mask": RunLengthMask(size=(4, 4), counts="`0")},
        {"mask": RunLengthMask(size=SIZE, counts="\x1b")},
        {"mask": "/no/such/mask.png"},
    ],
)
def test_a_truth_that_does_not_fit_the_picture_is_refused(known: dict[str, object]) -> None:
    with pytest.raises(InputError):
        true_regions(annotation(**known), ORDINARY.pair.edited)


def test_a_record_whose_masks_do_not_fit_is_refused() -> None:
    truth = true_regions(annotation(boxes=((0, 0, 9, 9),)), ORDINARY.pair.edited)
    assert truth is not None
    with pytest.raises(InputError) as error:
        overlap_of(ORDINARY, truth, "s")
    assert error.value.code == "E_RESULTS"


def test_figures_are_told_by_true_area_and_unedited_pictures_only_as_false_alarms() -> None:
    rows = []
    for boxes in (((0, 0, 40, 40),), ((0, 0, 400, 400),), ()):
        truth = true_regions(annotation(boxes=boxes), ORDINARY.pair.edited)
        assert truth is not None
        rows.append(overlap_of(record((0, 0, 40, 40)), truth, "s"))
    report = summarise(rows, Resampling(20))
    assert [row.area for row in report.rows] == ["all", "up to 1 %", "over 50 %"]
    assert [row.figures[0].value for row in report.rows] == pytest.approx([(1 + 0.01) / 2, 1, 0.01])
    assert [mean.name for mean in report.rows[0].figures][:4] == ["mIoU", "F1", "chance mIoU", "mIoU over chance"]
    assert (report.false_alarms.count, report.false_alarms.value) == (1, 1)


def test_means_leave_out_what_is_unknown_and_are_undefined_over_nothing() -> None:
    found = mean_of("x", [1.0, math.nan, 3.0], ["a", "b", "c"], Resampling(50))
    assert (found.count, found.value) == (2, 2)
    assert found.low <= 2 <= found.high
    assert math.isnan(mean_of("x", [], [], NONE).value)
    assert ratio_of("x", [1, 2], [2, 4], ["a", "b"], NONE).value == 0.5


def test_every_fault_of_the_records_has_words_and_its_own_phrase_means_only_it() -> None:
    assert list(FAULT_WORDS) == list(FAULT_NAMES)
    for kind, (_, words) in FAULT_NAMES.items():
        assert faults_named(f"Harmony is rated poor; the main fault is {words} (severe): x.") == (kind,)
        assert faults_named(f"The learned judge names {words} (slight) as the main fault.")[0] == kind


def test_the_main_fault_goes_first_and_denied_ones_are_not_named() -> None:
    assert faults_named("The grain differs; the main fault is a visible seam (severe).") == ("seam", "noise")
    assert faults_named("There is no visible seam, but smeared texture.") == ("smear",)
    assert faults_named("It blends in seamlessly.") == ()


@pytest.mark.parametrize("words", PLACES)
def test_every_place_that_can_be_said_is_understood(words: str) -> None:
    assert place_named(f"The edited region lies there: {words}, 12 % of the image.") == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The object in the top left corner.", "upper left"),
        ("Bottom-right: a dog.", "lower right"),
        ("In the middle of the image.", "centre"),
        ("In the lower right-hand corner.", "lower right"),
        ("Along the top edge.", "top edge"),
        ("Nothing to say.", None),
    ],
)
def test_common_words_for_places_are_understood(text: str, words: str | None) -> None:
    assert place_named(text) == words


@pytest.mark.parametrize("box", [(0, 0, 60, 60), (500, 400, 640, 480), (0, 0, 640, 60), (0, 0, 640, 480)])
def test_what_our_explanations_say_of_a_place_is_what_is_read(box: Box) -> None:
    assert place_named(f"The edited region is {locate(box, SIZE)}, 5 % of the image.") == place(box, SIZE)


def test_an_explanation_is_faithful_only_if_place_fault_and_scores_agree() -> None:
    known = annotation(fault="seam", explanation="A seam.")
    text = "The edited region is in the upper left, 10 % of the image. A seam shows."
    boxes = ((10, 10, 60, 60),)
    one = check(record(explanation=text, faults=(fault("seam", 0.8),)), known, boxes, "s")
    assert one is not None
    assert (one.region, one.fault, one.recorded, one.agrees, one.faithful) == (True, True, True, True, True)
    wrong = check(record(explanation=text), known, ((600, 400, 640, 480),), "s")
    assert wrong is not None
    assert (wrong.region, wrong.faithful) == (False, False)
    quarrel = check(record(explanation=text + " The edit looks natural."), known, boxes, "s")
    assert quarrel is not None
    assert (quarrel.agrees, quarrel.faithful) == (False, False)
    bare = check(record(explanation="Fine."), None, (), "s")
    assert bare is not None
    assert bare.faithful is None
    assert check(record(explanation=None), known, boxes, "s") is None
    report = summarise_explanations([one, wrong, quarrel, bare], 2, NONE)
    assert report.without == 2
    assert [mean.count for mean in report.figures[:2]] == [3, 3]
    assert [mean.value for mean in report.figures[:2]] == pytest.approx([1 / 3, 2 / 3])


def test_bleu_is_that_of_worked_examples() -> None:
    # Papineni et al., example 2: "the" seven times, clipped at two: no pair of words in common, so BLEU-4 is 0.
    assert bleu4(["the the the the the the the"], ["the cat is on the mat"]) == 0
    # 5 of 6, 3 of 5, 2 of 4, 1 of 3: (5/6 * 3/5 * 2/4 * 1/3) ** (1/4), no brevity penalty.
    assert bleu4(["the cat sat on the mat"], ["the cat is on the mat"]) == 0
    told, wanted = "the quick brown fox jumped over the dog", "the quick brown fox jumps over the dog"
    product = (7 / 8) * (5 / 7) * (3 / 6) * (1 / 5)
    assert bleu4([told], [wanted]) == pytest.approx(product**0.25)
    # Half as long: every n-gram right, brevity exp(1 - 8/4).
    assert bleu4(["the quick brown fox"], [wanted]) == pytest.approx(math.exp(1 - 8 / 4))
    assert bleu4([wanted], [wanted]) == pytest.approx(1)
    assert bleu4(["", told], [wanted, wanted]) > 0  # of the corpus: no text of its own need match
    assert bleu4([""], ["a"]) == 0
    assert math.isnan(bleu4([], []))


def test_rouge_l_is_that_of_lins_example() -> None:
    reference = "police killed the gunman"  # Lin, 2004, section 3
    assert rouge_l("police kill the gunman", reference) == pytest.approx(3 / 4)
    assert rouge_l("the gunman kill police", reference) == pytest.approx(2 / 4)
    assert rouge_l("the gunman police killed", reference) == pytest.approx(2 / 4)
    assert rouge_l("", reference) == 0
    assert math.isnan(rouge_l("", "..."))


def test_annotations_are_read_line_by_line_and_bad_lines_do_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    rows: list[object] = [
        {
            "edited_img_name": "a.png",
            "boxes": [[0, 1, 2, 3]],
            "mask": "m/a.png",
            "fault": "seam",
            "more": 1,
            "deviations": {"harmony": 0.5, "overall": 0},
        },
        {"edited_img_name": "b.png", "boxes": [], "mask": {"size": [2, 2], "counts": "04"}, "explanation": "x"},
        {"edited_img_name": "c.png", "boxes": [[3, 1, 2, 3]]},
        {"edited_img_name": "c.png", "boxes": [[0, 0, 1.5, 3]]},
        {"edited_img_name": "c.png", "boxes": 3},
        {"edited_img_name": "c.png", "mask": {"size": [2], "counts": "04"}},
        {"edited_img_name": "c.png", "fault": 3},
        {"edited_img_name": "c.png", "deviations": {"charm": 1}},
        {"edited_img_name": "c.png", "deviations": {"harmony": -1}},
        {"edited_img_name": "c.png", "deviations": {"harmony": True}},
        {"edited_img_name": "c.png", "deviations": 2},
        {"boxes": []},
        [],
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + '\n\n{"edited_img_name": "torn', "utf-8")
    first, second, *bad = read_annotations(str(path))
    differing = ((Dimension.OVERALL, 0.0), (Dimension.HARMONY, 0.5))
    mask = str(tmp_path / "m/a.png")
    assert first == Annotation("a.png", ((0, 1, 2, 3),), mask, "seam", None, deviations=differing)
    assert first.deviation(Dimension.HARMONY) == 0.5
    assert first.deviation(Dimension.NATURALNESS) is None
    assert second == Annotation("b.png", (), RunLengthMask(size=(2, 2), counts="04"), None, "x", (2, 2))
    assert len(bad) == 12
    assert all(isinstance(one, Failure) and one.error.code == "E_LABELS" for one in bad)
    with pytest.raises(InputError) as error:
        list(read_annotations(str(tmp_path / "no.jsonl")))
    assert error.value.code == "E_NOT_FOUND"
