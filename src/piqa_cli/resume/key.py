"""What decides a record, in one place: the key by which a finished pair is known again.

Two pairs with one key get the same record but for names (`id`, paths) and `seconds`. In the key are

- SHA-256 of source, edited and mask, or that there is no mask: the pixels, wherever the files lie;
- the prompt, or that there is none: completion is judged by it, and a model reads it;
- of every model the name, version, hash of the weights, precision, adapter and its hash (`ModelInfo`). The version
  of an image-text-to-text model also has its commit, the version of the prompts (`lmm.prompts`), whose region counts,
  and where its server is. The compact model that grounds for it or checks it is one of the models;
- all of `ImagePolicy`: pixel limit, frame, inverted mask, background, threshold decide the pixels made of the files;
- explain, explain-below, grounding, cross-check, quantize, trust-remote-code: what is asked of the model;
- the schema's version: a record of another version has other fields;
- `PROCESSING_VERSION`: everything that this package's own code does between the files and the record.

An option that is nothing to the model at hand counts all the same: a pair judged once too often is better than a
wrong record. Not in the key, since no record depends on them: names and places of files (a data set may be moved),
batch size, workers, device (numbers agree within the tolerance of `docs/architecture.md`), gates, format and pairing.
Versions of other packages are not in it either: their numbers move less than that tolerance.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from piqa_cli.schema import SCHEMA_VERSION, ModelInfo

if TYPE_CHECKING:
    from piqa_cli.images import ImagePolicy

PROCESSING_VERSION = "2"
"""Raised with every change of code that changes what a record says of the same files and the same model: decoding,
registration, measurements, thresholds, rules of scores, sentences. `tests/test_resume.py` holds one record to it."""

KEY_LENGTH = 32
"""Hexadecimal digits: 128 bits of a SHA-256. Among a thousand million pairs two share a key with odds of 1 to 10^20."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How records are made of files: every part of the key that a whole run shares.

    Args:
        models: who judges, first the one that the records name.
        policy: how images are read.
        explain: whether a text is asked for.
        explain_below: the overall score from which on there is none.
        grounding: whose region counts.
        cross_check: whether the compact model judges too.
        quantize: how weights are held.
        trust_remote_code: whether a checkpoint's own Python files are run.
    """

    models: tuple[ModelInfo, ...]
    policy: ImagePolicy
    explain: bool = True
    explain_below: float | None = None
    grounding: str = "auto"
    cross_check: bool = False
    quantize: str | None = None
    trust_remote_code: bool = False

    def digest(self) -> str:
        """The recipe as a hash."""
        parts = asdict(self) | {"models": [model.model_dump() for model in self.models]}
        text = json.dumps([SCHEMA_VERSION, PROCESSING_VERSION, parts], sort_keys=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def key(recipe: str, source: str, edited: str, mask: str | None, prompt: str | None) -> str:
    """The key of a pair.

    Args:
        recipe: `Recipe.digest`.
        source: SHA-256 of the file's bytes; `edited` and `mask` likewise.
        edited: see `source`.
        mask: None if there is none.
        prompt: None if there is none, which is not the same as an empty one.

    Returns:
        `KEY_LENGTH` lower-case hexadecimal digits.
    """
    # Hashes have no spaces, and the prompt comes last, so no two pairs make one text. Bytes
    # of a prompt that are not UTF-8 are surrogates.
    text = f"{recipe} {source} {edited} {mask or '-'} {'-' if prompt is None else '+' + prompt}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_LENGTH]
