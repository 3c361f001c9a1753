"""SPECS' reward (arXiv 2510.25801): 0.5 for the format, 1.0 for the answer, by rule."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.problems.instructions import FormatName
from specs_lab.rewards.format import follows
from specs_lab.rewards.grader import grade


@option("reward", "weighted")
@dataclass(kw_only=True)
class WeightedReward:
    """A weighted sum of format and accuracy, each 0 or 1.

    Attributes:
        format_weight: Weight of following the requested format exactly.
        accuracy_weight: Weight of a correct answer, wherever the response states it.
    """

    format_weight: float = 0.5
    accuracy_weight: float = 1.0

    def __post_init__(self) -> None:
        Checks().at_least("format_weight", self.format_weight, 0).at_least(
            "accuracy_weight", self.accuracy_weight, 0
        ).that(
            self.format_weight + self.accuracy_weight > 0,
            "accuracy_weight",
            "both weights are zero",
            "give a weight > 0 to one of them",
        ).done()


@dataclass(frozen=True)
class Score:
    """What a response earned.

    Attributes:
        format: Whether it follows the requested format exactly.
        accuracy: Whether its answer is right, wherever it is stated.
        reward: The weighted sum of both.
        extracted: The answer that was found, or None.
    """

    format: bool
    accuracy: bool
    reward: float
    extracted: str | None


def score(response: str, gold: str, kind: str, format: FormatName, options: WeightedReward) -> Score:
    """Scores a whole response.

    The two parts are independent: a right answer in a wrong form earns the accuracy part, and so does one that a
    truncated response states before it breaks off.

    Args:
        response: Text of the response, possibly cut short.
        gold: The gold answer.
        kind: The gold answer's type, see :func:`specs_lab.rewards.grader.grade`.
        format: The format that was asked for.
        options: The weights.

    Raises:
        UserError: If the kind is unknown or the gold answer is none of its kind.
    """
    verdict = grade(response, gold, kind)
    formatted = follows(response, format)
    reward = options.format_weight * formatted + options.accuracy_weight * verdict.correct
    return Score(formatted, verdict.correct, reward, verdict.extracted)
