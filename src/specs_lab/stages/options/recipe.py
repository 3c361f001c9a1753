"""Recipes: small graphs of stages, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import option


@dataclass(kw_only=True)
class StageSpec:
    """One node of a recipe.

    Attributes:
        kind: The stage kind: ``base``, ``rl``, ``construct``, ``coldstart``, ``evaluate`` or ``pretrain``.
        inputs: Named inputs of the kind, each the name of another stage.
        options: Which config node plays which role of the kind, where it is not the one of the same name, e.g.
            ``{rl: zero}`` makes an rl stage read the options under ``zero``.
    """

    kind: str = "???"
    inputs: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


@option("recipe", "recipe")
@dataclass(kw_only=True)
class Recipe:
    """A directed acyclic graph of stages.

    Attributes:
        stages: The stages by name; their order does not matter.
    """

    stages: dict[str, StageSpec] = field(default_factory=dict)


@option("paths", "paths")
@dataclass(kw_only=True)
class Paths:
    """Where things are kept.

    Attributes:
        cache: Finished stages, shared by all studies of this user.
    """

    cache: str = "???"
