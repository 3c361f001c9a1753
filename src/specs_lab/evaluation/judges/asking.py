"""How an answer is put to a judge that is a language model; see :mod:`specs_lab.core.quoting`.

The answer comes from a policy that is rewarded for the judge's verdict.
"""

from __future__ import annotations

from specs_lab.core.options import Checks
from specs_lab.core.quoting import quote, verdict
from specs_lab.rewards.judge import Judged

__all__ = ["check_prompt", "fill", "verdict"]

_TAGS = {"question": "question", "gold": "reference", "answer": "answer"}


def check_prompt(checks: Checks, prompt: str) -> Checks:
    """A prompt must have a place for the answer and one for the reference."""
    for name in ("gold", "answer"):
        there = f"{{{name}}}" in prompt
        checks.that(there, "prompt", f"has no place for the {_TAGS[name]}", f"write {{{name}}} where it belongs")
    return checks


def fill(prompt: str, judged: Judged) -> str:
    """Puts texts in the places ``{question}``, ``{gold}`` and ``{answer}``, between tags that they cannot close."""
    return quote(prompt, {name: getattr(judged, name) for name in _TAGS}, _TAGS)
