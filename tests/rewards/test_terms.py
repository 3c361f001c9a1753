"""Terms of rewards, by hand; and what a weighted sum of them makes."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.options import InvalidOption
from specs_lab.rewards.judge import Judged
from specs_lab.rewards.scoring import Asked, Batch, Helpers, Response, Score
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.base import RewardTerm
from specs_lab.rewards.terms.consistency import ConsistencyTerm
from specs_lab.rewards.terms.exploration import ExplorationTerm
from specs_lab.rewards.terms.format import FormatTerm
from specs_lab.rewards.terms.overlong import OverlongTerm, soft_overlong
from specs_lab.rewards.terms.weighted import WeightedReward, assess

ASKED = Asked("task", "7", "think_answer", "integer", question="How many?")
GOOD = "<think> 3+4=7 </think> <answer> 7 </answer>"
WRONG = GOOD.replace(" 7 ", " 8 ")
FORMLESS = "3+4=7. The answer is 7."
SILENT = "<think> I cannot tell"


def specs() -> WeightedReward:
    return WeightedReward(terms={"format": FormatTerm(weight=0.5), "accuracy": AccuracyTerm()})


def batch(*texts: str, asked: Asked = ASKED, **helpers) -> Batch:
    return Batch([Response(text, len(text), 100) for text in texts], [asked] * len(texts), Helpers(**helpers))


@pytest.mark.parametrize(
    ("response", "format", "accuracy", "reward", "extracted"),
    [
        (GOOD, True, True, 1.5, "7"),
        (WRONG, True, False, 0.5, "8"),
        (FORMLESS, False, True, 1.0, "7"),
        ("3+4=8. The answer is 8.", False, False, 0.0, "8"),
        ("7", False, True, 1.0, "7"),
        ("", False, False, 0.0, None),
        ("<think> 3+4=7. So the answer is 7. Let me che", False, True, 1.0, "7"),  # truncated
        ("<think> 3+4=7 </think> <answer> 7", False, False, 0.0, None),  # truncated inside the answer
        ("<think> \u200b </think> <answer> 7 </answer>", False, True, 1.0, "7"),  # no reasoning to be seen
    ],
)
def test_the_reward_of_specs_by_hand(response, format, accuracy, reward, extracted):
    (score,) = specs().score([Response(response)], [ASKED])
    assert (score.format, score.accuracy, score.reward, score.extracted) == (format, accuracy, reward, extracted)
    assert score.terms == {"format": 0.5 * format, "accuracy": 1.0 * accuracy}


@given(st.lists(st.sampled_from([GOOD, WRONG, FORMLESS, SILENT, ""]), max_size=8), st.data())
def test_a_reward_is_the_sum_of_its_terms_and_does_not_depend_on_the_rest_of_the_batch(texts, data):
    weights = data.draw(st.tuples(st.floats(0, 2), st.floats(0.1, 2), st.floats(0, 2)))
    reward = WeightedReward(
        terms={
            "format": FormatTerm(weight=weights[0], graded=True),
            "accuracy": AccuracyTerm(weight=weights[1]),
            "overlong": OverlongTerm(weight=weights[2]),
        }
    )
    responses = [Response(text, 2 * len(text), 100) for text in texts]
    together = reward.score(responses, [ASKED] * len(texts))
    assert together == [reward.score([response], [ASKED])[0] for response in responses]
    for score in together:
        assert score.reward == pytest.approx(sum(score.terms.values()))
        assert score.substance == pytest.approx(score.reward - score.terms.get("overlong", 0.0))


def test_without_a_reward_only_format_and_accuracy_are_said():
    assert assess(batch(GOOD, SILENT)) == [
        Score(True, True, 0.0, "7", "integer"),
        Score(False, False, 0.0, None, "integer"),
    ]


def test_as_many_answers_as_questions():
    with pytest.raises(ValueError, match="2 responses answer 1 questions"):
        Batch([Response("7"), Response("8")], [ASKED])


# --- format -----------------------------------------------------------------------------------------------------------


def test_a_format_may_be_paid_punished_or_graded():
    texts = (GOOD, FORMLESS, GOOD.removesuffix("</answer>"))
    assert FormatTerm().values(batch(*texts)) == [1.0, 0.0, 0.0]
    assert FormatTerm(followed=0.0, missed=-1.0).values(batch(*texts)) == [0.0, -1.0, -1.0]
    assert FormatTerm(graded=True).values(batch(*texts)) == pytest.approx([1.0, 0.0, 3 / 5])


def test_another_format_than_the_prompt_asks_for_can_be_demanded():
    assert FormatTerm(format="boxed").values(batch(GOOD, "It is \\boxed{7}.")) == [0.0, 1.0]


# --- accuracy ---------------------------------------------------------------------------------------------------------


def test_strictly_only_the_demanded_place_counts():
    assert AccuracyTerm().values(batch(GOOD, FORMLESS)) == [1.0, 1.0]
    assert AccuracyTerm(strict=True).values(batch(GOOD, FORMLESS)) == [1.0, 0.0]
    assert AccuracyTerm(strict=True, format="boxed").values(batch(GOOD, "\\boxed{7}")) == [0.0, 1.0]


def test_no_answer_can_cost():
    assert AccuracyTerm(unanswered=-0.5).values(batch(GOOD, WRONG, "<think> hm")) == [1.0, 0.0, -0.5]


def test_boxes_are_paid_by_their_overlap():
    asked = replace(ASKED, gold="[0, 0, 10, 10]", kind="box")
    texts = ("[0, 0, 10, 10]", "[0, 0, 10, 4]", "[20, 20, 30, 30]")
    assert AccuracyTerm(partial=True).values(batch(*texts, asked=asked)) == pytest.approx([1.0, 0.4, 0.0])
    assert AccuracyTerm().values(batch(*texts, asked=asked)) == [1.0, 0.0, 0.0]


class Scores:
    """A judge that scores a text by its length, up to ten characters; remembers what it was asked."""

    threshold = 0.5

    def __init__(self):
        self.asked: list[Judged] = []

    def __call__(self, answers):
        self.asked += answers
        return [min(1.0, len(one.answer) / 10) for one in answers]


def test_open_answers_are_paid_by_the_judge():
    judge, asked = Scores(), replace(ASKED, gold="four", kind="open")
    texts = ("<answer> three words long </answer>", "<answer> two </answer>", "<think> none")
    assert AccuracyTerm().values(batch(*texts, asked=asked, judge=judge)) == [1.0, 0.0, 0.0]
    assert AccuracyTerm(partial=True).values(batch(*texts, asked=asked, judge=judge)) == pytest.approx([1.0, 0.3, 0.0])
    assert judge.asked[0] == Judged("three words long", "four", "How many?")


def test_open_answers_are_paid_by_how_far_they_are_above_the_reference():
    """VLAA-Thinking: 1 - exp(-beta (S(answer) - S(gold))) above it, 0 below."""
    asked = replace(ASKED, gold="four", kind="open")
    texts = ("<answer> sixsix </answer>", "<answer> two </answer>", "<think> none")
    values = AccuracyTerm(open_beta=2.0).values(batch(*texts, asked=asked, judge=Scores()))
    assert values == pytest.approx([1 - math.exp(-2.0 * (0.6 - 0.4)), 0.0, 0.0])


# --- consistency ------------------------------------------------------------------------------------------------------


class Echo:
    """A frozen model that answers with the last word of the reasoning."""

    def __init__(self):
        self.asked = []

    def __call__(self, thoughts):
        self.asked += thoughts
        return [thought.rpartition("=")[2] for _, thought in thoughts]


def test_consistency_is_that_the_reasoning_alone_leads_to_the_answer():
    echo = Echo()
    contradicting = "<think> 3+4=8 </think> <answer> 7 </answer>"
    values = ConsistencyTerm().values(batch(GOOD, contradicting, FORMLESS, WRONG, answer_from=echo))
    assert values == [1.0, 0.0, 0.0, 0.0]
    assert [thought for _, thought in echo.asked] == ["3+4=7", "3+4=8"]  # the others are not worth asking


def test_consistently_wrong_is_paid_only_if_asked_for():
    consistently = "<think> 3+4=8 </think> <answer> 8 </answer>"
    assert ConsistencyTerm().values(batch(consistently, answer_from=Echo())) == [0.0]
    assert ConsistencyTerm(when_correct=False).values(batch(consistently, answer_from=Echo())) == [1.0]


def test_an_answer_of_another_type_agrees_with_nothing():
    hedged = "<think> 3+4=7 or 8 </think> <answer> 7 or 8 </answer>"
    assert ConsistencyTerm(when_correct=False).values(batch(hedged, answer_from=Echo())) == [0.0]


@pytest.mark.parametrize(
    ("answer", "gold", "kind", "echo"),
    [("The answer is 7.", "7", "integer", "7"), ("0.05 m", "5 cm", "number", "5 cm"), ("7.0", "7", "integer", "7")],
)
def test_a_right_answer_in_another_spelling_agrees_with_the_gold_answer(answer, gold, kind, echo):
    asked = replace(ASKED, gold=gold, kind=kind)
    response = f"<think> so ={echo}</think> <answer> {answer} </answer>"
    assert ConsistencyTerm().values(batch(response, asked=asked, answer_from=Echo())) == [1.0]


def test_a_policy_cannot_end_training_by_an_answer_that_nobody_can_read():
    hostile = [("\\frac{1}{x-x}", "x", "expression"), ("foo \\boxed{.}", "red", "word")]
    for answer, gold, kind in hostile:
        asked = replace(ASKED, gold=gold, kind=kind)
        response = f"<think> so =1</think> <answer> {answer} </answer>"
        term = ConsistencyTerm(when_correct=False)
        assert term.values(batch(response, asked=asked, answer_from=Echo())) == [0.0]


def test_consistency_needs_a_model():
    assert ConsistencyTerm.asks_model
    assert WeightedReward(terms={"c": ConsistencyTerm()}).asks_model
    assert not specs().asks_model
    with pytest.raises(ValueError, match="frozen model"):
        ConsistencyTerm().values(batch(GOOD))


# --- exploration and length -------------------------------------------------------------------------------------------


def test_exploration_is_capped_and_not_paid_to_what_never_ends():
    responses = [Response("a", 10, 100), Response("a", 40, 100), Response("a", 90, 100), Response("a", 100, 100, True)]
    values = ExplorationTerm(cap=40).values(Batch(responses, [ASKED] * 4))
    assert values == [0.25, 1.0, 1.0, 0.0]


def test_effort_is_words_that_turn_back():
    texts = ("Wait, is it? Let me double-check.", "Waiter! Checked.", "wait wait wait wait wait")
    assert ExplorationTerm(measure="effort", cap=4).values(batch(*texts)) == [0.5, 0.0, 1.0]


def test_the_overlong_punishment_by_hand():
    """48 tokens allowed, a ramp of 10: nothing up to 38, a half at 43, all of it at 48."""
    found = [soft_overlong(Response("", tokens, 48), 10) for tokens in (0, 1, 37, 38, 39, 43, 47, 48)]
    assert found == pytest.approx([0, 0, 0, 0, -0.1, -0.5, -0.9, -1.0])


def test_the_numbers_of_the_paper():
    """20480 tokens allowed, of them 4096 ramp (DAPO, section 4.1)."""
    assert [soft_overlong(Response("", n, 20480), 4096) for n in (16384, 18432, 20480)] == [0.0, -0.5, -1.0]


@pytest.mark.parametrize(("longest", "buffer"), [(48, 10), (48, 48), (7, 1)])
def test_the_overlong_punishment_agrees_with_trl(longest: int, buffer: int):
    from trl.rewards import get_soft_overlong_punishment

    expected = get_soft_overlong_punishment(longest, buffer)([[0] * n for n in range(longest + 1)])
    assert [soft_overlong(Response("", n, longest), buffer) for n in range(longest + 1)] == pytest.approx(expected)


@given(st.integers(0, 60), st.integers(1, 80))
def test_the_punishment_never_rises_with_length_and_stays_within_bounds(longest: int, buffer: int):
    found = [soft_overlong(Response("", tokens, longest), buffer) for tokens in range(longest + 1)]
    assert found == sorted(found, reverse=True)
    assert not any(found[: max(1, longest - buffer + 1)])
    assert found[-1] == (-1 if longest else 0)


# --- the sum ----------------------------------------------------------------------------------------------------------


def test_terms_count_for_a_part_of_training():
    """Format first, then the answer with a penalty (R1-Searcher)."""
    reward = WeightedReward(
        terms={
            "format": FormatTerm(weight=0.5, until=0.4),
            "accuracy": AccuracyTerm(since=0.4),
            "penalty": FormatTerm(weight=2.0, since=0.4, followed=0.0, missed=-1.0),
        }
    )
    responses = [Response(GOOD), Response(FORMLESS)]
    found = {
        progress: [score.reward for score in reward.score(responses, [ASKED] * 2, None, progress)]
        for progress in (0.0, 0.39, 0.4, 1.0)
    }
    assert found == {0.0: [0.5, 0.0], 0.39: [0.5, 0.0], 0.4: [1.0, -1.0], 1.0: [1.0, -1.0]}


def test_a_term_without_weight_asks_nobody():
    reward = WeightedReward(terms={"accuracy": AccuracyTerm(), "consistency": ConsistencyTerm(weight=0.0)})
    assert not reward.asks_model
    assert reward.score([Response(GOOD)], [ASKED])[0].terms == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("terms", "where"),
    [
        ({}, ["terms"]),
        ({"a": AccuracyTerm(weight=0.0)}, ["terms"]),
        ({"a": AccuracyTerm(), "x": RewardTerm()}, ["terms.x"]),
        ({"o": OverlongTerm()}, ["terms"]),
        ({"a": AccuracyTerm(weight=-1.0, unanswered=1.0)}, ["terms.a.weight", "terms.a.unanswered", "terms"]),
        ({"a": AccuracyTerm(since=0.5, until=0.5), "f": FormatTerm()}, ["terms.a.until"]),
        ({"a": AccuracyTerm(until=1.5)}, ["terms.a.until"]),
        ({"a": AccuracyTerm(format="boxed")}, ["terms.a.format"]),
        ({"a": AccuracyTerm(strict=True, format="box")}, ["terms.a.format"]),
        ({"a": AccuracyTerm(open_beta=0.0)}, ["terms.a.open_beta"]),
        ({"f": FormatTerm(missed=1.0), "g": FormatTerm(format="tags")}, ["terms.f.missed", "terms.g.format"]),
        ({"e": ExplorationTerm(measure="time", cap=0)}, ["terms.e.measure", "terms.e.cap"]),
        ({"a": AccuracyTerm(), "o": OverlongTerm(buffer=0)}, ["terms.o.buffer"]),
        ({"a": AccuracyTerm(since=0.5)}, ["terms"]),
        ({"a": AccuracyTerm(until=0.5), "f": FormatTerm(since=0.6)}, ["terms"]),
        ({"a": AccuracyTerm(), "c": ConsistencyTerm(answer_tokens=0)}, ["terms.c.answer_tokens"]),
    ],
)
def test_all_faults_of_all_terms_are_reported_together(terms, where):
    with pytest.raises(InvalidOption) as error:
        WeightedReward(terms=terms)
    assert [fault.where for fault in error.value.faults] == where
