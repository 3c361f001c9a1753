"""Checks gold answers before anything is trained on them: one that cannot be read would reward nobody, or anybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from specs_lab.core.errors import Fault, UserError
from specs_lab.rewards.extraction import answer_in
from specs_lab.rewards.grader import Gold, read_gold, terms_of
from specs_lab.rewards.isolation.workers import shared_pool
from specs_lab.rewards.scoring import Asked

_AT_ONCE = 256


@dataclass(frozen=True)
class GoldFault:
    """A gold answer that cannot be used.

    Attributes:
        id: Name of the task.
        what: What is wrong with its gold answer.
    """

    id: str
    what: str


@dataclass
class GoldReport:
    """What became of gold answers.

    Attributes:
        kinds: How many there are of each type.
        inferred: How many of these types were told from the answer, as the data do not say it.
        faults: Those that cannot be used.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    inferred: Counter[str] = field(default_factory=Counter)
    faults: list[GoldFault] = field(default_factory=list)

    @property
    def checked(self) -> int:
        """How many there are."""
        return sum(self.kinds.values()) + len(self.faults)


def check_golds(asked: Iterable[Asked], report: Callable[[int], None] = lambda _: None) -> GoldReport:
    """Reads gold answers, and has the computer algebra system read those that it will have to compare.

    Args:
        asked: The tasks; an endless stream is none of this function's business.
        report: Told how many more have been checked.
    """
    result = GoldReport()
    some: list[Asked] = []
    for one in asked:
        some.append(one)
        if len(some) == _AT_ONCE:
            _check(some, result)
            report(len(some))
            some = []
    _check(some, result)
    report(len(some))
    return result


def _check(asked: list[Asked], result: GoldReport) -> None:
    read: list[tuple[Asked, Gold]] = []
    for one in asked:
        try:
            gold = read_gold(one.gold, one.kind, terms_of(one.choices, one.precision, one.unit, one.question))
        except UserError as error:
            result.faults += [GoldFault(one.id, fault.what) for fault in error.faults]
            continue
        stated = answer_in(f"<answer>{one.gold}</answer>")
        if stated is None or gold.kind.read(stated, gold.form, gold.terms) is None:
            result.faults.append(GoldFault(one.id, f"{one.gold[:200]!r} is not understood when a response states it"))
        else:
            read.append((one, gold))
    requests = [(one, gold, request) for one, gold in read for request in gold.kind.gold_requests(gold.form)]
    replies = shared_pool().ask_many([request for *_, request in requests]) if requests else []
    unread = set()
    for (one, _, _), reply in zip(requests, replies, strict=True):
        value = reply.value or {}
        if reply.status != "done" or not value.get("parses"):
            why = value.get("reason") or reply.status
            unread.add(id(one))
            result.faults.append(GoldFault(one.id, f"{one.gold[:200]!r} cannot be compared: {why}"))
    for one, gold in read:
        if id(one) not in unread:
            result.kinds[gold.name] += 1
            result.inferred[gold.name] += one.kind is None


def gold_faults(report: GoldReport, where: str, named: int = 20) -> list[Fault]:
    """The faults of a report, for a :class:`UserError`; at most so many are named, the rest is counted."""
    fix = "correct the data, or its answer type"
    faults = [Fault(f"{where}: gold answer of {fault.id}", fault.what, fix) for fault in report.faults[:named]]
    if len(report.faults) > named:
        more = len(report.faults) - named
        faults.append(Fault(where, f"{more} more gold answers cannot be used", "`specs-lab doctor` lists them"))
    return faults
