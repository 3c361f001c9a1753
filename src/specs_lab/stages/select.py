"""Stage `select`: how hard tasks are for a model, by how many tries it needs; RL may then choose among them.

R1-Searcher (arXiv 2503.05592) sorts its problems so: a task's difficulty is the number of the first try that is right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial

from specs_lab.data.selections.tries import UNSOLVED, SelectOptions
from specs_lab.data.task_lists import write_tasks
from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.models.vlm import VLM
from specs_lab.problems.tasks import Task, TaskRef
from specs_lab.stages.common import load_model
from specs_lab.stages.construct import completions, make_workshop
from specs_lab.stages.context import StageContext

_PROMPTS_AT_ONCE = 64


def run(context: StageContext) -> None:
    """Writes ``tasks.json``, each task in the bucket of its difficulty, and ``card.json`` (how many are in which).

    A response that was cut is a try that failed.
    """
    options: SelectOptions = context.options["select"]
    vlm = load_model(context, "model")
    shop = make_workshop(context, {"model": vlm})
    drawing = Drawing(temperature=options.temperature, max_new_tokens=options.max_new_tokens)
    batch_size = context.options["trainer"].sample_batch_size
    stream = f"select/{context.seed}{context.stream}"
    found: list[TaskRef] = []
    with context.progress.task(f"{context.name}: tasks", options.tasks) as advance:
        for start in range(0, options.tasks, _PROMPTS_AT_ONCE):
            indices = range(start, min(start + _PROMPTS_AT_ONCE, options.tasks))
            tasks = [shop.problems.draw_mixed(options.mixture, stream, index) for index in indices]
            shop.check_tasks(tasks)
            questions = [shop.question(task, "select") for task in tasks]
            ask = partial(_tries, vlm, questions, options.tries, drawing, batch_size)
            tried = shop.recall(str(start), ask)
            found += [_sorted(task, _right(shop, task, made), options) for task, made in zip(tasks, tried, strict=True)]
            advance(len(tasks))
    write_tasks(context.folder, found)
    counts = Counter(task.bucket for task in found)
    (context.folder / "card.json").write_text(json.dumps(dict(sorted(counts.items())), indent=2) + "\n")


def _tries(
    vlm: VLM, questions: Sequence[Question], count: int, drawing: Drawing, batch_size: int
) -> list[list[tuple[str, bool]]]:
    """(response, whether it was cut) for each try at each question."""
    made = completions(vlm, questions, count, drawing, batch_size)
    return [[(vlm.decode(one.token_ids), one.truncated) for one in group] for group in made]


def _right(shop: Workshop, task: Task, tries: Sequence[tuple[str, bool]]) -> list[bool]:
    """Whether each try ended by itself and is right."""
    correct = shop.correct(task, [text for text, _ in tries])
    return [right and not cut for right, (_, cut) in zip(correct, tries, strict=True)]


def _sorted(task: Task, correct: Sequence[bool], options: SelectOptions) -> TaskRef:
    tries = correct.index(True) + 1 if True in correct else None
    bucket = UNSOLVED if tries is None else options.bucket(tries)
    return TaskRef(task.id, task.cell, bucket)
