"""The objectives against TRL's, on the same log-probabilities.

TRL computes its losses inside trainer methods, so these are called unbound on a stand-in for the trainer that holds
just the settings they read; the model is replaced by fixed log-probabilities. TRL has no function for group
advantages (they are worked out inside a method that samples), so those have a naive twin only.
"""

import warnings
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from specs_lab.objectives.dpo import DPOOptions, PairLogps, dpo_loss
from specs_lab.objectives.grpo import GRPOOptions, RolloutLogprobs, grpo_loss
from specs_lab.objectives.hybrid import HybridOptions, hybrid_loss
from specs_lab.objectives.kl import k3

pytest.importorskip("trl", minversion="1.16", reason="TRL is in the dev extra")

ACCELERATOR = SimpleNamespace(
    device=torch.device("cpu"),
    num_processes=1,
    gather=lambda x: x,
    gather_for_metrics=lambda x: x,
    reduce=lambda x, reduction: x,
)


def trl_dpo(
    logprobs: Tensor,
    mask: Tensor,
    references: Tensor,
    *,
    beta: float = 0.1,
    losses: dict[str, float] | None = None,
    label_smoothing: float = 0.0,
) -> Any:
    """TRL's DPO loss, and metrics; rows are the chosen sides, then the rejected sides. ``references`` is (2, B).

    ``losses`` are TRL's names for its losses, with their weights.
    """
    from trl import DPOTrainer

    rows = len(mask)
    completion = torch.cat([torch.zeros(rows, 1, dtype=torch.long), mask.long()], dim=1)  # the prompt: one token
    losses = losses or {"sigmoid": 1.0}
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=ACCELERATOR,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=list(losses),
        loss_weights=list(losses.values()),
        beta=beta,
        label_smoothing=label_smoothing,
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


def trl_grpo(
    rollout: RolloutLogprobs,
    advantages: Tensor,
    kind: str,
    beta: float,
    *,
    level: str = "token",
    corrected: bool = False,
    clip: tuple[float, float] = (0.2, 0.28),
) -> tuple[Tensor, dict[str, float]]:
    """TRL's GRPO loss, and metrics; ``kind`` is its name for the normalisation."""
    from trl import GRPOTrainer

    policy = rollout.policy
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=ACCELERATOR,
        args=SimpleNamespace(use_bias_correction_kl=corrected, delta=None, steps_per_generation=1),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        beta=beta,
        epsilon_low=clip[0],
        epsilon_high=clip[1],
        loss_type=kind,
        max_completion_length=7,  # as in the counts of the batch
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
    loss = GRPOTrainer._compute_loss(trainer, None, inputs)  # pyright: ignore
    return loss, {name: values[0] for name, values in trainer._metrics["eval"].items()}


def gradient_of(value: Tensor, tokens: Tensor) -> Tensor:
    return torch.autograd.grad(value, tokens)[0]


def two_of(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """A copy for this package and one for TRL, each with a gradient of its own."""
    return tokens.clone().requires_grad_(), tokens.clone().requires_grad_()


def pairs_of(batch, tokens: Tensor) -> PairLogps:
    """The first three rows are chosen, the others rejected; the third, a chosen one, is empty."""
    chosen, rejected = tokens.sum(-1).reshape(2, 3)
    reference, lengths = batch.reference.sum(-1).reshape(2, 3), batch.mask.sum(-1).reshape(2, 3)
    return PairLogps(chosen, rejected, reference[0], reference[1], lengths[0], lengths[1])


# DPO ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sft", [0.0, 1.0])
def test_dpo_and_hybrid_agree_in_value_gradient_and_metrics(batch, sft: float):
    """TRL's SFT part is a mean over tokens."""
    mine, theirs = two_of(batch.policy)
    counts = {"token": float(batch.mask[:3].sum()), "sequence": 3.0}
    loss = (
        hybrid_loss(pairs_of(batch, mine), mine[:3], batch.mask[:3], HybridOptions(sft_weight=sft))
        if sft
        else dpo_loss(pairs_of(batch, mine), DPOOptions())
    )
    references = batch.reference.sum(-1).reshape(2, 3)
    expected, metrics = trl_dpo(theirs, batch.mask, references, losses={"sigmoid": 1.0, "sft": sft})
    found = loss.normalised(counts)  # pyright: ignore[reportArgumentType]
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient_of(found, mine) * batch.mask, gradient_of(expected, theirs) * batch.mask, rtol=1e-10)
    for name, theirs_is in (("chosen", "chosen"), ("rejected", "rejected"), ("margin", "margins")):
        assert loss.metrics[f"reward_{name}"].item() / 3 == pytest.approx(metrics[theirs_is], rel=1e-6)
    assert loss.metrics["reward_accuracy"].item() / 3 == pytest.approx(metrics["accuracies"])


@pytest.mark.parametrize("beta", [0.1, 2.0])
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "sigmoid"),
        ({"length_normalised": True}, "sigmoid_norm"),
        ({"loss": "ipo", "length_normalised": True}, "ipo"),  # TRL knows no other
        ({"loss": "hinge"}, "hinge"),
        ({"loss": "robust"}, "robust"),
        ({"loss": "robust", "label_smoothing": 0.1}, "robust"),
        ({"loss": "robust", "label_smoothing": 0.4}, "robust"),
    ],
)
def test_the_losses_of_pairs_agree_in_value_and_gradient(batch, settings: dict, kind: str, beta: float):
    mine, theirs = two_of(batch.policy)
    options = DPOOptions(beta=beta, **settings)
    found = dpo_loss(pairs_of(batch, mine), options).normalised({"sequence": 3.0})
    references = batch.reference.sum(-1).reshape(2, 3)
    expected, _ = trl_dpo(
        theirs, batch.mask, references, beta=beta, losses={kind: 1.0}, label_smoothing=options.label_smoothing
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient_of(found, mine), gradient_of(expected, theirs), rtol=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_conservative_dpo_agrees_in_value_and_gradient(batch, smoothing: float):
    """TRL's ``sigmoid`` ignores label smoothing; its ``aot`` does not, and is the same loss for a pair alone (it sorts
    the two sides over the batch)."""
    mine, theirs = two_of(batch.policy)
    found = dpo_loss(pairs_of(batch, mine), DPOOptions(label_smoothing=smoothing)).normalised({"sequence": 3.0})
    references = batch.reference.sum(-1).reshape(2, 3)
    expected = sum(
        trl_dpo(
            theirs[i::3], batch.mask[i::3], references[:, i : i + 1], losses={"aot": 1 / 3}, label_smoothing=smoothing
        )[0]
        for i in range(3)
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient_of(found, mine), gradient_of(expected, theirs), rtol=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_simpo_agrees_in_value_and_gradient(batch, smoothing: float):
    """TRL has it in its CPO trainer, on log-probabilities that are averaged already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental
        from trl.experimental.cpo import CPOTrainer
    mine, theirs = two_of(batch.policy)
    options = DPOOptions(beta=2.0, margin=0.8, length_normalised=True, reference_free=True, label_smoothing=smoothing)
    found = dpo_loss(pairs_of(batch, mine), options).normalised({"sequence": 3.0})
    chosen, rejected = (theirs.sum(-1) / batch.mask.sum(-1).clamp(min=1)).reshape(2, 3)
    trainer = SimpleNamespace(
        accelerator=ACCELERATOR, alpha=0.0, loss_type="simpo", simpo_gamma=0.8, beta=2.0, label_smoothing=smoothing
    )
    expected = CPOTrainer.cpo_loss(trainer, chosen, rejected)[0].mean()  # pyright: ignore
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient_of(found, mine), gradient_of(expected, theirs), rtol=1e-10)


# GRPO -----------------------------------------------------------------------------------------------------------------

kinds = pytest.mark.parametrize(
    ("norm", "kind"), [("sequence", "grpo"), ("token", "bnpo"), ("token", "dapo"), ("capacity", "dr_grpo")]
)


@kinds
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_grpo_agrees_in_value_and_gradient(batch, norm: str, kind: str, beta: float, level: str):
    mine, theirs = two_of(batch.policy)
    rest = (batch.old, batch.mask, batch.reference)
    options = GRPOOptions(clip_low=0.2, clip_high=0.28, kl_weight=beta, loss_norm=norm, ratio_level=level)
    found = grpo_loss(RolloutLogprobs(mine, *rest), batch.advantages, options).normalised(batch.counts)
    expected, _ = trl_grpo(RolloutLogprobs(theirs, *rest), batch.advantages, kind, beta, level=level)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient_of(found, mine), gradient_of(expected, theirs), rtol=1e-10)


@kinds
def test_the_unbiased_penalty_agrees_in_value_and_gradient(batch, norm: str, kind: str):
    """With TRL's bias correction, k3 times the ratio, differentiated through both."""
    mine, theirs = two_of(batch.policy)
    rest = (batch.old, batch.mask, batch.reference)
    options = GRPOOptions(clip_low=0.2, clip_high=0.28, kl_weight=0.3, kl_gradient="unbiased", loss_norm=norm)
    loss = grpo_loss(RolloutLogprobs(mine, *rest), batch.advantages, options)
    found = loss.normalised(batch.counts)
    expected, _ = trl_grpo(RolloutLogprobs(theirs, *rest), batch.advantages, kind, 0.3, corrected=True)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient_of(found, mine), gradient_of(expected, theirs), rtol=1e-10)


@pytest.mark.parametrize(("sign", "side"), [(1, "low"), (-1, "high")])
def test_gspo_agrees_in_value_gradient_and_metrics(batch, sign: int, side: str):
    """With the paper's clip range; some of the responses are clipped as a whole, the others are free."""
    advantages = sign * batch.advantages
    mine, theirs = two_of(batch.policy)
    rest = (batch.old, batch.mask)
    options = GRPOOptions(clip_low=3e-4, clip_high=4e-4, loss_norm="sequence", ratio_level="sequence")
    loss = grpo_loss(RolloutLogprobs(mine, *rest), advantages, options)
    found = loss.normalised(batch.counts)
    expected, metrics = trl_grpo(
        RolloutLogprobs(theirs, *rest), advantages, "grpo", 0.0, level="sequence", clip=(3e-4, 4e-4)
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    gradient = gradient_of(found, mine)
    assert torch.allclose(gradient, gradient_of(expected, theirs), rtol=1e-10)
    assert 0 < len(gradient.any(-1).nonzero()) < 5
    for name, theirs_is in (("_high", "high_mean"), ("_low", "low_mean"), ("", "region_mean")):
        share = loss.metrics[f"clip_share{name}"].item() / 6
        assert share == pytest.approx(metrics[f"clip_ratio/{theirs_is}"])
    assert loss.metrics[f"clip_share_{side}"] > 0


def test_the_kl_estimate_is_that_of_the_grpo_loss(batch):
    """Without advantages TRL's loss is its KL term alone."""
    rollout = RolloutLogprobs(batch.policy, batch.old, batch.mask, batch.reference)
    expected, _ = trl_grpo(rollout, torch.zeros_like(batch.advantages), "bnpo", 1.0)
    mine = k3(batch.policy, batch.reference)[batch.mask].mean()
    assert mine.item() == pytest.approx(expected.item(), rel=1e-12)
