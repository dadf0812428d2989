"""Imported by Python itself when this folder is on PYTHONPATH: the `piqa` executable then judges with `FakeAssessor`.

That makes the tests of the command line fast and lets them have a model that is slow, absent or out of memory.
PIQA_STAND_IN says which: words with a value, as in "seconds=0.2,oom".
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any

USUAL = {"grounding": "auto", "trust_remote_code": False, "cross_check": False}


def open_assessor(
    model: str = "compact", *, device: str = "auto", dtype: str = "auto", offline: bool = False, **rest: Any
) -> Any:
    """In the place of `piqa_cli.models.open_assessor`; the record tells what it was asked for."""
    from fakes import FAKE_MODEL, FakeAssessor
    from piqa_cli.errors import DeviceError, ModelError

    wishes = dict(part.partition("=")[::2] for part in os.environ.get("PIQA_STAND_IN", "").split(",") if part)
    if model == "missing":
        raise ModelError("there is no model called 'missing'", hint="`piqa models list` shows what there is")
    if device == "cuda:7":
        raise DeviceError("the device 'cuda:7' is not there", hint="--device auto takes what there is")
    if "bug" in wishes:
        raise RuntimeError("a bug")
    special = "".join(f" {name}={value}" for name, value in rest.items() if value != USUAL.get(name))
    asked = f"{model} {device} {dtype} offline={offline}{special}"
    return FakeAssessor(
        seconds=float(wishes.get("seconds", 0)),
        out_of_memory_above=0 if "oom" in wishes else None,
        info=FAKE_MODEL.model_copy(update={"version": asked}),
    )


_models = types.ModuleType("piqa_cli.models")
_models.open_assessor = open_assessor  # type: ignore[attr-defined]
sys.modules["piqa_cli.models"] = _models
