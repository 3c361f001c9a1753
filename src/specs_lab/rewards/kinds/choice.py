"""Options by letter: one of them, or several."""

from __future__ import annotations

import re
from typing import ClassVar

from specs_lab.rewards.kinds.base import AnswerKind, Outcome, Terms, equality, kind
from specs_lab.rewards.kinds.writing import folded, plain, visible

_DECORATION = " \t\r\n*`$\"'"
_NAMED = re.compile(r"(?:options?|choices?|answers?)\s+(?=\(?[A-Za-z]\b)", re.IGNORECASE)
_LABEL = re.compile(r"\(?([A-Za-z])[.):]\s*(.*)", re.DOTALL)
_BARE_LABEL = re.compile(r"([A-Z])\s+(.*)", re.DOTALL)
_MORE_LABELS = re.compile(r"\([A-Za-z]\)|\bor [A-Z]\b|\b[A-Za-z][.):](?=\s|$)|^(?:and|or|,|&|/|\s|\b[A-Z]\b)+$")
_FOREIGN_LETTER = re.compile(r"\b[^\W\d_A-Za-z]\b")  # may look like a label
_HEDGED = re.compile(
    r"(?:or|and|nor|but|else|otherwise|alternatively|maybe|perhaps|possibly|not [A-Z])\b", re.IGNORECASE
)
_SAID = re.compile(r"(?:is|isn't|was|wasn't|not|cannot|can't|could|might|may|would|if|unless)\b", re.IGNORECASE)
_AFFIRMED = re.compile(r"is (?:the )?(?:correct|right|answer)(?: (?:answer|option|choice|one))?", re.IGNORECASE)
_LONE_LETTER = re.compile(r"\b(?!a\b)[A-Za-z]\b")
_ARTICLES = "AI"
_SEVERAL = re.compile(r"\(?[A-Za-z]\)?(?:(?:\s*[,;&/]\s*(?:and\s+)?|\s+and\s+|\s+)\(?[A-Za-z]\)?)+")
_RUN = re.compile(r"[A-Z]{2,}|(?:\([A-Za-z]\)){2,}")
_LETTER = re.compile(r"\b[A-Za-z]\b|[A-Z]")

Letters = frozenset[str]


@kind
class Choice(AnswerKind[Letters]):
    """One of several options, or several of them, by letter; with the options' texts known, also by text.

    A label with the text of another option contradicts itself and is no answer. Several letters are a set.
    """

    name: ClassVar[str] = "choice"

    def read_gold(self, text: str, terms: Terms) -> Letters | None:
        """The letters, in upper case; None if no option is named, or one that does not exist."""
        seen = visible(text)
        if seen is None:
            return None
        letters = _by_text(seen, terms) or _letters(seen, terms)
        if letters and terms.choices and not all(ord(letter) - ord("A") < len(terms.choices) for letter in letters):
            return None
        return letters

    def compare(self, given: Letters, gold: Letters, terms: Terms) -> Outcome:
        """Equal if the same options are named."""
        return equality(*(", ".join(sorted(letters)) for letters in (given, gold)))


def _by_text(text: str, terms: Terms) -> Letters | None:
    """The option whose text this is; a text that two options share names neither."""
    wanted = folded(text) if terms.choices else ""
    if not wanted or _in_range(wanted, terms):
        return None
    same = [index for index, choice in enumerate(terms.choices) if folded(choice) == wanted]
    return Letters(chr(ord("A") + same[0])) if len(same) == 1 else None


def _in_range(text: str, terms: Terms) -> bool:
    """Whether a text is the label of an option."""
    return len(text) == 1 and text.isascii() and text.isalpha() and ord(text.upper()) - ord("A") < len(terms.choices)


def _says_own_text(letter: str, rest: str, terms: Terms) -> bool:
    """Whether what follows an option's label is what the option says."""
    return _in_range(letter, terms) and folded(terms.choices[ord(letter.upper()) - ord("A")]) == folded(rest)


def _letters(text: str, terms: Terms) -> Letters | None:
    text = text.replace("**", "")
    bare = plain(text)
    if match := _NAMED.match(bare):
        bare = text = bare[match.end() :]
    if len(bare) == 1:
        return Letters(bare.upper()) if bare.isascii() and bare.isalpha() else None
    labelled = " ".join(text.split()).strip(_DECORATION)
    if labelled.startswith("\\"):
        labelled = bare
    match = _LABEL.fullmatch(labelled)
    if match and _says_own_text(match[1], match[2], terms):
        return Letters(match[1].upper())
    if _SEVERAL.fullmatch(bare) or _RUN.fullmatch(bare):
        return _distinct(_LETTER.findall(bare))
    if match:
        return _one(match[1], match[2], terms)
    if match := _BARE_LABEL.fullmatch(bare):  # lower case would be the article: "a right angle"
        if match[1] in _ARTICLES and not _is_option(match[1], match[2], terms):
            return None
        if _LONE_LETTER.search(match[2]) or (_SAID.match(match[2]) and not _AFFIRMED.fullmatch(match[2])):
            return None
        return _one(match[1], match[2], terms)
    return None


def _distinct(letters: list[str]) -> Letters | None:
    found = Letters(letter.upper() for letter in letters)
    return found if len(found) == len(letters) else None


def _one(letter: str, rest: str, terms: Terms) -> Letters | None:
    """The option of a label, unless what follows names more, or is what another option says."""
    if _MORE_LABELS.search(rest.rstrip(",;")):
        return None
    rest = plain(rest).lstrip(".,;:-\u2013\u2014\u2026 ")
    if _says_own_text(letter, rest, terms):
        return Letters(letter.upper())
    if _MORE_LABELS.search(rest) or _FOREIGN_LETTER.search(rest) or _HEDGED.match(rest):
        return None
    if other := _by_text(rest, terms):
        return other if letter.upper() in other else None
    return Letters(letter.upper())


def _is_option(letter: str, rest: str, terms: Terms) -> bool:
    other = _by_text(rest, terms)
    return other is not None and letter in other
