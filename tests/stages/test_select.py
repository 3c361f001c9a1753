"""The stage `select`: in which bucket a task is, by the first try that is right."""

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.data.selections.tries import SelectOptions
from specs_lab.data.task_lists import read_tasks
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.rollout.sampling import Completion
from specs_lab.stages import construct, select
from specs_lab.training.options.trainer import TrainerOptions

PROBLEMS = ProceduralProblems(
    families=["count"],
    ood_families=["clock"],
    instructions=["tags"],
    styles=["plain"],
    cells={"id": Cell(), "ood": Cell(family="ood")},
)
RIGHT, WRONG, CUT = "right", "wrong", "right but cut"


@pytest.fixture
def run(toy_vlm, tmp_path, monkeypatch):
    """Runs the stage and returns {task: bucket}."""
    monkeypatch.setattr(select, "load_model", lambda *_: toy_vlm)

    def run_stage(seed: int = 0, stream: str = "", **options: Any) -> dict[str, str]:
        options = {"tries": 4, "most_tries": {"easy": 1, "medium": 3, "hard": 4}, "mixture": ["id"], **options}
        context: Any = SimpleNamespace(
            options={
                "select": SelectOptions(**options),
                "problems": PROBLEMS,
                "judge": NoJudge(),
                "trainer": TrainerOptions(),
            },
            inputs={"model": tmp_path},
            folder=tmp_path,
            work=tmp_path / uuid4().hex,  # of a stage that was never begun
            seed=seed,
            stream=stream,
            name="levels",
            progress=Progress(),
        )
        select.run(context)
        return {row["id"]: row["bucket"] for row in json.loads((tmp_path / "tasks.json").read_text())["tasks"]}

    return run_stage


@pytest.fixture
def scripted(toy_vlm, monkeypatch):
    """Gives the model's tries for each task in turn; returns what was asked for."""
    asked: list[Any] = []

    def script(*tries: list[str]) -> list[Any]:
        scripts = iter(tries)

        def generate(vlm, prompts, keys, sampling, *, batch_size):
            asked.append((len(prompts), len(keys[0]), sampling.temperature, sampling.max_new_tokens))
            return [[_said(kind) for kind in next(scripts)] for _ in prompts]

        monkeypatch.setattr(construct, "generate", generate)
        # What is right is known to the script, not to the grader.
        monkeypatch.setattr(select.Workshop, "correct", lambda self, task, texts: ["right" in text for text in texts])
        return asked

    def _said(kind: str) -> Completion:
        ids = toy_vlm.encode_completions([kind])[0]
        return Completion(ids, (0.0,) * len(ids), kind == CUT)

    monkeypatch.setattr(toy_vlm, "decode", lambda ids: toy_vlm.tokenizer.decode(list(ids), skip_special_tokens=True))
    return script


def test_a_task_is_as_hard_as_its_first_right_try_is_late(run, scripted):
    asked = scripted(
        [RIGHT, WRONG, WRONG, WRONG],
        [WRONG, RIGHT, RIGHT, RIGHT],
        [WRONG, WRONG, RIGHT, WRONG],
        [WRONG, WRONG, WRONG, RIGHT],
        [WRONG] * 4,
    )
    buckets = run(tasks=5, temperature=0.7, max_new_tokens=9)
    assert list(buckets.values()) == ["easy", "medium", "medium", "hard", "unsolved"]
    assert asked == [(5, 4, 0.7, 9)]


def test_a_try_that_was_cut_is_a_try_and_failed(run, scripted):
    scripted([CUT, RIGHT, RIGHT, RIGHT], [CUT, CUT, CUT, RIGHT], [CUT] * 4)
    assert list(run(tasks=3).values()) == ["medium", "hard", "unsolved"]


def test_all_tasks_are_kept_with_their_buckets_and_counted(run, scripted, tmp_path):
    scripted(*[[RIGHT] * 4] * 70, *[[WRONG] * 4] * 30)
    buckets = run(tasks=100, mixture=["id", "ood"])
    assert Counter(buckets.values()) == {"easy": 70, "unsolved": 30}
    assert json.loads((tmp_path / "card.json").read_text()) == {"easy": 70, "unsolved": 30}
    easy = read_tasks(tmp_path, PROBLEMS, ["easy"])
    assert {task.id for task in easy} == {name for name, bucket in buckets.items() if bucket == "easy"}
    assert {task.cell for task in easy} == {"id", "ood"}
    assert all(task.id.split("/")[1] == "train" for task in easy)
    with pytest.raises(UserError, match="look at more tasks"):
        read_tasks(tmp_path, PROBLEMS, ["hard"])


def test_tasks_are_a_function_of_the_seed_and_the_stream(run, scripted):
    scripted(*[[WRONG] * 4] * 20)
    first, again = set(run(tasks=4)), set(run(tasks=4))
    assert first == again
    assert not first & set(run(tasks=4, seed=1))
    assert not first & set(run(tasks=4, stream="/round 2"))


def test_fewer_tasks_are_the_first_of_more(run, scripted):
    scripted(*[[WRONG] * 4] * 76)
    assert list(run(tasks=6)) == list(run(tasks=70))[:6]


def test_a_model_is_asked(run):
    """A random model solves nothing within so few tokens."""
    assert set(run(tasks=3, max_new_tokens=2).values()) == {"unsolved"}
