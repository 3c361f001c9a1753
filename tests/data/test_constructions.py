"""Constructions: which responses become which side, and what is counted."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from specs_lab.core.options import InvalidOption
from specs_lab.data.consistency.base import Consistency
from specs_lab.data.consistency.unchecked import Unchecked
from specs_lab.data.constructions.base import Draft, FromTasks
from specs_lab.data.constructions.base_distill import BaseDistill
from specs_lab.data.constructions.file import UserFile
from specs_lab.data.constructions.gold import Gold
from specs_lab.data.constructions.rejection_sampling import RejectionSampling
from specs_lab.data.constructions.self_distill import SelfDistill
from specs_lab.data.constructions.teacher_distill import TeacherDistill
from specs_lab.data.teachers.model import ModelTeacher
from specs_lab.data.text import POLLUTERS, read
from specs_lab.data.workshop import Workshop
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
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


def _guess(task):
    return f"<think> it must be 77 </think> <answer> {task.problem.answer} </answer>"


def _always(*kinds):
    return lambda task: [kind(task) for kind in kinds]


@dataclass(kw_only=True)
class _Shop(Workshop):
    """Models whose responses are given, as a function of a task, by name; notes what was asked."""

    models: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def ask(self, model, side, tasks, count, drawing):
        self.asked.append((model, side, [task.id for task in tasks], count))
        return [self.models[model](task)[:count] for task in tasks]


def _make(construction, seed=0, stream="", **models):
    shop = _Shop(seed=seed, stream=stream, problems=PROBLEMS, models=models)
    return construction.records(shop), shop


def _build(chosen, rejected, seed=0, **options):
    """Self-distillation: the pairs and the counts."""
    pairs, shop = _make(SelfDistill(**{"pairs": 20, **options}), seed, self=chosen, base=rejected)
    return pairs, shop.counts


def _graded(pair, side):
    return grade(getattr(pair, side), pair.answer, "integer").correct


def test_decoupled_pairs_differ_in_form_only():
    # `no_tags` leaves no place to find the answer in; the others can be graded.
    pollutions = {name: 1.0 for name in POLLUTERS if name != "no_tags"}
    pairs, counts = _build(_always(_right), _always(_wrong, _right_formless), pollutions=pollutions)
    assert len(pairs) == 20
    assert counts["no_chosen"] == counts["no_rejected"] == 0
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
        SelfDistill(rejected_form="own", pollutions={"no_tags": 1.0})


@pytest.mark.parametrize("supplement", [True, False])
def test_incomplete_chosen_form_is_supplemented_or_dropped(supplement):
    pairs, counts = _build(_always(_right_formless), _always(_right), supplement_format=supplement)
    assert counts["supplemented"] == len(pairs) == (20 if supplement else 0)
    assert all(pair.supplemented and follows(pair.chosen, "think_answer") for pair in pairs)


def test_inconsistent_reasoning_is_dropped():
    pairs, counts = _build(_always(_guess), _always(_right))
    assert not pairs
    assert counts["inconsistent"] == counts["no_chosen"] == counts["prompts"] > 0
    kept, _ = _build(_always(_guess), _always(_right), consistency=Unchecked())
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


# --- the rejected side, whatever the chosen one ---


@pytest.mark.parametrize("construction", [SelfDistill(pairs=6), BaseDistill(pairs=6), Gold(pairs=6)])
def test_every_construction_has_the_same_rejected_sides(construction):
    """So that ablations of the chosen side change nothing else."""
    reference, _ = _make(TeacherDistill(pairs=6), teacher=_always(_right), base=_always(_right))
    pairs, _ = _make(construction, self=_always(_right), base=_always(_right))
    assert [(p.id, p.rejected, p.pollution) for p in pairs] == [(p.id, p.rejected, p.pollution) for p in reference]


def test_rejected_sides_are_only_sampled_for_prompts_with_a_chosen_one():
    useless = set()

    def sometimes(task):
        if task.problem.family == "count":
            useless.add(task.id)
            return [_wrong(task)]
        return [_right(task)]

    _, shop = _make(SelfDistill(pairs=5), self=sometimes, base=_always(_right))
    asked = {name for model, side, names, _ in shop.asked if (model, side) == ("base", "rejected") for name in names}
    assert useless
    assert asked
    assert not asked & useless


def test_without_a_rejected_side_the_base_model_is_not_asked():
    construction = RejectionSampling(pairs=5)
    assert construction.reads() == ("self",)
    assert not construction.makes_rejected
    pairs, shop = _make(construction, self=_always(_right))
    assert {model for model, *_ in shop.asked} == {"self"}
    assert len(pairs) == 5
    for pair in pairs:
        assert pair.rejected is None
        assert (pair.pollution, pair.rejected_format, pair.rejected_correct) == ("", None, None)


def test_a_mixture_of_pollutions_may_do_several_at_once():
    pairs, counts = _build(_always(_right), _always(_right), pollutions={"no_think_tags+plain_answer": 1.0}, pairs=4)
    assert counts["pollution/no_think_tags+plain_answer"] == 4
    assert all("<" not in pair.rejected and "Answer: " in pair.rejected for pair in pairs)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"pairs": 0}, "pairs"),
        ({"coupling": "both"}, "coupling"),
        ({"rejected_form": "some"}, "rejected_form"),
        ({"rejected_samples": 0}, "rejected_samples"),
        ({"max_prompts_per_pair": 0}, "max_prompts_per_pair"),
        ({"temperature": 0.0}, "temperature"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"mixture": []}, "mixture"),
        ({"pollutions": {"no_tags": 0.0}}, "pollutions"),
        ({"pollutions": {"no_tag": 1.0}}, "pollutions"),
        ({"pollutions": {"no_tags+no_tag": 1.0}}, "pollutions"),
        ({"pollutions": {"no_tags": 2.0, "plain_answer": -1.0}}, "pollutions.plain_answer"),
        ({"chosen_samples": 0}, "chosen_samples"),
        ({"prefer": "longest"}, "prefer"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, where):
    with pytest.raises(InvalidOption) as caught:
        SelfDistill(**options)
    assert [fault.where for fault in caught.value.faults] == [where]


# --- which response is chosen ---


def _says(length, answer=None):
    """A right response whose reasoning has so many words in front."""
    return lambda task: (
        f"<think> {'so ' * length}{task.problem.reasoning} </think> <answer> {answer or task.problem.answer} </answer>"
    )


def _chosen(*writers, **options):
    pairs, shop = _make(RejectionSampling(pairs=3, chosen_samples=5, **options), self=_always(*writers))
    return [pair.chosen.count("so ") for pair in pairs], shop.counts


def test_the_first_or_the_shortest_right_response_is_taken():
    writers = [_says(0, "99"), _says(7), _says(2), _says(4)]
    assert _chosen(*writers)[0] == [7] * 3
    assert _chosen(*writers, prefer="shortest")[0] == [2] * 3


def test_of_equally_short_responses_the_first_is_taken():
    def other(task):
        return _right(task).replace("<think>", "<think>  ")

    pairs, _ = _make(RejectionSampling(pairs=3, prefer="shortest"), self=_always(_says(1), other, _right))
    assert all(pair.chosen.startswith("<think>  ") for pair in pairs)


def test_responses_without_the_format_are_no_candidates_if_it_is_not_supplemented():
    def short_formless(task):
        return f"{task.problem.reasoning}. The answer is {task.problem.answer}."

    assert _chosen(short_formless, _says(3), prefer="shortest", supplement_format=False)[0] == [3] * 3
    counts = _chosen(short_formless, _says(3), prefer="shortest")[1]
    assert counts["supplemented"] == 3


@dataclass(kw_only=True)
class _Asked(Consistency):
    """Keeps reasonings of the given numbers of words; notes how many were asked about at once."""

    keeps: tuple = ()
    waves: list = field(default_factory=list)

    def reads(self):
        return ("teacher",)

    def keep(self, said, shop):
        self.waves.append([one.parts.reasoning.count("so ") for one in said])
        return [count in self.keeps for count in self.waves[-1]]


def test_candidates_are_checked_one_of_each_task_at_a_time_until_one_is_kept():
    """4 tasks: one needs three tries, one two, one one, one has nothing to check."""
    scripts = iter([(1, 1, 9), (1, 9, 1), (9, 1, 1), ()])
    by_task = {}

    def write(task):
        counts = by_task.setdefault(task.id, next(scripts, None) or ())
        return [_says(count)(task) for count in counts] + [_wrong(task)]

    check = _Asked(keeps=(9,))
    construction = RejectionSampling(pairs=2, max_prompts_per_pair=2, chosen_samples=4, consistency=check)
    assert construction.reads() == ("self", "teacher")
    pairs, shop = _make(construction, self=write)
    assert check.waves == [[1, 1, 9], [1, 9], [9]]
    assert shop.counts["inconsistent"] == 3
    assert shop.counts["no_chosen"] == 1
    assert shop.counts["prompts"] == 4
    assert [pair.chosen.count("so ") for pair in pairs] == [9, 9]


def test_nothing_is_checked_where_no_response_is_right():
    check = _Asked()
    _, shop = _make(RejectionSampling(pairs=2, max_prompts_per_pair=1, consistency=check), self=_always(_wrong))
    assert check.waves == []
    assert shop.counts["no_chosen"] == shop.counts["prompts"] == 2


def test_a_reasoning_is_cut_where_it_turns_back():
    def turning(task):
        return f"<think> {task.problem.reasoning}. Wait, no. Yes. </think> <answer> {task.problem.answer} </answer>"

    def turning_formless(task):
        return f"{task.problem.reasoning}. Wait, no. Yes. The answer is {task.problem.answer}."

    def at_once(task):
        return f"<think> Wait, {task.problem.reasoning} </think> <answer> {task.problem.answer} </answer>"

    for writer, supplemented in ((turning, False), (turning_formless, True)):
        pairs, _ = _make(RejectionSampling(pairs=3, cut_at_reflection=True), self=_always(writer))
        for pair in pairs:
            parts = read(pair.chosen)
            assert parts is not None
            assert "Wait" not in pair.chosen
            assert parts.answer == pair.answer
            assert parts.reasoning
            assert follows(pair.chosen, "think_answer")
            assert pair.supplemented is supplemented
    for options, writer in (({}, turning), ({"cut_at_reflection": True}, at_once)):
        pairs, _ = _make(RejectionSampling(pairs=3, **options), self=_always(writer))
        assert all("Wait" in pair.chosen and not pair.supplemented for pair in pairs)


def test_a_response_that_does_not_turn_back_stays_as_it_is():
    pairs, _ = _make(RejectionSampling(pairs=3, cut_at_reflection=True), self=_always(_right))
    plain, _ = _make(RejectionSampling(pairs=3), self=_always(_right))
    assert [pair.chosen for pair in pairs] == [pair.chosen for pair in plain]


# --- who writes ---


@pytest.mark.parametrize(
    ("construction", "author"),
    [
        (SelfDistill(pairs=2), "self"),
        (BaseDistill(pairs=2), "base"),
        (TeacherDistill(pairs=2), "teacher"),
        (TeacherDistill(pairs=2, teacher=ModelTeacher(model="base")), "base"),
        (RejectionSampling(pairs=2), "self"),
    ],
)
def test_the_author_writes_the_chosen_sides(construction, author):
    def write(name):
        return lambda task: [_right(task).replace("<think>", f"<think> {name} says")]

    pairs, shop = _make(construction, **{name: write(name) for name in ("self", "base", "teacher")})
    assert {pair.source for pair in pairs} == {author}
    assert all(f"{author} says" in pair.chosen for pair in pairs)
    assert {model for model, side, *_ in shop.asked if side == "chosen"} == {author}
    assert author in construction.reads()


def test_gold_sides_are_the_problems_own_derivations():
    pairs, shop = _make(Gold(pairs=3, rejected_form="none"))
    assert shop.asked == []
    assert Gold(rejected_form="none").reads() == ()
    for pair in pairs:
        assert pair.source == "gold"
        assert follows(pair.chosen, "think_answer")
        assert _graded(pair, "chosen")


# --- how many, and what for ---


def test_prompts_are_tried_up_to_the_limit_and_no_further():
    construction = SelfDistill(pairs=30, max_prompts_per_pair=3)
    _, shop = _make(construction, self=_always(_wrong), base=_always(_right))
    assert shop.counts["prompts"] == 90
    tried = [name for model, _, names, _ in shop.asked if model == "self" for name in names]
    assert len(set(tried)) == len(tried) == 90


def test_fewer_pairs_are_the_first_of_more():
    few, _ = _make(SelfDistill(pairs=3), self=_always(_right), base=_always(_right))
    many, _ = _make(SelfDistill(pairs=70), self=_always(_right), base=_always(_right))
    assert len(many) == 70
    assert [pair.id for pair in few] == [pair.id for pair in many[:3]]


def test_a_stream_has_tasks_of_its_own():
    names = {
        stream: {
            pair.id for pair in _make(SelfDistill(pairs=5), 0, stream, self=_always(_right), base=_always(_right))[0]
        }
        for stream in ("", "/round 2", "/round 3")
    }
    assert not names[""] & names["/round 2"]
    assert not names["/round 2"] & names["/round 3"]


@dataclass(kw_only=True)
class _Sorting(FromTasks):
    """Puts tasks of one family aside."""

    def drafts(self, tasks, shop):
        buckets = {"count": "rl", "bar_sum": "cold"}
        return [Draft(text=_right(task), source="x", bucket=buckets[task.problem.family]) for task in tasks]


def test_tasks_may_be_put_aside_for_something_else():
    pairs, shop = _make(_Sorting(pairs=4, rejected_form="none"))
    assert {pair.family for pair in pairs} == {"bar_sum"}
    assert {ref.bucket for ref in shop.others} == {"rl"}
    assert len(shop.others) == shop.counts["bucket/rl"] > 0
    assert all(ref.id.startswith("count/train/") and ref.cell == "id" for ref in shop.others)


def test_every_prompt_is_accounted_for():
    turns = iter(range(10**6))

    def mixed(task):
        return [(_right, _wrong, _guess)[next(turns) % 3](task)]

    pairs, counts = _build(mixed, mixed, pairs=30)
    assert len(pairs) == 30
    assert counts["prompts"] == 30 + counts["no_chosen"] + counts["no_rejected"] + counts["surplus"]
    assert min(counts[name] for name in ("no_chosen", "no_rejected", "surplus", "inconsistent")) > 0


def test_progress_adds_up():
    seen = []
    shop = _Shop(seed=0, problems=PROBLEMS, models={"self": _always(_right), "base": _always(_right)})
    pairs = SelfDistill(pairs=100).records(shop, seen.append)
    assert sum(seen) == len(pairs) == 100
    assert len(seen) > 1


def test_gold_answers_are_checked_before_tasks_are_used():
    def refuse(tasks):
        raise LookupError("gold answers first")

    shop = _Shop(seed=0, problems=PROBLEMS, check_tasks=refuse)
    with pytest.raises(LookupError, match="gold answers first"):
        SelfDistill(pairs=2).records(shop)
    assert not shop.asked


def test_a_workshop_without_models_refuses_to_ask():
    with pytest.raises(LookupError, match="no model 'self'"):
        SelfDistill(pairs=2).records(Workshop(seed=0, problems=PROBLEMS))


# --- data of one's own ---


def test_data_of_a_file_need_no_model_and_know_their_place(tmp_path):
    with pytest.raises(InvalidOption, match="there is no file"):
        UserFile(path=str(tmp_path / "none.jsonl"))
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "1+1?", "chosen": "2", "rejected": "3"}\n{"prompt": "1+2?", "chosen": "3"}\n')
    construction = UserFile(path=str(file), rejected=False)
    assert construction.reads() == ()
    assert (construction.makes_rejected, UserFile(path=str(file)).makes_rejected) == (False, True)
    pairs, shop = _make(construction)
    assert [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs] == [("1+1?", "2", "3"), ("1+2?", "3", None)]
    assert shop.counts["rows"] == 2
    pairs, _ = _make(UserFile(path=str(file), rejected=False, pairs=1))
    assert len(pairs) == 1
    pairs, shop = _make(UserFile(path=str(file), skip_broken=True))
    assert (len(pairs), shop.counts["broken/no_rejected"]) == (1, 1)


@pytest.mark.parametrize("option", [{"coupling": "coupled"}, {"rejected_samples": 9}])
def test_options_of_a_rejected_side_that_is_not_made_are_refused(option):
    with pytest.raises(InvalidOption, match="is not used with rejected_form=none"):
        SelfDistill(rejected_form="none", **option)
