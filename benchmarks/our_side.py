"""specs_lab's side: ``python -m benchmarks.our_side '<order as JSON>'``. All that the benchmarks know of specs_lab.

Each method runs in its own Lightning module through :func:`specs_lab.training.fit.fit`. Prompts are encoded, their
pictures preprocessed, inside each step, as TRL does when it collates; a study would encode its pairs once beforehand.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch

from benchmarks.cases import ADAM_BETAS, DPO_BETA, LEARNING_RATE, MAX_GRAD_NORM, Order
from benchmarks.data import Example, given_text, reward, stream
from benchmarks.protocol import Turns, take_stdout
from specs_lab.models.reference import make_reference, sequence_logps
from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM, Prompt, Row
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.problems.base import Problem
from specs_lab.problems.instructions import Instruction
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Score
from specs_lab.rollout.engines import inprocess as sampler
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Completion, Sampling
from specs_lab.training.base import TrainingModule
from specs_lab.training.cold_start import DPOModule, Pair, SFTModule
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.options.trainer import TrainerOptions

WHOLE_STEP = 1 << 20
"""Tokens or rows of a micro-batch: more than any step has, so that a step is one micro-batch, as on the other side."""
OPTIMISER: dict[str, Any] = {
    "lr": LEARNING_RATE,
    "warmup_steps": 0,
    "max_grad_norm": MAX_GRAD_NORM,
    "adam_beta1": ADAM_BETAS[0],
    "adam_beta2": ADAM_BETAS[1],
}


def load(
    folder: str, *, dtype: str = "float32", device: str = "cpu", freeze_vision: bool = False, share_prompts: bool = True
) -> VLM:
    """A checkpoint; it never samples the end token, so responses have exactly the length asked for."""
    setup = ModelSetup(dtype=dtype, freeze_vision=freeze_vision, freeze_projector=freeze_vision)
    vlm = VLM.load(folder, setup=setup, share_prompts=share_prompts)
    vlm.never_sampled = [*vlm.never_sampled, vlm.end_id]
    return vlm.to(device)


def encode(vlm: VLM, example: Example) -> Prompt:
    """An example's prompt; decodes and preprocesses the picture."""
    return vlm.encode_prompts([example.prompt], [[example.image()]], [example.key])[0]


def sample(vlm: VLM, prompts: Sequence[Prompt], group: int, length: int) -> list[list[Completion]]:
    """A rollout: ``group`` responses of ``length`` tokens to each prompt."""
    keys = [[f"{i}/{k}" for k in range(group)] for i in range(len(prompts))]
    settings = Sampling(temperature=1.0, max_new_tokens=length)
    return sampler.generate(vlm, prompts, keys, settings, batch_size=len(prompts) * group)


def parameters(vlm: VLM) -> dict[str, int]:
    """Parameters by where they are: the text model's layers, its output layer, the vision tower."""
    core = vlm.core
    parts = {"layers": core.model.language_model.layers, "head": core.lm_head, "vision": core.model.visual}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


class Pairs:
    """Items of SFT and DPO: pairs encoded on access."""

    def __init__(self, vlm: VLM, order: Order) -> None:
        self._vlm, self._case = vlm, order.case
        self._examples = stream(order)
        self._known: dict[str, tuple[float, float]] = {}
        if self._case.method == "dpo" and self._case.reference == "cached":
            self._remember_reference(order.distinct)

    def _remember_reference(self, distinct: int) -> None:
        reference = make_reference(self._vlm)
        for index in range(distinct):
            pair = self[index]
            logps = sequence_logps(reference, [pair.chosen, pair.rejected], WHOLE_STEP).tolist()
            self._known[self._examples[index].key] = (logps[0], logps[1])

    def __getitem__(self, index: int) -> Pair:
        example = self._examples[index]
        prompt = encode(self._vlm, example)
        chosen, rejected = self._vlm.encode_completions([example.chosen, example.rejected])
        if self._case.method == "sft":
            return Pair(Row(prompt, chosen), Row(prompt, chosen))
        known = self._known.get(example.key, (float("nan"), float("nan")))
        return Pair(Row(prompt, chosen), Row(prompt, rejected), *known)


def run_reference_in_steps(module: DPOModule) -> None:
    """Has each step of a module begin with the reference's log-probabilities of its pairs."""
    reference, learn = make_reference(module.vlm), module.train_step

    def train_step(batch: Sequence[Pair]) -> dict[str, float]:
        rows = [row for pair in batch for row in (pair.chosen, pair.rejected)]
        logps = sequence_logps(reference, rows, WHOLE_STEP).tolist()
        known = zip(batch, logps[0::2], logps[1::2], strict=True)
        return learn([dataclasses.replace(p, reference_chosen=c, reference_rejected=r) for p, c, r in known])

    module.train_step = train_step


def as_task(example: Example) -> Task:
    """An example as GRPO takes it; decodes the picture."""
    problem = Problem(example.key, "", "", (example.image(),), example.prompt, "", "word")
    return Task(example.key, "", problem, Instruction("bare", ""))


class Rollouts:
    """Stands in for the sampler of the GRPO module: times it, counts tokens, or hands out given responses."""

    def __init__(self, order: Order, turns: Turns) -> None:
        self._case, self._turns = order.case, turns
        self.tokens = 0

    def __call__(self, vlm: VLM, prompts: Sequence[Prompt], keys: Sequence[Sequence[str]], *args: Any, **kwargs: Any):
        """As :func:`specs_lab.rollout.inprocess.generate`."""
        if self._case.given_rollouts:
            made = [[self._given(vlm, i, k) for k in range(len(names))] for i, names in enumerate(keys)]
        else:
            with self._turns.part("rollout"):
                made = generate(vlm, prompts, keys, *args, **kwargs)
        self.tokens = sum(
            len(prompt.token_ids) + len(completion.token_ids)
            for prompt, group in zip(prompts, made, strict=True)
            for completion in group
        )
        return made

    def _given(self, vlm: VLM, prompt: int, index: int) -> Completion:
        (token_ids,) = vlm.encode_completions([given_text(self._case, prompt, index)], ended=False)
        return Completion(token_ids, (-10.0,) * len(token_ids), truncated=True)


def make_grpo(vlm: VLM, order: Order) -> GRPOModule:
    """The GRPO module of a case."""
    case = order.case
    options = GRPOOptions(
        **OPTIMISER,
        group_size=case.group,
        prompts_per_step=case.prompts,
        kl_weight=case.kl_weight,
        max_new_tokens=case.completion,
    )
    return GRPOModule(
        vlm,
        options,
        lambda responses, *_: [Score(False, False, reward(one.text), None) for one in responses],
        micro_batch_tokens=WHOLE_STEP,
        sample_batch_size=case.prompts * case.group,
        stream="benchmark",
    )


def time_updates(module: GRPOModule, turns: Turns) -> None:
    """Times what a step learns by, as opposed to what it prepares: forward, backward, clipping, AdamW."""
    update = module.update

    def timed(*args: Any, **kwargs: Any) -> dict[str, float]:
        with turns.part("training"):
            return update(*args, **kwargs)

    module.update = timed


def only_sample(module: GRPOModule, length: int) -> None:
    """Has a module's step end when responses are sampled and decoded."""
    vlm = module.vlm

    def train_step(batch: Sequence[Task]) -> dict[str, float]:
        texts, images, keys = zip(*((task.text, task.images, task.problem.id) for task in batch), strict=True)
        prompts = vlm.encode_prompts(texts, images, keys)
        for group in sample(vlm, prompts, module.options.group_size, length):
            for completion in group:
                vlm.decode(completion.token_ids)
        return {}

    module.train_step = train_step


class TakeTurns(lightning.Callback):
    """Holds Lightning's loop between steps."""

    def __init__(self, turns: Turns, vlm: VLM, tokens: Callable[[Sequence[Any]], int]) -> None:
        self._turns, self._vlm, self._tokens = turns, vlm, tokens

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Before the first step."""
        fused = bool(trainer.optimizers[0].defaults.get("fused"))
        if not self._turns.ready(fused_adamw=fused, parameters=parameters(self._vlm)):
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After each step."""
        if not self._turns.step_done(lambda: self._tokens(batch)):
            trainer.should_stop = True


def prepare(vlm: VLM, order: Order, turns: Turns) -> tuple[TrainingModule, Items[Any], Callable[[Sequence[Any]], int]]:
    """A case's module, its data, and what counts the tokens of a batch."""
    case = order.case
    if case.sampled:
        rollouts = Rollouts(order, turns)
        sampler.generate = rollouts
        module, examples = make_grpo(vlm, order), stream(order)
        time_updates(module, turns)
        if case.method == "rollout":
            only_sample(module, case.completion)
        return module, Items(len(examples), lambda i: as_task(examples[i])), lambda _: rollouts.tokens
    pairs = Items(order.steps * case.prompts, Pairs(vlm, order).__getitem__)
    if case.method == "sft":
        sft = SFTModule(vlm, SFTOptions(**OPTIMISER), WHOLE_STEP)
        return sft, pairs, lambda batch: _tokens([pair.chosen for pair in batch])
    dpo = DPOModule(vlm, DPOOptions(**OPTIMISER, beta=DPO_BETA), WHOLE_STEP)
    if case.reference == "online":
        run_reference_in_steps(dpo)
    return dpo, pairs, lambda batch: _tokens([row for pair in batch for row in (pair.chosen, pair.rejected)])


def _tokens(rows: Sequence[Row]) -> int:
    """With a copy of its prompt for each row."""
    return sum(len(row.prompt.token_ids) + len(row.completion) for row in rows)


def main(argument: str) -> None:
    """Runs the side until it is told to stop."""
    output = take_stdout()
    order = Order.from_json(argument)
    turns = Turns(output, order.device)
    torch.set_num_threads(order.threads)
    vlm = load(order.model, dtype=order.dtype, device=order.device, freeze_vision=order.case.freeze_vision)
    if order.gradient_checkpointing:
        vlm.checkpoint_activations()
    module, data, count = prepare(vlm, order, turns)
    fit(
        module,
        data,
        ConsecutiveBatches(order.case.prompts, order.steps),
        trainer=TrainerOptions(accelerator="gpu" if order.device == "cuda" else "cpu", threads=order.threads),
        callbacks=[TakeTurns(turns, vlm, count)],
    )


if __name__ == "__main__":
    main(sys.argv[1])
