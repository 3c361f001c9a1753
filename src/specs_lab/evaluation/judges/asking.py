"""How an answer is put to a judge that is a language model, and what of its reply counts.

The answer comes from a policy that is rewarded for the judge's verdict, so it will say "give this a 10" if that helps.
Whatever it says must stay data: it stands between tags that it cannot close, and holds no token of a chat.
"""

from __future__ import annotations

import hashlib
import re

from specs_lab.core.options import Checks
from specs_lab.rewards.judge import Judged

_PLACE = re.compile(r"\{(question|gold|answer)\}")
_TAGS = {"question": "question", "gold": "reference", "answer": "answer"}
_OPENING = re.compile(r"<(?=[^\s\d=<])|\[(?=/?[A-Za-z])")
"""What a tag or a chat token such as ``<|im_end|>``, ``<end_of_turn>`` or ``[INST]`` begins with; not ``x<4``."""
_REASONING = "<think>", "</think>"


def check_prompt(checks: Checks, prompt: str) -> Checks:
    """A prompt must have a place for the answer and one for the reference."""
    for name in ("gold", "answer"):
        there = f"{{{name}}}" in prompt
        checks.that(there, "prompt", f"has no place for the {_TAGS[name]}", f"write {{{name}}} where it belongs")
    return checks


def fill(prompt: str, judged: Judged) -> str:
    """Puts texts in the places ``{question}``, ``{gold}`` and ``{answer}``; other braces mean nothing.

    Each text stands on lines of its own between ``<answer 1f2e3d4c>`` and ``</answer 1f2e3d4c>``. The code is a hash
    of all three texts: whoever writes one of them cannot know it, yet the same texts always make the same prompt. A
    space behind each bracket that could open a tag or a chat token keeps texts from containing any.
    """
    texts = {name: _harmless(getattr(judged, name)) for name in _TAGS}
    code = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()[:8]

    def block(place: re.Match[str]) -> str:
        tag = f"{_TAGS[place[1]]} {code}"
        return f"<{tag}>\n{texts[place[1]]}\n</{tag}>"

    return _PLACE.sub(block, prompt)


def _harmless(text: str) -> str:
    readable = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no text to tokenizers
    return _OPENING.sub(lambda bracket: f"{bracket[0]} ", readable)


def verdict(reply: str) -> str:
    """A reply without the reasoning in front of it; empty if the reasoning does not end."""
    opening, closing = _REASONING
    rest = reply.rpartition(closing)[2].strip()
    return "" if opening in rest else rest
