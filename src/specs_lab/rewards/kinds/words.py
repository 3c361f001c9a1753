"""Words and phrases, and yes or no."""

from __future__ import annotations

import re
from typing import ClassVar

from specs_lab.rewards.kinds.base import AnswerKind, Outcome, Terms, equality, kind
from specs_lab.rewards.kinds.writing import folded, visible

_ARTICLE = re.compile(r"(?:an?|the) (?=\S)")
_TRUTH = {"yes": "yes", "true": "yes", "correct": "yes", "no": "no", "false": "no", "incorrect": "no"}
_FIRST_WORD = re.compile(r"([a-z]+)(?:\s*[,.;:!\u2014\u2013]|\s+-)")
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
        text = folded(seen)
        if text.startswith(("a", "the ")):
            text = _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
        return text or None

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
        text = folded(seen)
        if text in _TRUTH:
            return _TRUTH[text]
        first = _FIRST_WORD.match(text)
        if first is None or first[1] not in _TRUTH:
            return None
        said = {_TRUTH[word] for word in _WORDS.findall(text) if word in _TRUTH}
        return said.pop() if len(said) == 1 else None

    def compare(self, given: str, gold: str, terms: Terms) -> Outcome:
        """Equal if both affirm or both deny."""
        return equality(given, gold)
