"""What a type of answer is: how an answer of that type is read, and when two of them are equal.

A type reads a text into a canonical form, or says that it is no answer of that type, before anything is compared: a
general mathematics grader calls ``act`` equal to ``cat`` (the same product of variables) and cannot read a choice
letter. Comparisons that need a computer algebra system or a judge are not made here but asked for: they come back as
:class:`Pending`, so that the grader sends many of them at once to processes that can be killed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from specs_lab.core.registry import Registry

F = TypeVar("F")


@dataclass(frozen=True)
class Terms:
    """What a problem says about its answer beside the gold answer.

    Attributes:
        choices: The options' texts, A first; empty if there are none or they are unknown.
        precision: Decimals that count (numbers), least IoU (boxes), largest distance (points); None: exact, or 0.5
            for boxes.
        unit: The unit of the gold answer, ``"%"``, or ``"1"`` for a proportion, of which per cent is another way of
            writing; None: as the gold answer is written.
        question: What is asked, for judges.
    """

    choices: tuple[str, ...] = ()
    precision: float | None = None
    unit: str | None = None
    question: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a comparison came to.

    Attributes:
        correct: Whether the answers are equal.
        reason: Why, in a few words.
        score: Worth in [0, 1], if that is more than right or wrong.
    """

    correct: bool
    reason: str
    score: float | None = None


Request = Mapping[str, Any]
"""A question to the computer algebra system, as JSON data; see :func:`specs_lab.rewards.algebra.mathematics.handle`."""


@dataclass(frozen=True)
class Pending:
    """A comparison that waits for the computer algebra system.

    Attributes:
        requests: What to ask.
        decide: Makes the outcome of all replies, in the order of the requests.
    """

    requests: Sequence[Request]
    decide: Callable[[Sequence[Mapping[str, Any]]], Outcome]


@dataclass(frozen=True)
class ForJudge:
    """A comparison that waits for a judge.

    Attributes:
        answer: The answer.
        gold: The reference answer.
    """

    answer: str
    gold: str


class AnswerKind(ABC, Generic[F]):
    """A type of answer, whose canonical form is an ``F``. Subclasses have no state."""

    name: ClassVar[str]

    @abstractmethod
    def read_gold(self, text: str, terms: Terms) -> F | None:
        """The canonical form of a gold answer; None if it is no answer of this type."""

    def read(self, text: str, gold: F, terms: Terms) -> F | None:
        """The canonical form of an answer to a problem whose gold answer is known; None if it is none."""
        return self.read_gold(text, terms)

    @abstractmethod
    def compare(self, given: F, gold: F, terms: Terms) -> Outcome | Pending | ForJudge:
        """Compares two answers."""

    def gold_requests(self, gold: F) -> Sequence[Request]:
        """What to ask the computer algebra system to know that it can read a gold answer."""
        return ()


KINDS: Registry[AnswerKind[Any]] = Registry("answer type", "specs_lab.rewards.kinds")
"""The types of answers by name."""


def kind(cls: type[AnswerKind[Any]]) -> type[AnswerKind[Any]]:
    """Class decorator that makes a type of answer known under its name."""
    KINDS.register(cls.name)(cls())
    return cls


def equality(given: object, gold: object) -> Outcome:
    """The outcome where canonical forms are equal or not."""
    return Outcome(True, f"{given} equals {gold}") if given == gold else Outcome(False, f"{given} is not {gold}")
