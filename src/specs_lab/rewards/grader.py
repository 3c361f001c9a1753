"""Whether an answer is right: find it in the response, read it as what it should be, compare it by the type's rule.

The type of the gold answer decides what counts as equal (:mod:`specs_lab.rewards.kinds`), never how the texts happen to
look. Letters, words, numbers and boxes are compared here, in microseconds; what needs a computer algebra system is
compared in processes that are killed when they take too long (:mod:`specs_lab.rewards.isolation.workers`). No text is
ever evaluated as code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from specs_lab.core.errors import Fault, UserError
from specs_lab.rewards.extraction import answer_in, extract
from specs_lab.rewards.inference import canonical_kind, infer_kind
from specs_lab.rewards.isolation.workers import Reply, shared_pool
from specs_lab.rewards.judge import Judge, Judged
from specs_lab.rewards.kinds.base import KINDS, AnswerKind, ForJudge, Outcome, Pending, Terms

_DECIMALS = frozenset({"integer", "number", "fraction", "expression"})
LONGEST_ANSWER = 20_000
"""Characters of an answer; a longer one is wrong unread."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an answer.

    Attributes:
        correct: Whether it equals the gold answer.
        kind: The type of answer it was compared as.
        extracted: The answer as it was found, or None if there was none.
        reason: Why it is right or wrong, in a few words.
        score: Worth in [0, 1]: the overlap of a box, the judge's value of an open answer, else 1 or 0.
        stopped: Whether comparing it was given up (time, memory), which counts as wrong.
    """

    correct: bool
    kind: str
    extracted: str | None
    reason: str
    score: float = 0.0
    stopped: bool = False


class Gold(NamedTuple):
    """A gold answer that has been read.

    Attributes:
        name: Its type.
        kind: The rules of this type.
        form: Its canonical form.
        terms: What the problem says beside it.
    """

    name: str
    kind: AnswerKind[Any]
    form: Any
    terms: Terms


@dataclass(frozen=True)
class _Asked:
    """An answer whose comparison waits for somebody else."""

    gold: Gold
    extracted: str
    question: Pending | ForJudge


def terms_of(
    choices: Sequence[str] | None = None, precision: float | None = None, unit: str | None = None, question: str = ""
) -> Terms:
    """What a problem says about its answer, checked.

    Raises:
        UserError: If the precision is negative, or a unit is no text.
    """
    if unit is not None and not isinstance(unit, str):
        raise UserError([Fault("unit", f"{unit!r} is no text", "write a unit, or '1' for a proportion")])
    if precision is not None and not 0 <= precision <= 1000:
        what = f"{precision} is neither a number of decimals nor a share nor a distance"
        raise UserError([Fault("precision", what, "give a number from 0 to 1000, or none")])
    return Terms(tuple(choices or ()), precision, unit or None, question)


_NO_TERMS = Terms()


@lru_cache(maxsize=65536)
def read_gold(gold: str, kind: str | None = None, terms: Terms = _NO_TERMS) -> Gold:
    """Reads a gold answer.

    Args:
        gold: The gold answer.
        kind: Its type; by default what it looks like, see :func:`~specs_lab.rewards.inference.infer_kind`.
        terms: What the problem says beside it.

    Raises:
        UserError: If there is no such type, or the gold answer is none of its type: a fault in the data, which must not
            turn into rewards.
    """
    if "\\boxed" in gold or "<answer>" in gold:  # as some datasets write it
        gold = extract(gold) or gold
    name = infer_kind(gold, terms.choices, terms.unit) if kind is None else canonical_kind(kind)
    if kind is None and terms.precision is not None and name in ("integer", "fraction"):
        name = "number"  # who says how many decimals count expects some
    rules = KINDS.get(name)
    _check_precision(name, terms.precision)
    form = rules.read_gold(gold, terms)
    if form is None:
        among = f" among the {len(terms.choices)} choices" if terms.choices else ""
        beside = f" in '{terms.unit}'" if terms.unit else ""
        what = f"{gold[:200]!r} is no answer of type '{name}'{among}{beside}"
        raise UserError([Fault("gold answer", what, "correct the data, or its answer type")])
    return Gold(name, rules, form, terms)


def _check_precision(kind: str, precision: float | None) -> None:
    if precision is None:
        return
    if kind == "box" and not 0 < precision <= 1:
        raise UserError(
            [Fault("precision", f"{precision} is no overlap (IoU) to reach", "give a share above 0, up to 1")]
        )
    if kind in _DECIMALS and precision != int(precision):
        what = f"{precision} is no number of decimals"
        raise UserError([Fault("precision", what, "say how many decimals count: 2 for a tolerance of 0.005")])


def grade(
    prediction: str | None,
    gold: str,
    kind: str | None = None,
    *,
    choices: Sequence[str] | None = None,
    precision: float | None = None,
    unit: str | None = None,
    strict: str | None = None,
    question: str = "",
    judge: Judge | None = None,
) -> Verdict:
    """Compares an answer with the gold answer.

    Args:
        prediction: A whole response, or the answer already taken from one; None if there is none.
        gold: The gold answer.
        kind: Its type, one of :data:`~specs_lab.rewards.kinds.base.KINDS` or an alias; by default what ``gold`` looks
            like.
        choices: The options' texts, A first.
        precision: Decimals that count (numbers, expressions), least IoU (boxes), largest distance (points).
        unit: The unit of the gold answer; ``"%"``, or ``"1"`` for a proportion that may be written as per cent.
        strict: Name of a format: only its place for the answer counts.
        question: What was asked, for the judge.
        judge: Judges open answers; the type ``open`` needs one.

    Raises:
        UserError: If there is no such type, or the gold answer is none of its type: a fault in the data, which must
            not turn into rewards; or if an open answer finds no judge.
    """
    plain = choices is None and precision is None and unit is None and not question
    terms = _NO_TERMS if plain else terms_of(choices, precision, unit, question)
    answer = None if prediction is None else answer_in(prediction, strict)
    compared = _compare(answer, read_gold(gold, kind, terms))
    return compared if isinstance(compared, Verdict) else _finish([compared], judge)[0]


def grade_many(
    predictions: Sequence[str | None],
    golds: Sequence[str],
    kinds: Sequence[str | None] | None = None,
    *,
    choices: Sequence[Sequence[str] | None] | None = None,
    precisions: Sequence[float | None] | None = None,
    units: Sequence[str | None] | None = None,
    strict: Sequence[str | None] | None = None,
    questions: Sequence[str] | None = None,
    judge: Judge | None = None,
) -> list[Verdict]:
    """Compares many answers with their gold answers, as :func:`grade` does each; see there for the arguments.

    Equal answers to equal problems are compared once, however the responses around them differ. What a
    computer algebra system or a judge must compare is sent off together.
    """
    count = len(predictions)
    columns = [
        golds,
        *(
            [None] * count if column is None else column
            for column in (kinds, choices, precisions, units, questions, strict)
        ),
    ]
    if any(len(column) != count for column in columns):
        raise ValueError(f"{count} predictions need as many gold answers, and as many of whatever else is given")
    plain = choices is None and precisions is None and units is None and questions is None
    place: dict[tuple[Any, ...], int] = {}
    unique: list[Verdict | _Asked] = []
    order: list[int] = []
    for prediction, gold, kind, options, precision, unit, question, only in zip(predictions, *columns, strict=True):
        terms = None if plain else terms_of(options, precision, unit, question or "")
        found = None if prediction is None else answer_in(prediction, only)
        index = place.setdefault((found, gold, kind, terms) if terms else (found, gold, kind), len(unique))
        if index == len(unique):
            unique.append(_compare(found, read_gold(gold, kind, terms or _NO_TERMS)))
        order.append(index)
    finished = iter(_finish([one for one in unique if isinstance(one, _Asked)], judge))
    verdicts = [one if isinstance(one, Verdict) else next(finished) for one in unique]
    return [verdicts[index] for index in order]


def _compare(found: str | None, gold: Gold) -> Verdict | _Asked:
    """All that can be said of an answer without asking anybody."""
    if found is None:
        return Verdict(False, gold.name, None, "no answer")
    if len(found) > LONGEST_ANSWER:
        return Verdict(False, gold.name, f"{found[:LONGEST_ANSWER]}\u2026", "too long for an answer")
    given = gold.kind.read(found, gold.form, gold.terms)
    if given is None:
        return Verdict(False, gold.name, found, f"not of type {gold.name}")
    outcome = gold.kind.compare(given, gold.form, gold.terms)
    return _verdict(gold, found, outcome) if isinstance(outcome, Outcome) else _Asked(gold, found, outcome)


def _verdict(gold: Gold, extracted: str, outcome: Outcome) -> Verdict:
    score = float(outcome.correct) if outcome.score is None else outcome.score
    return Verdict(outcome.correct, gold.name, extracted, outcome.reason, score)


def _finish(waiting: Sequence[_Asked], judge: Judge | None) -> list[Verdict]:
    requests = [request for one in waiting if isinstance(one.question, Pending) for request in one.question.requests]
    replies = iter(shared_pool().ask_many(requests) if requests else [])
    judged = [one for one in waiting if isinstance(one.question, ForJudge)]
    values = iter(_judge(judged, judge))
    verdicts = []
    for one in waiting:
        if isinstance(one.question, Pending):
            verdicts.append(_decided(one, one.question, [next(replies) for _ in one.question.requests]))
        else:
            verdicts.append(_verdict(one.gold, one.extracted, next(values)))
    return verdicts


def _decided(one: _Asked, question: Pending, replies: Sequence[Reply]) -> Verdict:
    for reply in replies:
        if reply.value is not None and reply.value.get("error") == "gold":
            what = f"the computer algebra system cannot read it ({reply.value.get('reason')})"
            raise UserError([Fault("gold answer", what, "correct the data, or its answer type")])
    stopped = [reply.status for reply in replies if reply.status != "done"]
    if stopped:
        return Verdict(False, one.gold.name, one.extracted, f"comparing it was stopped: {stopped[0]}", stopped=True)
    return _verdict(one.gold, one.extracted, question.decide([reply.value or {} for reply in replies]))


def _judge(waiting: Sequence[_Asked], judge: Judge | None) -> list[Outcome]:
    if not waiting:
        return []
    if judge is None:
        fix = "choose a judge, e.g. judge=endpoint, or another answer type"
        raise UserError([Fault("judge", "open answers need a judge, and there is none", fix)])
    asked = [
        Judged(one.question.answer, one.question.gold, one.gold.terms.question)
        for one in waiting
        if isinstance(one.question, ForJudge)
    ]
    values, threshold = judge(asked), getattr(judge, "threshold", 0.5)  # a plain function may have none
    if len(values) != len(asked) or not all(0 <= value <= 1 for value in values):
        raise ValueError(f"a judge must give each answer a value in [0, 1], not {values}")
    return [
        Outcome(value >= threshold, f"judged {value:g}, at least {threshold:g} is wanted", value) for value in values
    ]
