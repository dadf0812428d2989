"""What a shell may complete where an option takes free text; choices are completed by Typer itself.

Called with what was typed so far, in a process that has loaded nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from piqa_cli.cli.gates import DIMENSIONS

Completer = Callable[[str], list[str]]
_CACHED = "models--"  # how the Hugging Face hub's cache names the folder of a model: models--OWNER--NAME


def one_of(*words: str) -> Completer:
    """Completes to one of the words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def models(incomplete: str) -> list[str]:
    """The package's own model, what begins the name of a served one, and hub models that are in the cache."""
    return one_of("compact", "openai:", *_cached())(incomplete)


gates = one_of(*(f"{name}=" for name in DIMENSIONS))
bounds = one_of(*(f"{name}=" for name in (*DIMENSIONS, "failures")))


def _cached() -> list[str]:
    """OWNER/NAME of the models in the hub's cache, which may not be there."""
    home = os.environ.get("HF_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "huggingface")
    try:
        names = os.listdir(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub"))
    except OSError:
        return []
    return sorted(name.removeprefix(_CACHED).replace("--", "/") for name in names if name.startswith(_CACHED))
