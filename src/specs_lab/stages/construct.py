"""Stage `construct`: preference pairs from two models."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from specs_lab.core.errors import Fault, UserError
from specs_lab.data.pairing import Sample, build_pairs
from specs_lab.data.records import write_pairs
from specs_lab.models.vlm import VLM
from specs_lab.problems.sources.procedural import Task
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling
from specs_lab.stages.common import load_model, open_loggers
from specs_lab.stages.context import StageContext
from specs_lab.stages.scoring import judge_of, require_golds


def run(context: StageContext) -> None:
    """Writes ``pairs.parquet`` and ``card.json`` (how many prompts and responses passed which filter)."""
    options, trainer = context.options["data"], context.options["trainer"]
    sampling = Sampling(temperature=options.temperature, max_new_tokens=options.max_new_tokens)

    cut: Counter[str] = Counter()

    def sampler(side: str) -> Sample:
        vlm = load_model(context, side)
        return make_sampler(vlm, sampling, side, context.seed, trainer.sample_batch_size, cut)

    sample_chosen, sample_rejected = sampler("chosen"), sampler("rejected")

    def sample_checked(tasks: Sequence[Task], count: int) -> list[list[str]]:
        require_golds(context, tasks, len(tasks))  # a batch at a time: how many will be drawn is not known
        return sample_chosen(tasks, count)

    with (
        open_loggers(context) as loggers,
        context.progress.task(f"{context.name}: pairs", options.pairs) as advance,
    ):
        pairs, counts = build_pairs(
            options,
            context.options["problems"],
            sample_checked,
            sample_rejected,
            context.seed,
            advance,
            judge_of(context),
        )
        counts.update(cut)
        for logger in loggers:
            logger.log_metrics({f"pairs/{name}": count for name, count in counts.items()}, step=0)
    if not pairs:
        raise UserError(
            [
                Fault(
                    f"stage {context.name}",
                    f"no pair came out of {counts['prompts']} prompts ({dict(counts)})",
                    "train the zero model longer (zero.steps), or raise data.max_prompts_per_pair",
                )
            ]
        )
    if len(pairs) < options.pairs:
        context.progress.message(f"{context.name}: only {len(pairs)} of {options.pairs} pairs could be made")
    write_pairs(context.folder / "pairs.parquet", pairs)
    (context.folder / "card.json").write_text(json.dumps(dict(sorted(counts.items())), indent=2) + "\n")


def make_sampler(vlm: VLM, sampling: Sampling, side: str, seed: int, batch_size: int, cut: Counter[str]) -> Sample:
    """A function that samples responses, as text, for one side of pairs.

    Responses cut at their longest have no end to learn; they are left out and counted in ``cut``, as ``cut/<side>``.
    """

    def sample(tasks: Sequence[Task], count: int) -> list[list[str]]:
        prompts = vlm.encode_prompts(
            [task.text for task in tasks], [task.problem.image for task in tasks], [task.problem.id for task in tasks]
        )
        keys = [[f"{side}/{seed}/{task.id}/{k}" for k in range(count)] for task in tasks]
        made = generate(vlm, prompts, keys, sampling, batch_size=batch_size)
        cut[f"cut/{side}"] += sum(completion.truncated for group in made for completion in group)
        return [[vlm.decode(one.token_ids) for one in group if not one.truncated] for group in made]

    return sample
