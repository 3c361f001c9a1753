"""Making a stage fit a device: smaller batches, which change no result, before anything is called too large."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from specs_lab.preflight.loads import Decoding, Estimate, Pass
from specs_lab.scaling.cluster import Cluster, memory, share, tensor_parallel
from specs_lab.scaling.loads import StageLoad
from specs_lab.scaling.rollouts import Rollout, cache_bytes

ROOM = 0.92
"""Share of a device's memory that is used: allocators fragment, libraries take some."""
ENGINE_ROOM = 0.5
"""Share of the memory that an engine's weights may take beside training on the same device."""
_LEAST_ROWS, _LEAST_TOKENS = 8, 2048


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A stage as it is run.

    Attributes:
        load: The stage, with batches that fit where that can be.
        memory: Of a device.
        fits: Whether that is less than there is.
        whole: Whether FSDP's sampling holds a gathered copy of the weights.
        sharing: Devices that hold the sampling model together; 0: no engine can hold it.
    """

    load: StageLoad
    memory: Estimate
    fits: bool
    whole: bool = True
    sharing: int = 1


def fitted(load: StageLoad, cluster: Cluster) -> Fitted:
    """Halves batches of responses, then micro-batches, until a stage fits; longest responses are reckoned with.

    Args:
        load: The stage.
        cluster: The devices; stages without training use one of them.
    """
    alone = cluster if load.steps else replace(cluster, gpus=1, strategy="single")
    sharing = 1
    if cluster.engine == "vllm" and (load.method == "grpo" or load.asked):
        sharing = tensor_parallel(load.shape, cluster, load.setup, ENGINE_ROOM if load.steps else 0.8 * ROOM)
    for whole in (True, False):
        found = _shrunken(load, alone, whole, sharing, cluster.engine == "vllm")
        if found.fits or alone.strategy != "fsdp2" or not _samples(load):
            return found
    return found


def _samples(load: StageLoad) -> bool:
    return load.method == "grpo" or bool(load.asked)


def _shrunken(load: StageLoad, cluster: Cluster, whole: bool, sharing: int, engine: bool) -> Fitted:
    """The largest batches, at most those that are asked for, that fit; the smallest if none do."""
    limit = ROOM * cluster.hardware.memory
    while True:
        estimate = _memory(load, cluster, whole, sharing, engine)
        fits = estimate.peak <= limit and sharing > 0
        if fits:
            return Fitted(load=load, memory=estimate, fits=True, whole=whole, sharing=sharing)
        sampling, training = sum(estimate.sampling.values()), sum(estimate.training.values())
        fewer_rows = load.sample_batch_size > _LEAST_ROWS and not engine
        fewer_tokens = load.micro_batch_tokens > _LEAST_TOKENS and load.steps
        if sampling >= training and fewer_rows:
            load = replace(load, sample_batch_size=load.sample_batch_size // 2)
        elif training >= sampling and fewer_tokens:
            load = replace(load, micro_batch_tokens=load.micro_batch_tokens // 2)
        else:
            return Fitted(load=load, memory=estimate, fits=False, whole=whole, sharing=sharing)


def _memory(load: StageLoad, cluster: Cluster, whole: bool, sharing: int, engine: bool) -> Estimate:
    items = share(load.batch, cluster)[0] if load.steps else 0
    training = None
    if load.steps:
        training = Pass.within(
            load.micro_batch_tokens,
            items,
            load.prompts.tokens,
            load.branches,
            load.most,
            load.prompts.patches,
            whole=load.method != "grpo",
            shared=load.shared,
        )
    rows = items * load.branches if load.method == "grpo" else max((a.prompts * a.group for a in load.asked), default=0)
    sampling = None
    if rows and not engine:
        rows = min(rows, load.sample_batch_size)
        prompts = max(1, rows // (load.branches if load.method == "grpo" else max(a.group for a in load.asked)))
        sampling = Decoding(
            rows=rows,
            prompts=prompts,
            prompt_tokens=load.prompts.tokens,
            new_tokens=load.most,
            patches=0,
        )
    found = memory(load.shape, load.setup, cluster, training, sampling, whole=whole)
    if rows and engine and sharing:
        of_engine = {"engine's weights": load.setup.element * load.shape.parameters // sharing}
        held = found.held if load.steps else {}
        return Estimate(held, found.training, of_engine)
    return found


def engine_batch(load: StageLoad, found: Fitted, cluster: Cluster, rollout: Rollout) -> int:
    """Responses that an engine's caches have room for at once, over the devices that hold a model together.

    Caches are paged: they take what responses really need, on average.
    """
    free = ROOM * cluster.hardware.memory - sum(found.memory.held.values()) - sum(found.memory.sampling.values())
    one = cache_bytes(load.shape, load.setup, replace(rollout, prompts=1, batch=rollout.group)) / rollout.group
    return max(1, math.floor(found.sharing * free / one))
