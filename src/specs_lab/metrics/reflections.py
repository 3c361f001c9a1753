"""Words with which a reasoning turns back on itself ("aha" moments), as two studies list them."""

from __future__ import annotations

import re

WORDS = {
    "coldstart": ("wait", "again", "double-check", "hmm", "mistake", "alternatively", "check", "re-evaluate"),
    "vlaa": ("wait", "again", "double-check", "hmm", "mistake", "alternatively", "check", "i should confirm"),
}
"""``coldstart``: Wei et al. (arXiv 2505.22334); ``vlaa``: VLAA-Thinking (arXiv 2504.11468)."""

# Longer ones first: "double-check" is one reflection, not one and another "check".
_PATTERNS = {
    name: re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    for name, words in WORDS.items()
}


def count(text: str, which: str = "coldstart") -> int:
    """How often a text reflects: occurrences that do not overlap, as parts of words too, in upper or lower case.

    Args:
        text: A response.
        which: The list, one of :data:`WORDS`.
    """
    return len(_PATTERNS[which].findall(text.lower()))


def has_aha(text: str, which: str = "vlaa") -> bool:
    """Whether a text reflects at all."""
    return _PATTERNS[which].search(text.lower()) is not None
