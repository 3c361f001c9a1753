"""What is scored, with what, and what comes out; see :mod:`specs_lab.rewards.terms` for how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from specs_lab.rewards.format import follows
from specs_lab.rewards.grader import Verdict, grade_many
from specs_lab.rewards.judge import Judge

VERDICT = "verdict"
"""The term under which an evaluation notes the worth of an answer, in [0, 1], where it is more than right or wrong."""


@dataclass(frozen=True)
class Asked:
    """What a response answers.

    Attributes:
        id: Name of the task.
        gold: The gold answer.
        format: Name of the format that was asked for.
        kind: Type of the gold answer; None: what it looks like.
        choices: The options' texts, A first.
        precision: See :func:`specs_lab.rewards.grader.grade`.
        unit: The unit of the gold answer.
        question: What was asked.
    """

    id: str
    gold: str
    format: str
    kind: str | None = None
    choices: tuple[str, ...] = ()
    precision: float | None = None
    unit: str | None = None
    question: str = ""


@dataclass(frozen=True)
class Response:
    """A response, possibly cut short.

    Attributes:
        text: All of it.
        tokens: Its tokens, the end token included.
        longest: Most tokens it was allowed.
        truncated: Whether it was cut off there before it ended.
    """

    text: str
    tokens: int = 0
    longest: int = 0
    truncated: bool = False


Answerer = Callable[[Sequence[tuple[Asked, str]]], list[str]]
"""A frozen model: answers each question from a reasoning alone, without the picture."""


@dataclass(frozen=True, kw_only=True)
class Helpers:
    """Models that some rewards ask.

    Attributes:
        judge: Judges open answers.
        answer_from: Answers from a reasoning alone.
    """

    judge: Judge | None = None
    answer_from: Answerer | None = None


@dataclass(frozen=True)
class Score:
    """What a response earned.

    Attributes:
        format: Whether it follows the requested format exactly.
        accuracy: Whether its answer is right, wherever it is stated.
        reward: The weighted sum of all terms.
        extracted: The answer that was found, or None.
        kind: The type of answer that it was compared as.
        terms: What each active term adds to the reward.
        shaping: Names of the terms that only shape the reward, such as a punishment for length.
        stopped: Whether comparing the answer was given up.
    """

    format: bool
    accuracy: bool
    reward: float
    extracted: str | None
    kind: str = ""
    terms: Mapping[str, float] = field(default_factory=dict)
    shaping: frozenset[str] = frozenset()
    stopped: bool = False

    @property
    def substance(self) -> float:
        """The reward without what only shapes it."""
        if not self.shaping:
            return self.reward
        return sum(value for name, value in self.terms.items() if name not in self.shaping)


class Batch:
    """Responses and what they answer; what several terms need of them is worked out once.

    Args:
        responses: The responses.
        asked: What each answers.
        helpers: Models to ask.
    """

    def __init__(self, responses: Sequence[Response], asked: Sequence[Asked], helpers: Helpers | None = None) -> None:
        if len(responses) != len(asked):
            raise ValueError(f"{len(responses)} responses answer {len(asked)} questions")
        self.responses = responses
        self.asked = asked
        self.helpers = helpers or Helpers()
        self._verdicts: dict[tuple[str | None, ...], list[Verdict]] = {}
        self._followed: dict[str | None, list[bool]] = {}

    def verdicts(self, places: Sequence[str | None] | None = None) -> list[Verdict]:
        """Whether the answers are right.

        Args:
            places: Names of formats: for each response, the only place whose answer counts; None: any place.

        Raises:
            UserError: If a gold answer is none of its type, or an open answer finds no judge.
        """
        key = tuple(places) if places is not None else (None,) * len(self.responses)
        if key not in self._verdicts:
            self._verdicts[key] = grade_many(
                [response.text for response in self.responses],
                [one.gold for one in self.asked],
                [one.kind for one in self.asked],
                choices=[one.choices for one in self.asked],
                precisions=[one.precision for one in self.asked],
                units=[one.unit for one in self.asked],
                questions=[one.question for one in self.asked],
                strict=key,
                judge=self.helpers.judge,
            )
        return self._verdicts[key]

    def formats(self, name: str | None = None) -> list[str]:
        """The format that each response is held to: a named one, or the one that was asked for."""
        return [name or one.format for one in self.asked]

    def followed(self, name: str | None = None) -> list[bool]:
        """Whether the format is followed exactly."""
        if name not in self._followed:
            pairs = zip(self.responses, self.formats(name), strict=True)
            self._followed[name] = [follows(response.text, format) for response, format in pairs]
        return self._followed[name]
