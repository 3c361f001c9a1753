"""First phase: the vision tower learns to say what each cell of a picture shows.

Every merged vision token is classified by what its 16 x 16 cell shows and by where the cell is. The second, a 16-way
position head, is what later lets the language model look at a named cell; without it `locate` stays near chance. Both
heads are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from specs_lab.models.processing import patchify
from specs_lab.models.vlm import VLM
from specs_lab.pretraining.corpus import Corpus
from specs_lab.pretraining.optimisers import MuonAndAdamW
from specs_lab.pretraining.options.pretrain import VisionOptions
from specs_lab.pretraining.snapshots import Phase
from specs_lab.problems.base import Problem

_CELLS = 16


def cell_vocabulary(corpus: Corpus, count: int = 4000) -> dict[str, int]:
    """Class ids of everything that cells show in the first ``count`` examples."""
    return {name: i for i, name in enumerate(sorted({c for i in range(count) for c in corpus.problem(i).cells}))}


class _Heads(nn.Module):
    """Guesses of what each cell shows and of where it is.

    Args:
        width: Of the tower's output.
        classes: Ids of everything that cells show.
        seed: Of the initialisation.
    """

    def __init__(self, width: int, classes: dict[str, int], seed: int) -> None:
        super().__init__()
        self._classes = classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.what, self.where = nn.Linear(width, len(classes)), nn.Linear(width, _CELLS)

    def forward(self, features: torch.Tensor, problems: Sequence[Problem]) -> tuple[torch.Tensor, float, float]:
        """The loss, and the share of cells (content, position) that are guessed right; features (cells, width)."""
        shown = torch.tensor([self._classes[cell] for problem in problems for cell in problem.cells])
        places = torch.arange(_CELLS).repeat(len(problems))
        what, where = self.what(features), self.where(features)
        loss = F.cross_entropy(what, shown) + F.cross_entropy(where, places)
        return loss, _accuracy(what, shown), _accuracy(where, places)


def _accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return (logits.argmax(-1) == labels).float().mean().item()


def train_vision(
    vlm: VLM,
    corpus: Corpus,
    options: VisionOptions,
    seed: int,
    report: Callable[[int, dict[str, float]], None],
    phase: Phase,
) -> dict[str, float]:
    """Trains the vision tower in place and scales its output.

    Args:
        vlm: The model; only its vision tower changes.
        corpus: Supplies pictures and what their cells show.
        options: Settings.
        seed: Of the heads' initialisation.
        report: Called with (step, metrics) every 100 steps.
        phase: Where it begins, and how its state is kept.

    Returns:
        ``cell_accuracy`` and ``position_accuracy`` over the last tenth of training.
    """
    tower = vlm.model.model.visual
    tower.requires_grad_(True)
    heads = _Heads(vlm.model.config.text_config.hidden_size, cell_vocabulary(corpus), seed)
    optimizer = MuonAndAdamW(
        [*tower.named_parameters(), *((f"{name}_embedding", p) for name, p in heads.named_parameters())],
        matrix_lr=options.matrix_lr,
        other_lr=options.other_lr,
        weight_decay=options.weight_decay,
        steps=options.steps,
        warmup_steps=options.warmup_steps,
    )
    parts = {"optimizer": optimizer, "heads": heads}
    history: list[tuple[float, float]] = phase.values()
    for step in range(phase.begin(parts), options.steps):
        problems = [corpus.problem(step * options.batch_size + i) for i in range(options.batch_size)]
        pixels, grid = patchify(np.stack([np.asarray(p.image) for p in problems]), vlm.processor.image_processor)
        features = tower(torch.from_numpy(pixels).flatten(0, 1), grid_thw=torch.from_numpy(grid)).pooler_output
        loss, cells, positions = heads(features, problems)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(step)
        history.append((cells, positions))
        if step % 100 == 99:
            report(step + 1, {"loss": loss.item(), **_means(history[-100:])})
        phase.done(step + 1, parts, history)
    with torch.no_grad():
        last = tower.merger.mlp[2]
        last.weight.mul_(options.output_scale)
        last.bias.mul_(options.output_scale)
    return _means(history[-max(1, len(history) // 10) :])


def freeze_tower(vlm: VLM) -> None:
    """Ends the learning of the vision tower."""
    vlm.model.model.visual.requires_grad_(False)


def _means(history: list[tuple[float, float]]) -> dict[str, float]:
    cells, positions = np.mean(history, axis=0)
    return {"cell_accuracy": float(cells), "position_accuracy": float(positions)}
