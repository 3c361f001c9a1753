"""SPECS' reward (arXiv 2510.25801): 0.5 for the format, 1.0 for the answer, by rule."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import Checks, option


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
