"""Floating-point operations of a step, for the share of a device's peak that is used (MFU)."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.cases import Case
from benchmarks.data import prompt_tokens
from benchmarks.models import PATCH

H200_TFLOPS = 989.0
"""Dense bfloat16 peak of an H200 (and an H100 SXM), from its data sheet."""
FORWARD, TRAIN = 2, 6
"""Operations for a parameter and a token: a forward pass, and a forward with a backward pass."""


def sequences(case: Case) -> int:
    """Prompt-completion sequences of a step."""
    return case.prompts * (case.group if case.sampled else 2 if case.method == "dpo" else 1)


def sharing_bound(case: Case, tokens: int) -> float:
    """How many times as many tokens the plain computation has as one that encodes each prompt once.

    Args:
        case: The case.
        tokens: Prompt and completion tokens of all sequences of a step.
    """
    return tokens / (tokens - (sequences(case) - case.prompts) * prompt_tokens(case))


def step_flops(case: Case, tokens: int, parameters: Mapping[str, int]) -> float:
    """Operations of a step if every completion had a copy of its prompt and of its picture to itself.

    The plain computation is what counts, whatever a side really does: sharing prompts shows as a higher MFU, and so
    does not recomputing activations. Attention scores are left out, as is usual; the output layer is counted at
    completion positions only. A DPO reference counts where it is run online.

    Args:
        case: The case.
        tokens: Prompt and completion tokens of all sequences of a step.
        parameters: Of the text model's ``layers``, its output layer (``head``), and the ``vision`` tower.
    """
    count = sequences(case)
    text = parameters["layers"] * tokens + parameters["head"] * (tokens - count * prompt_tokens(case))
    vision = parameters["vision"] * count * (case.image // PATCH) ** 2
    total = 0.0
    if case.method != "rollout":
        total += TRAIN * text + (FORWARD if case.freeze_vision else TRAIN) * vision
    if case.kl_weight > 0 or (case.method == "dpo" and case.reference == "online"):
        total += FORWARD * (text + vision)
    if case.sampled and not case.given_rollouts:
        total += FORWARD * (text + vision)
    return total
