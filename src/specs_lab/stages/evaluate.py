"""Stage `evaluate`: the input model on every cell of the suite."""

from __future__ import annotations

from specs_lab.core.budget import Budget
from specs_lab.evaluation.runner import Evaluator
from specs_lab.rewards.specs import WeightedReward
from specs_lab.stages.common import load_model, open_loggers, scorer
from specs_lab.stages.context import StageContext
from specs_lab.stages.curve import Measurements, log_evaluation


def run(context: StageContext) -> None:
    """Writes the rows and samples of one evaluation."""
    vlm = load_model(context, "model")
    evaluator = make_evaluator(context)
    with (
        Measurements(context.folder) as measurements,
        open_loggers(context) as loggers,
        context.progress.task(f"{context.name}: evaluation", 1) as advance,
    ):
        means = measurements.add(0, evaluator(vlm), Budget(vlm.forward_parameters))
        log_evaluation(loggers, means, context.options["suite"], step=0)
        advance()


def make_evaluator(context: StageContext) -> Evaluator:
    """The evaluator of the stage's suite. Format and accuracy do not depend on the reward's weights."""
    return Evaluator(
        context.options["suite"],
        context.options["problems"],
        context.options["trainer"].sample_batch_size,
        scorer(WeightedReward()),
    )
