"""`piqa evaluate`: joining, formats, comparisons, plots, and inputs that are not what they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Finished, RunPiqa
from piqa_cli.pairs.epaiqa import split_of
from piqa_cli.schema import Dimension, Failure, Outcome, Scores, score
from piqa_cli.writers import to_json
from records import HOSTILE, ORDINARY, UNREADABLE

COUNT = 30
FAST = ("--resamples", "20", "--baselines", "none")


def label_row(number: int, name: str | None = None) -> dict[str, Any]:
    return {
        "source_img_name": f"{number}.jpg",
        "edited_img_name": name or f"{number}_x.png",
        "prompt": f"make it {'red' if number % 2 else 'blue'}",
        "overall_score": 1 + number % 5,
        "prompt_completion": 1 + number % 3,
        "harmony_score": 1 + number % 4,
        "local_naturalness": 1.5 + number % 3,
    }


def record(number: int, *values: float | None, name: str | None = None) -> Outcome:
    """A record of the edit, with these scores (the last for the rest); by default what people said."""
    row = label_row(number)
    given = values or (row["overall_score"], row["prompt_completion"], row["harmony_score"], row["local_naturalness"])
    padded = [*given, *[given[-1]] * (5 - len(given))]
    scores = Scores(
        **{
            dimension.value: score(dimension, value, 0.5, reason=None if value is not None else "unknown")
            for dimension, value in zip(Dimension, padded, strict=True)
        }
    )
    path = f"images/edited/{name or f'{number}_x.png'}"
    edited = ORDINARY.pair.edited.model_copy(update={"path": path})
    pair = ORDINARY.pair.model_copy(update={"edited": edited})
    return ORDINARY.model_copy(update={"id": f"{number}_x", "pair": pair, "scores": scores, "regions": ()})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes records to a file and gives its path."""

    def to_file(name: str, *outcomes: Outcome, torn: str = "") -> str:
        path = tmp_path / name
        path.write_text("".join(to_json(one) + "\n" for one in outcomes) + torn, "utf-8")
        return str(path)

    return to_file


@pytest.fixture
def labels(tmp_path: Path) -> str:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([label_row(number) for number in range(COUNT)]), "utf-8")
    return str(path)


def row_of(done: Finished, system: str, subset: str) -> Any:
    (row,) = [row for row in done.json()["scores"] if (row["system"], row["subset"]) == (system, subset)]
    return row


def test_perfect_scores_get_perfect_figures_beside_the_blind_baselines(
    piqa: RunPiqa, write: Callable[..., str], labels: str
) -> None:
    results = write("good.jsonl", *(record(number) for number in range(COUNT)))
    done = piqa("evaluate", results, "--labels", labels, "--resamples", "20")
    assert done.status == 0, done.err
    row = row_of(done, "good", "overall")
    assert (row["rated"], row["scored"], row["nulls"], row["failed"]) == (COUNT, COUNT, 0, 0)
    assert row["srcc"] == pytest.approx({"value": 1, "low": 1, "high": 1, "reason": None})
    assert (row["rmse"]["value"], row["accuracy"]["value"], row["epsilon"]) == (0, 1, 0)
    assert row_of(done, "good", "overall_completed")["rated"] == COUNT // 3
    assert row_of(done, "mean", "overall")["srcc"] == {
        "value": None, "low": None, "high": None, "reason": "all scores are equal"
    }  # fmt: skip
    assert row_of(done, "prompt only", "harmony")["srcc"]["value"] is not None
    assert "good: 30 of 30 labels have a record, 0 failed" in done.err


def test_nulls_failures_and_what_has_no_partner_are_counted_and_named(
    piqa: RunPiqa, write: Callable[..., str], labels: str
) -> None:
    failed = UNREADABLE.model_copy(update={"id": "1_x"})
    strangers = (record(99), HOSTILE.model_copy(update={"findings": ()}))
    results = write("r.jsonl", record(0, None), failed, *(record(n) for n in range(2, 9)), *strangers, torn='{"sta')
    done = piqa("evaluate", results, "--labels", labels, *FAST)
    assert done.status == 0, done.err
    row = row_of(done, "r", "harmony")
    assert (row["rated"], row["scored"], row["nulls"], row["failed"]) == (9, 7, 1, 1)
    (subject,) = done.json()["subjects"]
    assert subject["null_scores"]["harmony"] == 1
    assert subject["labels_without_record"] == [f"{n}_x.png" for n in range(9, COUNT)]
    assert subject["records_without_label"] == ["99_x", HOSTILE.id]
    assert "is torn and was skipped" in done.err
    assert "no record for 11 more" in done.err


def test_records_are_found_by_path_by_id_and_by_stem(piqa: RunPiqa, write: Callable[..., str], tmp_path: Path) -> None:
    names = ["a/same.png", "b/same.png", 'say_"hi".png', "recoded.png", "by_id.png"]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([label_row(n, name) for n, name in enumerate(names)]), "utf-8")
    paths = ["b/same.png", "a/same.png", "say_hi.png", "recoded.jpg", "renamed.png"]
    outcomes = [record(n, name=name).model_copy(update={"id": "by_id" if n == 4 else f"pair {n}"})
                for n, name in enumerate(paths)]  # fmt: skip
    done = piqa("evaluate", write("r.jsonl", *outcomes), "--labels", str(path), *FAST)
    assert done.status == 0, done.err
    assert done.json()["subjects"][0]["matched"] == 5


@pytest.mark.parametrize("kind", ["empty", "strangers", "other split", "no labels", "twice", "twice in the labels"])
def test_what_cannot_be_joined_is_status_3_with_a_reason(
    piqa: RunPiqa, write: Callable[..., str], labels: str, tmp_path: Path, kind: str
) -> None:
    train = next(n for n in range(COUNT) if split_of(f"{n}.jpg") == "train")
    outcomes = {
        "empty": (),
        "strangers": (record(99),),
        "other split": (record(train),),
        "twice": (record(1), record(1)),
    }.get(kind, (record(1),))
    if kind in {"no labels", "twice in the labels"}:
        rows = [] if kind == "no labels" else [label_row(1), label_row(1)]
        Path(labels).write_text(json.dumps(rows), "utf-8")
    done = piqa("evaluate", write("r.jsonl", *outcomes), "--labels", labels, "--split", "test", *FAST)
    assert (done.status, done.out) == (3, b"")
    assert ("E_DUPLICATE" if kind.startswith("twice") else "E_UNPAIRED") in done.err


def test_a_retry_takes_the_place_of_a_failure(piqa: RunPiqa, write: Callable[..., str], labels: str) -> None:
    failed = UNREADABLE.model_copy(update={"id": "1_x"})
    done = piqa("evaluate", write("r.jsonl", failed, record(1), record(2), failed), "--labels", labels, *FAST)
    assert done.json()["subjects"][0]["assessed"] == 2


@pytest.mark.parametrize("values", [(None,), (3.0, 2.0, 3.0)])
def test_nulls_alone_and_constants_give_dashes_with_reasons(
    piqa: RunPiqa, write: Callable[..., str], labels: str, values: tuple[float | None, ...]
) -> None:
    results = write("r.jsonl", *(record(number, *values) for number in range(COUNT)))
    done = piqa("evaluate", results, "--labels", labels, *FAST, "--format", "table")
    assert done.status == 0, done.err
    reason = "no edit has both a rating and a score" if values[0] is None else "all scores are equal"
    assert reason in done.out.decode()


def test_one_pair_is_enough_for_an_answer(piqa: RunPiqa, write: Callable[..., str], labels: str) -> None:
    done = piqa("evaluate", write("r.jsonl", record(3, 2.0)), "--labels", labels, "--resamples", "20")
    assert done.status == 0, done.err
    row = row_of(done, "r", "overall")
    assert row["srcc"]["reason"] == "needs at least two edits"
    assert row["rmse"]["value"] == 2


def test_names_with_control_characters_and_markup_are_never_raw(
    piqa: RunPiqa, tmp_path: Path, write: Callable[..., str]
) -> None:
    evil = "a\x1b[31m|$\\_%&.png"
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([label_row(0, evil), label_row(1), label_row(2, "b\x07.png")]), "utf-8")
    results = write("r\x1b|_$&.jsonl", record(0, name=evil), record(1))
    truth = tmp_path / "t.jsonl"
    truth.write_text(json.dumps({"edited_img_name": evil, "boxes": [[0, 0, 9999, 9]]}), "utf-8")
    for form in ("table", "markdown", "latex", "json"):
        done = piqa("evaluate", results, "--labels", path, "--annotations", truth, *FAST, "--format", form)
        assert done.status == 0, done.err
        assert b"\x1b" not in done.out + done.err.encode()
        assert b"\x07" not in done.out + done.err.encode()
    assert r"r\x1b" in done.err
    latex = piqa("evaluate", results, "--labels", path, *FAST, "--format", "latex").out.decode()
    assert r"r\textbackslash{}x1b\textbar{}\_\$\&" in latex
    markdown = piqa("evaluate", results, "--labels", path, *FAST, "--format", "markdown").out.decode()
    assert r"r\\x1b\|\_$&" in markdown


def test_two_result_files_are_compared_on_what_both_hold(
    piqa: RunPiqa, write: Callable[..., str], labels: str, tmp_path: Path
) -> None:
    good = write("new.jsonl", *(record(number) for number in range(COUNT)))
    bad = write("old.jsonl", *(record(number, 1.0 + number % 2, 1.0 + number % 2, 3.0) for number in range(5, COUNT)))
    done = piqa("evaluate", good, "--against", bad, "--labels", labels, "--resamples", "400", "--baselines", "none")
    assert done.status == 0, done.err
    first = done.json()["differences"][0]
    assert (first["subset"], first["metric"], first["count"], first["first"]) == (
        "overall",
        "srcc",
        25,
        pytest.approx(1),
    )
    assert first["low"] > 0
    assert first["significant"]
    assert first["p_holm"] >= first["p"]
    same = tmp_path / "sub" / "new.jsonl"
    same.parent.mkdir()
    same.write_bytes(Path(good).read_bytes())
    again = piqa("evaluate", good, "--against", same, "--labels", labels, *FAST)
    assert [one["name"] for one in again.json()["subjects"]] == [good, str(same)]
    assert not any(row["significant"] for row in again.json()["differences"])


def test_files_without_a_common_edit_cannot_be_compared(piqa: RunPiqa, write: Callable[..., str], labels: str) -> None:
    one, other = write("a.jsonl", record(1)), write("b.jsonl", record(2))
    done = piqa("evaluate", one, "--against", other, "--labels", labels, *FAST)
    assert done.status == 3
    assert "no edit in common" in done.err


def test_annotations_bring_regions_and_explanations_and_bad_lines_are_told(
    piqa: RunPiqa, write: Callable[..., str], labels: str, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.jsonl"
    lines = [json.dumps({"edited_img_name": f"{n}_x.png", "boxes": [[0, 0, 100, 100]], "fault": "seam",
                         "explanation": "A seam shows."}) for n in range(5)]  # fmt: skip
    truth.write_text("\n".join([*lines, "nonsense"]), "utf-8")
    done = piqa("evaluate", write("r.jsonl", *map(record, range(6))), "--labels", labels, "--annotations", truth, *FAST)
    assert done.status == 0, done.err
    (details,) = done.json()["details"]
    assert details["grounding"]["rows"][0]["figures"][0] == pytest.approx(
        {"name": "mIoU", "count": 5, "value": 0, "low": 0, "high": 0}
    )
    figures = {one["name"]: one for one in details["explanations"]["figures"]}
    assert figures["right fault"] == pytest.approx({"name": "right fault", "count": 5, "value": 1, "low": 1, "high": 1})
    assert figures["agrees with the scores"]["count"] == 6
    assert 0 < figures["ROUGE-L"]["value"] < 1
    assert done.json()["refused"][0]["id"] == "line 6"
    assert "line 6 of the annotation file cannot be used" in done.err
    truth.write_text("\n".join([lines[0], lines[0]]), "utf-8")
    twice = piqa("evaluate", write("r.jsonl", record(0)), "--labels", labels, "--annotations", truth, *FAST)
    assert twice.status == 3
    assert "E_DUPLICATE" in twice.err


def test_a_suffix_chooses_the_format_and_inputs_are_spared(
    piqa: RunPiqa, write: Callable[..., str], labels: str, tmp_path: Path
) -> None:
    results = write("r.jsonl", *map(record, range(8)))
    for suffix, begin in ((".md", "### overall"), (".tex", "\\begin{table}"), (".json", "{"), (".txt", "overall")):
        target = tmp_path / f"out{suffix}"
        done = piqa("evaluate", results, "--labels", labels, "-o", target, *FAST)
        assert (done.status, done.out) == (0, b"")
        assert target.read_text("utf-8").startswith(begin)
    for target in map(Path, (labels, results)):
        before = target.read_bytes()
        done = piqa("evaluate", results, "--labels", labels, "-o", target, "--format", "json", *FAST)
        assert done.status == 2
        assert target.read_bytes() == before


def test_plots_are_drawn_under_safe_names(
    piqa: RunPiqa, write: Callable[..., str], labels: str, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    results = write("r $x_\x1b.jsonl", *(record(number, 1 + number % 4 + 0.1) for number in range(COUNT)))
    done = piqa("evaluate", results, "--labels", labels, "--plots", tmp_path / "p" / "q", *FAST)
    assert done.status == 0, done.err
    names = sorted(path.name for path in (tmp_path / "p" / "q").iterdir())
    assert len(names) == 9
    assert "1_r_x_overall_scatter.png" in names
    assert "1_r_x_harmony_reliability.png" in names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "p" / "q").iterdir())
    (tmp_path / "file").touch()
    blocked = piqa("evaluate", results, "--labels", labels, "--plots", tmp_path / "file", *FAST)
    assert blocked.status == 2
    assert "expected a folder" in blocked.err


@pytest.mark.parametrize(
    "wrong",
    [
        ("r.jsonl", "--image-dir", "."),
        ("--model", "compact"),
        ("--records", "x.jsonl"),
        ("--against", "r.jsonl"),
        ("r.jsonl", "--records", "x.jsonl"),
        ("r.jsonl", "--against", "r.jsonl", "--resamples", "0"),
        ("r.jsonl", "--split", "validation"),
        ("r.jsonl", "--output", "x.pdf"),
        ("r.jsonl", "--resamples", "-1"),
    ],
)
def test_options_that_do_not_go_together_are_status_2(
    piqa: RunPiqa, labels: str, tmp_path: Path, wrong: tuple[str, ...]
) -> None:
    (tmp_path / "r.jsonl").touch()
    done = piqa("evaluate", *wrong, "--labels", labels, cwd=tmp_path)
    assert (done.status, done.out) == (2, b""), done.err


@pytest.mark.parametrize("broken", ["missing", "no json", "a record of tomorrow"])
def test_files_that_are_no_results_or_labels_are_status_3(
    piqa: RunPiqa, labels: str, tmp_path: Path, broken: str
) -> None:
    bad = tmp_path / "bad.jsonl"
    if broken != "missing":
        bad.write_text('{"schema_version": "9"}\n' if broken != "no json" else "nonsense\n", "utf-8")
    assert piqa("evaluate", bad, "--labels", labels, *FAST).status == 3
    good = tmp_path / "good.jsonl"
    good.write_text(to_json(record(1)) + "\n", "utf-8")
    assert piqa("evaluate", good, "--labels", bad, *FAST).status == 3


def test_without_records_the_baselines_stand_alone(piqa: RunPiqa, labels: str) -> None:
    done = piqa("evaluate", "--labels", labels, "--baselines", "all", "--resamples", "0")
    assert done.status == 0, done.err
    assert {row["kind"] for row in done.json()["scores"]} == {"blind", "ratings"}
    assert row_of(done, "ratings: harmony", "overall")["srcc"]["low"] is None
    assert "baselines alone, on 30 labels" in done.err


def test_a_model_judges_the_labelled_images_and_its_records_are_kept(
    quick_piqa: RunPiqa, make_batch: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = make_batch(3)
    for number in range(3):
        (folder / "edited" / f"p{number}.png").rename(folder / "edited" / f"p{number}_x.png")
    rows = [label_row(n, f"p{n}_x.png") | {"source_img_name": f"p{n}.png"} for n in range(4)]
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(rows), "utf-8")
    kept = tmp_path / "kept.jsonl"
    done = quick_piqa("evaluate", "--labels", labels, "--image-dir", folder, "--records", kept, *FAST)
    assert done.status == 6, done.err  # the fourth has no images
    row = row_of(done, "compact", "overall")
    assert (row["rated"], row["scored"], row["failed"]) == (4, 3, 1)
    again = quick_piqa("evaluate", kept, "--labels", labels, *FAST)
    assert again.status == 0, again.err
    assert row_of(again, "kept", "overall")["srcc"] == row["srcc"]
    assert isinstance(json.loads(kept.read_text("utf-8").splitlines()[3])["error"], dict)
    assert Failure.model_validate_json(kept.read_text("utf-8").splitlines()[3]).id == "p3_x"
