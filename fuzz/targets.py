"""The readers of what others wrote, each with seeds and with what must hold of its answer.

A case is any bytes. A reader may refuse it with a `PiqaError` (where the contract says so, a `ValueError`) or accept
it; what it accepts is held against another way to the same answer. Anything else is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fuzz import pictures, records, rows, settings


@dataclass(frozen=True, slots=True)
class Target:
    """A reader: `run` gives whether it accepted the case; `seeds` are cases that it accepts, `words` pieces of them."""

    name: str
    run: Callable[[bytes], bool]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = ()
    share: int = 1
    """Of the cases of a run over all targets, in parts."""


TARGETS = (
    Target("image", pictures.read_image, pictures.seeds, pictures.WORDS, share=3),
    Target("csv", rows.read_csv, rows.csv_seeds, rows.CSV_WORDS),
    Target("jsonl", rows.read_json_lines, rows.json_seeds, rows.JSON_WORDS),
    Target("request", rows.read_request_lines, rows.request_seeds, rows.JSON_WORDS),
    Target("labels", rows.read_label_file, rows.label_seeds, rows.JSON_WORDS),
    Target("annotations", rows.read_annotation_file, rows.annotation_seeds, rows.JSON_WORDS),
    Target("ratings", rows.read_ratings_file, rows.rating_seeds, rows.CSV_WORDS),
    Target("mask", records.read_mask, records.mask_seeds, records.MASK_WORDS),
    Target("results", records.read_records, records.record_seeds, records.RECORD_WORDS),
    Target("resume", records.read_finished, records.record_seeds, records.RECORD_WORDS),
    Target("settings", settings.read_settings, settings.settings_seeds, settings.SETTINGS_WORDS),
    Target("checkpoint", settings.read_model_folder, settings.checkpoint_seeds, settings.CHECKPOINT_WORDS),
)
BY_NAME = {target.name: target for target in TARGETS}
