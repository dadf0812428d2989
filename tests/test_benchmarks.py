"""The tables of the benchmarks on made-up rows: a perfect model, and one that always says the same."""

from __future__ import annotations

import argparse
import json
import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common, compact, leave_out, samples, scores, synthetic_tables
from benchmarks.samples import KINDS, RealKind, Recipe, Seen, Truth
from benchmarks.synthetic_tables import Rating
from piqa_cli.metrics import bootstrap_interval
from piqa_cli.schema import Kind
from piqa_cli.synthesis import FAMILIES

# A family that harms harmony, and one that harms naturalness.
LIGHT, SMEAR = "exposure", "smear"
BASELINES = (0.3, 0.2, 0.3, 0.2)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested with the metrics; here they only cost time."""
    monkeypatch.setattr(synthetic_tables, "bootstrap_interval", partial(bootstrap_interval, resamples=10))


def truth(number: int, kind: Kind = Kind.LOCAL, part: str = "local") -> Truth:
    """A local edit of severity 0.05 to 1; every fourth is of the same photo, every third drifted."""
    family, amount = ((LIGHT, SMEAR)[number % 2], 0.05 * (number % 20 + 1)) if kind is Kind.LOCAL else (kind.value, 0.0)
    fault = "exposure" if family == LIGHT else "smear"
    return Truth(
        part=part,
        name=f"{part}{number}",
        photo=f"photo{number % 10}",
        kind=kind,
        family=family,
        area=0.01 * (number + 1),
        severity=amount,
        severities=(amount if family == LIGHT else 0.0, amount if family == SMEAR else 0.0),
        faults=((fault, amount), ("colour", amount / 2)) if kind is Kind.LOCAL else (),
        drifted=number % 3 == 0,
        level=100.0,
    )


def perfect(t: Truth, *, masked: bool = False) -> Seen:
    """Knows the mask, the kind, the severities and the fault."""
    found = () if masked else (1.0, *BASELINES)
    return Seen(
        truth=t,
        masked=masked,
        kind=t.kind,
        scores=(5 - 4 * t.severities[0], 5 - 4 * t.severities[1]),
        spreads=(0.5, 0.5),
        fault=t.faults[0][0] if t.faults else None,
        judged=(0.5, -t.area, 0.9),
        iou=found,
        f1=found,
        marked=() if masked else (0.0 if t.kind is Kind.NONE else t.area, *BASELINES),
        chance=t.area / (2 - t.area),
    )


def constant(t: Truth, *, masked: bool = False) -> Seen:
    """Marks nothing, and says 3, local and exposure of everything."""
    row = perfect(t, masked=masked)
    found = () if masked else (0.0, *BASELINES)
    return Seen(
        t, masked, Kind.LOCAL, (3.0, 3.0), (0.5, 0.5), "exposure", (0.5, -0.1, 0.9), found, found, found, row.chance
    )


def lines(table: common.Table) -> dict[tuple[str, ...], dict[str, str | float | None]]:
    """The rows by what stands before their first number; later columns of one name get a number."""
    names: list[str] = []
    for name in table.columns:
        names.append(f"{name} {names.count(name) + 1}" if name in names else name)
    found = {}
    for row in table.rows:
        words = [value for value in row if isinstance(value, str) and ".." not in value and value != "-"]
        found[tuple(words)] = dict(zip(names, row, strict=True))
    return found


LOCAL = [truth(n) for n in range(40)]
OTHER = [truth(n, kind, "other") for kind in KINDS if kind is not Kind.LOCAL for n in range(10)]


def test_a_perfect_region_scores_one_and_an_empty_one_zero_beside_the_same_baselines() -> None:
    for see, value in ((perfect, 1.0), (constant, 0.0)):
        overall, by_family, by_area = synthetic_tables.grounding_tables([see(t) for t in LOCAL])
        found = lines(overall)
        assert found["all", "piqa"]["IoU"] == found["drift elsewhere", "piqa"]["F1"] == value
        assert found["all", "piqa"]["IoU over chance"] == pytest.approx(
            value - np.mean([perfect(t).chance for t in LOCAL])
        )
        assert found["all", "difference + Otsu"]["IoU"] == pytest.approx(0.3)
        assert found["nothing else changed", "piqa"]["n"] == 26
        assert [row[0] for row in by_family.rows] == [LIGHT, SMEAR, "mean of families"]
        assert {row[2] for row in (*by_family.rows, *by_area.rows)} == {value}
        assert [row[1] for row in by_area.rows] == [8] * 5
        assert by_area.rows[0][0] == "1.0 .. 8.0"


def test_kinds_are_counted_where_they_were_told_and_unedited_pairs_where_something_was_marked() -> None:
    confusion, alarms, real = synthetic_tables.kind_tables(
        [perfect(t) for t in (*LOCAL, *OTHER)],
        [RealKind("a", "masked", Kind.LOCAL), RealKind("b", "masked", Kind.NONE)],
    )
    assert {row[-2] for row in confusion.rows} == {100.0}
    assert [row[1] for row in confusion.rows] == [40, 10, 10, 10, 70, 70]
    assert lines(alarms)["piqa",]["mean area marked"] == lines(alarms)["piqa",]["called edited"] == 0
    assert lines(alarms)["1 - SSIM + Otsu",]["mean area marked"] == pytest.approx(20)
    assert lines(real)["masked",]["accepted, per cent"] == 50
    confusion, alarms = synthetic_tables.kind_tables([constant(t) for t in (*LOCAL, *OTHER)], [])
    assert lines(confusion)["mean of kinds",]["right, per cent"] == 25
    assert lines(confusion)["all",]["right, per cent"] == pytest.approx(100 * 40 / 70)
    assert lines(alarms)["piqa",]["called edited"] == 100


@pytest.mark.parametrize(
    ("scope", "kind", "accepted"),
    [
        ("local+drift", Kind.LOCAL, 100),
        ("local+drift", Kind.GLOBAL, 0),
        ("global_regen", Kind.GLOBAL, 100),
        ("global_regen", Kind.DIFFERENT, 100),
        ("global_regen", Kind.LOCAL, 0),
    ],
)
def test_a_picture_made_anew_may_be_called_a_global_change_or_another_picture(
    scope: str, kind: Kind, accepted: float
) -> None:
    *_, real = synthetic_tables.kind_tables([perfect(t) for t in OTHER], [RealKind("a", scope, kind)])
    assert real.rows[0][-2] == accepted


def test_scores_that_follow_severity_correlate_fully_and_a_constant_one_is_undefined() -> None:
    seen = [perfect(t, masked=masked) for t in LOCAL for masked in (True, False)]
    overall, given, found = synthetic_tables.severity_tables(seen)
    assert [row[4] for row in overall.rows if row[3] == "piqa"] == pytest.approx([1] * 4)
    for table in (given, found):
        assert lines(table)["mean of families",]["harmony"] == pytest.approx(1)
        assert lines(table)[LIGHT,]["n 2"] == 0  # naturalness, which exposure leaves alone
    seen = [constant(t, masked=masked) for t in LOCAL for masked in (True, False)]
    overall, given, found = synthetic_tables.severity_tables(seen)
    assert all(math.isnan(float(str(row[4]))) for row in overall.rows if row[3] == "piqa")
    assert math.isnan(float(str(lines(given)["mean of families",]["harmony"])))


def versions(number: int) -> list[Truth]:
    """One edit, better and worse."""
    pair = []
    for letter, amount in (("b", 0.2), ("w", 0.8)):
        t = truth(number, part="versions")
        harm = (amount, 0.0) if t.family == LIGHT else (0.0, amount)
        pair.append(Truth("versions", f"v{number}{letter}", t.photo, t.kind, t.family, t.area, amount, harm))
    return pair


def test_the_better_version_must_score_higher_and_a_tie_counts_half() -> None:
    pairs = [t for n in range(10) for t in versions(n)]
    table = synthetic_tables.pairs_table([perfect(t, masked=True) for t in pairs])
    assert lines(table)["harmony", "piqa"]["right order, per cent"] == 100
    assert lines(table)["harmony", "smaller region"]["right order, per cent"] == 50
    assert lines(table)["local_naturalness", "piqa"]["pairs"] == 5
    table = synthetic_tables.pairs_table([constant(t, masked=True) for t in pairs])
    assert lines(table)["harmony", "piqa"]["right order, per cent"] == 50


def test_the_audit_finds_a_score_that_follows_area_within_families_and_no_other() -> None:
    same = [
        Truth("audit", f"a{n}", f"photo{n}", Kind.LOCAL, (LIGHT, SMEAR)[n % 2], 0.01 * (n // 2 + 1), 0.5, (0.5, 0.5))
        for n in range(40)
    ]
    follows = [
        Seen(t, True, Kind.LOCAL, (5 - t.area, 3.0 + n // 2 % 2), judged=(0.5, 0, 0)) for n, t in enumerate(same)
    ]
    table = lines(synthetic_tables.audit_table(follows))
    assert table["harmony", "area of the region"]["Spearman within family"] == pytest.approx(-1)
    assert abs(float(str(table["local_naturalness", "area of the region"]["Spearman within family"]))) < 0.1
    assert math.isnan(float(str(table["harmony", "1 - SSIM in the region"]["Spearman within family"])))


def test_families_of_other_levels_do_not_make_a_correlation_within_them() -> None:
    groups = np.repeat([0, 1], 4)
    a = np.array([1.0, 2, 3, 4, 11, 12, 13, 14])
    assert synthetic_tables.within(a, a, groups) == pytest.approx(1)
    assert synthetic_tables.within(a, np.array([1.0, 2, 2, 1, 11, 12, 12, 11]), groups) == pytest.approx(0)


def test_the_main_fault_is_right_where_it_is_one_of_the_worst() -> None:
    rows = [perfect(t, masked=masked) for t in LOCAL for masked in (True, False)]
    answers, recall = synthetic_tables.fault_tables(rows)
    assert lines(answers)["found", "piqa"]["one of the worst, per cent"] == 100
    assert lines(answers)["found", "the most frequent"]["one of the worst, per cent"] == pytest.approx(
        100 * 16 / 30, abs=4
    )
    assert lines(answers)["found", "piqa"]["n"] == sum(t.severity >= 0.3 - 1e-9 for t in LOCAL)
    assert lines(recall)["smear",]["named, per cent"] == 100
    answers, recall = synthetic_tables.fault_tables([constant(row.truth, masked=row.masked) for row in rows])
    assert lines(answers)["given", "piqa"]["the main one, per cent"] < 60  # type: ignore[operator]
    assert lines(recall)["smear", "exposure"]["named, per cent"] == 0


def test_a_second_fault_as_bad_as_the_first_is_as_good_an_answer() -> None:
    both = Truth("local", "x", "p", Kind.LOCAL, LIGHT, 0.1, 0.5, (0.5, 0), (("exposure", 0.5), ("colour", 0.5)))
    row = Seen(both, False, Kind.LOCAL, (3, 3), fault="colour")
    answers, _ = synthetic_tables.fault_tables([row])
    assert lines(answers)["found", "piqa"]["one of the worst, per cent"] == 100
    assert lines(answers)["found", "piqa"]["the main one, per cent"] == 0


def test_ratings_within_the_spread_are_counted_and_changed_pictures_left_out() -> None:
    rated = [truth(n, part="rated") for n in range(20)]
    rows = [perfect(t) for t in rated]
    ratings = [
        # The spread is 0.5: every other rating lies within it. The last one was given to another picture.
        Rating(Recipe("rated", t.name, 1, 64), 100.0 if n < 19 else 90.0,
               (row.scores[0] - (0.4, 0.6)[n % 2], row.scores[1]))
        for n, (t, row) in enumerate(zip(rated, rows, strict=True))
    ]  # fmt: skip
    table = synthetic_tables.coverage_table(rows, ratings)
    assert lines(table)["harmony",]["n"] == 19
    assert lines(table)["harmony",]["inside, per cent"] == pytest.approx(100 * 10 / 19)
    assert lines(table)["local_naturalness",]["inside, per cent"] == 100
    assert lines(table)["local_naturalness",]["SRCC"] == pytest.approx(1)
    assert "1 of 20" in table.note


def test_the_spread_is_measured_on_rated_edits_of_held_out_photos() -> None:
    ratings = synthetic_tables.read_rated(12)
    assert len(ratings) == 12
    assert all(1 <= value <= 5 for rating in ratings for value in rating.opinions)


def test_a_missing_table_of_ratings_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_tables, "read_ratings", lambda splits: [])
    with pytest.raises(SystemExit, match="--skip coverage"):
        synthetic_tables.read_rated()


def test_tables_without_rows_say_so_and_do_not_fail() -> None:
    tables = [
        *synthetic_tables.grounding_tables([]),
        *synthetic_tables.kind_tables([], []),
        *synthetic_tables.severity_tables([]),
    ]
    tables += [synthetic_tables.pairs_table([]), synthetic_tables.audit_table([]), *synthetic_tables.fault_tables([])]
    tables += [synthetic_tables.coverage_table([], []), scores.table([], "all"), scores.baselines_table([], "none", {})]
    assert all(table.markdown() for table in tables)


def test_samples_are_told_apart_by_name_and_made_by_seeds_of_their_own() -> None:
    names = [family.name for family in FAMILIES]
    recipes = [*samples.local_recipes(names, 3, 64), *samples.other_recipes(3, 64), *samples.audit_recipes(3, 64)]
    assert len({recipe.name for recipe in recipes}) == len(recipes) == 3 * (2 * len(names) + 3)
    seeds = [recipe.seed for recipe in recipes if recipe.part != "audit"]
    assert len(set(seeds)) == len(seeds)


def rated(number: int, score: float) -> scores.Rated:
    rating = 1 + number / 10
    return scores.Rated(
        f"c{number % 7}", "masked", (score,) * 5, (rating,) * 5, 1 - number / 40, number / 40, str(number)
    )


def test_the_mean_over_dimensions_and_the_lead_over_the_best_baseline_follow_from_the_correlations() -> None:
    good, flat = [rated(n, n) for n in range(30)], [rated(n, 3) for n in range(30)]
    table = lines(scores.table(good, "all"))
    assert table["mean",]["SRCC"] == table["preservation",]["SRCC"] == pytest.approx(1)
    assert table["harmony",]["SSIM in the region"] == pytest.approx(-1)
    assert math.isnan(float(str(lines(scores.table(flat, "all"))["harmony",]["SRCC"])))
    noise = np.random.default_rng(0).normal(size=(30, 5))
    backwards = -np.repeat(np.arange(30.0)[:, None], 5, axis=1)
    predicted = {"features, ridge": noise, "features, extra trees": backwards}
    told = lines(scores.baselines_table(good, "here", predicted))
    lead = told["harmony", "piqa less features, ridge"]
    assert lead["SRCC"] == pytest.approx(1 - float(str(told["harmony", "features, ridge"]["SRCC"])))


def test_a_pair_without_a_score_is_counted_for_no_method() -> None:
    some = [rated(n, n) if n % 2 else rated(n, float("nan")) for n in range(30)]
    table = scores.baselines_table(some, "here", {"features, ridge": np.ones((30, 5))})
    assert {row[2] for row in table.rows} == {15}


def test_feature_models_learn_what_the_features_tell_and_take_missing_ones_for_the_median() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, len(scores.FEATURES)))
    ratings = np.full((80, 5), np.nan)
    ratings[:, 0] = 3 + features[:, 0]
    features[3, 1:] = np.nan
    groups = [str(n // 2) for n in range(80)]
    (answer,) = scores.feature_predictions(features, ratings, groups, [features[:20]])
    assert list(answer)[-1] == "features, mean of ranks"
    for values in answer.values():
        assert np.corrcoef(values[:, 0], ratings[:20, 0])[0, 1] > 0.8
        assert np.isnan(values[:, 1]).all()


def test_every_family_is_left_out_once_and_the_training_line_names_them(tmp_path: Path) -> None:
    names = [family.name for family in FAMILIES]
    folds = leave_out.folds_of(names, 4)
    assert sorted(name for fold in folds for name in fold.families) == sorted(names)
    assert folds[1].families[0] == names[1]
    options = argparse.Namespace(
        data=tmp_path, out=tmp_path, run=tmp_path, ground_steps=7, score_steps=None, threads=None, seed=0
    )
    command = leave_out.training_command(folds[0], "ground", tmp_path, options)
    assert command[command.index("--leave-out") + 1] == ",".join(folds[0].families)
    assert command[command.index("--steps") + 1] == "7"
    assert "--resume" not in command
    (tmp_path / "run.json").write_text("{}")
    later = leave_out.training_command(folds[0], "score", tmp_path, options)
    assert "--resume" in later
    assert "--steps" not in later


def test_a_fold_that_was_trained_is_not_trained_again_and_one_of_other_families_is_refused(tmp_path: Path) -> None:
    fold = leave_out.Fold(0, (LIGHT, SMEAR))
    model = tmp_path / "fold0" / "model"
    model.mkdir(parents=True)
    (model / "run.json").write_text(json.dumps({"leave_out": [LIGHT, SMEAR]}))
    options = argparse.Namespace(out=tmp_path)
    assert leave_out.trained(fold, options) == model
    with pytest.raises(SystemExit, match="expected a run without smear"):
        leave_out.trained(leave_out.Fold(0, (SMEAR,)), options)


def test_a_family_left_out_is_compared_with_the_model_that_saw_it() -> None:
    folds = [leave_out.Fold(0, (LIGHT,)), leave_out.Fold(1, (SMEAR,))]
    sides = [[see(t, masked=masked) for t in LOCAL for masked in (True, False)] for see in (constant, perfect)]
    table, *others = leave_out.tables(folds, *sides)
    assert lines(table)["mean of families",]["difference"] == -1
    assert lines(table)[LIGHT,]["harmony, seen"] == pytest.approx(1)
    assert lines(table)[LIGHT,]["local_naturalness, seen"] is None
    assert len(others) == 3 + 2 + 2
    assert len(list(leave_out.tables(folds, sides[0], []))) == len(others)


def test_a_part_of_the_report_leaves_its_tables_or_the_reason_why_there_are_none() -> None:
    part = compact.Part("made_up", "Made up")
    table = common.Table("A title", ("a", "b"), (("x", 1.5), ("y", float("nan"))), "A note.")

    def program() -> None:
        common.publish([table], Path(sys.argv[sys.argv.index("--json") + 1]))
        sys.exit(1 if "--bad" in sys.argv else 0)

    def broken() -> None:
        raise OSError("no such thing")

    kept = sys.argv
    report = compact.run_part(part, ["--x"], program)
    assert sys.argv is kept
    assert report.error is None
    assert report.tables[0].markdown() == table.markdown()
    assert compact.run_part(part, ["--bad"], program).error == "gave up: 1"
    assert compact.run_part(part, ["--bad"], program).tables == report.tables
    assert compact.run_part(part, [], broken).error == "OSError: no such thing"


def test_the_report_holds_every_part_for_machines_and_for_readers() -> None:
    from fakes import FAKE_MODEL

    table = common.Table("A title", ("a",), ((1.5,),))
    reports = [
        compact.Report(compact.PARTS[0], ("--x",), (table,), 1.0),
        compact.Report(compact.PARTS[1], (), (), 2.0, "gave up: 1"),
    ]
    described = compact.as_json(FAKE_MODEL, reports)
    assert json.loads(json.dumps(described))["parts"]["grounding"]["tables"][0]["rows"] == [[1.5]]
    page = compact.as_markdown(described, reports)
    assert "### A title" in page
    assert "**gave up: 1**" in page
    assert "`python -m benchmarks.grounding --x`" in page


@pytest.mark.parametrize("part", compact.PARTS, ids=lambda part: part.name)
def test_every_part_is_a_program_of_the_folder(part: compact.Part) -> None:
    assert (Path(compact.__file__).parent / f"{part.name}.py").is_file()
    arguments = compact.arguments_of(part, Path("data"), "compact", dtype="bf16", quick=True, cache=Path("x.npz"))
    assert arguments[2:4] == ["--dtype", "bf16"]
    assert ("--data" in arguments) == part.data
    assert ("--cache" in arguments) == (part.name == "scores")
