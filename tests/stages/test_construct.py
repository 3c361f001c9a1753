"""How the stage `construct` samples, and what it leaves behind."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.data.constructions.base import Draft
from specs_lab.data.constructions.file import UserFile
from specs_lab.data.constructions.gold import Gold
from specs_lab.data.records import read_pairs
from specs_lab.data.task_lists import read_tasks
from specs_lab.data.workshop import Drawing, Question
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.models.prompts import continued
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell, Task
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling
from specs_lab.stages import construct
from specs_lab.stages.construct import answers, make_workshop
from specs_lab.training.options.trainer import TrainerOptions

PROBLEMS = ProceduralProblems(families=["count"], instructions=["tags"], styles=["plain"], cells={"id": Cell()})


def _context(folder: Path, data: Any, models: tuple[str, ...] = (), stream: str = "") -> Any:
    options = {"data": data, "problems": PROBLEMS, "judge": NoJudge(), "trainer": TrainerOptions()}
    return SimpleNamespace(
        options=options,
        inputs={name: folder / name for name in models},
        folder=folder,
        work=folder / uuid4().hex,  # of a stage that was never begun
        seed=7,
        stream=stream,
        name="pairs",
        progress=Progress(),
        loggers=list,
    )


@pytest.fixture
def tasks(toy_problems):
    return [Task(p.id, "id", p, INSTRUCTIONS["tags"]) for p in toy_problems]


def test_responses_that_were_cut_are_left_out_and_counted(toy_vlm, toy_problems, tasks, tmp_path):
    prompts = toy_vlm.encode_prompts([task.text for task in tasks], [p.images for p in toy_problems], list("abcde"))
    keys = [[f"chosen/7/{task.id}/{k}" for k in range(40)] for task in tasks]
    made = generate(toy_vlm, prompts, keys, Sampling(max_new_tokens=60))
    whole = [[toy_vlm.decode(one.token_ids) for one in group if not one.truncated] for group in made]
    total = sum(len(group) for group in whole)
    assert 0 < total < 200  # a random model ends some of its responses

    shop = make_workshop(_context(tmp_path, None), {"self": toy_vlm})
    assert shop.ask("self", "chosen", tasks, 40, Drawing(max_new_tokens=60)) == whole
    assert shop.counts == {"cut/self": 200 - total}


def test_each_use_model_and_round_has_random_numbers_of_its_own(toy_vlm, tasks, tmp_path):
    def asked(side: str, stream: str = "") -> Any:
        shop = make_workshop(_context(tmp_path, None, stream=stream), {"self": toy_vlm})
        return shop.ask("self", side, tasks, 8, Drawing(max_new_tokens=60))

    assert asked("chosen") == asked("chosen")
    assert asked("chosen") != asked("rejected")
    assert asked("chosen") != asked("chosen", "/round 2")


def test_answers_do_not_depend_on_who_else_is_asked(toy_vlm, tasks, tmp_path):
    shop = make_workshop(_context(tmp_path, None), {"self": toy_vlm})
    questions = [shop.question(task, "chosen") for task in tasks]
    together = answers(toy_vlm, questions, 4, Drawing(max_new_tokens=30), 64)
    apart = [answers(toy_vlm, [one], 4, Drawing(max_new_tokens=30), 64) for one in questions]
    assert together[0] == [texts for (texts,), _ in apart]
    assert together[1] == sum(cut for _, cut in apart)


def test_nothing_is_answered_where_nothing_is_asked(toy_vlm):
    assert answers(toy_vlm, [], 4, Drawing(), 64) == ([], 0)


def test_a_model_goes_on_from_what_is_put_into_its_mouth(toy_vlm, tasks):
    question = Question(tasks[0].text, tasks[0].images, "a", "key", begun="<think> so")
    prompt = toy_vlm.encode_prompts([question.text], [question.images], ["a"])[0]
    begun = continued(prompt, toy_vlm.encode_completions([question.begun], ended=False)[0])
    made = generate(toy_vlm, [begun], [[f"key/{k}" for k in range(20)]], Sampling(max_new_tokens=60))[0]
    expected = [toy_vlm.decode(one.token_ids) for one in made if not one.truncated]
    assert expected
    assert answers(toy_vlm, [question], 20, Drawing(max_new_tokens=60), 64)[0] == [expected]


def test_a_question_may_have_no_picture(toy_vlm):
    question = Question("What is 3+4?", (), "", "key")
    texts, cut = answers(toy_vlm, [question], 8, Drawing(max_new_tokens=60), 64)
    assert len(texts[0]) + cut == 8


class _Half(Gold):
    """Puts every second task aside."""

    def drafts(self, tasks, shop):
        return [
            Draft(text="<think> a </think> <answer> b </answer>", source="x", bucket=("cold", "rl")[place % 2])
            for place, _ in enumerate(tasks)
        ]


def test_a_run_leaves_the_pairs_their_tasks_and_a_card(tmp_path):
    """Which tasks went where: RL may go on from those that became pairs, or from those put aside."""
    construct.run(_context(tmp_path, _Half(pairs=4, rejected_form="none")))
    pairs = read_pairs(tmp_path / "pairs.parquet")
    assert len(pairs) == 4
    cold, aside = read_tasks(tmp_path, PROBLEMS, ["cold"]), read_tasks(tmp_path, PROBLEMS, ["rl"])
    assert [task.id for task in cold] == [pair.id for pair in pairs]
    assert [task.text for task in cold] == [pair.prompt for pair in pairs]
    assert len(aside) == 4
    assert not {task.id for task in cold} & {task.id for task in aside}
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["pairs"] == 4
    assert card["bucket/rl"] == 4


@pytest.mark.parametrize(("wanted", "said"), [(4, []), (5, ["pairs: only 4 of 5 pairs could be made"])])
def test_too_few_pairs_are_said(tmp_path, wanted, said):
    class Four(Gold):
        def records(self, shop, report=lambda _: None):
            return super().records(shop, report)[:4]

    messages = []
    context = _context(tmp_path, Four(pairs=wanted, rejected_form="none"))
    context.progress.message = messages.append
    construct.run(context)
    assert messages == said


def test_pairs_of_a_file_become_pairs_as_they_are(tmp_path):
    """Its rows name no tasks of the study, so there are none to leave to RL."""
    file = tmp_path / "own.jsonl"
    file.write_text('{"prompt": "1+1?", "chosen": "2", "rejected": "3"}\n')
    messages = []
    context = _context(tmp_path, UserFile(path=str(file)))
    context.progress.message = messages.append
    construct.run(context)
    (pair,) = read_pairs(tmp_path / "pairs.parquet")
    assert (pair.prompt, pair.chosen, pair.rejected) == ("1+1?", "2", "3")
    assert messages == []
    with pytest.raises(UserError, match="no task is in it"):
        read_tasks(tmp_path, PROBLEMS)


class _Nothing(Gold):
    def drafts(self, tasks, shop):
        return [None] * len(tasks)


def test_no_pair_at_all_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no pair came out of 16 prompts"):
        construct.run(_context(tmp_path, _Nothing(pairs=2, rejected_form="none")))
    assert not list(tmp_path.iterdir())


def test_models_of_all_inputs_are_at_hand(toy_vlm, tmp_path, monkeypatch):
    asked = []

    class Asks(Gold):
        def drafts(self, tasks, shop):
            asked.extend(shop.ask(name, "chosen", tasks, 1, self.drawing) for name in ("base", "teacher"))
            return super().drafts(tasks, shop)

    monkeypatch.setattr(construct, "load_model", lambda context, name: toy_vlm)
    context = _context(tmp_path, Asks(pairs=1, rejected_form="none"), ("base", "teacher"))
    construct.run(context)
    assert len(asked) == 2
