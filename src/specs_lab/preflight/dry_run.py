"""Two optimizer steps of each kind of training of a recipe, by the very code of its stages; results are dropped."""

from __future__ import annotations

import math
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from specs_lab.core.errors import UserError
from specs_lab.core.options import InvalidOption
from specs_lab.core.progress import Progress
from specs_lab.data.constructions.file import UserFile
from specs_lab.data.records import PairRecord, write_pairs
from specs_lab.evaluation.suites.base import Suite
from specs_lab.preflight.findings import Finding, size
from specs_lab.preflight.oracle import stated
from specs_lab.problems.tasks import ProblemSource, Task
from specs_lab.rewards.scoring import Asked, Helpers, Response, Score
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.stages.context import JobInfo, Study
from specs_lab.stages.graph import plan
from specs_lab.stages.options.recipe import Recipe, StageSpec
from specs_lab.stages.store import Store
from specs_lab.stages.study import JobResult, execute

STEPS = 2
_PAIRS = 2
_GROUP = 2
_ODD = re.compile(r"\b(?:nan|inf)\b")
_NOT_FINITE = "set model.dtype=float32 to see whether it is precision; check the model's weights"


@dataclass(kw_only=True)
class InTurn(WeightedReward):
    """A reward that is worked out as ever, and then replaced by 0 and 1 in turn, so that something is to be learnt."""

    def score(
        self,
        responses: Sequence[Response],
        asked: Sequence[Asked],
        helpers: Helpers | None = None,
        progress: float = 1.0,
    ) -> list[Score]:
        """As its base class."""
        scores = super().score(responses, asked, helpers, progress)
        return [replace(one, reward=float(i % 2), terms={}, shaping=frozenset()) for i, one in enumerate(scores)]


@dataclass(kw_only=True)
class OneTask(Suite):
    """A suite of one short answer."""

    def tasks(self, problems: ProblemSource) -> list[Task]:
        """The first training task of the first cell."""
        return [problems.draw_task(self.cells[0], "train", "dry run", 0)]


def dry_run(study: Study, tasks: Sequence[Task]) -> Iterator[Finding]:
    """Takes steps; a finding for each kind of training.

    Args:
        study: The study.
        tasks: Some tasks whose gold answers can be used, at least one.
    """
    cache = Path(study.paths.cache)
    cache.mkdir(parents=True, exist_ok=True)
    kinds = {stage.kind: stage for stage in plan(study)}
    for kind in ("coldstart", "rl"):
        if kind not in kinds:
            continue
        # On the same disk as the store: what does not fit here would not fit there.
        with tempfile.TemporaryDirectory(prefix="doctor-", dir=cache) as name:
            yield _dry_run(study, kind, kinds[kind].options, tasks, Path(name))


def _dry_run(study: Study, kind: str, options: dict[str, Any], tasks: Sequence[Task], folder: Path) -> Finding:
    check = f"dry run: {kind}"
    start = time.monotonic()
    notes: list[str] = []  # what each step says of its loss: the rows of a stage that fails are gone with it
    try:
        small = _small(study, kind, options, tasks, folder)
        with _peak_memory() as peak:
            job = JobInfo(folder=folder / "job", name="dry run")
            told = Progress(lambda event: notes.append(str(event.get("note", ""))))
            result = execute(small, job, told, Store(folder / "store"))
    except (UserError, InvalidOption) as error:
        said = "; ".join(f"{fault.where}: {fault.what}" for fault in error.faults)
        return Finding(check=check, level="fault", what=said, fix=error.faults[0].fix)
    except Exception as error:  # of any kind: a run would end with it, and the other checks have more to say
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        odd = [note for note in notes if _ODD.search(note)]
        if odd:
            return Finding(check=check, level="fault", what=f"not all finite: {odd[0]}, then {said}", fix=_NOT_FINITE)
        return Finding(check=check, level="fault", what=f"it failed: {said}", fix=_fix(error))
    return _judge(check, result, peak, time.monotonic() - start)


def _fix(error: Exception) -> str:
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "see what the check `memory` suggests"
    return "run the stage alone for the whole traceback; if the options are right, this is a bug"


def _judge(check: str, result: JobResult, peak: dict[str, int], seconds: float) -> Finding:
    from specs_lab.tracking.rows import read_rows

    rows = read_rows(result.stages["trained"].folder / "rows.csv")
    values = {name: rows[rows["metric"] == f"train/{name}"]["value"].tolist() for name in ("loss", "grad_norm")}
    figures = {**values, **peak, "seconds": round(seconds, 1)}
    if not values["loss"]:
        return Finding(
            check=check, level="warning", what="no update was made: there was nothing to learn", figures=figures
        )
    if not all(map(math.isfinite, [*values["loss"], *values["grad_norm"]])):
        what = f"losses {values['loss']} and gradient norms {values['grad_norm']} are not all finite"
        return Finding(check=check, level="fault", what=what, fix=_NOT_FINITE, figures=figures)
    if not min(values["grad_norm"]) > 0:
        what = f"gradient norms {values['grad_norm']}: nothing learns"
        return Finding(
            check=check, level="fault", what=what, fix="see which weights the options freeze", figures=figures
        )
    steps = ", ".join(f"{norm:.3g}" for norm in values["grad_norm"])
    most = ", ".join(f"{name.removesuffix('_bytes').replace('_', ' ')} {size(count)}" for name, count in peak.items())
    what = f"{len(values['loss'])} steps in {seconds:.0f} s; gradient norms {steps}; {most}"
    return Finding(check=check, level="ok", what=what, figures=figures)


# --- the small study ---


def _small(study: Study, kind: str, options: dict[str, Any], tasks: Sequence[Task], folder: Path) -> Study:
    """A study of the stage alone: on the same model, with the smallest batches."""
    cell = next(iter(study.problems.cells))
    suite = OneTask(cells=[cell], gf_id=cell, gf_ood=cell, max_new_tokens=8)
    # A judge or a frozen model would be asked in vain: what responses earn is not looked at.
    common = {"suite": suite, "logger": None, "adapter": options.get("adapter")}
    nodes = {**study.extra, **{name: value for name, value in common.items() if name in study.extra}}
    own = {name: value for name, value in common.items() if name not in study.extra and hasattr(study, name)}
    if kind == "rl":
        rl = replace(
            options["rl"],
            steps=STEPS,
            prompts_per_step=1,
            group_size=_GROUP,
            accuracy_low=0.0,
            accuracy_high=1.0,
            max_resamples=0,
            inner_updates=1,
            mask_truncated=False,
            log_every=1,
            buckets=[],
        )
        stages = {"base": StageSpec(kind="base"), "trained": StageSpec(kind="rl", inputs={"model": "base"})}
        reward = InTurn(terms=options["reward"].terms)
        return replace(study, recipe=Recipe(stages=stages), extra=nodes, **own, rl=rl, reward=reward)
    write_pairs(folder / "pairs.parquet", [_pair(task) for task in tasks[:_PAIRS]])
    cold = replace(options["coldstart"], steps=STEPS, batch_size=min(_PAIRS, len(tasks)), eval_every=STEPS)
    stages = {
        "base": StageSpec(kind="base"),
        "pairs": StageSpec(kind="construct"),
        "trained": StageSpec(kind="coldstart", inputs={"model": "base", "data": "pairs"}),
    }
    data = UserFile(path=str(folder / "pairs.parquet"))
    return replace(study, recipe=Recipe(stages=stages), extra=nodes, **own, coldstart=cold, data=data)


def _pair(task: Task) -> PairRecord:
    """A right answer in the requested form, and the same without any form."""
    answer = task.problem.answer
    chosen = stated(answer, task.instruction.format)
    return PairRecord(id=task.id, prompt=task.text, chosen=chosen, images=task.images, rejected=answer, cell=task.cell)


# --- memory ---


@contextmanager
def _peak_memory() -> Iterator[dict[str, int]]:
    """The most memory inside: of the GPU if there is one, and of this process in main memory."""
    import torch

    found: dict[str, int] = {}
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    yield found
    if torch.cuda.is_available():
        found["peak_of_gpu_bytes"] = torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1 << 10
    found["peak_of_process_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
