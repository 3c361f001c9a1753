"""Recipes: small graphs of stages, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from specs_lab.core.options import option

PREVIOUS = ".previous"
"""Behind the name of a stage in a loop: as it came out of the round before."""


@dataclass(kw_only=True)
class StageSpec:
    """One node of a recipe.

    Attributes:
        kind: The stage kind: ``base``, ``rl``, ``construct``, ``coldstart``, ``evaluate``, ``explore``, ``select`` or
            ``pretrain``.
        inputs: Named inputs of the kind, each the name of another stage. In a loop ``<stage>.previous`` is that stage
            in the round before.
        first: In a loop, what replaces inputs in the first round, in which there is no round before.
        options: Which config node plays which role of the kind, where it is not the one of the same name, e.g.
            ``{rl: zero}`` makes an rl stage read the options under ``zero``.
        changes: What this stage changes in the options of a role, e.g. ``{rl: {buckets: [hard]}}``.
        by_round: In a loop, further changes: a list with a value for each round, e.g.
            ``{rl: {buckets: [[easy], [medium, hard]]}}``; its last value holds for all further rounds.
        stream: Separates the random numbers of stages that read the same options, such as two stages of RL in a row:
            with another name, a stage draws other tasks. Rounds of a loop have one each by themselves.
    """

    kind: str = "???"
    inputs: dict[str, str] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_round: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    stream: str = ""


@dataclass(kw_only=True)
class Loop:
    """Stages that are made over and over again, each round with the results of the one before.

    Attributes:
        stages: Their names.
        rounds: How often.
    """

    stages: list[str] = field(default_factory=list)
    rounds: int = 2


@option("recipe", "recipe")
@dataclass(kw_only=True)
class Recipe:
    """A directed acyclic graph of stages.

    Attributes:
        stages: The stages by name; their order does not matter.
        loops: Rounds over some of the stages, by name. The last round's stages keep their names, those of earlier
            rounds are ``<stage>_1``, ``<stage>_2``, ...; stages outside of the loop read the last round.
    """

    stages: dict[str, StageSpec] = field(default_factory=dict)
    loops: dict[str, Loop] = field(default_factory=dict)


@option("paths", "paths")
@dataclass(kw_only=True)
class Paths:
    """Where things are kept.

    Attributes:
        cache: Finished stages, shared by all studies of this user.
    """

    cache: str = "???"
