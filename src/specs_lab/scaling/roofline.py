"""From work to seconds on one device: products are bound by computing or by reading weights, the rest by bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from specs_lab.scaling.efficiency import Efficiency
from specs_lab.scaling.hardware import Hardware
from specs_lab.scaling.work import Work


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What a device spends its time on.

    Attributes:
        compute: Matrix products, where computing is what they wait for.
        memory: Bytes, where these are what is waited for.
        overhead: Everything that does not depend on the device's peak.
        communication: Exchanged with others and not hidden.
        waiting: Waiting for the slowest.
    """

    compute: float = 0.0
    memory: float = 0.0
    overhead: float = 0.0
    communication: float = 0.0
    waiting: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.compute + self.memory + self.overhead + self.communication + self.waiting

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def times(self, count: float) -> Seconds:
        """As much, so many times."""
        return Seconds(**{name: count * value for name, value in vars(self).items()})

    @property
    def limit(self) -> str:
        """What most of it is."""
        return max(vars(self), key=lambda name: vars(self)[name])


def seconds_of(work: Work, hardware: Hardware, efficiency: Efficiency) -> Seconds:
    """The seconds of some work on one device."""
    rate = hardware.bandwidth * efficiency.mbu
    share = efficiency.mfu * (work.width / (work.width + efficiency.narrow) if efficiency.narrow else 1.0)
    products = work.flops / (hardware.flops * share) if work.flops else 0.0
    reading = (work.weights + work.cache) / rate
    rest = (efficiency.elementwise * work.moved + work.states) / rate
    bound = products >= reading
    return Seconds(
        compute=products if bound else 0.0,
        memory=rest + (0.0 if bound else reading),
        overhead=efficiency.launch_s * work.launches,
    )


def seconds_of_steps(steps: Iterable[tuple[float, Work]], hardware: Hardware, efficiency: Efficiency) -> Seconds:
    """The seconds of steps that come one after the other, given as (how many, work of each)."""
    total = Seconds()
    for count, work in steps:
        total += seconds_of(work, hardware, efficiency).times(count)
    return total
