"""Which answers are the same vote."""

import pytest

from specs_lab.rewards.scoring import Asked, Batch, Response
from specs_lab.rewards.terms.weighted import assess
from specs_lab.rewards.voting import ballots


def votes(asked: Asked, *answers: str) -> list[str | None]:
    texts = [f"<think> so </think> <answer> {answer} </answer>" if answer else "" for answer in answers]
    return ballots(asked, assess(Batch([Response(text) for text in texts], [asked] * len(texts))))


@pytest.mark.parametrize(
    ("gold", "kind", "same", "other"),
    [
        ("7", "integer", ("7", "7.0", "seven"), "8"),
        ("7", "integer", ("8", "8.0", "eight"), "9"),  # wrong answers are compared, too
        ("2.5", "number", ("2.5", "2.50"), "2.6"),
        ("red", "word", ("Red", "the red", "red"), "blue"),
        ("red", "word", ("Blue", "the blue"), "red"),
        ("B", "choice", ("C", "(C)"), "B"),
        ("yes", "boolean", ("No", "false"), "yes"),
        ("7", "integer", ("a lot of  them", "A lot of them"), "7"),  # no numbers at all
    ],
)
def test_equal_answers_are_one_vote(gold: str, kind: str, same: tuple[str, ...], other: str) -> None:
    found = votes(Asked("task", gold, "think_answer", kind), *same, other)
    assert len(set(found[:-1])) == 1
    assert found[-1] != found[0]
    assert None not in found


def test_no_answer_is_no_vote() -> None:
    assert votes(Asked("task", "7", "think_answer", "integer"), "", "7")[0] is None
