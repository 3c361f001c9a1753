"""What self-distillation does to texts (SPECS, arXiv 2510.25801): take responses apart, complete or spoil their form.

A response is (reasoning, answer) in some form. Chosen sides are written anew in the requested format
(:func:`supplement`); rejected sides keep what they say and lose the format (:func:`pollute`), in one of five ways. The
paper names the first four; how it misplaces tags is not published: here the answer section moves into the reasoning
section.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from specs_lab.core.errors import Fault, UserError, suggest
from specs_lab.problems.instructions import FormatName
from specs_lab.rewards.extraction import find
from specs_lab.rewards.format import SECTIONS, Parts, parse, tags_of, write
from specs_lab.rewards.grader import grade
from specs_lab.rewards.inference import canonical_kind, infer_kind
from specs_lab.rewards.kinds.base import KINDS, Terms
from specs_lab.rewards.kinds.writing import plain
from specs_lab.rewards.terms.exploration import EFFORT

_TAG_NAMES = sorted({name for names in SECTIONS.values() for name in names} | {"thinking"})
_TAG = re.compile(rf"</?(?:{'|'.join(_TAG_NAMES)})>")
_LEAD_IN = re.compile(r"\s*reasoning\s*:", re.IGNORECASE)
_CONNECTIVES = frozenset({"so", "the", "final", "thus", "therefore", "hence", "my"})
_JOINT = " \t\r\n.,;:"
_SENTENCE_END = re.compile(r"[.!?;]\s+|\n+")
_WORD = re.compile(r"\w+")
_NUMBERS = ("integer", "number", "fraction")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)", re.ASCII)


def read(response: str) -> Parts | None:
    """Splits a response into what it derives and what it answers, whatever its form.

    Args:
        response: The whole text of the response.

    Returns:
        Both parts, free of tags (so that writing them in a format follows it), or None if either is missing. Words
        that only lead up to the answer ("So", "The") and remarks after it belong to neither.
    """
    for format in SECTIONS:
        if parts := parse(response, format):
            return _checked(parts.reasoning, parts.answer)
    found = find(response)
    if found is None:
        return None
    reasoning = response[: found.start]
    return _checked(reasoning if _TAG.search(reasoning) else _without_joint(reasoning), found.answer)


def _checked(reasoning: str, answer: str) -> Parts | None:
    parts = Parts(_TAG.sub(" ", reasoning).strip(), _TAG.sub(" ", answer).strip())
    return parts if all(parts) else None


def _without_joint(text: str) -> str:
    """Without ``Reasoning:`` in front, and without the words and punctuation that join it to the answer."""
    lead_in = _LEAD_IN.match(text)
    text = (text[lead_in.end() :] if lead_in else text).strip().rstrip(_JOINT)
    while text and text.rsplit(None, 1)[-1].lower() in _CONNECTIVES:
        text = text[: -len(text.rsplit(None, 1)[-1])].rstrip(_JOINT)
    return text


def supplement(reasoning: str, answer: str, format: FormatName = "think_answer") -> str:
    """Writes what a response says in the requested format."""
    return write(Parts(reasoning, answer), format)


Transform = Callable[[str, FormatName], str]
"""Changes the form of a text that follows a format, and of what other transforms made of it."""


def _no_answer_tags(text: str, format: FormatName) -> str:
    _, _, opening, closing = tags_of(format)
    return _without(text, opening, closing)


def _no_think_tags(text: str, format: FormatName) -> str:
    opening, closing, _, _ = tags_of(format)
    return _without(text, opening, closing)


def _no_tags(text: str, format: FormatName) -> str:
    return _without(text, *tags_of(format))


def _plain_answer(text: str, format: FormatName) -> str:
    _, _, opening, closing = tags_of(format)
    return _without(text.replace(opening, "Answer:"), closing)


def _misplaced_tags(text: str, format: FormatName) -> str:
    _, closing, _, _ = tags_of(format)
    rest = _without(text, closing)
    return f"{rest} {closing}" if closing in text else rest


def _without(text: str, *tags: str) -> str:
    for tag in tags:
        text = text.replace(f" {tag}", "").replace(f"{tag} ", "").replace(tag, "")
    return text


POLLUTERS: dict[str, Transform] = {
    "no_tags": _no_tags,
    "no_answer_tags": _no_answer_tags,
    "no_think_tags": _no_think_tags,
    "plain_answer": _plain_answer,
    "misplaced_tags": _misplaced_tags,
}
"""Ways of spoiling the form, by name. What is said stays; none of the results follows the format."""
AND = "+"
"""Joins the names of pollutions that are done one after the other, as in ``no_think_tags+plain_answer``."""


def pollute(how: str, reasoning: str, answer: str, format: FormatName = "think_answer") -> str:
    """Writes what a response says so that the format is *not* followed.

    Args:
        how: A name in :data:`POLLUTERS`, or several joined by ``+``.
        reasoning: The derivation, free of tags.
        answer: The answer, free of tags.
        format: The format to spoil.

    Raises:
        UserError: If there is no such pollution.
    """
    text = write(Parts(reasoning, answer), format)
    for name in how.split(AND):
        if name not in POLLUTERS:
            raise UserError([Fault("pollution", f"there is no '{name}'", suggest(name, POLLUTERS))])
        text = POLLUTERS[name](text, format)
    return text


def cut_at_reflection(reasoning: str) -> str:
    """The reasoning up to the first sentence that turns back ("wait", "let me check"); empty if that is the first."""
    turn = EFFORT.search(reasoning)
    if turn is None:
        return reasoning
    ends = [end.end() for end in _SENTENCE_END.finditer(reasoning, 0, turn.start())]
    return reasoning[: ends[-1] if ends else 0].strip()


def consistent(reasoning: str, answer: str, kind: str | None = None, terms: Terms | None = None) -> bool:
    """Whether the reasoning leads to the answer, by rule: stands in for the judge of SPECS, which is a model.

    Derivations pass through other numbers and words on the way, so only where they end counts. A number must be the
    last number of the reasoning. A choice's letter, or a word, must occur as a whole word in its last sentence or line;
    what is said about it there ("not A") is not understood, and a remark after the conclusion counts against it. A yes
    or no may be put otherwise (true, false), and a "not" before it is not understood either. Any other answer must
    occur in the conclusion as it is written.

    Args:
        reasoning: The derivation.
        answer: The answer.
        kind: The type of the answer, see :func:`specs_lab.rewards.grader.grade`; by default what it looks like.
        terms: What the problem says beside its gold answer.

    Raises:
        UserError: If there is no such kind.
    """
    kind = infer_kind(answer) if kind is None else canonical_kind(kind)
    terms = terms or Terms()
    if KINDS.get(kind).read_gold(answer, terms) is None:
        return False

    def says(text: str) -> bool:
        return grade(text, answer, kind, choices=terms.choices, precision=terms.precision, unit=terms.unit).correct

    if kind in _NUMBERS:
        numbers = _NUMBER.findall(reasoning)
        return bool(numbers) and says(numbers[-1])
    conclusion = _SENTENCE_END.split(reasoning.strip())[-1]
    if kind in ("boolean", "choice"):
        return any(says(word) for word in _WORD.findall(conclusion) if kind == "boolean" or word.isupper())
    wanted, text = (" ".join(plain(one).split()).casefold() for one in (answer, conclusion))
    return bool(wanted) and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text) is not None
