"""Stage `evaluate`: the input model on every cell of the suite."""

from __future__ import annotations

from specs_lab.core.budget import Budget
from specs_lab.evaluation.runner import Evaluator
from specs_lab.stages.common import journal_of, load_model, open_loggers
from specs_lab.stages.context import StageContext
from specs_lab.stages.curve import Measurements, log_evaluation
from specs_lab.stages.scoring import judge_of, require_golds


def run(context: StageContext) -> None:
    """Writes the rows and samples of one evaluation."""
    vlm = load_model(context, "model")
    evaluator = make_evaluator(context)
    with (
        Measurements(context.folder, context.options["suite"]) as measurements,
        open_loggers(context) as loggers,
        context.progress.task(f"{context.name}: evaluation", len(evaluator.tasks)) as advance,
    ):
        samples = evaluator(vlm, advance, recall=journal_of(context, "answers"))
        means = measurements.add(0, samples, Budget(vlm.forward_parameters))
        log_evaluation(loggers, means, context.options["suite"], step=0)


def make_evaluator(context: StageContext) -> Evaluator:
    """The evaluator of the stage's suite, its gold answers checked. Nothing in it depends on the reward.

    Raises:
        UserError: If a gold answer cannot be used.
    """
    evaluator = Evaluator(
        context.options["suite"],
        context.options["problems"],
        context.options["trainer"].sample_batch_size,
        judge_of(context),
    )
    if told := context.options["suite"].told():
        context.progress.message(f"{context.name}: {told}")
    graded = context.options["suite"].graded(evaluator.tasks)
    require_golds(context, graded, len(graded))
    return evaluator
