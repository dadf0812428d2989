"""Outcomes -> one HTML page that shows them: pictures, regions, scores, reasons, failures."""

from __future__ import annotations

from piqa_cli.report.writing import EMBED_LIMIT, IMAGES, Images, ReportWriter

__all__ = ["EMBED_LIMIT", "IMAGES", "Images", "ReportWriter"]
