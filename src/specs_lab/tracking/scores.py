"""What one arm scored in one stage, as dense arrays over steps, seeds and problems."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from specs_lab.metrics.generalization_factor import BETA
from specs_lab.tracking.frames import select

Floats = NDArray[np.float64]
ALL_ARMS = "all arms"
BASE_STAGE, ZERO_STAGE, FINAL_STAGE = "evaluate_base", "evaluate_zero", "evaluate_final"
"""The stages of a recipe that evaluate the base model, which gains are taken over, the zero model and the final one."""
RL_STAGE = "final"
"""The stage of a recipe that is RL from the cold start."""
METRICS = ("format", "accuracy", "joint", "truncated")
SCORE_COLUMNS = ("step", "cell", "task_id", "format", "accuracy", "truncated")
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
    key_of = dict(sorted(set(zip(samples["seed"].tolist(), samples["key"].tolist(), strict=True))))
    keys = list(dict.fromkeys(key_of.values()))
    samples = samples.drop_duplicates(["key", "step", "cell", "task_id"])
    steps = _common_steps(samples, len(keys))
    if not steps:
        return None
    samples = select(samples, step=steps).assign(joint=samples["format"] & samples["accuracy"])
    tasks, values = {}, {}
    for cell, part in samples.groupby("cell", sort=False):
        names, arrays = _dense(part, steps, keys)
        if names:
            tasks[cell] = names
            values |= {(cell, metric): array for metric, array in arrays.items()}
    evaluations = rows.loc[rows["cell"] != ""]
    costs = dict(zip(zip(evaluations["step"], evaluations["key"], strict=True), evaluations["flops"], strict=True))
    return Scores(
        arm=arm,
        stage=str(samples["stage"].iloc[0]),
        kind=str(samples["kind"].iloc[0]),
        steps=np.asarray(steps, dtype=np.int64),
        flops=np.array([[costs.get((step, key), np.nan) for key in keys] for step in steps], dtype=np.float64),
        seed_index={seed: keys.index(key) for seed, key in key_of.items()},
        tasks=tasks,
        values=values,
        reading=reading,
    )


def _common_steps(samples: pd.DataFrame, keys: int) -> list[int]:
    """The steps that were evaluated under every key, sorted."""
    pairs = samples[["step", "key"]].drop_duplicates()
    return sorted(step for step, count in Counter(pairs["step"].tolist()).items() if count == keys)


def _dense(part: pd.DataFrame, steps: list[int], keys: list[str]) -> tuple[tuple[str, ...], dict[str, Floats]]:
    """One cell as arrays: the problems that have a value at every step and key, and (K, S, P) by metric."""
    column, names = pd.factorize(part["task_id"], sort=True)
    place = np.searchsorted(steps, part["step"]), pd.Index(keys).get_indexer(part["key"].to_numpy()), column
    arrays = {metric: np.full((len(steps), len(keys), len(names)), np.nan) for metric in METRICS}
    for metric, array in arrays.items():
        array[place] = part[metric].to_numpy(dtype=np.float64)
    complete = np.flatnonzero(~np.isnan(arrays[METRICS[0]]).any(axis=(0, 1)))
    return tuple(str(names[int(i)]) for i in complete), {
        metric: array[:, :, complete] for metric, array in arrays.items()
    }


def read_reading(artifact: Path) -> Reading | None:
    """The reading that an artifact's manifest records; None if it holds no evaluation."""
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    options = manifest["options"]
    if "suite" not in options:
        return None
    suite, cells = options["suite"], options.get("problems", {}).get("cells", {})
    alternative = tuple(name for name in suite["cells"] if cells.get(name, {}).get("instruction") == "alternative")
    return Reading(suite["gf_id"], suite["gf_ood"], float(suite["gf_beta"]), alternative)


def read_shortfall(artifact: Path) -> str:
    """How many pairs a construction made and how many it was asked for, if it made fewer; else nothing."""
    card = artifact / "card.json"
    if not card.is_file():
        return ""
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    made, asked = json.loads(card.read_text(encoding="utf-8"))["pairs"], manifest["options"]["data"]["pairs"]
    return f"{made} of {asked} pairs" if made < asked else ""


def read_mixture(artifact: Path) -> tuple[str, ...]:
    """The cells that an RL stage drew its training prompts from; none if its manifest does not say.

    They are those of its mixture, or, where it was given tasks, of these.
    """
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    rl = manifest["options"].get("rl", {})
    given = manifest["inputs"].get("tasks")
    if given is None:
        return tuple(rl.get("mixture", ()))
    lists = sorted(artifact.parents[1].glob(f"*/{given}/tasks.json"))
    tasks = [task for path in lists for task in json.loads(path.read_text(encoding="utf-8"))["tasks"]]
    buckets = rl.get("buckets", ())
    return tuple(sorted({task["cell"] for task in tasks if not buckets or task["bucket"] in buckets}))
