"""Stage `select`: how hard tasks are for a model, by how many tries it needs; RL may then choose among them.

R1-Searcher (arXiv 2503.05592) sorts its problems so: a task's difficulty is the number of the first try that is right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from specs_lab.data.selections.tries import UNSOLVED, SelectOptions
from specs_lab.data.task_lists import write_tasks
from specs_lab.data.workshop import Drawing
from specs_lab.problems.sources.procedural import Task, TaskRef, draw_mixed_task
from specs_lab.stages.common import load_model
from specs_lab.stages.construct import make_workshop
from specs_lab.stages.context import StageContext

_PROMPTS_AT_ONCE = 64


def run(context: StageContext) -> None:
    """Writes ``tasks.json``, each task in the bucket of its difficulty, and ``card.json`` (how many are in which)."""
    options: SelectOptions = context.options["select"]
    shop = make_workshop(context, {"model": load_model(context, "model")})
    drawing = Drawing(temperature=options.temperature, max_new_tokens=options.max_new_tokens)
    stream = f"select/{context.seed}{context.stream}"
    found: list[TaskRef] = []
    with context.progress.task(f"{context.name}: tasks", options.tasks) as advance:
        for start in range(0, options.tasks, _PROMPTS_AT_ONCE):
            indices = range(start, min(start + _PROMPTS_AT_ONCE, options.tasks))
            tasks = [draw_mixed_task(shop.problems, options.mixture, stream, index) for index in indices]
            shop.check_tasks(tasks)
            responses = shop.ask("model", "select", tasks, options.tries, drawing)
            found += [
                _sorted(task, shop.correct(task, texts), options) for task, texts in zip(tasks, responses, strict=True)
            ]
            advance(len(tasks))
    write_tasks(context.folder, found)
    counts = Counter(task.bucket for task in found)
    (context.folder / "card.json").write_text(json.dumps(dict(sorted(counts.items())), indent=2) + "\n")


def _sorted(task: Task, correct: Sequence[bool], options: SelectOptions) -> TaskRef:
    tries = correct.index(True) + 1 if True in correct else None
    bucket = UNSOLVED if tries is None else options.bucket(tries)
    return TaskRef(task.id, task.cell, bucket)
