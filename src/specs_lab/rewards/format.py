r"""Whether, and how far, a response has the form that was asked for; the formats by name.

The first one is that of DeepSeek-R1's format reward (arXiv 2501.12948, 2.2): reasoning, then the answer, each in tags
of its own, and nothing else. :mod:`specs_lab.rewards.grammar` says what exactly counts. Every function here takes time
linear in the length of the response, whatever it consists of.
"""

from __future__ import annotations

from typing import Literal

from specs_lab.core.errors import Fault, UserError, suggest
from specs_lab.rewards.grammar import BoxedText, Format, Parts, Section

FormatName = Literal["think_answer", "steps_final", "think_boxed"]
"""The formats that prompts ask for."""

__all__ = ["FORMATS", "SECTIONS", "Parts", "answer_of", "follows", "parse", "share_followed", "tags_of", "write"]

SECTIONS: dict[FormatName, tuple[str, str]] = {
    "think_answer": ("think", "answer"),
    "steps_final": ("steps", "final"),
}
"""The names of the reasoning section's and the answer section's tags, by format that prompts ask for."""

FORMATS: dict[str, Format] = {
    **{name: Format((Section(reasoning), Section(answer))) for name, (reasoning, answer) in SECTIONS.items()},
    "thinking_answer": Format((Section("thinking"), Section("answer"))),
    "think_boxed": Format((Section("think"), BoxedText())),
    "boxed": Format((BoxedText(),)),
}
r"""All formats that responses can be held to. ``think_boxed`` is reasoning in tags, then free text with one
``\boxed{…}``, as EasyR1 rewards it but for its exactness; ``boxed`` is any text with one ``\boxed{…}``."""


def parse(response: str, format: str) -> Parts | None:
    """Takes a response that follows a format apart.

    Args:
        response: The whole text of the response; line breaks are white space like any other.
        format: Name of the format, see :data:`FORMATS`.

    Returns:
        Both parts, or None if the format is not followed exactly. The reasoning of ``boxed`` is the text around the
        box and may be empty.

    Raises:
        UserError: If there is no such format.
    """
    return _named(format).parse(response)


def follows(response: str, format: str) -> bool:
    """Whether a response has exactly the form of a format, see :func:`parse`."""
    return _named(format).parse(response) is not None


def share_followed(response: str, format: str) -> float:
    """How much of a format a response follows, in [0, 1]; 1.0 if and only if :func:`follows`.

    Each demanded tag, and the box, earns the same part for occurring exactly once, as in open-r1's tag count reward.
    One more such part is for following the whole format: counts alone see neither order nor content.

    Args:
        response: The whole text of the response.
        format: Name of the format, see :data:`FORMATS`.

    Raises:
        UserError: If there is no such format.
    """
    return _named(format).share(response)


def answer_of(response: str, format: str) -> str | None:
    """The answer, if it is stated where a format demands it; the rest of the response may have any form.

    Args:
        response: The whole text of the response.
        format: Name of the format, see :data:`FORMATS`.

    Returns:
        The content of the answer section (or box) without surrounding white space. None if there is none or more than
        one, if it is not closed or shows nothing, or if it does not come after the reasoning: before it, inside it,
        or behind a reasoning section that is never closed.

    Raises:
        UserError: If there is no such format.
    """
    return _named(format).answer(response)


def tags_of(format: str) -> tuple[str, str, str, str]:
    """The four tags of a format that prompts ask for, in the order in which they must occur.

    Raises:
        UserError: If there is no such format.
    """
    if format not in SECTIONS:
        raise UserError([Fault("format", f"prompts cannot ask for '{format}'", suggest(format, SECTIONS))])
    reasoning, answer = map(Section, SECTIONS[format])
    return reasoning.opening, reasoning.closing, answer.opening, answer.closing


def write(parts: Parts, format: FormatName) -> str:
    """Writes both parts in a format, the way the instructions show it."""
    opening, closing, answer_opening, answer_closing = tags_of(format)
    return f"{opening} {parts.reasoning} {closing} {answer_opening} {parts.answer} {answer_closing}"


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise UserError([Fault("format", f"there is no '{name}'", suggest(name, FORMATS))])
    return FORMATS[name]
