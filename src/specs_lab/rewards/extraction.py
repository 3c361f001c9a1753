"""Finds the final answer in a response, whatever form it is written in.

Every way of stating an answer is a fixed string or a regular expression without nested repetition, and only the end of
a very long response is searched, so the time is bounded whatever a policy samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from specs_lab.rewards.format import answer_of
from specs_lab.rewards.text import strip

SEARCHED = 100_000
"""Characters, from the end of a response, in which its answer is looked for."""

_SECTIONS = ("answer", "final")
_AFTER_REASONING = ("</think>", "</thinking>", "</steps>")
_UNFINISHED = ("<answer>", "<final>")
_HASHES = "####"
_BOX_TOKEN = re.compile(r"\\boxed\s*\{|\\[{}\\]|[{}]")
_ANNOUNCED = re.compile(r"\banswer\b[*_]{0,3}(?:\s+is\b)?[*_]{0,3}\s*[:=]?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_LABEL = re.compile(r"\(?[A-Z][.):]\s+(?=\S)")
_TAG = re.compile(r"</?[A-Za-z_]+>")
_ONLY_MARKS = re.compile(r"[\s*_`]*")


@dataclass(frozen=True)
class Found:
    """An answer in a response.

    Attributes:
        answer: The answer as written, without surrounding white space; not empty.
        start: Index at which its announcement begins: a tag, a box, "answer is", or the answer itself.
    """

    answer: str
    start: int


def find(response: str) -> Found | None:
    r"""Finds the final answer in a whole response.

    Tried in turn: the last complete ``<answer>`` section, the last ``<final>`` section, the last ``\boxed{}`` with
    balanced braces, the last ``#### x``, the last "answer is x" or "Answer: x"; first in what follows the end of the
    reasoning, then in all of the response; and else all that follows the reasoning. What is found is searched again,
    so ``<answer> The answer is \boxed{7}. </answer>`` states 7, and finding is idempotent.

    Returns:
        Where and what it is, or None if none is stated.
    """
    offset = max(0, len(response) - SEARCHED)
    found = _outermost(response[offset:] if offset else response)
    if found is None:
        return None
    answer = found.answer
    while inner := _outermost(answer):  # each time by a weaker form than before, hence a few times at most
        answer = inner.answer
    return Found(answer, offset + found.start)


def extract(response: str) -> str | None:
    """The final answer of a whole response, see :func:`find`; None if none is stated."""
    found = find(response)
    return None if found is None else found.answer


def answer_in(prediction: str, strict: str | None = None) -> str | None:
    """The answer that is to be graded.

    Args:
        prediction: A whole response, or the answer already taken from one: a line without tags.
        strict: Name of a format (:data:`specs_lab.rewards.format.FORMATS`): only its place for the answer counts.
    """
    if strict is not None:
        answer = answer_of(prediction, strict)
        return None if answer is None else extract(answer) or answer
    found = find(prediction)
    if found is not None:
        return found.answer
    text = strip(prediction) if len(prediction) <= SEARCHED else ""
    return text if text and "\n" not in text and not ("<" in text and _TAG.search(text)) else None


def _outermost(response: str) -> Found | None:
    after = max((response.rfind(tag) + len(tag) if tag in response else 0) for tag in _AFTER_REASONING)
    if after and (found := _stated(response[after:])):
        return Found(found.answer, after + found.start)
    return _stated(response) or (_whatever_follows(response, after) if after else None)


def _stated(response: str) -> Found | None:
    """The last statement of the strongest form."""
    if found := _last_section(response):
        return found
    # What comes before an answer section that breaks off is not the answer: the response was about to give another.
    begun = max(response.rfind(tag) for tag in _UNFINISHED)
    rest = response[begun:] if begun > 0 else response
    for form in _WEAKER_FORMS:
        if found := form(rest):
            return Found(found.answer, found.start + max(begun, 0))
    return None


def _found(text: str, start: int) -> Found | None:
    answer = strip(text)
    return Found(answer, start) if answer else None


def _last_section(response: str) -> Found | None:
    for name in _SECTIONS:
        opening, closing = f"<{name}>", f"</{name}>"
        start = response.rfind(opening, 0, max(response.rfind(closing), 0))  # an opening tag that is closed later
        if start >= 0:
            inside = start + len(opening)
            if found := _found(response[inside : response.index(closing, inside)], start):
                return found
    return None


def _last_box(response: str) -> Found | None:
    r"""The last complete ``\boxed{}``; one pass with a stack of open braces, None standing for braces of no box."""
    if "\\boxed" not in response:
        return None
    opened: list[re.Match[str] | None] = []
    best: tuple[int, int, int] | None = None
    for token in _BOX_TOKEN.finditer(response):
        text = token.group()
        if text == "{":
            opened.append(None)
        elif text.startswith("\\boxed"):
            opened.append(token)
        elif text == "}" and opened and (box := opened.pop()) and (best is None or box.start() > best[0]):
            best = box.start(), box.end(), token.start()
    return None if best is None else _found(response[best[1] : best[2]], best[0])


def _after_hashes(response: str) -> Found | None:
    start = response.rfind(_HASHES)
    return None if start < 0 else _found(response[start + len(_HASHES) :].partition("\n")[0], start)


def _announced(response: str) -> Found | None:
    if "answer" not in response.lower():
        return None
    last = None
    for match in _ANNOUNCED.finditer(response):
        if match.group().strip(" *_\t\r\n").lower() != "answer":  # the bare word announces nothing
            last = match
    if last is None:
        return None
    rest = response[last.end() :]
    rest = rest[len(_ONLY_MARKS.match(rest)[0]) :]  # "**Answer:** 7"  # pyright: ignore[reportOptionalSubscript]
    label = _LABEL.match(rest)  # "Answer: B. 5" is one answer
    stop = _SENTENCE_END.search(rest, label.end() if label else 0)
    return _found(rest[: stop.start() if stop else len(rest)], last.start())


_WEAKER_FORMS: tuple[Callable[[str], Found | None], ...] = (_last_box, _after_hashes, _announced)


def _whatever_follows(response: str, after: int) -> Found | None:
    if any(tag in response[after:] for tag in _UNFINISHED):  # cut off inside the answer section
        return None
    return _found(response[after:], after)
