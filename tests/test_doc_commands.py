"""Every shell block of the pages is run as it stands, in a folder with the files that it names, and offline.

What runs is bash with the page's own lines. `piqa` on its path is a small program that has the work done by a process
in which the libraries are imported already (`warm`); a few other programs are stood in for (`doc_sandbox.STAND_INS`).
A command that cannot succeed here stands in `ENDS` with its exit status and the reason. New pages and blocks are picked
up by themselves.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import doc_sandbox
import warm
from doc_pages import PAGES, ROOT, fenced, steps

# (words of the command, exit statuses that are right here, why). The first row that fits counts.
ENDS: tuple[tuple[str, frozenset[int], str], ...] = (
    ("--device cuda", frozenset({2, 5}), "no GPU and no bitsandbytes is promised to be here"),
    ("Qwen/Qwen3-VL-8B-Instruct", frozenset({4}), "a model of the hub; there is no network"),
    ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", frozenset({4}), "a model of the hub; there is no network"),
    ("openai:my-model", frozenset({4}), "no server listens at that port; tests/test_lmm_served.py has one"),
    ("doctor --model ./my-model", frozenset({1}), "a model with random weights fails, as it must"),
    ("train compact --photos", frozenset({3}), "data/train_pairs and the teachers are in no package"),
    ("--fail-under", frozenset({0, 10}), "the gate is the page's, the verdict the model's"),
    ("--ray-address 10.0.0.1", frozenset({5}), "no cluster is at that address"),
    ("https://example.org", frozenset({3}), "there is no network"),
    ("s3://bucket", frozenset({3}), "no driver for it is among the extras"),
    ("--root /mnt/pictures", frozenset({2}), "a folder of another machine"),
)
# (words of the command, words put behind it, why): the same command with less to do.
LESS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("synth look", ("--count", "2", "--size", "96"), "sixty pictures take half a minute"),
    (
        "train lmm --base ./my-model",
        ("--steps", "1", "--batch-size", "2", "--validation-pairs", "2"),
        "thousands of steps",
    ),
    ("evaluate", ("--resamples", "20"), "intervals from 1,000 resamples"),
)
# Lines that are left out, by words in them, and why.
LEFT_OUT: tuple[tuple[str, str], ...] = (("source_zsh", "is for another shell than bash"),)
# Programs that call `piqa` and end with a status of their own where it ends with another than 0.
CALLERS = ("make",)
# What a block is skipped without: programs and libraries that are no part of the project and its extras.
NOT_OURS = ("jq", "make", "pandas")
# (page, how the block begins, why it is compiled and not run)
SHAPES: tuple[tuple[str, str, str], ...] = (
    ("docs/architecture.md", "class Assessor(Protocol):", "an outline of a class that is in the code"),
)


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    page: str
    number: int
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """The words of every `piqa` in it."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines for words in steps(line)]


def all_blocks(*languages: str) -> list[Block]:
    pages = {**PAGES, "CONTRIBUTING.md": (ROOT / "CONTRIBUTING.md").read_text("utf-8")}
    return [
        Block(page, number, text)
        for page, whole in pages.items()
        for number, (language, text) in enumerate(fenced(whole))
        if language in languages
    ]


BLOCKS = all_blocks("sh", "bash", "shell", "console")
PYTHON = all_blocks("python", "py")
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the blocks are for a POSIX shell")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "template"
    folder.mkdir()
    doc_sandbox.build(folder)
    return folder


@pytest.fixture
def door(tmp_path: Path) -> Iterator[warm.Door]:
    with warm.Door(tmp_path, lambda arguments: [*arguments, *less(arguments)]) as opened:
        yield opened


def files_before(block: Block) -> Iterator[tuple[str, str]]:
    """Files that the page shows before the block, which is how a reader comes to have them: name, text."""
    names = {"makefile": "Makefile", "make": "Makefile"}
    for language, text in fenced(PAGES.get(block.page, ""))[: block.number]:
        if language in names:
            yield names[language], text


def less(arguments: list[str]) -> tuple[str, ...]:
    joined = shlex.join(arguments)
    return next((more for words, more, _ in LESS if words in joined), ())


def statuses(arguments: list[str]) -> frozenset[int]:
    joined = shlex.join(arguments)
    return next((right for words, right, _ in ENDS if words in joined), frozenset({0}))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}-{block.number}")
def test_a_block_runs_as_it_stands(block: Block, template: Path, door: warm.Door, tmp_path: Path) -> None:
    for name in NOT_OURS:
        if re.search(rf"^\s*{name}\b|[|] *{name}\b", block.text, flags=re.MULTILINE) and shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    folder = tmp_path / "here"
    shutil.copytree(template, folder, symlinks=True)
    for name, text in files_before(block):
        (folder / name).write_text(text, "utf-8")
    doc_sandbox.put_programs(folder, door)
    doc_sandbox.remove_outputs(folder, [words for words in block.commands if 0 in statuses(words)])
    script = "".join(line for line in block.text.splitlines(True) if not any(words in line for words, _ in LEFT_OUT))
    failed = tmp_path / "failed"
    # Told of every command that fails; none ends the script.
    trap = f'trap \'printf "%s %s\\n" $? "$BASH_COMMAND" >> {shlex.quote(str(failed))}\' ERR\n'
    (tmp_path / "script").write_text(f"set -E -o pipefail\n{trap}{script}", "utf-8")
    done = subprocess.run(
        ["bash", str(tmp_path / "script")],
        cwd=folder, env=doc_sandbox.environment(folder), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    for arguments, status in door.log:
        assert status in statuses(arguments), f"piqa {shlex.join(arguments)} ended with {status}\n{done.stderr}"
    wrong = {str(status) for _, status in door.log}
    others = [line.partition(" ") for line in failed.read_text("utf-8").splitlines()] if failed.exists() else []
    called = CALLERS if wrong - {"0"} else ()
    others = [line for line in others if line[0] not in wrong and not line[2].startswith(called)]
    assert others == [], done.stderr
    assert len(door.log) >= len(block.commands), f"not all commands were reached\n{done.stderr}"


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}-{block.number}")
def test_a_block_of_python_runs_as_it_stands(
    block: Block, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = compile(block.text, f"{block.page}, block {block.number}", "exec")
    if any(block.page == page and block.text.startswith(begin) for page, begin, _ in SHAPES):
        return
    folder = tmp_path / "here"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    for name in NOT_OURS:
        if re.search(rf"^import {name}\b", block.text, flags=re.MULTILINE):
            pytest.importorskip(name)
    exec(code, {"__name__": "__main__"})  # the page's own lines, as a reader would run them


def test_the_blocks_of_the_pages_are_found() -> None:
    assert {"README.md", "docs/cli.md", "docs/training.md"} <= {block.page for block in BLOCKS}
    assert sum(len(block.commands) for block in BLOCKS) >= 40


@pytest.mark.parametrize("words", [row[0] for row in (*ENDS, *LESS)])
def test_every_exception_is_still_needed(words: str) -> None:
    assert any(words in block.text for block in BLOCKS)


@pytest.mark.parametrize(("page", "begin"), [row[:2] for row in SHAPES])
def test_every_outline_is_still_there(page: str, begin: str) -> None:
    assert any(block.page == page and block.text.startswith(begin) for block in PYTHON)
