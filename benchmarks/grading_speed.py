"""Grades a second of specs_lab's grader and of math-verify, in turn, on texts that neither has seen before."""

from __future__ import annotations

import random
import string
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.limited import check
from benchmarks.results import spread
from specs_lab.rewards.grader import grade, grade_many

BATCH = 256
SHARE = 20
"""math-verify takes one text of so many, lest it take all the time."""

_RESPONSE = (
    "<think>The picture shows {rows} rows of {columns} dots each. I count them row by row, which gives {rows} times "
    "{columns}, and then take away the {missing} that are crossed out. Let me check this by columns: there are "
    "{columns} of them, and {missing} dots are missing at the end.</think>\n<answer>\\boxed{{{answer}}}</answer>"
)


@dataclass(frozen=True)
class Text:
    """A prediction, its gold answer, and whether it is right."""

    prediction: str
    gold: str
    correct: bool


def _choice(dice: random.Random, right: bool) -> tuple[str, str]:
    gold, other = dice.sample("ABCD", 2)
    return (gold if right else other), gold


def _word(dice: random.Random, right: bool) -> tuple[str, str]:
    gold, other = ("".join(dice.choices(string.ascii_lowercase, k=8)) for _ in range(2))
    return (gold if right else other), gold


def _integer(dice: random.Random, right: bool) -> tuple[str, str]:
    gold = dice.randrange(10, 100_000)
    return str(gold if right else gold + dice.randrange(1, 9)), str(gold)


def _expression(dice: random.Random, right: bool) -> tuple[str, str]:
    """A product, and the same written out, or nearly the same."""
    a, b = dice.randrange(2, 1000), dice.randrange(2, 1000)
    return f"x^2 + {a + b + (not right)}x + {a * b}", f"(x+{a})(x+{b})"


KINDS: dict[str, Callable[[random.Random, bool], tuple[str, str]]] = {
    "choice": _choice,
    "word": _word,
    "integer": _integer,
    "expression": _expression,
}


def texts(kind: str, whole: bool, count: int, seed: int) -> list[Text]:
    """Half of them right: whole responses of about 300 characters, or bare answers."""
    dice = random.Random(f"{kind} {whole} {seed}")
    made = []
    for place in range(count):
        answer, gold = KINDS[kind](dice, place % 2 == 0)
        numbers = {name: dice.randrange(2, 1000) for name in ("rows", "columns", "missing")}
        prediction = _RESPONSE.format(**numbers, answer=answer) if whole else answer
        made.append(Text(prediction, gold, place % 2 == 0))
    return made


def one_by_one(kind: str, given: Sequence[Text]) -> list[bool]:
    """A call for each."""
    return [grade(text.prediction, text.gold, kind).correct for text in given]


def batches(kind: str, given: Sequence[Text]) -> list[bool]:
    """A call for each batch."""
    verdicts: list[bool] = []
    for first in range(0, len(given), BATCH):
        part = given[first : first + BATCH]
        found = grade_many([text.prediction for text in part], [text.gold for text in part], [kind] * len(part))
        verdicts += [verdict.correct for verdict in found]
    return verdicts


def math_verify(kind: str, given: Sequence[Text]) -> list[bool]:
    """Called directly. Letters and words need more than its defaults: letters are looked for, golds go in dollars."""
    dollars = "${}$" if kind in ("word", "expression") else "{}"
    bare = kind in ("word", "expression") and bool(given) and "<answer>" not in given[0].prediction
    said = dollars if bare else "{}"
    return [check(dollars.format(text.gold), said.format(text.prediction), kind == "choice") for text in given]


WAYS: dict[str, Callable[[str, Sequence[Text]], list[bool]]] = {
    "grade": one_by_one,
    "grade_many": batches,
    "math-verify": math_verify,
}


def measure(kind: str, whole: bool, count: int, repeats: int) -> dict[str, Any]:
    """Each way's grades a second in every repeat, the first of which warms up and is dropped; who begins changes."""
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    agreed: dict[str, list[bool]] = {name: [] for name in WAYS}
    order = list(WAYS)
    for repeat in range(repeats + 1):
        for name in order:
            given = texts(kind, whole, count, seed=len(order) * repeat + list(WAYS).index(name))
            given = given[: max(2, count // SHARE)] if name == "math-verify" else given
            start = time.perf_counter()
            verdicts = WAYS[name](kind, given)
            seconds = time.perf_counter() - start
            if repeat:
                rates[name].append(len(given) / seconds)
                agreed[name] += [said == text.correct for said, text in zip(verdicts, given, strict=True)]
        order = [*order[1:], order[0]]
    return {name: {"per_second": spread(rates[name]), "agreed": sum(agreed[name]) / len(agreed[name])} for name in WAYS}


def throughput(count: int, repeats: int) -> list[dict[str, Any]]:
    """All kinds, as whole responses and as bare answers. Expressions go through the pool, and take fewer texts."""
    rows = []
    for whole in (True, False):
        for kind in KINDS:
            form = "response" if whole else "bare answer"
            print(f"throughput: {kind}, {form}", file=sys.stderr, flush=True)
            size = max(2 * SHARE, count // 10) if kind == "expression" else count
            rows.append({"kind": kind, "form": form, "ways": measure(kind, whole, size, repeats)})
    return rows
