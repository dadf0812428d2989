"""What a judge wrote of a real edit -> the faults it names, as labels for the explanation.

A remark names what was seen, at most a few words long; what it does not name is not known to be absent, except that a
good rating of everything speaks for itself. So a row is 1 for what is named, NaN for the rest.
"""

from __future__ import annotations

import re

from piqa_cli.compact.network import FAULTS

_WORDS: dict[str, str] = {
    "exposure": r"\b(too (dark|bright)|(over|under)exposed|washed out|light(ing)? (wrong|mismatch\w*)|glow\w*)",
    "colour": r"\b(over-?saturated|tint\w*|colou?r (cast|mismatch\w*|bleed\w*)|wrong colou?r|hue|(yellow|blu|redd)ish)",
    "noise": r"\b(noise|noisy|grain\w*|speckl\w*)",
    "sharpness": r"\b(too sharp|over-?sharpened|softer than|sharper than|blurr?(ed|y)?|soft)\b",
    "seam": r"\b(seams?|halo\w*|cut-?out|pasted|hard edges?|visible (edge|border)|outline\w*|fringe\w*)",
    "texture_loss": r"\b(flat|plastic|waxy|texture(less| lost)|lost (texture|detail)|painterly|smooth(ed)?)\b",
    "smear": r"\b(smear\w*|smudg\w*|streak\w*|melted|blobs?|patch(y|es)?)\b",
    "blocking": r"\b(block\w*|pixelat\w*|jagged)",
    "warp": r"\b(warp\w*|bent|wavy|stretch\w*|twist\w*|skew\w*)",
    "ghost": r"\b(ghost\w*|remnants?|remains?|leftover\w*|traces?|translucent|transparent|faint)\b",
    "repetition": r"\b(repeat\w*|repetit\w*|duplicat\w*|tiled|checker\w*)",
    "garbled": r"\b(garbled|deformed|malformed|distort\w*|broken|mangled|nonsens\w*|hybrid|extra (leg|arm|finger)s?)",
}


def faults_in(remark: str) -> tuple[float, ...]:
    """1.0 for each fault that the remark names, NaN for the others, in the order of `network.FAULTS`."""
    return tuple(1.0 if re.search(_WORDS[fault], remark.lower()) else float("nan") for fault in FAULTS)
