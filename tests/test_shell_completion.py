"""What a shell completes: commands, options, their values; and the scripts that set it up."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import RunPiqa
from piqa_cli.cli import completion


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("piqa comp", {"compare"}),
        ("piqa batch --format ", {"table", "json", "jsonl", "csv", "parquet"}),
        ("piqa batch --model c", {"compact"}),
        ("piqa assess a b --fail-under pres", {"preservation="}),
    ],
)
def test_commands_options_and_values_are_completed(quick_piqa: RunPiqa, line: str, found: set[str]) -> None:
    words = line.split(" ")
    done = quick_piqa(env={"_PIQA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)})
    assert (done.status, done.err) == (0, "")
    assert set(done.out.decode().split()) == found


def test_a_free_text_option_without_a_match_leaves_it_to_the_shell_to_complete_files() -> None:
    assert completion.models("./my") == []
    assert completion.bounds("f") == ["failures="]


def test_models_of_the_hub_that_are_in_the_cache_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models--owner--large", "datasets--owner--x", "version.txt"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert completion.models("ow") == ["owner/large"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    assert completion.models("") == ["compact", "openai:"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_documented_line_prints_a_script_that_the_shell_takes(quick_piqa: RunPiqa, shell: str) -> None:
    done = quick_piqa(env={"_PIQA_COMPLETE": f"source_{shell}"})
    assert done.status == 0
    assert f"_PIQA_COMPLETE=complete_{shell}" in done.out.decode()
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not on the path, so its syntax was not checked")
    subprocess.run([program, "-n", "/dev/stdin"], input=done.out, timeout=60, check=True)
