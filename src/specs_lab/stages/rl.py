"""Stage `rl`: GRPO from the input model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache

from specs_lab.core.seeding import python_rng
from specs_lab.data.task_lists import read_tasks
from specs_lab.models.reference import make_reference
from specs_lab.models.vlm import VLM
from specs_lab.problems.scoring import rewarder
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Helpers
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.rollout.engines.base import RolloutEngine, Site
from specs_lab.rollout.from_reasoning import FromReasoning
from specs_lab.rollout.options.inprocess import InProcessRollout
from specs_lab.rollout.sampling import Sampling
from specs_lab.stages.common import load_model, open_loggers, save_model
from specs_lab.stages.context import StageContext
from specs_lab.stages.guarding import guard_of
from specs_lab.stages.resuming import Resuming
from specs_lab.stages.scoring import judge_of, require_golds, rl_stream
from specs_lab.stages.steps import StepRows
from specs_lab.tracking.rows import RowWriter
from specs_lab.training.fit import ConsecutiveBatches, Items
from specs_lab.training.grpo import GRPOModule


def run(context: StageContext) -> None:
    """Trains the input model by reinforcement learning with verifiable rewards."""
    options, trainer = context.options["rl"], context.options["trainer"]
    resuming = Resuming(context)
    vlm = load_model(context, "model", adapter=context.options["adapter"])
    # Arms share prompts and random numbers, whatever their model, method and learning rate; the zero model's RL and the
    # final one share them only if they draw from the same cells.
    stream = rl_stream(context.seed, options.mixture) + context.stream
    draw = drawer(context)

    def spare(step: int, place: int, attempt: int) -> Task:
        # One number for each, so that the families take turns here as well.
        index = (step * options.prompts_per_step + place) * options.max_resamples + attempt - 1
        task = draw(f"{stream}/spare", index)
        require_golds(context, [task], 1)
        return task

    def batch_of(step: int) -> Sequence[Task]:
        return [tasks[index] for index in range(step * batch, min((step + 1) * batch, len(tasks)))]

    batch = options.prompts_per_step
    tasks = Items(batch * options.steps, lambda index: draw(stream, index))
    require_golds(context, (tasks[index] for index in range(len(tasks))), len(tasks))
    reward: WeightedReward = context.options["reward"]
    reference = make_reference(vlm) if options.kl_weight or reward.asks_model else None
    answer_from = None
    if reference is not None and reward.asks_model:
        answer_from = FromReasoning(
            reference,
            max_new_tokens=reward.longest_answer,
            batch_size=trainer.sample_batch_size,
            spent=lambda tokens: module.charge_forward(tokens),
        )
    engine = open_engine(context, vlm)
    module = GRPOModule(
        vlm,
        options,
        rewarder(reward, Helpers(judge=judge_of(context), answer_from=answer_from)),
        micro_batch_tokens=trainer.micro_batch_tokens,
        sample_batch_size=trainer.sample_batch_size,
        stream=stream,
        spare=spare,
        reference=reference,
        reward_terms=tuple(reward.terms),
        engine=engine,
        next_tasks=batch_of,
    )
    module.guard = guard_of(context)
    with (
        closing(module.ahead),  # the engine is closed before
        engine,
        RowWriter(context.folder / "rows.csv") as rows,
        open_loggers(context) as loggers,
    ):
        resuming.fit(
            module,
            tasks,
            ConsecutiveBatches(batch, options.steps),
            trainer=trainer,
            callbacks=[StepRows(rows, options.log_every)],
            loggers=loggers,
            progress=context.progress,
            name=f"{context.name}: GRPO",
        )
    save_model(vlm, context)


def open_engine(context: StageContext, vlm: VLM) -> RolloutEngine:
    """Who samples for a stage; nothing is started yet."""
    options, trainer = context.options["rl"], context.options["trainer"]
    site = Site(
        folder=context.work / "rollout",
        logs=context.logs or context.work,
        sampling=Sampling(temperature=options.temperature, max_new_tokens=options.max_new_tokens),
        batch_size=trainer.sample_batch_size,
        devices=trainer.devices * trainer.nodes,
    )
    return context.options.get("rollout", InProcessRollout()).open(vlm, site)


def drawer(context: StageContext) -> Callable[[str, int], Task]:
    """(stream, index) to a task: of the list that the stage was given, or of the cells of its mixture.

    A list is gone through again and again, in another order each time.
    """
    options, problems = context.options["rl"], context.options["problems"]
    if "tasks" not in context.inputs:
        return lambda stream, index: problems.draw_mixed(options.mixture, stream, index)
    tasks = read_tasks(context.inputs["tasks"], problems, options.buckets)

    def draw(stream: str, index: int) -> Task:
        epoch, place = divmod(index, len(tasks))
        return order(stream, epoch)[place]

    @cache
    def order(stream: str, epoch: int) -> list[Task]:
        return python_rng("tasks", stream, epoch).sample(tasks, len(tasks))

    return draw
