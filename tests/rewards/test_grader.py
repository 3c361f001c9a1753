"""Extraction finds the final answer in any form; comparison accepts it in any spelling and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.pretraining.corpus import POLLUTED_STYLES, alternative_style, target_style
from specs_lab.problems.base import FAMILIES
from specs_lab.rewards.extraction import extract
from specs_lab.rewards.grader import grade
from specs_lab.rewards.inference import infer_kind
from specs_lab.rewards.kinds.base import KINDS

STYLES = {**POLLUTED_STYLES, "target": target_style, "alternative": alternative_style}


def test_every_answer_type_of_the_problems_can_be_graded():
    assert set(KINDS) >= {FAMILIES.get(name).answer_type for name in FAMILIES}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("answer", "kind"), [("7", "integer"), ("red circle", "word"), ("B", "choice"), ("yes", "boolean")]
)
def test_every_style_of_the_base_model_is_understood(style: str, answer: str, kind: str):
    response = STYLES[style]("red: a1 c3. total 2", answer)
    assert extract(response) == answer
    assert grade(response, answer, kind).correct


@pytest.mark.parametrize(
    ("prediction", "gold", "kind"),
    [
        ("7", "7", "integer"),
        ("07", "7", "integer"),
        ("7.0", "7", "integer"),
        ("7.", "7", "integer"),
        ("+7", "7", "integer"),
        (" 7 \n", "7", "integer"),
        ("$7$", "7", "integer"),
        ("**7**", "7", "integer"),
        ("\\text{7}", "7", "integer"),
        ("1,234", "1234", "integer"),
        ("-3", "-3", "integer"),
        ("\u22123", "-3", "integer"),
        ("-0", "0", "integer"),
        ("seven", "7", "integer"),
        ("1.4e1", "14", "integer"),
        ("000", "0", "integer"),
        ("9" * 5000, "9" * 5000, "integer"),
        ("Red  Circle.", "red circle", "word"),
        ("'red circle'", "red circle", "word"),
        ("EQUAL!", "equal", "word"),
        ("B", "B", "choice"),
        ("b", "B", "choice"),
        ("(B)", "B", "choice"),
        ("(b)", "B", "choice"),
        ("B.", "B", "choice"),
        ("B. right", "B", "choice"),
        ("B) right", "B", "choice"),
        ("B: right", "B", "choice"),
        ("B right", "B", "choice"),
        ("B. Vitamin C", "B", "choice"),
        ("\\boxed{B}", "B", "choice"),
        ("Yes", "yes", "boolean"),
        ("true", "yes", "boolean"),
        ("No.", "false", "boolean"),
    ],
)
def test_right_in_any_spelling(prediction: str, gold: str, kind: str):
    assert grade(prediction, gold, kind).correct


@pytest.mark.parametrize(
    ("prediction", "gold", "kind"),
    [
        ("17", "7", "integer"),
        ("7", "17", "integer"),
        ("7!", "7", "integer"),
        ("14/2", "7", "integer"),
        ("7.5", "7", "integer"),
        ("70", "7", "integer"),
        ("-7", "7", "integer"),
        ("7 8", "7", "integer"),
        ("7 or 8", "7", "integer"),
        ("7,8", "78", "integer"),
        ("1,23", "123", "integer"),
        ("\u0667", "7", "integer"),
        ("7\u00b2", "72", "integer"),
        ("act", "cat", "word"),
        ("circle red", "red circle", "word"),
        ("red circle or blue circle", "red circle", "word"),
        ("red", "red circle", "word"),
        ("A", "B", "choice"),
        ("A B C D", "A", "choice"),
        ("A or B", "A", "choice"),
        ("A. or B.", "A", "choice"),
        ("A. B", "A", "choice"),
        ("(A) (B)", "A", "choice"),
        ("A) up B) right", "A", "choice"),
        ("A up B right", "A", "choice"),
        ("a right angle", "A", "choice"),
        ("right", "B", "choice"),
        ("BA", "B", "choice"),
        ("1", "B", "choice"),
        ("yes and no", "yes", "boolean"),
        ("no", "yes", "boolean"),
        ("1", "yes", "boolean"),
    ],
)
def test_wrong_however_similar(prediction: str, gold: str, kind: str):
    assert not grade(prediction, gold, kind).correct


@pytest.mark.parametrize(("gold", "kind"), [("7", "integer"), ("cat", "word"), ("B", "choice"), ("no", "boolean")])
@pytest.mark.parametrize("prediction", [None, "", " \n", ".", "$$", "<answer> </answer>", "Answer:"])
def test_an_empty_prediction_is_wrong(prediction: str | None, gold: str, kind: str):
    assert not grade(prediction, gold, kind).correct


@given(st.integers(), st.integers())
def test_integers_are_equal_when_their_values_are(given_value: int, gold: int):
    assert grade(f"{given_value:,}", str(gold), "integer").correct == (given_value == gold)
    assert grade(f"{gold:,}.00", str(gold), "integer").correct


WORDS = st.text(alphabet="abc AB", min_size=1, max_size=4)


@given(WORDS, WORDS)
def test_grading_words_is_symmetric_and_reflexive(first: str, second: str):
    pair = [word for word in (first, second) if word.strip()]
    for a in pair:
        assert grade(a, a, "word").correct
        for b in pair:
            assert grade(a, b, "word").correct == grade(b, a, "word").correct
            assert grade(a, b, "word").correct == (a.lower().split() == b.lower().split())


@given(st.text(max_size=60), st.sampled_from([("7", "integer"), ("cat", "word"), ("B", "choice"), ("no", "boolean")]))
def test_no_text_a_policy_may_sample_raises(prediction: str, gold: tuple[str, str]):
    verdict = grade(prediction, *gold)
    assert verdict.kind == gold[1]
    assert verdict.reason


def test_a_verdict_says_what_was_found_and_why():
    verdict = grade("<think> 1 </think> <answer> 08 </answer>", "7", "integer")
    assert (verdict.correct, verdict.extracted, verdict.reason) == (False, "08", "8 is not 7")
    assert grade("cat", "7", "integer").reason == "not of type integer"
    assert grade(None, "7", "integer").reason == "no answer"


def test_an_unknown_kind_is_a_user_error_that_lists_the_known_ones():
    with pytest.raises(UserError, match="did you mean 'integer'") as error:
        grade("7", "7", "intger")
    assert all(kind in str(error.value) for kind in KINDS)


@pytest.mark.parametrize(("gold", "kind"), [("", "word"), ("7.5", "integer"), ("red", "choice"), ("maybe", "boolean")])
def test_a_gold_answer_that_is_none_of_its_kind_is_a_data_error(gold: str, kind: str):
    with pytest.raises(UserError, match="gold answer"):
        grade(gold, gold, kind)


@pytest.mark.parametrize(
    ("gold", "kind"), [("-7", "integer"), ("yes", "boolean"), ("B", "choice"), ("b", "word"), ("red circle", "word")]
)
def test_the_kind_is_inferred_from_the_gold_answer(gold: str, kind: str):
    assert infer_kind(gold) == kind
    assert grade(gold, gold).kind == kind
