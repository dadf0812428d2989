"""What was found, drawn: source, edited image with its regions, map of artefacts, and below them what it means."""

from __future__ import annotations

from piqa_cli.overlay.drawing import LEAST_WIDTH, MAX_BYTES, MAX_WIDTH, draw_overlay, save_overlay
from piqa_cli.overlay.palette import COLOURS, HEAT_COLOURS, KINDS

__all__ = ["COLOURS", "HEAT_COLOURS", "KINDS", "LEAST_WIDTH", "MAX_BYTES", "MAX_WIDTH", "draw_overlay", "save_overlay"]
