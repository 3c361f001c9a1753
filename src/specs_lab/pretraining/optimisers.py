"""Muon for weight matrices, AdamW for the rest, and the schedule of both.

At this size Muon reaches in minutes what AdamW does not reach in hours: it is why the base models can be made on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn


def cosine(step: int, steps: int, warmup: int, floor: float = 0.02) -> float:
    """Learning-rate factor: linear warm-up, then cosine decay to ``floor``."""
    progress = min(1.0, step / max(1, steps))
    return min(1.0, (step + 1) / max(1, warmup)) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


class MuonAndAdamW:
    """Both optimizers as one, with gradient clipping and the schedule.

    Args:
        named: Parameters with their names; frozen ones are left out. Matrices other than embeddings and the output
            layer go to Muon.
        matrix_lr: Peak learning rate of Muon.
        other_lr: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay of both.
        steps: Length of the schedule.
        warmup_steps: Steps of linear warm-up.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        *,
        matrix_lr: float,
        other_lr: float,
        weight_decay: float,
        steps: int,
        warmup_steps: int,
    ) -> None:
        trained = [(name, p) for name, p in named if p.requires_grad]
        matrices = [p for name, p in trained if p.ndim == 2 and "embed" not in name and "lm_head" not in name]
        ids = {id(p) for p in matrices}
        self._parameters = [p for _, p in trained]
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=matrix_lr, weight_decay=weight_decay),
            torch.optim.AdamW(
                [p for _, p in trained if id(p) not in ids], lr=other_lr, betas=(0.9, 0.98), weight_decay=weight_decay
            ),
        ]
        self._peaks = (matrix_lr, other_lr)
        self._steps, self._warmup_steps = steps, warmup_steps

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {str(i): optimizer.state_dict() for i, optimizer in enumerate(self._optimizers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state_dict` returned."""
        for i, optimizer in enumerate(self._optimizers):
            optimizer.load_state_dict(state[str(i)])

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self, step: int) -> float:
        """Clips the gradients to norm 1 and updates; returns the learning-rate factor of this step."""
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        factor = cosine(step, self._steps, self._warmup_steps)
        for optimizer, peak in zip(self._optimizers, self._peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
            optimizer.step()
        return factor
