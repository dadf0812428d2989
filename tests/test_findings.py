from __future__ import annotations

import pytest

from piqa_cli.compact.features import Measurements
from piqa_cli.compact.findings import ROWS, SEVERITIES, Row, dimension_of, find, hue_name
from piqa_cli.regions import describe
from piqa_cli.schema import Box, Dimension, Region, RunLengthMask

SIZE = (480, 640)


def region(box: Box, area: float = 0.1) -> Region:
    return Region(box=box, area_fraction=area, confidence=0.9, mask=RunLengthMask(size=SIZE, counts="PPPP"))


HERE = region((10, 20, 200, 180))


def measured(row: Row, value: float) -> Measurements:
    return Measurements(
        size=(240, 320),
        area_fraction=0.1,
        cast=(20.0, 10.0),
        drift_box=(160, 120, 320, 240),
        **{row.measurement: row.sign * value},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}{row.sign:+d}")
@pytest.mark.parametrize("rank", range(3))
def test_each_threshold_opens_its_severity_and_just_below_does_not(row: Row, rank: int) -> None:
    threshold = row.thresholds[rank]
    (at,) = find(measured(row, threshold), [HERE], SIZE)
    assert (at.kind, at.severity, at.unit) == (row.kind, SEVERITIES[rank], row.unit)
    assert at.value == pytest.approx(row.sign * row.scale * threshold)
    below = find(measured(row, threshold - 1e-6), [HERE], SIZE)
    assert [f.severity for f in below] == ([SEVERITIES[rank - 1]] if rank else [])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}{row.sign:+d}")
def test_sentences_quote_the_value_with_its_unit_and_leave_no_blank(row: Row) -> None:
    (finding,) = find(measured(row, row.thresholds[1]), [HERE], SIZE)
    assert f"{abs(finding.value):.3g}" in finding.text or f"{abs(finding.value):.1f}" in finding.text
    assert finding.unit in finding.text
    assert finding.text.endswith(".")
    assert finding.text.count(". ") == 0
    assert "{" not in finding.text


def test_thresholds_rise_and_rows_of_one_kind_have_opposite_signs() -> None:
    for row in ROWS:
        assert 0 < row.thresholds[0] < row.thresholds[1] < row.thresholds[2]
    assert len({(row.kind, row.sign) for row in ROWS}) == len(ROWS)


def test_the_most_severe_comes_first_and_ties_go_to_the_larger_excess() -> None:
    found = find(Measurements(size=SIZE, area_fraction=0.1, exposure=11.5, noise=40.0, seam=30.0), [HERE], SIZE)
    assert [(f.kind, f.severity) for f in found] == [("noise", "severe"), ("seam", "severe"), ("exposure", "slight")]


def test_opposite_directions_have_their_own_words() -> None:
    brighter, darker = (
        find(Measurements(size=SIZE, area_fraction=0.1, exposure=value), [HERE], SIZE)[0] for value in (15.0, -15.0)
    )
    assert "brighter" in brighter.text
    assert "darker" in darker.text
    assert brighter.value == -darker.value


def test_drift_is_boxed_in_the_edited_images_pixels_and_named_by_place() -> None:
    row = next(row for row in ROWS if row.kind == "drift_colour")
    (finding,) = find(measured(row, 6.0), [HERE], SIZE)
    assert finding.box == (320, 240, 640, 480)
    assert finding.text.endswith("Delta E, most in the lower right.")


def test_the_box_is_the_largest_regions_unless_others_weigh_as_much() -> None:
    one = Measurements(size=SIZE, area_fraction=0.1, seam=30.0)
    other = region((400, 300, 500, 400), 0.01)
    assert find(one, [HERE, other], SIZE)[0].box == HERE.box
    assert find(one, [HERE, region(other.box, 0.1)], SIZE)[0].box == (10, 20, 500, 400)
    assert find(one, [], SIZE)[0].box is None


def test_nothing_measured_means_nothing_found() -> None:
    assert find(Measurements(size=SIZE, area_fraction=0.0), [], SIZE) == ()


def test_kinds_speak_for_one_dimension_and_unknown_kinds_are_refused() -> None:
    assert dimension_of("seam") is Dimension.HARMONY
    assert dimension_of("ghosting") is Dimension.NATURALNESS
    assert dimension_of("drift_text") is Dimension.PRESERVATION
    with pytest.raises(ValueError, match="no finding"):
        dimension_of("beauty")


@pytest.mark.parametrize(
    ("ab", "name"), [((70, 50), "red"), ((0, 80), "yellow"), ((-60, 40), "green"), ((5, -60), "blue")]
)
def test_directions_of_colour_have_their_common_names(ab: tuple[float, float], name: str) -> None:
    assert hue_name(*ab) == name


def test_regions_are_described_in_plain_words() -> None:
    assert describe(HERE, SIZE) == "upper left, 10 % of the image"


def test_what_the_prompt_asked_for_is_no_finding() -> None:
    one = Measurements(size=SIZE, area_fraction=0.1, seam=30.0, exposure=30.0)
    assert [f.kind for f in find(one, [HERE], SIZE, asked={"exposure"})] == ["seam"]


def test_a_contour_around_replaced_content_has_to_be_stronger_to_be_a_seam() -> None:
    kept, replaced = (
        find(Measurements(size=SIZE, area_fraction=0.1, seam=6.0, kept=share), [HERE], SIZE) for share in (1.0, 0.0)
    )
    assert [f.kind for f in kept] == ["seam"]
    assert replaced == ()
