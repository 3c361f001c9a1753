"""Several devices: what they send each other, what each of them holds, what is left idle."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from specs_lab.preflight.loads import FLOAT, Decoding, Estimate, Pass, Setup
from specs_lab.preflight.memory import estimate, trainable_parameters
from specs_lab.preflight.shapes import ModelShape
from specs_lab.scaling.efficiency import Efficiency
from specs_lab.scaling.hardware import Hardware

STRATEGIES = ("single", "ddp", "fsdp2")
ENGINES = ("inprocess", "vllm")
SHARDED = ("weights", "adapter", "optimizer states", "reference copy")
_GATHERED_LAYERS = 2
"""Layers that FSDP holds whole at once: the one that is run and the next."""
_SENDS_FORWARD_AND_BACKWARD = 2


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Devices that work on one study.

    Attributes:
        hardware: What they are.
        gpus: How many.
        strategy: One of :data:`STRATEGIES`.
        engine: What samples: one of :data:`ENGINES`.
    """

    hardware: Hardware
    gpus: int = 1
    strategy: str = "single"
    engine: str = "inprocess"

    @property
    def here(self) -> int:
        """Devices of a machine that take part."""
        return min(self.gpus, self.hardware.per_node)

    @property
    def nodes(self) -> int:
        """Machines."""
        return math.ceil(self.gpus / self.hardware.per_node)

    @property
    def hops(self) -> int:
        """Messages one after the other in a ring within machines and one across them."""
        return self.here - 1 + self.nodes - 1


def gather_seconds(cluster: Cluster, size: float, efficiency: Efficiency, messages: int = 1) -> float:
    """An all-gather or a reduce-scatter, hierarchically: within each machine, and across them over all their links.

    Args:
        cluster: The devices.
        size: Bytes of the whole.
        efficiency: Share of the links that is reached, and latency.
        messages: Into how many it is divided.
    """
    if cluster.gpus == 1:
        return 0.0
    inside = size * (cluster.here - 1) / cluster.here / cluster.hardware.link
    across = size * (cluster.nodes - 1) / cluster.nodes / (cluster.here * cluster.hardware.network)
    return max(inside, across) / efficiency.network + messages * cluster.hops * efficiency.latency_s


def step_bytes(shape: ModelShape, setup: Setup, cluster: Cluster, passes: int = 1) -> dict[str, float]:
    """Bytes of the whole that collectives move in an update: gathered weights, scattered and reduced gradients.

    DDP sums gradients once; FSDP gathers weights for each forward and each backward pass, and scatters gradients.
    """
    gradients = FLOAT * trainable_parameters(shape, setup)
    if cluster.gpus == 1 or cluster.strategy == "single":
        return {"gathered": 0.0, "scattered": 0.0, "reduced": 0.0}
    if cluster.strategy == "ddp":
        return {"gathered": 0.0, "scattered": 0.0, "reduced": gradients}
    gathered = _SENDS_FORWARD_AND_BACKWARD * passes * setup.element * shape.text_parameters
    return {"gathered": gathered, "scattered": float(passes * gradients), "reduced": 0.0}


def exchange_seconds(
    shape: ModelShape, setup: Setup, cluster: Cluster, efficiency: Efficiency, passes: int = 1
) -> float:
    """Seconds that an update's collectives take, hidden or not."""
    moved, layers = step_bytes(shape, setup, cluster, passes), shape.text.count
    gathered = gather_seconds(cluster, moved["gathered"], efficiency, 2 * layers * passes) if moved["gathered"] else 0.0
    scattered = gather_seconds(cluster, moved["scattered"], efficiency, layers * passes) if moved["scattered"] else 0.0
    # An all-reduce is a reduce-scatter and an all-gather.
    reduced = 2 * gather_seconds(cluster, moved["reduced"], efficiency) if moved["reduced"] else 0.0
    return gathered + scattered + reduced


def exposed(cluster: Cluster, exchange: float, computing: float, efficiency: Efficiency) -> float:
    """What of an exchange computing does not hide; DDP's comes when all computing is done."""
    hidden = efficiency.overlap * min(exchange, computing) if cluster.strategy == "fsdp2" else 0.0
    return exchange - hidden


def share(items: int, cluster: Cluster) -> tuple[int, float]:
    """Items of the busiest device when each takes every so-manieth, and the share of all devices' time that is used."""
    most = math.ceil(items / cluster.gpus)
    return most, items / (cluster.gpus * most)


def straggling(rows: float, cluster: Cluster, efficiency: Efficiency) -> float:
    """By how much the slowest device's work exceeds the mean, as rows are of unequal length.

    The expected maximum of n means of ``rows`` lengths, taken as normal: spread * sqrt(2 ln n / rows).
    """
    if cluster.gpus == 1:
        return 0.0
    return efficiency.spread * math.sqrt(2 * math.log(cluster.gpus) / max(1.0, rows))


# --- memory ---


def memory(
    shape: ModelShape,
    setup: Setup,
    cluster: Cluster,
    training: Pass | None = None,
    sampling: Decoding | None = None,
    *,
    whole: bool = False,
) -> Estimate:
    """What one device holds: the preflight's estimate, of which FSDP divides weights, gradients and states.

    Args:
        shape: The model.
        setup: How it is held.
        cluster: The devices.
        training: The largest micro-batch of a device.
        sampling: The largest batch of responses of a device.
        whole: Whether FSDP's sampling holds a gathered copy of the weights; otherwise they are gathered layer by layer.
    """
    alone = estimate(shape, setup, training, sampling)
    if cluster.strategy != "fsdp2" or cluster.gpus == 1:
        return alone
    held = {name: size // (cluster.gpus if name in SHARDED else 1) for name, size in alone.held.items()}
    layer = shape.text.parameters // max(1, shape.text.count)
    gathered = setup.element * (_GATHERED_LAYERS * layer + shape.embedding_parameters)

    def divided(parts: dict[str, int]) -> dict[str, int]:
        parts = {name: size // (cluster.gpus if name == "gradients" else 1) for name, size in parts.items()}
        parts.pop("half-precision copies of weights", None)
        return parts

    of_training = divided(dict(alone.training))
    if of_training:
        of_training["gathered layers"] = gathered + FLOAT * layer  # its gradient, before it is scattered
    of_sampling = divided(dict(alone.sampling))
    if of_sampling:
        of_sampling["gathered weights"] = setup.element * shape.parameters if whole else gathered
    return Estimate(held, of_training, of_sampling)


def tensor_parallel(shape: ModelShape, cluster: Cluster, setup: Setup, room: float) -> int:
    """Devices that an engine needs to hold the model in half precision, a power of two; 0 if all are too few.

    Args:
        shape: The model.
        cluster: The devices.
        setup: How it is held.
        room: Share of a device's memory for weights.
    """
    size = replace(setup, adapter=None).element * shape.parameters
    count = 1
    while count <= cluster.here:
        if size / count <= room * cluster.hardware.memory:
            return count
        count *= 2
    return 0
