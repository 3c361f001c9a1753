"""Every family with every adapter under every method, for two steps: ``python -m benchmarks.families``.

The models are tiny and random; loading, prompts, adapters, Lightning modules and checkpoints are the real ones. Of each
combination it is asked whether the loss is finite, whether weights move, and whether a run that is resumed from the
checkpoint after its first step ends with the same weights, bit for bit, as one that was not interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image

from benchmarks.duel import ROOT
from benchmarks.results import machine, write
from specs_lab.models.adapters.base import Adapter
from specs_lab.models.adapters.dora import DoraAdapter
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.models.prompts import Row
from specs_lab.models.reference import make_reference, sequence_logps
from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.hybrid import HybridOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.problems.base import make_problem
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Response, Score
from specs_lab.training.base import TrainingModule
from specs_lab.training.cold_start import DPOModule, HybridModule, Pair, SFTModule
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.options.trainer import TrainerOptions

TINY_CHECKPOINTS = ROOT / "tests" / "models" / "tiny_checkpoints.py"
ADAPTERS: dict[str, type[Adapter]] = {
    "full": FullAdapter,
    "lora": LoraAdapter,
    "dora": DoraAdapter,
    "qlora": QLoraAdapter,
}
METHODS = ("sft", "dpo", "hybrid", "grpo")
STEPS, BATCH = 2, 2
_TOKENS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a combination.

    Attributes:
        family: The model's family.
        adapter: What of it learns.
        method: How.
        learning: Weights that learn.
        loss: After the first step.
        moved: Largest change of a weight over both steps.
        resumed: Largest difference between the weights of the resumed run and the uninterrupted one.
        seconds: Of both runs.
    """

    family: str
    adapter: str
    method: str
    learning: int
    loss: float
    moved: float
    resumed: float
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether all is as it should be."""
        return math.isfinite(self.loss) and self.moved > 0 and self.resumed == 0


def tiny_checkpoints() -> Any:
    """The module of the tests that writes them: ``RECIPES`` by family, ``tiny_checkpoint(family, folder)``."""
    name = "tiny_checkpoints"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TINY_CHECKPOINTS)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(TINY_CHECKPOINTS)
        sys.modules[name] = importlib.util.module_from_spec(spec)  # its dataclasses look themselves up there
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


class _AfterFirst(Callback):
    """Notes the loss of the first step, and writes a checkpoint then."""

    def __init__(self, path: Path) -> None:
        self.path, self.loss = path, math.nan

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        if batch_idx == 0 and isinstance(pl_module, TrainingModule):
            self.loss = pl_module.step_metrics.get("train/loss", math.nan)
            trainer.save_checkpoint(self.path)


def load(folder: Path, adapter: str, setup: ModelSetup | None = None, **options: Any) -> VLM:
    """A checkpoint with an adapter on it, ready for training."""
    vlm = VLM.load(folder, setup=setup)
    ADAPTERS[adapter](**options).attach(vlm, seed=0)
    return vlm


def train(vlm: VLM, method: str, *, callbacks: Sequence[Callback] = (), resume: Path | None = None) -> TrainingModule:
    """Takes both steps, or those that are left."""
    items = _tasks() if method == "grpo" else _pairs(vlm)
    module = _module(vlm, method)
    batches = ConsecutiveBatches(BATCH, STEPS)
    data = Items(len(items), items.__getitem__)
    fit(module, data, batches, trainer=TrainerOptions(), callbacks=callbacks, resume=resume)
    return module


def _module(vlm: VLM, method: str) -> TrainingModule:
    chosen: dict[str, Any] = {"steps": STEPS, "lr": 1e-3}
    if method == "sft":
        return SFTModule(vlm, SFTOptions(**chosen), _TOKENS)
    if method == "dpo":
        return DPOModule(vlm, DPOOptions(**chosen), _TOKENS)
    if method == "hybrid":
        return HybridModule(vlm, HybridOptions(**chosen), _TOKENS)
    sizes = {"group_size": 4, "prompts_per_step": BATCH, "max_new_tokens": 6, "kl_weight": 0.04}
    return GRPOModule(
        vlm,
        GRPOOptions(**chosen, **sizes),
        _score,
        micro_batch_tokens=_TOKENS,
        sample_batch_size=64,
        stream="families",
    )


def _score(responses: Sequence[Response], tasks: Sequence[Task], progress: float) -> list[Score]:
    """An arbitrary reward that varies within groups."""
    del tasks, progress
    return [Score(False, False, sum(map(ord, one.text)) % 7 / 7, None) for one in responses]


def _pairs(vlm: VLM) -> list[Pair]:
    """A batch a step: pictures of several sizes, and a prompt without any."""
    pictures = [[Image.new("RGB", size, colour)] for size, colour in (((32, 32), "red"), ((48, 32), "blue"))]
    texts = ["What is seen?", "And here?", "1 + 1 =", "Once more?"]
    images = [*pictures, [], pictures[0]]
    prompts = vlm.encode_prompts(texts, images, [str(i) for i in range(len(texts))])
    answers = [f"<think> so {i} </think> {i}" for i in range(len(texts))], ["no"] * len(texts)
    sides = [[Row(p, c) for p, c in zip(prompts, vlm.encode_completions(side), strict=True)] for side in answers]
    logps = [sequence_logps(make_reference(vlm), side, _TOKENS).tolist() for side in sides]
    return [Pair(*items) for items in zip(*sides, *logps, strict=True)]


def _tasks() -> list[Task]:
    problems = [make_problem("count", seed=0, index=i) for i in range(BATCH * STEPS)]
    return [Task(problem.id, "id", problem, INSTRUCTIONS["tags"]) for problem in problems]


def weights(vlm: VLM) -> torch.Tensor:
    """All weights that learn, as one vector."""
    return torch.cat([p.detach().flatten().clone() for p in vlm.parameters() if p.requires_grad])


def examine(folder: Path, family: str, adapter: str, method: str, setup: ModelSetup | None = None) -> Outcome:
    """One combination: trained, and trained again from the checkpoint after the first step."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        after = _AfterFirst(Path(place) / "first.ckpt")
        vlm = load(folder, adapter, setup)
        before = weights(vlm)
        train(vlm, method, callbacks=[after])
        again = load(folder, adapter, setup)
        train(again, method, resume=after.path)
    return Outcome(
        family=family,
        adapter=adapter,
        method=method,
        learning=before.numel(),
        loss=after.loss,
        moved=float((weights(vlm) - before).abs().max()),
        resumed=float((weights(again) - weights(vlm)).abs().max()),
        seconds=time.perf_counter() - start,
    )


def outcomes(dtype: str = "float32") -> Iterator[Outcome]:
    """All combinations."""
    made = tiny_checkpoints()
    with tempfile.TemporaryDirectory() as place:
        for family in made.RECIPES:
            folder = made.tiny_checkpoint(family, Path(place) / family)
            for adapter, method in product(ADAPTERS, METHODS):
                yield examine(folder, family, adapter, method, ModelSetup(dtype=dtype))


def main(arguments: Sequence[str] | None = None) -> int:
    """Examines, prints and writes; 1 if something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=__doc__)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="default: float32")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "families.json")
    given = parser.parse_args(arguments)
    found = []
    for outcome in outcomes(given.dtype):
        found.append(outcome)
        said = "" if outcome.holds else "  DOES NOT HOLD"
        print(f"{outcome.family} {outcome.adapter} {outcome.method}: loss {outcome.loss:.3f}{said}", flush=True)
    facts = machine()
    facts["versions"] |= {name: version(name) for name in ("peft", "bitsandbytes")}
    results = {
        "kind": "families",
        "machine": facts,
        "settings": {"threads": 1, "steps": STEPS, "dtype": given.dtype},
        "outcomes": [{**asdict(one), "holds": one.holds} for one in found],
    }
    write(results, given.out)
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
