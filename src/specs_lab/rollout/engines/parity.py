"""Whether an engine samples from the weights that it should: its log-probabilities beside the trainer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from specs_lab.models.prompts import Prompt, Row
from specs_lab.models.vlm import VLM
from specs_lab.rollout.sampling import Completion


@dataclass(frozen=True)
class Parity:
    """How far apart two sides are.

    Attributes:
        largest: Largest difference of a token's log-probability, in nats; infinite if nothing could be compared.
        mean: Mean difference.
        where: The probe and the token with the largest one.
    """

    largest: float
    mean: float
    where: str


@dataclass(frozen=True)
class Record:
    """What the trainer says of the responses to the probes.

    Attributes:
        token_ids: Of each response.
        logprobs: The trainer's.
    """

    token_ids: tuple[tuple[int, ...], ...]
    logprobs: tuple[tuple[float, ...], ...]

    @classmethod
    def made(cls, vlm: VLM, prompts: Sequence[Prompt], responses: Sequence[Completion], temperature: float) -> Record:
        """Scores an engine's responses by the trainer's forward pass."""
        rows = [Row(prompt, one.token_ids) for prompt, one in zip(prompts, responses, strict=True)]
        with vlm.inference(), torch.inference_mode():
            scored = vlm.logprobs(rows, temperature=temperature).logprobs.tolist()
        lines = (tuple(line[: len(row.completion)]) for line, row in zip(scored, rows, strict=True))
        return cls(tuple(row.completion for row in rows), tuple(lines))

    def beside(self, responses: Sequence[Completion]) -> Parity:
        """Compares an engine's log-probabilities with these, response by response up to where the tokens part.

        The same weights and random numbers give the same tokens, but for ties that rounding decides.
        """
        found = [
            (abs(ours - theirs), f"token {place} of probe {number}")
            for number, (ids, logprobs, one) in enumerate(zip(self.token_ids, self.logprobs, responses, strict=True))
            for place, (ours, theirs) in enumerate(zip(logprobs, one.logprobs, strict=False))
            if ids[: place + 1] == one.token_ids[: place + 1]
        ]
        if not found:
            return Parity(float("inf"), float("inf"), "the first token of every probe")
        largest, where = max(found)
        return Parity(largest, sum(gap for gap, _ in found) / len(found), where)
