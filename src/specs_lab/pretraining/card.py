"""Measures a base checkpoint and writes its model card from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from specs_lab.evaluation.runner import Evaluator, cell_means
from specs_lab.models.vlm import VLM
from specs_lab.problems.base import FAMILIES, Problem, make_problem
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.rewards.grader import grade
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling


@dataclass(frozen=True)
class BaseEvaluation:
    """What a base checkpoint can do.

    Attributes:
        accuracy: {family: (greedy accuracy, problems)} with the first instruction and the plain style.
        cells: {(cell, metric): (mean, n)} of sampled responses at T = 1.
        parameters: Number of parameters.
    """

    accuracy: Mapping[str, tuple[float, int]]
    cells: Mapping[tuple[str, str], tuple[float, int]]
    parameters: int

    @property
    def mean_accuracy(self) -> float:
        """Mean greedy accuracy over the families."""
        return sum(value for value, _ in self.accuracy.values()) / len(self.accuracy)


def family_accuracy(
    vlm: VLM, count: int, batch_size: int, report: Callable[[], None] = lambda: None
) -> dict[str, tuple[float, int]]:
    """Greedy accuracy per family on held-out problems.

    Args:
        vlm: The model.
        count: Problems a family.
        batch_size: Responses decoded side by side.
        report: Called after each family.
    """
    result = {}
    for family in FAMILIES:
        problems = [make_problem(family, seed=0, index=index, split="ood") for index in range(count)]
        responses = _greedy(vlm, problems, batch_size)
        right = [
            grade(response, p.answer, p.answer_type).correct for response, p in zip(responses, problems, strict=True)
        ]
        result[family] = (sum(right) / count, count)
        report()
    return result


def _greedy(vlm: VLM, problems: Sequence[Problem], batch_size: int) -> list[str]:
    ask = next(iter(INSTRUCTIONS.values())).ask
    prompts = vlm.encode_prompts(
        [ask(p.question) for p in problems], [p.images for p in problems], [p.id for p in problems]
    )
    made = generate(vlm, prompts, [[p.id] for p in problems], Sampling(temperature=0), batch_size=batch_size)
    return [vlm.decode(completion.token_ids) for (completion,) in made]


def evaluate_base(
    vlm: VLM, evaluator: Evaluator, count: int, batch_size: int, report: Callable[[], None]
) -> BaseEvaluation:
    """Runs the whole evaluation of a base checkpoint."""
    return BaseEvaluation(
        accuracy=family_accuracy(vlm, count, batch_size, report),
        cells=cell_means(evaluator(vlm)),
        parameters=vlm.num_parameters,
    )


def as_json(evaluation: BaseEvaluation) -> dict[str, Any]:
    """The evaluation as plain data, for ``evaluation.json``."""
    return {
        "parameters": evaluation.parameters,
        "mean_greedy_accuracy": evaluation.mean_accuracy,
        "greedy_accuracy": {name: {"value": v, "n": n} for name, (v, n) in evaluation.accuracy.items()},
        "sampled_cells": [
            {"cell": cell, "metric": metric, "value": v, "n": n} for (cell, metric), (v, n) in evaluation.cells.items()
        ],
    }


def model_card(name: str, command: str, evaluation: BaseEvaluation) -> str:
    """The model card, in Markdown with the metadata block that the Hugging Face hub reads."""
    families = "\n".join(f"| {name} | {value:.3f} | {n} |" for name, (value, n) in evaluation.accuracy.items())
    names = list(dict.fromkeys(cell for cell, _ in evaluation.cells))
    cells = "\n".join(
        f"| {cell} | {evaluation.cells[cell, 'format'][0]:.3f} | {evaluation.cells[cell, 'accuracy'][0]:.3f} "
        f"| {evaluation.cells[cell, 'joint'][0]:.3f} | {evaluation.cells[cell, 'format'][1]} |"
        for cell in names
    )
    return f"""---
library_name: transformers
pipeline_tag: image-text-to-text
license: apache-2.0
---
# {name}

A base model of specs_lab's embedded study: the Qwen2.5-VL architecture with {evaluation.parameters:,} parameters,
pretrained on procedurally rendered problems to answer correctly in a mixture of formats. How
often it follows the requested format is measured below. It is of no use outside this study.

Recipe: `{command}`. No question below was asked about the same picture in its training; the picture itself may have
been shown there with a question of a related family.

## Greedy accuracy by family (first instruction, plain style)

Mean over the families: **{evaluation.mean_accuracy:.3f}**

| family | accuracy | problems |
|---|---|---|
{families}

## Sampled responses (T = 1) by cell

| cell | format followed | accuracy | both | problems |
|---|---|---|---|---|
{cells}
"""
