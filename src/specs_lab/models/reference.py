"""The frozen policy that DPO and KL penalties measure against: a copy, or the same model with its adapter off."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from specs_lab.models.vlm import VLM, Row, TokenLogprobs


class Reference(ABC):
    """A policy that never changes."""

    @abstractmethod
    def logprobs(self, rows: Sequence[Row], *, temperature: float = 1.0) -> TokenLogprobs:
        """Log-probabilities as :meth:`VLM.logprobs`, without gradients."""


class FrozenCopy(Reference):
    """A copy of the model as it is now; costs its memory once more."""

    def __init__(self, vlm: VLM) -> None:
        self._vlm = copy.deepcopy(vlm).requires_grad_(False)

    def logprobs(self, rows: Sequence[Row], *, temperature: float = 1.0) -> TokenLogprobs:
        """Log-probabilities under the copy."""
        with self._vlm.inference():
            return self._vlm.logprobs(rows, temperature=temperature)


class AdapterOff(Reference):
    """The model itself without its PEFT adapter; costs no memory."""

    def __init__(self, vlm: VLM) -> None:
        self._vlm = vlm

    def logprobs(self, rows: Sequence[Row], *, temperature: float = 1.0) -> TokenLogprobs:
        """Log-probabilities with the adapter switched off."""
        with self._vlm.inference(), self._vlm.model.disable_adapter():
            return self._vlm.logprobs(rows, temperature=temperature)


def make_reference(vlm: VLM) -> Reference:
    """The reference for a model that is about to be trained: adapter-off where it has an adapter, else a copy."""
    return AdapterOff(vlm) if vlm.has_adapter else FrozenCopy(vlm)


@torch.no_grad()
def sequence_logps(policy: VLM | Reference, rows: Sequence[Row], micro_batch_size: int) -> torch.Tensor:
    """Log-probability of whole completions, (B,) float32 on the CPU.

    Rows of like length share a micro-batch, to save padding; the result is in the order of ``rows``.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].prompt.token_ids) + len(rows[i].completion))
    result = torch.zeros(len(rows))
    for start in range(0, len(order), micro_batch_size):
        part = order[start : start + micro_batch_size]
        result[part] = policy.logprobs([rows[i] for i in part]).logprobs.sum(-1).float().cpu()
    return result
