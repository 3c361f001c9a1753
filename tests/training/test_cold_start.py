"""The three cold starts as optimizer steps: exact start, and independence of how rows are split."""

import copy
import csv
import math

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.testing import assert_close

from specs_lab.models.prompts import Row
from specs_lab.models.reference import make_reference, sequence_logps
from specs_lab.models.vlm import VLM
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.hybrid import HybridOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.training.cold_start import DPOModule, HybridModule, Pair, SFTModule
from specs_lab.training.fit import Items, ShuffledBatches, fit
from specs_lab.training.options.trainer import TrainerOptions

METHODS = {"sft": (SFTModule, SFTOptions), "dpo": (DPOModule, DPOOptions), "hybrid": (HybridModule, HybridOptions)}


@pytest.fixture
def pairs(toy_vlm, toy_prompts, toy_problems):
    chosen = toy_vlm.encode_completions([f"<think> {p.reasoning} </think> {p.answer}" for p in toy_problems])
    rejected = toy_vlm.encode_completions([f"{p.reasoning} is it" for p in toy_problems])
    sides = [[Row(p, c) for p, c in zip(toy_prompts, side, strict=True)] for side in (chosen, rejected)]
    logps = [sequence_logps(make_reference(toy_vlm), side, 4).tolist() for side in sides]
    return [Pair(*items) for items in zip(*sides, *logps, strict=True)]


def _train(vlm, pairs, method, *, micro_batch_tokens=1 << 20, steps=1, callbacks=(), loggers=(), seed=0, **options):
    module_type, options_type = METHODS[method]
    module = module_type(vlm, options_type(steps=steps, batch_size=len(pairs), **options), micro_batch_tokens)
    fit(
        module,
        Items(len(pairs), pairs.__getitem__),
        ShuffledBatches(len(pairs), len(pairs), steps, seed),
        trainer=TrainerOptions(),
        callbacks=callbacks,
        loggers=loggers,
    )
    return module


def _weights(vlm):
    return torch.cat([p.detach().flatten() for p in vlm.parameters() if p.requires_grad])


def test_loggers_see_the_steps_taken_as_evaluations_count_them(toy_vlm, pairs, tmp_path):
    _train(toy_vlm, pairs, "sft", steps=2, loggers=[CSVLogger(tmp_path)])
    (file,) = tmp_path.rglob("metrics.csv")
    with file.open() as lines:
        assert [row["step"] for row in csv.DictReader(lines)] == ["1", "2"]


@pytest.mark.parametrize("method", ["dpo", "hybrid"])
def test_preference_loss_starts_at_ln2(toy_vlm, pairs, method):
    module = _train(toy_vlm, pairs, method)
    assert module.step_metrics["train/dpo_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert module.step_metrics["train/reward_margin"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_an_update_does_not_depend_on_the_micro_batches(toy_weights, pairs, method):
    updated, losses = [], []
    for size in (1, 150, 1 << 20):
        vlm = VLM(copy.deepcopy(toy_weights[0]), toy_weights[1])
        # Plain Adam's first step only sees signs; a large epsilon-free comparison would hide a wrong scale of the loss.
        module = _train(vlm, pairs, method, micro_batch_tokens=size)
        updated.append(_weights(vlm))
        losses.append((module.step_metrics["train/loss"], module.step_metrics["train/grad_norm"]))
    for other, loss in zip(updated[1:], losses[1:], strict=True):
        assert loss == pytest.approx(losses[0], rel=1e-4)
        assert (other - updated[0]).abs().mean() < 1e-7


@pytest.mark.parametrize("method", METHODS)
def test_an_update_does_not_depend_on_the_order_within_a_batch(toy_weights, pairs, method):
    updated, metrics = [], []
    for order in (pairs, pairs[::-1], [*pairs[2:], *pairs[:2]]):
        vlm = VLM(copy.deepcopy(toy_weights[0]), toy_weights[1])
        module = _train(vlm, order, method, micro_batch_tokens=150)
        updated.append(_weights(vlm))
        metrics.append(module.step_metrics)
    for other, found in zip(updated[1:], metrics[1:], strict=True):
        assert found == pytest.approx(metrics[0], rel=1e-4, abs=1e-5)
        assert (other - updated[0]).abs().mean() < 1e-7


def test_token_normalised_loss_is_the_mean_over_all_tokens(toy_vlm, pairs):
    with torch.no_grad():
        each = [toy_vlm.logprobs([pair.chosen]).logprobs.sum().item() for pair in pairs]
    tokens = sum(len(pair.chosen.completion) for pair in pairs)
    module = _train(toy_vlm, pairs, "sft", micro_batch_tokens=150)
    assert module.step_metrics["train/loss"] == pytest.approx(-sum(each) / tokens, rel=1e-5)


def test_sequence_normalised_loss_is_the_mean_of_means(toy_vlm, pairs):
    with torch.no_grad():
        means = [toy_vlm.logprobs([pair.chosen]).logprobs.mean().item() for pair in pairs]
    module = _train(toy_vlm, pairs, "sft", micro_batch_tokens=150, sft_norm="sequence")
    assert module.step_metrics["train/loss"] == pytest.approx(-sum(means) / len(means), rel=1e-5)


def test_hybrid_adds_lambda_times_sft(toy_weights, pairs):
    def loss(method, **options):
        vlm = VLM(copy.deepcopy(toy_weights[0]), toy_weights[1])
        return _train(vlm, pairs, method, **options).step_metrics["train/loss"]

    assert loss("hybrid", sft_weight=3.0) == pytest.approx(loss("dpo") + 3 * loss("sft"), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_training_does_what_it_says(toy_vlm, pairs, method):
    seen = []

    class Spy(torch.nn.Module):
        pass

    from lightning import Callback

    class Collect(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(pl_module.step_metrics)
            assert pl_module.vlm.model.training

    frozen = {n: p.clone() for n, p in toy_vlm.core.model.visual.named_parameters()}
    module = _train(toy_vlm, pairs, method, steps=8, callbacks=[Collect()], lr=1e-3)
    assert len(seen) == 8
    assert seen[-1]["train/loss"] < seen[0]["train/loss"]
    if method != "sft":
        assert seen[-1]["train/reward_margin"] > 0.01
    assert all(torch.equal(p, frozen[n]) for n, p in toy_vlm.core.model.visual.named_parameters())
    assert not toy_vlm.model.training
    assert module.updates == 8


def test_warmup_reaches_the_learning_rate(toy_vlm, pairs):
    from lightning import Callback

    rates = []

    class Collect(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            rates.append(pl_module.step_metrics["train/lr"])

    _train(toy_vlm, pairs, "sft", steps=5, callbacks=[Collect()], lr=3e-4, warmup_steps=3)
    assert rates == pytest.approx([1e-4, 2e-4, 3e-4, 3e-4, 3e-4])


def test_budget_counts_what_each_method_forwards(toy_vlm, pairs):
    """Both sides of a pair share their prompt: it is encoded, and counted, once."""
    prompts = sum(len(p.chosen.prompt.token_ids) for p in pairs)
    chosen, rejected = (sum(len(row.completion) for row in side) for side in zip(*(p.rows for p in pairs), strict=True))
    sft, dpo = (_train(toy_vlm, pairs, method, steps=2).budget for method in ("sft", "dpo"))
    assert sft.tokens == 2 * (prompts + chosen)
    assert dpo.tokens == 2 * (prompts + chosen + rejected)
    assert dpo.flops == 6 * toy_vlm.forward_parameters * dpo.tokens
    assert sft.seconds > 0


def test_arms_see_the_same_batches_in_the_same_order():
    one, two = (list(ShuffledBatches(10, 4, 6, seed=3)) for _ in range(2))
    assert one == two
    assert one != list(ShuffledBatches(10, 4, 6, seed=4))
    flat = [i for batch in one for i in batch]
    assert sorted(flat[:10]) == list(range(10))
    assert len(one) == 6
    assert all(len(batch) == 4 for batch in one)


def test_a_batch_larger_than_the_data_repeats_it():
    (batch,) = ShuffledBatches(3, 7, 1, seed=0)
    assert len(batch) == 7
    assert set(batch) == {0, 1, 2}


def test_empty_completions_are_survived(toy_vlm, pairs):
    empty = Pair(Row(pairs[0].chosen.prompt, ()), pairs[0].rejected, 0.0, pairs[0].reference_rejected)
    for method in METHODS:
        module = _train(toy_vlm, [empty, *pairs[1:]], method)
        assert all(math.isfinite(value) for value in module.step_metrics.values())
    assert torch.isfinite(_weights(toy_vlm)).all()
    only_empty = Pair(Row(pairs[0].chosen.prompt, ()), Row(pairs[0].chosen.prompt, ()), 0.0, 0.0)
    module = _train(toy_vlm, [only_empty], "hybrid")
    assert_close(torch.isfinite(_weights(toy_vlm)).all(), torch.tensor(True))
    assert module.step_metrics["train/dpo_loss"] == pytest.approx(math.log(2))
