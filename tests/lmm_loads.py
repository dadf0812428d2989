"""Loading as the tests of image-text-to-text models do it: on the processor, without the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from piqa_cli.errors import ModelError
from piqa_cli.lmm.loading import Vlm, load_vlm
from piqa_cli.lmm.settings import LmmSettings


def load(model: Path | str, **more: Any) -> Vlm:
    return load_vlm(LmmSettings(str(model), device="cpu", offline=True, **more))


def refusal(code: str, model: Path | str, **more: Any) -> ModelError:
    """The error of a model that cannot be loaded; it ends a command with 4."""
    with pytest.raises(ModelError) as caught:
        load(model, **more)
    assert (caught.value.code, caught.value.exit_status) == (code, 4)
    return caught.value
