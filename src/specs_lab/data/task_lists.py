"""Lists of tasks on disk, by name: what a stage leaves to RL of the tasks that it looked at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from specs_lab.core.errors import Fault, UserError
from specs_lab.problems.tasks import ProblemSource, Task, TaskRef

FILE = "tasks.json"


def write_tasks(folder: Path, tasks: Sequence[TaskRef]) -> None:
    """Writes a list of tasks into a folder."""
    rows = [{"id": task.id, "cell": task.cell, "bucket": task.bucket} for task in tasks]
    (folder / FILE).write_text(json.dumps({"tasks": rows}, indent=0) + "\n", encoding="utf-8")


def read_tasks(folder: Path, problems: ProblemSource, buckets: Sequence[str] = ()) -> list[Task]:
    """The tasks of a list.

    Args:
        folder: Where it lies.
        problems: Where the tasks come from.
        buckets: Only tasks of these buckets; all if none is named.

    Raises:
        UserError: If there is no list, or nothing in the buckets.
    """
    path = folder / FILE
    if not path.is_file():
        what = "there is no list of tasks: the data do not come from this study's problems"
        raise UserError([Fault(str(path), what, "leave the input `tasks` out, or choose other data")])
    rows = json.loads(path.read_text(encoding="utf-8"))["tasks"]
    found = [problems.redraw(TaskRef(**row)) for row in rows if not buckets or row["bucket"] in buckets]
    if not found:
        filled = Counter(row["bucket"] for row in rows)
        what = f"no task is in {' or '.join(buckets) or 'it'}; there are {dict(filled)}"
        raise UserError(
            [
                Fault(
                    str(path),
                    what,
                    "look at more tasks (select.tasks, data.pairs, data.rl_tasks), or take other buckets",
                )
            ]
        )
    return found
