"""What several test files use: pictures drawn here, and the real `piqa` executable as a subprocess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

TESTS = Path(__file__).parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the tests' own processes share the processors
COMMAND = (sys.executable, "-m", "piqa_cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@dataclass(frozen=True)
class Finished:
    """What a run of `piqa` left: its exit status and both streams."""

    status: int
    out: bytes
    err: str

    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)

    def rows(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class RunPiqa(Protocol):
    """Runs `piqa` with these arguments to its end."""

    def __call__(
        self,
        *arguments: str | bytes | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Finished: ...


def environment(home: Path, stand_in: bool, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process's own environment without anything that configures piqa or a terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIQA_", "XDG_"))}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        kept.pop(name, None)
    kept |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "OMP_NUM_THREADS": "1"}
    if stand_in:
        paths = [str(TESTS / "stand_in"), str(TESTS), kept.get("PYTHONPATH", "")]
        kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return kept | dict(extra or {})


def _imports_matter(env: Mapping[str, str] | None) -> bool:
    """Whether these variables are read while Python starts or a library is imported (see `warm`)."""
    return any(name.startswith(("PYTHON", "LC_", "HF_")) and name != "HF_HUB_OFFLINE" for name in env or {})


def _runner(home: Path, stand_in: bool) -> RunPiqa:
    def run(
        *arguments: str | bytes | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Finished:
        variables = environment(home, stand_in, env)
        if hasattr(os, "fork") and not _imports_matter(env):
            import warm

            words = [os.fsdecode(word) for word in arguments]
            status, out, err = warm.capture(words, folder=cwd or home, env=variables, stdin=stdin, stand_in=stand_in)
            return Finished(status, out, err.decode())
        done = subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            env=variables,
            cwd=cwd or home,
            capture_output=True,
            timeout=100,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr.decode())

    return run


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home folder, without configuration and outside any repository."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".git").mkdir()  # no piqa.toml above counts
    return folder


@pytest.fixture(scope="session")
def warmed() -> None:
    """For tests that start processes by `multiprocessing`: they come from the one that has everything imported."""
    if hasattr(os, "fork"):
        import warm

        warm.context()


@pytest.fixture(scope="session")
def piqa(home: Path) -> RunPiqa:
    """The real executable with the real models."""
    return _runner(home, stand_in=False)


@pytest.fixture(scope="session")
def quick_piqa(home: Path) -> RunPiqa:
    """The real executable with the stand-in model of `tests/stand_in`."""
    return _runner(home, stand_in=True)


@dataclass(frozen=True)
class Pictures:
    """Files of a pair, 160 x 128 pixels: a scene, the scene with a repainted disc, and the disc's mask."""

    source: Path
    edited: Path
    mask: Path


def draw_scene(seed: int = 0, height: int = 128, width: int = 160) -> NDArray[np.uint8]:
    """A smooth scene with a few objects and grain, height x width x 3."""
    random = np.random.default_rng(seed)
    coarse = random.integers(60, 200, (4, 5, 3)).astype(np.float32)
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
        colour = [float(value) for value in random.integers(0, 255, 3)]
        cv2.circle(scene, (x, y), int(random.integers(4, 20)), colour, -1, cv2.LINE_AA)
    return np.asarray(np.clip(scene + random.normal(0, 4, scene.shape), 0, 255), np.uint8)


def draw_disc(height: int = 128, width: int = 160) -> NDArray[np.bool_]:
    """The edited region."""
    rows, columns = np.mgrid[:height, :width]
    return np.asarray((rows - 50) ** 2 + (columns - 100) ** 2 < 24**2, np.bool_)


def save_pair(folder: Path, seed: int = 0, name: str = "") -> Pictures:
    """Draws a pair into a folder."""
    scene, disc = draw_scene(seed), draw_disc()
    edited = scene.copy()
    edited[disc] = draw_scene(seed + 1000)[disc] // 2 + 90
    files = Pictures(*(folder / f"{name}{role}.png" for role in ("source", "edited", "mask")))
    Image.fromarray(scene).save(files.source)
    Image.fromarray(edited).save(files.edited)
    Image.fromarray(disc.astype(np.uint8) * 255).save(files.mask)
    return files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """One pair."""
    return save_pair(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def make_batch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A folder with source/ and edited/ of so many pairs `p0`, `p1` ..."""

    def make(count: int) -> Path:
        folder = tmp_path_factory.mktemp(f"batch{count}_")
        for role in ("source", "edited"):
            (folder / role).mkdir()
        for number in range(count):
            files = save_pair(folder, number, "x_")
            files.source.rename(folder / "source" / f"p{number}.png")
            files.edited.rename(folder / "edited" / f"p{number}.png")
            files.mask.unlink()
        return folder

    return make
