"""The man pages are those of the commands as they are, can be rendered, and go into the wheel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "man"
PAGES = sorted(FOLDER.glob("*.1"))


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_man", ROOT / "scripts" / "make_man.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_current(maker: ModuleType) -> None:
    made = maker.pages()
    there = {path.name: path.read_text("utf-8") for path in PAGES}
    stale = [name for name in made.keys() | there.keys() if made.get(name) != there.get(name)]
    assert not stale, "run python scripts/make_man.py"


def test_text_that_roff_would_take_for_a_request_is_escaped(maker: ModuleType) -> None:
    assert maker.escaped(".SH a-b\\c é") == "\\&.SH a\\-b\\ec \\[u00E9]"


def test_every_option_of_batch_is_on_its_page() -> None:
    text = (FOLDER / "piqa-batch.1").read_text("utf-8").replace("\\-", "-")
    for name in ("--junit", "--overlay-dir", "--fail-under", "--resume", "--no-retry-failed", "INPUT", "--model"):
        assert name in text
    assert '.SH "EXIT STATUS"\n.TP\n.B 0\n' in text


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not on the path")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_renders_without_a_warning(page: Path) -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    plain = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert "NAME" in plain
    assert "EXIT STATUS" in plain


def test_the_wheel_carries_the_pages_to_where_man_looks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"] == {"docs/man": "share/man/man1"}
