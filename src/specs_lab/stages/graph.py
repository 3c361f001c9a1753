"""From a recipe to a plan: which stages to run, in which order, under which keys.

A stage's key is a hash of everything that its result depends on: its kind, the options it reads, the seed if it uses
it, the code behind it, and the keys of its inputs. Two studies that agree on these share the stage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from specs_lab.core.errors import raise_faults
from specs_lab.core.fingerprint import fingerprint
from specs_lab.core.options import plugin_modules
from specs_lab.stages.context import Study
from specs_lab.stages.describing import describe
from specs_lab.stages.faults import find_faults
from specs_lab.stages.kinds import KINDS, StageKind
from specs_lab.stages.nodes import options_of, used_inputs
from specs_lab.stages.rounds import unrolled
from specs_lab.stages.store import file_hash, file_hashes

_KEY_LENGTH = 20


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
        stream: Separates its random numbers from those of like stages; empty for most.
    """

    name: str
    kind: str
    key: str
    inputs: dict[str, str]
    options: dict[str, Any]
    seed: int | None
    stream: str = ""


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
    raise_faults(find_faults(study, kinds))
    stages = unrolled(study.recipe)
    options = {name: options_of(study, spec, kinds[spec.kind]) for name, spec in stages.items()}
    handed_on = {name: kinds[spec.kind].stands_for(options[name]) for name, spec in stages.items()}

    def real(name: str) -> str:
        """The stage that makes what the named stage stands for."""
        hands_on = handed_on[name]
        return name if hands_on is None else real(stages[name].inputs[hands_on])

    inputs = {
        name: {
            i: real(source) for i, source in spec.inputs.items() if i in used_inputs(kinds[spec.kind], options[name])
        }
        for name, spec in stages.items()
    }
    read = {source for spec in stages.values() for source in spec.inputs.values()}
    planned: dict[str, PlannedStage] = {}
    for name in _order({real(name) for name in stages if name not in read}, inputs):
        kind = kinds[stages[name].kind]
        seed = study.seed if kind.seeded else None
        input_keys = {i: planned[source].key for i, source in inputs[name].items()}
        # What is not seeded has no random numbers to separate. The sign keeps seed 1, stream 0 apart from seed 10.
        stream = f"/{stages[name].stream}" if stages[name].stream and kind.seeded else ""
        key = stage_key(kind, options[name], seed, input_keys, stream)
        planned[name] = PlannedStage(
            name=name, kind=kind.name, key=key, inputs=inputs[name], options=options[name], seed=seed, stream=stream
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


def stage_key(
    kind: StageKind, options: Mapping[str, Any], seed: int | None, inputs: Mapping[str, str], stream: str = ""
) -> str:
    """The key of a stage.

    Args:
        kind: Its kind.
        options: The options it reads, by role.
        seed: The seed, or None if it does not depend on it.
        inputs: The keys of its inputs.
        stream: Separates its random numbers.
    """
    parts = {
        "kind": kind.name,
        "options": {role: _key_options(option) for role, option in options.items()},
        "seed": seed,
        "stream": stream,
        "inputs": dict(inputs),
        "code": fingerprint([*kind.code, *plugin_modules(), *_code_of(options)]),
    }
    return hashlib.sha256(json.dumps(_whole_as_int(parts), sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]


def _code_of(options: Mapping[str, Any]) -> list[str]:
    """Further code that results depend on because of the choice of an option, which names it by ``code``."""
    return sorted({name for option in options.values() for name in getattr(option, "code", ())})


def _key_options(option: Any) -> dict[str, Any]:
    """What of an options object enters a key: all of it, but files by their content, not by where they lie.

    Fields that are marked as operational (:data:`specs_lab.core.options.OPERATIONAL`) are left out.

    An object names them by an attribute ``folder`` (a checkpoint) or ``file``, unless a method ``identity`` says what
    they hold, e.g. which commit of a repository.
    """
    described = describe(option, operational=False)
    named = option.identity() if hasattr(option, "identity") else None
    if named is not None:
        return {**described, "identity": dict(named)}
    place = getattr(option, "folder", None) or getattr(option, "file", None)
    if place is None:
        return described
    kept = {name: value for name, value in described.items() if not (isinstance(value, str) and Path(value) == place)}
    return {**kept, "files": _content_hashes(Path(place).resolve())}


def _content_hashes(place: Path) -> dict[str, str]:
    paths = [place] if place.is_file() else sorted(place.rglob("*"))
    files = [(path, path.stat()) for path in paths if path.is_file()]
    return _hashes_as_of(place, tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files))


@cache  # a sweep plans many studies on one checkpoint, perhaps of many gigabytes
def _hashes_as_of(place: Path, _: tuple[tuple[str, int, int], ...]) -> dict[str, str]:
    return {"": file_hash(place)} if place.is_file() else file_hashes(place)


def _whole_as_int(value: Any) -> Any:
    """The same data with 1.0 written as 1, so that it does not matter how a number was typed."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole_as_int(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole_as_int(item) for item in value]
    return value
