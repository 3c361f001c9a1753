"""Sweeps made up of job folders and artifacts, as a real study leaves them behind."""

from __future__ import annotations

import csv
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from specs_lab.core.budget import Budget
from specs_lab.tracking.rows import RowWriter, write_measures, write_samples

CELLS = {"id": {"instruction": "id"}, "ood": {"instruction": "ood"}, "other": {"instruction": "alternative"}}
# Where the chance to follow the format ends, by cell, and how fast it gets there.
ENDS = {"sft": (0.95, 0.45, 8.0), "dpo": (0.97, 0.75, 12.0), "hybrid": (0.98, 0.85, 10.0)}
BASE = {"id": 0.2, "ood": 0.1, "other": 0.2}
FLOPS_A_STEP = {"sft": 1e9, "dpo": 2e9, "hybrid": 2e9}


@dataclass
class FakeSweep:
    """Builds a sweep's folder; artifacts go to one cache, jobs to `folder/<number>`."""

    folder: Path
    cache: Path
    n: int = 40
    mixture: Sequence[str] = ("id", "ood")
    jobs: list[Path] = field(default_factory=list)

    def artifact(self, kind: str, key: str, *, suite: bool = True) -> Path:
        folder = self.cache / kind / key
        folder.mkdir(parents=True)
        options = {
            "suite": {"class": "CellsSuite", "cells": list(CELLS), "gf_id": "id", "gf_ood": "ood", "gf_beta": 2.0},
            "problems": {"class": "ProceduralProblems", "cells": CELLS},
        }
        others = {"rl": {"class": "GRPOOptions", "mixture": list(self.mixture)}} if kind == "rl" else {}
        manifest = {"kind": kind, "key": key, "options": options if suite else others, "inputs": {}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    def measured(
        self,
        kind: str,
        key: str,
        chance: Callable[[str, int], float],
        steps: Sequence[int] = (0,),
        flops_a_step: float = 0.0,
        accuracy: float = 0.8,
    ) -> Path:
        """An artifact with samples: a problem's format is right where its fixed difficulty is below the chance."""
        folder = self.artifact(kind, key)
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        samples = []
        with RowWriter(folder / "rows.csv") as rows:
            for step in steps:
                budget = Budget(tokens=step * 100, flops=flops_a_step * step, seconds=float(step))
                for cell in CELLS:
                    difficulty = np.random.default_rng(zlib.crc32(cell.encode())).random(self.n)
                    noise = 0.2 * rng.standard_normal(self.n) if step else 0.0
                    follows = difficulty + noise < chance(cell, step)
                    right = np.random.default_rng(7).random(self.n) < accuracy
                    rows.add(step=step, cell=cell, metric="format", value=follows.mean(), n=self.n, budget=budget)
                    for i in range(self.n):
                        samples.append(sample(step, cell, f"{cell}/{i}", follows[i], right[i]))
                rows.add(step=step, cell="", metric="train/loss", value=1 / (1 + step), n=16, budget=budget)
        write_samples(folder / "samples.parquet", samples)
        return folder

    def explored(
        self, key: str, curves: Mapping[str, Callable[[int], float]], ks: Sequence[int] = (1, 2, 4, 8)
    ) -> Path:
        """An artifact with measures: pass@k of a cell lies around a curve; two measures that problems may lack."""
        folder = self.artifact("explore", key, suite=False)
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        measures = []
        for cell, curve in curves.items():
            away = 0.05 * np.random.default_rng(zlib.crc32(cell.encode())).standard_normal(self.n)
            noise = 0.005 * rng.standard_normal(self.n)
            for i in range(self.n):
                values = {f"{of}pass@{k}": curve(k) + away[i] + noise[i] for of in ("", "joint ") for k in ks}
                values |= {"rbf": 1.5 + away[i], "length": 30.0 + noise[i]}
                values["reflections correct"] = math.nan if rng.random() < 0.3 else 2.0 + away[i]
                place = {"step": 0, "cell": cell, "task_id": f"{cell}/{i}"}
                measures += [{**place, "metric": metric, "value": value} for metric, value in values.items()]
        write_measures(folder / "measures.parquet", measures)
        return folder

    def job(self, arm: str, seed: int, stages: Mapping[str, tuple[str, Path]], error: str | None = None) -> Path:
        folder = self.folder / str(len(self.jobs))
        folder.mkdir(parents=True)
        record = {
            "job": len(self.jobs),
            "name": "specs_lab",
            "overrides": [f"coldstart={arm}", f"seed={seed}"],
            "arm": arm,
            "seed": seed,
            "status": "failed" if error else "completed",
            "error": error,
            "stages": {
                name: {"kind": kind, "key": path.name, "folder": str(path), "cached": False, "seconds": 1.5}
                for name, (kind, path) in stages.items()
            },
        }
        (folder / "job.json").write_text(json.dumps(record))
        self.jobs.append(folder)
        return folder

    def shared(self, seed: int) -> dict[str, tuple[str, Path]]:
        """The stages before the cold start, which all arms share; the base model's for all seeds, too."""
        base, zero = self.cache / "evaluate" / "base", self.cache / "evaluate" / f"zero{seed}"
        if not base.exists():
            self.measured("evaluate", "base", lambda cell, _: BASE[cell])
        if not zero.exists():
            self.measured("evaluate", f"zero{seed}", lambda cell, _: 0.9 if cell == "id" else 0.4)
        return {"evaluate_base": ("evaluate", base), "evaluate_zero": ("evaluate", zero)}

    def study(self, arm: str, seed: int, steps: Sequence[int] = (0, 5, 10, 20, 30)) -> Path:
        """A completed job of the recipe `specs`."""
        stages = self.shared(seed)
        if arm in ENDS:
            id_end, ood_end, pace = ENDS[arm]
            ends = {"id": id_end, "ood": ood_end - 0.05 * seed, "other": 0.05}

            def chance(cell: str, step: int) -> float:
                return BASE[cell] + (ends[cell] - BASE[cell]) * (1 - math.exp(-((step / pace) ** 1.5)))

            cold = self.measured("coldstart", f"cold-{arm}-{seed}", chance, steps, FLOPS_A_STEP[arm])
            stages["cold"] = ("coldstart", cold)
        stages["final"] = ("rl", self.rl(f"final-{arm}-{seed}", ENDS.get(arm, (0.2, 0.1, 1.0))[1]))
        after = ENDS.get(arm, (0.6, 0.3, 1.0))
        final = self.measured("evaluate", f"final-{arm}-{seed}", lambda cell, _: after[0] if cell == "id" else after[1])
        return self.job(arm, seed, {**stages, "evaluate_final": ("evaluate", final)})

    def rl(self, key: str, start: float, steps: int = 24) -> Path:
        folder = self.artifact("rl", key, suite=False)
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        with RowWriter(folder / "rows.csv") as rows:
            for step in range(1, steps + 1):
                budget = Budget(tokens=step * 1000, flops=step * 1e9, generated_tokens=step * 300)
                form = min(1.0, start + (1 - start) * (1 - math.exp(-step / 8)) + 0.04 * rng.standard_normal())
                right = 0.6 + 0.01 * step + 0.04 * rng.standard_normal()
                values = {"format": form, "accuracy": right, "reward": 0.5 * form + right}
                for name, value in values.items():
                    rows.add(step=step, metric=f"rollout/{name}", value=value, n=64, budget=budget)
        return folder


def sample(step: int, cell: str, task_id: str, form: bool, accuracy: bool) -> dict[str, object]:
    return {
        "step": step,
        "cell": cell,
        "task_id": task_id,
        "family": "count",
        "style": "plain",
        "instruction": "tags",
        "response": "<think> 3 </think> <answer> 3 </answer>",
        "answer": "3",
        "format": form,
        "accuracy": accuracy,
        "truncated": False,
    }


@pytest.fixture
def sweep(tmp_path: Path) -> FakeSweep:
    return FakeSweep(tmp_path / "sweep", tmp_path / "cache")


@dataclass
class FakeExperiment:
    """An experiment's folder with results that are made up."""

    folder: Path

    def expect(self, *tests: Mapping[str, object], **changes: object) -> None:
        expected = {"claim": "A beats B", "source": "a paper", "paper": "It found that.", "runs": {"one": "run it"}}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "expected.json").write_text(json.dumps(expected | {"tests": tests} | changes))
        (self.folder / "README.md").write_text("Before.\n\n<!-- verdict -->\n<!-- /verdict -->\n\nAfter.\n")

    def results(self, run: str, *rows: Mapping[str, object]) -> None:
        """Estimates as `specs-lab report` writes them: of joint at step 25, unless a row says otherwise."""
        folder = self.folder / "results" / run
        folder.mkdir(parents=True)
        place = {"versus": "", "stage": "cold", "at": "equal steps", "cell": "ood", "metric": "joint", "step": 25}
        rest = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 90, "seeds": 3, "flops": 1e9, "note": ""}
        with (folder / "summary.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["arm", *place, *rest])
            writer.writeheader()
            writer.writerows(place | rest | row for row in rows)

    def test(self, **changes: object) -> dict[str, object]:
        """A test of arm `a` being above `b`."""
        place = {"stage": "cold", "at": "equal steps", "cell": "ood", "metric": "joint"}
        return {"says": "A beats B", "arm": "a", "versus": "b", "sign": "+"} | place | changes


@pytest.fixture
def experiment(tmp_path: Path) -> FakeExperiment:
    return FakeExperiment(tmp_path / "experiments" / "made_up")
