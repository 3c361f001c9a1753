"""Self-distilled pairs: which responses become which side, and what is counted."""

from collections import Counter

import pytest

from specs_lab.core.options import InvalidOption
from specs_lab.data.constructions.self_distill import POLLUTIONS, SelfDistillOptions
from specs_lab.data.pairing import build_pairs
from specs_lab.problems.sources.procedural import Cell, ProceduralProblems
from specs_lab.rewards.format import follows
from specs_lab.rewards.grader import grade

PROBLEMS = ProceduralProblems(
    families=["count", "bar_sum"], instructions=["tags"], styles=["plain"], cells={"id": Cell()}
)


def _right(task):
    return f"<think> {task.problem.reasoning} </think> <answer> {task.problem.answer} </answer>"


def _right_formless(task):
    return f"{task.problem.reasoning}. The answer is {task.problem.answer}."


def _wrong(task):
    return "<think> total 99 </think> <answer> 99 </answer>"


def _always(*kinds):
    return lambda tasks, count: [[kind(task) for kind in kinds][:count] for task in tasks]


def _build(chosen, rejected, seed=0, **options):
    return build_pairs(SelfDistillOptions(**{"pairs": 20, **options}), PROBLEMS, chosen, rejected, seed)


def _graded(pair, side):
    return grade(getattr(pair, side), pair.answer, "integer").correct


def test_decoupled_pairs_differ_in_form_only():
    # `no_tags` leaves no place to find the answer in; the others can be graded.
    pollutions = {name: 1.0 for name in POLLUTIONS if name != "no_tags"}
    pairs, counts = _build(_always(_right), _always(_wrong, _right_formless), pollutions=pollutions)
    assert len(pairs) == counts["pairs"] == 20
    for pair in pairs:
        assert follows(pair.chosen, "think_answer")
        assert not follows(pair.rejected, "think_answer")
        assert _graded(pair, "chosen")
        assert _graded(pair, "rejected")


def test_coupled_pairs_differ_in_correctness_too():
    pairs, _ = _build(_always(_right), _always(_right, _wrong), coupling="coupled", pollutions={"plain_answer": 1.0})
    assert pairs
    assert not any(_graded(pair, "rejected") for pair in pairs)
    assert all(_graded(pair, "chosen") for pair in pairs)


def test_an_own_rejected_side_is_a_right_response_that_misses_the_format_by_itself():
    pairs, counts = _build(_always(_right), _always(_wrong, _right, _right_formless), rejected_form="own")
    assert len(pairs) == counts["pollution/own"] == 20
    for pair in pairs:
        assert pair.rejected.endswith(f". The answer is {pair.answer}.")
    pairs, counts = _build(_always(_right), _always(_right), rejected_form="own", pairs=4)
    assert not pairs
    assert counts["no_rejected"] == counts["prompts"]


def test_an_own_rejected_side_may_be_wrong_where_pairs_are_coupled():
    def wrong_formless(task):
        return "total 99. The answer is 99."

    pairs, _ = _build(
        _always(_right), _always(_right_formless, _wrong, wrong_formless), coupling="coupled", rejected_form="own"
    )
    assert {pair.rejected for pair in pairs} == {"total 99. The answer is 99."}


def test_pollutions_are_refused_where_they_are_not_used():
    with pytest.raises(InvalidOption, match="not used with rejected_form=own"):
        SelfDistillOptions(rejected_form="own", pollutions={"no_tags": 1.0})


@pytest.mark.parametrize("supplement", [True, False])
def test_incomplete_chosen_form_is_supplemented_or_dropped(supplement):
    pairs, counts = _build(_always(_right_formless), _always(_right), supplement_format=supplement)
    assert counts["supplemented"] == len(pairs) == (20 if supplement else 0)
    assert all(pair.supplemented and follows(pair.chosen, "think_answer") for pair in pairs)


def test_inconsistent_reasoning_is_dropped():
    def guess(task):
        return f"<think> it must be 77 </think> <answer> {task.problem.answer} </answer>"

    pairs, counts = _build(_always(guess), _always(_right))
    assert not pairs
    assert counts["inconsistent"] == counts["no_chosen"] == counts["prompts"] > 0
    kept, _ = _build(_always(guess), _always(_right), check_consistency=False)
    assert len(kept) == 20


def test_wrong_or_unusable_responses_never_become_a_side():
    pairs, counts = _build(_always(_wrong), _always(_right), pairs=4)
    assert not pairs
    assert counts["no_chosen"] == counts["prompts"]
    pairs, counts = _build(_always(_right), _always(_wrong), pairs=4)
    assert not pairs
    assert counts["no_rejected"] == counts["prompts"]


def test_pollutions_follow_their_weights():
    weights = {"no_tags": 3.0, "plain_answer": 1.0, "misplaced_tags": 0.0}
    pairs, counts = _build(_always(_right), _always(_right), pairs=200, pollutions=weights)
    used = Counter(pair.pollution for pair in pairs)
    assert set(used) == {"no_tags", "plain_answer"}
    assert 0.65 < used["no_tags"] / 200 < 0.85
    assert counts["pollution/no_tags"] == used["no_tags"]


def test_pairs_are_a_function_of_the_seed():
    def texts(seed):
        return [(p.id, p.rejected) for p in _build(_always(_right), _always(_right), seed)[0]]

    assert texts(0) == texts(0)
    assert texts(0) != texts(1)


def test_pairs_come_from_the_training_split():
    pairs, _ = _build(_always(_right), _always(_right))
    assert {pair.id.split("/")[1] for pair in pairs} == {"train"}
