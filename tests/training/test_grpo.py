"""GRPO as a step: groups, normalisation, the KL reference, and what is counted."""

import copy
import math

import pytest
import torch
from lightning import Callback

from specs_lab.models.vlm import VLM
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.procedural import Task
from specs_lab.rewards.specs import Score
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.options.trainer import TrainerOptions


@pytest.fixture
def tasks(toy_problems):
    return [Task(p.id, "id", p, INSTRUCTIONS["tags"]) for p in toy_problems]


def _even_length(response, task):
    """An arbitrary reward that varies within groups."""
    even = len(response) % 2 == 0
    return Score(even, False, float(even), None)


def _same(response, task):
    return Score(False, False, 0.5, None)


def _train(vlm, tasks, *, score=_even_length, steps=1, micro_batch_tokens=1 << 20, spare=None, callbacks=(), **options):
    options = GRPOOptions(steps=steps, group_size=4, prompts_per_step=len(tasks), max_new_tokens=8, **options)
    module = GRPOModule(
        vlm, options, score, micro_batch_tokens=micro_batch_tokens, sample_batch_size=64, stream="test", spare=spare
    )
    fit(
        module,
        Items(len(tasks) * steps, lambda i: tasks[i % len(tasks)]),
        ConsecutiveBatches(len(tasks), steps),
        trainer=TrainerOptions(),
        callbacks=callbacks,
    )
    return module


def _fresh(toy_weights):
    return VLM(copy.deepcopy(toy_weights[0]), toy_weights[1])


def _weights(vlm):
    return torch.cat([p.detach().flatten() for p in vlm.parameters() if p.requires_grad])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_on_policy_ratio_is_one(toy_vlm, tasks, temperature):
    metrics = _train(toy_vlm, tasks, temperature=temperature).step_metrics
    assert metrics["train/ratio"] == pytest.approx(1, abs=1e-4)
    assert metrics["train/clip_share"] == 0
    assert 0 < metrics["rollout/reward"] < 1


def test_groups_without_variance_change_nothing_and_are_counted(toy_vlm, tasks):
    before = _weights(toy_vlm)
    module = _train(toy_vlm, tasks, score=_same)
    assert torch.equal(_weights(toy_vlm), before)
    assert module.step_metrics["rollout/zero_variance"] == 1
    assert module.updates == 0


@pytest.mark.parametrize("loss_norm", ["token", "sequence"])
def test_an_update_does_not_depend_on_the_micro_batches(toy_weights, tasks, loss_norm):
    results = []
    for size in (1, 150, 1 << 20):
        vlm = _fresh(toy_weights)
        module = _train(vlm, tasks, micro_batch_tokens=size, loss_norm=loss_norm)
        results.append((module.step_metrics["train/grad_norm"], _weights(vlm)))
    for norm, weights in results[1:]:
        assert norm == pytest.approx(results[0][0], rel=1e-4)
        assert (weights - results[0][1]).abs().mean() < 1e-7


def test_rows_without_advantage_are_counted_by_the_normalisation(toy_weights, tasks):
    """Skipping their forward pass must not change the update; a KL term of weight ~0 forwards them all."""
    skipping = _train(_fresh(toy_weights), tasks)
    forwarding = _train(_fresh(toy_weights), tasks, kl_weight=1e-12)
    assert forwarding.step_metrics["train/grad_norm"] == pytest.approx(
        skipping.step_metrics["train/grad_norm"], rel=1e-3
    )


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_kl_is_measured_against_the_start(toy_vlm, tasks, temperature):
    seen = []

    class Collect(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(pl_module.step_metrics["train/kl"])

    _train(
        toy_vlm, tasks, temperature=temperature, steps=3, kl_weight=0.1, lr=3e-3, warmup_steps=0, callbacks=[Collect()]
    )
    assert seen[0] == pytest.approx(0, abs=1e-6)
    assert seen[-1] > 1e-4


def test_later_inner_updates_are_off_policy(toy_vlm, tasks):
    module = _train(toy_vlm, tasks, inner_updates=3, lr=3e-3, warmup_steps=0)
    assert module.updates == 3
    assert module.step_metrics["train/clip_share"] > 0


def test_the_reward_is_learnt(toy_vlm, tasks):
    """A reward for short responses makes responses shorter."""
    seen = []

    class Collect(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(pl_module.step_metrics["rollout/reward"])
            assert pl_module.vlm.model.training

    def score(response, task):
        share = response.count("a") / max(1, len(response))
        return Score(False, False, share, None)

    _train(toy_vlm, tasks, steps=12, lr=3e-3, score=score, callbacks=[Collect()])
    assert sum(seen[-3:]) > sum(seen[:3])
    assert all(math.isfinite(value) for value in seen)


def test_budget_counts_rollouts_and_updates(toy_vlm, tasks):
    module = _train(toy_vlm, tasks, score=_same)
    prompt_tokens = sum(
        len(p.token_ids)
        for p in toy_vlm.encode_prompts(
            [t.text for t in tasks], [t.problem.image for t in tasks], [t.problem.id for t in tasks]
        )
    )
    assert module.budget.generated_tokens == round(module.step_metrics["rollout/length"] * 4 * len(tasks))
    assert module.budget.tokens == prompt_tokens + module.budget.generated_tokens


def test_rollouts_are_reproducible_and_differ_between_steps(toy_weights, tasks):
    one, two = (_train(_fresh(toy_weights), tasks, steps=2, lr=1e-12) for _ in range(2))
    assert one.step_metrics == two.step_metrics
    first = _train(_fresh(toy_weights), tasks, steps=1, lr=1e-12)
    assert first.step_metrics["rollout/length"] != one.step_metrics["rollout/length"] or (
        first.step_metrics["rollout/reward"] != one.step_metrics["rollout/reward"]
    )
