"""Stage `construct`: the data of a cold start, from whatever models the construction reads."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from specs_lab.core.errors import Fault, UserError
from specs_lab.data.card import write_card
from specs_lab.data.constructions.base import KEPT, Construction, FromTasks
from specs_lab.data.records import write_pairs
from specs_lab.data.task_lists import write_tasks
from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.models.prompts import continued
from specs_lab.models.vlm import VLM
from specs_lab.problems.tasks import TaskRef
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Completion, Sampling
from specs_lab.stages.common import journal_of, load_model, open_loggers
from specs_lab.stages.context import StageContext
from specs_lab.stages.describing import describe
from specs_lab.stages.scoring import judge_of, require_golds


def run(context: StageContext) -> None:
    """Writes ``pairs.parquet``, ``tasks.json`` (which tasks went where) and the data card."""
    options: Construction = context.options["data"]
    shop = make_workshop(context, {name: load_model(context, name) for name in context.inputs})
    with (
        open_loggers(context) as loggers,
        context.progress.task(f"{context.name}: pairs", options.pairs) as advance,
    ):
        pairs = options.records(shop, advance)
        shop.counts["pairs"] = len(pairs)
        for logger in loggers:
            logger.log_metrics({f"pairs/{name}": count for name, count in shop.counts.items()}, step=0)
    if not pairs:
        raise UserError([_nothing_came_out(context, shop)])
    if len(pairs) < options.pairs and isinstance(options, FromTasks):  # of others it is only the most
        context.progress.message(f"{context.name}: only {len(pairs)} of {options.pairs} pairs could be made")
    for bucket in options.buckets:
        if bucket != KEPT and not any(task.bucket == bucket for task in shop.others):
            context.progress.message(f"{context.name}: no task was put aside as '{bucket}'")
    write_pairs(context.folder / "pairs.parquet", pairs)
    kept = [TaskRef(pair.id, pair.cell, KEPT) for pair in pairs if KEPT in options.buckets]
    write_tasks(context.folder, [*kept, *shop.others])
    described = describe(options)
    write_card(context.folder, name=described.pop("class"), options=described, records=pairs, counts=dict(shop.counts))


def _nothing_came_out(context: StageContext, shop: Workshop) -> Fault:
    what = f"no pair came out of {shop.counts['prompts']} prompts ({dict(shop.counts)})"
    longer = "train the model that is distilled longer, or " if "self" in context.inputs else ""
    return Fault(f"stage {context.name}", what, f"{longer}raise data.max_prompts_per_pair")


def make_workshop(context: StageContext, models: Mapping[str, VLM]) -> Workshop:
    """What the construction of a stage works with.

    Args:
        context: The stage.
        models: The models that it may ask, by input.
    """
    batch_size = context.options["trainer"].sample_batch_size
    shop = Workshop(
        seed=context.seed,
        stream=context.stream,
        problems=context.options["problems"],
        judge=judge_of(context),
        # A batch at a time: how many will be drawn is not known.
        check_tasks=lambda tasks: require_golds(context, tasks, len(tasks)),
        recall=journal_of(context, "answers"),
    )
    calls = itertools.count()  # a construction asks the same in the same order when it is started again

    def sample(model: str, questions: Sequence[Question], count: int, drawing: Drawing) -> list[list[str]]:
        name = f"{model}/{next(calls)}"
        made, cut = shop.recall(name, lambda: answers(models[model], questions, count, drawing, batch_size))
        shop.counts[f"cut/{model}"] += cut
        return made

    shop.sample = sample
    return shop


def answers(
    vlm: VLM, questions: Sequence[Question], count: int, drawing: Drawing, batch_size: int
) -> tuple[list[list[str]], int]:
    """Samples answers to questions, all in one go.

    Returns:
        The texts of the answers to each question, without those cut at their longest, which have no end to learn; and
        how many were cut.
    """
    made = completions(vlm, questions, count, drawing, batch_size)
    cut = sum(completion.truncated for group in made for completion in group)
    return [[vlm.decode(one.token_ids) for one in group if not one.truncated] for group in made], cut


def completions(
    vlm: VLM, questions: Sequence[Question], count: int, drawing: Drawing, batch_size: int
) -> list[list[Completion]]:
    """Samples ``count`` answers to each question, all in one go, as tokens; also those that were cut."""
    if not questions:
        return []
    prompts = vlm.encode_prompts(
        [one.text for one in questions], [one.images for one in questions], [one.image_key for one in questions]
    )
    begun = vlm.encode_completions([one.begun for one in questions], ended=False)
    prompts = [continued(prompt, ids) if ids else prompt for prompt, ids in zip(prompts, begun, strict=True)]
    keys = [[f"{one.key}/{k}" for k in range(count)] for one in questions]
    sampling = Sampling(temperature=drawing.temperature, max_new_tokens=drawing.max_new_tokens)
    return generate(vlm, prompts, keys, sampling, batch_size=batch_size)
