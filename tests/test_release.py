"""What is released: a wheel and an sdist that hold what they must, agree on the version, and work once installed.

The wheel is tried as `pip install --no-deps --target` leaves it, with the libraries of this environment and in one
process. That leaves out what pip makes of the dependencies' bounds, and the script `piqa` itself; who releases tries
both in an empty environment, as CONTRIBUTING.md says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import piqa_cli
from piqa_cli.models import MODELS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "piqa_cli"
MEGABYTES = 16  # of the wheel; the weights are 9 of them


def build(source: Path, out: Path, kind: str) -> Path:
    """A wheel or sdist of a source tree."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        return opened.namelist()


def metadata(wheel: Path) -> Message:
    (name,) = [name for name in names(wheel) if name.endswith(".dist-info/METADATA")]
    with zipfile.ZipFile(wheel) as opened:
        return Parser().parsestr(opened.read(name).decode())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    held = {name for name in names(wheel) if ".dist-info/" not in name}
    pages = {name for name in held if re.fullmatch(r"piqa_cli-[^/]+\.data/data/share/man/man1/piqa[a-z-]*\.1", name)}
    assert len(pages) == len(list((ROOT / "docs" / "man").iterdir()))
    held -= pages
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert held == {path.relative_to(PACKAGE.parent).as_posix() for path in files}
    for wanted in (
        "py.typed",
        "compact/weights/model.safetensors",
        "compact/weights/README.md",
        "examples/source.jpg",
        "report/page/page.js",
        "synthesis/weights/painter.safetensors",
    ):
        assert f"piqa_cli/{wanted}" in held
    assert wheel.stat().st_size < MEGABYTES * 1_000_000


def test_the_wheel_has_the_command_and_the_licence(wheel: Path) -> None:
    (info,) = {name.partition("/")[0] for name in names(wheel) if ".dist-info/" in name}
    with zipfile.ZipFile(wheel) as opened:
        assert "piqa = piqa_cli.cli:main" in opened.read(f"{info}/entry_points.txt").decode()
        assert opened.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"
    assert metadata(wheel)["Requires-Python"] == ">=3.11"


def test_the_sdist_builds_the_same_wheel_to_the_byte(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    for wanted in ("tests/conftest.py", "constraints.txt", "CITATION.cff", "docs/pictures/report.jpg", ".ci/run"):
        assert (source / wanted).is_file(), wanted
    assert not list(source.rglob("runs")), "what training left behind"
    again = build(source, tmp_path / "again", "wheel")
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())


def test_the_version_stands_in_one_place_and_all_that_tell_it_agree(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert ROOT / project["tool"]["hatch"]["version"]["path"] == PACKAGE / "__init__.py"
    assert metadata(wheel)["Version"] == piqa_cli.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == piqa_cli.__version__


def test_the_licence_of_the_weights_is_stated_beside_them_in_the_registry_and_in_the_model_card() -> None:
    for folder in (PACKAGE / "compact" / "weights", PACKAGE / "synthesis" / "weights"):
        assert "**Licence: Apache-2.0**" in (folder / "README.md").read_text("utf-8")
    assert MODELS["compact"].licence == "Apache-2.0"
    assert "| licence of the weights | Apache-2.0" in (ROOT / "docs" / "model-card.md").read_text("utf-8")


def test_the_citation_has_what_its_format_asks_for() -> None:
    """The required keys and forms of Citation File Format 1.2.0, as far as this file uses them."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert (cited["type"], cited["license"]) == ("software", "Apache-2.0")
    assert all(cited[key] for key in ("message", "title", "authors"))
    paper = cited["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)
    assert all(set(author) == {"family-names", "given-names"} for author in paper["authors"])
    assert paper["authors"][0]["family-names"] == "Qian"
    (identifier,) = paper["identifiers"]
    assert re.fullmatch(r"10\.\d+/arXiv\.2504\.09291", identifier["value"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_installed_wheel_does_what_a_user_does_first(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, timeout=100)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIQA_", "PYTHON"))}
    env = kept | {"PYTHONPATH": str(target), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", str(ROOT / "scripts" / "smoke.py"), "--within"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 8
