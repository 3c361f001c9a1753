"""What readers share: how a cell of a table becomes a question, an answer, pictures and options, or a broken row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from specs_lab.core.errors import UserError
from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.core.registry import Registry
from specs_lab.problems.rows import BrokenRow, ProblemRow

LONGEST_ANSWER_WORDS = 12
"""A gold answer in more words is no fact that rules could compare, but an open answer."""

_FORMAT_REQUEST = re.compile(r"\\boxed|</?(?:think|answer)>")
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")


@dataclass(frozen=True)
class Place:
    """Where a row stands, and what the options say about reading it.

    Attributes:
        number: Number of the row in its table, from 0.
        columns: Names of columns by role, for readers of tables of no known schema.
        open_answers: Keep answers that only a judge can grade.
    """

    number: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    open_answers: bool = False


Reader = Callable[[Mapping[str, Any], Place], ProblemRow]
"""Makes a problem of a raw row.

Raises:
    BrokenRow: If the row cannot be used.
"""

READERS: Registry[Reader] = Registry("reader of datasets", "specs_lab.problems.readers")
"""The readers by name."""


def text_of(row: Mapping[str, Any], key: str) -> str:
    """The text of a cell without surrounding white space; numbers are written out, nothing and NaN are empty.

    Raises:
        BrokenRow: If it is no text.
    """
    value = row.get(key)
    if not isinstance(value, str | int | float | None):
        raise BrokenRow("bad_value", f"its '{key}' is no text")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None or value != value else str(value).strip()
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BrokenRow("bad_value", f"its '{key}' holds half of a character (a lone surrogate)")
    return text


def pictures_of(value: Any, *, needed: bool = True) -> tuple[Any, ...]:
    """The pictures of a cell: one, or a list of some.

    Raises:
        BrokenRow: If there is none, and one is needed.
    """
    cells = value if isinstance(value, list | tuple) else [value]
    found = tuple(one for one in cells if not _is_nothing(one))
    if needed and not found:
        raise BrokenRow("no_image", "has no picture")
    return found


def _is_nothing(cell: Any) -> bool:
    if isinstance(cell, Mapping):
        return cell.get("bytes") is None and not cell.get("path")
    return cell is None or cell == ""


def stated(text: str) -> str:
    r"""The answer in a gold answer: without the ``\boxed{}`` or the tags that some datasets put around it."""
    from specs_lab.rewards.extraction import extract

    if "\\boxed" in text or "<answer>" in text:
        return extract(text) or ""
    return text


def concluded(text: str) -> str:
    """The final answer of a whole chain of thought; empty if it states none."""
    from specs_lab.rewards.extraction import extract

    return extract(text) or ""


def without_format_request(question: str) -> str:
    """The question without sentences at its end that ask for a box or tags: how to answer is said by instructions."""
    kept = question.rstrip()
    while True:
        cuts = list(_SENTENCE.finditer(kept))
        if not cuts or not _FORMAT_REQUEST.search(kept[cuts[-1].end() :]):
            return kept
        kept = kept[: cuts[-1].start()].rstrip()


def problem(place: Place, **given: Any) -> ProblemRow:
    """A problem whose gold answer has been read; finds options in the question, and the type of the answer.

    Args:
        place: Where the row stands.
        given: Fields of :class:`~specs_lab.problems.rows.ProblemRow`.

    Raises:
        BrokenRow: If question or answer are missing, or the answer cannot be graded.
    """
    question, answer = given["question"].strip(), given["answer"].strip()
    if not question.replace(IMAGE_MARKER, "").strip():
        raise BrokenRow("no_question", "has no question")
    if not answer:
        raise BrokenRow("no_answer", "has no answer")
    kind, choices = given.get("kind"), tuple(given.get("choices") or ())
    if kind is None:
        choices = choices or options_in(question, answer)
        kind = "choice" if choices else _open_kind(answer, place)
    row = ProblemRow(**{**given, "question": question, "answer": answer, "kind": kind, "choices": choices})
    check_gold(row)
    return row


def _open_kind(answer: str, place: Place) -> str | None:
    from specs_lab.rewards.inference import infer_kind

    if len(answer.split()) <= LONGEST_ANSWER_WORDS or infer_kind(answer) != "word":
        return None
    if not place.open_answers:
        raise BrokenRow("open_answer", f"its answer is a text of {len(answer.split())} words, which no rule can grade")
    return "open"


def check_gold(row: ProblemRow) -> None:
    """Checks that the grader understands a gold answer, also when a response states it.

    Raises:
        BrokenRow: If it does not.
    """
    from specs_lab.rewards.extraction import answer_in
    from specs_lab.rewards.grader import read_gold, terms_of

    try:
        gold = read_gold(row.answer, row.kind, terms_of(row.choices, row.precision, row.unit, ""))
    except UserError as error:
        raise BrokenRow("bad_gold", error.faults[0].what) from error
    given = answer_in(f"<answer>{row.answer}</answer>")
    if given is None or gold.kind.read(given, gold.form, gold.terms) is None:
        raise BrokenRow("bad_gold", f"{row.answer[:200]!r} is not understood when a response states it")


_LABELS = (r"\(([A-J])\)", r"([A-J])\.", r"([A-J])\)", r"([A-J]):")
_LABEL_PATTERNS = tuple(re.compile(rf"(?:(?<=\s)|^){label}(?=\s|\S)", re.MULTILINE) for label in _LABELS)


def options_in(question: str, answer: str) -> tuple[str, ...]:
    """The options that a question lists, A first, if that is beyond doubt: else none.

    They must be labelled from A on in one style, differ, and the answer must name one of them by letter or text.
    """
    for pattern in _LABEL_PATTERNS:
        options = _labelled(question, pattern)
        if options and _names_one(answer, options):
            return options
    return ()


def _labelled(question: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    found = list(pattern.finditer(question))
    while found and found[0][1] != "A":
        found.pop(0)
    letters = "".join(match[1] for match in found)
    if len(found) < 2 or letters != "ABCDEFGHIJ"[: len(letters)]:
        return ()
    ends = [match.start() for match in found[1:]]
    # Behind the last option there may follow a line of its own that asks for a letter.
    last = question.find("\n", found[-1].end())
    ends.append(len(question) if last < 0 else last)
    texts = tuple(
        question[match.end() : end].strip().rstrip(",;").strip() for match, end in zip(found, ends, strict=True)
    )
    return texts if all(texts) and len(set(texts)) == len(texts) and not any("\n" in one for one in texts) else ()


def _names_one(answer: str, options: tuple[str, ...]) -> bool:
    from specs_lab.rewards.grader import read_gold, terms_of

    try:
        return len(read_gold(answer, "choice", terms_of(options)).form) == 1
    except UserError:
        return False
