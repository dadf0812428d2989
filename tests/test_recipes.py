"""docs/recipes.md is run as it stands: shell blocks with the stand-in model, Python, the lines of the examples."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from conftest import environment
from piqa_cli.cli.app import app

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")
EXAMPLES = ROOT / "docs" / "examples"
PIQA: Any = typer.main.get_command(app)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the recipes are for a POSIX shell")


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks under a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on the path")


@pytest.fixture(scope="module")
def place(make_batch: Callable[[int], Path], home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs/` (one of them not readable, one unedited), `results.jsonl` and a `piqa` to call."""
    folder = tmp_path_factory.mktemp("recipes")
    make_batch(4).rename(folder / "pairs")
    (folder / "pairs" / "edited" / "p1.png").write_bytes(b"junk")
    (folder / "pairs" / "edited" / "p3.png").write_bytes((folder / "pairs" / "source" / "p3.png").read_bytes())
    shim = folder / "bin" / "piqa"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m piqa_cli "$@"\n')
    shim.chmod(0o755)
    done = shell(folder, home, "piqa batch pairs/ --output results.jsonl --quiet")
    assert done.returncode == 6, done.stderr
    return folder


def shell(folder: Path, home: Path, text: str) -> subprocess.CompletedProcess[str]:
    env = environment(home, stand_in=True)
    env["PATH"] = f"{folder / 'bin'}{os.pathsep}{env['PATH']}"
    return subprocess.run(
        ["sh", "-c", text], cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False
    )


def test_jq_finds_the_lowest_the_failed_the_identical_and_all_boxes(place: Path, home: Path) -> None:
    needs("jq")
    _, worst, boxes = blocks("jq", "sh")
    lines = [shell(place, home, line) for line in (*worst.splitlines(), *boxes.splitlines())]
    assert [done.stderr for done in lines] == [""] * 4
    lowest, failed, identical, table = (done.stdout.splitlines() for done in lines)
    assert {line.split()[1] for line in lowest} == {"p0", "p2", "p3"}
    assert [float(line.split()[0]) for line in lowest] == sorted(float(line.split()[0]) for line in lowest)
    assert failed == ["1 E_NOT_AN_IMAGE"]
    assert identical == ["p3"]
    assert table == ['"p0",0,0,160,128,0.9', '"p2",0,0,160,128,0.9']


def test_xargs_runs_parts_beside_each_other_and_their_results_can_be_joined(place: Path, home: Path) -> None:
    needs("xargs", "split")
    (block,) = blocks("xargs", "sh")
    shell(place, home, block)
    records = [json.loads(line) for line in (place / "all.jsonl").read_text().splitlines()]
    assert [record["id"] for record in records] == ["p0", "p1", "p2", "p3"]
    assert {record["status"] for record in records} == {"ok", "error"}


def test_make_stops_at_a_bad_pair_and_at_a_gate_and_judges_only_what_changed(
    place: Path, home: Path, tmp_path: Path
) -> None:
    needs("make")
    pytest.importorskip("jinja2")
    shutil.copytree(place, tmp_path / "made", ignore=shutil.ignore_patterns("*.jsonl*"))
    shutil.copy(EXAMPLES / "Makefile", tmp_path / "made")
    (block,) = blocks("make", "sh")
    assert "Error 6" in shell(tmp_path / "made", home, block).stderr
    edited = tmp_path / "made" / "pairs" / "edited"
    for name in ("p1.png", "p3.png"):
        (edited / name).write_bytes((edited / "p0.png").read_bytes())
    assert "Error 10" in shell(tmp_path / "made", home, block).stderr
    done = shell(tmp_path / "made", home, f"{block.strip()} GATES='--fail-under overall=1'")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 pairs" not in done.stderr, "nothing had changed, and --quiet was asked for"
    assert (tmp_path / "made" / "report.html").is_file()


def test_pandas_reads_the_table_and_the_records(
    place: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed; nothing else here needs it")
    assert shell(place, home, "piqa batch pairs/ --output results.csv --quiet").returncode == 6
    monkeypatch.chdir(place)
    (block,) = blocks("Python and pandas", "python")
    exec(block, {})
    printed = capsys.readouterr().out
    assert "overall_spread" in printed
    assert "[0, 0, 160, 128]" in printed


def piqa_lines() -> list[tuple[str, list[str]]]:
    """Every `piqa ...` of the examples and of the page's YAML and Groovy, and where it stands."""
    texts = {
        path.name: path.read_text("utf-8").replace("$(GATES)", "--fail-under overall=3") for path in EXAMPLES.iterdir()
    }
    texts["recipes.md"] = "\n".join(blocks("GitHub Actions, GitLab, Jenkins", r"(?:yaml|groovy)"))
    lines = [
        (name, line)
        for name, text in texts.items()
        for line in re.findall(r"piqa ((?:batch|compare|report) [^'\n]+)", text)
    ]
    return [(name, line.replace("$(PAIRS)", "pairs").split()) for name, line in lines]


@pytest.mark.parametrize(("name", "words"), piqa_lines(), ids=lambda value: value if isinstance(value, str) else "")
def test_command_lines_of_the_examples_can_be_parsed(name: str, words: list[str]) -> None:
    command = PIQA.commands[words[0]]
    assert command.make_context(words[0], words[1:]).params


def test_the_examples_have_command_lines() -> None:
    names = {name for name, _ in piqa_lines()}
    assert names == {"github-workflow.yml", "pre-commit-config.yaml", "Makefile", "recipes.md"}


def test_the_workflow_keeps_what_the_run_writes() -> None:
    workflow = yaml.safe_load((EXAMPLES / "github-workflow.yml").read_text("utf-8"))
    steps = workflow["jobs"]["judge"]["steps"]
    (run,) = [step["run"] for step in steps if step.get("name") == "Judge"]
    (kept,) = [step["with"]["path"].split() for step in steps if "upload-artifact" in step.get("uses", "")]
    written = re.findall(r"--(?:output|junit|report|summary) (\S+)", run)
    assert len(written) == 4
    assert set(written) <= set(kept)


def test_the_pre_commit_hook_has_what_pre_commit_asks_of_a_local_one() -> None:
    (repository,) = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text("utf-8"))["repos"]
    (hook,) = repository["hooks"]
    assert repository["repo"] == "local"
    assert {"id", "name", "entry", "language", "files"} <= hook.keys()
    assert re.search(hook["files"], "edits/a.png")
    assert not re.search(hook["files"], "src/a.png")
