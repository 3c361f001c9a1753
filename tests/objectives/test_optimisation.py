"""The optimiser's settings: what is valid here is valid for the optimiser."""

from typing import Any

import pytest
import torch

from specs_lab.core.options import InvalidOption
from specs_lab.objectives.optimisation import ColdStartOptions, OptimiserOptions


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"adam_beta1": 0.0, "adam_beta2": 0.0, "weight_decay": 0.0, "warmup_steps": 0},
        {"adam_beta1": 1.0},
        {"adam_beta2": 1.0},
        {"adam_beta1": -0.1},
        {"lr": -1.0},
        {"weight_decay": -0.1},
    ],
)
def test_what_adamw_refuses_is_refused_before_any_work_starts(settings: dict[str, Any]):
    def build(options: dict[str, Any]) -> None:
        values = {"lr": 3e-4, "adam_beta1": 0.9, "adam_beta2": 0.99, "weight_decay": 0.0, **options}
        betas = (values["adam_beta1"], values["adam_beta2"])
        torch.optim.AdamW([torch.zeros(1)], lr=values["lr"], betas=betas, weight_decay=values["weight_decay"])

    try:
        build(settings)
    except ValueError:
        with pytest.raises(InvalidOption):
            OptimiserOptions(**settings)
    else:
        OptimiserOptions(**settings)


def test_cold_starts_share_their_settings():
    with pytest.raises(InvalidOption) as error:
        ColdStartOptions(lr=0, batch_size=0, eval_every=0)
    assert [fault.where for fault in error.value.faults] == ["lr", "batch_size", "eval_every"]
