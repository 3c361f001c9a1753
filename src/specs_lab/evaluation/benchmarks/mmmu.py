"""MMMU (arXiv 2311.16502): questions of college courses in 30 subjects, with up to seven pictures each.

Answers are found and compared by the rules of the public evaluation, with the differences that
``docs/benchmarks.md`` lists; above all, nothing is guessed at random where no answer is found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, ClassVar

from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.evaluation.benchmarks.base import BENCHMARKS, Benchmark, Item, Parts, Scored, accuracy_parts
from specs_lab.evaluation.benchmarks.cells import lettered, text_in
from specs_lab.evaluation.benchmarks.conclusion import conclusion, last_box
from specs_lab.evaluation.benchmarks.literals import NotLiteral, literal
from specs_lab.problems.rows import BrokenRow, ProblemRow
from specs_lab.rewards.grader import LONGEST_ANSWER, Verdict
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.kinds.base import KINDS, Terms

DISCIPLINES: Mapping[str, tuple[str, ...]] = {
    "art_and_design": ("Art", "Art_Theory", "Design", "Music"),
    "business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "health_and_medicine": (
        "Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy",
        "Public_Health",
    ),
    "humanities_and_social_science": ("History", "Literature", "Psychology", "Sociology"),
    "tech_and_engineering": (
        "Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics", "Energy_and_Power",
        "Materials", "Mechanical_Engineering",
    ),
}  # fmt: skip
"""The 30 subjects, which are the dataset's configs, by discipline."""

_DISCIPLINE_OF = {subject: discipline for discipline, subjects in DISCIPLINES.items() for subject in subjects}
_MOST_PICTURES = 7
_MARK = re.compile(r"<image (\d{1,2})>")
_CHOICE, _OPEN = "multiple-choice", "open"
_WITHHELD = ("?", "")
_ASKED_FOR = {
    _CHOICE: "Answer with the option's letter from the given choices.",
    _OPEN: "Answer the question using a single word or phrase.",
}

_AROUND = ",.!?;:'"
_FEWEST_WORDS = 6
"""Words of a response in which an option's text is looked for, as in the public parser."""
_ANNOUNCING = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL = frozenset(":,.!?;'")
# Each run of digits is looked at once, whatever follows it: else a long run would take a time quadratic in its length.
_DIGITS, _EXPONENT = r"(?<!\d)\d+", r"[eE][+-]?\d+"
_WITH_COMMAS = re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b")
_SCIENTIFIC = re.compile(rf"-?{_DIGITS}(?:\.\d+)?{_EXPONENT}")
_SIMPLE = re.compile(rf"-?(?:{_DIGITS}(?:\.\d+|\b)|\.\d+)(?!{_EXPONENT}|[,\d])")
_DECIMALS = 2


def chosen(response: str, options: Sequence[str]) -> str | None:
    """The letter of the option that a response names; None if it names none.

    Looked for in turn: letters in brackets, letters between spaces, options' texts in a response of more than five
    words; of several that are found the last counts. All this is the public rule. Where that guesses at random, the
    response is read as a label (``B. 7``, ``**B**``) or as the text of one option.

    Args:
        response: What a response concludes with.
        options: The options' texts, A first.
    """
    text = response.strip()
    for sign in _AROUND:
        text = text.strip(sign)
    padded, letters = f" {text} ", ascii_uppercase[: len(options)]
    for written in ("({})", " {} "):
        if found := _last(padded, {letter: written.format(letter) for letter in letters}):
            return found
    if len(padded.split()) >= _FEWEST_WORDS and (
        found := _last(padded.lower(), {a: b.lower() for a, b in zip(letters, options, strict=True)})
    ):
        return found
    if len(text) > LONGEST_ANSWER:
        return None
    named = KINDS.get("choice").read_gold(response.strip(), Terms(choices=tuple(options)))
    return min(named) if named and len(named) == 1 else None


def _last(text: str, wanted: Mapping[str, str]) -> str | None:
    """The name of what begins last in a text; the first one, if several begin there."""
    starts = {name: text.rfind(what) for name, what in wanted.items()}
    name = max(starts, key=lambda one: starts[one])
    return name if starts[name] >= 0 else None


def normalised(text: str) -> list[str | float]:
    """A text as it is compared: numbers rounded to two decimals, words in lower case.

    A single character gets a space before or behind it, so that it is not found within words.
    """
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), _DECIMALS)]
    except ValueError:
        lowered = text.lower()
        return [f" {lowered}", f"{lowered} "] if len(lowered) == 1 else [lowered]


def _key_phrases(response: str) -> list[str]:
    """The shortest piece behind a word that announces an answer, of each line; all of it if no word does."""
    text = response.strip().strip(".").lower()
    lines = text.split("\n")
    phrases: list[str] = []
    for index, line in enumerate(lines):
        words = (*_ANNOUNCING, "=") if index == len(lines) - 1 else _ANNOUNCING
        pieces = [line.rpartition(word)[2].strip() for word in words if word in line]
        shortest = ""
        for piece in pieces:  # an empty one is passed over, unless it is the shortest so far
            shortest = piece if not shortest or len(piece) < len(shortest) else shortest
        if shortest and shortest not in _TRIVIAL:
            phrases.append(shortest)
    return phrases or [text]


def stated(response: str) -> list[str | float]:
    """All that a response may state as the answer of an open question: phrases, and the numbers in them."""
    phrases = _key_phrases(response)
    numbers = [
        number for phrase in phrases for form in (_WITH_COMMAS, _SCIENTIFIC, _SIMPLE) for number in form.findall(phrase)
    ]
    return list(dict.fromkeys(one for text in (*phrases, *numbers) for one in normalised(text)))


def matches(candidates: Sequence[str | float], golds: Sequence[str]) -> bool:
    """Whether one of the candidates is a gold number, or contains a gold text."""
    wanted = [one for gold in golds for one in normalised(gold)]
    texts = [one for one in wanted if isinstance(one, str)]
    return any(
        any(text in candidate for text in texts) if isinstance(candidate, str) else candidate in wanted
        for candidate in candidates
    )


@BENCHMARKS.register("mmmu")
class MMMU(Benchmark):
    """MMMU, splits ``dev`` and ``validation``; the answers of ``test`` are withheld, so its rows are broken."""

    name: ClassVar[str] = "mmmu"
    uses_grader: ClassVar[bool] = False

    def read(self, row: Mapping[str, Any]) -> Item:
        """Reads a row: ``<image N>`` in question and options become marks, the pictures in the order of the marks.

        Pictures that no mark names are left out, as in the public evaluation: they belong to the explanation. If
        there is no mark at all, those that the explanation does not name stand before the question.

        Raises:
            BrokenRow: For the reasons ``no_id``, ``no_question``, ``no_question_type``, ``unknown_type``,
                ``bad_options``, ``no_answer``, ``bad_answer``, ``gold_no_option``, ``missing_image``, ``no_image``.
        """
        name, question, kind = (text_in(row, key) for key in ("id", "question", "question_type"))
        if kind not in (_CHOICE, _OPEN):
            raise BrokenRow("unknown_type", f"is of the type '{kind}', neither '{_CHOICE}' nor '{_OPEN}'")
        options = _options(row) if kind == _CHOICE else ()
        golds = _golds(row, options)
        text = f"{question}\n{lettered(options)}\n" if options else question
        images = _pictures(row, text)
        subject = "_".join(name.split("_")[1:-1])
        about = {key: str(row[key]) for key in ("topic_difficulty", "subfield", "img_type") if row.get(key)}
        problem = ProblemRow(
            id=name,
            question=_MARK.sub(IMAGE_MARKER, text),
            answer=golds[0],
            images=images,
            kind="choice" if options else None,
            family=subject,
            about=about,
        )
        return Item(row=problem, extra={"options": list(options), "golds": list(golds), "subject": subject})

    def ask(self, item: Item) -> str:
        """The question, the options as ``(A) text``, one a line, and what the public evaluation says of the answer.

        But for its word "directly", which would forbid the reasoning that instructions ask for.
        """
        return f"{item.row.question}\n{_ASKED_FOR[_CHOICE if item.extra['options'] else _OPEN]}"

    def score(self, item: Item, response: str, judge: Judge | None) -> Verdict:
        """By letter, or by the number or text of any gold answer; no judge is asked."""
        del judge
        concluded = conclusion(response)
        said = last_box(concluded) or concluded
        golds = list(item.extra["golds"])
        if options := item.extra["options"]:
            letter = chosen(said, options)
            right = letter in golds
            reason = "names no option" if letter is None else f"{letter} is {'' if right else 'not '}the answer"
            return Verdict(right, "choice", letter, reason, float(right))
        candidates = stated(said)
        right = matches(candidates, golds)
        shown = "; ".join(map(str, candidates))[:LONGEST_ANSWER]
        return Verdict(
            right, "short_answer", shown or None, "states it" if right else "does not state it", float(right)
        )

    def parts(self, scored: Scored) -> Parts:
        """Accuracy by subject and by discipline, each over its questions, as in the public evaluation."""

        def labels(item: Item) -> list[str]:
            subject = item.extra["subject"]
            return [f"subject/{subject}", f"discipline/{_DISCIPLINE_OF.get(subject, 'other')}"]

        return accuracy_parts(scored, labels)


def _texts(row: Mapping[str, Any], key: str, reason: str) -> tuple[str, ...]:
    """The texts of a cell that holds a list of them, or such a list as a text."""
    value = row.get(key)
    if isinstance(value, str):
        try:
            value = literal(value)
        except NotLiteral as error:
            raise BrokenRow(reason, f"'{key}' is no list of texts: {error}") from error
    if not isinstance(value, list | tuple) or not value or any(isinstance(one, list | dict | tuple) for one in value):
        raise BrokenRow(reason, f"'{key}' is no list of texts")
    return tuple(str(one) for one in value)


def _options(row: Mapping[str, Any]) -> tuple[str, ...]:
    options = _texts(row, "options", "bad_options")
    if not 2 <= len(options) <= len(ascii_uppercase) or not all(one.strip() for one in options):
        raise BrokenRow("bad_options", f"has {len(options)} options, or an empty one")
    return options


def _golds(row: Mapping[str, Any], options: tuple[str, ...]) -> tuple[str, ...]:
    """The answers, any of which is right."""
    answer = row.get("answer")
    if answer is None or answer in _WITHHELD:
        raise BrokenRow("no_answer", "has no answer, as all rows of the split 'test'")
    listed = not isinstance(answer, str) or answer.strip().startswith("[")
    golds = _texts(row, "answer", "bad_answer") if listed and not options else (str(answer).strip(),)
    if not all(one.strip() for one in golds):
        raise BrokenRow("bad_answer", "has an empty answer, which any response contains")
    if options and golds[0] not in tuple(ascii_uppercase[: len(options)]):
        raise BrokenRow("gold_no_option", f"the answer {golds[0][:40]!r} is no letter of its {len(options)} options")
    return golds


def _pictures(row: Mapping[str, Any], text: str) -> tuple[Any, ...]:
    """The pictures in the order of the marks; one that is named twice comes twice."""
    numbers = [int(number) for number in _MARK.findall(text)]
    if not numbers:
        explained = {int(number) for number in _MARK.findall(str(row.get("explanation") or ""))}
        numbers = [
            number
            for number in range(1, _MOST_PICTURES + 1)
            if row.get(f"image_{number}") is not None and number not in explained
        ]
    missing = sorted({number for number in numbers if row.get(f"image_{number}") is None})
    if missing:
        raise BrokenRow("missing_image", f"names pictures that it does not hold: {missing}")
    if not numbers:
        raise BrokenRow("no_image", "has no picture")
    return tuple(row[f"image_{number}"] for number in numbers)
