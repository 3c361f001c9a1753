"""Second phase: the language model learns to answer, on top of the frozen vision tower."""

from __future__ import annotations

from collections.abc import Callable

from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM
from specs_lab.pretraining.corpus import Corpus, Example
from specs_lab.pretraining.optimisers import MuonAndAdamW
from specs_lab.pretraining.options.pretrain import LanguageOptions
from specs_lab.pretraining.snapshots import Phase


def _encode(vlm: VLM, examples: list[Example], first: int) -> list[Row]:
    keys = [f"corpus/{first + i}" for i in range(len(examples))]
    prompts = vlm.encode_prompts([e.text for e in examples], [[e.image] for e in examples], keys)
    completions = vlm.encode_completions([e.response for e in examples])
    return [Row(p, c) for p, c in zip(prompts, completions, strict=True)]


def train_language(
    vlm: VLM,
    corpus: Corpus,
    options: LanguageOptions,
    first_index: int,
    report: Callable[[int, dict[str, float]], None],
    phase: Phase,
) -> None:
    """Trains the language model in place; the vision tower must be frozen.

    Args:
        vlm: The model.
        corpus: Supplies examples.
        options: Settings.
        first_index: Index of the first example, so that the phases see different pictures.
        report: Called with (step, metrics) every 100 steps.
        phase: Where it begins, and how its state is kept.
    """
    optimizer = MuonAndAdamW(
        vlm.model.named_parameters(),
        matrix_lr=options.matrix_lr,
        other_lr=options.other_lr,
        weight_decay=options.weight_decay,
        steps=options.steps,
        warmup_steps=options.warmup_steps,
    )
    vlm.model.train()
    parts = {"optimizer": optimizer}
    losses: list[float] = phase.values()
    for step in range(phase.begin(parts), options.steps):
        first = first_index + step * options.batch_size
        rows = _encode(vlm, [corpus[first + i] for i in range(options.batch_size)], first)
        rows.sort(key=lambda row: len(row.prompt.token_ids) + len(row.completion))
        total = sum(len(row.completion) for row in rows)
        optimizer.zero_grad()
        loss_sum = 0.0
        for start in range(0, len(rows), options.micro_batch_size):
            scored = vlm.logprobs(rows[start : start + options.micro_batch_size])
            loss = -scored.logprobs.sum() / total
            loss.backward()
            loss_sum += loss.item()
        factor = optimizer.step(step)
        losses.append(loss_sum)
        if step % 100 == 99:
            report(step + 1, {"loss": sum(losses[-100:]) / 100, "lr_factor": factor})
        phase.done(step + 1, parts, losses)
    vlm.model.eval()
