"""Makes the pictures of the README again, from the package's own example: the overlay, and the report in a browser.

    python -m scripts.make_pictures

Needs a Chromium or Chrome on the path and the extra `report`. Writes docs/pictures/overlay.jpg and report.jpg.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "src" / "piqa_cli" / "examples"
WIDTH, QUALITY = 1200, 88


def piqa(*arguments: str) -> None:
    """Runs this tree's command."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-m", "piqa_cli", *arguments], cwd=EXAMPLES, env=env, check=True)


def save(picture: Image.Image, path: Path) -> None:
    """At most WIDTH wide, as a small JPEG."""
    small = picture.convert("RGB")
    if small.width > WIDTH:
        small = small.resize((WIDTH, round(small.height * WIDTH / small.width)), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    small.save(path, quality=QUALITY, optimize=True, progressive=True)
    print(f"{path.relative_to(ROOT)}: {small.width} x {small.height}, {path.stat().st_size / 1000:.0f} kB")


def photograph(page: Path, profile: Path) -> Image.Image:
    """The first pair of a report, opened, as a browser shows it."""
    sys.path.insert(0, str(ROOT / "tests"))  # has the browser that the tests of the page use
    from chromium import Chromium

    with Chromium(profile) as browser:
        browser.look(width=1280, height=800)
        browser.open(page, "#pair-1")
        browser.until("[...document.images].every(image => image.complete)")
        browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return Image.open(io.BytesIO(browser.screenshot()))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures", help="folder (default: docs/pictures)")
    out = parser.parse_args().out.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        overlay, results, page = (str(Path(scratch, name)) for name in ("overlay.png", "one.jsonl", "report.html"))
        pair = ("source.jpg", "edited.jpg", "--prompt", "Remove the spoon")
        piqa("assess", *pair, "--overlay", overlay, "--output", results)
        piqa("report", results, "--output", page)
        save(Image.open(overlay), out / "overlay.jpg")
        save(photograph(Path(page), Path(scratch, "profile")), out / "report.jpg")


if __name__ == "__main__":
    main()
