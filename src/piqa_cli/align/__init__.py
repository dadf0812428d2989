"""The source brought onto the edited picture: geometry, then tone."""

from __future__ import annotations

from piqa_cli.align.motion import rescaled
from piqa_cli.align.registration import Registration, register, warp

__all__ = ["Registration", "register", "rescaled", "warp"]
