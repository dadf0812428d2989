from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from piqa_cli.compact.completion import (
    asked_kinds,
    colour_value,
    is_removal,
    named_colour,
    removal_value,
    share_of_colour,
    verify,
)
from piqa_cli.compact.features import Measurements, measure
from piqa_cli.schema import Edit, Kind, Score

SIZE = (200, 240)
EVERYWHERE = np.ones(SIZE, bool)
Pixels = NDArray[np.uint8]


def ground() -> Pixels:
    noise = np.random.default_rng(3).normal(0, 4, (*SIZE, 3))
    return np.asarray(np.clip(140 + noise, 0, 255), np.uint8)


def ball() -> NDArray[np.bool_]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray(np.hypot(y - 100, x - 120) < 45)


def with_object(colour: tuple[int, int, int]) -> Pixels:
    """A striped ball on grainy ground."""
    picture = ground()
    picture[ball()] = colour
    stripes = ball() & (np.mgrid[: SIZE[0], : SIZE[1]][1] // 8 % 2 == 0)
    picture[stripes] = np.asarray(colour) // 2
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.uint8)


def edit(kind: Kind = Kind.LOCAL, *, identical: bool = False) -> Edit:
    return Edit(edited=kind is not Kind.NONE, probability=0.9, kind=kind, area_fraction=0.1, identical=identical)


def judged(prompt: str | None, edited: Pixels, source: Pixels, change: Edit | None = None) -> Score:
    mask = cv2.dilate(ball().astype(np.uint8), np.ones((9, 9))).astype(bool)
    measured = measure(edited, source, mask, EVERYWHERE)
    return verify(prompt, change or edit(), measured, edited, source, mask)


def known(answer: Score) -> float:
    assert answer.value is not None, answer.reason
    assert answer.spread is not None
    return answer.value


RED, BLUE = (200, 30, 30), (30, 60, 200)


@pytest.mark.parametrize("prompt", [None, "", "  \n"])
def test_no_prompt_is_null_with_its_code(prompt: str | None) -> None:
    answer = judged(prompt, ground(), with_object(RED))
    assert (answer.value, answer.code) == (None, "N_NO_PROMPT")


@pytest.mark.parametrize("change", [edit(Kind.NONE), edit(Kind.NONE, identical=True)])
@pytest.mark.parametrize("prompt", ["add a dog", "remove the ball", "make the ball blue"])
def test_nothing_changed_is_not_done_whatever_was_asked(prompt: str, change: Edit) -> None:
    answer = judged(prompt, with_object(RED), with_object(RED), change)
    assert (answer.value, answer.level) == (1.0, "not done")
    assert answer.spread is not None
    assert answer.spread < 0.5


def test_semantics_are_null_and_the_reason_names_the_prompt_and_what_to_use() -> None:
    answer = judged("add a dog", with_object(BLUE), with_object(RED))
    assert (answer.value, answer.code) == (None, "N_UNVERIFIABLE")
    assert answer.reason is not None
    assert "'add a dog'" in answer.reason
    assert "vision-language model" in answer.reason


@pytest.mark.parametrize("kind", [Kind.DIFFERENT, Kind.GLOBAL])
def test_a_colour_is_only_looked_for_in_a_local_edit(kind: Kind) -> None:
    assert judged("make the ball blue", with_object(BLUE), with_object(RED), edit(kind)).code == "N_UNVERIFIABLE"


def test_a_named_colour_that_came_scores_above_one_that_did_not() -> None:
    came = known(judged("make the ball blue", with_object(BLUE), with_object(RED)))
    stayed = known(judged("make the ball green", with_object(BLUE), with_object(RED)))
    left = known(judged("make the ball red", with_object(BLUE), with_object(RED)))
    assert came > 2.5 > stayed > left


def test_a_removed_object_scores_above_one_still_there() -> None:
    removed = known(judged("Remove the ball.", ground(), with_object(RED)))
    still = known(judged("Remove the ball.", with_object((190, 35, 35)), with_object(RED)))
    assert removed > 2.5
    assert still < 2


def test_a_ghost_of_the_removed_object_costs() -> None:
    clean = Measurements(size=SIZE, area_fraction=0.1, kept=0.2, ghosting=0.0, fill=-0.3)
    haunted = Measurements(size=SIZE, area_fraction=0.1, kept=0.2, ghosting=0.6, fill=-0.3)
    assert removal_value(clean) - removal_value(haunted) > 0.5


def test_a_removal_from_a_region_too_small_to_measure_is_null() -> None:
    measured = Measurements(size=SIZE, area_fraction=0.0)
    answer = verify("remove it", edit(), measured, ground(), ground(), ~EVERYWHERE)
    assert answer.code == "N_UNVERIFIABLE"


@pytest.mark.parametrize(
    "prompt", ["Remove the cup", "erase her", "get rid of the wires", "a street without cars", "please delete the logo"]
)
def test_removal_is_recognised(prompt: str) -> None:
    assert is_removal(prompt)


@pytest.mark.parametrize(
    "prompt", ["Remove the man. Then: add a bottle", "a cat", "add a removable lid", "remove the cup, add a plate"]
)
def test_other_and_compound_wishes_are_no_removal(prompt: str) -> None:
    assert not is_removal(prompt)


@pytest.mark.parametrize(
    ("prompt", "colour"),
    [
        ("make the car red", "red"),
        ("Change the color of the car from yellow to deep metallic blue", "blue"),
        ("green camouflage -> red camouflage", "red"),
        ("a photo of a purple velvet sofa", "purple"),
        ("A WHITE bus", "white"),
        ("black and white dog", None),
        ("a large elk standing on top of a lush green field", None),
        ("apple to orange", None),
        ("make it red, then add a blue hat", None),
        ("a hundred dogs", None),
    ],
)
def test_the_deciding_colour_is_read_from_the_prompt(prompt: str, colour: str | None) -> None:
    assert named_colour(prompt) == colour


@pytest.mark.parametrize(
    ("colour", "rgb"),
    [
        ("black", (15, 15, 18)),
        ("white", (245, 245, 245)),
        ("grey", (128, 128, 128)),
        ("red", (210, 20, 20)),
        ("orange", (245, 140, 20)),
        ("brown", (120, 70, 30)),
        ("yellow", (240, 225, 30)),
        ("gold", (212, 175, 55)),
        ("green", (30, 150, 50)),
        ("cyan", (20, 190, 200)),
        ("blue", (30, 60, 210)),
        ("purple", (128, 30, 160)),
        ("pink", (250, 130, 180)),
    ],
)
def test_colour_words_hold_their_typical_colour_and_not_its_opposite(colour: str, rgb: tuple[int, int, int]) -> None:
    patch = np.full((32, 32, 3), rgb, np.uint8)
    where = np.ones((32, 32), bool)
    assert share_of_colour(colour, patch, where) == 1
    assert share_of_colour(colour, np.asarray(255 - patch, np.uint8), where) == (1 if colour == "grey" else 0)
    assert share_of_colour(colour, patch, ~where) == 0


def test_an_unknown_colour_word_is_refused() -> None:
    with pytest.raises(ValueError, match="no colour"):
        share_of_colour("mauve", ground(), EVERYWHERE)


def test_the_colour_value_rises_with_the_share_and_is_lowest_when_the_colour_left() -> None:
    values = [colour_value(now, 0.1) for now in (0.0, 0.1, 0.25, 0.4, 0.9)]
    assert values == sorted(values)
    assert values[0] < values[1] < values[3]


@pytest.mark.parametrize(
    ("prompt", "kinds"),
    [
        (None, set()),
        ("add a dog", set()),
        ("make the car red", {"colour", "exposure"}),
        ("blur the background", {"sharpness", "texture_loss"}),
        ("brighter please", {"exposure"}),
    ],
)
def test_what_the_prompt_asked_for_is_told_so_that_it_is_no_fault(prompt: str | None, kinds: set[str]) -> None:
    assert asked_kinds(prompt) == kinds
