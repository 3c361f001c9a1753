"""Tasks by the number of tries that a model needs (R1-Searcher, arXiv 2503.05592)."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import Checks, option

UNSOLVED = "unsolved"
"""The bucket of tasks that no try solved."""


@option("select", "tries")
@dataclass(kw_only=True)
class SelectOptions:
    """Buckets of tasks.

    Attributes:
        tasks: How many tasks to look at.
        tries: Responses to each.
        most_tries: {bucket: the most tries that a task in it may need}; a task belongs to the first that fits.
        temperature: Of sampling.
        max_new_tokens: Longest response.
        mixture: Cells that tasks come from.
    """

    tasks: int = 256
    tries: int = 8
    most_tries: dict[str, int] = field(default_factory=lambda: {"easy": 1, "medium": 3, "hard": 8})
    temperature: float = 1.0
    max_new_tokens: int = 48
    mixture: list[str] = field(default_factory=lambda: ["id", "ood"])

    def __post_init__(self) -> None:
        checks = (
            Checks()
            .at_least("tasks", self.tasks, 1)
            .at_least("tries", self.tries, 1)
            .positive("temperature", self.temperature)
            .at_least("max_new_tokens", self.max_new_tokens, 1)
            .that(bool(self.mixture), "mixture", "no cell is named", "name at least one cell, e.g. [id]")
            .that(bool(self.most_tries), "most_tries", "there is no bucket", "name one, e.g. easy: 1")
            .that(UNSOLVED not in self.most_tries, "most_tries", f"'{UNSOLVED}' is taken", "give it another name")
        )
        limits = list(self.most_tries.values())
        rising = limits == sorted(set(limits)) and limits[-1:] == [self.tries] and limits[0] > 0
        fix = f"let the numbers rise from 1 or more, the last to tries = {self.tries}"
        checks.that(rising, "most_tries", f"{self.most_tries} leave out or repeat a number of tries", fix).done()

    @property
    def buckets(self) -> tuple[str, ...]:
        """The names of the buckets."""
        return (*self.most_tries, UNSOLVED)

    def bucket(self, tries: int) -> str:
        """The bucket of a task that so many tries solved."""
        return next(name for name, most in self.most_tries.items() if tries <= most)
