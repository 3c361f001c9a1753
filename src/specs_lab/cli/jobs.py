"""Who a job is: its number, its name and its arm, and how a sweep tells its processes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from hydra.core.override_parser.types import Quote, QuotedString

JOB_VARIABLE = "SPECS_LAB_JOB"
_NEUTRAL = ("trainer", "logger", "paths", "hydra")
"""Nodes that change no result, and so name no arm."""


@dataclass(frozen=True)
class JobName:
    """Who a job is.

    Attributes:
        number: Its position in the sweep; 0 outside of sweeps.
        name: For people: what it was given that other jobs of the sweep were not.
        arm: The same without the seed: jobs of one arm differ in their seed only.
        overrides: The overrides that the user gave for this job.
    """

    number: int
    name: str
    arm: str
    overrides: tuple[str, ...]

    def as_environment(self) -> dict[str, str]:
        """Variables that make a process this job."""
        return {JOB_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> JobName | None:
        """The job that the environment makes this process, or None."""
        text = os.environ.get(JOB_VARIABLE)
        if text is None:
            return None
        fields = json.loads(text)
        return cls(**{**fields, "overrides": tuple(fields["overrides"])})


def key_of(override: str) -> str:
    """The option or group that an override sets: ``+coldstart.lr=0.1`` sets ``coldstart.lr``."""
    return override.lstrip("+~").partition("=")[0]


def name_job(number: int, overrides: Sequence[str], swept: Collection[str] | None = None) -> JobName:
    """Names a job.

    Args:
        number: Its position in the sweep.
        overrides: Its overrides, without Hydra's own.
        swept: The keys that the sweep varies; None (outside of sweeps): all that may change a result.

    Example:
        ``coldstart=sft coldstart.lr=0.001 seed=1`` with all keys swept is the arm ``sft lr=0.001``.
    """
    if swept is None:
        chosen = [item for item in overrides if key_of(item).split(".")[0] not in _NEUTRAL]
    else:
        chosen = [item for item in overrides if key_of(item) in swept]
    last_parts = Counter(key_of(item).rsplit(".", 1)[-1] for item in chosen)
    seeds = [item for item in chosen if key_of(item) == "seed"]
    arm = " ".join(_short(item, last_parts) for item in chosen if item not in seeds) or "default"
    return JobName(number, " ".join([arm, *seeds]), arm, tuple(overrides))


def _short(override: str, last_parts: Counter[str]) -> str:
    """A group's choice by its value, another option by the last part of its name unless that is ambiguous."""
    key, _, value = override.lstrip("+~").partition("=")
    if "." not in key:
        group, _, package = key.partition("@")
        return f"{package}={value}" if package else value or f"no {group}"
    last = key.rsplit(".", 1)[-1]
    return f"{last if last_parts[last] == 1 else key}={value}"


def name_alone(coldstart: str, overrides: Sequence[str]) -> JobName:
    """Names the only job of a run: its arm is its cold start."""
    return JobName(0, coldstart, coldstart, tuple(overrides))


def quoted(text: str) -> str:
    """The text as a quoted value in Hydra's grammar of overrides, so that no sign in it has a meaning."""
    return QuotedString(text, Quote.single).with_quotes()
