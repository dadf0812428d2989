"""JUnit XML: read back by a library that reads what Jenkins and GitLab do, and by a strict XML parser."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import junitparser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piqa_cli.cli.gates import Gate
from piqa_cli.errors import OutputError
from piqa_cli.schema import Failure, Outcome
from piqa_cli.writers import JUnitWriter
from records import HOSTILE, ORDINARY, RECORDS, UNPAIRED, UNREADABLE

GATES = (Gate("naturalness", "local_naturalness", 2.5), Gate("overall", "overall", 3.0))


def written(path: Path, outcomes: tuple[Outcome, ...], gates: tuple[Gate, ...] = GATES) -> junitparser.TestSuite:
    with JUnitWriter(str(path), gates) as writer:
        for outcome in outcomes:
            writer.add(outcome)
        writer.save()
    (suite,) = junitparser.JUnitXml.fromfile(str(path))
    assert isinstance(suite, junitparser.TestSuite)
    return suite


def test_a_missed_gate_is_a_failure_an_unreadable_pair_an_error_and_the_rest_passes(tmp_path: Path) -> None:
    passing = ORDINARY.model_copy(update={"id": "fine", "scores": ORDINARY.scores.model_copy(
        update={"local_naturalness": ORDINARY.scores.overall})})  # fmt: skip
    suite = written(tmp_path / "j.xml", (ORDINARY, UNREADABLE, HOSTILE, passing))
    assert (suite.tests, suite.failures, suite.errors) == (4, 2, 1)
    low, unreadable, null, fine = list(suite)
    assert fine.is_passed
    (failure,) = low.result
    assert isinstance(failure, junitparser.Failure)
    assert failure.message == "local_naturalness is 2.10, expected at least 2.5"
    assert "A seam shows where it stood." in failure.text
    (error,) = unreadable.result
    assert isinstance(error, junitparser.Error)
    assert (error.type, error.message) == ("E_DECODE", "the image is truncated")
    assert "hint: fetch the file again" in error.text
    (failure,) = null.result
    assert failure.message.startswith("local_naturalness has no score (nothing was edited), expected at least 2.5; ov")


def test_without_gates_no_assessed_pair_fails(tmp_path: Path) -> None:
    suite = written(tmp_path / "j.xml", RECORDS, ())
    assert (suite.tests, suite.failures, suite.errors) == (4, 0, 2)


def test_scores_with_spreads_are_properties_and_a_null_has_its_code(tmp_path: Path) -> None:
    written(tmp_path / "j.xml", (ORDINARY, HOSTILE))
    first, second = ElementTree.parse(tmp_path / "j.xml").getroot().iter("testcase")
    found, null = ({p.get("name"): p.get("value") for p in case.iter("property")} for case in (first, second))
    assert (found["overall"], found["overall_spread"]) == ("3.6200", "0.7100")
    assert (null["overall_code"], "overall" in null) == ("N_NO_EDIT", False)
    assert (first.get("name"), first.get("file"), first.get("time")) == ("street_1", "in/edited/street_1.png", "0.250")


def test_elements_stand_in_the_order_that_readers_expect(tmp_path: Path) -> None:
    written(tmp_path / "j.xml", RECORDS)
    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert root.tag == "testsuites"
    (suite,) = root
    assert [child.tag for child in suite] == ["properties"] + ["testcase"] * 4
    assert {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"} == suite.attrib.keys()
    for case in suite.iter("testcase"):
        assert {"classname", "name", "time"} <= case.attrib.keys()
        assert [child.tag for child in case] in (["properties"], ["properties", "failure"], ["error"])


@settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(), min_size=1))
def test_any_name_and_message_give_a_document_that_a_strict_parser_takes(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    error = UNPAIRED.error.model_copy(update={"message": text, "file": text})
    failure: Failure = UNPAIRED.model_copy(update={"id": text, "error": error})
    path = tmp_path_factory.mktemp("j") / "j.xml"
    (case,) = written(path, (failure,))
    if text.isprintable() and text.isascii():
        assert case.name == text


def test_characters_that_xml_has_no_way_to_write_are_spelt_out(tmp_path: Path) -> None:
    (case,) = written(tmp_path / "j.xml", (UNPAIRED.model_copy(update={"id": "a\x00\x1b\udce9\uffff<&\"'\n"}),))
    assert case.name == "a\\x00\\x1b\\udce9\\uffff<&\"'\n"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with JUnitWriter(str(tmp_path / "none" / "j.xml")) as writer, pytest.raises(OutputError):
        writer.save()
    old = tmp_path / "j.xml"
    old.write_text("old")
    with JUnitWriter(str(old)) as writer:
        writer.add(ORDINARY)
    assert old.read_text() == "old"
