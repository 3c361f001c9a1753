"""Whether a response has exactly the form that was asked for: DeepSeek-R1's format reward (arXiv 2501.12948, 2.2).

A format is two sections, reasoning then answer, each in tags of its own. It is followed when each of the four tags
occurs exactly once, in order, with something between the tags of both sections and nothing but white space anywhere
else. Both sections must say something: ``<think> </think>`` would otherwise earn the reward for no reasoning at all.

The scanner looks for fixed strings only, a constant number of passes over the text: the usual regular expression with
two lazy wild cards backtracks on hostile responses, and rewards read whatever a policy happens to sample.
"""

from __future__ import annotations

from typing import NamedTuple

from specs_lab.problems.instructions import FormatName

SECTIONS: dict[FormatName, tuple[str, str]] = {
    "think_answer": ("think", "answer"),
    "steps_final": ("steps", "final"),
}
"""The names of the reasoning section's and the answer section's tags, by format."""


class Parts(NamedTuple):
    """What a response says, apart from how it is written.

    Attributes:
        reasoning: The derivation, without surrounding white space.
        answer: The final answer, without surrounding white space.
    """

    reasoning: str
    answer: str


def tags_of(format: FormatName) -> tuple[str, str, str, str]:
    """The four tags of a format, in the order in which they must occur."""
    reasoning, answer = SECTIONS[format]
    return f"<{reasoning}>", f"</{reasoning}>", f"<{answer}>", f"</{answer}>"


def parse(response: str, format: FormatName) -> Parts | None:
    """Takes a response that follows a format apart.

    Args:
        response: The whole text of the response; line breaks are white space like any other.
        format: The format that was asked for.

    Returns:
        Both parts, or None if the format is not followed exactly.
    """
    tags = tags_of(format)
    if any(response.count(tag) != 1 for tag in tags):
        return None
    starts = [response.index(tag) for tag in tags]
    if starts != sorted(starts):
        return None
    ends = [start + len(tag) for start, tag in zip(starts, tags, strict=True)]
    outside = (response[: starts[0]], response[ends[1] : starts[2]], response[ends[3] :])
    if any(text.strip() for text in outside):
        return None
    parts = Parts(response[ends[0] : starts[1]].strip(), response[ends[2] : starts[3]].strip())
    return parts if all(parts) else None


def follows(response: str, format: FormatName) -> bool:
    """Whether a response has exactly the form that was asked for."""
    return parse(response, format) is not None


def write(parts: Parts, format: FormatName) -> str:
    """Writes both parts in a format, the way the instructions show it."""
    opening, closing, answer_opening, answer_closing = tags_of(format)
    return f"{opening} {parts.reasoning} {closing} {answer_opening} {parts.answer} {answer_closing}"
