"""TRL's side: ``python -m benchmarks.trl_side '<order as JSON>'``. All that the benchmarks know of TRL.

Each method runs in its own trainer, through ``Trainer.train``, with nothing logged or saved.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import datasets
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl.data_utils import prepare_multimodal_messages
from trl.trainer import utils as trl_utils
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

import specs_lab.models.processing  # noqa: F401 - makes the checkpoints' processor known to AutoProcessor
from benchmarks.cases import ADAM_BETAS, DPO_BETA, LEARNING_RATE, MAX_GRAD_NORM, Order
from benchmarks.data import given_text, reward, stream
from benchmarks.protocol import Turns, take_stdout

PRECOMPUTE = "precompute_ref_log_probs"


def score_completions_only() -> None:
    """Has TRL's fused head project completion positions only, also where it would project all of them.

    On a GPU it does by itself; elsewhere every position is scored, to keep shapes constant. Only the decision in
    ``add_fused_lm_head``, which all three trainers use, is changed: the kernels ask through their own module's name
    and so still see that there is no Triton here.
    """
    trl_utils._use_triton = lambda device: True  # pyright: ignore[reportPrivateImportUsage]


def settings(order: Order, folder: str) -> dict[str, Any]:
    """Arguments that all three trainers take."""
    return {
        "output_dir": folder,
        "max_steps": order.steps,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch_fused" if order.fused_adamw else "adamw_torch",
        "adam_beta1": ADAM_BETAS[0],
        "adam_beta2": ADAM_BETAS[1],
        "weight_decay": 0.0,
        "max_grad_norm": MAX_GRAD_NORM,
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": order.device == "cpu",
        "dataloader_pin_memory": order.device != "cpu",
        "bf16": False,  # the weights are of the wanted type themselves: autocast would only add work
        "gradient_checkpointing": order.gradient_checkpointing,
    }


def dataset(order: Order) -> datasets.Dataset:
    """The data of all steps; pictures are decoded when they are asked for."""
    columns = {"sft": ("completion",), "dpo": ("chosen", "rejected")}.get(order.case.method, ())
    rows = []
    for example in stream(order):
        row: dict[str, Any] = {"images": [{"bytes": example.png, "path": None}]}
        row["prompt"] = [{"role": "user", "content": example.prompt}]
        for column in columns:
            text = example.rejected if column == "rejected" else example.chosen
            row[column] = [{"role": "assistant", "content": text}]
        rows.append(row)
    message = datasets.List({"role": datasets.Value("string"), "content": datasets.Value("string")})
    turns = {column: message for column in ("prompt", *columns)}
    features = datasets.Features({"images": datasets.List(datasets.Image()), **turns})
    return datasets.Dataset.from_list(rows, features=features)


class Hold(TrainerCallback):
    """Holds the trainer's loop between steps; counts the tokens of what the loss was computed on."""

    def __init__(self, turns: Turns, facts: dict[str, Any]) -> None:
        self._turns, self._facts = turns, facts
        self.masks: list[torch.Tensor] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before the first step."""
        control.should_training_stop = not self._turns.ready(**self._facts)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After each step."""
        going_on = self._turns.step_done(lambda: sum(int(mask.sum()) for mask in self.masks))
        control.should_training_stop = not going_on


class CountedSFT(SFTTrainer):
    """Remembers what was forwarded."""

    hold: Hold

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """As the trainer."""
        self.hold.masks = [inputs["attention_mask"]]
        return super().compute_loss(model, inputs, *args, **kwargs)


class CountedDPO(DPOTrainer):
    """Remembers what was forwarded."""

    hold: Hold

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """As the trainer."""
        self.hold.masks = [inputs["attention_mask"]]
        return super().compute_loss(model, inputs, *args, **kwargs)


class TimedGRPO(GRPOTrainer):
    """Times its parts; samples only, or learns only, where the case says so."""

    hold: Hold
    turns: Turns
    order: Order

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """As the trainer."""
        self.hold.masks = [inputs["prompt_mask"], inputs["completion_mask"]]
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        case = self.order.case
        if case.given_rollouts:
            texts = [given_text(case, i // case.group, i % case.group) for i in range(len(prompt_ids))]
            return self._tokenizer(texts, add_special_tokens=False)["input_ids"], None
        with self.turns.part("rollout"):
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        with self.turns.part("rollout and scores"):
            return super()._generate_and_score_completions(inputs)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any) -> torch.Tensor:
        """As the trainer, or only up to where responses are sampled and decoded."""
        if self.order.case.method != "rollout":
            return super().training_step(model, inputs, num_items_in_batch)
        prompts = [prepare_multimodal_messages(row["prompt"], images=row["images"]) for row in inputs]
        prompt_ids, completion_ids, *_ = self._generate(prompts)
        self.hold.masks = [torch.ones(len(ids)) for ids in (*prompt_ids, *completion_ids)]
        return torch.zeros((), device=self.accelerator.device)


def make_trainer(order: Order, model: Any, processor: Any, turns: Turns, folder: str) -> Any:
    """The trainer of a case, ready to train."""
    case, data, common = order.case, dataset(order), settings(order, folder)
    compact = trl_utils._use_triton(torch.device(order.device))  # pyright: ignore[reportPrivateImportUsage]
    facts: dict[str, Any] = {"scores_completions_only": compact}
    hold = Hold(turns, facts)
    given: dict[str, Any] = {
        "model": model,
        "train_dataset": data,
        "processing_class": processor,
        "callbacks": [hold],
    }
    if case.sampled:
        config = GRPOConfig(
            **common,
            per_device_train_batch_size=case.prompts * case.group,
            num_generations=case.group,
            max_completion_length=case.completion,
            beta=case.kl_weight,
            temperature=1.0,
            shuffle_dataset=False,
            # The end token is ruled out beside the image token, so that responses have exactly the length asked for.
            # (`min_new_tokens` would cost TRL a second processor of logits.)
            generation_kwargs={"suppress_tokens": [model.config.image_token_id, processor.tokenizer.eos_token_id]},
        )
        trainer: Any = TimedGRPO(reward_funcs=rewards, args=config, **given)
        trainer.turns, trainer.order = turns, order
    else:
        common |= {
            "per_device_train_batch_size": case.prompts,
            "max_length": None,
            "train_sampling_strategy": "sequential",  # the same batches as the other side
        }
        if case.method == "sft":
            trainer = CountedSFT(args=SFTConfig(**common), **given)
        else:
            trainer = _make_dpo(order, {**common, "beta": DPO_BETA}, given, facts)
    trainer.hold = hold
    return trainer


def _make_dpo(order: Order, common: dict[str, Any], given: dict[str, Any], facts: dict[str, Any]) -> DPOTrainer:
    """With the reference's log-probabilities computed beforehand if that is asked for and TRL can do it."""
    if order.case.reference == "cached":
        try:
            trainer = CountedDPO(args=DPOConfig(**common, precompute_ref_log_probs=True), **given)
        except ValueError as error:
            if PRECOMPUTE not in str(error):
                raise
            facts["reference"] = f"online, since {PRECOMPUTE} is refused: {error}"
        else:
            facts["reference"] = "cached"
            return trainer
    facts.setdefault("reference", "online")
    return CountedDPO(args=DPOConfig(**common), **given)


def rewards(completions: list[list[dict[str, str]]], **_: Any) -> list[float | None]:
    """The reward of both sides."""
    return [reward(completion[0]["content"]) for completion in completions]


def main(argument: str) -> None:
    """Runs the side until it is told to stop."""
    turns_output = take_stdout()
    order = Order.from_json(argument)
    turns = Turns(turns_output, order.device)
    torch.set_num_threads(order.threads)
    if order.compact:
        score_completions_only()
    model = AutoModelForImageTextToText.from_pretrained(order.model, dtype=getattr(torch, order.dtype))
    processor = AutoProcessor.from_pretrained(order.model)
    if order.case.freeze_vision:
        model.model.visual.requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        make_trainer(order, model, processor, turns, folder).train()


if __name__ == "__main__":
    main(sys.argv[1])
