"""Which prompts and random numbers the stage `rl` trains on."""

from types import SimpleNamespace
from typing import Any

import pytest

from specs_lab.core.progress import Progress
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.problems.sources.procedural import Cell, ProceduralProblems
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.stages import rl
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

    monkeypatch.setattr(rl, "load_model", lambda *_: toy_vlm)
    monkeypatch.setattr(rl, "save_model", lambda *_: None)
    monkeypatch.setattr(rl, "fit", fit)

    def run(seed: int = 0, **options: Any):
        context = SimpleNamespace(
            options={
                "rl": GRPOOptions(**{"steps": 3, "prompts_per_step": 2, **options}),
                "trainer": TrainerOptions(),
                "reward": REWARD,
                "judge": NoJudge(),
                "problems": PROBLEMS,
            },
            inputs={"model": tmp_path},
            folder=tmp_path,
            seed=seed,
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


def test_spare_tasks_are_all_different_and_of_all_families(toy_vlm, tmp_path, monkeypatch):
    modules = []
    monkeypatch.setattr(rl, "load_model", lambda *_: toy_vlm)
    monkeypatch.setattr(rl, "save_model", lambda *_: None)
    monkeypatch.setattr(rl, "fit", lambda module, *_, **__: modules.append(module))
    options = {"rl": GRPOOptions(steps=3, prompts_per_step=2, max_resamples=2), "trainer": TrainerOptions()}
    options |= {"reward": REWARD, "judge": NoJudge(), "problems": PROBLEMS}
    context = SimpleNamespace(
        options=options,
        inputs={"model": tmp_path},
        folder=tmp_path,
        seed=0,
        name="final",
        progress=Progress(),
        loggers=tuple,
    )
    rl.run(context)  # pyright: ignore[reportArgumentType]
    spares = [modules[0].spare(step, place, attempt) for step in range(3) for place in range(2) for attempt in (1, 2)]
    assert len({task.id for task in spares}) == len(spares)
    assert {task.problem.family for task in spares} == {"count", "clock"}
