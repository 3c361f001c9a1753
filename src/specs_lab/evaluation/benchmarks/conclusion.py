"""What a response says once its reasoning is over; public parsers know nothing of tags and take all of it."""

from __future__ import annotations

from specs_lab.rewards.extraction import SEARCHED
from specs_lab.rewards.grammar import boxes

_OPENING, _CLOSING = "<answer>", "</answer>"
_AFTER_REASONING = ("</think>", "</thinking>")


def conclusion(response: str) -> str:
    """The last complete ``<answer>`` section; without one, what follows the reasoning; without that, all of it.

    Only the last :data:`~specs_lab.rewards.extraction.SEARCHED` characters are looked at.
    """
    response = response[-SEARCHED:]
    opening = response.rfind(_OPENING, 0, max(response.rfind(_CLOSING), 0))
    if opening >= 0:
        inside = opening + len(_OPENING)
        return response[inside : response.index(_CLOSING, inside)].strip()
    after = max((response.rfind(tag) + len(tag) if tag in response else 0) for tag in _AFTER_REASONING)
    return response[after:].strip() if after else response


def last_box(text: str) -> str | None:
    r"""What the last ``\boxed{}`` that is complete says; None if there is none, or it says nothing."""
    contents = [box.content.strip() for box in boxes(text) if box.content is not None]
    return contents[-1] or None if contents else None
