"""Which prompts and random numbers the stage `rl` trains on."""

from types import SimpleNamespace
from typing import Any

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.data.task_lists import write_tasks
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell, TaskRef
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.stages import resuming, rl
from specs_lab.stages.rl import drawer
from specs_lab.training.options.trainer import TrainerOptions

REWARD = WeightedReward(terms={"accuracy": AccuracyTerm()})
PROBLEMS = ProceduralProblems(
    families=["count", "clock"],
    instructions=["tags"],
    styles=["plain"],
    cells={"id": Cell(), "other": Cell()},
)


@pytest.fixture
def drawn(toy_vlm, tmp_path, monkeypatch):
    """What a run would be trained on: the name of its random numbers, and its tasks."""
    seen: dict[str, Any] = {}

    def fit(module, tasks, batches, **_):
        seen["all"] = module.stream, [tasks[i].id for batch in batches for i in batch]

    monkeypatch.setattr(rl, "load_model", lambda *_, **__: toy_vlm)
    monkeypatch.setattr(rl, "save_model", lambda *_: None)
    monkeypatch.setattr(resuming, "fit", fit)

    def run(seed: int = 0, stream: str = "", **options: Any):
        context = SimpleNamespace(
            options={
                "rl": GRPOOptions(**{"steps": 3, "prompts_per_step": 2, **options}),
                "trainer": TrainerOptions(),
                "adapter": FullAdapter(),
                "reward": REWARD,
                "judge": NoJudge(),
                "problems": PROBLEMS,
            },
            inputs={"model": tmp_path},
            folder=tmp_path,
            work=tmp_path / ".work",
            logs=None,
            seed=seed,
            stream=stream,
            name="final",
            progress=Progress(),
            loggers=lambda: (),
        )
        rl.run(context)  # pyright: ignore[reportArgumentType]
        return seen["all"]

    return run


def test_methods_and_learning_rates_are_compared_on_the_same_prompts_and_random_numbers(drawn):
    assert drawn() == drawn(lr=1e-3) == drawn(clip_high=0.28, loss_norm="sequence", advantage_scale="none")
    assert drawn(steps=2)[1] == drawn()[1][:4]


def test_seeds_and_cells_have_prompts_of_their_own(drawn):
    assert len({drawn()[0], drawn(seed=1)[0], drawn(mixture=["id", "other"])[0]}) == 3
    assert drawn()[1] != drawn(seed=1)[1]


def test_stages_of_rl_in_a_row_have_prompts_and_random_numbers_of_their_own(drawn):
    (first, tasks), (second, others) = drawn(), drawn(stream="/round 2")
    assert first != second
    assert not set(tasks) & set(others)


def test_spare_tasks_are_all_different_and_of_all_families(toy_vlm, tmp_path, monkeypatch):
    modules = []
    monkeypatch.setattr(rl, "load_model", lambda *_, **__: toy_vlm)
    monkeypatch.setattr(rl, "save_model", lambda *_: None)
    monkeypatch.setattr(resuming, "fit", lambda module, *_, **__: modules.append(module))
    options = {
        "rl": GRPOOptions(steps=3, prompts_per_step=2, max_resamples=2),
        "trainer": TrainerOptions(),
        "adapter": FullAdapter(),
    }
    options |= {"reward": REWARD, "judge": NoJudge(), "problems": PROBLEMS}
    context = SimpleNamespace(
        options=options,
        inputs={"model": tmp_path},
        folder=tmp_path,
        work=tmp_path / ".work",
        logs=None,
        seed=0,
        stream="",
        name="final",
        progress=Progress(),
        loggers=tuple,
    )
    rl.run(context)  # pyright: ignore[reportArgumentType]
    spares = [modules[0].spare(step, place, attempt) for step in range(3) for place in range(2) for attempt in (1, 2)]
    assert len({task.id for task in spares}) == len(spares)
    assert {task.problem.family for task in spares} == {"count", "clock"}


# --- tasks that the stage is given ---


@pytest.fixture
def given(tmp_path):
    """Seven tasks, in two buckets; and what draws from them."""
    tasks = [PROBLEMS.draw_task("id", "train", "given", index) for index in range(7)]
    write_tasks(tmp_path, [TaskRef(task.id, task.cell, "easy" if i < 5 else "hard") for i, task in enumerate(tasks)])

    def make(**options: Any):
        context: Any = SimpleNamespace(
            options={"rl": GRPOOptions(**options), "problems": PROBLEMS}, inputs={"model": tmp_path, "tasks": tmp_path}
        )
        return drawer(context)

    return tasks, make


@pytest.mark.parametrize("buckets", [[], ["easy"], ["hard"], ["hard", "easy"]])
def test_every_task_of_the_buckets_is_drawn_once_an_epoch(given, buckets):
    tasks, make = given
    wanted = [task for i, task in enumerate(tasks) if not buckets or ("easy" if i < 5 else "hard") in buckets]
    draw, count = make(buckets=buckets), len(wanted)
    epochs = [[draw("a", epoch * count + place).id for place in range(count)] for epoch in range(4)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(task.id for task in wanted)
    if count > 2:
        assert len({tuple(epoch) for epoch in epochs}) == 4  # in another order each time


def test_what_is_drawn_depends_on_the_stream_and_the_index_only(given):
    _, make = given
    forwards, backwards = make(), make()
    order = [forwards("a", index).id for index in range(20)]
    assert [backwards("a", index).id for index in reversed(range(20))] == order[::-1]
    assert [forwards("b", index).id for index in range(20)] != order
    assert [forwards("a/spare", index).id for index in range(20)] != order
    assert [forwards("a", index).id for index in range(20)] == order


def test_drawn_tasks_are_those_of_the_list(given):
    tasks, make = given
    drawn_tasks = [make()("a", index) for index in range(7)]
    assert sorted(drawn_tasks, key=lambda task: task.id) == sorted(tasks, key=lambda task: task.id)


def test_an_empty_bucket_is_a_user_error_before_training(given):
    _, make = given
    with pytest.raises(UserError, match="no task is in medium"):
        make(buckets=["medium"])


def test_without_a_list_tasks_come_from_the_mixture(tmp_path):
    context: Any = SimpleNamespace(options={"rl": GRPOOptions(), "problems": PROBLEMS}, inputs={"model": tmp_path})
    assert drawer(context)("a", 3) == PROBLEMS.draw_mixed(["id"], "a", 3)


def test_training_and_spare_tasks_come_from_the_list(toy_vlm, given, tmp_path, monkeypatch):
    tasks, _ = given
    seen: dict[str, Any] = {}

    def fit(module, items, batches, **_):
        seen["tasks"] = [items[i].id for batch in batches for i in batch]
        seen["spares"] = [module.spare(step, place, 1).id for step in range(4) for place in range(2)]

    monkeypatch.setattr(rl, "load_model", lambda *_, **__: toy_vlm)
    monkeypatch.setattr(rl, "save_model", lambda *_: None)
    monkeypatch.setattr(resuming, "fit", fit)
    options = {
        "rl": GRPOOptions(steps=4, prompts_per_step=2, max_resamples=1),
        "trainer": TrainerOptions(),
        "adapter": FullAdapter(),
    }
    context: Any = SimpleNamespace(
        options=options | {"reward": REWARD, "judge": NoJudge(), "problems": PROBLEMS},
        inputs={"model": tmp_path, "tasks": tmp_path},
        folder=tmp_path,
        work=tmp_path / ".work",
        logs=None,
        seed=0,
        stream="",
        name="final",
        progress=Progress(),
        loggers=tuple,
    )
    rl.run(context)
    names = {task.id for task in tasks}
    assert set(seen["tasks"][:7]) == set(seen["spares"][:7]) == names
    assert seen["tasks"] != seen["spares"]
