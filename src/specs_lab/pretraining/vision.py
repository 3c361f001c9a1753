"""First phase: the vision tower learns to say what each cell of a picture shows.

Every merged vision token is classified by what its 16 x 16 cell shows and by where the cell is. The second, a 16-way
position head, is what later lets the language model look at a named cell; without it `locate` stays near chance. Both
heads are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from specs_lab.models.processing import patchify
from specs_lab.models.vlm import VLM
from specs_lab.pretraining.corpus import Corpus
from specs_lab.pretraining.optimisers import MuonAndAdamW
from specs_lab.pretraining.options.pretrain import VisionOptions

_CELLS = 16


def cell_vocabulary(corpus: Corpus, count: int = 4000) -> dict[str, int]:
    """Class ids of everything that cells show in the first ``count`` examples."""
    return {name: i for i, name in enumerate(sorted({c for i in range(count) for c in corpus.problem(i).cells}))}


def train_vision(
    vlm: VLM, corpus: Corpus, options: VisionOptions, seed: int, report: Callable[[int, dict[str, float]], None]
) -> dict[str, float]:
    """Trains the vision tower in place, scales its output and freezes it.

    Args:
        vlm: The model; only its vision tower changes.
        corpus: Supplies pictures and what their cells show.
        options: Settings.
        seed: Of the heads' initialisation.
        report: Called with (step, metrics) every 100 steps.

    Returns:
        ``cell_accuracy`` and ``position_accuracy`` over the last tenth of training.
    """
    tower = vlm.model.model.visual
    tower.requires_grad_(True)
    classes = cell_vocabulary(corpus)
    width = vlm.model.config.text_config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        what, where = nn.Linear(width, len(classes)), nn.Linear(width, _CELLS)
    heads = [(f"{name}_embedding", p) for head in (what, where) for name, p in head.named_parameters()]
    optimizer = MuonAndAdamW(
        [*tower.named_parameters(), *heads],
        matrix_lr=options.matrix_lr,
        other_lr=options.other_lr,
        weight_decay=options.weight_decay,
        steps=options.steps,
        warmup_steps=options.warmup_steps,
    )
    places = torch.arange(_CELLS).repeat(options.batch_size)
    history: list[tuple[float, float]] = []
    for step in range(options.steps):
        problems = [corpus.problem(step * options.batch_size + i) for i in range(options.batch_size)]
        pixels, grid = patchify(np.stack([np.asarray(p.image) for p in problems]), vlm.processor.image_processor)
        shown = torch.tensor([classes[cell] for p in problems for cell in p.cells])
        features = tower(torch.from_numpy(pixels).flatten(0, 1), grid_thw=torch.from_numpy(grid)).pooler_output
        guess, place = what(features), where(features)
        loss = F.cross_entropy(guess, shown) + F.cross_entropy(place, places)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(step)
        history.append(
            ((guess.argmax(-1) == shown).float().mean().item(), (place.argmax(-1) == places).float().mean().item())
        )
        if step % 100 == 99:
            cells, positions = np.mean(history[-100:], axis=0)
            report(step + 1, {"loss": loss.item(), "cell_accuracy": cells, "position_accuracy": positions})
    with torch.no_grad():
        last = tower.merger.mlp[2]
        last.weight.mul_(options.output_scale)
        last.bias.mul_(options.output_scale)
    tower.requires_grad_(False)
    cells, positions = np.mean(history[-max(1, len(history) // 10) :], axis=0)
    return {"cell_accuracy": float(cells), "position_accuracy": float(positions)}
