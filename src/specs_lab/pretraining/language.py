"""Second phase: the language model learns to answer, on top of the frozen vision tower.

Muon drives the weight matrices and AdamW the rest; with AdamW alone the same budget reaches less than half the
accuracy at this size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from specs_lab.models.vlm import VLM, Row
from specs_lab.pretraining.corpus import Corpus, Example
from specs_lab.pretraining.options.pretrain import LanguageOptions
from specs_lab.pretraining.vision import cosine


def _optimizers(model: nn.Module, options: LanguageOptions) -> list[torch.optim.Optimizer]:
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in trained if p.ndim == 2 and "embed" not in name and "lm_head" not in name]
    ids = {id(p) for p in matrices}
    rest = [p for _, p in trained if id(p) not in ids]
    return [
        torch.optim.Muon(matrices, lr=options.matrix_lr, weight_decay=options.weight_decay),
        torch.optim.AdamW(rest, lr=options.other_lr, betas=(0.9, 0.98), weight_decay=options.weight_decay),
    ]


def _encode(vlm: VLM, examples: list[Example], first: int) -> list[Row]:
    keys = [f"corpus/{first + i}" for i in range(len(examples))]
    prompts = vlm.encode_prompts([e.text for e in examples], [e.image for e in examples], keys)
    completions = vlm.encode_completions([e.response for e in examples])
    return [Row(p, c) for p, c in zip(prompts, completions, strict=True)]


def train_language(
    vlm: VLM,
    corpus: Corpus,
    options: LanguageOptions,
    first_index: int,
    report: Callable[[int, dict[str, float]], None],
) -> None:
    """Trains the language model in place; the vision tower must be frozen.

    Args:
        vlm: The model.
        corpus: Supplies examples.
        options: Settings.
        first_index: Index of the first example, so that the phases see different pictures.
        report: Called with (step, metrics) every 100 steps.
    """
    optimizers = _optimizers(vlm.model, options)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    parameters = [p for p in vlm.model.parameters() if p.requires_grad]
    vlm.model.train()
    losses: list[float] = []
    for step in range(options.steps):
        first = first_index + step * options.batch_size
        rows = _encode(vlm, [corpus[first + i] for i in range(options.batch_size)], first)
        rows.sort(key=lambda row: len(row.prompt.token_ids) + len(row.completion))
        total = sum(len(row.completion) for row in rows)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss_sum = 0.0
        for start in range(0, len(rows), options.micro_batch_size):
            scored = vlm.logprobs(rows[start : start + options.micro_batch_size])
            loss = -scored.logprobs.sum() / total
            loss.backward()
            loss_sum += loss.item()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        factor = cosine(step, options.steps, options.warmup_steps)
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            for group, lr in zip(optimizer.param_groups, peak, strict=True):
                group["lr"] = lr * factor
            optimizer.step()
        losses.append(loss_sum)
        if step % 100 == 99:
            report(step + 1, {"loss": sum(losses[-100:]) / 100, "lr_factor": factor})
    vlm.model.eval()
