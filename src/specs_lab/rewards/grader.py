"""Whether an answer is right: find it anywhere in a response, then compare it by a rule for its kind.

Comparison is routed by the kind of answer, never by how the texts happen to look: a general mathematics grader calls
``act`` equal to ``cat`` (the same product of variables) and cannot read a choice letter. Each kind has a canonical
form; two answers are equal when their canonical forms are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from specs_lab.core.errors import Fault, UserError, suggest

_ANSWER_SECTIONS = ("answer", "final")
_AFTER_REASONING = ("</think>", "</thinking>", "</steps>")
_UNFINISHED = ("<answer>", "<final>")
_HASHES = "####"
_BOX_TOKEN = re.compile(r"\\boxed\s*\{|\\[{}]|[{}]")
_ANNOUNCED = re.compile(r"\banswer\b(?:\s+is\b)?\s*:?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_WRAPPED = re.compile(r"\\(?:boxed|text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_DECORATION = " \t\r\n*`$\"'"
_PUNCTUATION = ".,;:!?"
_INTEGER = re.compile(r"([+-]?)([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.0*)?")
_LABEL = re.compile(r"\(?([A-Za-z])[.):]\s*(.*)", re.DOTALL)
_BARE_LABEL = re.compile(r"([A-Z])\s+(.*)", re.DOTALL)
_MORE_LABELS = re.compile(r"\([A-Za-z]\)|\b[A-Za-z][.):](?=\s|$)|^(?:and|or|,|&|/|\s|\b[A-Z]\b)+$")
_CAPITAL = re.compile(r"\b[A-Z]\b")
_TRUTH = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


@dataclass(frozen=True)
class Verdict:
    """What became of an answer.

    Attributes:
        correct: Whether it equals the gold answer.
        kind: The kind of answer it was compared as.
        extracted: The answer as it was found, or None if there was none.
        reason: Why it is right or wrong, in a few words.
    """

    correct: bool
    kind: str
    extracted: str | None
    reason: str


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
    r"""Finds the final answer in a whole response, whatever form it is written in.

    Tried in turn: the last complete ``<answer>`` section, the last ``<final>`` section, the last ``\boxed{}`` with
    balanced braces, the last ``#### x``, the last "answer is x" or "Answer: x", and what follows the reasoning's
    closing tag. Takes time linear in the length of the response.

    Returns:
        Where and what it is, or None if none is stated.
    """
    for section in _ANSWER_SECTIONS:
        if found := _last_section(response, section):
            return found
    return _last_box(response) or _after_hashes(response) or _announced(response) or _after_reasoning(response)


def extract(response: str) -> str | None:
    """The final answer of a whole response, see :func:`find`; None if none is stated."""
    found = find(response)
    return None if found is None else found.answer


def _found(text: str, start: int) -> Found | None:
    answer = text.strip()
    return Found(answer, start) if answer else None


def _last_section(response: str, name: str) -> Found | None:
    opening, closing = f"<{name}>", f"</{name}>"
    start = response.rfind(opening, 0, max(response.rfind(closing), 0))  # an opening tag that is closed later
    if start < 0:
        return None
    inside = start + len(opening)
    return _found(response[inside : response.index(closing, inside)], start)


def _last_box(response: str) -> Found | None:
    r"""The last complete ``\boxed{}``; one pass with a stack of open braces, None standing for braces of no box."""
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
    last = None
    for match in _ANNOUNCED.finditer(response):
        if match.group().strip().lower() != "answer":  # the bare word announces nothing
            last = match
    if last is None:
        return None
    rest = response[last.end() :].lstrip()
    stop = _SENTENCE_END.search(rest)
    return _found(rest[: stop.start() if stop else len(rest)], last.start())


def _after_reasoning(response: str) -> Found | None:
    start = max(response.rfind(tag) + len(tag) if tag in response else -1 for tag in _AFTER_REASONING)
    if start < 0 or any(tag in response[start:] for tag in _UNFINISHED):  # cut off inside the answer section
        return None
    return _found(response[start:], start)


def _plain(text: str) -> str:
    """Without TeX wrappers, decoration and punctuation at the ends; single spaces."""
    text = _WRAPPED.sub(r"\1", text)
    return " ".join(text.split()).strip(_DECORATION).rstrip(_PUNCTUATION + _DECORATION)


def _integer(text: str) -> str | None:
    match = _INTEGER.fullmatch(_plain(text).replace("\u2212", "-"))
    if match is None:
        return None
    digits = match[2].replace(",", "").lstrip("0") or "0"  # text, as int() refuses more than 4300 digits
    return digits if match[1] != "-" or digits == "0" else f"-{digits}"


def _word(text: str) -> str | None:
    return _plain(text).casefold() or None


def _choice(text: str) -> str | None:
    """The option's letter: ``B``, ``b``, ``(B)``, ``B. right`` or ``B right``; None if it names more than one."""
    bare = _plain(text)
    if len(bare) == 1 and bare.isascii() and bare.isalpha():
        return bare.upper()
    if match := _LABEL.fullmatch(" ".join(text.split()).strip(_DECORATION)):
        return None if _MORE_LABELS.search(match[2]) else match[1].upper()
    if match := _BARE_LABEL.fullmatch(bare):  # lower case would be the article: "a right angle"
        return None if _CAPITAL.search(match[2]) or _MORE_LABELS.search(match[2]) else match[1]
    return None


def _boolean(text: str) -> str | None:
    return _TRUTH.get(_plain(text).casefold())


CANONICAL: dict[str, Callable[[str], str | None]] = {
    "integer": _integer,
    "word": _word,
    "choice": _choice,
    "boolean": _boolean,
}
"""The canonical form of an answer, or None if the text is no answer of that kind; by kind."""


def _bare(text: str) -> str | None:
    """A text that is nothing but an answer: one line, no tags."""
    text = text.strip()
    return text if text and "\n" not in text and "<" not in text else None


def infer_kind(gold: str) -> str:
    """The most specific kind that a gold answer can be read as: integer, boolean, single-letter choice, else word."""
    if _integer(gold) is not None:
        return "integer"
    if _boolean(gold) is not None:
        return "boolean"
    return "choice" if re.fullmatch(r"[A-Z]", gold.strip()) else "word"


def grade(prediction: str | None, gold: str, kind: str | None = None) -> Verdict:
    """Compares an answer with the gold answer.

    Args:
        prediction: A whole response, or the answer already taken from one; None if there is none.
        gold: The gold answer.
        kind: How to compare: ``integer``, ``word``, ``choice`` or ``boolean``; by default what ``gold`` looks like.

    Raises:
        UserError: If there is no such kind, or the gold answer is none of its kind: a fault in the data, which must
            not turn into rewards.
    """
    if kind is None:
        kind = infer_kind(gold)
    if kind not in CANONICAL:
        raise UserError([Fault("answer type", f"there is no '{kind}'", suggest(kind, CANONICAL))])
    canonical = CANONICAL[kind]
    expected = canonical(gold)
    if expected is None:
        raise UserError(
            [Fault("gold answer", f"{gold!r} is no answer of type '{kind}'", "correct the data, or its answer type")]
        )
    found = None if prediction is None else extract(prediction) or _bare(prediction)
    if found is None:
        return Verdict(False, kind, None, "no answer")
    given = canonical(found)
    if given is None:
        return Verdict(False, kind, found, f"not of type {kind}")
    reason = f"{given} equals {expected}" if given == expected else f"{given} is not {expected}"
    return Verdict(given == expected, kind, found, reason)
