"""A search for cases that break a reader, guided by which code they reach. Needs `pip install 'piqa-cli[fuzz]'`.

    python -m fuzz.run --target csv --seconds 60 [--corpus FOLDER]

It goes on until the time is over or a fault is found; the case is then kept in the current folder, as `crash-...`,
`timeout-...` or `oom-...`, and `python -m fuzz.run --target csv --case FILE` runs it again. What it has learned stays
in the corpus folder, if one is given.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

from fuzz.worker import CASE_SECONDS

_MOST_MEGABYTES = 4096
_MOST_BYTES = 1 << 16


def main(arguments: list[str] | None = None) -> None:
    """Searches; ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, help="a name of fuzz.targets")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="a folder for what reached new code")
    parser.add_argument("--case", type=Path, help="only run this file")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None and options.case is None:
        sys.exit("the search needs atheris: pip install 'piqa-cli[fuzz]' (Linux)")
    if options.case is not None:
        from fuzz.targets import BY_NAME

        print("accepted" if BY_NAME[options.target].run(options.case.read_bytes()) else "refused")
        return
    _search(options.target, options.seconds, options.corpus)


def _search(name: str, seconds: int, corpus: Path | None) -> None:
    import atheris

    with atheris.instrument_imports(include=["piqa_cli"], enable_loader_override=False):
        from fuzz.targets import BY_NAME  # imports the readers
    if name not in BY_NAME:
        sys.exit(f"there is no target {name!r}: one of {', '.join(BY_NAME)}")
    target = BY_NAME[name]
    folder = Path(tempfile.mkdtemp(prefix="piqa-fuzz-"))  # stays: the search ends the process in its own way
    seeds, words = folder / "seeds", folder / "words"
    seeds.mkdir()
    for number, seed in enumerate(target.seeds()):
        (seeds / str(number)).write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words if len(word) <= 64), "ascii")
    folders = [str(seeds)] if corpus is None else [str(corpus), str(seeds)]
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-timeout={CASE_SECONDS:.0f}", f"-rss_limit_mb={_MOST_MEGABYTES}",
              f"-max_len={_MOST_BYTES}", f"-dict={words}"]  # fmt: skip
    atheris.Setup([sys.argv[0], *limits, *folders], target.run)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
