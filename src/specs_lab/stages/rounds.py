"""Loops of a recipe, written out: one stage for each round, reading the round before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from specs_lab.core.errors import Fault, suggest
from specs_lab.stages.options.recipe import PREVIOUS, Loop, Recipe, StageSpec


def unrolled(recipe: Recipe) -> dict[str, StageSpec]:
    """The stages of a recipe without loops; see :class:`Recipe` for their names. The loops must be free of faults."""
    return {made: spec for made, _, spec in _rounds(recipe)}


def origins(recipe: Recipe) -> dict[str, str]:
    """{name of a stage of :func:`unrolled`: what the recipe calls it}."""
    return {made: name for made, name, _ in _rounds(recipe)}


def _rounds(recipe: Recipe) -> Iterator[tuple[str, str, StageSpec]]:
    """The stages of all rounds: (name, what the recipe calls it, the stage)."""
    member = {name: loop for loop in recipe.loops.values() for name in loop.stages}
    for name, spec in recipe.stages.items():
        loop = member.get(name)
        if loop is None:
            yield name, name, spec
            continue
        for number in range(1, loop.rounds + 1):
            yield _name(name, number, loop), name, _in_round(spec, number, loop)


def _name(stage: str, number: int, loop: Loop) -> str:
    return stage if number == loop.rounds else f"{stage}_{number}"


def _in_round(spec: StageSpec, number: int, loop: Loop) -> StageSpec:
    """What a stage of a loop is in one round."""

    def source(name: str) -> str:
        if name.endswith(PREVIOUS):
            return _name(name.removesuffix(PREVIOUS), number - 1, loop)
        return _name(name, number, loop) if name in loop.stages else name

    inputs = {**spec.inputs, **spec.first} if number == 1 else spec.inputs
    return replace(
        spec,
        inputs={name: source(stage) for name, stage in inputs.items()},
        first={},
        changes=_changes(spec, number),
        by_round={},
        # The first round is what the stage would be without a loop, so that it is shared with studies that have none.
        stream=spec.stream if number == 1 else "/".join(filter(None, [spec.stream, f"round {number}"])),
    )


def _changes(spec: StageSpec, number: int) -> dict[str, dict[str, Any]]:
    changes = {role: dict(fields) for role, fields in spec.changes.items()}
    for role, fields in spec.by_round.items():
        own = {name: values[min(number, len(values)) - 1] for name, values in fields.items()}
        changes[role] = {**changes.get(role, {}), **own}
    return changes


def loop_faults(recipe: Recipe) -> Iterator[Fault]:
    """What is wrong with the loops of a recipe, and with stages that take themselves to be in one."""
    seen: dict[str, str] = {}
    for loop_name, loop in recipe.loops.items():
        where = f"recipe.loops.{loop_name}"
        if loop.rounds < 1:
            yield Fault(f"{where}.rounds", f"{loop.rounds} is less than 1", "give a number >= 1")
        if not loop.stages:
            yield Fault(f"{where}.stages", "no stage is named", "name the stages of a round")
        for name in loop.stages:
            if name not in recipe.stages:
                yield Fault(f"{where}.stages", f"there is no stage '{name}'", suggest(name, recipe.stages))
            elif name in seen:
                yield Fault(f"{where}.stages", f"'{name}' is in loop '{seen[name]}' too", "let it be in one loop only")
            seen.setdefault(name, loop_name)
            yield from _name_faults(recipe.stages, name, loop, where)
    for name, spec in recipe.stages.items():
        yield from _spec_faults(recipe, name, spec, seen)


def _name_faults(stages: Mapping[str, StageSpec], name: str, loop: Loop, where: str) -> Iterator[Fault]:
    for number in range(1, loop.rounds):
        if f"{name}_{number}" in stages:
            what = f"there is a stage '{name}_{number}', which is what round {number} of '{name}' would be called"
            yield Fault(f"{where}.stages", what, "give one of them another name")


def _spec_faults(recipe: Recipe, name: str, spec: StageSpec, loops: Mapping[str, str]) -> Iterator[Fault]:
    where = f"recipe.stages.{name}"
    for field_name in ("first", "by_round"):
        if getattr(spec, field_name) and name not in loops:
            fix = f"name it in a loop, or leave `{field_name}` out"
            yield Fault(f"{where}.{field_name}", "the stage is in no loop", fix)
    for role, fields in spec.by_round.items():
        for key, values in fields.items():
            if not values:
                yield Fault(f"{where}.by_round.{role}.{key}", "there is no value", "give one for each round")
    for label, source in spec.inputs.items():
        if not source.endswith(PREVIOUS):
            continue
        before = source.removesuffix(PREVIOUS)
        if name not in loops or loops.get(before) != loops[name]:
            fix = f"name both in one loop, or write {before}"
            yield Fault(f"{where}.inputs.{label}", f"'{before}' and '{name}' are not in the same loop", fix)
        elif label not in spec.first:
            fix = f"say what is read in the first round: first: {{{label}: ...}}"
            yield Fault(f"{where}.inputs.{label}", "there is no round before the first", fix)
    for label, source in spec.first.items():
        if source.endswith(PREVIOUS):
            yield Fault(f"{where}.first.{label}", "there is no round before the first", "name a stage")
