"""What each side is told to do, it does; without the processes."""

import contextlib

import pytest
import torch

from benchmarks.cases import SLACK, Case, Order
from benchmarks.data import prompt_tokens
from benchmarks.flops import sequences
from benchmarks.models import SHAPES, checkpoint

WANTED = 2
SMALL = {"prompts": 2, "image": 56, "completion": 6, "text": 3}
CASES = (
    Case(method="sft", **SMALL),
    Case(method="dpo", **SMALL),
    Case(method="dpo", **SMALL, reference="cached", freeze_vision=True),
    Case(method="grpo", **SMALL, group=3, kl_weight=0.04),
    Case(method="grpo", **SMALL, group=3, given_rollouts=True),
    Case(method="rollout", **SMALL, group=3),
)


def order_of(case: Case) -> Order:
    return Order(case=case, model=str(checkpoint(SHAPES["mini"])), steps=WANTED + SLACK, warmup=1)


class Turns:
    """Goes on for as many steps as are wanted, and remembers what was reported."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parts: list[str] = []
        self.facts: dict = {}

    def ready(self, **facts) -> bool:
        self.facts = facts
        return True

    def step_done(self, tokens) -> bool:
        self.tokens.append(tokens())
        return len(self.tokens) < WANTED

    @contextlib.contextmanager
    def part(self, name: str):
        self.parts.append(name)
        yield


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_our_side_takes_steps_of_the_right_size_until_it_is_stopped(case, monkeypatch):
    from benchmarks import our_side

    monkeypatch.setattr(our_side.sampler, "generate", our_side.generate)  # put back afterwards
    order, turns = order_of(case), Turns()
    vlm = our_side.load(order.model, freeze_vision=case.freeze_vision)
    before = [p.clone() for p in vlm.parameters()]
    module, data, count = our_side.prepare(vlm, order, turns)
    our_side.fit(
        module,
        data,
        our_side.ConsecutiveBatches(case.prompts, order.steps),
        trainer=our_side.TrainerOptions(),
        callbacks=[our_side.TakeTurns(turns, vlm, count)],
    )
    assert turns.tokens == [sequences(case) * (prompt_tokens(case) + case.completion)] * WANTED
    changed = any(not torch.equal(a, b) for a, b in zip(before, vlm.parameters(), strict=True))
    assert changed == (case.method != "rollout")
    rollout = ["rollout"] * (case.sampled and not case.given_rollouts)
    assert turns.parts == [*rollout, *["training"] * (case.method == "grpo")] * WANTED
    assert turns.facts["parameters"]["layers"] == 2_953_216


def test_trl_scores_completions_only_once_it_is_told_to(monkeypatch):
    pytest.importorskip("trl")
    from transformers import Qwen2_5_VLForConditionalGeneration
    from trl.trainer import utils

    from benchmarks import trl_side

    scored: list[int] = []
    kernel = utils._ChunkedLogProbFunction

    class Spy:
        @staticmethod
        def apply(hidden, *args):
            scored.append(len(hidden))
            return kernel.apply(hidden, *args)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Spy)
    monkeypatch.setattr(utils, "_use_triton", utils._use_triton)  # put back afterwards
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(order_of(CASES[0]).model)
    utils.add_fused_lm_head(model)
    ids = torch.arange(20)[None]
    labels = torch.where(ids < 15, -100, ids)
    found = []
    for tell in (lambda: None, trl_side.score_completions_only):
        tell()
        found.append(model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs)
    assert scored == [19, 5]
    assert torch.allclose(*found, atol=1e-5)
