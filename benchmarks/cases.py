"""What is measured against TRL: the cases, and the order that a child process gets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Method = Literal["sft", "dpo", "grpo", "rollout"]
METHODS: tuple[Method, ...] = ("sft", "dpo", "grpo", "rollout")
LEARNING_RATE = 1e-6
ADAM_BETAS = (0.9, 0.99)
MAX_GRAD_NORM = 1.0
DPO_BETA = 0.1
SLACK = 3
"""Steps that are prepared but never asked for, so that no measured step is spared the loading of a next batch."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison.

    Attributes:
        method: What a step is. ``rollout`` samples and trains nothing.
        prompts: Prompts in a step (for DPO: pairs).
        image: Side of each prompt's picture in pixels.
        completion: Tokens of a completion, the end token included; the longest, if lengths are varied.
        text: Words of a prompt's text, a token each.
        varied: Completions have from a quarter of the length to all of it.
        group: Completions sampled for a prompt (GRPO and rollout).
        kl_weight: GRPO's KL penalty; above 0 a reference model is run.
        reference: DPO: ``online`` runs the reference in every step; ``cached`` has specs_lab use its log-probabilities
            of earlier, which TRL does not support with pictures and so goes on running it.
        freeze_vision: The vision tower is not trained, on neither side.
        given_rollouts: GRPO learns from completions that were there before; nothing is sampled.
    """

    method: Method
    prompts: int
    image: int
    completion: int
    text: int = 20
    varied: bool = False
    group: int = 8
    kl_weight: float = 0.0
    reference: Literal["online", "cached"] = "online"
    freeze_vision: bool = False
    given_rollouts: bool = False

    @property
    def name(self) -> str:
        """Says all that distinguishes the case."""
        parts = [self.method, f"{self.prompts} x {self.image} px", f"L{self.completion}"]
        parts += [f"G{self.group}"] * self.sampled
        parts += ["varied"] * self.varied + [f"KL {self.kl_weight:g}"] * (self.kl_weight > 0)
        parts += [f"{self.reference} reference"] * (self.method == "dpo")
        parts += ["frozen vision"] * self.freeze_vision + ["given rollouts"] * self.given_rollouts
        return ", ".join(parts)

    @property
    def sampled(self) -> bool:
        """Whether completions come in groups behind one prompt."""
        return self.method in ("grpo", "rollout")

    @property
    def repeats_data(self) -> bool:
        """Whether steps see the same pictures again, as epochs after the first do: what caches are for."""
        return self.freeze_vision


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a side's process is told.

    Attributes:
        case: The case.
        model: Folder of the checkpoint.
        steps: Steps that data must last for, :data:`SLACK` included.
        warmup: How many of them are not counted.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32`` or ``bfloat16``.
        threads: CPU threads.
        gradient_checkpointing: Recompute activations in the backward pass, on both sides.
        fused_adamw: TRL only: whether AdamW is fused, as specs_lab's is or is not.
        compact: TRL only: whether completion positions only are scored where TRL would by itself score all of them.
    """

    case: Case
    model: str
    steps: int
    warmup: int
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    gradient_checkpointing: bool = False
    fused_adamw: bool = False
    compact: bool = True

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """The inverse of :meth:`to_json`."""
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, "case": Case(**values["case"])})

    @property
    def distinct(self) -> int:
        """Different prompts in the data; where data repeats, all of them are seen in the warm-up."""
        passes = min(max(1, self.warmup), self.steps) if self.case.repeats_data else self.steps
        return passes * self.case.prompts


def _dpo(image: int, completion: int, prompts: int = 2) -> list[Case]:
    case = {"method": "dpo", "prompts": prompts, "image": image, "completion": completion}
    return [Case(**case), Case(**case, reference="cached"), Case(**case, reference="cached", freeze_vision=True)]


CPU_CASES: tuple[Case, ...] = (
    *_dpo(224, 64),
    *_dpo(448, 64),
    Case(method="grpo", prompts=1, image=448, completion=64),
    Case(method="grpo", prompts=2, image=448, completion=128),
    Case(method="grpo", prompts=2, image=448, completion=64, kl_weight=0.04),
    Case(method="rollout", prompts=1, image=448, completion=64),
    Case(method="rollout", prompts=2, image=448, completion=128),
    Case(method="sft", prompts=4, image=224, completion=64),
    Case(method="sft", prompts=4, image=448, completion=64),
    Case(method="sft", prompts=8, image=224, completion=256, varied=True),
    Case(method="sft", prompts=8, image=448, completion=256, varied=True),
    # Where there is little to share: small pictures, long completions, small groups.
    Case(method="dpo", prompts=2, image=56, completion=256),
    Case(method="grpo", prompts=2, image=56, completion=256, group=2),
    Case(method="rollout", prompts=2, image=56, completion=256, group=2),
    Case(method="sft", prompts=4, image=56, completion=256),
)

CUDA_CASES: tuple[Case, ...] = (
    *_dpo(448, 256),
    Case(method="grpo", prompts=2, image=448, completion=256, given_rollouts=True),
    Case(method="grpo", prompts=2, image=448, completion=1024, given_rollouts=True),
    Case(method="grpo", prompts=2, image=448, completion=256, kl_weight=0.04, given_rollouts=True),
    Case(method="grpo", prompts=2, image=448, completion=128),
    Case(method="sft", prompts=8, image=448, completion=256, varied=True),
    Case(method="sft", prompts=4, image=448, completion=256),
    Case(method="grpo", prompts=2, image=56, completion=1024, group=2, given_rollouts=True),
)
"""GRPO's training step is measured on given completions: who samples on a GPU does so with a server, like vLLM."""
