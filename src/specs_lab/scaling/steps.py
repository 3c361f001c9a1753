"""What one optimizer step, of any method, is made of."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.preflight.loads import Pass, Setup
from specs_lab.preflight.shapes import ModelShape
from specs_lab.scaling.efficiency import Efficiency
from specs_lab.scaling.hardware import Hardware
from specs_lab.scaling.rollouts import Rollout, decode, prefill
from specs_lab.scaling.roofline import Seconds, seconds_of_steps
from specs_lab.scaling.work import Work, forward, optimiser, tower, train


@dataclass(frozen=True, kw_only=True)
class Step:
    """One device's share of a step.

    Attributes:
        load: What is trained on; None if nothing is.
        passes: Micro-batches that it is cut into.
        updates: Optimizer updates on it.
        references: Passes of a frozen reference over it.
        rollout: What is sampled first; None for a cold start.
        batches: How many batches of responses are decoded one after the other.
        towers: How often pictures go through the vision tower without a backward pass.
        encoded: Whether pictures are preprocessed within the step.
        sharing: Devices that hold the sampling model together.
    """

    load: Pass | None = None
    passes: int = 1
    updates: int = 1
    references: float = 0.0
    rollout: Rollout | None = None
    batches: float = 1.0
    towers: float = 0.0
    patches: int = 0
    pictures: int = 0
    encoded: bool = False
    sharing: int = 1


def training_work(shape: ModelShape, setup: Setup, step: Step) -> list[tuple[float, Work]]:
    """Work of the updates, as (how often, each)."""
    if step.load is None:
        return []
    work: list[tuple[float, Work]] = [
        (step.updates, train(shape, setup, step.load, step.passes)),
        (step.updates, optimiser(shape, setup)),
    ]
    if setup.train_vision and setup.adapter is None:
        work.append((step.updates, tower(shape, setup, step.patches, step.pictures, learns=True)))
    if step.references:
        work.append((step.references, forward(shape, setup, step.load)))
    return work


def sampling_work(shape: ModelShape, setup: Setup, step: Step) -> list[tuple[float, Work]]:
    """Work of a rollout, as (how often, each)."""
    if step.rollout is None:
        return []
    encoding = prefill(shape, setup, step.rollout).times(1 / step.sharing)
    steps = decode(shape, setup, step.rollout, step.sharing)
    return [(1.0, encoding), *((step.batches * count, work) for count, work in steps)]


def tower_work(shape: ModelShape, setup: Setup, step: Step) -> list[tuple[float, Work]]:
    """Work of looking at pictures without learning from them, as (how often, each)."""
    return [(step.towers, tower(shape, setup, step.patches, step.pictures))] if step.towers else []


def overhead(step: Step, efficiency: Efficiency) -> Seconds:
    """What does not depend on the device."""
    seconds = efficiency.step_s * step.updates if step.load is not None else 0.0
    if step.encoded:
        seconds += efficiency.picture_s * step.pictures + efficiency.patch_s * step.patches
    seconds += efficiency.row_s * step.rollout.rows if step.rollout is not None else 0.0
    return Seconds(overhead=seconds)


def seconds_of_step(shape: ModelShape, setup: Setup, step: Step, hardware: Hardware, efficiency: Efficiency) -> Seconds:
    """The seconds of a step on one device by itself."""
    work = [*training_work(shape, setup, step), *sampling_work(shape, setup, step), *tower_work(shape, setup, step)]
    return seconds_of_steps(work, hardware, efficiency) + overhead(step, efficiency)
