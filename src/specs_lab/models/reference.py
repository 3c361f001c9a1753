"""The frozen policy that DPO and KL penalties measure against: a copy, or the same model with its adapter off."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch

from specs_lab.models.micro_batches import micro_batches
from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM
from specs_lab.objectives.logprobs import TokenLogprobs


class Reference(ABC):
    """A policy that never changes; ``vlm`` is the model that carries it."""

    vlm: VLM

    @abstractmethod
    def acting(self) -> AbstractContextManager[VLM]:
        """The model as it was, for as long as the context lasts; without gradients, in evaluation mode."""

    def logprobs(self, rows: Sequence[Row], *, temperature: float = 1.0) -> TokenLogprobs:
        """Log-probabilities as :meth:`VLM.logprobs`, without gradients."""
        with self.acting() as vlm:
            return vlm.logprobs(rows, temperature=temperature)


class FrozenCopy(Reference):
    """A copy of the model as it is now; costs its memory once more.

    A frozen tower is copied too, and its features are made again: moving or casting the policy must leave it whole.
    """

    def __init__(self, vlm: VLM) -> None:
        self.vlm = copy.deepcopy(vlm).requires_grad_(False)
        self.vlm.features.clear()

    @contextmanager
    def acting(self) -> Iterator[VLM]:
        """The copy."""
        with self.vlm.inference():
            yield self.vlm


class AdapterOff(Reference):
    """The model itself without its PEFT adapter; costs no memory.

    It is the policy that training starts from if the adapter starts as the identity, as PEFT's defaults have it.
    """

    def __init__(self, vlm: VLM) -> None:
        self.vlm = vlm

    @contextmanager
    def acting(self) -> Iterator[VLM]:
        """The model with its adapter switched off."""
        with self.vlm.inference(), self.vlm.model.disable_adapter():
            yield self.vlm


def make_reference(vlm: VLM) -> Reference:
    """The reference for a model that is about to be trained: adapter-off where it has an adapter, else a copy."""
    return AdapterOff(vlm) if vlm.has_adapter else FrozenCopy(vlm)


def sequence_logps(policy: VLM | Reference, rows: Sequence[Row], micro_batch_tokens: int) -> torch.Tensor:
    """Log-probability of whole completions, (B,) float32 on the CPU, without gradients.

    Args:
        policy: A reference, or a model as it is now.
        rows: B rows; those that share a prompt share its encoding.
        micro_batch_tokens: Most tokens in one forward pass.
    """
    vlm = policy if isinstance(policy, VLM) else policy.vlm
    result = torch.zeros(len(rows))
    with vlm.inference():
        for part in micro_batches(range(len(rows)), lambda i: [rows[i]], micro_batch_tokens, shared=vlm.shares_prompts):
            result[part] = policy.logprobs([rows[i] for i in part]).logprobs.sum(-1).float().cpu()
    return result
