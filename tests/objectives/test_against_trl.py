"""The objectives against TRL's, on the same log-probabilities.

TRL computes its losses inside trainer methods, so these are called unbound on a stand-in for the trainer that holds
just the settings they read; the model is replaced by fixed log-probabilities. TRL has no function for group
advantages (they are worked out inside a method that samples), so those have a naive twin only.
"""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from specs_lab.objectives.dpo import PairLogps, dpo_loss
from specs_lab.objectives.grpo import RolloutLogprobs, grpo_loss, kl_k3
from specs_lab.objectives.hybrid import hybrid_loss

pytest.importorskip("trl", minversion="1.16", reason="TRL is in the dev extra")

ACCELERATOR = SimpleNamespace(
    device=torch.device("cpu"),
    num_processes=1,
    gather=lambda x: x,
    gather_for_metrics=lambda x: x,
    reduce=lambda x, reduction: x,
)


def trl_dpo(logprobs: torch.Tensor, mask: torch.Tensor, references: torch.Tensor, beta: float, sft: float) -> Any:
    """TRL's DPO loss; rows are the chosen sides, then the rejected sides. ``references`` is (2, B)."""
    from trl import DPOTrainer

    rows = len(mask)
    completion = torch.cat([torch.zeros(rows, 1, dtype=torch.long), mask.long()], dim=1)  # the prompt: one token
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=ACCELERATOR,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid", "sft"],
        loss_weights=[1.0, sft],
        beta=beta,
        use_weighting=False,
        _total_train_tokens=0,
        _metrics={"eval": defaultdict(list)},
    )
    zeros = torch.zeros_like(logprobs)
    outputs = SimpleNamespace(log_probs=logprobs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    inputs = {
        "input_ids": torch.zeros_like(completion),
        "attention_mask": torch.ones_like(completion),
        "completion_mask": completion,
        "ref_chosen_logps": references[0],
        "ref_rejected_logps": references[1],
    }
    loss = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)  # pyright: ignore
    return loss, {name.removeprefix("rewards/"): values[0] for name, values in trainer._metrics["eval"].items()}


def trl_grpo(rollout: RolloutLogprobs, advantages: torch.Tensor, kind: str, beta: float) -> torch.Tensor:
    """TRL's GRPO loss; ``kind`` is its name for the normalisation."""
    from trl import GRPOTrainer

    policy = rollout.policy
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=ACCELERATOR,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=beta,
        epsilon_low=0.2,
        epsilon_high=0.28,
        loss_type=kind,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _get_per_token_logps_and_entropies=lambda *_, **__: (policy, torch.zeros_like(policy), None),
        _metrics={"eval": defaultdict(list)},
    )
    inputs = {
        "prompt_ids": torch.zeros(len(policy), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(policy), 1, dtype=torch.long),
        "completion_ids": torch.zeros(policy.shape, dtype=torch.long),
        "completion_mask": rollout.mask.long(),
        "advantages": advantages,
        "old_per_token_logps": rollout.old,
        "ref_per_token_logps": rollout.reference,
        "num_items_in_batch": rollout.mask.sum(),
    }
    return GRPOTrainer._compute_loss(trainer, None, inputs)  # pyright: ignore


def gradient_of(value: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, tokens)[0]


@pytest.mark.parametrize("sft", [0.0, 1.0])
def test_dpo_and_hybrid_agree_in_value_gradient_and_metrics(batch, sft: float):
    """The first three rows are chosen, the others rejected. TRL's SFT part is a mean over tokens."""
    references = batch.reference.sum(-1).reshape(2, 3)
    mine, theirs = (batch.policy.clone().requires_grad_() for _ in range(2))
    chosen, rejected = mine.sum(-1).reshape(2, 3)
    pairs = PairLogps(chosen, rejected, references[0], references[1])
    counts = {"token": float(batch.mask[:3].sum()), "sequence": 3.0}
    loss = (
        hybrid_loss(pairs, mine[:3], batch.mask[:3], beta=0.1, sft_weight=sft, sft_norm="token")
        if sft
        else dpo_loss(pairs, 0.1)
    )
    expected, metrics = trl_dpo(theirs, batch.mask, references, 0.1, sft)
    found = loss.normalised(counts)  # pyright: ignore[reportArgumentType]
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient_of(found, mine) * batch.mask, gradient_of(expected, theirs) * batch.mask, rtol=1e-10)
    for name, theirs_is in (("chosen", "chosen"), ("rejected", "rejected"), ("margin", "margins")):
        assert loss.metrics[f"reward_{name}"].item() / 3 == pytest.approx(metrics[theirs_is], rel=1e-6)
    assert loss.metrics["reward_accuracy"].item() / 3 == pytest.approx(metrics["accuracies"])


@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize(("norm", "kind"), [("sequence", "grpo"), ("token", "bnpo"), ("token", "dapo")])
def test_grpo_agrees_in_value_and_gradient(batch, norm: str, kind: str, beta: float):
    counts = {"token": float(batch.mask.sum()), "sequence": 6.0}
    mine, theirs = (batch.policy.clone().requires_grad_() for _ in range(2))
    rest = (batch.old, batch.mask, batch.reference)
    loss = grpo_loss(
        RolloutLogprobs(mine, *rest), batch.advantages, clip_low=0.2, clip_high=0.28, kl_weight=beta, loss_norm=norm
    )
    found = loss.normalised(counts)  # pyright: ignore[reportArgumentType]
    expected = trl_grpo(RolloutLogprobs(theirs, *rest), batch.advantages, kind, beta)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient_of(found, mine), gradient_of(expected, theirs), rtol=1e-10)


def test_the_kl_estimate_is_that_of_the_grpo_loss(batch):
    """Without advantages TRL's loss is its KL term alone."""
    rollout = RolloutLogprobs(batch.policy, batch.old, batch.mask, batch.reference)
    expected = trl_grpo(rollout, torch.zeros_like(batch.advantages), "bnpo", 1.0)
    mine = kl_k3(batch.policy, batch.reference)[batch.mask].mean()
    assert mine.item() == pytest.approx(expected.item(), rel=1e-12)
