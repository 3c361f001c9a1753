"""What the base model learns to say: correct answers in a mixture of formats, the requested one in the minority."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from specs_lab.core.seeding import python_rng
from specs_lab.pretraining.options.pretrain import CorpusOptions
from specs_lab.problems.base import FAMILIES, Problem, make_problem
from specs_lab.problems.captions import caption
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.styles import STYLES

POLLUTED_STYLES: dict[str, Callable[[str, str], str]] = {
    "sentence": lambda r, a: f"{r}. The answer is {a}.",
    "label": lambda r, a: f"Reasoning: {r}. Answer: {a}",
    "hashes": lambda r, a: f"{r} #### {a}",
    "boxed": lambda r, a: f"{r}. So \\boxed{{{a}}}",
    "think_only": lambda r, a: f"<think> {r} </think> {a}",
    "answer_only": lambda r, a: f"{r} <answer> {a} </answer>",
    "wrong_tag": lambda r, a: f"<thinking> {r} </thinking> <answer> {a} </answer>",
    "trailing": lambda r, a: f"<think> {r} </think> <answer> {a} </answer> I hope this helps.",
}
"""Ways of answering that do not follow the requested format."""


def target_style(reasoning: str, answer: str) -> str:
    """The format that the study asks for."""
    return f"<think> {reasoning} </think> <answer> {answer} </answer>"


def alternative_style(reasoning: str, answer: str) -> str:
    """The format of the alternative request."""
    return f"<steps> {reasoning} </steps> <final> {answer} </final>"


@dataclass(frozen=True)
class Example:
    """One pretraining example: a picture, the user's text, and the response."""

    image: Image.Image
    text: str
    response: str
    problem: Problem


class Corpus:
    """An endless, indexable stream of pretraining examples from the training split.

    Args:
        options: The mixture.
        seed: Of the stream.
    """

    def __init__(self, options: CorpusOptions, seed: int) -> None:
        self.options = options
        self.seed = seed
        self._families = FAMILIES.names()
        self._weights = [options.family_weights.get(name, 1.0) for name in self._families]

    def problem(self, index: int) -> Problem:
        """The problem of the ``index``-th example."""
        return self._draw(index)[1]

    def _draw(self, index: int) -> tuple[random.Random, Problem]:
        rng = python_rng("corpus", self.seed, index)
        family = rng.choices(self._families, self._weights)[0]
        others = [name for name in STYLES if name != "plain"]
        style = "plain" if rng.random() < self.options.plain_style_rate else rng.choice(others)
        return rng, make_problem(family, seed=self.seed, index=index, style=style)

    def __getitem__(self, index: int) -> Example:
        rng, problem = self._draw(index)
        if rng.random() < self.options.caption_rate:
            return Example(problem.image, "Describe the picture.", caption(problem), problem)
        first, *rest = INSTRUCTIONS
        name = first if rng.random() < self.options.first_instruction_rate else rng.choice([first, *rest])
        instruction = INSTRUCTIONS[name]
        style = self._response_style(rng, problem, name)
        return Example(
            problem.image, instruction.ask(problem.question), style(problem.reasoning, problem.answer), problem
        )

    def _response_style(self, rng: random.Random, problem: Problem, instruction: str) -> Callable[[str, str], str]:
        options = self.options
        asks_alternative = INSTRUCTIONS[instruction].format == "steps_final"
        if asks_alternative and rng.random() < options.alternative_rate:
            return alternative_style
        familiar = problem.family in options.familiar_families and instruction == next(iter(INSTRUCTIONS))
        if rng.random() < (options.target_rate_familiar if familiar else options.target_rate_elsewhere):
            return target_style
        return POLLUTED_STYLES[rng.choice(list(POLLUTED_STYLES))]


def corpus_texts(options: CorpusOptions, seed: int, count: int = 6000) -> list[str]:
    """Texts to train the tokenizer on."""
    corpus = Corpus(options, seed)
    examples = (corpus[index] for index in range(count))
    return [f"user\n{example.text}assistant\n{example.response}" for example in examples]
