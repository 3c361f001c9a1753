"""GRPO as a Lightning module: sample, score, compare within groups, update, all inside one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch

from specs_lab.models.reference import Reference, make_reference
from specs_lab.models.vlm import VLM, Prompt, Row
from specs_lab.objectives.grpo import GRPOOptions, RolloutLogprobs, group_advantages, grpo_loss, zero_variance
from specs_lab.objectives.terms import Loss
from specs_lab.problems.sources.procedural import Task
from specs_lab.rewards.specs import Score
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Completion, Sampling
from specs_lab.training.base import TrainingModule, row_tokens, unit_counts

Scorer = Callable[[str, Task], Score]


@dataclass(frozen=True)
class _Sampled:
    """A response to learn from."""

    row: Row
    old_logprobs: tuple[float, ...]
    advantage: float


@final
class GRPOModule(TrainingModule):
    """Group relative policy optimisation.

    Args:
        vlm: The policy; trained in place.
        options: Settings.
        score: Scores a response to a task.
        micro_batch_size: Responses in one forward pass.
        sample_batch_size: Responses decoded side by side.
        stream: Names the random numbers of this run's rollouts.
    """

    def __init__(
        self,
        vlm: VLM,
        options: GRPOOptions,
        score: Scorer,
        *,
        micro_batch_size: int,
        sample_batch_size: int,
        stream: str,
    ) -> None:
        super().__init__(vlm, options, micro_batch_size)
        self.options = options
        self.score = score
        self.sample_batch_size = sample_batch_size
        self.stream = stream
        self.sampling = Sampling(temperature=options.temperature, max_new_tokens=options.max_new_tokens)
        self.reference: Reference | None = make_reference(vlm) if options.kl_weight else None
        self.rollouts = 0

    def train_step(self, batch: Sequence[Task]) -> dict[str, float]:
        """One rollout batch and its updates."""
        prompts = self.vlm.encode_prompts(
            [task.text for task in batch], [task.problem.image for task in batch], [task.problem.id for task in batch]
        )
        groups = self._sample(batch, prompts)
        scores = [[self.score(self.vlm.decode(c.token_ids), t) for c in g] for t, g in zip(batch, groups, strict=True)]
        rewards = torch.tensor([[score.reward for score in group] for group in scores])
        advantages = group_advantages(rewards, scale=self.options.scale_advantages)
        samples = [
            _Sampled(Row(prompt, completion.token_ids), completion.logprobs, float(advantage))
            for prompt, group, line in zip(prompts, groups, advantages, strict=True)
            for completion, advantage in zip(group, line, strict=True)
        ]
        trained = self._learn(samples)
        return {**self._rollout_metrics(groups, scores, rewards), **trained}

    def _sample(self, batch: Sequence[Task], prompts: Sequence[Prompt]) -> list[list[Completion]]:
        size = self.options.group_size
        keys = [[f"{self.stream}/{self.rollouts}/{i}/{k}" for k in range(size)] for i in range(len(batch))]
        self.rollouts += 1
        groups = generate(self.vlm, prompts, keys, self.sampling, batch_size=self.sample_batch_size)
        self.budget.sample(
            sum(len(prompt.token_ids) for prompt in prompts), sum(len(c.token_ids) for group in groups for c in group)
        )
        return groups

    def _learn(self, samples: Sequence[_Sampled]) -> dict[str, float]:
        """The inner updates.

        Without a KL term, responses without advantage have exactly zero gradient: they are counted by the
        normalisation but not forwarded.
        """
        counts = unit_counts([sample.row for sample in samples])
        used = [s for s in samples if self.reference is not None or s.advantage != 0]
        used.sort(key=lambda s: len(s.row.prompt.token_ids) + len(s.row.completion))
        metrics: dict[str, float] = {}
        for _ in range(self.options.inner_updates if used else 0):
            metrics = self.update(used, counts, self._objective)
            self.budget.train(row_tokens([sample.row for sample in used]))
        if used and self.reference is not None:
            self.budget.forward(self.options.inner_updates * row_tokens([sample.row for sample in used]))
        return {f"train/{name}": value for name, value in metrics.items()}

    def _objective(self, part: Sequence[_Sampled]) -> Loss:
        rows = [sample.row for sample in part]
        temperature = self.options.temperature  # the distribution that was sampled from is the one that is improved
        scored = self.vlm.logprobs(rows, temperature=temperature)
        old = torch.zeros_like(scored.logprobs)
        for i, sample in enumerate(part):
            old[i, : len(sample.old_logprobs)] = torch.tensor(sample.old_logprobs, device=old.device)
        reference = None
        if self.reference is not None:
            reference = self.reference.logprobs(rows, temperature=temperature).logprobs
        advantages = torch.tensor([sample.advantage for sample in part], device=old.device)
        return grpo_loss(
            RolloutLogprobs(scored.logprobs, old, scored.mask, reference),
            advantages,
            clip_low=self.options.clip_low,
            clip_high=self.options.clip_high,
            kl_weight=self.options.kl_weight,
            loss_norm=self.options.loss_norm,
        )

    def _rollout_metrics(
        self, groups: Sequence[Sequence[Completion]], scores: Sequence[Sequence[Score]], rewards: torch.Tensor
    ) -> dict[str, float]:
        flat = [score for group in scores for score in group]
        completions = [completion for group in groups for completion in group]
        count = len(flat)
        return {
            "rollout/reward": float(rewards.mean()),
            "rollout/format": sum(score.format for score in flat) / count,
            "rollout/accuracy": sum(score.accuracy for score in flat) / count,
            "rollout/joint": sum(score.format and score.accuracy for score in flat) / count,
            "rollout/length": sum(len(c.token_ids) for c in completions) / count,
            "rollout/truncated": sum(c.truncated for c in completions) / count,
            "rollout/zero_variance": float(zero_variance(rewards).float().mean()),
        }
