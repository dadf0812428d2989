"""Synthetic partial edits of natural photos, with the truth about them: where, what, how bad.

A sample is a pure function of (library, seed, arguments). numpy, OpenCV and Pillow only.
"""

from __future__ import annotations

from piqa_cli.synthesis.canvas import FAULTS, HARMONY_FAULTS, NATURALNESS_FAULTS, Canvas, Family
from piqa_cli.synthesis.families import FAMILIES, find_family
from piqa_cli.synthesis.folder import write_folder
from piqa_cli.synthesis.photos import Photo, PhotoLibrary, Split, split_of
from piqa_cli.synthesis.stream import DEFAULT_KINDS, Sample, make_sample, make_severity_pair

__all__ = [
    "DEFAULT_KINDS",
    "FAMILIES",
    "FAULTS",
    "HARMONY_FAULTS",
    "NATURALNESS_FAULTS",
    "Canvas",
    "Family",
    "Photo",
    "PhotoLibrary",
    "Sample",
    "Split",
    "find_family",
    "make_sample",
    "make_severity_pair",
    "split_of",
    "write_folder",
]
