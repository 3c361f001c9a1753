"""Everything that is wrong with a recipe, found before anything is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from specs_lab.core.errors import Fault, suggest
from specs_lab.stages.context import Faulty, Study
from specs_lab.stages.kinds import StageKind
from specs_lab.stages.nodes import needed_inputs, option_faults, options_of
from specs_lab.stages.options.recipe import StageSpec
from specs_lab.stages.rounds import loop_faults, origins, unrolled

_CELL_LISTS = {"rl": "mixture", "data": "mixture", "select": "mixture", "suite": "cells", "exploration": "cells"}
"""Role: its field that names cells of ``problems``."""


def find_faults(study: Study, kinds: Mapping[str, StageKind]) -> list[Fault]:
    """Everything that is wrong with a recipe, or does not fit together with the options; each fault once."""
    return list(dict.fromkeys(_all_faults(study, kinds)))


def _all_faults(study: Study, kinds: Mapping[str, StageKind]) -> Iterator[Fault]:
    if not study.recipe.stages:
        yield Fault("recipe.stages", "there are no stages", "choose a recipe that has some, e.g. recipe=specs")
    loops = list(loop_faults(study.recipe))
    yield from loops
    if loops:  # what the stages are is not known then
        return
    stages, named = unrolled(study.recipe), origins(study.recipe)
    for name, spec in stages.items():
        where = f"recipe.stages.{named[name]}"
        kind = kinds.get(spec.kind)
        if kind is None:
            yield Fault(f"{where}.kind", f"there is no stage kind '{spec.kind}'", suggest(spec.kind, kinds))
            continue
        options = _sound_options(study, spec, kind)
        yield from _input_faults(where, spec, kind, stages, kinds, options)
        yield from option_faults(where, spec, kind, study)
        yield from _cell_faults(where, spec, kind, study, options)
    yield from _cycle_faults(stages)
    yield from _misfits(study, stages, kinds)


def _sound_options(study: Study, spec: StageSpec, kind: StageKind) -> dict[str, Any] | None:
    """The options that a stage reads, or None if there is a fault in them."""
    nodes = study.nodes()
    if any(isinstance(nodes.get(spec.options.get(role, role)), Faulty) for role in kind.reads):
        return None
    return None if any(option_faults("", spec, kind, study)) else options_of(study, spec, kind)


def _input_faults(
    where: str,
    spec: StageSpec,
    kind: StageKind,
    stages: Mapping[str, StageSpec],
    kinds: Mapping[str, StageKind],
    options: Mapping[str, Any] | None,
) -> Iterator[Fault]:
    needed = needed_inputs(kind, options)
    for name, wanted in kind.inputs.items():
        source = spec.inputs.get(name)
        if source is None and name not in needed:
            continue
        if source is None:
            fix = f"name the stage that it comes from: inputs: {{{name}: ...}}"
            yield Fault(f"{where}.inputs", f"a stage of kind '{kind.name}' needs the input '{name}'", fix)
        elif source not in stages:
            yield Fault(f"{where}.inputs.{name}", f"there is no stage '{source}'", suggest(source, stages))
        elif stages[source].kind in kinds and kinds[stages[source].kind].makes not in kind.accepts(name):
            made = kinds[stages[source].kind].makes
            yield Fault(f"{where}.inputs.{name}", f"stage '{source}' makes {made}", f"name a stage that makes {wanted}")
    for name in spec.inputs:
        if name not in kind.inputs:
            what = f"a stage of kind '{kind.name}' has no input '{name}'"
            yield Fault(f"{where}.inputs.{name}", what, suggest(name, kind.inputs))


def _cell_faults(
    where: str, spec: StageSpec, kind: StageKind, study: Study, options: Mapping[str, Any] | None
) -> Iterator[Fault]:
    """Cells that are named by a mixture or a suite but not defined by the problems the stage reads."""
    nodes = study.nodes()
    played = {role: spec.options.get(role, role) for role in kind.reads}
    cells = getattr(nodes.get(played.get("problems", "")), "cells", None)
    if cells is None:
        return
    read = [nodes.get(node) for node in played.values()] if options is None else options.values()
    own = {cell for option in read for cell in getattr(option, "own_cells", ())}  # of a suite, e.g. a benchmark
    for role, field_name in _CELL_LISTS.items():
        node, changed = played.get(role, ""), field_name in spec.changes.get(role, {})
        if changed and options is None:
            continue
        at = f"{where}.changes.{role}" if changed else node
        option = nodes.get(node) if options is None else options.get(role)
        for cell in getattr(option, field_name, ()):
            if cell not in cells and cell not in own:
                yield Fault(f"{at}.{field_name}", f"the problems have no cell '{cell}'", suggest(cell, cells))


def _misfits(study: Study, stages: Mapping[str, StageSpec], kinds: Mapping[str, StageKind]) -> Iterator[Fault]:
    """What a stage cannot do with what its inputs make."""
    found = {name: _sound_options(study, spec, kinds[spec.kind]) for name, spec in stages.items() if spec.kind in kinds}
    options = {name: own for name, own in found.items() if own is not None}
    for name, spec in stages.items():
        if name in options and all(source in options for source in spec.inputs.values()):
            kind = kinds[spec.kind]
            if not list(_input_faults("", spec, kind, stages, kinds, options[name])):
                yield from kind.unfit(options[name], {i: options[s] for i, s in spec.inputs.items()})


def _cycle_faults(stages: Mapping[str, StageSpec]) -> Iterator[Fault]:
    try:
        TopologicalSorter({name: spec.inputs.values() for name, spec in stages.items()}).prepare()
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        yield Fault("recipe.stages", f"stages wait for each other: {circle}", "let one of them read an earlier stage")
