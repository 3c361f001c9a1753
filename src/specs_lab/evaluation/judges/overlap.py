"""The judge that counts shared words; also the example of a judge that is a function."""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.rewards.judge import Judge, Judged

_ARTICLES = frozenset({"a", "an", "the"})


def token_f1(answer: str, gold: str) -> float:
    """Harmonic mean of the precision and recall of an answer's words, counted with multiplicity; in [0, 1].

    The F1 of SQuAD (arXiv 1606.05250, section 6.1): lower case, no punctuation, no articles. Deviations: punctuation of
    other scripts is dropped too (typographic quotes); a text of nothing but articles or punctuation keeps what it has,
    so that every text but a blank one equals itself; blank texts share nothing with anything, 0.
    """
    given, expected = Counter(_words(answer)), Counter(_words(gold))
    shared = (given & expected).total()
    return 2 * shared / (given.total() + expected.total()) if shared else 0.0


def _overlap(judged: Judged) -> float:
    return token_f1(judged.answer, judged.gold)


def _words(text: str) -> list[str]:
    lower = text.lower()
    bare = "".join(c for c in lower if c not in string.punctuation and unicodedata.category(c)[0] != "P").split()
    return [word for word in bare if word not in _ARTICLES] or bare or lower.split()


@dataclass
class FunctionJudge:
    """A judge that is a function of one answer.

    Attributes:
        function: Gives an answer's value, in [0, 1].
        threshold: The least value that counts as correct.
    """

    function: Callable[[Judged], float]
    threshold: float

    def __call__(self, answers: Sequence[Judged]) -> list[float]:
        """The function's value for each answer, in order."""
        return [self.function(answer) for answer in answers]


@option("judge", "overlap")
@dataclass(kw_only=True)
class OverlapJudge:
    """Words shared with the reference, :func:`token_f1`: cheap, and blind to meaning.

    Attributes:
        threshold: The least F1 that counts as correct.
    """

    threshold: float = 0.5

    def __post_init__(self) -> None:
        Checks().share("threshold", self.threshold).done()

    def make(self) -> Judge | None:
        """The judge."""
        return FunctionJudge(_overlap, self.threshold)
