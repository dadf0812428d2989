"""How much a text looks like a reference: BLEU-4 and ROUGE-L. Neither says whether it is right."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")
_ORDERS = (1, 2, 3, 4)


def bleu4(texts: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4, 0..1, without smoothing, one reference each (Papineni et al., ACL 2002). NaN for no text.

    Tokens are words and single marks, in lower case.

    Raises:
        ValueError: texts and references differ in number.
    """
    pairs = [(_tokens(_TOKEN, text), _tokens(_TOKEN, other)) for text, other in zip(texts, references, strict=True)]
    told, wanted = sum(len(text) for text, _ in pairs), sum(len(other) for _, other in pairs)
    if not pairs or not told:
        return 0.0 if pairs else float("nan")
    logarithms = 0.0
    for order in _ORDERS:
        matches = count = 0
        for text, other in pairs:
            grams = _grams(text, order)
            matches += (grams & _grams(other, order)).total()
            count += grams.total()
        if matches == 0:
            return 0.0
        logarithms += math.log(matches / count)
    brevity = min(0.0, 1 - wanted / told)
    return math.exp(brevity + logarithms / len(_ORDERS))


def rouge_l(text: str, reference: str) -> float:
    """F1 of the longest common subsequence of words, 0..1 (Lin, 2004, with beta 1). NaN if both have no words."""
    told, wanted = _tokens(_WORD, text), _tokens(_WORD, reference)
    if not told and not wanted:
        return float("nan")
    return 2 * _common(told, wanted) / (len(told) + len(wanted))


def _tokens(pattern: re.Pattern[str], text: str) -> list[str]:
    return pattern.findall(text.lower())


def _grams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel over `a` (Hyyrö, 2004)."""
    where: dict[str, int] = {}
    for position, word in enumerate(a):
        where[word] = where.get(word, 0) | 1 << position
    full = row = (1 << len(a)) - 1
    for word in b:
        met = row & where.get(word, 0)
        row = ((row + met) | (row - met)) & full
    return len(a) - row.bit_count()
