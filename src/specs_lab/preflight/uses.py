"""What a study trains on and is measured by: the tasks of each use, as the stages will draw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from specs_lab.data.constructions.base import FromTasks
from specs_lab.problems.tasks import Task
from specs_lab.stages.context import Study
from specs_lab.stages.scoring import rl_stream


@dataclass(frozen=True)
class Use:
    """A use of problems.

    Attributes:
        name: What they are used for, with the cells that they come from.
        count: How many are drawn; None if that is known only once they are.
        draw: Draws them.
        new_tokens: Longest response to them.
        suite: The suite, if they are measured by one.
        reward: What responses to them earn, if they are trained on by RL.
    """

    name: str
    count: int | None
    draw: Callable[[], Iterator[Task]]
    new_tokens: int
    suite: Any = None
    reward: Any = None


def uses(study: Study, most: int | None = None) -> Iterator[Use]:
    """The uses of a study.

    Drawn from the cells that the options name, as stages draw them that are given no list of tasks; every stage checks
    the answers that it really uses before it begins.

    Args:
        study: The study.
        most: At most so many tasks of each; None: all.
    """

    def drawn(mixture: Sequence[str], stream: str, count: int) -> Callable[[], Iterator[Task]]:
        return lambda: (study.problems.draw_mixed(mixture, stream, index) for index in range(count))

    def limited(count: int) -> int:
        return min(count, most or count)

    for role in ("rl", "zero"):
        if (rl := getattr(study, role)) is not None:
            count = limited(rl.steps * rl.prompts_per_step)
            stream = rl_stream(study.seed, rl.mixture)
            name = f"{role} ({', '.join(rl.mixture)})"
            yield Use(name, count, drawn(rl.mixture, stream, count), rl.max_new_tokens, reward=study.reward)
    data = study.data
    if isinstance(data, FromTasks):  # a pair needs at least one prompt; how many more is not known beforehand
        count = limited(data.pairs)
        name = f"data ({', '.join(data.mixture)})"
        yield Use(name, count, drawn(data.mixture, f"pairs/{study.seed}", count), data.max_new_tokens)
    suite = study.suite
    if suite is not None:
        yield Use("suite", None, lambda: _spread(suite.tasks(study.problems), most), suite.max_new_tokens, suite=suite)


def _spread(tasks: Sequence[Task], most: int | None) -> Iterator[Task]:
    """At most so many of the tasks, from all over the list, so that every cell has its share."""
    count = min(len(tasks), most or len(tasks))
    return (tasks[place * len(tasks) // count] for place in range(count))
