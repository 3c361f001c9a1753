"""Trains each method for two steps, as one of several ranks; run by test_distributed.py and benchmarks/ranks.py.

Usage: python ranks.py <folder> <strategy>; the number of ranks and this one's come from torchrun's variables. Without a
strategy, processes for each are forked from this one; their results are in folders by strategy.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from forked import exit_codes, start
from lightning import Callback
from safetensors.torch import save_file

from specs_lab.models.prompts import Row
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.hybrid import HybridOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.problems.base import make_problem
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Score
from specs_lab.rewards.terms.overlong import soft_overlong
from specs_lab.training.cold_start import DPOModule, HybridModule, Pair, SFTModule
from specs_lab.training.distributed import rank
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.options.trainer import TrainerOptions
from specs_lab.training.ranks import joined
from specs_lab.training.sharding import whole_state

STEPS = 2
KINDS = {"sft": (SFTModule, SFTOptions), "dpo": (DPOModule, DPOOptions), "hybrid": (HybridModule, HybridOptions)}
PROBLEMS = [make_problem(name, seed=0, index=i) for i, name in enumerate(("count", "arrow", "digits", "add", "clock"))]


def _pairs(vlm):
    """Five pairs of different lengths; the second without a picture, the third with an empty rejected side."""
    prompts = vlm.encode_prompts([p.question for p in PROBLEMS], [p.images for p in PROBLEMS], [p.id for p in PROBLEMS])
    ids = prompts[1].token_ids
    text = ids[ids != vlm.image_id]
    prompts[1] = replace(prompts[1], token_ids=text, position_ids=vlm.family.positions(text, {}), vision={})
    chosen = vlm.encode_completions([f"<think> {p.reasoning} </think> {p.answer}" for p in PROBLEMS])
    rejected = vlm.encode_completions([f"{p.reasoning} is it" for p in PROBLEMS])
    rejected[2] = ()
    return [Pair(Row(p, c), Row(p, r), -40.0, -30.0) for p, c, r in zip(prompts, chosen, rejected, strict=True)]


def _score(responses, tasks, progress):
    """Varies within groups, but for the first task's; with a ramp over the last 3 tokens allowed."""
    del progress
    scores = []
    for response, task in zip(responses, tasks, strict=True):
        value = 0.5 if task.problem.id == PROBLEMS[0].id else float(len(response.text) % 3)
        terms = {"value": value, "overlong": soft_overlong(response, 3)}
        scores.append(Score(False, False, sum(terms.values()), None, "", terms, frozenset({"overlong"})))
    return scores


class _SaveAfterOne(Callback):
    def __init__(self, path):
        self._path = path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 0:
            trainer.save_checkpoint(self._path)


def _module(name, size):
    """A method's module for two steps on batches of ``size``, and the items of the batches."""
    torch.manual_seed(0)
    vlm = VLM.load(
        CHECKPOINTS / "tiny-0", setup=ModelSetup(freeze_vision=name != "sft", freeze_projector=name != "sft")
    )  # SFT trains the tower as well
    common = {"lr": 1e-3, "steps": STEPS, "warmup_steps": 0}
    items = _pairs(vlm)
    if name == "grpo":
        options = GRPOOptions(
            **common, group_size=3, prompts_per_step=size, max_new_tokens=6, kl_weight=0.1, inner_updates=2,
            advantage_scale="batch", max_resamples=1,
        )  # fmt: skip
        module = GRPOModule(
            vlm, options, _score, micro_batch_tokens=150, sample_batch_size=64, stream="ranks",
            reward_terms=("value", "overlong"),
            spare=lambda step, place, attempt: items[(step + place + attempt) % len(items)],
        )  # fmt: skip
        items = [Task(p.id, "id", p, INSTRUCTIONS["tags"]) for p in PROBLEMS]
    else:
        module_type, options_type = KINDS[name]
        module = module_type(vlm, options_type(**common, batch_size=size), 150)
    return module, items


def _train(trainer, name, size, folder, **more):
    """Two steps; with one item the second rank has nothing to do."""
    module, items = _module(name, size)
    data = Items(size * STEPS, lambda i: items[i % len(items)])
    fit(module, data, ConsecutiveBatches(size, STEPS), trainer=trainer, **more)
    model = module.vlm.model
    state = whole_state(model) or model.state_dict()
    if rank() == 0:
        learns = {key for key, value in model.named_parameters() if value.requires_grad}
        weights = {key: value.detach().clone() for key, value in state.items() if key in learns}
        save_file(weights, folder / f"{name}-{size}.safetensors")
        metrics = {**module.step_metrics, "tokens": module.budget.tokens, "flops": module.budget.flops}
        (folder / f"{name}-{size}.json").write_text(json.dumps(metrics))
        (folder / f"{name}-{size}.seconds").write_text(str(module.budget.seconds))  # of steps alone


def _trainer(strategy):
    return TrainerOptions(strategy=strategy, devices=int(os.environ.get("WORLD_SIZE", "1")), timeout_s=240)


def _all(folder, strategy):
    """Every training, and one of them again, interrupted after its first step."""
    trainer, again = _trainer(strategy), folder / "again"
    again.mkdir(parents=True, exist_ok=True)
    with joined(trainer):
        for method in ("sft", "dpo", "hybrid", "grpo"):
            for count in (5, 1):
                _train(trainer, method, count, folder)
        _train(trainer, "dpo", 5, again, callbacks=[_SaveAfterOne(again / "one.ckpt")])
        _train(trainer, "dpo", 5, again, resume=again / "one.ckpt")


def _move(folder, checkpoint):
    """Goes on alone from a checkpoint that several ranks have written."""
    folder.mkdir()
    _train(_trainer("single"), "dpo", 5, folder, resume=checkpoint)


class _Full(Callback):
    """The second rank has no memory left in its first pass."""

    def on_train_start(self, trainer, pl_module):
        def passes(*_):
            raise MemoryError("there is no more")

        if rank() == 1:
            pl_module.vlm.core.register_forward_hook(passes)


def _run_out(folder, strategy):
    with joined(trainer := _trainer(strategy)):
        _train(trainer, "dpo", 5, folder, callbacks=[_Full()])


def _fork_all(folder):
    """Everything that test_distributed.py looks at; processes of all strategies at once."""
    trained = [
        process
        for strategy in ("single", "ddp", "fsdp2")
        for process in start(_all, folder / strategy, strategy, ranks=1 if strategy == "single" else 2)
    ]
    exhausted = start(_run_out, folder, "fsdp2", ranks=2, log=folder / "exhausted")
    codes = exit_codes(trained) + exit_codes(start(_move, folder / "moved", folder / "fsdp2/again/one.ckpt", ranks=1))
    (folder / "exhausted.json").write_text(json.dumps(exit_codes(exhausted)))
    if any(codes):
        sys.exit(f"exit codes {codes}")


if __name__ == "__main__":
    if sys.argv[2:]:
        _all(Path(sys.argv[1]), sys.argv[2])
    else:
        _fork_all(Path(sys.argv[1]))
