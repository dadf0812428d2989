"""What the README and the other pages promise exists: the two commands, programs, files, exit codes."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from piqa_cli import errors

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BENCHMARKS = sorted(set(re.findall(r"python -m (benchmarks\.\w+)", README)))


def commands(text: str) -> list[str]:
    """The lines of all shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def only(part: str) -> str:
    """The README's one command line that contains `part`."""
    (line,) = [line for line in commands(README) if part in line]
    return line


def test_the_first_command_installs_and_assesses_files_that_are_there() -> None:
    line = only("piqa assess src/")
    assert "pip install -c constraints.txt . " in line
    words = shlex.split(line)
    for word in words[words.index("assess") + 1 :][:2]:
        assert (ROOT / word).is_file(), word


def test_ci_and_the_contributors_page_use_the_second_command_word_for_word() -> None:
    line = only("-e '.[dev]'")
    assert line in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert line in commands((ROOT / "CONTRIBUTING.md").read_text("utf-8"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
@pytest.mark.parametrize("path", [".ci/run", "scripts/check"])
def test_scripts_can_be_executed(path: str) -> None:
    assert os.access(ROOT / path, os.X_OK)


def test_the_check_script_runs_format_lint_types_and_tests() -> None:
    text = (ROOT / "scripts" / "check").read_text("utf-8")
    for step in ("ruff format --check", "ruff check", "mypy", "pytest"):
        assert f"-m {step}" in text


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "src/piqa_cli/examples/README.md"])
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_readme_names_the_programs_that_print_its_figures() -> None:
    assert {
        "benchmarks.grounding",
        "benchmarks.scores",
        "benchmarks.consistency",
        "benchmarks.speed",
        "benchmarks.memory",
    } <= set(BENCHMARKS)


def test_the_exit_codes_of_the_errors_are_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    raised = {
        cls.exit_status for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.PiqaError)
    }
    assert raised | {0, 6, 10, 130} == documented


def test_every_dependency_is_pinned_to_a_version_without_a_place() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    for line in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.match(r"[\w-]+", requirement).group().lower() for requirement in wanted}  # type: ignore[union-attr]
    assert names - {"piqa-cli"} <= pinned
