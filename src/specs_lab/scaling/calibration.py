"""Fitting efficiencies to measured points: relative errors are what is made small."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from specs_lab.preflight.loads import Setup
from specs_lab.preflight.shapes import ModelShape
from specs_lab.scaling.efficiency import Efficiency
from specs_lab.scaling.hardware import Hardware
from specs_lab.scaling.roofline import Seconds, seconds_of_steps
from specs_lab.scaling.steps import Step, overhead, sampling_work, tower_work, training_work
from specs_lab.scaling.work import Work

FITTED = ("mfu", "mbu", "elementwise", "launch_s", "step_s", "row_s", "picture_s", "patch_s", "narrow")
"""What is fitted, the shares of peaks among them at most 1."""
_SHARES = ("mfu", "mbu")
START = Efficiency(
    mfu=0.8,
    mbu=0.5,
    narrow=64,
    elementwise=1.0,
    launch_s=3e-4,
    step_s=5e-3,
    row_s=1e-4,
    picture_s=2e-3,
    patch_s=5e-6,
)
_WIDEST, _NARROWEST, _LEAST = 2.0, 1.005, 1e-9


@dataclass(frozen=True)
class Measured:
    """A point that is known.

    Attributes:
        work: Its work, as (how often, each).
        step: The step that it was.
        seconds: Measured.
    """

    work: Sequence[tuple[float, Work]]
    step: Step
    seconds: float

    @classmethod
    def of(cls, shape: ModelShape, setup: Setup, step: Step, seconds: float) -> Measured:
        """From what was run."""
        parts = (training_work, sampling_work, tower_work)
        return cls([one for part in parts for one in part(shape, setup, step)], step, seconds)

    def predicted(self, hardware: Hardware, efficiency: Efficiency) -> Seconds:
        """What the model says."""
        return seconds_of_steps(self.work, hardware, efficiency) + overhead(self.step, efficiency)


def error(points: Sequence[Measured], hardware: Hardware, efficiency: Efficiency) -> float:
    """Mean square of the logarithm of predicted over measured."""
    logs = [math.log(point.predicted(hardware, efficiency).total / point.seconds) for point in points]
    return sum(one * one for one in logs) / len(logs)


def fit(points: Sequence[Measured], hardware: Hardware, start: Efficiency = START) -> Efficiency:
    """The efficiencies that predict points best: one at a time is scaled up and down, by ever smaller factors.

    Args:
        points: Measured ones; as many as are fitted at least.
        hardware: The device, with its measured peaks.
        start: Where to begin; what is not fitted stays.

    Raises:
        ValueError: If there are fewer points than what is fitted.
    """
    if len(points) < len(FITTED):
        raise ValueError(f"{len(FITTED)} efficiencies cannot be fitted to {len(points)} points")
    return _search(lambda efficiency: error(points, hardware, efficiency), start)


def _search(loss: Callable[[Efficiency], float], start: Efficiency) -> Efficiency:
    best, least, factor = start, loss(start), _WIDEST
    while factor > _NARROWEST:
        before = least
        for name in FITTED:
            for scale in (factor, 1 / factor):
                value = max(_LEAST, getattr(best, name) * scale)
                tried = replace(best, **{name: min(1.0, value) if name in _SHARES else value})
                found = loss(tried)
                if found < least:
                    best, least = tried, found
        if least > 0.999 * before:
            factor = math.sqrt(factor)
    return best


def summary(ratios: Mapping[str, float]) -> dict[str, float | str]:
    """Of measured over predicted, by name: the median, the median error, the worst, how many are within a factor of 2.

    The error of a ratio r is max(r, 1/r) - 1.

    Raises:
        ValueError: If there are none.
    """
    if not ratios:
        raise ValueError("there are no ratios")
    ordered = sorted(ratios.values())
    errors = sorted(max(ratio, 1 / ratio) - 1 for ratio in ordered)
    worst = max(ratios, key=lambda name: max(ratios[name], 1 / ratios[name]))
    return {
        "points": len(ordered),
        "median_ratio": _median(ordered),
        "median_error": _median(errors),
        "worst_error": errors[-1],
        "worst": worst,
        "within_2": sum(one <= 1 for one in errors),
    }


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
