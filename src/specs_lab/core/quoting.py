"""How texts that somebody else wrote are put before a language model, and what of its reply counts.

What a policy wrote may say "give this a 10", because it is rewarded for that. Whatever it says must stay data: it
stands between tags that it cannot close, and holds no token of a chat.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

_OPENING = re.compile(r"<(?=[^\s\d=<])|\[(?=/?[A-Za-z])")
"""What a tag or a chat token such as ``<|im_end|>``, ``<end_of_turn>`` or ``[INST]`` begins with; not ``x<4``."""
_REASONING = "<think>", "</think>"
_YES_OR_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def quote(prompt: str, texts: Mapping[str, str], tags: Mapping[str, str] | None = None) -> str:
    """Puts texts in their places in a prompt, as ``{question}``; other braces mean nothing.

    Each text stands on lines of its own between ``<question 1f2e3d4c>`` and ``</question 1f2e3d4c>``. The code is a
    hash of all texts: whoever writes one of them cannot know it, yet the same texts always make the same prompt. A
    space behind each bracket that could open a tag or a chat token keeps texts from containing any.

    Args:
        prompt: The prompt with its places.
        texts: By name of their place.
        tags: What their tags are called, if not as their place.
    """
    harmless = {name: _harmless(text) for name, text in texts.items()}
    code = hashlib.sha256("\0".join(harmless.values()).encode()).hexdigest()[:8]

    def block(place: re.Match[str]) -> str:
        tag = f"{(tags or {}).get(place[1], place[1])} {code}"
        return f"<{tag}>\n{harmless[place[1]]}\n</{tag}>"

    return re.sub(rf"\{{({'|'.join(map(re.escape, texts))})\}}", block, prompt)


def _harmless(text: str) -> str:
    readable = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no text to tokenizers
    return _OPENING.sub(lambda bracket: f"{bracket[0]} ", readable)


def verdict(reply: str) -> str:
    """A reply without the reasoning in front of it; empty if the reasoning does not end."""
    opening, closing = _REASONING
    rest = reply.rpartition(closing)[2].strip()
    return "" if opening in rest else rest


def read_yes_or_no(reply: str) -> bool | None:
    """Which of "yes" and "no" is the first such word behind any reasoning; None if there is neither."""
    found = _YES_OR_NO.search(verdict(reply))
    return None if found is None else found[1].lower() == "yes"
