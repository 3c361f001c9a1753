"""VLAA-Thinking's six steps (arXiv 2504.11468)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from specs_lab.core.options import InvalidOption
from specs_lab.data.consistency.unchecked import Unchecked
from specs_lab.data.constructions.base import KEPT
from specs_lab.data.constructions.vlaa import RL, Vlaa, uncaptioned
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.model import ModelTeacher
from specs_lab.data.teachers.solver import SolverTeacher
from specs_lab.data.text import read
from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.metrics.reflections import has_aha
from specs_lab.problems.base import FAMILIES
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell, Task
from specs_lab.rewards.format import follows

PROBLEMS = ProceduralProblems(families=FAMILIES.names(), instructions=["tags"], styles=["plain"], cells={"id": Cell()})
STEPS = ("step/metadata", "step/caption", "step/distil", "step/rewrite", "step/verify")


@dataclass(kw_only=True)
class Scripted(Teacher):
    """Says what it is told to; {gold} is the right answer."""

    caption_text: str = "a picture"
    response: str = "<think> so it is {gold} </think> <answer> {gold} </answer>"
    replying: str = ""
    captions: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    @property
    def source(self) -> str:
        return "scripted"

    @property
    def replies(self) -> bool:
        return True

    def write(self, tasks: Sequence[Task], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        raise AssertionError("it must not see the picture")

    def caption(self, tasks: Sequence[Task], shop: Workshop, drawing: Drawing) -> list[str]:
        return [self.caption_text] * len(tasks)

    def write_unseen(
        self, tasks: Sequence[Task], captions: Sequence[str], shop: Workshop, count: int, drawing: Drawing
    ) -> list[list[str]]:
        self.captions += captions
        return [[self.response.replace("{gold}", task.problem.answer)] * bool(self.response) for task in tasks]

    def reply(self, questions: Sequence[Question], shop: Workshop, drawing: Drawing) -> list[str]:
        self.questions += questions
        return [self.replying] * len(questions)


def shop_of(seed: int = 0) -> Workshop:
    return Workshop(seed=seed, problems=PROBLEMS)


def task_of() -> Task:
    return PROBLEMS.draw_task("id", "train", "test", 0)


def reflecting(rate: float = 0.3, **options: Any) -> Vlaa:
    return Vlaa(teacher=SolverTeacher(reflection_rate=rate, error_rate=0.1), **options)


def test_pairs_do_not_turn_back_and_what_does_is_put_aside():
    shop = shop_of()
    records = reflecting(pairs=60, rl_tasks=30).records(shop)
    assert len(records) == 60
    assert len(shop.others) >= 30
    assert {ref.bucket for ref in shop.others} == {RL}
    assert not {ref.id for ref in shop.others} & {record.id for record in records}
    for record in records:
        assert not has_aha(record.chosen, "vlaa")
        assert "caption" not in record.chosen.lower()
        assert follows(record.chosen, "think_answer")
        parts = read(record.chosen)
        assert parts is not None
        assert parts.answer == record.answer
        assert (record.source, record.rejected) == ("solver", None)


def test_every_step_is_counted_and_none_gains():
    shop = shop_of()
    reflecting(pairs=60, rl_tasks=10).records(shop)
    counts = shop.counts
    passed = [counts[step] for step in STEPS]
    assert passed[0] == counts["prompts"]
    assert passed == sorted(passed, reverse=True)
    assert counts["step/split/cold"] + counts["step/split/rl"] == counts["step/verify"]
    assert counts["step/split/rl"] == counts["bucket/rl"] == len(shop.others)
    assert counts["step/rewrite"] - counts["step/verify"] == counts["wrong"] + counts["inconsistent"]
    assert counts["wrong"] > 0


def test_more_prompts_are_tried_until_both_are_enough():
    shop = shop_of()
    assert len(reflecting(0.02, pairs=20, rl_tasks=6, max_prompts_per_pair=50).records(shop)) == 20
    assert len(shop.others) >= 6
    assert shop.counts["prompts"] > 40
    shop = shop_of()
    assert len(reflecting(0.98, pairs=20, rl_tasks=0, max_prompts_per_pair=60).records(shop)) == 20


def test_it_ends_where_too_many_prompts_were_tried():
    shop = shop_of()
    assert len(reflecting(0.0, pairs=10, rl_tasks=5, max_prompts_per_pair=4).records(shop)) == 10
    assert (shop.counts["prompts"], shop.others) == (40, [])


def test_all_depends_on_the_seed_only():
    def made(seed: int) -> Any:
        shop = shop_of(seed)
        return [one.chosen for one in reflecting(pairs=20, rl_tasks=5).records(shop)], shop.others

    assert made(0) == made(0)
    assert made(0) != made(1)


def test_the_reasoner_reads_the_description():
    teacher = Scripted(caption_text="<think> hm </think> a red circle")
    Vlaa(teacher=teacher).drafts([task_of()], shop_of())
    assert teacher.captions == ["a red circle"]


@pytest.mark.parametrize(
    ("said", "bucket"),
    [
        ("so it is {gold}", KEPT),
        ("Wait. so it is {gold}", RL),
        ("I should confirm. so it is {gold}", RL),
        ("hmmm, so it is {gold}", RL),
        ("so it awaits {gold}", RL),  # as the paper does: parts of words count
        ("so I re-evaluate: {gold}", KEPT),  # which is not in the paper's list
    ],
)
def test_split_by_the_words_of_the_paper(said: str, bucket: str):
    teacher = Scripted(response=f"<think> {said} </think> <answer> {{gold}} </answer>")
    shop = shop_of()
    (draft,) = Vlaa(teacher=teacher).drafts([task_of()], shop)
    assert draft is not None
    assert (draft.bucket, draft.source) == (bucket, "scripted")
    assert shop.counts[f"step/split/{bucket}"] == 1


LONG = "the caption says " * 6
DISCARDED = {
    "no_caption": (Scripted(caption_text=""), 0),
    "no_reasoning": (Scripted(response=""), 1),
    "rewritten_too_much": (Scripted(response=f"<think> {LONG} {{gold}} </think> <answer> {{gold}} </answer>"), 2),
    "wrong": (Scripted(response="<think> so 99 purple </think> <answer> 99 purple </answer>"), 3),
    "inconsistent": (Scripted(response="<think> so 99 purple </think> <answer> {gold} </answer>"), 3),
}


@pytest.mark.parametrize("why", DISCARDED)
def test_what_does_not_pass_a_step_is_counted_with_its_reason(why: str):
    teacher, last = DISCARDED[why]
    shop = shop_of()
    assert Vlaa(teacher=teacher).drafts([task_of()], shop) == [None]
    assert shop.counts[why] == 1
    assert [step for step in STEPS if shop.counts[step]] == list(STEPS[: last + 1])


def test_texts_that_cannot_be_taken_apart_are_no_reasoning():
    shop = shop_of()
    assert Vlaa(teacher=Scripted(response="{gold}")).drafts([task_of()], shop) == [None]
    assert shop.counts["no_reasoning"] == 1


def test_the_check_of_consistency_is_a_choice():
    teacher = DISCARDED["inconsistent"][0]
    assert Vlaa(teacher=teacher, consistency=Unchecked()).drafts([task_of()], shop_of())[0] is not None


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("The caption says: blue: a2. 1+0=1", "blue: a2. 1+0=1"),
        ("According to the caption, there is one. So 1", "there is one. So 1"),
        ("Based on the image description, one. The description mentions that two are red.", "one. two are red."),
        ("I read captions. The picture caption is short", "I read pictures. The picture is short"),
        ("nothing to do", "nothing to do"),
        ("From the caption", ""),
    ],
)
def test_words_about_descriptions_go(text: str, rewritten: str):
    assert uncaptioned(text) == rewritten


@pytest.mark.parametrize(("more", "passes"), [(15, True), (16, False)])
def test_fifteen_words_may_go_and_no_more(more: int, passes: bool):
    teacher = Scripted(replying="so it is " + "x " * more + task_of().problem.answer)
    shop = shop_of()
    Vlaa(teacher=teacher, rewrite_prompt="Rewrite: {reasoning}").drafts([task_of()], shop)
    assert shop.counts["step/rewrite"] == passes
    assert shop.counts["rewritten_too_much"] == (not passes)


def test_the_teacher_can_be_asked_to_rewrite():
    task = task_of()
    teacher = Scripted(replying=f"<think> hm </think> I see that it is {task.problem.answer}")
    (draft,) = Vlaa(teacher=teacher, rewrite_prompt="Rewrite: {reasoning}").drafts([task], shop_of())
    assert draft is not None
    assert draft.text.startswith(f"<think> I see that it is {task.problem.answer} </think>")
    (question,) = teacher.questions
    assert (question.text, question.images) == (f"Rewrite: so it is {task.problem.answer}", ())


def test_a_rewriting_that_still_speaks_of_a_caption_is_dropped():
    teacher = Scripted(replying="so by the Caption it is {gold}")
    shop = shop_of()
    assert Vlaa(teacher=teacher, rewrite_prompt="{reasoning}").drafts([task_of()], shop) == [None]
    assert shop.counts["still_a_caption"] == 1


def test_a_rewriting_with_tags_is_dropped():
    teacher = Scripted(replying="so <answer> it")
    shop = shop_of()
    assert Vlaa(teacher=teacher, rewrite_prompt="{reasoning}").drafts([task_of()], shop) == [None]
    assert shop.counts["malformed"] == 1


def test_a_model_as_the_teacher_describes_with_and_reasons_without_the_picture():
    task = task_of()
    asked: list[Question] = []

    def sample(model: str, questions: Sequence[Question], count: int, how: Drawing) -> list[list[str]]:
        assert (model, count) == ("teacher", 1)
        asked.extend(questions)
        texts = ["a red circle", f"<think> so {task.problem.answer} </think> <answer> {task.problem.answer} </answer>"]
        return [[texts[not one.images]] for one in questions]

    shop = shop_of()
    shop.sample = sample
    (draft,) = Vlaa(teacher=ModelTeacher()).drafts([task], shop)
    assert draft is not None
    described, reasoned = asked
    assert described.images == task.images
    assert reasoned.images == ()
    assert reasoned.text == f"Picture: a red circle. {task.text}"
    assert described.key != reasoned.key


def test_what_it_reads_and_what_it_fills():
    construction = Vlaa(teacher=ModelTeacher(model="self"), rejected_form="polluted")
    assert construction.reads() == ("self", "base")
    assert Vlaa().reads() == ()
    assert construction.buckets == (KEPT, RL)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"rl_tasks": -1}, "rl_tasks"),
        ({"rewrite_prompt": "Rewrite.", "teacher": Scripted()}, "rewrite_prompt"),
        ({"rewrite_prompt": "{reasoning}"}, "rewrite_prompt"),  # the solver answers tasks only
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, Any], where: str):
    with pytest.raises(InvalidOption) as error:
        Vlaa(**wrong)
    assert [fault.where for fault in error.value.faults] == [where]
