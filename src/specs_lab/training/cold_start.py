"""SFT, DPO and hybrid: three Lightning modules that see the same pairs in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from specs_lab.models.prompts import Row, row_tokens
from specs_lab.models.vlm import VLM
from specs_lab.objectives.dpo import DPOOptions, PairLogps, dpo_loss
from specs_lab.objectives.hybrid import HybridOptions, hybrid_loss
from specs_lab.objectives.logprobs import TokenLogprobs
from specs_lab.objectives.sft import SFTOptions, sft_loss
from specs_lab.objectives.terms import Loss
from specs_lab.training.base import TrainingModule, unit_counts
from specs_lab.training.distributed import my_share


@dataclass(frozen=True)
class Pair:
    """A preference pair ready for training.

    Attributes:
        chosen: Prompt and preferred response.
        rejected: The same prompt and the other response.
        reference_chosen: Reference log-probability of the chosen response; NaN where the method needs none.
        reference_rejected: The same of the rejected response.
    """

    chosen: Row
    rejected: Row
    reference_chosen: float = float("nan")
    reference_rejected: float = float("nan")

    @property
    def rows(self) -> tuple[Row, Row]:
        """Both sides."""
        return self.chosen, self.rejected


def _prefixed(metrics: dict[str, float]) -> dict[str, float]:
    return {f"train/{name}": value for name, value in metrics.items()}


@final
class SFTModule(TrainingModule):
    """Supervised fine-tuning on the chosen sides."""

    def __init__(self, vlm: VLM, options: SFTOptions, micro_batch_tokens: int) -> None:
        super().__init__(vlm, options, micro_batch_tokens)
        self.options = options

    def train_step(self, batch: Sequence[Pair]) -> dict[str, float]:
        """One update on a batch of pairs."""
        rows = [pair.chosen for pair in batch]

        def objective(part: Sequence[Row]) -> Loss:
            scored = self.vlm.logprobs(part)
            return sft_loss(scored.logprobs, scored.mask, self.options.sft_norm)

        self.budget.train(row_tokens(rows))
        return _prefixed(self.update(my_share(rows), lambda row: (row,), unit_counts(rows), objective))


@final
class DPOModule(TrainingModule):
    """Direct preference optimisation."""

    def __init__(self, vlm: VLM, options: DPOOptions, micro_batch_tokens: int) -> None:
        super().__init__(vlm, options, micro_batch_tokens)
        self.options = options

    def train_step(self, batch: Sequence[Pair]) -> dict[str, float]:
        """One update on a batch of pairs."""

        def objective(part: Sequence[Pair]) -> Loss:
            return dpo_loss(score_pairs(self.vlm, part)[0], self.options)

        return _prefixed(update_on_pairs(self, batch, objective))


@final
class HybridModule(TrainingModule):
    """DPO plus lambda times SFT on the chosen sides."""

    def __init__(self, vlm: VLM, options: HybridOptions, micro_batch_tokens: int) -> None:
        super().__init__(vlm, options, micro_batch_tokens)
        self.options = options

    def train_step(self, batch: Sequence[Pair]) -> dict[str, float]:
        """One update on a batch of pairs."""

        def objective(part: Sequence[Pair]) -> Loss:
            logps, chosen = score_pairs(self.vlm, part)
            return hybrid_loss(logps, chosen.logprobs, chosen.mask, self.options)

        return _prefixed(update_on_pairs(self, batch, objective))


def score_pairs(vlm: VLM, pairs: Sequence[Pair]) -> tuple[PairLogps, TokenLogprobs]:
    """Scores both sides in one forward pass.

    Returns:
        Whole-response log-probabilities, each (B,), and the chosen sides' per-token ones, each (B, T).
    """
    count = len(pairs)
    scored = vlm.logprobs([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])
    policy_chosen, policy_rejected = scored.logprobs.sum(-1).split(count)
    chosen_lengths, rejected_lengths = scored.mask.sum(-1).split(count)

    def reference(values: list[float]) -> Tensor:
        return torch.tensor(values, device=policy_chosen.device, dtype=policy_chosen.dtype)

    logps = PairLogps(
        policy_chosen=policy_chosen,
        policy_rejected=policy_rejected,
        reference_chosen=reference([pair.reference_chosen for pair in pairs]),
        reference_rejected=reference([pair.reference_rejected for pair in pairs]),
        chosen_lengths=chosen_lengths,
        rejected_lengths=rejected_lengths,
    )
    return logps, TokenLogprobs(scored.logprobs[:count], scored.mask[:count])


def update_on_pairs(
    module: TrainingModule, batch: Sequence[Pair], objective: Callable[[Sequence[Pair]], Loss]
) -> dict[str, float]:
    """One update of a preference method: tokens are counted over the chosen sides, sequences are pairs."""
    module.budget.train(row_tokens([row for pair in batch for row in pair.rows]))
    counts = unit_counts([pair.chosen for pair in batch])
    return module.update(my_share(batch), lambda pair: pair.rows, counts, objective)
