"""Outcomes -> one HTML page that shows them, or a folder of drawings."""

from __future__ import annotations

from piqa_cli.report.overlays import OverlayFolder
from piqa_cli.report.writing import EMBED_LIMIT, IMAGES, Images, ReportWriter

__all__ = ["EMBED_LIMIT", "IMAGES", "Images", "OverlayFolder", "ReportWriter"]
