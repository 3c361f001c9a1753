"""What a construction is, and how all of those that start from tasks make a pair.

A construction drafts the chosen side of each task; the rejected side is the same for all of them (SPECS, arXiv
2510.25801): a response of the base model whose form is spoilt, or was never right. So any construction serves any cold
start, and ablations of the chosen side change nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from specs_lab.core.options import Checks
from specs_lab.core.seeding import python_rng
from specs_lab.data.records import PairRecord
from specs_lab.data.text import AND, POLLUTERS, pollute, read
from specs_lab.data.workshop import Drawing, Workshop
from specs_lab.problems.tasks import Task, TaskRef
from specs_lab.rewards.format import follows

OWN, POLLUTED, NONE = "own", "polluted", "none"
REJECTED_FORMS = (POLLUTED, OWN, NONE)
KEPT = "cold"
"""The bucket of tasks that pairs are made of."""
_PROMPTS_AT_ONCE = 64
_SAMPLES = 4

Report = Callable[[int], None]


@dataclass(kw_only=True)
class Construction(ABC):
    """Makes the data of a cold start; a subclass under ``@option("data", …)`` says how.

    Attributes:
        pairs: How many pairs to make.
    """

    pairs: int = 256

    def reads(self) -> tuple[str, ...]:
        """The model inputs that it asks, of ``self``, ``base`` and ``teacher``."""
        return ()

    @property
    def makes_rejected(self) -> bool:
        """Whether its pairs have a rejected side; without, they serve SFT only."""
        return True

    @property
    def buckets(self) -> tuple[str, ...]:
        """What its tasks are put into; RL may choose among them."""
        return (KEPT,)

    @abstractmethod
    def records(self, shop: Workshop, report: Report = lambda _: None) -> list[PairRecord]:
        """Makes the pairs, as many as were asked for or can be had; ``shop.counts`` says what was dropped, and why.

        Args:
            shop: What it works with.
            report: Called with the number of new pairs.
        """

    def checks(self) -> Checks:
        """The checks of all settings; subclasses add their own."""
        return Checks().at_least("pairs", self.pairs, 1)

    def __post_init__(self) -> None:
        self.checks().done()


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The chosen side of a task.

    Attributes:
        text: The response, in the requested format.
        source: Who said it.
        supplemented: Whether its form had to be completed.
        bucket: ``cold`` if it goes into the pairs; otherwise what the task is put aside for.
    """

    text: str
    source: str
    supplemented: bool = False
    bucket: str = KEPT


def _all_alike() -> dict[str, float]:
    return dict.fromkeys(POLLUTERS, 1.0)


@dataclass(kw_only=True)
class FromTasks(Construction):
    """Pairs whose chosen side is drafted task by task.

    Attributes:
        coupling: ``decoupled``: both sides answer correctly and differ in form only. ``coupled``: the rejected side
            answers wrongly as well. The base model's response is judged before its form is spoilt: of some pollutions
            (``no_tags``) no grader could tell the answer any more.
        rejected_form: ``polluted`` (the paper's way): its form is spoilt in one of the ways of ``pollutions``. ``own``:
            it stays as the base model wrote it, and only responses that miss the format by themselves are used.
            ``none``: there is no rejected side, which is enough for SFT.
        pollutions: Relative weight of each way of spoiling the rejected side's form; ``a+b`` does both.
        rejected_samples: Responses sampled from the base model for one prompt.
        max_prompts_per_pair: Give up when more prompts than this, per wanted pair, have been tried.
        temperature: Of sampling.
        max_new_tokens: Longest response.
        mixture: Cells that prompts come from.
    """

    coupling: str = "decoupled"
    rejected_form: str = POLLUTED
    pollutions: dict[str, float] = field(default_factory=_all_alike)
    rejected_samples: int = _SAMPLES
    max_prompts_per_pair: int = 8
    temperature: float = 1.0
    max_new_tokens: int = 48
    mixture: list[str] = field(default_factory=lambda: ["id"])

    def checks(self) -> Checks:
        """The checks of all settings."""
        idle = f"is not used with rejected_form={self.rejected_form}"
        unused = self.rejected_form != POLLUTED and self.pollutions != _all_alike()
        checks = (
            super()
            .checks()
            .one_of("coupling", self.coupling, ("decoupled", "coupled"))
            .one_of("rejected_form", self.rejected_form, REJECTED_FORMS)
            .that(not unused, "pollutions", idle, "leave it out")
            .that(self.makes_rejected or self.coupling == "decoupled", "coupling", idle, "leave it out")
            .that(self.makes_rejected or self.rejected_samples == _SAMPLES, "rejected_samples", idle, "leave it out")
            .at_least("rejected_samples", self.rejected_samples, 1)
            .at_least("max_prompts_per_pair", self.max_prompts_per_pair, 1)
            .positive("temperature", self.temperature)
            .at_least("max_new_tokens", self.max_new_tokens, 1)
            .that(bool(self.mixture), "mixture", "no cell is named", "name at least one cell, e.g. [id]")
            .that(
                sum(self.pollutions.values()) > 0,
                "pollutions",
                "no pollution has a weight",
                f"give a weight > 0 to one of: {', '.join(POLLUTERS)}",
            )
        )
        for name, weight in self.pollutions.items():
            for part in name.split(AND):
                checks.one_of("pollutions", part, tuple(POLLUTERS))
            checks.at_least(f"pollutions.{name}", weight, 0)
        return checks

    @property
    def makes_rejected(self) -> bool:
        """Whether its pairs have a rejected side."""
        return self.rejected_form != NONE

    def reads(self) -> tuple[str, ...]:
        """The base model, for rejected sides."""
        return ("base",) if self.makes_rejected else ()

    @property
    def drawing(self) -> Drawing:
        """How responses are drawn."""
        return Drawing(temperature=self.temperature, max_new_tokens=self.max_new_tokens)

    @abstractmethod
    def drafts(self, tasks: Sequence[Task], shop: Workshop) -> list[Draft | None]:
        """The chosen side of each task; None where there is none, which is counted with its reason."""

    def enough(self, made: int, shop: Workshop) -> bool:
        """Whether enough has been made."""
        return made >= self.pairs

    def records(self, shop: Workshop, report: Report = lambda _: None) -> list[PairRecord]:
        """Makes pairs until there are enough or too many prompts have been tried."""
        made: list[PairRecord] = []
        for tasks in self._batches(shop):
            shop.check_tasks(tasks)
            shop.counts["prompts"] += len(tasks)
            kept: list[tuple[Task, Draft]] = []
            for task, draft in zip(tasks, self.drafts(tasks, shop), strict=True):
                if draft is None:
                    shop.counts["no_chosen"] += 1
                elif draft.bucket != KEPT:
                    shop.counts[f"bucket/{draft.bucket}"] += 1
                    shop.others.append(TaskRef(task.id, task.cell, draft.bucket))
                else:
                    kept.append((task, draft))
            usable, missing = self._paired(kept, shop), max(self.pairs - len(made), 0)
            pairs = usable[:missing]
            shop.counts["surplus"] += len(usable) - len(pairs)  # prompts are tried many at once
            self._count(pairs, shop)
            made += pairs
            report(len(pairs))
            if self.enough(len(made), shop):
                break
        return made

    def _batches(self, shop: Workshop) -> Iterator[list[Task]]:
        stream, most = f"pairs/{shop.seed}{shop.stream}", self.pairs * self.max_prompts_per_pair
        size = min(_PROMPTS_AT_ONCE, 2 * self.pairs)
        for start in range(0, most, size):
            indices = range(start, min(start + size, most))
            yield [shop.problems.draw_mixed(self.mixture, stream, index) for index in indices]

    def _paired(self, kept: Sequence[tuple[Task, Draft]], shop: Workshop) -> list[PairRecord]:
        """Pairs of drafts with rejected sides."""
        if not self.makes_rejected:
            return [_record(task, draft) for task, draft in kept]
        tasks = [task for task, _ in kept]
        responses = shop.ask("base", "rejected", tasks, self.rejected_samples, self.drawing)
        pairs = []
        for (task, draft), texts in zip(kept, responses, strict=True):
            rejected = self._reject(task, texts, shop)
            if rejected is None:
                shop.counts["no_rejected"] += 1
            else:
                pairs.append(_record(task, draft, **rejected))
        return pairs

    def _reject(self, task: Task, responses: Sequence[str], shop: Workshop) -> dict[str, Any] | None:
        """The first usable response as the rejected side, as fields of a record."""
        for response, correct in zip(responses, shop.correct(task, responses), strict=True):
            parts = read(response)
            if parts is None or correct != (self.coupling == "decoupled"):
                continue
            said = {"rejected_format": False, "rejected_correct": correct}
            if self.rejected_form == POLLUTED:
                names = sorted(self.pollutions)
                rng = python_rng("pollution", shop.seed, task.id)
                name = rng.choices(names, [self.pollutions[name] for name in names])[0]
                return {"rejected": pollute(name, *parts, task.instruction.format), "pollution": name, **said}
            if not follows(response, task.instruction.format):
                return {"rejected": response, "pollution": OWN, **said}
        return None

    @staticmethod
    def _count(pairs: Sequence[PairRecord], shop: Workshop) -> None:
        for pair in pairs:
            shop.counts["supplemented"] += pair.supplemented
            if pair.pollution:
                shop.counts[f"pollution/{pair.pollution}"] += 1


def _record(task: Task, draft: Draft, **rejected: Any) -> PairRecord:
    problem = task.problem
    return PairRecord(
        id=task.id,
        cell=task.cell,
        family=problem.family,
        images=task.images,
        prompt=task.text,
        chosen=draft.text,
        answer=problem.answer,
        source=draft.source,
        supplemented=draft.supplemented,
        **rejected,
    )
