"""Stage `pretrain`: makes a base checkpoint and its model card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from specs_lab.core.budget import Budget
from specs_lab.core.progress import Progress
from specs_lab.models.embedded import SIZES, build, make_processor, train_tokenizer
from specs_lab.models.vlm import VLM
from specs_lab.pretraining.card import as_json, evaluate_base, model_card
from specs_lab.pretraining.corpus import Corpus, corpus_texts
from specs_lab.pretraining.language import train_language
from specs_lab.pretraining.options.pretrain import PretrainOptions
from specs_lab.pretraining.snapshots import Keep, Phase, State, keep_nothing, read_state
from specs_lab.pretraining.vision import freeze_tower, train_vision
from specs_lab.problems.base import FAMILIES
from specs_lab.stages.common import MODEL
from specs_lab.stages.context import StageContext
from specs_lab.stages.evaluate import make_evaluator
from specs_lab.stages.resuming import Resuming
from specs_lab.tracking.rows import RowWriter

_REPORT_EVERY = 100
_TOKENIZER_SEED = 0  # one tokenizer for all bases, so that they differ in nothing but their training


def run(context: StageContext) -> None:
    """Pretrains, saves in bfloat16, reloads what was saved, and measures that."""
    options: PretrainOptions = context.options["pretrain"]
    trainer = context.options["trainer"]
    torch.set_num_threads(trainer.threads)
    resuming = Resuming(context)
    state = read_state(resuming.found.state) if resuming.found else None
    with RowWriter(context.folder / "rows.csv") as rows, resuming.stopping():
        vlm = pretrain(options, context.progress, rows, state, resuming.keeper.after)
    save_bf16(vlm, context.folder / MODEL)
    measure(VLM.load(context.folder / MODEL), context)


def pretrain(
    options: PretrainOptions,
    progress: Progress,
    rows: RowWriter,
    state: State | None = None,
    keep: Keep = keep_nothing,
) -> VLM:
    """Builds a model and runs both phases.

    Args:
        options: What to make.
        progress: Where progress is reported.
        rows: Where metrics go.
        state: A snapshot to go on from.
        keep: Keeps further snapshots.
    """
    tokenizer = train_tokenizer(
        corpus_texts(options.corpus, _TOKENIZER_SEED, options.tokenizer_texts), options.vocab_size
    )
    model = build(SIZES[options.size], tokenizer, options.base_seed, options.init_std)
    vlm = VLM(model, make_processor(tokenizer))
    corpus = Corpus(options.corpus, options.base_seed)
    budget = Budget()  # not counted: nothing is compared with pretraining

    def reporter(phase: str, advance: Callable[..., None]) -> Callable[[int, dict[str, float]], None]:
        def report(step: int, metrics: dict[str, float]) -> None:
            for name, value in metrics.items():
                rows.add(step=step, cell="", metric=f"{phase}/{name}", value=value, n=_REPORT_EVERY, budget=budget)
            advance(_REPORT_EVERY, note=" ".join(f"{name} {value:.3f}" for name, value in metrics.items()))

        return report

    steps = options.vision.steps
    if state is None or state["phase"] == "vision":
        phase = Phase("vision", vlm, 0, state, keep)
        with progress.task("pretrain: vision", steps) as advance:
            train_vision(vlm, corpus, options.vision, options.base_seed, reporter("vision", advance), phase)
    freeze_tower(vlm)
    phase = Phase("language", vlm, steps, state, keep)
    first = steps * options.vision.batch_size
    with progress.task("pretrain: language", options.language.steps) as advance:
        train_language(vlm, corpus, options.language, first, reporter("language", advance), phase)
    return vlm


def save_bf16(vlm: VLM, folder: Path) -> None:
    """Saves a model in bfloat16 (half the size; a reload in float32 has the rounded weights)."""
    model = vlm.core
    half = Qwen2_5_VLForConditionalGeneration(model.config)
    half.load_state_dict(model.state_dict())
    VLM(half.bfloat16(), vlm.processor).save(folder)


def measure(vlm: VLM, context: StageContext) -> None:
    """Writes ``evaluation.json`` and the model card ``README.md`` beside the weights."""
    options: PretrainOptions = context.options["pretrain"]
    batch_size = context.options["trainer"].sample_batch_size
    with context.progress.task("pretrain: evaluation", len(FAMILIES)) as advance:
        evaluation = evaluate_base(vlm, make_evaluator(context), options.evaluation_problems, batch_size, advance)
    folder = context.folder / MODEL
    command = (
        "python -m specs_lab.run experiment=pretrain "
        f"pretrain.size={options.size} pretrain.base_seed={options.base_seed}"
    )
    (folder / "evaluation.json").write_text(json.dumps(as_json(evaluation), indent=2) + "\n")
    (folder / "README.md").write_text(model_card(f"specs_lab {options.size}-{options.base_seed}", command, evaluation))
