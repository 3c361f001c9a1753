"""A study on a number of devices: which strategy it needs, what it costs, how far it scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from specs_lab.scaling.cluster import Cluster
from specs_lab.scaling.efficiency import ASSUMED, Efficiency
from specs_lab.scaling.hardware import Hardware
from specs_lab.scaling.loads import StageLoad
from specs_lab.scaling.prediction import StageCost, predict, predict_all

AUTO = "auto"
_WORTH = 0.5
"""Share of the GPU-hours of the fewest devices that fit, below which more devices are called not worth it."""
_MOST = 4096


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study on a cluster.

    Attributes:
        cluster: The devices, with the strategy that was chosen.
        costs: Of each stage.
        scenarios: Names of the sets of efficiencies.
    """

    cluster: Cluster
    costs: Sequence[StageCost]
    scenarios: Sequence[str]

    @property
    def fits(self) -> bool:
        """Whether every stage does."""
        return all(cost.found.fits for cost in self.costs)

    def hours(self, scenario: str) -> float:
        """Wall time of all stages, one after the other."""
        return sum(cost.seconds(scenario) for cost in self.costs) / 3600

    def gpu_hours(self, scenario: str) -> float:
        """Devices times hours."""
        return self.cluster.gpus * self.hours(scenario)

    def busy(self, scenario: str) -> float:
        """Share of all devices' time in which they have something to work on, weighted by the time of stages.

        What one process does while others wait counts for one.
        """
        used = sum(_used(cost, scenario) for cost in self.costs)
        return used / sum(cost.seconds(scenario) for cost in self.costs)


def _used(cost: StageCost, scenario: str) -> float:
    """Seconds of a stage, weighted by the share of devices that work."""
    alone = 1 / cost.gpus
    return sum(
        part.total * (cost.busy if name in ("rollout", "training") else alone)
        for name, part in cost.parts[scenario].items()
    )


def scenarios_of(
    response_tokens: float | None = None, efficiencies: Mapping[str, Efficiency] = ASSUMED
) -> dict[str, Efficiency]:
    """The assumed efficiencies; with a mean length of responses, each keeps its ratio to the central one's."""
    if response_tokens is None:
        return dict(efficiencies)
    central = efficiencies["central"].response_tokens
    return {
        name: replace(one, response_tokens=one.response_tokens * response_tokens / central)
        for name, one in efficiencies.items()
    }


def plan_on(
    loads: Sequence[StageLoad],
    hardware: Hardware,
    gpus: int,
    *,
    strategy: str = AUTO,
    engine: str = "inprocess",
    efficiencies: Mapping[str, Efficiency] = ASSUMED,
) -> Plan:
    """A study on so many devices.

    Args:
        loads: Its stages.
        hardware: The kind of device.
        gpus: How many.
        strategy: One of :data:`specs_lab.scaling.cluster.STRATEGIES`; ``auto``: the simplest under which all fits.
        engine: What samples.
        efficiencies: By name.
    """
    tried = [strategy] if strategy != AUTO else ["single"] if gpus == 1 else ["ddp", "fsdp2"]
    found: Plan | None = None
    for name in tried:
        cluster = Cluster(hardware=hardware, gpus=gpus, strategy=name, engine=engine)
        found = Plan(cluster=cluster, costs=predict_all(loads, cluster, efficiencies), scenarios=tuple(efficiencies))
        if found.fits:
            break
    if found is None:
        raise ValueError("no strategy was tried")
    return found


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far a stage of training scales, under the central efficiencies.

    Attributes:
        fewest: Devices under which it fits; 0: none of those that were tried.
        worth: Most devices, a power of two, that take at most twice the GPU-hours of the fewest.
        batch: Devices beyond which some have no prompt in a step.
        communication: Fewest devices whose exchange takes longer than their training computes; 0: none that were tried.
    """

    fewest: int
    worth: int
    batch: int
    communication: int


def reach(load: StageLoad, hardware: Hardware, *, engine: str, efficiency: Efficiency) -> Reach:
    """How far a stage scales under FSDP, in powers of two."""
    fewest = worth = communication = 0
    least = 0.0
    gpus = 1
    while gpus <= _MOST:
        strategy = "single" if gpus == 1 else "fsdp2"
        cluster = Cluster(hardware=hardware, gpus=gpus, strategy=strategy, engine=engine)
        cost = predict(load, cluster, {"central": efficiency})
        if cost.found.fits:
            hours, training = cost.gpu_hours("central"), cost.parts["central"]["training"]
            fewest, least = (fewest, least) if fewest else (gpus, hours)
            worth = gpus if least / hours >= _WORTH else worth
            if not communication and training.communication > training.compute + training.memory:
                communication = gpus
        gpus *= 2
    return Reach(fewest=fewest, worth=worth, batch=load.batch, communication=communication)


def as_data(plan: Plan) -> dict[str, Any]:
    """A plan as plain data, for JSON."""
    return {
        "hardware": plan.cluster.hardware.name,
        "gpus": plan.cluster.gpus,
        "strategy": plan.cluster.strategy,
        "engine": plan.cluster.engine,
        "fits": plan.fits,
        "hours": {name: plan.hours(name) for name in plan.scenarios} if plan.fits else None,
        "gpu_hours": {name: plan.gpu_hours(name) for name in plan.scenarios} if plan.fits else None,
        "busy": plan.busy("central") if plan.fits and "central" in plan.scenarios else None,
        "stages": [_stage_data(cost, plan.scenarios) for cost in plan.costs],
    }


def _stage_data(cost: StageCost, scenarios: Sequence[str]) -> dict[str, Any]:
    fits = cost.found.fits
    return {
        "stage": cost.load.name,
        "kind": cost.load.kind,
        "method": cost.load.method,
        "flops": cost.flops,
        "sent_bytes": dict(cost.sent),
        "sampled_tokens": cost.sampled,
        "memory_bytes": cost.found.memory.peak,
        "memory_parts": dict(cost.found.memory.parts),
        "fits": fits,
        "side_by_side": cost.load.sample_batch_size,
        "micro_batch_tokens": cost.load.micro_batch_tokens,
        "tensor_parallel": cost.found.sharing,
        "busy": cost.busy,
        "limit": cost.limit if fits else None,
        "seconds": {name: cost.seconds(name) for name in scenarios} if fits else None,
        "gpu_hours": {name: cost.gpu_hours(name) for name in scenarios} if fits else None,
        "parts": {name: {part: dict(vars(seconds)) for part, seconds in cost.parts[name].items()} for name in scenarios}
        if fits
        else None,
    }
