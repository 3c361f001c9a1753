"""The kinds of CoT of "RL with Cold Start" (arXiv 2505.22334): distilled, reflection, caption, self-critic."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from omegaconf import OmegaConf

from specs_lab.cli.composition import composer
from specs_lab.core.options import InvalidOption
from specs_lab.data.consistency.unchecked import Unchecked
from specs_lab.data.constructions.base import NONE, Draft, FromTasks
from specs_lab.data.constructions.caption import Caption
from specs_lab.data.constructions.reflection import Reflection
from specs_lab.data.constructions.self_critic import SelfCritic
from specs_lab.data.constructions.teacher_distill import TeacherDistill
from specs_lab.data.taught import Taught
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.model import ModelTeacher
from specs_lab.data.teachers.solver import SolverTeacher
from specs_lab.data.text import read
from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.problems.base import FAMILIES
from specs_lab.problems.captions import caption
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell, Task
from specs_lab.rewards.format import follows

PROBLEMS = ProceduralProblems(
    families=FAMILIES.names(),
    instructions=["tags"],
    alternative_instructions=["alternative"],
    styles=["plain"],
    cells={"id": Cell(), "alternative": Cell(instruction="alternative")},
)
FALLIBLE = SolverTeacher(style="terse", error_rate=0.5)
ALL = (Reflection(pairs=40, teacher=FALLIBLE), Caption(pairs=40), SelfCritic(pairs=40, teacher=FALLIBLE))


@dataclass(kw_only=True)
class Scripted(Teacher):
    """Writes what it is told to; {gold} is the right answer, {bad} a wrong one."""

    responses: Sequence[str] = ()
    captions: str = "a picture"
    replying: str = "it is fine."
    questions: list[Question] = field(default_factory=list)

    @property
    def source(self) -> str:
        return "scripted"

    @property
    def replies(self) -> bool:
        return True

    def write(self, tasks: Sequence[Task], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        def told(task: Task, text: str) -> str:
            return text.replace("{gold}", task.problem.answer).replace("{bad}", "17 purple")

        return [[told(task, text) for text in self.responses[:count]] for task in tasks]

    def caption(self, tasks: Sequence[Task], shop: Workshop, drawing: Drawing) -> list[str]:
        return [self.captions] * len(tasks)

    def reply(self, questions: Sequence[Question], shop: Workshop, drawing: Drawing) -> list[str]:
        self.questions += questions
        return [self.replying] * len(questions)


RIGHT = "<think> the right way {gold} </think> <answer> {gold} </answer>"
RIGHT_TOO = "the other right way {gold}. The answer is {gold}."
WRONG = "<think> the wrong way {bad} </think> <answer> {bad} </answer>"
SLIP = "<think> the right way {gold} </think> <answer> {bad} </answer>"


def shop_of(seed: int = 0) -> Workshop:
    return Workshop(seed=seed, problems=PROBLEMS)


def task_of(cell: str = "id") -> Task:
    return PROBLEMS.draw_task(cell, "train", "test", 0)


def draft(construction: Taught, cell: str = "id") -> tuple[Draft | None, Workshop, Task]:
    shop, task = shop_of(), task_of(cell)
    return construction.drafts([task], shop)[0], shop, task


def reasoning_of(made: Draft | None) -> str:
    assert made is not None
    parts = read(made.text)
    assert parts is not None
    return parts.reasoning


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("construction", ALL, ids=lambda one: type(one).__name__)
def test_chosen_sides_follow_the_format_and_are_right(construction: Taught):
    shop = shop_of()
    records = construction.records(shop)
    assert len(records) == 40
    assert {record.family for record in records} == set(FAMILIES.names())
    for record in records:
        assert follows(record.chosen, "think_answer")
        parts = read(record.chosen)
        assert parts is not None
        assert parts.answer == record.answer
        assert (record.rejected, record.source) == (None, "solver")


@pytest.mark.parametrize("construction", ALL, ids=lambda one: type(one).__name__)
def test_all_depends_on_the_seed_only(construction: Taught):
    first, again, other = ([one.chosen for one in construction.records(shop_of(seed))] for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("construction", ALL, ids=lambda one: type(one).__name__)
def test_they_read_what_their_teacher_and_their_rejected_side_read(construction: Taught):
    kind: Any = type(construction)
    assert construction.reads() == ()
    assert construction.rejected_form == NONE
    assert kind(teacher=ModelTeacher(model="self"), rejected_form="polluted").reads() == ("self", "base")


@pytest.mark.parametrize("kind", [Reflection, Caption, SelfCritic])
def test_a_rejected_side_can_be_had(kind: Any):
    construction = kind(pairs=5, teacher=FALLIBLE, rejected_form="polluted")

    def base(model: str, questions: Sequence[Question], count: int, how: Drawing) -> list[list[str]]:
        golds = {task.text + task.problem.id: task.problem for task in drawn}
        answers = [golds[one.text + one.image_key].answer for one in questions]
        return [[f"<think> I see </think> <answer> {answer} </answer>"] * count for answer in answers]

    drawn: list[Task] = []
    shop = shop_of()
    shop.sample, shop.check_tasks = base, drawn.extend
    records = construction.records(shop)
    assert len(records) == 5
    assert all(record.rejected and record.pollution and record.rejected_correct for record in records)


@pytest.mark.parametrize("construction", ALL, ids=lambda one: type(one).__name__)
def test_a_teacher_that_says_nothing_makes_no_pairs(construction: Taught):
    kind: Any = type(construction)
    shop = shop_of()
    assert kind(pairs=4, max_prompts_per_pair=2, teacher=Scripted()).records(shop) == []
    assert shop.counts["prompts"] == shop.counts["no_chosen"] == 8


def test_distilled_is_the_first_right_response_of_many():
    teacher = Scripted(responses=[*[WRONG] * 23, RIGHT])
    options: dict[str, Any] = {"consistency": Unchecked(), "rejected_form": NONE, "pairs": 3}
    (record, *_) = TeacherDistill(teacher=teacher, chosen_samples=24, **options).records(shop_of())
    assert "the right way" in record.chosen
    assert TeacherDistill(teacher=teacher, chosen_samples=23, **options).records(shop_of()) == []


@pytest.mark.parametrize("name", ["wei_distilled", "reflection", "caption", "self_critic", "vlaa"])
@pytest.mark.parametrize("teacher", ["", "model", "solver_fallible", "endpoint"])
def test_every_configuration_takes_every_teacher(name: str, teacher: str):
    with composer() as known:
        overrides = [f"teacher@data.teacher={teacher}"] if teacher else []
        cfg = known.compose([f"data={name}", *overrides, *["data.teacher.model=any"] * (teacher == "endpoint")])
    made = OmegaConf.to_object(cfg.data)
    assert isinstance(made, FromTasks)
    assert not made.makes_rejected
    assert made.reads() == (("teacher",) if teacher == "model" else ())


# -- reflection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("responses", [[WRONG, RIGHT], [RIGHT, WRONG], [SLIP, "", RIGHT, RIGHT_TOO, WRONG]])
def test_a_wrong_and_a_right_path_around_a_turn(responses: list[str]):
    construction = Reflection(teacher=Scripted(responses=responses), chosen_samples=5)
    made, _, task = draft(construction)
    gold = task.problem.answer
    wanted = f"the wrong way 17 purple. Wait, let me re-evaluate. the right way {gold}."
    assert made is not None
    assert made.text == f"<think> {wanted} </think> <answer> {gold} </answer>"
    assert made.source == "scripted"


def test_the_solver_goes_both_ways():
    shop = shop_of()
    for record in Reflection(pairs=60, teacher=FALLIBLE).records(shop):
        wrong, turn, right = record.chosen.partition(" Wait, let me re-evaluate. ")
        assert turn
        assert right.split(" </think>")[0] != wrong.removeprefix("<think> ")
        assert right.endswith(f"{record.answer}. </think> <answer> {record.answer} </answer>")
    assert shop.counts["no_wrong"] > 0
    assert shop.counts["no_right"] > 0
    assert shop.counts["no_chosen"] == shop.counts["no_wrong"] + shop.counts["no_right"]


@pytest.mark.parametrize(
    ("responses", "why"), [([WRONG, WRONG], "no_right"), ([RIGHT, RIGHT_TOO, SLIP], "no_wrong"), ([], "no_right")]
)
def test_without_both_paths_there_is_none(responses: list[str], why: str):
    made, shop, _ = draft(Reflection(teacher=Scripted(responses=responses)))
    assert made is None
    assert shop.counts == {why: 1}


def test_the_requested_format_is_written():
    made, _, task = draft(Reflection(teacher=Scripted(responses=[WRONG, RIGHT])), "alternative")
    assert made is not None
    assert task.instruction.format == "steps_final"
    assert follows(made.text, "steps_final")


@pytest.mark.parametrize("wrong", [{"turn": " "}, {"chosen_samples": 1}])
def test_a_reflection_needs_a_turn_and_two_samples(wrong: dict[str, Any]):
    with pytest.raises(InvalidOption) as error:
        Reflection(**wrong)
    assert [fault.where for fault in error.value.faults] == list(wrong)


# -- caption -----------------------------------------------------------------------------------------------------------


def test_the_description_comes_first_and_then_the_solution():
    made, _, task = draft(Caption(teacher=SolverTeacher(style="terse")))
    assert reasoning_of(made) == f"{caption(task.problem)}. {task.problem.reasoning}."


def test_the_first_right_solution_is_taken():
    made, _, task = draft(Caption(teacher=Scripted(responses=[WRONG, RIGHT_TOO, RIGHT])))
    assert reasoning_of(made) == f"a picture. the other right way {task.problem.answer}."


@pytest.mark.parametrize(
    ("teacher", "why"),
    [
        (Scripted(responses=[WRONG]), "no_right"),
        (Scripted(responses=[RIGHT], captions=""), "no_caption"),
        (Scripted(responses=[RIGHT], captions="<think> I only think"), "no_caption"),
        (Scripted(responses=[RIGHT], captions="a <answer> tag"), "malformed"),
    ],
    ids=["wrong", "silent", "thinking", "tags"],
)
def test_without_both_parts_there_is_none(teacher: Scripted, why: str):
    made, shop, _ = draft(Caption(teacher=teacher))
    assert made is None
    assert shop.counts == {why: 1}


# -- self-critic -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("responses", "drafted", "critique", "refined"),
    [
        ([RIGHT, RIGHT_TOO], "the right way G", "agrees", "the other right way G"),
        ([RIGHT, WRONG, RIGHT_TOO], "the right way G", "reads 17 purple, so check again", "the other right way G"),
        ([RIGHT, WRONG], "the right way G", "reads 17 purple, so check again", "the right way G"),
        ([WRONG, RIGHT], "the wrong way 17 purple", "reads G, so check again", "the right way G"),
    ],
)
def test_draft_critique_and_refined_solution(responses: list[str], drafted: str, critique: str, refined: str):
    made, shop, task = draft(SelfCritic(teacher=Scripted(responses=responses)))
    wanted = f"Draft: {drafted}. Critique: a second try {critique}. Refined: {refined}."
    assert reasoning_of(made) == wanted.replace("G", task.problem.answer)
    assert shop.counts == {"critique/agrees" if critique == "agrees" else "critique/disagrees": 1}


@pytest.mark.parametrize(
    ("responses", "why"),
    [([RIGHT], "no_draft"), ([WRONG, WRONG], "no_right"), ([WRONG, WRONG, RIGHT], "misled")],
)
def test_without_draft_or_solution_there_is_none(responses: list[str], why: str):
    made, shop, _ = draft(SelfCritic(teacher=Scripted(responses=responses)))
    assert made is None
    assert shop.counts == {why: 1}


def test_the_teacher_can_be_asked_for_the_critique():
    teacher = Scripted(responses=[WRONG, RIGHT], replying="<think> hm </think> look closer")
    made, _, task = draft(SelfCritic(teacher=teacher, critique_prompt="{question} Criticise: {draft}!"))
    assert "Critique: look closer. Refined:" in reasoning_of(made)
    (question,) = teacher.questions
    assert question.text == f"{task.problem.question} Criticise: the wrong way 17 purple. Answer: 17 purple!"
    assert question.images is task.images


def test_no_critique_no_draft():
    teacher = Scripted(responses=[RIGHT, RIGHT], replying="")
    made, shop, _ = draft(SelfCritic(teacher=teacher, critique_prompt="{draft}"))
    assert made is None
    assert shop.counts["no_critique"] == 1


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"critique_prompt": "Criticise.", "teacher": Scripted()}, "critique_prompt"),
        ({"critique_prompt": "{draft}"}, "critique_prompt"),  # the solver answers tasks only
        ({"chosen_samples": 1}, "chosen_samples"),
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, Any], where: str):
    with pytest.raises(InvalidOption) as error:
        SelfCritic(**wrong)
    assert [fault.where for fault in error.value.faults] == [where]
