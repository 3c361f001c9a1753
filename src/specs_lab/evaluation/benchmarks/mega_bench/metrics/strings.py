"""Metrics of texts: equal as they are, equal but for case and spaces, or alike."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from specs_lab.evaluation.benchmarks.mega_bench.parsing import code_block
from specs_lab.evaluation.benchmarks.mega_bench.registry import BadGold, metric
from specs_lab.evaluation.benchmarks.mega_bench.values import as_list

_LABEL = re.compile(r"\s*\(?([A-Za-z])(?:\)|(?![A-Za-z0-9_]))")
_LEFT_OUT = str.maketrans("", "", " -\n\t.")
_ARTICLES = frozenset({"the", "a"})
_LIGATURES = str.maketrans(
    {"\u00df": "ss", "\u00e6": "ae", "\u0153": "oe", "\u00f8": "o", "\u0142": "l", "\u0111": "d"}
)
_NEAR = 0.9
_MOST_CELLS = 4_000_000
"""Pairs of characters that are compared at most; it takes seconds."""


def _same(given: str, gold: str, written: str) -> float:
    """1 if texts are equal; where a letter is right, also if the response begins with it as a label: ``(B) a cat``.

    Args:
        given: The response, as it is compared.
        gold: The answer, as it is compared.
        written: The response as it was written, whose label counts.
    """
    if len(gold) == 1 and gold.isalpha() and len(given) > 1:
        label = _LABEL.match(written)
        return float(label is not None and label[1] == gold)
    return float(given == gold)


@metric("exact_str_match")
def exact(given: Any, gold: Any) -> float:
    """Equal texts; what is no text is compared as Python writes it."""
    return _same(str(given), str(gold), str(given))


@metric("exact_str_match_case_insensitive")
def exact_folded(given: Any, gold: Any) -> float:
    """Equal texts but for case; only texts equal a text."""
    if isinstance(gold, str) and not isinstance(given, str):
        return 0.0
    return exact(str(given).lower(), str(gold).lower())


def bare(text: str) -> str:
    """In lower case, without spaces, hyphens, full stops, tabs and line breaks."""
    return text.translate(_LEFT_OUT).lower()


@metric("simple_str_match")
def simple(given: Any, gold: Any) -> float:
    """Equal but for case, spaces, hyphens and full stops."""
    return _same(bare(str(given)), bare(str(gold)), str(given).lower())


@metric("multi_ref_phrase")
def any_of(given: Any, gold: Any) -> float:
    """Equal to one of several references, which are a list, or a text with commas between them."""
    references = as_list(gold.replace("\uff0c", ",") if isinstance(gold, str) else gold)
    if not references:
        raise BadGold("holds no reference")
    return max(simple(given, reference) for reference in references)


@metric("code_result_exact_str_match")
def exact_result(given: Any, gold: Any) -> float:
    """Equal to what stands in the answer's block of code."""
    return exact(given, code_block(str(gold), verbatim=True)[0].rstrip("\n"))


@metric("normalized_similarity_damerau_levenshtein")
def similarity(given: Any, gold: Any) -> float:
    """1 less the share of characters to insert, delete, replace or swap; only texts are like a text."""
    if isinstance(gold, str) and not isinstance(given, str):
        return 0.0
    return _similarity(str(given), str(gold))


@metric("near_str_match")
def near(given: Any, gold: Any) -> float:
    """The similarity without case, accents and articles if it is 0.9 at least, else 0."""
    if not isinstance(gold, str):
        raise BadGold("is no text")
    value = _similarity(_plain(given), _plain(gold)) if isinstance(given, str) else 0.0
    return value if value >= _NEAR else 0.0


def _plain(text: str) -> str:
    words = " ".join(word for word in text.split(" ") if word.lower() not in _ARTICLES).lower()
    decomposed = unicodedata.normalize("NFKD", words.translate(_LIGATURES))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _similarity(given: str, gold: str) -> float:
    longest = max(len(given), len(gold))
    if not longest:
        return 1.0
    start = 0
    while start < min(len(given), len(gold)) and given[start] == gold[start]:
        start += 1
    given, gold = given[start:], gold[start:]
    while given and gold and given[-1] == gold[-1]:
        given, gold = given[:-1], gold[:-1]
    if len(given) * len(gold) > _MOST_CELLS:
        return 0.0
    return 1.0 - _distance(given, gold) / longest


def _distance(first: str, second: str) -> int:
    """Fewest insertions, deletions, replacements and swaps of neighbours; what is between swapped ones may change too.

    The algorithm of Lowrance and Wagner (1975).
    """
    far = len(first) + len(second)
    last_row_of: dict[str, int] = {}
    rows = [[far] * (len(second) + 2), [far, *range(len(second) + 1)]]
    for i, one in enumerate(first, start=1):
        row, last_match = [far, i], 0
        for j, other in enumerate(second, start=1):
            swapped_row = last_row_of.get(other, 0)
            swap = rows[swapped_row][last_match] + (i - swapped_row - 1) + 1 + (j - last_match - 1)
            if one == other:
                last_match = j
            row.append(min(rows[i][j] + (one != other), row[j] + 1, rows[i][j + 1] + 1, swap))
        rows.append(row)
        last_row_of[one] = i
    return rows[-1][-1]
