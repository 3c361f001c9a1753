r"""Scores a response against a row by rule: the stated answer first, then what public scorers fall back on.

1. The answer in the place of the format that was asked for, or however else it is stated
   (:func:`specs_lab.rewards.extraction.answer_in`): tags, ``\boxed{}``, "the answer is x".
2. If nothing is stated, or what is stated cannot be read as an answer of the row's type, candidates from the text:
   of the last sentence that has any. For options that is a letter called an option or the answer, in parentheses, at
   the start or the end, or the only option whose text occurs; for numbers and formulas what follows ``=``, a formula
   between ``$``, the only number.

Candidates are compared by :func:`specs_lab.rewards.grader.grade`, as everywhere. Nothing is guessed: where no
candidate can be read, or a sentence names several options or numbers, the answer is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from specs_lab.evaluation.benchmarks.cells import letter_at
from specs_lab.problems.rows import ProblemRow
from specs_lab.rewards.extraction import SEARCHED, answer_in
from specs_lab.rewards.grader import LONGEST_ANSWER, Gold, Verdict, grade, read_gold, terms_of
from specs_lab.rewards.judge import Judge, Judged
from specs_lab.rewards.kinds.writing import folded
from specs_lab.rewards.quantities import read_quantity

_MOST_OPTIONS = 26
_MOST_SENTENCES = 50
"""Sentences, from the end, in which an answer is looked for that is not announced."""
_IN_PARENTHESES = re.compile(r"\(([A-Z])\)")
_NAMED = re.compile(r"\b(?:option|choice|answer)s?\s*(?:is|:)?\s*[(*\"']{0,3}([A-Z])\b(?!')", re.IGNORECASE)
_LABEL = re.compile(r"^\W{0,3}([A-Z])(?:[.):](?=\s|$)|,(?=(?:[^A-Z]|\bI\b)*$)|\W{0,3}$)")
_AT_END = re.compile(r"(?:\b(?:is|be|choose|select|pick)|:)\s*[(*\"']{0,3}([A-Z])[)*\"'.!]{0,4}\s*$")
_SENTENCE = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)\s+|\n+")
_DENIED = re.compile(r"(?:\bnot|\bcannot|n't|\bnever)\s+$", re.IGNORECASE)
_WORD = re.compile(r"\s?[^\s,;:!?)]+")
_LONGEST_UNIT = 3  # words
_NUMBER = re.compile(
    r"[-\u2212]?(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s?/\s?\d+)?(?:\s?%)?(?!\d|\.\d)"
    r"|(?<![\w.])[-\u2212]?\.\d+"
)
_FORMULA = re.compile(r"\$([^$\n]{1,400})\$")
_BRACKETS = re.compile(r"\[[^\[\]\n]{1,2000}\]")
_NUMERIC = frozenset({"integer", "number", "fraction"})
_FORMULAS = _NUMERIC | {"expression", "equation", "ratio", "interval", "set", "matrix"}
_JUDGED = frozenset({"word", "list", "open", "expression", "equation", "interval", "set", "matrix"})


def judge_answer(row: ProblemRow, response: str, judge: Judge | None = None) -> Verdict:
    """Whether a response is right.

    Args:
        row: What was asked; its gold answer must be readable.
        response: All of the response.
        judge: Asked about an open answer, and about an answer in words or formulas that the rules call wrong. Letters
            and numbers are never put to it.
    """
    gold = read_gold(row.answer, row.kind, terms_of(row.choices, row.precision, row.unit, row.question))
    if gold.name == "open":
        answer = answer_in(response) or _last_line(response)
        return _put_to_judge(row, Verdict(False, "open", answer, "no rule decides"), judge) if answer else _none(gold)
    found = Verdict(False, gold.name, None, "no answer")
    for candidate in _candidates(gold, response):
        verdict = _graded(row, gold, candidate)
        if verdict is not None:
            found = verdict
            break
        if found.extracted is None:
            found = Verdict(False, gold.name, candidate, f"not of type {gold.name}")
    if gold.name == "choice":
        return _by_value(row, gold, found)
    return found if found.correct or gold.name not in _JUDGED else _put_to_judge(row, found, judge)


def _none(gold: Gold) -> Verdict:
    return Verdict(False, gold.name, None, "no answer")


def _candidates(gold: Gold, response: str) -> Iterator[str]:
    """What may be the answer, the best first; each without line breaks."""
    response = response[-SEARCHED:]
    stated = answer_in(response)
    if stated is not None:
        yield " ".join(stated.split())
    if stated is None and (line := _last_line(response)):
        text, last = response, answer_in(line)
        if last is not None:
            yield last
    else:
        text = stated or ""
    if gold.name == "choice":
        yield from _letters(text, gold.terms.choices)
    elif gold.name in _FORMULAS:
        yield from _formulas(text, gold.terms.unit, numbers=gold.name in _NUMERIC)
    elif gold.name == "list":
        yield from reversed(_BRACKETS.findall(text))


def _last_line(response: str) -> str:
    lines = [line.strip() for line in response.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _sentences(text: str) -> list[str]:
    """The last sentences and lines of a text, the very last first."""
    return [part for part in reversed(_SENTENCE.split(text)) if part.strip()][:_MOST_SENTENCES]


def _letters(text: str, choices: Sequence[str]) -> Iterator[str]:
    """The letter of the one option that the last sentence which names any names; none if that names several."""
    last = letter_at((len(choices) or _MOST_OPTIONS) - 1)
    for sentence in _sentences(text):
        for form in (_NAMED, _IN_PARENTHESES, _LABEL, _AT_END):
            # "answer is a circle": the words may be in any case, the letter may not
            found = {match[1]: match for match in form.finditer(sentence) if "A" <= match[1] <= last}
            if found:
                named = next(iter(found.values()))
                denied = _DENIED.search(sentence, 0, named.start()) is not None
                agreed = len(found) == 1 and not denied and not _contradicted(named, choices)
                yield from found if agreed else ()
                return
        if (only := _only_option(sentence, choices)) is not None:
            yield letter_at(only)
            return


def _contradicted(named: re.Match[str], choices: Sequence[str]) -> bool:
    """Whether what follows a letter is the text of another option."""
    rest = folded(named.string[named.end() :].lstrip(" .:)*"))
    same = [letter_at(index) for index, choice in enumerate(choices) if rest and folded(choice) == rest]
    return bool(same) and named[1] not in same


def _only_option(text: str, choices: Sequence[str]) -> int | None:
    """The option whose text occurs, if those of no others do but as a part of its own."""
    said = folded(text)
    there = {
        index: folded(choice)
        for index, choice in enumerate(choices)
        if folded(choice) and re.search(rf"(?<![\w.]){re.escape(folded(choice))}(?!\w|\.\d)", said)
    }
    longest = [index for index, own in there.items() if all(own == other or other in own for other in there.values())]
    return longest[0] if len(longest) == 1 else None


def _formulas(text: str, unit: str | None, *, numbers: bool) -> Iterator[str]:
    """What the last sentence with a formula or a number in it comes to; nothing if it has several numbers."""
    for sentence in _sentences(text):
        tail = sentence.rpartition("=")[2] if "=" in sentence else ""
        if tail.strip(" .$"):
            yield tail.strip().rstrip(".").strip("$ ")
        formulas = _FORMULA.findall(sentence)
        if formulas:
            yield formulas[-1].rpartition("=")[2]
            yield formulas[-1]
        found = _first_two(_numbers(tail or sentence, unit)) if numbers else set()
        if len(found) == 1:
            yield from found
        if tail or formulas or found:
            return


def _first_two(values: Iterator[str]) -> set[str]:
    """The first value, and the first other one if there is any."""
    found: set[str] = set()
    for value in values:
        found.add(value)
        if len(found) > 1:
            break
    return found


def _numbers(text: str, unit: str | None) -> Iterator[str]:
    """The numbers in a text; with its unit where one follows, for a number of something else is no answer."""
    place = 0
    while match := _NUMBER.search(text, place):
        ends = [word.end() for word in islice(_WORD.finditer(text, match.end()), _LONGEST_UNIT)]
        longer = [text[match.start() : end].rstrip() for end in reversed(ends)]
        found = next((one for one in longer if read_quantity(one, unit) is not None), match[0])
        yield found
        place = match.start() + len(found)


def _graded(row: ProblemRow, gold: Gold, candidate: str) -> Verdict | None:
    """What the grader says of a candidate; None if it cannot be read as an answer of the gold answer's type."""
    if len(candidate) > LONGEST_ANSWER:
        return None
    read = gold.kind.read(candidate, gold.form, gold.terms)
    if read is None:
        return None
    if gold.name == "choice" and _says_the_same(read, gold.form, row.choices):
        return Verdict(True, gold.name, candidate, "an option of the same text", 1.0)
    return _said(row, gold, candidate)


def _said(row: ProblemRow, gold: Gold, candidate: str) -> Verdict:
    # in tags, so that nothing more is looked for in it
    stated = f"<answer>{candidate}</answer>"
    verdict = grade(
        stated,
        row.answer,
        gold.name,
        choices=row.choices or None,
        precision=row.precision,
        unit=row.unit,
        question=row.question,
    )
    return replace(verdict, extracted=candidate)


def _says_the_same(given: frozenset[str], gold: frozenset[str], choices: Sequence[str]) -> bool:
    """Whether another option than the right one was chosen whose text is the same."""
    if len(given) != 1 or len(gold) != 1 or given == gold or not choices:
        return False
    indexes = [ord(next(iter(letters))) - ord("A") for letters in (given, gold)]
    return all(i < len(choices) for i in indexes) and len({folded(choices[i]) for i in indexes}) == 1


def _by_value(row: ProblemRow, gold: Gold, verdict: Verdict) -> Verdict:
    """Grades an answer by the right option's value, if it is no option's letter: 0.5 where the option says 1/2."""
    if verdict.correct or verdict.extracted is None or not row.choices or len(gold.form) != 1:
        return verdict
    text = row.choices[ord(next(iter(gold.form))) - ord("A")]
    if not text.strip() or gold.kind.read(verdict.extracted, gold.form, gold.terms) is not None:
        return verdict
    value = grade(f"<answer>{verdict.extracted}</answer>", text)
    return replace(value, kind="choice", extracted=verdict.extracted) if value.correct else verdict


def _put_to_judge(row: ProblemRow, verdict: Verdict, judge: Judge | None) -> Verdict:
    if judge is None or verdict.extracted is None:
        return verdict
    (value,) = judge([Judged(verdict.extracted, row.answer, row.question)])
    threshold = getattr(judge, "threshold", 0.5)
    reason = f"judged {value:g}, at least {threshold:g} is wanted"
    return replace(verdict, correct=value >= threshold, reason=reason, score=value)
