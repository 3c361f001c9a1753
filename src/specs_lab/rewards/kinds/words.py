"""Words and phrases, and yes or no."""

from __future__ import annotations

import re
import unicodedata
from typing import ClassVar

from specs_lab.rewards.kinds.base import AnswerKind, Outcome, Terms, equality, kind
from specs_lab.rewards.kinds.writing import plain, visible

_ARTICLE = re.compile(r"(?:an?|the) (?=\S)")
_TRUTH = {"yes": "yes", "true": "yes", "correct": "yes", "no": "no", "false": "no", "incorrect": "no"}
_FIRST_WORD = re.compile(r"([a-z]+)\s*[,.;:!\u2014\u2013-]")
_WORDS = re.compile(r"[a-z]+")


@kind
class Word(AnswerKind[str]):
    """A word or a phrase; equal up to case, white space and a leading article.

    Letters are compared as they are: those of another script are others, however alike they look.
    """

    name: ClassVar[str] = "word"

    def read_gold(self, text: str, terms: Terms) -> str | None:
        """The text in lower case."""
        seen = visible(text)
        if seen is None:
            return None
        folded = plain(seen).casefold()
        if not folded.isascii():
            folded = unicodedata.normalize("NFC", folded)
        if folded.startswith(("a", "the ")):
            folded = _ARTICLE.sub("", folded, count=1) if _ARTICLE.match(folded) else folded
        return folded or None

    def compare(self, given: str, gold: str, terms: Terms) -> Outcome:
        """Equal if the same text."""
        return equality(given, gold)


@kind
class Boolean(AnswerKind[str]):
    """Yes or no, also as true, false, correct, incorrect, and with an explanation after a punctuation mark."""

    name: ClassVar[str] = "boolean"

    def read_gold(self, text: str, terms: Terms) -> str | None:
        """``yes`` or ``no``; None for what begins with neither, or names both."""
        seen = visible(text)
        if seen is None:
            return None
        folded = plain(seen).casefold()
        if folded in _TRUTH:
            return _TRUTH[folded]
        first = _FIRST_WORD.match(folded)
        if first is None or first[1] not in _TRUTH:
            return None
        said = {_TRUTH[word] for word in _WORDS.findall(folded) if word in _TRUTH}
        return said.pop() if len(said) == 1 else None

    def compare(self, given: str, gold: str, terms: Terms) -> Outcome:
        """Equal if both affirm or both deny."""
        return equality(given, gold)
