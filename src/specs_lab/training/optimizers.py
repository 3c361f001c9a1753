"""The optimizers: AdamW, and bitsandbytes' AdamW with states in eight bits (arXiv 2110.02861)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from specs_lab.core.errors import Fault, UserError
from specs_lab.objectives.optimisation import OptimiserOptions


def make_optimizer(options: OptimiserOptions, parameters: Sequence[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a method's options.

    Args:
        options: Its name, learning rate, decays.
        parameters: What learns; on one device.

    Raises:
        UserError: If nothing learns, or the optimizer does not run where the parameters are.
    """
    if not parameters:
        raise UserError([Fault("adapter", "nothing of the model learns", "choose adapter=lora, or freeze less of it")])
    common: dict[str, Any] = {
        "lr": options.lr,
        "betas": (options.adam_beta1, options.adam_beta2),
        "weight_decay": options.weight_decay,
    }
    if options.optimizer == "adamw":
        return torch.optim.AdamW(_groups(parameters), fused=True, **common)  # one kernel for all; there is one for CPUs
    if any(isinstance(parameter, DTensor) for parameter in parameters):
        what = f"{options.optimizer} cannot hold states of weights that several processes share"
        raise UserError([Fault("optimizer", what, "choose adamw, or trainer=ddp")])
    from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit  # slow to import

    if options.optimizer == "adamw_8bit":
        return AdamW8bit(parameters, **common)
    if parameters[0].device.type == "cpu":
        what = "paged_adamw_8bit moves states between a GPU's memory and the host's, and the model is on the CPU"
        raise UserError([Fault("optimizer", what, "choose adamw_8bit, or trainer=gpu")])
    return PagedAdamW8bit(parameters, **common)


def _groups(parameters: Sequence[torch.nn.Parameter]) -> list[dict[str, Any]]:
    """Sharded parameters and whole ones apart: no kernel takes both."""
    kinds = ([p for p in parameters if isinstance(p, DTensor) == sharded] for sharded in (True, False))
    return [{"params": kind} for kind in kinds if kind]
