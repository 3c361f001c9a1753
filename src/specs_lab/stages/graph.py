"""From a recipe to a plan: which stages to run, in which order, under which keys.

A stage's key is a hash of everything that its result depends on: its kind, the options it reads, the seed if it uses
it, the code behind it, and the keys of its inputs. Two studies that agree on these share the stage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault, raise_faults, suggest
from specs_lab.stages.context import Study
from specs_lab.stages.fingerprint import fingerprint
from specs_lab.stages.kinds import KINDS, StageKind
from specs_lab.stages.options.recipe import StageSpec
from specs_lab.stages.store import file_hashes

_KEY_LENGTH = 20
_CELL_LISTS = {"rl": "mixture", "data": "mixture", "suite": "cells"}  # role: its field that names cells of `problems`


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """A stage that is to be run or found in the store.

    Attributes:
        name: Its name in the recipe.
        kind: Name of its kind.
        key: Its key, 20 hexadecimal digits.
        inputs: {input: name of the stage that it comes from}.
        options: The options it reads, by role.
        seed: The study's seed, or None if the kind does not depend on it.
    """

    name: str
    kind: str
    key: str
    inputs: dict[str, str]
    options: dict[str, Any]
    seed: int | None


def plan(study: Study, kinds: Mapping[str, StageKind] = KINDS) -> list[PlannedStage]:
    """The stages of a study in an order in which they can be run.

    A stage that merely hands on an input (a cold start that is none) is left out, and so is what only it would have
    read; the readers of such a stage read its input instead.

    Args:
        study: The composed configuration.
        kinds: The stage kinds that exist.

    Raises:
        UserError: With everything that is wrong with the recipe or does not fit together.
    """
    stages = study.recipe.stages
    raise_faults(find_faults(study, kinds))
    options = {name: _options(study, spec, kinds[spec.kind]) for name, spec in stages.items()}
    handed_on = {name: kinds[spec.kind].stands_for(options[name]) for name, spec in stages.items()}

    def real(name: str) -> str:
        """The stage that makes what the named stage stands for."""
        hands_on = handed_on[name]
        return name if hands_on is None else real(stages[name].inputs[hands_on])

    inputs = {name: {i: real(source) for i, source in stages[name].inputs.items()} for name in stages}
    read = {source for spec in stages.values() for source in spec.inputs.values()}
    planned: dict[str, PlannedStage] = {}
    for name in _order({real(name) for name in stages if name not in read}, inputs):
        kind = kinds[stages[name].kind]
        seed = study.seed if kind.seeded else None
        input_keys = {i: planned[source].key for i, source in inputs[name].items()}
        key = stage_key(kind, options[name], seed, input_keys)
        planned[name] = PlannedStage(
            name=name, kind=kind.name, key=key, inputs=inputs[name], options=options[name], seed=seed
        )
    return list(planned.values())


def _order(ends: set[str], inputs: Mapping[str, Mapping[str, str]]) -> Iterable[str]:
    """The stages that the ends need, and the ends, each after its inputs."""
    needed, found = set(ends), set(ends)
    while found:
        found = {source for name in found for source in inputs[name].values()} - needed
        needed |= found
    return TopologicalSorter({name: inputs[name].values() for name in inputs if name in needed}).static_order()


# --- keys ---


def stage_key(kind: StageKind, options: Mapping[str, Any], seed: int | None, inputs: Mapping[str, str]) -> str:
    """The key of a stage.

    Args:
        kind: Its kind.
        options: The options it reads, by role.
        seed: The seed, or None if it does not depend on it.
        inputs: The keys of its inputs.
    """
    parts = {
        "kind": kind.name,
        "options": {role: _key_options(option) for role, option in options.items()},
        "seed": seed,
        "inputs": dict(inputs),
        "code": fingerprint(kind.code),
    }
    return hashlib.sha256(json.dumps(_whole_as_int(parts), sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]


def describe(option: Any) -> dict[str, Any]:
    """An options object as plain data, with the name of its class, and of those of the objects in it."""
    return {"class": type(option).__name__, **{f.name: _described(getattr(option, f.name)) for f in fields(option)}}


def _described(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return describe(value)
    if isinstance(value, dict):
        return {name: _described(item) for name, item in value.items()}
    return [_described(item) for item in value] if isinstance(value, list | tuple) else value


def _key_options(option: Any) -> dict[str, Any]:
    """What of an options object enters a key: all of it, but a checkpoint by its content, not by where it lies."""
    described = describe(option)
    folder = getattr(option, "folder", None)
    if folder is None:
        return described
    kept = {name: value for name, value in described.items() if not (isinstance(value, str) and Path(value) == folder)}
    return {**kept, "files": _checkpoint_hashes(Path(folder).resolve())}


def _checkpoint_hashes(folder: Path) -> dict[str, str]:
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return _hashes_as_of(folder, tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files))


@cache  # a sweep plans many studies on one checkpoint, perhaps of many gigabytes
def _hashes_as_of(folder: Path, _: tuple[tuple[str, int, int], ...]) -> dict[str, str]:
    return file_hashes(folder)


def _whole_as_int(value: Any) -> Any:
    """The same data with 1.0 written as 1, so that it does not matter how a number was typed."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole_as_int(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole_as_int(item) for item in value]
    return value


# --- faults ---


def find_faults(study: Study, kinds: Mapping[str, StageKind]) -> list[Fault]:
    """Everything that is wrong with a recipe, or does not fit together with the options; each fault once."""
    return list(dict.fromkeys(_all_faults(study, kinds)))


def _all_faults(study: Study, kinds: Mapping[str, StageKind]) -> Iterator[Fault]:
    stages = study.recipe.stages
    if not stages:
        yield Fault("recipe.stages", "there are no stages", "choose a recipe that has some, e.g. recipe=specs")
    for name, spec in stages.items():
        where = f"recipe.stages.{name}"
        kind = kinds.get(spec.kind)
        if kind is None:
            yield Fault(f"{where}.kind", f"there is no stage kind '{spec.kind}'", suggest(spec.kind, kinds))
            continue
        yield from _input_faults(where, spec, kind, stages, kinds)
        yield from _option_faults(where, spec, kind, study)
        yield from _cell_faults(spec, kind, study)
    yield from _cycle_faults(stages)


def _input_faults(
    where: str, spec: StageSpec, kind: StageKind, stages: Mapping[str, StageSpec], kinds: Mapping[str, StageKind]
) -> Iterator[Fault]:
    for name, wanted in kind.inputs.items():
        source = spec.inputs.get(name)
        if source is None:
            fix = f"name the stage that it comes from: inputs: {{{name}: ...}}"
            yield Fault(f"{where}.inputs", f"a stage of kind '{kind.name}' needs the input '{name}'", fix)
        elif source not in stages:
            yield Fault(f"{where}.inputs.{name}", f"there is no stage '{source}'", suggest(source, stages))
        elif stages[source].kind in kinds and kinds[stages[source].kind].makes != wanted:
            made = kinds[stages[source].kind].makes
            yield Fault(f"{where}.inputs.{name}", f"stage '{source}' makes {made}", f"name a stage that makes {wanted}")
    for name in spec.inputs:
        if name not in kind.inputs:
            what = f"a stage of kind '{kind.name}' has no input '{name}'"
            yield Fault(f"{where}.inputs.{name}", what, suggest(name, kind.inputs))


def _option_faults(where: str, spec: StageSpec, kind: StageKind, study: Study) -> Iterator[Fault]:
    nodes = study.nodes()
    for role in kind.reads:
        node = spec.options.get(role, role)
        if node not in nodes:
            at = f"{where}.options.{role}" if role in spec.options else where
            yield Fault(at, f"there are no options '{node}' in the configuration", suggest(node, nodes))
    for role in spec.options:
        if role not in kind.reads:
            what = f"a stage of kind '{kind.name}' reads no options '{role}'"
            yield Fault(f"{where}.options.{role}", what, suggest(role, kind.reads))


def _cell_faults(spec: StageSpec, kind: StageKind, study: Study) -> Iterator[Fault]:
    """Cells that are named by a mixture or a suite but not defined by the problems the stage reads."""
    nodes = study.nodes()
    played = {role: spec.options.get(role, role) for role in kind.reads}
    cells = getattr(nodes.get(played.get("problems", "")), "cells", None)
    if cells is None:
        return
    for role, field_name in _CELL_LISTS.items():
        node = played.get(role, "")
        for cell in getattr(nodes.get(node), field_name, ()):
            if cell not in cells:
                yield Fault(f"{node}.{field_name}", f"the problems have no cell '{cell}'", suggest(cell, cells))


def _cycle_faults(stages: Mapping[str, StageSpec]) -> Iterator[Fault]:
    try:
        TopologicalSorter({name: spec.inputs.values() for name, spec in stages.items()}).prepare()
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        yield Fault("recipe.stages", f"stages wait for each other: {circle}", "let one of them read an earlier stage")


def _options(study: Study, spec: StageSpec, kind: StageKind) -> dict[str, Any]:
    nodes = study.nodes()
    return {role: nodes[spec.options.get(role, role)] for role in kind.reads}
