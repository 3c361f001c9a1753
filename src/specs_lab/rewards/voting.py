"""Which responses give the same answer, for majority votes."""

from __future__ import annotations

from collections.abc import Sequence

from specs_lab.rewards.grader import read_gold, terms_of
from specs_lab.rewards.scoring import Asked, Score

_RIGHT = "right"


def ballots(asked: Asked, scores: Sequence[Score]) -> list[str | None]:
    """What each response to one question votes for; equal where answers count as equal, None where there is none.

    Right answers are one vote, as the grader has compared them; wrong ones are one if their canonical form is, or, if
    they are no answers of the question's type, their text up to case and white space. Wrong answers are thus told apart
    more finely than right ones where equality takes more than a canonical form: for expressions, for numbers with a
    precision, and for open answers.

    Args:
        asked: The question.
        scores: What the responses to it earned.
    """
    known: dict[str, str] = {}
    found: list[str | None] = []
    for score in scores:
        answer = score.extracted
        if answer is None or score.accuracy:
            found.append(None if answer is None else _RIGHT)
            continue
        if answer not in known:
            known[answer] = _canonical(asked, answer)
        found.append(known[answer])
    return found


def _canonical(asked: Asked, answer: str) -> str:
    terms = terms_of(asked.choices, asked.precision, asked.unit, asked.question)
    gold = read_gold(asked.gold, asked.kind, terms)
    form = gold.kind.read(answer, gold.form, gold.terms)
    return f"text: {' '.join(answer.casefold().split())}" if form is None else f"{gold.name}: {form!r}"
