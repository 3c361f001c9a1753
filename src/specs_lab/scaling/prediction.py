"""What a stage costs on a cluster, under one set of efficiencies or all three."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from specs_lab.preflight.loads import Pass
from specs_lab.scaling.cluster import Cluster, exchange_seconds, exposed, gather_seconds, share, step_bytes, straggling
from specs_lab.scaling.efficiency import ASSUMED, ENGINE_LAUNCH, Efficiency
from specs_lab.scaling.fitting import Fitted, engine_batch, fitted
from specs_lab.scaling.loads import Asked, StageLoad
from specs_lab.scaling.rollouts import Rollout
from specs_lab.scaling.roofline import Seconds, seconds_of_steps
from specs_lab.scaling.steps import Step, overhead, sampling_work, tower_work, training_work
from specs_lab.scaling.work import Work, forward

_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """A stage on a cluster.

    Attributes:
        load: The stage, with batches that fit.
        found: What it holds.
        gpus: How many devices are held.
        flops: Operations of all devices.
        sent: Bytes of the whole that collectives move in an update.
        sampled: Tokens sampled in the stage.
        busy: Share of the devices' time in which they have an item to work on.
        parts: Seconds of the parts ``rollout``, ``training``, ``evaluation`` under each set of efficiencies.
    """

    load: StageLoad
    found: Fitted
    gpus: int
    flops: float
    sent: Mapping[str, float]
    sampled: float
    busy: float
    parts: Mapping[str, Mapping[str, Seconds]]

    def seconds(self, scenario: str) -> float:
        """Wall time under a set of efficiencies."""
        return sum(part.total for part in self.parts[scenario].values())

    def gpu_hours(self, scenario: str) -> float:
        """Devices times hours, idle ones included."""
        return self.gpus * self.seconds(scenario) / _HOUR

    @property
    def limit(self) -> str:
        """What most of the time goes to: a part, and what bounds it."""
        scenario = "central" if "central" in self.parts else next(iter(self.parts))
        name, part = max(self.parts[scenario].items(), key=lambda item: item[1].total)
        return f"{name}: {part.limit}"


def predict(load: StageLoad, cluster: Cluster, efficiencies: Mapping[str, Efficiency] = ASSUMED) -> StageCost:
    """What a stage costs.

    Args:
        load: The stage.
        cluster: The devices.
        efficiencies: By name.
    """
    found = fitted(load, cluster)
    central = efficiencies.get("central", next(iter(efficiencies.values())))
    _, busy = share(load.batch, cluster) if load.steps else (0, 1 / cluster.gpus)
    return StageCost(
        load=found.load,
        found=found,
        gpus=cluster.gpus,
        flops=_flops(load, central),
        sent=step_bytes(load.shape, load.setup, cluster, _passes(found.load, cluster, central)) if load.steps else {},
        sampled=_sampled(load, central),
        busy=busy,
        parts={name: _parts(found, cluster, efficiency) for name, efficiency in efficiencies.items()},
    )


def predict_all(
    loads: Sequence[StageLoad], cluster: Cluster, efficiencies: Mapping[str, Efficiency] = ASSUMED
) -> list[StageCost]:
    """What each stage costs."""
    return [predict(load, cluster, efficiencies) for load in loads]


# --- loads of a step ---


def _mean(load: StageLoad, efficiency: Efficiency) -> float:
    return min(float(load.most), efficiency.response_tokens)


def _rollout(load: StageLoad, prompts: int, group: int, most: int, efficiency: Efficiency) -> Rollout:
    return Rollout(
        prompts=prompts,
        group=group,
        prompt_tokens=load.prompts.tokens,
        mean=min(float(most), efficiency.response_tokens),
        most=most,
        spread=efficiency.spread,
        batch=min(load.sample_batch_size, prompts * group),
        shared=load.shared,
    )


def _trained(load: StageLoad, prompts: int, efficiency: Efficiency) -> Pass:
    return Pass(
        prompts=prompts,
        prompt_tokens=load.prompts.tokens,
        branches=load.branches,
        completion_tokens=max(1, round(_mean(load, efficiency))),
        shared=load.shared,
    )


def _features(load: StageLoad) -> int:
    """Bytes of what the vision tower makes of a prompt's pictures."""
    return load.shape.text.hidden * load.setup.element * load.prompts.patches // max(1, load.shape.merge**2)


def step_of(load: StageLoad, prompts: int, efficiency: Efficiency) -> Step:
    """A device's share of a step: so many of its prompts."""
    trained = _trained(load, prompts, efficiency)
    samples = load.method == "grpo"
    kept = prompts * _features(load) <= load.setup.feature_cache and not load.setup.train_vision
    # Each pass looks at pictures itself, unless their features are kept: then one of all does.
    looks = (1.0 if kept else samples + load.references + load.updates) - (
        load.updates if load.setup.train_vision else 0
    )
    return Step(
        load=trained,
        passes=max(1, math.ceil(trained.tokens / load.micro_batch_tokens)),
        updates=load.updates,
        references=load.references,
        rollout=_rollout(load, prompts, load.branches, load.most, efficiency) if samples else None,
        towers=max(0.0, looks),
        patches=prompts * load.prompts.patches,
        pictures=prompts,
        encoded=samples,
    )


def _passes(load: StageLoad, cluster: Cluster, efficiency: Efficiency) -> int:
    return step_of(load, share(load.batch, cluster)[0], efficiency).passes


def _flops(load: StageLoad, efficiency: Efficiency) -> float:
    """Of the whole stage, however many devices share it."""
    total = 0.0
    if load.steps:
        step = step_of(load, load.batch, efficiency)
        parts = (training_work, tower_work)
        total += load.steps * sum(n * w.flops for part in parts for n, w in part(load.shape, load.setup, step))
        if step.rollout is not None:
            total += load.steps * _sampling_flops(load, step.rollout)
        total += _reference(load, efficiency).flops
    for asked in load.asked:
        rollout = _rollout(load, _tried(asked, efficiency), asked.group, asked.most, efficiency)
        total += asked.times * _sampling_flops(load, rollout)
    return total


def _sampling_flops(load: StageLoad, rollout: Rollout) -> float:
    one = replace(rollout, batch=rollout.rows, spread=0.0)
    return sum(n * w.flops for n, w in sampling_work(load.shape, load.setup, Step(rollout=one)))


def _sampled(load: StageLoad, efficiency: Efficiency) -> float:
    own = load.steps * load.batch * load.branches * _mean(load, efficiency) if load.method == "grpo" else 0.0
    return own + sum(
        a.times * _tried(a, efficiency) * a.group * min(a.most, efficiency.response_tokens) for a in load.asked
    )


def _tried(asked: Asked, efficiency: Efficiency) -> int:
    return math.ceil(asked.prompts * (efficiency.tries if asked.uncertain else 1))


def _reference(load: StageLoad, efficiency: Efficiency) -> Work:
    """The frozen reference over all pairs, once before training, by one device."""
    if not load.pairs:
        return Work()
    return forward(load.shape, load.setup, _trained(load, 1, efficiency)).times(load.pairs)


# --- seconds ---


def _parts(found: Fitted, cluster: Cluster, efficiency: Efficiency) -> dict[str, Seconds]:
    load, parts = found.load, {}
    if load.steps:
        prompts, _ = share(load.batch, cluster)
        step = step_of(load, prompts, efficiency)
        if step.rollout is not None:
            parts["rollout"] = _rollout_seconds(found, cluster, efficiency, load.batch, load.branches).times(load.steps)
        parts["training"] = _training_seconds(load, cluster, efficiency, step).times(load.steps)
        if load.pairs:
            parts["reference"] = seconds_of_steps([(1, _reference(load, efficiency))], cluster.hardware, efficiency)
    for asked in load.asked:
        parts["sampling"] = parts.get("sampling", Seconds()) + _asked_seconds(found, cluster, efficiency, asked)
    return parts


def _training_seconds(load: StageLoad, cluster: Cluster, efficiency: Efficiency, step: Step) -> Seconds:
    work = [*training_work(load.shape, load.setup, step), *tower_work(load.shape, load.setup, step)]
    own = [(n, _divided(w, cluster)) for n, w in work]
    computing = seconds_of_steps(own, cluster.hardware, efficiency)
    exchange = step.updates * exchange_seconds(load.shape, load.setup, cluster, efficiency, step.passes)
    rows = step.pictures * load.branches
    return (
        computing
        + overhead(replace(step, rollout=None), efficiency)
        + Seconds(
            communication=exposed(cluster, exchange, computing.total, efficiency),
            waiting=straggling(rows, cluster, efficiency) * computing.total,
        )
    )


def _divided(work: Work, cluster: Cluster) -> Work:
    """FSDP's devices update their own share of the states."""
    return replace(work, states=work.states / cluster.gpus) if cluster.strategy == "fsdp2" else work


def _rollout_seconds(found: Fitted, cluster: Cluster, efficiency: Efficiency, prompts: int, group: int) -> Seconds:
    """A rollout on all devices, each with its share of the prompts; all wait for the longest response of any."""
    load = found.load
    sharing = max(1, found.sharing)
    groups = max(1, cluster.gpus // sharing)
    own = math.ceil(prompts / groups)
    rollout = replace(_rollout(load, own, group, load.most, efficiency), of_all=prompts * group)
    spent = _decoding(found, cluster, efficiency, rollout)
    spent += overhead(Step(rollout=replace(rollout, prompts=math.ceil(prompts / cluster.gpus))), efficiency)
    if cluster.gpus > 1 and (cluster.strategy == "fsdp2" or cluster.engine == "vllm"):
        # Weights reach whoever samples: once a rollout where they can be held, else again at each token.
        size = load.setup.element * load.shape.parameters
        times = 1.0 if found.whole or cluster.engine == "vllm" else rollout.longest(rollout.of_all)
        spent += Seconds(communication=times * gather_seconds(cluster, size, efficiency, load.shape.text.count))
    return spent


def _asked_seconds(found: Fitted, cluster: Cluster, efficiency: Efficiency, asked: Asked) -> Seconds:
    """All that one process samples, or one engine, while others wait; prompts are encoded once for all times."""
    load = found.load
    rollout = _rollout(load, _tried(asked, efficiency), asked.group, asked.most, efficiency)
    sampling = _decoding(found, cluster, efficiency, rollout) + overhead(Step(rollout=rollout), efficiency)
    patches = rollout.prompts * load.prompts.patches
    looks = 1 if rollout.prompts * _features(load) <= load.setup.feature_cache else asked.times
    seen = Step(towers=looks, patches=patches, pictures=rollout.prompts, encoded=True)
    looking = seconds_of_steps(tower_work(load.shape, load.setup, seen), cluster.hardware, efficiency)
    return sampling.times(asked.times) + looking + overhead(seen, efficiency)


def _decoding(found: Fitted, cluster: Cluster, efficiency: Efficiency, rollout: Rollout) -> Seconds:
    load, sharing = found.load, max(1, found.sharing)
    if cluster.engine == "vllm":
        batch = min(rollout.rows, engine_batch(load, found, cluster, rollout))
        latency = 2 * (sharing - 1) * efficiency.latency_s if sharing > 1 else 0.0  # two all-reduces a layer
        efficiency = replace(efficiency, launch_s=ENGINE_LAUNCH * efficiency.launch_s + latency)
    else:
        batch = min(rollout.rows, load.sample_batch_size)
    # A partly filled last batch takes as long as its longest response, as any other.
    batches = rollout.rows / batch if cluster.engine == "vllm" else math.ceil(rollout.rows / batch)
    step = Step(rollout=replace(rollout, batch=batch), batches=batches, sharing=sharing)
    return seconds_of_steps(sampling_work(load.shape, load.setup, step), cluster.hardware, efficiency)
