"""What one arm scored in one stage, as dense arrays over steps, seeds and problems."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from specs_lab.metrics.generalization_factor import BETA

Floats = NDArray[np.float64]
ALL_ARMS = "all arms"
BASE_STAGE, ZERO_STAGE, FINAL_STAGE = "evaluate_base", "evaluate_zero", "evaluate_final"
"""The stages of a recipe that evaluate the base model, which gains are taken over, the zero model and the final one."""
METRICS = ("format", "accuracy", "joint", "truncated")
SAMPLE_COLUMNS = ("step", "cell", "task_id", "format", "accuracy", "truncated")
"""The columns of ``samples.parquet`` that scores are made from; ``joint`` is format and accuracy at once."""


@dataclass(frozen=True)
class Reading:
    """How an evaluation is to be read; recorded with every artifact that holds one.

    Attributes:
        id: The cell that stands for in-distribution.
        ood: The cell that stands for out-of-distribution.
        beta: The Generalization Factor's beta.
        alternative: The cells that ask for another format.
    """

    id: str = "id"
    ood: str = "ood"
    beta: float = BETA
    alternative: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Scores:
    """Scores of one stage; K steps, S seeds, P problems of a cell.

    Attributes:
        arm: The arm, or :data:`ALL_ARMS` for a stage that all of them share.
        stage: The stage.
        kind: Its kind.
        steps: Evaluated steps, (K,).
        flops: What the stage had cost at each of them, (K, S).
        seed_index: For every seed, its index on the axis of seeds. Seeds that share an artifact share the index: it is
            one trained model, and counts once.
        tasks: The problems' names, by cell.
        values: Scores, (K, S, P), by cell and metric.
        reading: How they are to be read.
    """

    arm: str
    stage: str
    kind: str
    steps: NDArray[np.int64]
    flops: Floats
    seed_index: Mapping[int, int]
    tasks: Mapping[str, tuple[str, ...]]
    values: Mapping[tuple[str, str], Floats]
    reading: Reading

    @property
    def seeds(self) -> int:
        """How many models, trained independently, were measured."""
        return self.flops.shape[1]

    def start_for(self, other: Scores, cell: str, metric: str) -> Floats | None:
        """Scores at the first step, on the problems of ``other`` and for its seeds: (S, P); None if not measured."""
        if (cell, metric) not in self.values or self.tasks[cell] != other.tasks[cell]:
            return None
        seed_of = {index: seed for seed, index in other.seed_index.items()}
        if any(seed not in self.seed_index for seed in seed_of.values()):
            return None
        picks = [self.seed_index[seed_of[index]] for index in range(other.seeds)]
        return self.values[cell, metric][0, picks]


def collect(samples: pd.DataFrame, rows: pd.DataFrame, arm: str, reading: Reading) -> Scores | None:
    """Makes scores of the samples and rows of one stage, over all its jobs.

    Steps and problems that not every seed was measured at are left out, so that all seeds are averaged over the same.

    Args:
        samples: Samples of one stage, tagged with ``seed`` and ``key``, as in :class:`specs_lab.tracking.frames.Sweep`.
        rows: Its rows; they say what each step had cost.
        arm: The arm that it is reported under.
        reading: How it is to be read.

    Returns:
        The scores; None if no step was evaluated for every seed.
    """
    seeds = samples[["seed", "key"]].drop_duplicates().sort_values("seed")
    keys = list(dict.fromkeys(seeds["key"]))
    samples = samples.drop_duplicates(["key", "step", "cell", "task_id"])
    steps = _common(samples, "step", keys)
    if not len(steps):
        return None
    samples = samples[samples["step"].isin(steps)].assign(joint=samples["format"] & samples["accuracy"])
    tasks, values = {}, {}
    order = pd.MultiIndex.from_product([steps, keys])
    for cell, part in samples.groupby("cell", sort=False):
        for metric in METRICS:
            grid = part.pivot(index=["step", "key"], columns="task_id", values=metric)
            grid = grid.reindex(order).dropna(axis="columns").astype(float)
            if grid.shape[1]:
                tasks[cell] = tuple(grid.columns)
                values[cell, metric] = grid.to_numpy().reshape(len(steps), len(keys), -1)
    costs = rows[rows["cell"] != ""].drop_duplicates(["key", "step"]).set_index(["step", "key"])["flops"]
    return Scores(
        arm=arm,
        stage=str(samples["stage"].iloc[0]),
        kind=str(samples["kind"].iloc[0]),
        steps=np.asarray(steps, dtype=np.int64),
        flops=costs.reindex(order).to_numpy(dtype=np.float64).reshape(len(steps), len(keys)),
        seed_index={int(seed): keys.index(key) for seed, key in zip(seeds["seed"], seeds["key"], strict=True)},
        tasks=tasks,
        values=values,
        reading=reading,
    )


def _common(samples: pd.DataFrame, column: str, keys: Sequence[str]) -> list[Any]:
    """The values of a column that occur for every key, sorted."""
    counts = samples[[column, "key"]].drop_duplicates().groupby(column).size()
    return sorted(counts[counts == len(keys)].index)


def read_reading(artifact: Path) -> Reading | None:
    """The reading that an artifact's manifest records; None if it holds no evaluation."""
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    options = manifest["options"]
    if "suite" not in options:
        return None
    suite, cells = options["suite"], options.get("problems", {}).get("cells", {})
    alternative = tuple(name for name in suite["cells"] if cells.get(name, {}).get("instruction") == "alternative")
    return Reading(suite["gf_id"], suite["gf_ood"], float(suite["gf_beta"]), alternative)
