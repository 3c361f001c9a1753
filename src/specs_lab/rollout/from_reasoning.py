"""A frozen model answers questions from a reasoning alone: no picture, no thoughts of its own.

The model is shown the question without the picture, the reasoning is put into its mouth in the format that was asked
for, up to where the answer begins, and it goes on greedily. (Embodied-R, arXiv 2504.12680, puts question and reasoning
into a new prompt instead; going on in the trained format also works for models that were never told to follow such a
prompt.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from specs_lab.models.prompts import Prompt, continued
from specs_lab.models.reference import Reference
from specs_lab.models.vlm import VLM
from specs_lab.rewards.format import tags_of
from specs_lab.rewards.scoring import Asked
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling


class FromReasoning:
    """Answers from reasonings.

    Args:
        reference: The frozen model.
        max_new_tokens: Longest answer.
        batch_size: Answers decoded side by side.
        spent: Told how many tokens went through the model.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        max_new_tokens: int = 16,
        batch_size: int = 128,
        spent: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._reference = reference
        self._sampling = Sampling(temperature=0, max_new_tokens=max_new_tokens)
        self._batch_size = batch_size
        self._spent = spent

    def __call__(self, thoughts: Sequence[tuple[Asked, str]]) -> list[str]:
        """The answer to each question, given its reasoning; up to the tag that closes it.

        Raises:
            UserError: If a format has no sections for the reasoning and the answer.
        """
        with self._reference.acting() as vlm:
            prompts = self._prompts(vlm, thoughts)
            keys = [[str(place)] for place in range(len(prompts))]  # greedy: nothing is random
            made = generate(vlm, prompts, keys, self._sampling, batch_size=self._batch_size)
            texts = [vlm.decode(completion.token_ids) for (completion,) in made]
        sampled = sum(len(completion.token_ids) for (completion,) in made)
        self._spent(sampled + sum(len(prompt.token_ids) for prompt in prompts))
        closings = [tags_of(asked.format)[3] for asked, _ in thoughts]
        return [text.partition(closing)[0] for text, closing in zip(texts, closings, strict=True)]

    @staticmethod
    def _prompts(vlm: VLM, thoughts: Sequence[tuple[Asked, str]]) -> list[Prompt]:
        nothing = [()] * len(thoughts)
        prompts = vlm.encode_prompts([asked.question for asked, _ in thoughts], nothing, [""] * len(thoughts))
        begun = vlm.encode_completions([_begun(asked, thought) for asked, thought in thoughts], ended=False)
        return [continued(prompt, ids) for prompt, ids in zip(prompts, begun, strict=True)]


def _begun(asked: Asked, thought: str) -> str:
    opening, closing, answer_opening, _ = tags_of(asked.format)
    return f"{opening} {thought} {closing} {answer_opening}"
