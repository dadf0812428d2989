"""Judge partial-AIGC images: where a photo was edited, how good the edit is, and why.

```python
from piqa_cli import assess

result = assess("source.jpg", "edited.png", prompt="remove the dog")
print(result.scores.overall.value, result.explanation)
```

Importing this package imports nothing heavy; the names below load what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from piqa_cli.api import assess, assess_pairs
    from piqa_cli.assessor import Assessor
    from piqa_cli.errors import DeviceError, InputError, ModelError, OutputError, PiqaError, ReplyError, UsageError
    from piqa_cli.images import ImagePolicy
    from piqa_cli.models import open_assessor
    from piqa_cli.schema import (
        Assessment,
        CrossCheck,
        Dimension,
        Failure,
        Fault,
        Finding,
        Heat,
        Outcome,
        Pair,
        Region,
        Reliability,
        Score,
        Scores,
    )
    from piqa_cli.writers import read_results

__version__ = "0.1.0"

__all__ = [
    "Assessment",
    "Assessor",
    "CrossCheck",
    "DeviceError",
    "Dimension",
    "Failure",
    "Fault",
    "Finding",
    "Heat",
    "ImagePolicy",
    "InputError",
    "ModelError",
    "Outcome",
    "OutputError",
    "Pair",
    "PiqaError",
    "Region",
    "Reliability",
    "ReplyError",
    "Score",
    "Scores",
    "UsageError",
    "__version__",
    "assess",
    "assess_pairs",
    "open_assessor",
    "read_results",
]

_HOME = {
    "api": ("assess", "assess_pairs"),
    "assessor": ("Assessor",),
    "errors": ("DeviceError", "InputError", "ModelError", "OutputError", "PiqaError", "ReplyError", "UsageError"),
    "images": ("ImagePolicy",),
    "models": ("open_assessor",),
    "schema": (
        "Assessment",
        "CrossCheck",
        "Dimension",
        "Failure",
        "Fault",
        "Finding",
        "Heat",
        "Outcome",
        "Pair",
        "Region",
        "Reliability",
        "Score",
        "Scores",
    ),
    "writers": ("read_results",),
}


if not TYPE_CHECKING:  # or a type checker would take any name for a public one

    def __getattr__(name: str) -> object:
        """Loads a public name from the module it lives in."""
        for module, names in _HOME.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
