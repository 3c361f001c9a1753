"""The solver as a teacher: right in its own words, as often reflecting and wrong as it is asked to, and short."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

import specs_lab.checkpoints
from specs_lab.core.options import InvalidOption
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.solver import SolverTeacher
from specs_lab.data.text import consistent, read
from specs_lab.data.workshop import Drawing, Workshop, terms
from specs_lab.metrics.reflections import has_aha
from specs_lab.problems.base import FAMILIES, Problem, make_problem
from specs_lab.problems.captions import caption
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Task
from specs_lab.rewards.format import follows

PROBLEMS = ProceduralProblems(families=["count"], instructions=["tags"], styles=["plain"])
HOW = Drawing()


def tasks_of(family: str, count: int = 20, instruction: str = "tags") -> list[Task]:
    problems = [make_problem(family, seed=7, index=index) for index in range(count)]
    return [Task(f"{one.id}/{instruction}", "id", one, INSTRUCTIONS[instruction]) for one in problems]


def some_tasks(count: int = 20) -> list[Task]:
    return [task for family in FAMILIES.names() for task in tasks_of(family, count)]


def shop_of(seed: int = 0) -> Workshop:
    return Workshop(seed=seed, problems=PROBLEMS)  # has no model to ask


def written(teacher: Teacher, tasks: list[Task], count: int = 2, seed: int = 0) -> list[list[str]]:
    return teacher.write(tasks, shop_of(seed), count, HOW)


@pytest.mark.parametrize("instruction", ["tags", "bare", "alternative"])
@pytest.mark.parametrize("style", ["terse", "verbose"])
@pytest.mark.parametrize("family", FAMILIES.names())
def test_responses_are_right_consistent_and_in_the_requested_format(family: str, style: str, instruction: str) -> None:
    tasks = tasks_of(family, instruction=instruction)
    for rate in (0.0, 1.0):
        teacher = SolverTeacher(style=style, reflection_rate=rate)
        for task, responses in zip(tasks, written(teacher, tasks), strict=True):
            assert shop_of().correct(task, responses) == [True, True]
            for response in responses:
                parts = read(response)
                assert parts is not None
                assert follows(response, task.instruction.format)
                assert consistent(*parts, task.problem.answer_type, terms(task))


def test_terse_says_the_derivation_and_no_more() -> None:
    for task in some_tasks(3):
        (response,) = written(SolverTeacher(style="terse"), [task], 1)[0]
        assert read(response) == (task.problem.reasoning, task.problem.answer)


def test_verbose_has_all_steps_in_words_of_its_own() -> None:
    for task in some_tasks(5):
        for response in written(SolverTeacher(), [task], 3)[0]:
            places = [response.index(step) for step in task.problem.reasoning.split(". ")]
            assert places == sorted(places)
            assert task.problem.reasoning not in response or ". " not in task.problem.reasoning
            assert response.count("result is") == 1


def test_attempts_differ_in_words() -> None:
    assert all(len(set(responses)) > 1 for responses in written(SolverTeacher(), some_tasks(2), 10))


def test_all_depends_on_seed_task_and_number_only() -> None:
    teacher = SolverTeacher(reflection_rate=0.5, error_rate=0.5)
    tasks = some_tasks(4)
    once = written(teacher, tasks, 4)
    assert [one[:2] for one in once] == written(teacher, tasks, 2)
    assert once[::-1] == written(teacher, tasks[::-1], 4)
    assert once != written(teacher, tasks, 4, seed=1)


@pytest.mark.parametrize("style", ["terse", "verbose"])
def test_the_share_of_responses_that_reflect(style: str) -> None:
    tasks = some_tasks(20)

    def share(rate: float) -> float:
        groups = written(SolverTeacher(style=style, reflection_rate=rate), tasks)
        texts = [text for group in groups for text in group]
        return sum(has_aha(text) for text in texts) / len(texts)

    assert share(0.0) == 0
    assert share(1.0) == 1
    assert share(0.2) == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("style", ["terse", "verbose"])
@pytest.mark.parametrize("family", FAMILIES.names())
def test_mistakes_are_wrong_and_lead_to_their_answer(family: str, style: str) -> None:
    tasks = tasks_of(family)
    teacher = SolverTeacher(style=style, error_rate=1.0)
    for task, responses in zip(tasks, written(teacher, tasks), strict=True):
        assert shop_of().correct(task, responses) == [False, False]
        for response in responses:
            parts = read(response)
            assert parts is not None
            assert follows(response, "think_answer")
            assert consistent(*parts, task.problem.answer_type, terms(task))


def test_the_share_of_responses_that_are_wrong() -> None:
    tasks = some_tasks(20)
    groups = written(SolverTeacher(error_rate=0.3), tasks)
    wrong = [not right for task, group in zip(tasks, groups, strict=True) for right in shop_of().correct(task, group)]
    assert sum(wrong) / len(wrong) == pytest.approx(0.3, abs=0.06)


def problem(kind: str, answer: str, question: str = "?", reasoning: str = "", **more: object) -> Problem:
    base = make_problem("clock", seed=0, index=0)
    facts = {"answer_type": kind, "answer": answer, "question": question, "reasoning": reasoning, **more}
    return Problem(**{**vars(base), **facts})


@pytest.mark.parametrize(
    "odd",
    [
        problem("boolean", "yes", reasoning="yes"),
        problem("choice", "C", "Which?", "it is C", choices=("a", "b", "c")),
        problem("choice", "A", "No letters here?", "it is A"),
        problem("integer", "seven", reasoning="seven"),
        problem("number", "2.5", reasoning="5/2=2.5"),
        problem("word", "equal", "Are there more red or blue objects?", "1 vs 1 equal"),
    ],
    ids=lambda one: f"{one.answer_type} {one.answer}",
)
def test_mistakes_of_kinds_that_no_family_has(odd: Problem) -> None:
    task = Task("x/tags", "id", odd, INSTRUCTIONS["tags"])
    (responses,) = written(SolverTeacher(error_rate=1.0), [task], 5)
    assert shop_of().correct(task, responses) == [False] * 5


def test_no_derivation_no_response() -> None:
    task = Task("x/tags", "id", problem("integer", "7"), INSTRUCTIONS["tags"])
    assert written(SolverTeacher(), [task]) == [[]]


def test_captions_are_what_the_picture_was_painted_from() -> None:
    tasks = some_tasks(2)
    captions = SolverTeacher().caption(tasks, shop_of(), HOW)
    assert captions == [caption(task.problem) for task in tasks]
    assert all(captions)


@pytest.mark.parametrize("style", ["terse", "verbose"])
def test_what_it_writes_unseen_says_so_and_is_right(style: str) -> None:
    tasks = some_tasks(2)
    teacher = SolverTeacher(style=style)
    groups = teacher.write_unseen(tasks, teacher.caption(tasks, shop_of(), HOW), shop_of(), 1, HOW)
    for task, responses in zip(tasks, groups, strict=True):
        assert "The caption says" in responses[0]
        assert shop_of().correct(task, responses) == [True]


def test_it_fits_the_tokens_that_the_embedded_models_have() -> None:
    """Words that their tokenizer does not know cost a token for every letter or two."""
    tokenizer = Tokenizer.from_file(str(Path(str(specs_lab.checkpoints.__path__[0])) / "small-0" / "tokenizer.json"))
    tasks = some_tasks(30)

    def lengths(**options: float) -> list[int]:
        groups = written(SolverTeacher(**options), tasks)
        return sorted(len(tokenizer.encode(text).ids) for group in groups for text in group)

    plain, reflecting = lengths(), lengths(reflection_rate=1.0)
    assert plain[len(plain) // 2] <= 55
    assert reflecting[-1] <= 90


@pytest.mark.parametrize(
    "wrong", [{"style": "terce"}, {"reflection_rate": 1.5}, {"error_rate": -0.1}], ids=lambda one: next(iter(one))
)
def test_options_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(InvalidOption) as error:
        SolverTeacher(**wrong)
    assert [fault.where for fault in error.value.faults] == list(wrong)
