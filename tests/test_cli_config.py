"""Where settings come from, and what their values may be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from conftest import Pictures, RunPiqa
from piqa_cli.cli import config
from piqa_cli.cli.config import KEYS, Settings, resolve
from piqa_cli.cli.gates import ErrorAllowance, Gate, parse_allowance, parse_gate
from piqa_cli.errors import UsageError
from piqa_cli.lmm import settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository to work in, and an empty user configuration beside it."""
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


def write_user_config(project: Path, text: str) -> None:
    folder = project.parent / "config" / "piqa"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)


def test_a_setting_that_nobody_gives_has_its_default(project: Path) -> None:
    assert resolve({}, {}) == Settings()


def test_flag_beats_variable_beats_project_beats_user(project: Path) -> None:
    write_user_config(project, "workers = 1\nseed = 1\nframe = 1\ndevice = 'mps'\n")
    (project / "piqa.toml").write_text("workers = 2\nseed = 2\nframe = 2\n")
    found = resolve({"workers": 4, "seed": None}, {"PIQA_WORKERS": "3", "PIQA_SEED": "3"})
    assert (found.workers, found.seed, found.frame, found.device) == (4, 3, 2, "mps")


def test_the_project_file_is_found_above_the_current_folder_but_not_above_the_repository(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "piqa.toml").write_text("seed = 7\n")
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert resolve({}, {}).seed == 0
    (project / "piqa.toml").write_text("seed = 5\n")
    assert resolve({}, {}).seed == 5


def test_keys_may_be_written_with_dashes(project: Path) -> None:
    (project / "piqa.toml").write_text("batch-size = 3\nfail-under = ['overall=2', 'harmony=3']\nmax-errors = '5%'\n")
    found = resolve({}, {})
    assert found.batch_size == 3
    assert found.fail_under == (Gate("overall", "overall", 2.0), Gate("harmony", "harmony", 3.0))
    assert found.max_errors == ErrorAllowance(percent=5.0)


def test_an_unknown_key_is_refused_with_the_nearest_valid_one(project: Path) -> None:
    (project / "piqa.toml").write_text("modle = 'compact'\n")
    with pytest.raises(UsageError, match=r"piqa.toml: unknown key 'modle'; the nearest valid key is 'model'"):
        resolve({}, {})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PIQA_WORKERS", "many"),
        ("PIQA_WORKERS", "0"),
        ("PIQA_DEVICE", "gpu"),
        ("PIQA_DTYPE", "fp8"),
        ("PIQA_OFFLINE", "perhaps"),
        ("PIQA_FORMAT", "xml"),
        ("PIQA_FAIL_UNDER", "beauty=3"),
        ("PIQA_MAX_ERRORS", "-1"),
    ],
)
def test_a_bad_variable_is_named(project: Path, variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        resolve({}, {variable: value})


def test_an_empty_variable_counts_as_not_set(project: Path) -> None:
    (project / "piqa.toml").write_text("workers = 3\nexplain = false\n")
    found = resolve({}, {"PIQA_WORKERS": "", "PIQA_MODEL": "", "PIQA_FAIL_UNDER": "", "PIQA_EXPLAIN": ""})
    assert (found.workers, found.model, found.fail_under, found.explain) == (3, "compact", (), False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the folder that a program is in")
def test_a_folder_that_was_removed_has_no_project(project: Path) -> None:
    gone = project / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert resolve({}, {}).model == "compact"


@pytest.mark.parametrize(
    "text",
    [
        "seed = ",
        "seed = 'x'",
        "seed = true",
        "[batch]\nseed = 1",
        "\xff",
        "seed = " + "[" * 3000,
        "seed = " + "9" * 5000,  # more digits than Python reads,
        "seed = 0x" + "f" * 5000,  # or writes
        "explain-below = 1" + "0" * 400,  # than a float holds
        "workers = 0xffffffff",
        "batch-size = 0xffffffff",
        "model = '" + "x" * 20_000 + "'",
        "a." * 100_000 + "a = 1",  # would take minutes
    ],
    ids=lambda text: text[:20],
)
def test_a_bad_file_is_named(project: Path, text: str) -> None:
    (project / "piqa.toml").write_text(text, "latin-1")
    with pytest.raises(UsageError, match=r"piqa\.toml"):
        resolve({}, {})


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:3"])
def test_devices_are_accepted_as_they_are_written(project: Path, device: str) -> None:
    assert resolve({"device": device}, {}).device == device


def test_true_and_false_have_the_usual_words(project: Path) -> None:
    assert resolve({}, {"PIQA_OFFLINE": "Yes", "PIQA_EXPLAIN": "0"}).offline
    assert not resolve({}, {"PIQA_EXPLAIN": "0"}).explain


def test_every_setting_has_a_key() -> None:
    assert set(KEYS) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("overall=3", "overall"),
        ("completion=3", "prompt_completion"),
        ("naturalness=3", "local_naturalness"),
        ("Local-Naturalness=3", "local_naturalness"),
        ("prompt_completion=3", "prompt_completion"),
    ],
)
def test_gates_take_short_and_full_names(text: str, dimension: str) -> None:
    gate = parse_gate(text)
    assert (gate.dimension, gate.minimum) == (dimension, 3.0)


@pytest.mark.parametrize(
    "text", ["overall", "overall=", "overall=x", "overall=nan", "overall=inf", "=3", "beauty=3", ""]
)
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--fail-under"):
        parse_gate(text)


def test_error_allowances_are_counts_or_percentages() -> None:
    assert parse_allowance("2").tolerates(2, 10)
    assert not parse_allowance("2").tolerates(3, 10)
    assert parse_allowance("20%").tolerates(2, 10)
    assert not parse_allowance("20%").tolerates(3, 10)
    assert parse_allowance("0").tolerates(0, 0)


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "-1%", "1.5", "%", "nan%"])
def test_what_is_no_allowance_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-errors"):
        parse_allowance(text)


def test_the_executable_obeys_the_order(quick_piqa: RunPiqa, files: Pictures, project: Path) -> None:
    (project / "piqa.toml").write_text("model = 'from-file'\ndevice = 'cpu'\nformat = 'csv'\n")
    done = quick_piqa(
        *("--device", "mps", "--dtype", "fp16", "assess", files.source, files.edited, "--dtype", "bf16", "--offline"),
        env={"PIQA_MODEL": "from-variable"},
        cwd=project,
    )
    assert done.status == 0, done.err
    assert b"from-variable mps bf16 offline=True" in done.out
    assert done.out.count(b"\n") == 2, "format = 'csv' gives a header and a row"


def test_a_bad_key_in_the_project_ends_the_executable_with_2(
    quick_piqa: RunPiqa, files: Pictures, project: Path
) -> None:
    (project / "piqa.toml").write_text("fail_unter = 'overall=3'\n")
    done = quick_piqa("assess", files.source, files.edited, cwd=project)
    assert done.status == 2
    assert "'fail-under'" in done.err
    assert done.out == b""


def test_the_command_line_and_the_model_mean_the_same_by_a_served_model() -> None:
    assert config.SERVED == settings.SERVED


@pytest.mark.parametrize("text", ["model = 'openai:spy'", "base-url = 'http://a.b/v1'", "trust-remote-code = true"])
def test_what_would_run_code_or_send_pictures_away_cannot_be_set_for_a_project(project: Path, text: str) -> None:
    (project / "piqa.toml").write_text(text)
    with pytest.raises(UsageError, match="cannot be set for a project"):
        resolve({}, {})
    (project / "piqa.toml").unlink()
    write_user_config(project, text)
    resolve({}, {})


def test_a_base_url_outside_the_command_line_is_for_served_models_only(project: Path) -> None:
    write_user_config(project, "base-url = 'http://127.0.0.1:8000/v1'")
    assert resolve({}, {}).base_url is None
    assert resolve({"model": "openai:x"}, {}).base_url == "http://127.0.0.1:8000/v1"
    assert resolve({"base_url": "http://127.0.0.1:1/v1"}, {}).base_url == "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    "option", ["quantize = 'none'", "grounding = 'mine'", "explain-below = 6", "cross-check = 'x'"]
)
def test_a_value_that_no_model_could_use_is_refused_where_it_stands(project: Path, option: str) -> None:
    (project / "piqa.toml").write_text(option)
    with pytest.raises(UsageError, match=option.partition(" ")[0]):
        resolve({}, {})
